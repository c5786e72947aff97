//! `--isolation`, `--runtime` and their variables: which engine runs a command, and that it is the same command under each.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{TestEnv, am_root, skip_without};

/// A container with busybox.
fn container(env: &TestEnv) -> String {
    env.busybox("busybox");
    env.ok(["from", "--pull-never", "busybox"])
}

/// What a container's state file says about its isolation: Buildah's numbers.
fn kept(env: &TestEnv, container: &str) -> Value {
    let id = env.ok(["inspect", "--format", "{{.ContainerID}}", container]);
    let path = env.graph_root().join("overlay-containers").join(id).join("userdata/buildah.json");
    let state: Value = serde_json::from_slice(&std::fs::read(path).expect("the state file")).expect("JSON");
    state["Isolation"].clone()
}

/// Nothing of a run is left in the directory for temporary files.
#[track_caller]
fn assert_no_bundle(env: &TestEnv) {
    let left: Vec<_> = std::fs::read_dir(env.path("tmp")).expect("the directory").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

const ISOLATIONS: [&[&str]; 3] = [&["--isolation", "rootless"], &["--isolation", "chroot"], &["--runtime", "runc"]];

#[test]
fn a_word_that_is_no_isolation_is_refused_and_never_weaker() {
    let mut env = TestEnv::new();
    let name = env.ok(["from", "scratch"]);
    for arguments in [vec!["from", "--isolation", "x", "scratch"], vec!["run", "--isolation", "", &name, "true"]] {
        assert!(env.run(arguments).failure(125).contains("unrecognized isolation type"));
    }
    env.set("BUILDAH_ISOLATION", "y");
    for arguments in [vec!["from", "scratch"], vec!["run", &name, "true"]] {
        assert!(env.run(arguments).failure(125).contains("unrecognized $BUILDAH_ISOLATION value \"y\""));
    }
}

#[test]
fn the_word_is_kept_as_buildahs_number_and_a_variable_stands_for_the_flag() {
    let mut env = TestEnv::new();
    let default = if am_root() && crate::harness::test_user().uid == 0 { 0 } else { 3 };
    for (flags, number) in [
        (&[][..], default),
        (&["--isolation", "default"], default),
        (&["--isolation", "oci"], 1),
        (&["--isolation", "CHROOT"], 2),
        (&["--isolation", "rootless"], 3),
    ] {
        let name = env.ok([&["from"], flags, &["scratch"]].concat());
        assert_eq!(kept(&env, &name), Value::from(number), "{flags:?}");
    }
    env.set("BUILDAH_ISOLATION", "chroot");
    let name = env.ok(["from", "scratch"]);
    assert_eq!(kept(&env, &name), Value::from(2));
    let name = env.ok(["from", "--isolation", "rootless", "scratch"]);
    assert_eq!(kept(&env, &name), Value::from(3));
}

/// Process 1 tells: with the machine's processes it is the machine's.
#[test]
fn flag_variable_and_container_decide_in_this_order() {
    let mut env = TestEnv::new();
    env.busybox("busybox");
    let name = env.ok(["from", "--pull-never", "--isolation", "chroot", "busybox"]);
    let is_first = |env: &TestEnv, flags: &[&str]| {
        env.ok([&["run", "--network", "host"], flags, &[&name, "sh", "-c", "echo $$"]].concat()) == "1"
    };
    assert!(!is_first(&env, &[]), "the container was made for chroot");
    assert!(is_first(&env, &["--isolation", "rootless"]));
    env.set("BUILDAH_ISOLATION", "rootless");
    assert!(is_first(&env, &[]));
    assert!(!is_first(&env, &["--isolation", "chroot"]));
}

#[test]
fn a_command_is_the_same_under_each_isolation() {
    if skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    env.write("volume/file", "v");
    let script = "id; pwd; env | sort; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; ulimit -n; ls -d /dev/null \
        /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/pts /dev/shm; cat /etc/hostname /volume/file; hostname; \
        cat /etc/hosts; touch /volume/x 2>&1; cat /proc/timer_list | wc -c; echo x >/proc/sys/kernel/hostname 2>/dev/null; \
        ls -A /proc/acpi /sys/firmware; cat; exit 42";
    let volume = format!("{}:/volume:ro", env.work().join("volume").display());
    let mut seen: Vec<(Vec<u8>, Option<i32>)> = Vec::new();
    for isolation in ISOLATIONS {
        for user in ["0", "user"] {
            let flags = ["--network", "host", "--volume", &volume, "--user", user, "--workingdir", "/made/here", "-e", "A=b c"];
            let mut command = env.command(&crate::harness::binary().to_string_lossy());
            command.arg("run").args(isolation).args(flags).args([&name, "sh", "-c", script]);
            let output = env.output(command, b"input\n");
            assert!(output.out().contains("input"), "{isolation:?}: {output}");
            seen.push((output.stdout, output.code));
        }
    }
    for pair in seen.chunks(2).collect::<Vec<_>>().windows(2) {
        for (one, other) in pair[0].iter().zip(pair[1]) {
            let text = |stdout: &[u8]| String::from_utf8_lossy(stdout).into_owned();
            assert_eq!((text(&one.0), one.1), (text(&other.0), Some(42)));
        }
    }
    assert_no_bundle(&env);
    let changed =
        env.ok(["unshare", "sh", "-c", "cd $(coracle mount $0); find . -newer bin/busybox | grep -v '^./bin'", &name]);
    assert!(changed.contains("./made/here") && !changed.contains("volume"), "{changed}");
}

#[test]
fn a_runtime_that_fails_says_why_and_leaves_nothing() {
    if skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    let output = env.run(["run", "--network", "host", "--runtime", "runc", &name, "nope"]);
    let said = output.failure(1);
    assert!(
        said.contains("Error: creating the container with \"/usr/") && said.contains("executable file not found in $PATH"),
        "{said}"
    );
    assert!(said.contains("hint: the command is looked up in the container"), "{said}");
    let broken = env.write("broken", "#!/bin/sh\nexit 3\n");
    std::fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    let said = env.run(["run", "--network", "host", "--runtime", &broken.to_string_lossy(), &name, "true"]);
    assert!(said.failure(1).contains("exit status 3"), "{said}");
    for missing in ["nope", "/nonexistent/runc"] {
        let output = env.run(["run", "--network", "host", "--runtime", missing, &name, "true"]);
        assert!(output.failure(1).contains("is not installed"), "{output}");
    }
    assert_no_bundle(&env);
    env.assert_store_is_clean();
}

/// A runtime that notes what it is told, and hands it on to runc.
#[test]
fn a_runtime_hears_buildahs_words() {
    if skip_without(&["runc"]) {
        return;
    }
    let mut env = TestEnv::new();
    let name = container(&env);
    let log = env.work().join("log");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>{0}; env >>{0}.env; ls -l /proc/self/fd >>{0}.fds; exec runc \"$@\"\n",
        log.display()
    );
    let runtime = env.write("spy", script);
    std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    env.set("TOKEN", "canary42");
    env.set("BUILDAH_RUNTIME", &runtime.to_string_lossy());
    env.ok(["run", "--network", "host", "--runtime-flag", "debug", &name, "true"]);
    let heard = std::fs::read_to_string(&log).expect("the log");
    let lines: Vec<_> = heard.lines().collect();
    let calls: Vec<_> = lines.iter().filter_map(|line| line.split(' ').find(|word| !word.starts_with('-'))).collect();
    assert_eq!(calls, ["create", "start", "delete"], "{heard}");
    for word in [" --debug create ", " --bundle ", " --pid-file ", " --no-new-keyring "] {
        assert!(lines[0].contains(word), "{word}: {heard}");
    }
    assert!(!std::fs::read_to_string(format!("{}.env", log.display())).expect("the environment").contains("canary42"));
}

