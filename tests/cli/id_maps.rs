//! Containers with id maps of their own: whose files are what on disk, inside, and in the image that is committed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::harness::{TestEnv, skip_without};

/// `uid:gid` of each path below `top`, as seen in the user namespace of the test's user.
fn owners(env: &TestEnv, container: &str, paths: &[&str]) -> Vec<String> {
    let script = format!("cd \"$(coracle mount {container})\" && stat -c %u:%g {}", paths.join(" "));
    let command = if env.is_root() { vec!["sh", "-euc", &script] } else { vec!["coracle", "unshare", "sh", "-euc", &script] };
    let (program, arguments) = command.split_first().expect("a command");
    env.tool(program, arguments).success().lines().map(str::to_owned).collect()
}

/// All that is written into a mapped container, by every verb, has the ids that stand for its own on disk, and in the image the own ones.
fn files_belong_to_the_ids_of_the_container(env: &TestEnv, first: u32) {
    env.busybox("base");
    env.write("f", "content\n");
    env.shell("mkdir tree; echo a > tree/a; ln -s a tree/link; tar cf made.tar --owner=9 --group=9 -C tree a").success();
    let map = format!("0:{first}:5000");
    env.ok(["from", "--name", "mapped", "--userns-uid-map", &map, "base"]);
    env.ok(["copy", "-q", "mapped", "f", "/new/dir/f"]);
    env.ok(["copy", "-q", "--chown", "7:8", "mapped", "f", "/chowned"]);
    env.ok(["copy", "-q", "--chown", "user", "mapped", "tree", "/tree"]);
    env.ok(["add", "-q", "mapped", "made.tar", "/unpacked"]);
    let paths = ["new", "new/dir/f", "chowned", "tree/a", "tree/link", "unpacked", "unpacked/a", "bin/busybox", "."];
    let inside = ["0:0", "0:0", "7:8", "1000:1000", "1000:1000", "0:0", "9:9", "0:0", "0:0"];
    let on_disk = |owner: &&str| {
        let ids: Vec<u32> = owner.split(':').map(|id| id.parse::<u32>().expect("an id") + first).collect();
        format!("{}:{}", ids[0], ids[1])
    };
    assert_eq!(owners(env, "mapped", &paths), inside.iter().map(on_disk).collect::<Vec<_>>());
    let stat = format!("cd / && stat -c %u:%g {}", paths.join(" "));
    assert_eq!(env.ok(["run", "mapped", "--", "sh", "-c", &stat]).lines().collect::<Vec<_>>(), inside);

    env.ok(["from", "--name", "plain", "base"]);
    env.ok(["copy", "-q", "--from", "mapped", "plain", "/chowned", "/out"]);
    env.ok(["copy", "-q", "--chown", "11:12", "plain", "f", "/g"]);
    env.ok(["copy", "-q", "--from", "plain", "mapped", "/g", "/in"]);
    assert_eq!(env.ok(["run", "plain", "stat", "-c", "%u:%g", "/out"]), "7:8");
    assert_eq!(env.ok(["run", "mapped", "stat", "-c", "%u:%g", "/in"]), "11:12");

    for flags in [&["commit", "-q"][..], &["commit", "-q", "--squash"], &["commit", "-q", "--rm"]] {
        env.ok(flags.iter().copied().chain(["mapped", "made"]));
        let container = env.ok(["from", "made"]);
        assert_eq!(env.ok(["run", &container, "--", "sh", "-c", &stat]).lines().collect::<Vec<_>>(), inside, "{flags:?}");
    }
    env.ok(["rm", "--all"]);
    env.ok(["rmi", "--all", "--force"]);
    env.assert_store_is_clean();
}

#[test]
fn what_is_copied_into_a_mapped_container_belongs_to_its_ids() {
    files_belong_to_the_ids_of_the_container(&TestEnv::new(), 2000);
}

#[test]
fn what_is_copied_into_a_mapped_container_of_a_vfs_store_belongs_to_its_ids() {
    files_belong_to_the_ids_of_the_container(&TestEnv::on("vfs"), 2000);
}

#[test]
fn what_real_root_copies_into_a_mapped_container_belongs_to_its_ids() {
    let Some(env) = TestEnv::of_root() else { return };
    files_belong_to_the_ids_of_the_container(&env, 200_000);
}

