//! Process and namespaces (known attacks A43 to A65, A120, A123): what a command in a container holds, reaches and leaves behind.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::TestEnv;
use crate::probe::Probed;

/// The capabilities that root has in a container by default.
const DEFAULT_SET: &str = "00000000800405fb";
const NONE: &str = "0000000000000000";

fn text<'a>(report: &'a Value, field: &str) -> &'a str {
    report[field].as_str().unwrap_or_else(|| panic!("{field} in {report}"))
}

/// A43, CVE-2019-5736: neither the command, nor a script's interpreter, nor a look at other processes leads to our binary.
#[test]
fn the_callers_binary_is_not_reached_through_proc_self_exe() {
    let probed = Probed::new();
    let binary = std::fs::metadata(crate::harness::binary()).expect("the binary");
    let state = |data: &std::fs::Metadata| (data.len(), data.mode(), data.mtime(), data.ino());
    probed.shell(&[], "printf '#!/proc/self/exe\\n' >/evil; chmod 755 /evil; ln -s /proc/self/exe /link").success();
    for command in ["/proc/self/exe", "/link", "/proc/1/exe"] {
        let output = probed.env.run(["run", "--network", "host", &probed.container, command]);
        assert!(output.failure(1).contains("Error: exec: "), "{command}: {output}");
    }
    let started = Instant::now();
    let output = probed.env.run(["run", "--network", "host", &probed.container, "/evil"]);
    assert_eq!(output.code, Some(127), "what the kernel ran was not the trampoline: {output}");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(state(&std::fs::metadata(crate::harness::binary()).expect("the binary")), state(&binary));
}

/// A44, CVE-2024-21626: descriptors of the caller do not arrive, and no working directory leads through one.
#[test]
fn descriptors_of_the_caller_do_not_arrive() {
    let probed = Probed::new();
    let opened: String = (3..=9).map(|fd| format!("exec {fd}</; ")).collect();
    let words = probed.arguments(&["--network", "host"], &["/probe"]).join(" ");
    let report: Value =
        serde_json::from_str(&probed.env.shell(&format!("{opened} exec coracle {words}")).success()).expect("JSON");
    assert_eq!(report["fds"], serde_json::json!([0, 1, 2]));
    for fd in 0..12 {
        for dir in [format!("/proc/self/fd/{fd}"), format!("/dev/fd/{fd}")] {
            let script = format!("{opened} exec coracle run --network host --workingdir {dir} {} pwd", probed.container);
            let output = probed.env.shell(&script);
            assert!(output.failure(1).contains("working directory"), "{dir}: {output}");
        }
    }
}

/// A45, CVE-2016-9962, and A53: with the caller's processes in sight, none can be attached to, read or written.
#[test]
fn the_callers_processes_are_closed_to_the_container() {
    let mut env = TestEnv::new();
    env.set("TOKEN", "canary42");
    let probed = Probed::in_env(env);
    let report = probed.ask(&["--pid", "host"], &["others"]);
    assert_eq!((&report["opened"], &report["attached"]), (&Value::from(0), &Value::from(0)), "{report}");
    for flags in [&[][..], &["--pid", "host"]] {
        let found = probed.shell(flags, "env; cat /proc/*/environ /proc/1/environ 2>/dev/null; true").success();
        assert!(found.contains("PATH="), "the control: {found}");
        assert!(!found.contains("canary42"), "{flags:?}: {found}");
    }
}

/// A47, CVE-2022-24769, and A51, CVE-2018-10856.
#[test]
fn capabilities_are_bounded_and_never_inheritable() {
    let probed = Probed::new();
    for (flags, effective, bounding) in [
        (&[][..], DEFAULT_SET, DEFAULT_SET),
        (&["--user", "1000"], NONE, DEFAULT_SET),
        (&["--cap-add", "NET_RAW"], "00000000800425fb", "00000000800425fb"),
        (&["--cap-add", "NET_RAW", "--user", "1000"], NONE, "00000000800425fb"),
        (&["--cap-drop", "all"], NONE, NONE),
        (&["--cap-drop", "all", "--cap-add", "KILL"], NONE, NONE),
    ] {
        // The second run of a container is no stronger than the first.
        for _ in 0..2 {
            let report = probed.ask(flags, &[]);
            assert_eq!(text(&report, "CapEff"), effective, "{flags:?}");
            assert_eq!(text(&report, "CapPrm"), effective, "{flags:?}");
            assert_eq!(text(&report, "CapBnd"), bounding, "{flags:?}");
            assert_eq!((text(&report, "CapInh"), text(&report, "CapAmb")), (NONE, NONE), "{flags:?}");
        }
    }
    let report = probed.ask(&["--security-opt", "no-new-privileges"], &[]);
    assert_eq!((text(&report, "NoNewPrivs"), text(&report, "Seccomp")), ("1", "2"));
}