#[test]
fn a_runtime_is_found_by_the_names_of_containers_conf() {
    if skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    let runtime = env.write("mine", "#!/bin/sh\necho mine >&2\nexec runc \"$@\"\n");
    std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    let conf = format!("[engine]\nruntime = \"mine\"\n[engine.runtimes]\nmine = [\"/nonexistent\", {runtime:?}]\n");
    env.write_home(".config/containers/containers.conf", conf);
    let run = |flags: &[&str]| env.run([&["run", "--network", "host"], flags, &[&name, "true"]].concat());
    assert!(!run(&[]).err().contains("mine"), "the built-in runtime needs none");
    let output = run(&["--isolation", "oci"]);
    output.success();
    assert!(output.err().contains("mine"), "{output}");
    assert!(!run(&["--runtime", "runc"]).err().contains("mine"));
}

#[test]
fn chroot_has_the_machines_network_and_no_other() {
    let env = TestEnv::new();
    let name = container(&env);
    for network in ["none", "private"] {
        let output = env.run(["run", "--isolation", "chroot", "--network", network, &name, "true"]);
        assert!(output.failure(125).contains("cannot set --network other than host with --isolation chroot"), "{output}");
    }
    let outside = std::fs::read_link("/proc/self/ns/net").expect("a namespace").display().to_string();
    assert_eq!(env.ok(["run", "--isolation", "chroot", &name, "readlink", "-v", "/proc/self/ns/net"]), outside);
}

