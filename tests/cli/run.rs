//! `run`: statuses, words, what the command sees, what stays in the container.

use crate::harness::TestEnv;

fn running(env: &TestEnv) -> String {
    env.busybox("base");
    env.ok(["from", "base"])
}

#[test]
fn the_commands_status_is_the_programs() {
    let env = TestEnv::new();
    let container = running(&env);
    insta::assert_snapshot!(env.run(["run", &container, "--", "sh", "-c", "echo out; echo err >&2; exit 42"]), @r"
    out
    ------- stderr -------
    err
    Error: while running runtime: exit status 42
    [exit status: 42]
    ");
    assert_eq!(env.run(["run", &container, "/no/such/command"]).code, Some(1));
}

#[test]
fn other_statuses_can_be_declared_valid() {
    let env = TestEnv::new();
    let container = running(&env);
    assert_eq!(env.run(["run", "--valid-exit-codes", "3,4", &container, "--", "sh", "-c", "exit 4"]).code, Some(0));
    assert_eq!(env.run(["run", "--valid-exit-codes", "3", &container, "--", "sh", "-c", "exit 5"]).code, Some(5));
    insta::assert_snapshot!(env.run(["run", "--valid-exit-codes", "3", &container, "true"]), @r"
    ------- stderr -------
    Error: exit status 0 is not in the valid exit codes list
    [exit status: 125]
    ");
}

#[test]
fn what_is_missing_is_named() {
    let env = TestEnv::new();
    let container = running(&env);
    insta::assert_snapshot!(env.run(["run", &container]), @r"
    ------- stderr -------
    Error: command must be specified
    [exit status: 125]
    ");
    insta::assert_snapshot!(env.run(["run", "nope", "true"]), @r#"
    ------- stderr -------
    Error: reading build container "nope": container not known
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["run", "--user", "nobody-here", &container, "true"]), @r#"
    ------- stderr -------
    Error: determining run uid: user: unknown user error looking up user "nobody-here"
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["run", "--isolation", "jail", &container, "true"]), @r#"
    ------- stderr -------
    Error: unrecognized isolation type "jail"
    hint: known are default, rootless, oci and chroot
    [exit status: 125]
    "#);
}

#[test]
fn words_after_the_container_are_the_commands() {
    let env = TestEnv::new();
    let container = running(&env);
    assert_eq!(env.ok(["run", &container, "echo", "--env", "-x"]), "--env -x");
    assert_eq!(env.ok(["run", &container, "--", "echo", "--"]), "--");
}

#[test]
fn settings_of_image_container_and_run_add_up() {
    let mut env = TestEnv::new();
    env.set("HANDED", "on");
    env.set("http_proxy", "http://proxy.invalid:1");
    let container = running(&env);
    env.ok(["config", "--env", "A=1", "--workingdir", "/w", &container]);
    let script = "pwd; echo $A $B $HANDED $http_proxy; hostname";
    let flags = ["run", "--env", "B=2", "--env", "HANDED", "--hostname", "h", &container, "--", "sh", "-c", script];
    assert_eq!(env.ok(flags), "/w\n1 2 on http://proxy.invalid:1\nh");
    assert_eq!(
        env.ok(["run", "--workingdir", "/x", "--user", "7:8", &container, "--", "sh", "-c", "pwd; id -u; id -g"]),
        "/x\n7\n8"
    );
}

#[test]
fn what_from_was_told_holds_for_later_runs() {
    let env = TestEnv::new();
    env.busybox("base");
    env.write("shared/file", "shared\n");
    let volume = format!("{}:/shared:ro", env.work().join("shared").display());
    let container = env.ok([
        "from",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CHOWN",
        "--add-host",
        "db:10.1.2.3",
        "--ulimit",
        "nofile=64:128",
        "--shm-size",
        "1m",
        "--volume",
        &volume,
        "--dns",
        "10.9.8.7",
        "--dns-search",
        "example.test",
        "--network",
        "none",
        "--http-proxy=false",
        "base",
    ]);
    let script = "grep CapEff /proc/self/status; ulimit -n; cat /shared/file; df -k /dev/shm | tail -1 | awk '{print $2}'";
    let seen = env.ok(["run", "--network", "host", &container, "--", "sh", "-c", script]);
    assert_eq!(seen, "CapEff:\t0000000000000001\n64\nshared\n1024");
    let script = "grep db /etc/hosts; cat /etc/resolv.conf";
    let seen = env.ok(["run", "--network", "host", &container, "--", "sh", "-c", script]);
    assert!(seen.contains("10.1.2.3") && seen.contains("10.9.8.7") && seen.contains("example.test"), "{seen}");
}

#[test]
fn nothing_of_the_run_itself_stays_in_the_layer() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    env.ok(["run", &container, "true"]);
    insta::assert_snapshot!(env.run(["diff", &container]), @"");
    env.ok(["run", &container, "--", "sh", "-c", "echo x > /made"]);
    insta::assert_snapshot!(env.run(["diff", &container]), @"A      2 B /made");
}

#[test]
fn volumes_of_the_image_are_directories() {
    let env = TestEnv::new();
    let container = running(&env);
    env.ok(["config", "--volume", "/data", &container]);
    env.ok(["run", &container, "--", "sh", "-c", "echo kept > /data/file"]);
    assert_eq!(env.ok(["run", &container, "--", "cat", "/data/file"]), "kept");
}

#[test]
fn the_command_is_noted_if_it_succeeds() {
    let env = TestEnv::new();
    let container = running(&env);
    env.ok(["run", "--add-history", &container, "--", "sh", "-c", "true"]);
    env.run(["run", "--add-history", &container, "--", "sh", "-c", "false"]);
    let lines = env.ok(["inspect", "--format", "{{range .History}}{{.CreatedBy}}|{{end}}", &container]);
    assert_eq!(lines, "/bin/sh|/bin/sh -c sh -c true|");
}

#[test]
fn one_container_runs_many_commands_at_once() {
    let env = TestEnv::new();
    let container = running(&env);
    let script = format!("for i in 1 2 3 4 5 6; do coracle run {container} -- sh -c \"echo $i > /n$i\" & done; wait");
    env.shell(&script).success();
    assert_eq!(env.ok(["run", &container, "--", "sh", "-c", "cat /n?"]), "1\n2\n3\n4\n5\n6");
    env.assert_store_is_clean();
}

#[test]
fn namespaces_of_the_machine_can_be_shared_one_by_one() {
    let env = TestEnv::new();
    let container = running(&env);
    let own = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    for kind in ["pid", "ipc", "uts"] {
        for network in ["none", "host"] {
            let flag = format!("--{kind}");
            let link = format!("/proc/self/ns/{kind}");
            let seen = env.ok(["run", &flag, "host", "--network", network, &container, "readlink", &link]);
            assert_eq!(seen, own(kind), "{flag} host --network {network}");
        }
    }
    // With whatever network this machine gives by itself, a user-mode one included.
    assert_eq!(env.ok(["run", "--pid", "host", &container, "echo", "started"]), "started");
}

#[test]
fn the_keys_of_the_terminal_reach_all_that_the_command_runs() {
    let env = TestEnv::new();
    let container = running(&env);
    let inner = format!("coracle run {container} -- sh -c 'trap \"echo caught; exit 3\" INT; sleep 20' </dev/null");
    env.write("inner.sh", inner);
    let before = std::time::Instant::now();
    let seen = env.shell("(sleep 2; printf '\\003'; sleep 3) | script -qec 'sh inner.sh' /dev/null");
    assert!(seen.to_string().contains("caught"), "{seen}");
    assert!(before.elapsed().as_secs() < 15, "the shell waited for its child");
}

#[test]
fn any_user_may_open_the_output_again() {
    let env = TestEnv::new();
    let container = running(&env);
    let script = "echo one > /dev/stdout; echo two > /dev/stderr; echo three > /proc/self/fd/1";
    for user in ["0", "1000"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(env.run(["run", "--user", user, &container, "--", "sh", "-c", script]), @r"
            one
            three
            ------- stderr -------
            two
            ");
        }
    }
    // One stream keeps its order, and nothing of a long one is lost.
    let both = format!(
        "coracle run --user 1000 {container} -- sh -c 'for i in $(seq 5000); do echo $i; echo $i >&2; done' 2>&1 | uniq -c"
    );
    let counted = env.shell(&both).success();
    assert_eq!(counted.lines().count(), 5000, "{}", &counted[..200.min(counted.len())]);
    assert!(counted.lines().all(|line| line.trim_start().starts_with("2 ")));
    // Who no longer listens ends the command.
    let ended = env.shell(&format!("coracle run --user 1000 {container} -- yes | head -n 1"));
    assert_eq!(ended.success(), "y");
}

#[test]
fn a_volume_behind_a_link_that_leads_nowhere_is_made_there() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    env.ok(["run", &container, "--", "sh", "-c", "ln -s /data/store /vol; ln -s loop /loop"]);
    env.ok(["config", "--volume", "/vol", &container]);
    assert_eq!(env.ok(["run", &container, "--", "ls", "-d", "/data/store"]), "/data/store");
    env.ok(["config", "--volume", "/loop", &container]);
    insta::assert_snapshot!(env.run(["run", &container, "--", "true"]), @r#"
    ------- stderr -------
    Error: creating volume "/loop": too many levels of symbolic links
    hint: "coracle config --volume /loop- CONTAINER" takes the volume out of the image's settings
    [exit status: 125]
    "#);
}
