//! `mount`, `umount`, `unshare`, `rm`, and several verbs on one container at once.

use crate::harness::{TestEnv, skip_without};

#[test]
fn mount_outside_unshare_says_what_to_do() {
    if crate::harness::am_root() && crate::harness::test_user().uid == 0 {
        return;
    }
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    assert_eq!(env.run(["mount"]).code, Some(125));
    insta::assert_snapshot!(env.run(["mount", &container]), @r"
    ------- stderr -------
    Error: cannot mount using driver overlay in rootless mode. You need to run it in a `coracle unshare` session
    [exit status: 125]
    ");
}

#[test]
fn a_mount_inside_unshare_is_seen_by_verbs_outside() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    let script = format!(
        "coracle unshare sh -euc 'm=$(coracle mount {container}); echo inside > $m/inside; touch mounted
            while [ ! -e done ]; do sleep 0.02; done; cat $m/outside; coracle mount; coracle umount {container}; coracle mount' &
         while [ ! -e mounted ]; do sleep 0.02; done
         coracle run {container} -- sh -c 'cat /inside; echo outside > /outside'; touch done; wait"
    );
    let id = env.ok(["containers", "-q"]);
    let said = env.shell(&script).success();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert_eq!((lines[0], lines[1], lines[3]), ("inside", "outside", id.as_str()));
    assert!(lines[2].starts_with(&format!("{container} /")) && lines[2].ends_with("/merged"), "{said}");
    env.ok(["rm", &container]);
    env.assert_store_is_clean();
}

#[test]
fn unshare_mounts_into_variables_and_gives_the_childs_status() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    let words = format!("ROOT={container}");
    assert_eq!(env.ok(["unshare", "--mount", &words, "sh", "-c", "id -u; ls $ROOT/bin/sh | grep -c merged"]), "0\n1");
    assert_eq!(env.run(["unshare", "sh", "-c", "exit 7"]).code, Some(7));
    let missing = env.run(["unshare", "/no/such/program"]);
    assert!(missing.failure(1).contains("/no/such/program"), "{missing}");
    assert_eq!(env.ok(["run", &container, "--", "echo", "still"]), "still");
}

#[test]
fn umount_of_what_is_not_mounted_says_nothing() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    insta::assert_snapshot!(env.run(["umount", &container]), @"");
    insta::assert_snapshot!(env.run(["umount", "nope"]), @r"
    ------- stderr -------
    Error: error unmounting container nope: container not known
    [exit status: 125]
    ");
}

#[test]
fn a_copy_and_a_config_reach_a_container_that_runs() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    env.write("file", "copied\n");
    let script = format!(
        "coracle run {container} -- sh -c 'echo up > /u; mv /u /up; while [ ! -s /file ]; do sleep 0.02; done; cat /file' &
         until coracle run {container} -- cat /up; do sleep 0.05; done 2>/dev/null
         coracle config --env A=1 {container}
         if coracle rm {container} 2>err; then echo removed; fi; grep -c 'uses it' err
         coracle copy -q {container} file /file; wait"
    );
    assert_eq!(env.shell(&script).success(), "up\n1\ncopied");
    assert_eq!(env.ok(["inspect", "--format", "{{index .OCIv1.Config.Env 1}}", &container]), "A=1");
    env.ok(["rm", &container]);
    env.assert_store_is_clean();
}

#[test]
fn rm_goes_on_after_a_failure() {
    let env = TestEnv::new();
    env.ok(["from", "--name", "a", "scratch"]);
    env.ok(["from", "--name", "b", "scratch"]);
    insta::assert_snapshot!(env.run(["rm", "nope", "a", "nope2"]), @r#"
    [ID]
    ------- stderr -------
    removing container "nope": container not known
    Error: removing container "nope2": container not known
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["rm", "--all"]), @"[ID]");
    insta::assert_snapshot!(env.run(["rm"]), @r"
    ------- stderr -------
    Error: container ID must be specified
    [exit status: 125]
    ");
    env.assert_store_is_clean();
}

#[test]
fn files_of_other_owners_are_removed_too() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    env.ok(["run", &container, "--", "sh", "-c", "mkdir -m 700 /d && touch /d/f && chown -R 1000:1000 /d"]);
    env.ok(["rm", &container]);
    env.assert_store_is_clean();
}

