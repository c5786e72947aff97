//! Runs a test again where it may mount: as root in a mount namespace of its own, and as an unprivileged user in a user
//! namespace. With root's rights both happen, without them the second only.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const INSIDE: &str = "CORACLE_TEST_INSIDE";

/// Inside: a private scratch directory, and the test's body is to run. Outside: runs the test of this name inside, fails if
/// that fails, and gives `None`.
pub fn inside(test: &str) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return Some(PathBuf::from(dir));
    }
    if rustix::process::geteuid().is_root() {
        run(test, &["unshare", "--mount", "--propagation", "private"], None);
        let user = test_user().expect("no unprivileged test user: create `coracle-test` with subordinate ids");
        run(
            test,
            &["runuser", "-u", &user, "--", "unshare", "--user", "--map-root-user", "--mount", "--map-auto"],
            Some(&user),
        );
    } else {
        run(test, &["unshare", "--user", "--map-root-user", "--mount", "--map-auto"], None);
    }
    None
}

/// Whether the body runs without the rights of real root.
#[allow(dead_code)]
pub fn is_rootless() -> bool {
    !std::fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295")
}

fn run(test: &str, prefix: &[&str], user: Option<&str>) {
    // Not on /tmp, which may be a tmpfs without user xattrs.
    let scratch = tempfile::Builder::new().prefix("coracle-test-").tempdir_in("/var/tmp").unwrap();
    let work = scratch.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // The user may not reach the build directory.
    let binary = scratch.path().join("test");
    // By another process: a child that another test forks here meanwhile would hold the copy open for writing (ETXTBSY).
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&binary).status().unwrap().success());
    if let Some(user) = user {
        let ok = Command::new("chown").arg(user).arg(&work).status().unwrap().success();
        assert!(ok, "chown to {user}");
    }
    let output = Command::new(prefix[0])
        .args(&prefix[1..])
        .arg(&binary)
        .args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(INSIDE, &work)
        .env("RUST_BACKTRACE", "0")
        .current_dir(&work)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| line.starts_with("speed:")).for_each(|line| println!("{line}"));
    remove(&work, prefix);
    assert!(output.status.success() && text.contains("1 passed"), "{test}, by {}:\n{text}", prefix.join(" "));
}

/// Files of subordinate ids can be deleted inside the user namespace only.
fn remove(work: &Path, prefix: &[&str]) {
    let _ = Command::new(prefix[0]).args(&prefix[1..]).args(["rm", "-rf", "--"]).arg(work).output();
}

fn test_user() -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let subuid = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let has = |text: &str, user: &str| text.lines().any(|line| line.split(':').next() == Some(user));
    ["coracle-test", "builder"].into_iter().find(|user| has(&passwd, user) && has(&subuid, user)).map(str::to_owned)
}