#[test]
fn real_root_needs_no_copy_of_the_image_where_mounts_can_be_id_mapped() {
    let Some(mut env) = TestEnv::of_root() else { return };
    env.busybox("base");
    env.ok(["from", "--name", "mapped", "--userns-uid-map", "0:200000:2000", "base"]);
    let file = env.graph_root().join("overlay-layers/layers.json");
    let layers: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("the table")).expect("JSON");
    assert_eq!(layers.as_array().map(Vec::len), Some(2), "the image's layer and the container's");
    assert!(layers.as_array().into_iter().flatten().all(|layer| layer.get("uidmap").is_none()), "{layers}");
    // What was copied up only to have its owner mapped is no change.
    env.ok(["run", "mapped", "--", "sh", "-c", "echo x > /etc/x; chown 0:0 /bin/busybox; chmod 755 /bin/busybox"]);
    assert_eq!(env.ok(["diff", "mapped"]), "A      2 B /etc/x");
    env.set("_CONTAINERS_OVERLAY_DISABLE_IDMAP", "yes");
    env.ok(["from", "--name", "copied", "--userns-uid-map", "0:300000:2000", "base"]);
    assert_eq!(env.ok(["run", "copied", "stat", "-c", "%u:%g", "/bin/busybox"]), "0:0");
    assert!(std::fs::read_to_string(&file).expect("the table").contains("300000"), "the copy's map is recorded");
}

#[test]
fn a_scratch_container_has_id_maps_too() {
    let env = TestEnv::new();
    env.busybox("base");
    env.ok(["from", "--name", "tools", "base"]);
    env.ok(["from", "--name", "mapped", "--userns-uid-map", "0:3000:500", "scratch"]);
    env.ok(["copy", "-q", "--from", "tools", "mapped", "/bin", "/bin"]);
    assert_eq!(env.ok(["run", "mapped", "/bin/stat", "-c", "%u:%g", "/", "/bin/busybox"]), "0:0\n0:0");
    env.ok(["commit", "-q", "--rm", "mapped", "made"]);
    let plain = env.ok(["from", "made"]);
    assert_eq!(env.ok(["run", &plain, "/bin/stat", "-c", "%u:%g", "/bin/busybox"]), "0:0");
}

#[test]
fn a_mapped_container_runs_under_every_isolation() {
    let env = TestEnv::new();
    env.busybox("base");
    env.ok(["from", "--name", "mapped", "--userns-uid-map", "0:2000:5000", "base"]);
    env.write("volume/f", "");
    let volume = format!("{}:/v:O", env.work().join("volume").display());
    let script =
        "tr -s ' ' </proc/self/uid_map; id -u; touch /tmp/$ISO; stat -c %u:%g /tmp/$ISO /etc/hosts; echo err >/dev/stderr; pwd";
    let expected = " 0 2000 5000\n1000\n1000:1000\n0:0\n/home/made";
    let mut isolations = vec![("rootless", &[][..]), ("chroot", &[][..])];
    if !skip_without(&["runc"]) {
        isolations.push(("oci", &["--runtime", "runc"][..]));
    }
    env.ok(["config", "--workingdir", "/home/made", "mapped"]);
    for (isolation, flags) in isolations {
        let more = ["--network", "host", "--isolation", isolation, "--user", "1000", "-v", &volume, "-e"];
        let iso = format!("ISO={isolation}");
        let command = [iso.as_str(), "mapped", "--", "sh", "-c", script];
        let output = env.run(["run"].into_iter().chain(flags.iter().copied()).chain(more).chain(command));
        assert_eq!((output.success().as_str(), output.err().as_str()), (expected, "err\n"), "{isolation}: {output}");
    }
    let root = ["run", "--isolation", "rootless", "mapped", "--", "sh", "-c", "echo x > /dev/stdout; stat -c %u:%g /home/made"];
    assert_eq!(env.ok(root), "x\n1000:1000");
}

