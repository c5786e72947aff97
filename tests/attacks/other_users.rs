//! Other users of the machine (known attacks A26, A49, A63, A125 to A128): nothing of the store, the run root or a temporary
//! directory is open to them, and nothing that they made first is used. `nobody` is the other user, so root has to run these.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{TestEnv, am_root};
use crate::paths::Canary;

const NOBODY: u32 = 65534;

/// True, with a line on stderr, when there is no second user to be had.
pub fn skip_without_a_second_user() -> bool {
    if !am_root() {
        eprintln!("skipped: only root can be a second user");
    }
    !am_root()
}

/// An environment whose home, runtime and temporary directories others may enter: what keeps them out is the program's doing.
pub fn open_environment() -> TestEnv {
    let env = TestEnv::new();
    for (name, mode) in [("home", 0o755), ("work", 0o755), ("tmp", 0o1777), ("run", 0o755)] {
        fs::set_permissions(env.path(name), fs::Permissions::from_mode(mode)).expect("its mode");
    }
    fs::set_permissions(env.work().parent().expect("the top"), fs::Permissions::from_mode(0o755)).expect("its mode");
    env
}

/// `nobody`, who looks all the time for a name that is readable below these directories.
struct Watcher {
    child: Child,
}

impl Watcher {
    fn start(directories: &[&Path]) -> Self {
        let script = "while :; do find \"$@\" -mindepth 1 -readable 2>/dev/null; done";
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script, "watcher"]).args(directories);
        Self { child: command.stdout(Stdio::piped()).spawn().expect("setpriv") }
    }

    /// The names that it could read, each once.
    fn stop(mut self) -> Vec<String> {
        // Full rounds of the loop are under way; one more sees what is left now.
        std::thread::sleep(Duration::from_millis(200));
        self.child.kill().expect("killed");
        let output = self.child.wait_with_output().expect("its output");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut names: Vec<_> = text.lines().map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// A26, CVE-2025-47290, A63, A125, CVE-2021-41091, and A128: with umask 000, at any moment of every verb.
#[test]
fn another_user_reads_nothing_of_a_store_or_a_temporary_directory() {
    if skip_without_a_second_user() {
        return;
    }
    let env = open_environment();
    env.write("tree/file", "");
    env.write("control/seen", "");
    fs::set_permissions(env.work().join("control/seen"), fs::Permissions::from_mode(0o644)).expect("its mode");
    let (storage, tmp, run, control) = (env.path("home/.local"), env.path("tmp"), env.path("run"), env.work().join("control"));
    let watcher = Watcher::start(&[&storage, &tmp, &run, &control]);
    env.busybox("busybox");
    let script = "umask 000; c=$(coracle from --pull-never busybox); for i in 1 2 3; do \
         coracle copy -q $c tree /t$i; coracle run --network host $c sh -c 'cp /bin/busybox /suid; chmod 4755 /suid'; \
         coracle unshare sh -c 'coracle mount $0 >/dev/null; sleep 0.2; coracle umount $0 >/dev/null' $c; \
         coracle commit -q $c image$i; done; coracle commit -q --rm $c last; coracle from --pull-never last";
    env.shell(script).success();
    let seen = watcher.stop();
    assert_eq!(seen, [control.join("seen").display().to_string()], "another user saw these; the last is the control");
    // Nor can it name what it cannot list.
    let root = env.graph_root();
    let layer = fs::read_dir(root.join("overlay")).expect("the driver's home").find_map(|entry| {
        let path = entry.expect("an entry").path().join("diff");
        path.is_dir().then_some(path)
    });
    for path in [root.join("overlay"), layer.expect("a layer"), root.join("overlay-images"), root.join("coracle")] {
        let stat = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "stat"])
            .arg(&path)
            .stderr(Stdio::null())
            .status();
        assert!(!stat.expect("setpriv").success(), "another user reaches {path:?}");
    }
}