#[test]
fn a_manager_of_control_groups_that_is_none_is_refused() {
    let env = TestEnv::new();
    for arguments in [["--cgroup-manager", "bogus", "containers"], ["containers", "--cgroup-manager", ""]] {
        assert!(env.run(arguments).failure(125).contains("want \"systemd\" or \"cgroupfs\""));
    }
    env.ok(["--cgroup-manager", "cgroupfs", "containers"]);
}

#[test]
fn limits_are_kept_as_buildah_keeps_them_and_checked() {
    let env = TestEnv::new();
    let flags = "--memory 100m --memory-swap -1 -c 512 --cpu-period 1000 --cpu-quota -1 --cpuset-cpus 0 --cgroup-parent /a";
    let name = env.ok([&["from"], &flags.split(' ').collect::<Vec<_>>()[..], &["scratch"]].concat());
    let id = env.ok(["inspect", "--format", "{{.ContainerID}}", &name]);
    let path = env.graph_root().join("overlay-containers").join(id).join("userdata/buildah.json");
    let state: Value = serde_json::from_slice(&std::fs::read(path).expect("the state file")).expect("JSON");
    let common = &state["CommonBuildOpts"];
    for (member, value) in [
        ("Memory", Value::from(100 << 20)),
        ("MemorySwap", Value::from(-1)),
        ("CPUShares", Value::from(512)),
        ("CPUPeriod", Value::from(1000)),
        ("CPUQuota", Value::from(-1)),
        ("CPUSetCPUs", Value::from("0")),
        ("CPUSetMems", Value::from("")),
        ("CgroupParent", Value::from("/a")),
    ] {
        assert_eq!(common[member], value, "{member}");
    }
    for wrong in [["--memory", "1x"], ["--cpuset-cpus", "a"], ["--cgroup-parent", "../a"]] {
        env.run(["from", wrong[0], wrong[1], "scratch"]).failure(125);
    }
}

#[test]
fn limits_that_cannot_be_applied_are_told_and_the_command_runs() {
    let env = TestEnv::new();
    env.busybox("busybox");
    let name = env.ok(["from", "--pull-never", "--memory", "1g", "busybox"]);
    let output = env.run(["run", "--network", "host", &name, "cat", "/proc/self/cgroup"]);
    // A user whose groups are delegated has them applied.
    assert!(
        output.success().contains("coracle-") || output.err().contains("limits of memory and processors are not applied"),
        "{output}"
    );
}

/// As root, where this machine has the controllers: what the kernel enforces, and nothing left behind.
#[test]
fn limits_are_applied_where_groups_may_be_made() {
    if !am_root() || !Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists() {
        eprintln!("skipped: needs root, and the memory controller");
        return;
    }
    let env = TestEnv::new();
    let conf = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        env.path("root-store"),
        env.path("root-run")
    );
    env.write("root.conf", conf);
    let script = format!(
        "c=$(coracle from --memory 64m --cpu-shares 256 scratch); coracle add -q $c {} /; coracle config --env PATH=/bin $c; \
         for flags in '--isolation rootless' '--isolation chroot'; do coracle run --network host $flags $c sh -c '\
         g=$(grep :memory: /proc/self/cgroup | cut -d: -f3); cat /sys/fs/cgroup/memory$g/memory.limit_in_bytes; echo $g'; done; \
         coracle rm -a >/dev/null; rm -rf ../root-store",
        crate::harness::busybox_tar().display()
    );
    let mut command = Command::new("/bin/sh");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", crate::harness::binary().parent().expect("a directory").display());
    command.env_clear().env("PATH", path).env("HOME", env.path("home")).current_dir(env.work());
    command.env("CONTAINERS_STORAGE_CONF", env.path("work/root.conf")).args(["-euc", &script]);
    let said = env.output(command, b"").success();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (4, "67108864", "67108864"), "{said}");
    for group in [lines[1], lines[3]] {
        assert!(group.contains("/coracle-"), "{group}");
        assert!(!Path::new("/sys/fs/cgroup/memory").join(group.trim_start_matches('/')).exists(), "{group} was left behind");
    }
}