/// Each tool works on a container that the other has made, and commits the ids inside.
fn the_other_tool_goes_on(env: &TestEnv, map: &str) {
    env.busybox("base");
    env.write("f", "content\n");
    let isolation = ["run", "--isolation", "chroot"];
    // Debian's Buildah takes the container's root through it, and fails as an ordinary user all the same.
    std::fs::set_permissions(env.path("tmp"), std::fs::Permissions::from_mode(0o711)).expect("its mode");
    let runs = |program: &&&str| env.is_root() || **program == "coracle";
    for (maker, user) in [("coracle", "buildah"), ("buildah", "coracle")] {
        let tool = |program: &str, arguments: &[&str]| env.tool(program, arguments).success();
        let name = format!("by-{maker}");
        tool(maker, &["from", "--name", &name, "--userns-uid-map", map, "--userns-gid-map", map, "base"]);
        tool(maker, &["copy", "-q", "--chown", "7:8", &name, "f", "/first"]);
        tool(user, &["copy", "-q", "--chown", "7:8", &name, "f", "/second"]);
        let stat = ["--", "stat", "-c", "%u:%g", "/first", "/second", "/bin/busybox"];
        for program in [maker, user].iter().filter(runs) {
            let seen = tool(program, &[&isolation[..], &[&name], &stat].concat());
            assert_eq!(seen.trim_end(), "7:8\n7:8\n0:0", "{name} run by {program}");
        }
        let recorded = env.ok(["inspect", "--format", "{{.IDMappingOptions.UIDMap}}", &name]);
        assert_eq!(tool("buildah", &["inspect", "--format", "{{.IDMappingOptions.UIDMap}}", &name]).trim_end(), recorded);
        env.ok(["commit", "-q", &name, "made"]);
        let plain = env.ok(["from", "made"]);
        assert_eq!(env.ok(["run", &plain, "stat", "-c", "%u:%g", "/first", "/second"]), "7:8\n7:8", "{name}");
    }
}

#[test]
fn buildah_and_coracle_take_turns_in_a_mapped_container() {
    if skip_without(&["buildah"]) {
        return;
    }
    the_other_tool_goes_on(&TestEnv::new(), "0:2000:2000");
}

#[test]
fn buildah_and_coracle_of_real_root_take_turns_in_a_mapped_container() {
    if skip_without(&["buildah"]) {
        return;
    }
    let Some(env) = TestEnv::of_root() else { return };
    the_other_tool_goes_on(&env, "0:200000:2000");
}

/// A volume whose files belong to the ids that mapped containers give their own, and one of the caller's.
const VOLUME: &str = "mkdir -p v/sub && touch v/root v/sub/user && chown -h 1000:1000 v/sub/user";

#[test]
fn real_root_shows_a_volume_with_the_owners_of_a_mapped_container() {
    let Some(env) = TestEnv::of_root() else { return };
    env.busybox("base");
    env.shell(VOLUME).success();
    env.ok(["from", "--name", "mapped", "--userns-uid-map", "0:200000:5000", "base"]);
    env.ok(["from", "--name", "plain", "base"]);
    let source = env.work().join("v");
    let run = |container: &str, flags: &[&str], volume: &str, script: &str| {
        let volume = format!("{}:/v{volume}", source.display());
        let command = ["-v", &volume, container, "--", "sh", "-c", script];
        env.run(["run", "--network", "host"].iter().copied().chain(flags.iter().copied()).chain(command))
    };
    let stat = "stat -c %u:%g /v/root /v/sub/user";
    let native = ["--isolation", "rootless"];
    assert_eq!(run("mapped", &native, "", stat).success(), "65534:65534\n65534:65534", "without it they are nobody's");
    assert_eq!(run("mapped", &native, ":idmap", stat).success(), "0:0\n1000:1000");
    assert_eq!(run("mapped", &native, ":O,idmap", stat).success(), "0:0\n1000:1000");
    assert_eq!(run("mapped", &["--isolation", "chroot"], ":idmap", stat).success(), "0:0\n1000:1000");
    run("mapped", &native, ":idmap", "touch /v/new; chown 7:8 /v/new").success();
    let new = std::fs::metadata(source.join("new")).expect("what the command made");
    assert_eq!((new.uid(), new.gid()), (7, 8), "on disk it is the id inside");
    assert_eq!(run("plain", &native, ":idmap=uids=0-11-1#1000-5-1;gids=0-12-1", stat).success(), "11:12\n5:65534");
    assert_eq!(run("mapped", &native, ":idmap=uids=@0-33-1;gids=@0-33-1", stat).success(), "33:33\n65534:65534");
    let mount = format!("type=bind,src={},dst=/v,idmap", source.display());
    assert_eq!(
        env.ok(["run", "--isolation", "rootless", "--mount", &mount, "mapped", "--", "sh", "-c", stat]),
        "0:0\n1000:1000"
    );
    if !skip_without(&["runc"]) {
        assert_eq!(run("mapped", &["--isolation", "oci", "--runtime", "runc"], ":idmap", stat).success(), "0:0\n1000:1000");
    }
    let refused = run("plain", &native, ":idmap", stat).failure(125);
    assert!(refused.contains("the container has no ids of its own that the files could get"), "{refused}");
}

