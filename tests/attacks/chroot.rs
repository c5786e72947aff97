//! `--isolation chroot` (the attacks on a process, known attacks A43 to A65, where the machine's processes are in sight), and the
//! plain chroot that is left where nothing can be mounted.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{TestEnv, skip_without};
use crate::paths::Canary;
use crate::probe::Probed;

const CHROOT: [&str; 2] = ["--isolation", "chroot"];

/// A43, A44, A47, A53: what the probe finds is what it finds in the other isolation.
#[test]
fn a_chroot_gives_a_process_no_more_than_namespaces_do() {
    let mut env = TestEnv::new();
    env.set("TOKEN", "canary42");
    let probed = Probed::in_env(env);
    let (narrow, full) = (probed.ask(&CHROOT, &[]), probed.ask(&[], &[]));
    for field in
        ["fds", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups", "uid", "gid", "env"]
    {
        assert_eq!(narrow[field], full[field], "{field}");
    }
    let others = probed.ask(&CHROOT, &["others"]);
    assert_eq!((&others["opened"], &others["attached"]), (&Value::from(0), &Value::from(0)), "{others}");
    let found = probed.shell(&CHROOT, "env; cat /proc/*/environ 2>/dev/null; true").success();
    assert!(found.contains("PATH=") && !found.contains("canary42"), "{found}");
    let denied = probed.ask(&[], &["calls"]);
    assert_eq!(probed.ask(&CHROOT, &["calls"]), denied);
}

/// The same for an external runtime, whose filter is compiled by somebody else (A58), and whose own descriptors are nobody's business
/// (A44): those of runc 1.1.5 include one on the machine's control groups.
#[test]
fn an_external_runtime_gives_a_process_no_more() {
    if skip_without(&["runc"]) {
        return;
    }
    let runc = ["--runtime", "runc"];
    let probed = Probed::new();
    let (theirs, ours) = (probed.ask(&runc, &[]), probed.ask(&[], &[]));
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups", "uid", "gid", "env"] {
        assert_eq!(theirs[field], ours[field], "{field}");
    }
    let calls = probed.ask(&runc, &["calls"]);
    for (name, answer) in calls.as_object().expect("an object") {
        assert_eq!(answer == &Value::from(0), name == "af_inet", "{name}: {calls}");
    }
    let writable = probed.ask(&runc, &["writable"]);
    assert_eq!(writable, probed.ask(&[], &["writable"]));
    for fd in 3..10 {
        for path in ["/proc/self/fd/", "/dev/fd/", "/link/"] {
            probed.shell(&[], "ln -sfn /proc/self/fd /link").success();
            let directory = format!("{path}{fd}");
            let flags = [&runc[..], &["--workingdir", &directory]].concat();
            let output = probed.shell(&flags, "pwd; ls ../../..");
            assert!(output.failure(1).contains("working directory"), "{path}{fd}: {output}");
        }
    }
}

/// A43, CVE-2019-5736, and A44, CVE-2024-21626.
#[test]
fn a_chroot_leads_neither_to_our_binary_nor_to_a_descriptor() {
    let probed = Probed::new();
    let before = std::fs::read(crate::harness::binary()).expect("the binary");
    probed.shell(&CHROOT, "printf '#!/proc/self/exe\\n' >/evil; chmod 755 /evil").success();
    assert_eq!(probed.shell(&CHROOT, "exec /evil").code, Some(127));
    let writes = "for exe in /proc/*/exe; do (: >>$exe) 2>/dev/null && echo opened $exe; done; true";
    assert_eq!(probed.shell(&CHROOT, writes).success(), "");
    for fd in 0..12 {
        let script = format!(
            "exec 3</ 4</ 5</ 6</; exec coracle run --isolation chroot --workingdir /proc/self/fd/{fd} {} pwd",
            probed.container
        );
        assert!(probed.env.shell(&script).failure(1).contains("working directory"), "{fd}");
    }
    assert!(std::fs::read(crate::harness::binary()).expect("the binary") == before, "the binary was changed");
}