#[test]
fn a_container_that_another_tool_mounted_is_not_mounted_twice() {
    if crate::harness::skip_without(&["buildah"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    let script = format!(
        "buildah unshare sh -euc 'buildah mount {container} >/dev/null; touch mounted; while [ ! -e done ]; do sleep 0.02; done' &
         while [ ! -e mounted ]; do sleep 0.02; done
         coracle run {container} -- true || echo refused; touch done; wait"
    );
    let output = env.shell(&script);
    assert_eq!(output.success(), "refused");
    let said = output.err();
    assert!(said.contains("is mounted by another process outside coracle") && said.contains("hint: wait until"), "{said}");
    assert_eq!(env.ok(["run", &container, "--", "echo", "free"]), "free");
}

#[test]
fn what_unshare_cannot_start_is_status_1() {
    let mut env = TestEnv::new();
    env.shell("mkdir closed; chmod 0 closed").success();
    env.set("PATH", &format!("{}:/usr/bin:/bin", env.work().join("closed").display()));
    let binary = crate::harness::binary().to_string_lossy().into_owned();
    insta::assert_snapshot!(env.tool(&binary, ["unshare", "nosuchcommand"]), @r#"
    ------- stderr -------
    Error: exec: "nosuchcommand": executable file not found in $PATH
    [exit status: 1]
    "#);
    insta::assert_snapshot!(env.tool(&binary, ["unshare", ""]), @r"
    ------- stderr -------
    Error: exec: no command
    [exit status: 1]
    ");
    insta::assert_snapshot!(env.tool(&binary, ["unshare", "/etc/passwd"]), @r"
    ------- stderr -------
    Error: fork/exec /etc/passwd: permission denied
    [exit status: 1]
    ");
}

#[test]
fn layers_that_belong_to_other_ids_are_removed_too() {
    if skip_without(&["podman"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    // A layer directory of a container, as other tools make it for one with ID maps of its own.
    let container = env.ok(["from", "base"]);
    let table = std::fs::read_to_string(env.graph_root().join("overlay-containers/containers.json")).expect("the table");
    let records: serde_json::Value = serde_json::from_str(&table).expect("JSON");
    let layer = env.graph_root().join("overlay").join(records[0]["layer"].as_str().expect("a layer"));
    env.ok(["unshare", "chown", "5:6", &layer.to_string_lossy()]);
    env.ok(["rm", &container]);
    env.assert_store_is_clean();
    // A copy of an image's layer for such a container; it stays when the container goes.
    let podman = ["--cgroup-manager", "cgroupfs", "--runtime", "runc"];
    env.tool("podman", podman.iter().copied().chain(["create", "-q", "--userns=keep-id", "--name", "kept", "base", "/bin/sh"]))
        .success();
    env.tool("podman", podman.iter().copied().chain(["rm", "kept"])).success();
    assert!(env.ok(["rmi", "base"]).starts_with("untagged: localhost/base:latest"));
    assert_eq!(env.ok(["images", "-q"]), "");
    env.assert_store_is_clean();
}

#[test]
fn what_a_killed_removal_left_to_other_ids_blocks_nobody() {
    let env = TestEnv::new();
    env.busybox("base");
    // A layer without a record whose directory belongs to another ID, and the note that tells of it.
    let id = "a".repeat(64);
    let layer = env.graph_root().join("overlay").join(&id);
    let note = env.graph_root().join("coracle/pending/0123456789ab");
    let script = format!(
        "mkdir -p {0}/diff {1}; echo layer {id} > {2}; coracle unshare chown 5:6 {0}",
        layer.display(),
        note.parent().expect("a directory").display(),
        note.display()
    );
    env.shell(&script).success();
    let container = env.ok(["from", "base"]);
    env.ok(["config", "--label", "a=b", &container]);
    assert!(layer.exists() && note.exists(), "it waits for a verb that enters the user namespace");
    env.ok(["commit", "-q", "--rm", &container, "app"]);
    assert!(!layer.exists() && !note.exists(), "which this one does");
    env.assert_store_is_clean();
}