#[test]
fn a_volume_of_the_machine_cannot_be_mapped_by_an_ordinary_user_and_one_of_the_namespace_can() {
    let env = TestEnv::new();
    if env.is_root() {
        return;
    }
    env.busybox("base");
    env.shell("mkdir v t").success();
    env.ok(["from", "--name", "mapped", "--userns-uid-map", "0:2000:5000", "base"]);
    let volume = format!("{}:/v:idmap", env.work().join("v").display());
    insta::assert_snapshot!(env.run(["run", "-v", &volume, "mapped", "true"]), @r#"
    ------- stderr -------
    Error: volume "[TEST]/work/v": mapping the owners of its files (idmap): operation not permitted
    hint: the kernel maps a file system for the user namespace that mounted it only, which for the machine's own is real root: leave idmap out, and give the files to the container with U or use the volume as it is
    [exit status: 125]
    "#);
    let script = "mount -t tmpfs tmpfs t && touch t/root t/user && chown 1000:1000 t/user && \
                  coracle run --network host -v $PWD/t:/v:idmap mapped stat -c %u:%g /v/root /v/user";
    assert_eq!(env.ok(["unshare", "sh", "-euc", script]), "0:0\n1000:1000");
}

/// The map of users that a command of the container sees.
fn map_of(env: &TestEnv, container: &str) -> Vec<Vec<u32>> {
    let map = env.ok(["run", container, "cat", "/proc/self/uid_map"]);
    map.lines().map(|line| line.split_whitespace().map(|word| word.parse().expect("a number")).collect()).collect()
}

#[test]
fn automatic_ids_are_as_many_as_the_image_needs() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok(["add", "-q", &container, &crate::harness::busybox_tar().to_string_lossy(), "/"]);
    env.write("passwd", "root:x:0:0::/:\nhigh:x:3000:100::/:\nnobody:x:65534:65534::/:\n");
    env.ok(["copy", "-q", &container, "passwd", "/etc/passwd"]);
    env.ok(["config", "--env", "PATH=/bin", &container]);
    env.ok(["commit", "-q", &container, "names"]);
    env.ok(["copy", "-q", "--chown", "5000:6000", &container, "passwd", "/f"]);
    env.ok(["commit", "-q", &container, "owners"]);
    let start = |image: &str, how: &str| {
        let container = env.ok(["from", "--userns", how, image]);
        map_of(&env, &container)
    };
    assert_eq!(start("names", "auto"), [[0, 1, 3001]], "by /etc/passwd");
    assert_eq!(start("owners", "auto"), [[0, 3002, 6001]], "by the owners of its files");
    assert_eq!(start("names", "auto:size=10"), [[0, 9003, 10]]);
    assert_eq!(start("names", "auto:size=10,uidmapping=0:0:1,gidmapping=3:20000:2"), [[1, 9013, 9], [0, 0, 1]]);
    let conf = "[storage]\ndriver = \"overlay\"\n[storage.options]\nauto-userns-min-size = 50\nauto-userns-max-size = 4000\n";
    env.write_home(".config/containers/storage.conf", conf);
    env.shell(&format!("coracle from --name empty scratch; coracle add -q empty {} /; coracle config --env PATH=/bin empty; coracle commit -q empty small", crate::harness::busybox_tar().display())).success();
    insta::assert_snapshot!(env.run(["from", "--userns", "auto", "owners"]), @r#"
    ------- stderr -------
    Error: creating container: the container needs a user namespace with size 6001 that is bigger than the maximum value allowed with userns=auto 4000
    hint: raise auto-userns-max-size in storage.conf, or say the number: --userns auto:size=N
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["from", "--userns", "auto:size=70000", "names"]), @r#"
    ------- stderr -------
    Error: creating container: could not find enough available IDs
    hint: 70000 are needed, and no container has 56515: remove containers, or ask for fewer ids with --userns auto:size=N
    [exit status: 125]
    "#);
    assert!(start("small", "auto")[0][2] >= 50);
    env.ok(["rm", "--all"]);
    assert_eq!(start("names", "auto"), [[0, 1, 3001]], "the ids of removed containers are free");
}