/// Killed without a chance to tidy up, the run takes its container with it.
#[test]
fn a_killed_run_leaves_no_container_of_a_runtime() {
    if skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    let marker = format!("3{}", std::process::id());
    let mut command: Command = env.command(&crate::harness::binary().to_string_lossy());
    command.args(["run", "--network", "host", "--runtime", "runc", &name, "sleep", &marker]);
    let mut child = command.spawn().expect("coracle");
    let sleeping = || {
        let runs = |entry: std::fs::DirEntry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == format!("sleep\0{marker}\0").into_bytes())
        };
        std::fs::read_dir("/proc").expect("/proc").flatten().any(runs)
    };
    wait_for(sleeping, "the command to start");
    child.kill().expect("killed");
    child.wait().expect("its end");
    wait_for(|| !sleeping(), "the container to end");
    wait_for(|| std::fs::read_dir(env.path("tmp")).expect("the directory").next().is_none(), "the bundle to vanish");
}

#[track_caller]
fn wait_for(condition: impl Fn() -> bool, what: &str) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_signal_reaches_the_command_of_a_runtime() {
    if skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    for isolation in ISOLATIONS {
        let mut command = env.command(&crate::harness::binary().to_string_lossy());
        let script = "trap 'echo caught; exit 7' TERM; echo ready >/ready; while :; do sleep 0.05; done";
        command.args(["run", "--network", "host"]).args(isolation).args([&name, "sh", "-c", script]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("coracle");
        std::thread::sleep(Duration::from_millis(900));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).expect("sent");
        assert_eq!(child.wait().expect("its end").code(), Some(7), "{isolation:?}");
    }
    assert!(Path::new(&env.path("tmp")).exists());
}

/// A directory with one hook for each of these stages, which writes its state and arguments to a file.
fn hooks(env: &TestEnv, stages: &str, when: &str, script: &str) -> String {
    let log = env.work().join("hooks.log");
    let program =
        env.write("hook", format!("#!/bin/sh\nstate=$(cat)\necho \"$1 $ONE $state\" >>{}\n{script}\n", log.display()));
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    let text = format!(
        r#"{{"version":"1.0.0","hook":{{"path":{program:?},"args":["hook","word"],"env":["ONE=1"],"timeout":5}},"when":{when},"stages":{stages}}}"#
    );
    env.write("hooks.d/10-hook.json", text);
    env.work().join("hooks.d").display().to_string()
}

#[test]
fn hooks_run_around_a_command_under_each_isolation() {
    if skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("busybox");
    let script = "bundle=$(echo \"$state\" | sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/'); test -s \"$bundle/config.json\"";
    let dir = hooks(&env, r#"["prestart","createRuntime","poststart","poststop"]"#, r#"{"commands":["sh$"]}"#, script);
    let name = env.ok(["from", "--pull-never", "--hooks-dir", &dir, "busybox"]);
    let log = env.work().join("hooks.log");
    for isolation in ISOLATIONS {
        let run = |command: &[&str]| env.run([&["run", "--network", "host"], isolation, &[&name], command].concat());
        assert_eq!(run(&["sh", "-c", "sleep 0.3; echo out"]).success(), "out", "{isolation:?}");
        let said = std::fs::read_to_string(&log).expect("the hooks' log");
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 4, "{isolation:?}: {said}");
        assert!(lines.iter().all(|line| line.starts_with("word 1 {")), "{said}");
        for (line, status) in lines.iter().zip(["creat", "creat", "running", "stopped"]) {
            // What a runtime says is its own: runc calls a started container created.
            let said = line.contains(&format!("\"status\":\"{status}"));
            assert!(said || isolation.contains(&"runc"), "{isolation:?}: {status} in {line}");
        }
        std::fs::remove_file(&log).expect("removed");
        run(&["true"]).success();
        assert!(!log.exists(), "its condition does not hold");
    }
    assert_no_bundle(&env);
}