/// A65: the machine's processes are in sight, and what is left behind still ends.
#[test]
fn no_process_of_a_chroot_outlives_its_command() {
    let probed = Probed::new();
    let marker = format!("4{}", std::process::id());
    let script = format!("setsid sleep {marker} & (setsid sh -c 'setsid sleep {marker} & sleep {marker}' &) ; sleep 0.2");
    probed.shell(&CHROOT, &script).success();
    assert!(!is_running(&marker));
}

fn is_running(marker: &str) -> bool {
    let wanted = format!("sleep\0{marker}\0").into_bytes();
    let runs = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted);
    std::fs::read_dir("/proc").expect("/proc").flatten().any(runs)
}

/// A56, CVE-2017-5226.
#[test]
fn a_chroot_cannot_type_into_the_callers_terminal() {
    let probed = Probed::new();
    for flags in [&["--isolation", "chroot"][..], &["--isolation", "chroot", "-t"]] {
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let mut command = probed.env.command("coracle");
        command.args(probed.arguments(flags, &["/probe", "typing"]));
        command.stdin(pty.slave.try_clone().expect("a descriptor")).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().expect("coracle").success());
        let pending = rustix::io::ioctl_fionread(&pty.slave).expect("a terminal");
        assert_eq!(pending, 0, "{flags:?}");
    }
}

/// Tried inside: each line that is allowed says so.
const ATTEMPTS: &str = "refused() { if \"$@\" >/out 2>&1; then echo \"allowed: $*\"; fi; }
refused chroot / true
refused mknod /node c 1 3
refused mount -t tmpfs x /tmp
refused unshare -U true
refused kill -0 $PPID
refused cat /proc/1/root/etc/passwd
refused cat /../../../etc/shadow
refused sh -c 'echo x >&5'
mkdir -p /a/b; cd /a/b
refused chroot /a sh -c 'cd ../../../../../../..; ls etc/shadow'
grep -q localhost /etc/hosts || echo 'no /etc/hosts'
echo full >/dev/null
(setsid sleep MARKER &)
id -u
";

/// Where nothing can be mounted: `chroot(2)` is all there is, and it is easily left (its notes say how).
#[test]
fn a_plain_chroot_is_not_left_and_leaves_nothing() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    let marker = format!("5{}", std::process::id());
    env.write("attempts", ATTEMPTS.replace("MARKER", &marker));
    let script = format!(
        "c=$(coracle from scratch); coracle add -q $c {} /; coracle copy -q $c attempts /; coracle config --env PATH=/bin $c; \
         exec 5</; coracle run $c sh -eu /attempts; coracle run --isolation chroot $c rm -r /out /a; \
         cd ../home/caged/vfs/dir; find . -mindepth 2 | grep -v /bin/ | grep -E 'null|hosts|resolv|hostname|containerenv|/dev' || echo clean",
        crate::harness::busybox_tar().display()
    );
    let started = Instant::now();
    let output = env.caged(&script);
    assert_eq!(output.success(), "0\nclean", "{output}");
    assert!(output.err().contains("plain chroot (rung 4)"), "{output}");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(!is_running(&marker), "a process was left behind");
    canary.assert_untouched();
}

/// What cannot be kept apart there is refused when it was asked for.
#[test]
fn a_plain_chroot_refuses_what_it_cannot_do() {
    let env = TestEnv::new();
    env.write("volume/file", "");
    let volume = env.work().join("volume").display().to_string();
    let cases = [
        ("--network none", "cannot set --network other than host"),
        (&format!("--volume {volume}:/v"), "where nothing can be mounted"),
        ("--isolation rootless", "hint: nothing can be mounted here: --isolation chroot"),
    ];
    for (flags, words) in cases {
        let script = format!("c=$(coracle from scratch); coracle run {flags} $c true");
        let output = env.caged(&script);
        assert!(output.failure(125).contains(words), "{flags}: {output}");
    }
}