#[test]
fn what_an_image_calls_its_passwd_file_is_not_read_outside_of_it() {
    let env = TestEnv::new();
    env.write("canary", "u:x:60000:60000::/:\n");
    for (name, make) in [
        ("link", format!("ln -s {} etc/passwd", env.work().join("canary").display())),
        ("fifo", "mkfifo etc/passwd".to_owned()),
    ] {
        env.shell(&format!("rm -rf etc; mkdir etc; {make}; tar cf {name}.tar etc")).success();
        let container = env.ok(["from", "scratch"]);
        env.ok(["add", "-q", &container, &format!("{name}.tar"), "/"]);
        env.ok(["commit", "-q", "--rm", &container, name]);
        let mapped = env.ok(["from", "--userns", "auto", name]);
        let maps = env.ok(["inspect", "--format", "{{.IDMappingOptions.UIDMap}}", &mapped]);
        assert!(maps.contains("1024") && !maps.contains("60001"), "{name}: {maps}");
    }
}

#[test]
fn automatic_ids_of_real_root_are_those_of_a_user_that_storage_conf_names() {
    let Some(env) = TestEnv::of_root() else { return };
    env.busybox("base");
    let refused = env.run(["from", "--userns", "auto", "base"]);
    if !std::fs::read_to_string("/etc/subuid")
        .is_ok_and(|text| text.starts_with("containers:") || text.contains("\ncontainers:"))
    {
        assert!(refused.failure(125).contains("could not find enough available IDs"), "{refused}");
    }
    let user = crate::harness::test_user().name;
    let conf = std::fs::read_to_string(env.path("home/storage.conf")).expect("the settings");
    env.write_home("storage.conf", format!("{conf}[storage.options]\nroot-auto-userns-user = \"{user}\"\n"));
    let subuid = std::fs::read_to_string("/etc/subuid").expect("subordinate ids");
    let first: u32 = subuid
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{user}:")))
        .and_then(|rest| rest.split(':').next()?.parse().ok())
        .expect("a range");
    for (name, outside) in [("one", first), ("two", first + 100)] {
        env.ok(["from", "--name", name, "--userns", "auto:size=100", "base"]);
        assert_eq!(map_of(&env, name), [[0, outside, 100]]);
    }
    assert!(
        env.run(["from", "--userns", "keep-id", "base"]).failure(125).contains("keep-id is only supported in rootless mode")
    );
}

#[test]
fn the_caller_keeps_an_id() {
    let env = TestEnv::new();
    if env.is_root() {
        return;
    }
    env.busybox("base");
    env.write("f", "");
    let user = crate::harness::test_user();
    let volume = format!("{}:/v", env.work().display());
    for (how, uid, gid) in [("keep-id", user.uid, user.gid), ("keep-id:uid=200,gid=210", 200, 210)] {
        let name = env.ok(["from", "--userns", how, "base"]);
        let map = map_of(&env, &name);
        assert_eq!(&map[..2], [[0, 1, uid], [uid, 0, 1]]);
        let seen = env.ok(["run", "-v", &volume, &name, "--", "sh", "-c", "stat -c %u:%g /v/f /bin/busybox; id -u"]);
        assert_eq!(seen, format!("{uid}:{gid}\n0:0\n0"));
        env.ok(["copy", "-q", &name, "f", "/f"]);
        env.ok(["commit", "-q", &name, "made"]);
        let plain = env.ok(["from", "made"]);
        assert_eq!(env.ok(["run", &plain, "stat", "-c", "%u:%g", "/f"]), "0:0");
    }
    insta::assert_snapshot!(env.run(["from", "--userns", "keep-id:x=1", "base"]), @r#"
    ------- stderr -------
    Error: parsing ID mapping options: unknown option specified: "x"
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["from", "--userns", "keep-id", "--userns-uid-map", "0:1:5", "base"]), @r#"
    ------- stderr -------
    Error: parsing ID mapping options: can not specify ID mappings while keeping the caller's ID
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["from", "--userns-uid-map", "0:100:10,5:300:10", "base"]), @r#"
    ------- stderr -------
    Error: creating container: the specified UID and/or GID mapping 5:300:10 conflicts with other mappings: invalid mappings specified
    [exit status: 125]
    "#);
}