/// A48, CVE-2022-36109: exactly the groups of the image's user, and a group's denial holds.
#[test]
fn supplementary_groups_are_the_images_and_no_others() {
    let probed = Probed::new();
    probed
        .shell(
            &[],
            "echo u:x:1700:1700::/home/u:/bin/sh >>/etc/passwd; printf 'u:x:1700:\\nd:x:1500:u\\ne:x:1501:x,u\\n' >>/etc/group; \
             echo x >/denied; chown 0:1500 /denied; chmod 0707 /denied",
        )
        .success();
    for (user, gid, groups) in
        [("u", 1700, "1500 1501 1700"), ("u:1501", 1501, "1501"), ("1700", 1700, "1500 1501 1700"), ("7", 0, "0")]
    {
        let report = probed.ask(&["--user", user], &[]);
        assert_eq!(report["gid"], Value::from(gid), "{user}");
        assert_eq!(text(&report, "Groups").trim(), groups, "{user}");
    }
    let output = probed.shell(&["--user", "u"], "cat /denied");
    assert_eq!(output.code, Some(1), "a group's denial was lost: {output}");
}

/// A50, CVE-2016-3697, CVE-2024-40635.
#[test]
fn what_is_no_user_is_refused_and_never_root() {
    let probed = Probed::new();
    probed.shell(&[], "echo 1000:x:0:0::/:/bin/sh >>/etc/passwd").success();
    assert_eq!(probed.ask(&["--user", "1000"], &[])["uid"], Value::from(1000), "a number is a number");
    for user in ["4294967296", "2147483648", "-1", "1000:x", "+0", " 0", "0x0", "1e3", "nobody-here", "root\n"] {
        let output = probed.env.run(["run", &format!("--user={user}"), &probed.container, "true"]);
        output.failure(125);
    }
}

/// A12, CVE-2024-9676, and A14.
#[test]
fn a_user_database_that_is_no_file_is_refused_at_once() {
    let probed = Probed::new();
    for script in ["mkfifo passwd", "ln -s /dev/zero passwd", "ln -s /proc/self/environ passwd", "mkdir passwd"] {
        probed.change(&format!("cd etc; rm -rf passwd; {script}"));
        let started = Instant::now();
        probed.env.run(["run", "--user", "bob", &probed.container, "true"]).failure(125);
        assert!(started.elapsed() < Duration::from_secs(30), "{script}");
    }
}

/// A52, CVE-2022-4318.
#[test]
fn a_line_break_in_a_name_makes_no_second_line() {
    let probed = Probed::new();
    for flags in [["--hostname", "a\nb"], ["--hostname", "a b"], ["--add-host", "a\nevil:192.0.2.1"], ["--hostname", ""]] {
        let output = probed.env.run(["run", "--network", "host", flags[0], flags[1], &probed.container, "true"]);
        if flags[1].is_empty() {
            continue;
        }
        output.failure(125);
    }
}