#[test]
fn a_hook_that_fails_or_hangs_ends_the_run() {
    let env = TestEnv::new();
    env.busybox("busybox");
    for (script, words) in [("exit 3", "exit status: 3"), ("sleep 60", "took longer than")] {
        let dir = hooks(&env, r#"["createRuntime"]"#, r#"{"always":true}"#, script);
        let file = env.work().join("hooks.d/10-hook.json");
        let text = std::fs::read_to_string(&file).expect("the hook").replace("\"timeout\":5", "\"timeout\":1");
        std::fs::write(&file, text).expect("written");
        let name = env.ok(["from", "--pull-never", "--hooks-dir", &dir, "busybox"]);
        let output = env.run(["run", "--network", "host", &name, "touch", "/ran"]);
        assert!(output.failure(1).contains(words), "{output}");
        assert!(!env.ok(["diff", &name]).contains("ran"), "the command ran");
    }
    env.write("hooks.d/20-bad.json", "{}");
    let dir = env.work().join("hooks.d").display().to_string();
    assert!(env.run(["from", "--hooks-dir", &dir, "scratch"]).failure(125).contains("20-bad.json"));
}

/// The two stages inside: one sees the machine's files and the container's namespaces, the other the container's files, as the
/// command's user.
#[test]
fn hooks_run_in_the_container_under_each_isolation() {
    if skip_without(&["runc", "jq"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("busybox");
    // The root of the bundle is the container's tree, mounts and all.
    let script = "readlink /proc/self/ns/mnt; bundle=$(echo \"$state\" | sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/'); \
                  root=$(jq -r .root.path \"$bundle/config.json\"); test -e \"$root/proc/self\"; touch \"$root/tmp/by-hook\"";
    let dir = hooks(
        &env,
        r#"["createContainer"]"#,
        r#"{"always":true}"#,
        &format!("{{ {script}; }} >>{}/namespace", env.work().display()),
    );
    let started = r#"{"version":"1.0.0","hook":{"path":"/bin/sh","args":["sh","-c","cat >/tmp/started; id -u >>/tmp/started"]},"when":{"always":true},"stages":["startContainer"]}"#;
    env.write("hooks.d/20-started.json", started);
    let own = env.shell("readlink /proc/self/ns/mnt").success();
    for isolation in ISOLATIONS {
        let name = env.ok(["from", "--pull-never", "--hooks-dir", &dir, "busybox"]);
        let output = env.run(
            [&["run", "--network", "host", "--user", "1000"], isolation, &[&name, "sh", "-c", "cat /tmp/started; ls /tmp"]]
                .concat(),
        );
        let said = output.success();
        assert!(said.contains("\"status\":\"created\"") && said.ends_with("1000\nby-hook\nstarted"), "{isolation:?}: {output}");
        let log = std::fs::read_to_string(env.work().join("hooks.log")).expect("the hooks' log");
        assert!(log.contains("\"status\":\"creating\"") || isolation.contains(&"runc"), "{isolation:?}: {log}");
        let namespace = std::fs::read_to_string(env.work().join("namespace")).expect("the namespace");
        assert!(namespace.starts_with("mnt:") && namespace.trim() != own, "{isolation:?}: {namespace}");
        std::fs::remove_file(env.work().join("hooks.log")).expect("removed");
        std::fs::remove_file(env.work().join("namespace")).expect("removed");
    }
    assert_no_bundle(&env);
}

#[test]
fn a_hook_in_the_container_that_fails_ends_the_run_and_the_last_hooks_follow() {
    let env = TestEnv::new();
    env.busybox("busybox");
    for stage in ["createContainer", "startContainer"] {
        let dir = hooks(&env, r#"["poststop"]"#, r#"{"always":true}"#, "");
        let failing = r#"{"version":"1.0.0","hook":{"path":"/bin/sh","args":["sh","-c","exit 3"]},"when":{"always":true},"stages":["STAGE"]}"#;
        env.write("hooks.d/20-fails.json", failing.replace("STAGE", stage));
        let name = env.ok(["from", "--pull-never", "--hooks-dir", &dir, "busybox"]);
        let output = env.run(["run", "--network", "host", &name, "touch", "/ran"]);
        assert!(output.failure(1).contains(&format!("hook \"/bin/sh\" ({stage}): exit status: 3")), "{output}");
        assert!(!env.ok(["diff", &name]).contains("ran"), "the command ran");
        let log = env.work().join("hooks.log");
        assert!(std::fs::read_to_string(&log).expect("the hooks' log").contains("\"status\":\"stopped\""));
        std::fs::remove_file(&log).expect("removed");
    }
}

/// crun refuses a machine with control groups of both versions: there those of version 2 are covered, which takes a namespace only.
#[test]
fn commands_are_the_same_under_crun() {
    if skip_without(&["crun"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    let cover = "[ ! -d /sys/fs/cgroup/unified ] || mount -t tmpfs none /sys/fs/cgroup/unified";
    let run = |words: &str| {
        let run = format!("coracle run --network none --isolation oci --runtime crun {words}");
        env.run(["unshare", "sh", "-c", &format!("{cover}; {run}")])
    };
    let plain = run(&format!("{name} sh -c 'echo out; echo err >&2; exit 7'"));
    assert!(plain.code == Some(7) && plain.out() == "out\n" && plain.err().starts_with("err\n"), "{plain}");
    assert_eq!(run(&format!("--runtime-flag cgroup-manager=disabled --user 1000 {name} id -u")).success(), "1000");
    // The attributes that a source has are not enough for it.
    let volume = format!("--volume {}:/in:ro", env.work().display());
    assert_eq!(run(&format!("{volume} {name} sh -c 'touch /in/x 2>/dev/null || echo read-only'")).success(), "read-only");
    let missing = run(&format!("{name} /nonexistent"));
    assert_eq!(missing.failure(1).matches("/nonexistent").count(), 1, "{missing}");
}

/// A runtime says why it failed on the standard error that the command would have got, and in its log.
#[test]
fn the_error_of_a_runtime_is_shown_once() {
    if skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    // A file of the caller's own, which the runtime would inherit.
    let script = format!("coracle run --network host --runtime runc {name} /nonexistent 2>said || cat said");
    let said = env.shell(&script).success();
    assert_eq!(said.matches("no such file or directory").count(), 1, "{said}");
    let script =
        format!("coracle run --network host --runtime runc {name} sh -c 'echo one >&2; echo two >&2' 2>said; cat said");
    assert_eq!(env.shell(&script).success(), "one\ntwo");
}

/// `annotations` of containers.conf are words for the runtime.
#[test]
fn annotations_of_the_settings_reach_the_runtime() {
    let env = TestEnv::new();
    let name = container(&env);
    env.write_home(".config/containers/containers.conf", "[containers]\nannotations = [\"run.oci.x=1\"]\n");
    let spy = "#!/bin/sh\nfor word; do [ \"$before\" != --bundle ] || cp \"$word/config.json\" \"$0.json\"; before=$word; done\nexit 1\n";
    let program = env.write("runtime", spy);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    env.run(["run", "--network", "host", "--runtime", &program.to_string_lossy(), &name, "true"]).failure(1);
    let spec = std::fs::read(env.work().join("runtime.json")).expect("the specification");
    let spec: serde_json::Value = serde_json::from_slice(&spec).expect("JSON");
    assert_eq!(spec["annotations"]["run.oci.x"], "1", "{spec}");
}

/// This machine's kernel need not have AppArmor or SELinux: what is asked for is applied, or said to be impossible.
#[test]
fn a_security_profile_that_cannot_be_applied_is_an_error() {
    let apparmor = std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    if apparmor || Path::new("/sys/fs/selinux/enforce").exists() {
        eprintln!("skipped: this kernel has such profiles");
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    env.ok(["from", "--name", "profiled", "--security-opt", "apparmor=none-such", "base"]);
    let run = |isolation: &str, flags: &[&str]| {
        let start = ["run", "--network", "host", "--isolation", isolation];
        env.run(start.into_iter().chain(flags.iter().copied()).chain(["profiled", "echo", "ran"]))
    };
    insta::assert_snapshot!(run("rootless", &[]), @r#"
    ------- stderr -------
    Error: unable to apply apparmor profile "none-such": AppArmor is not enabled on this machine
    hint: leave --security-opt apparmor= out: nothing of AppArmor confines a process here
    [exit status: 1]
    "#);
    assert_eq!(run("rootless", &["--security-opt", "apparmor=unconfined"]).success(), "ran");
    assert_eq!(run("chroot", &[]).success(), "ran", "as Buildah");
    if !skip_without(&["runc"]) {
        let refused = run("oci", &["--runtime", "runc"]);
        assert!(refused.failure(1).contains("unable to apply apparmor profile"), "{refused}");
    }
    env.ok(["from", "--name", "labelled", "--security-opt", "label=type:spc_t", "base"]);
    assert_eq!(env.ok(["run", "--network", "host", "labelled", "echo", "ran"]), "ran", "as Buildah");
}

/// The machine's rules for emulators, given to a run in a mount namespace: the static busybox stands for an emulator, since it takes the
/// program that it is handed for the name of an applet.
#[test]
fn programs_of_other_processors_are_run_when_their_emulators_are_registered() {
    if !am_root() {
        return; // the machine's rules are root's
    }
    let env = TestEnv::new();
    if env.run(["unshare", "mount", "-t", "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]).code != Some(0) {
        eprintln!("skipped: this kernel has one binfmt_misc for all user namespaces (Linux 6.7 has more)");
        return;
    }
    env.busybox("box");
    // The headers of an ELF file for a processor that nobody has (elf(5): e_machine), as the rule has them.
    let mut program = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\xfe\xff".to_vec();
    program.resize(512, 0);
    env.write("ctx/echo", program);
    env.write("ctx/Dockerfile", "FROM box\nCOPY --chmod=755 echo /foreign/echo\nRUN /foreign/echo built >/said\n");
    env.shell("set -e; c=$(coracle from --name c box); coracle copy -q --chmod 755 c ctx/echo /foreign/echo").success();
    let emulator = env.shell("command -v busybox").success();
    let rule = |name: &str, magic: &str| format!(":{name}:M::{magic}::{emulator}:OF\n");
    let magic = r"\x7fELF\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xfe\xff";
    env.write("rules/emulator.conf", rule("foreign", magic));
    let with = |script: &str| env.with_mounts("mount --bind rules /usr/lib/binfmt.d", script);
    let run = "coracle run c /foreign/echo hello";
    for on in ["on", "TRUE", "yes", "1"] {
        let said = with(&format!("export BUILDAH_REGISTER_BINFMT={on}; {run}"));
        assert_eq!(said.success(), "hello", "{said}");
    }
    for isolation in ["chroot", "rootless"] {
        let said = with(&format!("export CORACLE_REGISTER_BINFMT=on BUILDAH_ISOLATION={isolation}; {run}"));
        assert_eq!(said.success(), "hello", "{isolation}: {said}");
    }
    let build = "coracle build -q --network host -t made ctx >/dev/null && coracle run $(coracle from made) cat /said";
    assert_eq!(with(&format!("export BUILDAH_REGISTER_BINFMT=on; {build}")).success(), "built");
    // By itself for an ordinary user in a container, and for nobody else.
    for inside in ["container=podman", "container=oci BUILDAH_REGISTER_BINFMT=auto"] {
        assert_eq!(with(&format!("export {inside}; {run}")).success(), "hello", "{inside}");
    }
    let others =
        ["unset container", "export container=podman BUILDAH_REGISTER_BINFMT=off", "export BUILDAH_REGISTER_BINFMT=auto"];
    for other in others {
        let said = with(&format!("{other}; {run}")).failure(1);
        assert!(said.contains("exec format error") && said.contains("BUILDAH_REGISTER_BINFMT=on"), "{other}: {said}");
    }
    // A rule that the kernel does not understand is told, and hinders nothing.
    env.write("wrong/wrong.conf", "# A comment\n\nwrong\n");
    let script = "export BUILDAH_REGISTER_BINFMT=on; coracle run c echo hello";
    let said = env.with_mounts("mount --bind wrong /usr/lib/binfmt.d", script);
    assert_eq!(said.success(), "hello", "{said}");
    assert!(said.err().contains("warning: binfmt_misc does not take \"wrong\": invalid argument"), "{said}");
    // What works already stays as it is, and rules that are for no processor are no reason for anything.
    env.write("more/other.conf", rule("other", r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xfe\xff"));
    env.write("more/emulator.conf", rule("foreign", magic));
    env.write("python/python.conf", rule("python", r"\xa7\x0d"));
    let registered = |rules: &str, variables: &str| {
        let script = format!(
            "mount -t binfmt_misc none $misc; cat rules/emulator.conf >$misc/register; mount --bind {rules} /usr/lib/binfmt.d
             {variables} {run} >/dev/null; ls $misc"
        );
        env.shell(&format!("export misc=/proc/sys/fs/binfmt_misc; coracle unshare sh -euc '{script}'")).success()
    };
    assert_eq!(registered("more", "container=podman"), "foreign\nregister\nstatus");
    assert_eq!(registered("python", "container=podman"), "foreign\nregister\nstatus");
    assert_eq!(registered("more", "BUILDAH_REGISTER_BINFMT=on"), "foreign\nother\nregister\nstatus");
}