/// Makes a user namespace with the ids from 2000 on, runs `$script` with its file's name in `$ns`, and ends it.
const WITH_NAMESPACE: &str = "unshare -U sleep 600 & p=$!; trap 'kill $p; wait $p || :' EXIT
    until [ \"$(readlink /proc/$p/ns/user)\" != \"$(readlink /proc/self/ns/user)\" ]; do sleep 0.01; done
    for map in uid_map gid_map; do echo 0 2000 5000 > /proc/$p/$map; done; ns=/proc/$p/ns/user
    . $PWD/script";

/// Runs a script as root of the store's user namespace, with a user namespace of others at hand.
fn beside_a_namespace(env: &TestEnv, script: &str) -> crate::harness::CommandOutput {
    env.write("script", script);
    let shell = ["sh", "-euc", WITH_NAMESPACE];
    if env.is_root() { env.tool(shell[0], &shell[1..]) } else { env.run(["unshare"].iter().chain(&shell)) }
}

fn a_user_namespace_is_joined(env: &TestEnv) {
    env.busybox("base");
    let script = "coracle from --name joined --userns ns:$ns base >/dev/null; echo x > f; coracle copy -q joined f /f
        for isolation in rootless chroot; do
            seen=$(coracle run --network host --isolation $isolation joined -- sh -c 'readlink /proc/self/ns/user; tr -s \" \" </proc/self/uid_map; id -u; stat -c %u:%g /bin/busybox /f; touch /tmp/made')
            echo \"$seen\" | tail -n +2; [ \"$(echo \"$seen\" | head -1)\" = \"$(readlink $ns)\" ] && echo joined
        done
        coracle run --network host --user 1000 joined -- id -u
        coracle inspect --format '{{(index .NamespaceOptions 5).Path}}' joined | sed s,$p,PID,; echo
        coracle commit -q joined made >/dev/null; c=$(coracle from made); coracle run --network host $c stat -c %u:%g /f /tmp/made";
    let once = " 0 2000 5000\n0\n0:0\n0:0\njoined";
    let expected = format!("{once}\n{once}\n1000\n/proc/PID/ns/user\n0:0\n0:0");
    assert_eq!(beside_a_namespace(env, script).success(), expected);
    let runc = "[ -x /usr/sbin/runc ] || [ -x /usr/bin/runc ] || exit 0
        coracle from --name runc --userns ns:$ns base >/dev/null
        seen=$(coracle run --network host --isolation oci --runtime runc runc -- readlink /proc/self/ns/user); [ $seen = $(readlink $ns) ]";
    beside_a_namespace(env, runc).success();
    let gone = env.run(["run", "--network", "host", "joined", "true"]);
    assert!(gone.failure(125).contains("no such file or directory"), "{gone}");
    let others = "coracle from --userns ns:$ns --userns-uid-map 0:2000:4999 base";
    assert!(beside_a_namespace(env, others).failure(125).contains("has other ids than the ID mappings say"));
}

#[test]
fn a_user_namespace_of_the_session_is_joined() {
    let env = TestEnv::new();
    a_user_namespace_is_joined(&env);
    let sibling = "unshare -U sleep 600 & p=$!; trap 'kill $p; wait $p || :' EXIT
        until [ \"$(readlink /proc/$p/ns/user)\" != \"$(readlink /proc/self/ns/user)\" ]; do sleep 0.01; done
        coracle from --userns ns:/proc/$p/ns/user base";
    let refused = env.shell(sibling).failure(125);
    assert!(refused.contains("joining the user namespace") && refused.contains("operation not permitted"), "{refused}");
    assert!(refused.contains("hint: the kernel lets a process join user namespaces that were made in its own"), "{refused}");
    let own = env.run(["unshare", "sh", "-euc", "coracle from --userns ns:/proc/self/ns/user base"]);
    assert!(own.failure(125).contains("is the one that containers are in"), "{own}");
}

#[test]
fn real_root_joins_a_user_namespace() {
    let Some(env) = TestEnv::of_root() else { return };
    a_user_namespace_is_joined(&env);
}
