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

/// `/etc` is there for the hosts file, which is mounted, before the command puts something of its own into it.
#[test]
fn a_directory_that_a_command_filled_stays_when_another_empties_it() {
    let env = TestEnv::new();
    let name = running(&env);
    env.ok(["run", &name, "sh", "-c", "mkdir -p /etc; echo root > /etc/passwd"]);
    env.ok(["commit", "-q", &name, "filled"]);
    let next = env.ok(["from", "filled"]);
    env.ok(["run", &next, "rm", "/etc/passwd"]);
    assert_eq!(env.ok(["diff", &next]), "D          /etc/passwd");
    env.ok(["run", &next, "test", "-d", "/etc"]);
    // In the container itself as well, where the directory lies in the layer that is written.
    env.ok(["run", &name, "rm", "/etc/passwd"]);
    env.ok(["commit", "-q", &name, "emptied"]);
    let last = env.ok(["from", "emptied"]);
    assert_eq!(env.ok(["run", &last, "sh", "-c", "rm -f /etc/resolv.conf; ls -d /etc"]), "/etc");
    assert_eq!(
        env.shell("coracle unshare sh -c 'ls -d $(coracle mount emptied-working-container)/etc' | grep -o /etc").success(),
        "/etc"
    );
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
    let inner = format!("coracle run {container} -- sh -c 'trap \"echo caught; exit 3\" INT; echo ready; sleep 60' </dev/null");
    env.write("inner.sh", inner);
    let before = std::time::Instant::now();
    let key = "for i in $(seq 100); do grep -qs ready seen && break; sleep 0.1; done; sleep 1; printf '\\003'; sleep 3";
    let seen =
        env.shell(&format!("({key}) | script -qefc 'env --default-signal=INT sh inner.sh' /dev/null > seen || :; cat seen"));
    assert!(seen.to_string().contains("caught"), "{seen}");
    assert!(before.elapsed().as_secs() < 30, "the shell waited for its child");
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

/// A directory of the host with the file `f`, and its path.
fn shared(env: &TestEnv) -> String {
    env.write("shared/f", "host\n").parent().unwrap().display().to_string()
}

#[test]
fn a_bind_of_mount_can_be_read_and_its_writes_end_with_the_command() {
    let env = TestEnv::new();
    let (container, dir) = (running(&env), shared(&env));
    let run = |mount: &str, script: &str| env.run(["run", "--mount", mount, &container, "--", "sh", "-c", script]);
    let read_only = run(&format!("type=bind,src={dir},dst=/m"), "cat /m/f; echo x >/m/g");
    assert!(read_only.failure(1).contains("Read-only file system"), "{read_only}");
    let writable = format!("type=bind,src={dir},dst=/m,rw");
    assert_eq!(run(&writable, "echo inside >/m/f; echo x >/m/g; cat /m/f /m/g").success(), "inside\nx");
    assert_eq!(run(&format!("type=bind,src={dir}/f,dst=/m,rw"), "echo inside >/m; cat /m").success(), "inside");
    assert_eq!(std::fs::read_to_string(env.work().join("shared/f")).unwrap(), "host\n");
    assert!(!env.work().join("shared/g").exists());
    let through = env.run(["run", "-v", &format!("{dir}:/m"), &container, "--", "sh", "-c", "echo x >/m/g"]);
    through.success();
    assert!(env.work().join("shared/g").exists(), "--volume lets writes through");
}

#[test]
fn sources_of_mounts_are_below_the_context_or_an_image() {
    let env = TestEnv::new();
    let container = running(&env);
    shared(&env);
    let work = env.work().display().to_string();
    for source in ["shared", "/shared", "x/../shared", "../../../shared"] {
        env.write("x/y", "");
        let mount = format!("type=bind,src={source},dst=m");
        let output =
            env.run(["run", "--contextdir", &work, "--workingdir", "/w", "--mount", &mount, &container, "cat", "/w/m/f"]);
        assert_eq!(output.success(), "host", "{source}");
    }
    assert_eq!(
        env.ok(["run", "--mount", "type=bind,from=base,src=/bin/busybox,dst=/busybox", &container, "/busybox", "echo", "yes"]),
        "yes"
    );
    let whole =
        env.run(["run", "--mount", "type=bind,from=base,dst=/i,rw", &container, "--", "sh", "-c", "echo x >/i/x; ls /i/x"]);
    assert_eq!(whole.success(), "/i/x");
    assert!(env.run(["run", "--mount", "type=bind,from=nope,dst=/i", &container, "true"]).failure(125).contains("nope"));
    env.assert_store_is_clean();
}

#[test]
fn an_overlay_volume_keeps_its_writes_where_it_is_told() {
    let env = TestEnv::new();
    let (container, dir) = (running(&env), shared(&env));
    let place = |name: &str| env.write(&format!("{name}/.d"), "").parent().unwrap().display().to_string();
    let (upper, work) = (place("upper"), env.work().join("overlay-work").display().to_string());
    env.shell("mkdir overlay-work").success();
    let volume = format!("{dir}:/m:O,upperdir={upper},workdir={work}");
    env.ok(["run", "-v", &volume, &container, "--", "sh", "-c", "echo kept >/m/new"]);
    assert_eq!(std::fs::read_to_string(env.work().join("upper/new")).unwrap(), "kept\n");
    assert!(!env.work().join("shared/new").exists());
    assert_eq!(env.ok(["run", "-v", &volume, &container, "cat", "/m/new"]), "kept");
    env.ok(["run", "-v", &format!("{dir}:/m:O"), &container, "--", "sh", "-c", "echo gone >/m/new"]);
    assert!(!env.work().join("shared/new").exists());
}

#[test]
fn a_cache_outlives_the_command_and_has_the_owner_that_was_asked_for() {
    let env = TestEnv::new();
    let container = running(&env);
    let run = |mount: &str, script: &str| env.ok(["run", "--mount", mount, &container, "--", "sh", "-c", script]);
    run("type=cache,dst=/c", "echo first >/c/f");
    assert_eq!(run("type=cache,target=/c", "cat /c/f"), "first");
    assert_eq!(run("type=cache,dst=/d", "ls /d"), "", "the target is the name");
    assert_eq!(run("type=cache,dst=/d,id=/c", "cat /d/f"), "first", "an id is a name like a target");
    assert_eq!(run("type=cache,dst=/c,id=x,uid=7,gid=8,mode=0711", "stat -c %u:%g:%a /c"), "7:8:711");
    assert_eq!(run("type=cache,dst=/c,ro", "touch /c/g 2>/dev/null || cat /c/f"), "first");
    run("type=cache,dst=/c", "mkdir /c/sub; echo below >/c/sub/f");
    assert_eq!(run("type=cache,dst=/c,source=sub", "cat /c/f"), "below");
}

#[test]
fn a_locked_cache_is_used_by_one_command_at_a_time() {
    let env = TestEnv::new();
    let container = running(&env);
    let other = env.ok(["from", "base"]);
    let body = "n=$(cat /c/n 2>/dev/null || echo 0); sleep 0.3; echo $((n+1)) >/c/n";
    let one = |name: &str| format!("coracle run --mount type=cache,dst=/c,sharing=locked {name} -- sh -c '{body}'");
    env.shell(&format!("{} & {} & {} & wait", one(&container), one(&other), one(&other))).success();
    assert_eq!(env.ok(["run", "--mount", "type=cache,dst=/c", &container, "cat", "/c/n"]), "3");
}

#[test]
fn missing_and_doubled_mounts_are_refused() {
    let env = TestEnv::new();
    let (container, dir) = (running(&env), shared(&env));
    let volume = format!("{dir}:/m");
    for (flags, words) in [
        (vec!["-v", &volume, "-v", &volume], "/m: duplicate mount destination"),
        (vec!["-v", "/nonexistent:/m"], "stat /nonexistent: no such file or directory"),
        (vec!["--mount", "type=bind,src=relative,dst=/m"], "it needs --contextdir"),
        (vec!["--mount", "type=bind,dst=/m"], "must set volume source"),
        (vec!["--mount", "type=secret,id=x"], "invalid filesystem type \"secret\"\n"),
        (vec!["--mount", "type=cach,dst=/m"], "invalid filesystem type \"cach\": did you mean cache?\n"),
        (vec!["--mount", "type=cache,dst=/m,sharring=locked"], "sharring: invalid mount option: did you mean sharing?\n"),
        (
            vec!["--mount", "type=bind,src=/,dst=/m,bind-propagation=salve"],
            "\"salve\": invalid mount option: did you mean slave?\n",
        ),
        (vec!["--mount", "type=bind,src=/,dst=/m,relabel=shred"], "invalid mount option: did you mean shared?\n"),
    ] {
        let words_of_run = ["run"].into_iter().chain(flags).chain([container.as_str(), "true"]);
        let output = env.run(words_of_run);
        assert!(output.failure(125).contains(words), "{words}: {output}");
    }
}

#[test]
fn the_mask_of_new_files_is_the_callers_choice() {
    let env = TestEnv::new();
    let container = running(&env);
    let script = ["sh", "-c", "umask; touch /f; stat -c %a /f; rm /f"];
    assert_eq!(env.ok([&["run", &container], &script[..]].concat()), "0022\n644");
    assert_eq!(env.ok([&["run", "--umask", "0077", &container], &script[..]].concat()), "0077\n600");
    for word in ["9", "x", "77777"] {
        assert!(env.run(["run", "--umask", word, &container, "true"]).failure(125).contains(word), "{word}");
    }
}

#[test]
fn many_variables_of_the_caller_are_named_by_their_beginning() {
    let mut env = TestEnv::new();
    env.set("VERB_ONE", "1");
    env.set("VERB_TWO", "2");
    let container = running(&env);
    assert_eq!(env.ok(["run", "--env", "VERB_*", &container, "sh", "-c", "echo $VERB_ONE $VERB_TWO"]), "1 2");
}

#[test]
fn an_escaped_colon_is_of_the_path_and_a_group_alone_is_roots() {
    let env = TestEnv::new();
    let container = running(&env);
    env.write("a:b/file", "inside\n");
    let volume = format!("{}/a\\:b:/m\\:n", env.work().display());
    assert_eq!(env.ok(["run", "-v", &volume, &container, "cat", "/m:n/file"]), "inside");
    assert_eq!(env.ok(["run", "--user", ":5", &container, "sh", "-c", "id -u; id -g"]), "0\n5");
}

#[test]
fn a_command_without_a_name_is_status_1() {
    let env = TestEnv::new();
    let container = running(&env);
    for words in [&["run", container.as_str(), ""][..], &["run", container.as_str(), "", "a"]] {
        let said = env.run(words).failure(1);
        assert_eq!(said, "Error: exec: no command\n", "{words:?}");
    }
    assert_eq!(env.ok(["run", "--hostname", "", &container, "hostname"]).len(), 12, "an empty name is the usual one");
}

#[test]
fn a_few_descriptors_are_enough_for_a_command_and_too_few_are_said() {
    let env = TestEnv::new();
    env.busybox("base");
    for limit in ["20", "5"] {
        let container = env.ok(["from", "--ulimit", &format!("nofile={limit}"), "base"]);
        assert_eq!(env.ok(["run", &container, "--", "sh", "-c", "ulimit -n"]), limit);
    }
    let container = env.ok(["from", "--ulimit", "nofile=3", "base"]);
    let said = env.run(["run", &container, "--", "true"]).failure(1);
    assert!(said.contains("starting the container's process: moving a descriptor: "), "{said}");
    env.write("ctx/Dockerfile", "FROM base\nRUN ulimit -n\n");
    let built = env.ok(["build", "--ulimit", "nofile=20", "ctx"]);
    assert!(built.lines().any(|line| line == "20"), "{built}");
}
