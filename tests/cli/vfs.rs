//! Every verb on a store of the vfs driver, whose layers are whole trees: as an unprivileged user, nothing mounted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::harness::{TestEnv, am_root, have, skip_without};

/// The directory of a container's layer.
fn tree(env: &TestEnv, container: &str) -> PathBuf {
    PathBuf::from(env.ok(["mount", container]))
}

fn layers(env: &TestEnv) -> usize {
    fs::read_dir(env.graph_root().join("vfs/dir")).expect("the directory of layers").count()
}

/// What a layer's archive holds: the names in its tar-split.
fn members(env: &TestEnv, image: &str) -> Vec<String> {
    let top = env.ok(["inspect", "--type", "image", "--format", "{{.FromImageID}}", image]);
    let table = fs::read_to_string(env.graph_root().join("vfs-images/images.json")).expect("the table of images");
    let images: Vec<serde_json::Value> = serde_json::from_str(&table).expect("a table");
    let layer = images.iter().find(|image| image["id"] == top.as_str()).and_then(|image| image["layer"].as_str());
    let split = env.graph_root().join("vfs-layers").join(format!("{}.tar-split.gz", layer.expect("a layer")));
    let text = env.tool("zcat", [split]).success();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line of tar-split"));
    lines.filter_map(|line| line["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn an_image_is_built_changed_and_removed() {
    let env = TestEnv::on("vfs");
    env.busybox("localhost/base:1");
    assert_eq!(layers(&env), 1);
    env.write("f", "content\n");

    let container = env.ok(["from", "localhost/base:1"]);
    assert_eq!(container, "base-working-container");
    env.ok(["copy", "-q", &container, "f", "/d/f"]);
    env.ok(["config", "--env", "A=1", "--cmd", "/bin/sh", &container]);
    env.inside(&container, "rm /etc/group; mkdir /n; chown 33:33 /n; ln /d/f /d/g; echo more >> /etc/passwd");
    insta::assert_snapshot!(env.ok(["diff", &container]), @r"
    A          /d
    A      8 B /d/f
    A      8 B /d/g
    D          /etc/group
    C     76 B /etc/passwd
    A          /n
    ");
    env.ok(["commit", "-q", &container, "localhost/changed:1"]);
    assert_eq!(members(&env, "localhost/changed:1"), ["d/", "d/f", "d/g", "etc/", "etc/.wh.group", "etc/passwd", "n/"]);
    assert_eq!(layers(&env), 3, "base, container, image");

    // Frozen in place: the container's own directory becomes the layer's.
    let inode = fs::metadata(tree(&env, &container)).expect("its directory").ino();
    env.ok(["umount", &container]);
    env.ok(["run", &container, "--", "rm", "-r", "/home"]);
    env.ok(["commit", "-q", "--rm", &container, "localhost/frozen:1"]);
    let entries = fs::read_dir(env.graph_root().join("vfs/dir")).expect("the directory of layers");
    assert!(entries.flatten().any(|entry| entry.metadata().is_ok_and(|stat| stat.ino() == inode)), "moved, not copied");
    assert!(members(&env, "localhost/frozen:1").contains(&".wh.home".to_owned()));

    let squashed = env.ok(["from", "localhost/frozen:1"]);
    env.ok(["commit", "-q", "--squash", &squashed, "localhost/one:1"]);
    let other = env.ok(["from", "localhost/one:1"]);
    env.ok(["copy", "-q", "--from", "localhost/changed:1", &other, "/etc/passwd", "/copied"]);
    assert_eq!(env.ok(["run", &other, "--", "sh", "-c", "tail -n 1 /copied; ls -d /home || true; stat -c %u /n"]), "more\n33");
    env.ok(["check", "--digests"]);

    assert_eq!(env.ok(["rm", "--all"]).lines().count(), 2);
    env.ok(["rmi", "--all"]);
    assert_eq!(layers(&env), 0);
    env.assert_store_is_clean();
}

#[test]
fn a_mount_is_the_directory_itself_in_any_namespace() {
    let env = TestEnv::on("vfs");
    env.busybox("localhost/base:1");
    let container = env.ok(["from", "--name", "c", "localhost/base:1"]);
    let path = env.ok(["mount", &container]);
    assert!(path.starts_with(env.graph_root().join("vfs/dir").to_str().expect("a path")), "{path}");
    assert!(env.shell(&format!("echo edited > {path}/tmp/edited")).success().is_empty(), "no unshare is needed");
    assert_eq!(env.ok(["run", &container, "--", "cat", "/tmp/edited"]), "edited");
    assert_eq!(env.ok(["mount"]), format!("c {path}"));
    let id = env.ok(["inspect", "--format", "{{.ContainerID}} {{.MountPoint}}", "c"]);
    let (id, inspected) = id.split_once(' ').expect("two words");
    assert_eq!(inspected, path);

    // Counted, as the other tools count.
    env.ok(["mount", "c"]);
    assert_eq!(env.ok(["umount", "c"]), id);
    assert_eq!(env.ok(["mount"]), format!("c {path}"));
    assert_eq!(env.ok(["umount", "--all"]), id);
    assert_eq!(env.ok(["mount"]), "");

    // A mounted container is copied by `commit --rm`: whoever mounted it may still write.
    env.ok(["mount", "c"]);
    env.ok(["commit", "-q", "--rm", "c", "localhost/copied:1"]);
    assert_eq!(env.ok(["containers", "-q"]), "");
    env.assert_store_is_clean();
}

#[test]
fn several_verbs_use_one_container_at_once() {
    let env = TestEnv::on("vfs");
    env.busybox("localhost/base:1");
    env.write("f", "content\n");
    let script = r#"c=$(coracle from localhost/base:1)
        coracle run $c -- sh -c 'while ! test -e /f; do sleep 0.05; done; cat /f > /seen' &
        coracle copy -q $c f /f; coracle config --label a=b $c; coracle commit -q $c localhost/meanwhile:1
        wait $!; coracle run $c -- cat /seen
        coracle run $c -- sh -c 'touch /started; for i in $(seq 100); do test -e /end && exit; sleep 0.05; done' &
        m=$(coracle mount $c); while ! test -e $m/started; do sleep 0.05; done
        coracle rm $c && echo removed || true
        coracle copy -q $c f /end; wait $!; coracle rm $c"#;
    let output = env.shell(script);
    assert!(output.out().contains("content\n") && !output.out().contains("removed"), "{output}");
    assert!(output.err().contains("uses it"), "{output}");
    assert_eq!(env.ok(["containers", "-q"]), "");
}

#[test]
fn a_killed_from_leaves_nothing_that_stays() {
    let env = TestEnv::on("vfs");
    env.busybox("localhost/base:1");
    // What `from` leaves when it dies while it copies: a tree in a temporary directory whose lock nobody holds.
    let left = env.graph_root().join("vfs/tempdirs/temp-dir-12345");
    env.shell(&format!("mkdir -p {0}/0-addition/d && echo x > {0}/0-addition/d/f && : > {0}/../lock-12345", left.display()))
        .success();
    assert!(env.run(["check"]).out().contains("temp-dir-12345"));
    env.ok(["check", "--repair"]);
    assert!(!left.exists());
    env.assert_store_is_clean();
}

#[test]
fn the_driver_is_the_one_that_the_store_was_used_with() {
    let env = TestEnv::on("vfs");
    env.busybox("localhost/base:1");
    env.write_home(".config/containers/storage.conf", "");
    let output = env.run(["images", "-n"]);
    assert!(output.out().contains("localhost/base"), "{output}");
    assert_eq!(env.ok(["info", "--format", "{{.store.GraphDriverName}}"]), "vfs");
    insta::assert_snapshot!(env.run(["--storage-driver", "zfs", "images"]), @r#"
    ------- stderr -------
    Error: --storage-driver: the storage driver "zfs" is not supported
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["--storage-opt", "vfs.mountopt=nodev", "images"]), @r#"
    ------- stderr -------
    Error: --storage-opt: the driver vfs does not support the option "mountopt"
    [exit status: 125]
    "#);
}

#[test]
fn podman_and_buildah_use_what_we_made_and_we_what_they_made() {
    if skip_without(&["buildah", "podman", "skopeo"]) {
        return;
    }
    let env = TestEnv::on("vfs");
    env.busybox("localhost/base:1");
    let ours = env.ok(["from", "localhost/base:1"]);
    env.tool("buildah", ["run", "--isolation", "chroot", &ours, "sh", "-c", "echo theirs > /theirs; rm /etc/group"]).success();
    env.ok(["run", &ours, "--", "sh", "-c", "cat /theirs > /ours"]);
    env.tool("buildah", ["commit", "-q", &ours, "localhost/theirs:1"]).success();
    env.ok(["commit", "-q", &ours, "localhost/ours:1"]);
    let theirs = env.tool("buildah", ["from", "localhost/ours:1"]).success();
    assert_eq!(env.ok(["run", &theirs, "--", "cat", "/ours", "/theirs"]), "theirs\ntheirs");
    assert!(env.run(["run", &theirs, "--", "cat", "/etc/group"]).code == Some(1));
    assert!(env.ok(["diff", "localhost/theirs:1"]).contains("D          /etc/group"));
    for image in ["ours", "theirs"] {
        let source = format!("containers-storage:localhost/{image}:1");
        env.tool("skopeo", ["copy", "-q", &source, &format!("dir:{image}")]).success();
    }
    env.ok(["check", "--digests"]);
    env.tool("buildah", ["rm", "--all"]).success();
    env.tool("podman", ["rmi", "--all", "--force"]).success();
    assert_eq!(env.ok(["images", "-q"]), "");
    assert_eq!(layers(&env), 0);
}

#[test]
fn a_debian_root_is_built_upon() {
    let Some(tar) = std::env::var_os("CORACLE_TEST_DEBIAN_TAR") else {
        eprintln!("skipped: CORACLE_TEST_DEBIAN_TAR names no tar");
        return;
    };
    if !am_root() && !have("newuidmap") {
        return;
    }
    let env = TestEnv::on("vfs");
    let container = env.ok(["from", "scratch"]);
    env.ok(["add", "-q", &container, &tar.to_string_lossy(), "/"]);
    env.ok(["commit", "-q", "--rm", &container, "localhost/debian:1"]);
    let container = env.ok(["from", "localhost/debian:1"]);
    assert_eq!(env.ok(["diff", &container]), "", "a copy is what it was copied from");
    env.inside(&container, "dpkg --version > /version; useradd -m u; setcap cap_net_raw=ep /bin/ls || true");
    let changed = env.ok(["diff", &container]);
    assert!(changed.contains("/version") && changed.contains("/etc/shadow") && !changed.contains("/usr/lib"), "{changed}");
    env.ok(["commit", "-q", &container, "localhost/user:1"]);
    env.ok(["check", "--digests"]);
}

#[test]
fn all_verbs_work_where_nothing_can_be_mounted() {
    let env = TestEnv::new();
    env.write("f", "content\n");
    let script = format!(
        "c=$(coracle from scratch); coracle add -q $c {} /; coracle commit -q --rm $c base >/dev/null
         c=$(coracle from base); coracle copy -q --chown 33:33 $c f /f; coracle config --label a=b $c
         coracle run --user 33 $c -- /bin/sh -c 'cat /f; echo x > /tmp/x' 2>/dev/null
         coracle diff $c; coracle commit -q $c plain >/dev/null; coracle copy -q --from plain $c /f /g
         m=$(coracle mount $c); stat -c '%u %g' $m/g; coracle umount $c >/dev/null
         coracle commit -q --rm $c frozen >/dev/null; coracle check --digests; coracle images -q | wc -l
         coracle rmi -a >/dev/null; coracle check --repair",
        crate::harness::busybox_tar().display()
    );
    let output = env.caged(&script);
    insta::assert_snapshot!(output.success(), @r"
    content
    A      8 B /f
    A      2 B /tmp/x
    33 33
    3
    ");
}