/// A63, CVE-2021-3493: as an ordinary user the overlay keeps its marks where only users' marks can be, and its directories
/// are below one that is private.
#[test]
fn an_overlay_of_a_user_is_below_a_private_directory() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let script = "m=$(coracle mount $0); grep \" $m \" /proc/self/mountinfo; echo $m";
    let found = env.ok(["unshare", "sh", "-euc", script, &container]);
    let line = found.lines().next().expect("a line of mountinfo");
    assert!(line.split([',', ' ']).any(|option| option == "userxattr"), "{line}");
    let merged = found.lines().last().expect("the mount point");
    let layer = Path::new(merged).parent().expect("the layer's directory");
    assert_eq!(fs::metadata(layer).expect("the layer").mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(layer.join("work")).expect("the work directory").mode() & 0o7777, 0o700);
    assert!(!fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").contains(merged), "it is seen outside");
}

/// A49, CVE-2014-8989: with one id only, nobody can drop a group, and a denial by group holds.
#[test]
fn with_one_id_groups_are_kept() {
    let env = TestEnv::new();
    // no-new-privileges makes the programs that map more ids powerless.
    let script =
        "exec setpriv --no-new-privs coracle unshare sh -c 'cat /proc/self/setgroups; wc -l </proc/self/gid_map; id -u'";
    let output = env.shell(script);
    assert_eq!(output.success(), "deny\n1\n0", "{output}");
    // The control: with all ids it is allowed.
    assert_eq!(env.ok(["unshare", "cat", "/proc/self/setgroups"]), "allow");
}

/// A49, CVE-2014-8989, in a container: what the caller's group is denied stays denied, in each isolation.
#[test]
fn with_one_id_a_denial_by_group_holds_in_a_container() {
    if skip_without_a_second_user() || crate::harness::skip_without(&["runc"]) {
        return;
    }
    let env = TestEnv::new();
    let denied = env.write("volume/denied", "secret");
    std::os::unix::fs::chown(&denied, Some(0), Some(1500)).expect("its owner");
    fs::set_permissions(&denied, fs::Permissions::from_mode(0o707)).expect("its mode");
    let user = crate::harness::test_user();
    let tar = crate::harness::busybox_tar().display().to_string();
    let script = format!(
        "c=$(coracle from scratch); coracle add -q $c {tar} /; coracle config --env PATH=/bin $c; \
         for flags in '--isolation rootless' '--isolation chroot' '--runtime runc'; do \
         coracle run --network host $flags -v $PWD/volume:/v $c sh -c 'cat /v/denied 2>/dev/null || echo denied'; done"
    );
    let ask = |groups: String| {
        // As root, which alone may choose the groups; the rest is as for every command of the user.
        let prepared = env.command("true");
        let mut command = Command::new("setpriv");
        let ids = [format!("--reuid={}", user.uid), format!("--regid={}", user.gid), format!("--groups={groups}")];
        command.args(ids).args(["--no-new-privs", "sh", "-euc", &script]).env_clear().current_dir(env.work());
        command.envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
        env.output(command, b"").success()
    };
    assert_eq!(ask(format!("{},1500", user.gid)), "denied\ndenied\ndenied");
    assert_eq!(ask(user.gid.to_string()), "secretsecretsecret", "the control");
}

