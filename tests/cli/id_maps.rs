//! Containers with id maps of their own: whose files are what on disk, inside, and in the image that is committed.

use std::os::unix::fs::PermissionsExt as _;

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
