//! `run` under `--isolation chroot` and `--isolation oci --runtime runc`, by Debian's Buildah and by us, on one store, as a user and as
//! root: stdout and status equal.

use std::process::Command;

use crate::harness::{CommandOutput, TestEnv, am_root, binary, skip_without};

const CHROOT: &str = "--isolation chroot";
const OCI: &str = "--isolation oci --runtime runc --network host";

/// Flags and the command of a run, and the isolations in which both give the same answer.
const SCRIPTS: &[(&[&str], &str, &str)] = &[
    (&[CHROOT, OCI], "", ORDINARY),
    (&[CHROOT, OCI], "--env A=b --env B=", "env | grep -v HOSTNAME | sort; exit 42"),
    (&[CHROOT, OCI], "--user user", "id; grep -E '^Cap(Eff|Bnd|Inh|Amb)' /proc/self/status"),
    (&[CHROOT, OCI], "--user 7:8 --workingdir /new/dir", "id -u; id -g; id -G; pwd; stat -c %u:%g .; touch x; ls"),
    (&[CHROOT, OCI], "--cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN", "grep CapEff /proc/self/status"),
    (
        &[CHROOT, OCI],
        "--volume $PWD/t:/mnt:ro --volume $PWD/t:/rw --mount type=tmpfs,target=/tt",
        "ls /mnt; touch /mnt/x 2>/dev/null || echo refused; echo written >/rw/w; cat /mnt/w; rm /rw/w; touch /tt/x; ls /tt; stat -c %a /tt",
    ),
    (&[OCI], "--user user", "echo $$; ls /dev; stat -fc %T /dev/shm /dev; cut -d' ' -f2 /proc/1/stat"),
];

const ORDINARY: &str = "id; pwd; umask; echo $HOME; echo $PATH; ulimit -c; ulimit -f
grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
echo x 2>/dev/null >/proc/sys/kernel/hostname || echo refused
ls -A /proc/acpi /sys/firmware; head -c 1 /proc/keys | wc -c
mkdir -p /m; mount -t tmpfs x /m 2>/dev/null || echo refused; unshare -n true 2>/dev/null || echo refused
test -s /etc/hosts && test -s /etc/resolv.conf && test -s /run/.containerenv && echo there
for d in null zero full random urandom tty ptmx pts shm fd stdin stdout stderr; do test -e /dev/$d || echo no $d; done
head -c 3 /dev/zero | wc -c; echo x >/dev/null; (echo x >/dev/full) 2>/dev/null || echo full
echo data >/root/file; ls /root; rm /root/file";

/// Runs a script with `sh` as the test's user, or as root on a store of root's own.
fn shell(env: &TestEnv, as_root: bool, script: &str) -> CommandOutput {
    if !as_root {
        return env.shell(script);
    }
    let mut command = Command::new("/bin/sh");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", binary().parent().expect("a directory").display());
    command.env_clear().env("PATH", path).env("HOME", env.path("home")).env("TMPDIR", env.path("tmp"));
    command.env("CONTAINERS_STORAGE_CONF", env.path("work/root.conf")).current_dir(env.work()).args(["-euc", script]);
    env.output(command, b"")
}

fn differences(env: &TestEnv, as_root: bool) -> Vec<String> {
    let conf = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        env.path("root-store"),
        env.path("root-run")
    );
    env.write("root.conf", conf);
    let tar = crate::harness::busybox_tar().display().to_string();
    let make = "c=$(coracle from scratch); coracle add -q $c TAR /; coracle config --env PATH=/bin $c; echo $c";
    // One for each tool: what a run leaves in one is not the other's.
    let containers: Vec<_> = (0..2).map(|_| shell(env, as_root, &make.replace("TAR", &tar)).success()).collect();
    let mut wrong = Vec::new();
    for (isolations, flags, script) in SCRIPTS {
        for isolation in *isolations {
            let answers: Vec<_> = ["buildah", "coracle"]
                .iter()
                .zip(&containers)
                .map(|(tool, container)| {
                    let line = format!("exec {tool} run {isolation} {flags} {container} -- sh -c \"$0\"");
                    // Buildah's chroot isolation now and then loses what its command printed.
                    let run = || shell(env, as_root, &line.replace("\"$0\"", &format!("'{}'", script.replace('\'', "'\\''"))));
                    let first = run();
                    if *tool == "buildah" && first.out().is_empty() { run() } else { first }
                })
                .collect();
            if answers[0].out() != answers[1].out() || answers[0].code != answers[1].code {
                wrong.push(format!("{isolation} {flags} {script}\n--- buildah\n{}--- coracle\n{}", answers[0], answers[1]));
            }
        }
    }
    if as_root {
        shell(env, true, "coracle rm -a >/dev/null; rm -rf ../root-store ../root-run");
    }
    wrong
}

#[test]
fn a_user_gets_the_same_answers() {
    if skip_without(&["buildah", "runc"]) {
        return;
    }
    let env = TestEnv::new();
    env.write("t/a", "a");
    let wrong = differences(&env, false);
    assert!(wrong.is_empty(), "{} differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn root_gets_the_same_answers() {
    if !am_root() || skip_without(&["buildah", "runc"]) {
        return;
    }
    let env = TestEnv::new();
    env.write("t/a", "a");
    let wrong = differences(&env, true);
    assert!(wrong.is_empty(), "{} differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
