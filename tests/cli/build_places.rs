//! `build` on other machines and under other engines: chroot, external runtimes, inside a user namespace that is there already, a store
//! of whole trees, one id only. The image is the same everywhere, to the byte.

use crate::harness::{CommandOutput, TestEnv, am_root, skip_without};

/// Something of everything that touches files: the context, an archive, commands with mounts, another stage.
const DOCKERFILE: &str = "FROM localhost/base AS made\nARG V=x\nENV E=one\nWORKDIR /made\nCOPY file dir ./\nADD archive.tar.gz /unpacked/\n\
    RUN echo $V-$E-$(cat file) > said\n\
    RUN --mount=type=bind,target=/ctx --mount=type=cache,target=/cache cat /ctx/file > bound; echo >> /cache/n\n\
    RUN --mount=type=secret,id=key wc -c < /run/secrets/key > length\n\
    FROM localhost/base\nCOPY --from=made /made /unpacked /made/\nRUN <<EOF\ncat /made/said /made/bound /made/length /made/packed > /all\nEOF\n\
    CMD [\"cat\", \"/all\"]\n";

/// What the image's own command says.
const SAID: &str = "x-one-content\ncontent\n4\narchived";

/// The words of a build that makes the same image whenever it runs, in both of its kinds.
const BUILDS: [&str; 2] = [
    "build -q --timestamp 7 --network host --secret id=key,src=key --layers=false -t app ctx",
    "build -q --timestamp 7 --network host --secret id=key,src=key --layers --no-cache -t app ctx",
];

/// The context, and the base in `oci:base`, in an environment with the base in its store.
///
/// The base has the files that commands get in place of their own: places for them that had to be made leave a directory that overlay
/// has copied up, and that a store of whole trees has not changed.
fn prepare() -> TestEnv {
    let env = TestEnv::new();
    let container = env.busybox_container("busybox");
    for name in ["hosts", "hostname", "resolv.conf"] {
        env.write(name, "");
        env.ok(["copy", "-q", &container, name, "/etc/"]);
    }
    env.ok(["commit", "-q", "--rm", &container, "localhost/base:latest"]);
    env.write("ctx/Dockerfile", DOCKERFILE);
    env.write("ctx/file", "content\n");
    env.write("ctx/dir/deep/other", "more\n");
    env.write("key", "hush");
    env.write("archived/packed", "archived\n");
    env.shell("tar -C archived --owner=0 --group=0 -czf ctx/archive.tar.gz packed; find . -exec touch -d @1600000000 {} +")
        .success();
    env.ok(["push", "-q", "localhost/base:latest", "oci:base:base"]);
    env
}

/// The images that both builds make, when `run` runs their words.
#[track_caller]
fn both(run: impl Fn(&str) -> CommandOutput) -> [String; 2] {
    BUILDS.map(|words| run(words).success())
}

/// The same by plain coracle.
#[track_caller]
fn both_here(env: &TestEnv) -> [String; 2] {
    both(|words| env.shell(&format!("coracle {words}")))
}

#[test]
fn a_build_makes_the_same_image_under_each_engine() {
    if skip_without(&["runc", "crun"]) {
        return;
    }
    let mut env = prepare();
    let expected = both_here(&env);
    assert_eq!(env.ok(["run", "--network", "host", &env.ok(["from", "app"]), "cat", "/all"]), SAID);
    for flags in ["--isolation chroot", "--isolation oci --runtime runc"] {
        let made = both(|words| env.shell(&format!("coracle {}", words.replacen("build", &format!("build {flags}"), 1))));
        assert_eq!(made, expected, "{flags}");
    }
    // It refuses a machine with control groups of both versions: there those of version 2 are covered.
    let cover = "[ ! -d /sys/fs/cgroup/unified ] || mount -t tmpfs none /sys/fs/cgroup/unified";
    let made = both(|words| {
        let words = words.replacen("build", "build --isolation oci --runtime crun", 1);
        env.run(["unshare", "sh", "-euc", &format!("{cover}; coracle {words}")])
    });
    assert_eq!(made, expected, "crun");
    env.set("BUILDAH_ISOLATION", "chroot");
    assert_eq!(both_here(&env), expected, "$BUILDAH_ISOLATION");
    env.ok(["rm", "--all"]);
    env.assert_store_is_clean();
}

/// The variable says what the engine is: process 1 of a chroot is the machine's.
#[test]
fn the_engine_is_the_flags_or_the_variables() {
    let mut env = TestEnv::new();
    env.busybox("localhost/base:latest");
    env.write("ctx/Dockerfile", "FROM localhost/base\nRUN echo first: $$\n");
    let is_first = |env: &TestEnv, flags: &[&str]| {
        env.ok([&["build", "--network", "host"], flags, &["ctx"]].concat()).contains("first: 1\n")
    };
    assert!(is_first(&env, &[]));
    env.set("BUILDAH_ISOLATION", "chroot");
    assert!(!is_first(&env, &[]));
    assert!(is_first(&env, &["--isolation", "rootless"]));
    env.set("BUILDAH_ISOLATION", "x");
    assert!(env.run(["build", "ctx"]).failure(125).contains("unrecognized $BUILDAH_ISOLATION value \"x\""));
}

#[test]
fn a_build_inside_a_user_namespace_makes_the_same_image() {
    let env = prepare();
    let expected = both_here(&env);
    let made = both(|words| env.run(["unshare", "sh", "-euc", &format!("coracle {words}")]));
    assert_eq!(made, expected);
    env.assert_store_is_clean();
}

#[test]
fn a_build_on_a_store_of_whole_trees_makes_the_same_image() {
    let env = prepare();
    let expected = both_here(&env);
    let plain = "--root vfs --runroot vfs-run --storage-driver vfs";
    let on_vfs = |words: &str| env.shell(&format!("coracle {plain} {words}"));
    let base = on_vfs("pull -q oci:base:base").success();
    on_vfs(&format!("tag {base} localhost/base:latest")).success();
    assert_eq!(both(on_vfs), expected);
    let again = on_vfs(&BUILDS[1].replace("--no-cache", "").replace(" -q", ""));
    assert_eq!(again.success().matches("--> Using cache ").count(), 11, "{again}");
    assert_eq!(
        on_vfs("run --network host $(coracle --root vfs --runroot vfs-run --storage-driver vfs from app) cat /all").success(),
        SAID
    );
    on_vfs("rm --all").success();
    assert_eq!(on_vfs("check").success(), "");
    on_vfs("rmi --all --force").success();
    assert_eq!(on_vfs("check").success(), "");
}

/// All files have one owner, which images record as root; a user of its own is refused with the reason.
#[test]
fn a_build_where_one_id_is_mapped_makes_the_same_image() {
    let env = prepare();
    let expected = both_here(&env);
    if !am_root() {
        return; // hiding the helper needs root
    }
    for plain in ["--root one --runroot one-run", "--root vfs --runroot vfs-run --storage-driver vfs"] {
        let with_one_id = |words: &str| env.with_one_id(&format!("coracle {plain} {words}"));
        let base = with_one_id("pull -q oci:base:base").success();
        with_one_id(&format!("tag {base} localhost/base:latest")).success();
        assert_eq!(both(with_one_id), expected, "{plain}");
        env.write("user/Dockerfile", "FROM localhost/base\nUSER user\nRUN id\n");
        let refused = with_one_id("build --network host user");
        assert!(refused.failure(1).contains("becoming group 1000 (is it among the ids of this user namespace?)"), "{refused}");
        assert_eq!(with_one_id("containers -q").success(), "");
        assert_eq!(with_one_id("check").success(), "");
    }
}