/// A126, CVE-2020-27534: without a runtime directory, the name in the temporary directory may be somebody else's.
#[test]
fn a_run_root_that_somebody_else_made_is_refused() {
    let own_directory = format!("/run/user/{}", crate::harness::test_user().uid);
    if Path::new(&own_directory).exists() {
        eprintln!("skipped: {own_directory} exists and is used; the unit tests of the settings have a machine of their own");
        return;
    }
    let env = open_environment();
    let canary = Canary::new(&env);
    let name = env.path("tmp").join(format!("storage-run-{}", crate::harness::test_user().uid));
    let verbs = "for v in 'from scratch' containers images 'unshare true' 'info'; do env -u XDG_RUNTIME_DIR coracle $v; done";
    let mut kinds = vec!["link", "dangling", "fifo", "file", "wide"];
    if am_root() {
        kinds.push("foreign");
    }
    for kind in kinds {
        let own = |path: &Path, uid| std::os::unix::fs::lchown(path, Some(uid), Some(uid));
        match kind {
            "link" => symlink(&canary.path, &name).expect("linked"),
            "dangling" => symlink(canary.path.join("new"), &name).expect("linked"),
            "fifo" => assert!(Command::new("mkfifo").arg(&name).status().expect("mkfifo").success()),
            "file" => fs::write(&name, "foreign").expect("written"),
            _ => fs::create_dir(&name).expect("made"),
        }
        if kind == "wide" {
            fs::set_permissions(&name, fs::Permissions::from_mode(0o777)).expect("its mode");
        }
        if am_root() {
            own(&name, if kind == "wide" { crate::harness::test_user().uid } else { NOBODY }).expect("its owner");
        }
        let state =
            |path: &Path| fs::symlink_metadata(path).map(|stat| (stat.uid(), stat.mode(), stat.ino(), stat.size())).ok();
        let before = state(&name);
        let started = Instant::now();
        env.shell(&format!("{verbs} || true"));
        let output = env.shell("exec env -u XDG_RUNTIME_DIR coracle from scratch");
        assert!(output.failure(125).contains("cannot hold the run root"), "{kind}: {output}");
        assert!(started.elapsed() < Duration::from_secs(30), "{kind}");
        assert_eq!(state(&name), before, "{kind} was changed");
        canary.assert_untouched();
        assert!(!canary.path.join("new").exists());
        let removed = if before.is_some_and(|(_, mode, ..)| mode & 0o170_000 == 0o040_000) {
            fs::remove_dir(&name)
        } else {
            fs::remove_file(&name)
        };
        removed.expect("removed");
    }
}

/// A127, CVE-2015-1331, CVE-2025-27591: a lock that is a link, a pipe or a directory locks nothing and changes nothing.
#[test]
fn locks_are_files_and_not_links() {
    let probe = TestEnv::new();
    let container = probe.ok(["from", "scratch"]);
    probe.ok(["commit", "-q", &container, "image"]);
    probe.ok(["unshare", "sh", "-c", "coracle mount $0 >/dev/null", &container]);
    let mut locks = Vec::new();
    let leases = fs::read_dir(probe.graph_root().join("coracle/leases")).map(|list| list.flatten().map(|entry| entry.path()));
    locks.extend(leases.into_iter().flatten());
    for name in
        ["storage.lock", "overlay-layers/layers.lock", "overlay-images/images.lock", "overlay-containers/containers.lock"]
    {
        locks.push(probe.graph_root().join(name));
    }
    assert!(locks.len() > 4, "no lease was found: {locks:?}");
    let canary = Canary::new(&probe);
    for lock in &locks {
        for kind in ["link", "dangling", "fifo", "directory"] {
            let _ = fs::remove_file(lock);
            match kind {
                "link" => symlink(canary.path.join("secret"), lock).expect("linked"),
                "dangling" => symlink(canary.path.join("new"), lock).expect("linked"),
                "fifo" => assert!(Command::new("mkfifo").arg(lock).status().expect("mkfifo").success()),
                _ => fs::create_dir(lock).expect("made"),
            }
            if am_root() {
                let user = crate::harness::test_user();
                std::os::unix::fs::lchown(lock, Some(user.uid), Some(user.gid)).expect("its owner");
            }
            let started = Instant::now();
            let made = probe.run(["from", "scratch"]);
            let mounted = probe.run(["unshare", "coracle", "mount", &container]);
            assert!(started.elapsed() < Duration::from_secs(30), "{kind} {lock:?}");
            let lease = lock.parent().is_some_and(|parent| parent.ends_with("leases"));
            let refused = if lease { &mounted } else { &made };
            let unused = lock.ends_with("storage.lock") || lock.ends_with("images.lock");
            assert!(unused || refused.code == Some(125), "{kind} {lock:?}: {refused}");
            canary.assert_untouched();
            assert!(!canary.path.join("new").exists(), "{kind} {lock:?}");
            let removed = if kind == "directory" { fs::remove_dir(lock) } else { fs::remove_file(lock) };
            removed.expect("removed");
        }
    }
    probe.assert_store_is_clean();
}