/// A53, CVE-2021-3602, and A54, CVE-2026-57231: nothing of the caller's environment but what was asked for.
#[test]
fn the_callers_environment_stays_outside() {
    let mut env = TestEnv::new();
    env.set("TOKEN", "canary42");
    env.set("AWS_SECRET", "canary42");
    let probed = Probed::in_env(env);
    probed.env.ok(["config", "--env", "KEPT=1", &probed.container]);
    let report = probed.ask(&["--env", "GIVEN=2"], &[]);
    let found: Vec<_> = report["env"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let names: Vec<_> = found.iter().filter_map(|entry| entry.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, ["PATH", "KEPT", "GIVEN", "HOSTNAME", "HOME"], "{found:?}");
}

/// A56, CVE-2017-5226: with the caller's terminal at hand, nothing can be typed into it.
#[test]
fn keystrokes_cannot_be_pushed_into_the_callers_terminal() {
    let probed = Probed::new();
    // Standard input is a terminal, the rest is not; and all three are one. `-t` gives it a terminal of its own.
    for (shape, flags) in [("in", &[][..]), ("all", &[]), ("in", &["-t"])] {
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let flags = [&["--network", "host"], flags].concat();
        let mut command = probed.env.command("coracle");
        command.args(probed.arguments(&flags, &["/probe", "typing"]));
        command.stdin(pty.slave.try_clone().expect("a descriptor")).stderr(Stdio::null());
        if shape == "all" {
            command.stdout(pty.slave.try_clone().expect("a descriptor")).stderr(pty.slave.try_clone().expect("a descriptor"));
        } else {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn().expect("coracle");
        let mut said = Vec::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_end(&mut said).expect("its output");
        }
        assert!(child.wait().expect("its end").success());
        drop(command);
        let mut waiting = 0u32;
        let pending = rustix::io::ioctl_fionread(&pty.slave).map(|bytes| waiting = bytes as u32);
        assert!(pending.is_ok() && waiting == 0, "{shape}: {waiting} bytes were typed");
        if shape != "all" {
            let report: Value = serde_json::from_slice(&said).expect("JSON");
            for (name, answer) in report.as_object().expect("an object") {
                assert_ne!(answer, &Value::from(0), "{shape} {name}");
            }
        }
    }
}

/// A57, GHSA-7236-3392-c5c6, and A61, CVE-2025-65105: a restriction that cannot be applied is an error.
#[test]
fn a_restriction_that_is_unknown_is_refused() {
    let probed = Probed::new();
    let unknown = probed.env.write("unknown.json", r#"{"defaultAction":"SCMP_ACT_NOPE","syscalls":[]}"#);
    let listener = probed.env.write("notify.json", r#"{"defaultAction":"SCMP_ACT_NOTIFY","syscalls":[]}"#);
    let seccomp = |path: &std::path::Path| format!("--security-opt=seccomp={}", path.display());
    for flag in [
        "--isolation=Insecure".to_owned(),
        "--isolation=x".to_owned(),
        "--security-opt=apparmor=strict".to_owned(),
        "--security-opt=nonsense".to_owned(),
        "--security-opt=seccomp=/nonexistent.json".to_owned(),
        seccomp(&unknown),
        seccomp(&listener),
        "--cap-add=NOPE".to_owned(),
        "--network=podman".to_owned(),
        "--ipc=x".to_owned(),
    ] {
        let output = probed.env.run(["run", &flag, &probed.container, "touch", "/ran"]);
        // What only the runtime finds out is a command that cannot be started, as with runc.
        let status = if flag.contains("apparmor") { 1 } else { 125 };
        assert_eq!(output.code, Some(status), "{flag}: {output}");
    }
    assert!(!probed.layer().contains(&"./ran".to_owned()));
}

/// A58, A59, CVE-2026-31431, and A60, CVE-2022-0185.
#[test]
fn refused_calls_are_refused_on_every_abi() {
    let probed = Probed::new();
    for flags in [&[][..], &["--user", "1000"]] {
        let report = probed.ask(flags, &["calls"]);
        for (name, answer) in report.as_object().expect("an object") {
            assert_eq!(answer == &Value::from(0), name == "af_inet", "{name} {flags:?}: {report}");
        }
    }
    // An explicit option opens what it names: the control that the filter, and not the kernel, refused.
    let report = probed.ask(&["--security-opt", "seccomp=unconfined"], &["calls"]);
    assert_eq!(report["unshare"], Value::from(0), "{report}");
}

/// A62, CVE-2021-43784.
#[test]
fn long_words_are_handed_over_whole_or_refused() {
    let probed = Probed::new();
    for length in [65_535, 65_536, 100_000] {
        let word = "x".repeat(length);
        let output = probed.env.run([
            "run",
            "--network",
            "host",
            "--env",
            &format!("LONG={word}"),
            &probed.container,
            "sh",
            "-c",
            "echo ${#LONG}",
        ]);
        assert_eq!(output.success(), length.to_string());
        let report = probed.ask(&["--env", &format!("LONG={word}")], &[]);
        assert_eq!((report["pid"].as_i64(), text(&report, "Seccomp")), (Some(1), "2"));
        probed.env.run(["run", "--hostname", &word, &probed.container, "true"]).failure(125);
    }
}

/// A65: nothing that a command leaves behind goes on, whatever namespace it was in.
#[test]
fn no_process_outlives_the_command() {
    let probed = Probed::new();
    for flags in [&[][..], &["--pid", "host"]] {
        let script = "(setsid sh -c 'while :; do date +%s%N >/x; done' &) ; (setsid sleep 1234567 &); sleep 0.2; exit 3";
        probed.shell(flags, script).failure(3);
        let read = || probed.env.ok(["run", "--network", "host", &probed.container, "cat", "/x"]);
        let first = read();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(read(), first, "{flags:?}: it goes on writing");
        let left = std::process::Command::new("pgrep").args(["-f", "^sleep 1234567"]).output().expect("pgrep");
        assert!(left.stdout.is_empty(), "{flags:?}: a process is left");
    }
}

/// A120, CVE-2020-15257: abstract sockets outside are not reached, unless the host's network was asked for.
#[test]
fn abstract_sockets_of_the_caller_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    let probed = Probed::new();
    let name = format!("coracle-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("an address");
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).expect("a listener");
    for (network, reached) in [("none", false), ("host", true)] {
        let output = probed.env.run(probed.arguments(&["--network", network], &["/probe", "abstract", &name]));
        let report: Value = serde_json::from_str(&output.success()).expect("JSON");
        assert_eq!(report["abstract"] == 0, reached, "{network}: {report}");
    }
    // What is used when nothing is said.
    let output = probed.env.run(probed.arguments(&[], &["/probe", "abstract", &name]));
    assert_ne!(serde_json::from_str::<Value>(&output.success()).expect("JSON")["abstract"], Value::from(0));
}

/// A123, CVE-2024-29018.
#[test]
fn without_a_network_no_resolver_is_named() {
    let probed = Probed::new();
    let output = probed.env.run([
        "run",
        "--network",
        "none",
        &probed.container,
        "sh",
        "-c",
        "cat /etc/resolv.conf; ip -o link | grep -v lo:",
    ]);
    assert_eq!(output.out(), "", "{output}");
}
