//! Which of the other tools are on this machine. A test that needs one says so when it is skipped; in CI nothing is skipped.

use std::path::Path;

/// Whether a program of this name is in the system's directories.
pub fn have(program: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

/// True, with a line on stderr, when one of the programs is missing and the test has to be skipped. With `CI` set a missing
/// program fails the test instead: `contrib/test` installs them all.
#[track_caller]
pub fn skip_without(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !have(program)).collect();
    if missing.is_empty() {
        return false;
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have {missing:?}");
    eprintln!("skipped: {missing:?} not installed");
    true
}

/// Ends the process that podman leaves behind to keep a user namespace, if it left one in this runtime directory.
pub fn end_pause_process(runtime_dir: &Path) {
    let file = runtime_dir.join("libpod/tmp/pause.pid");
    let pid = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    // The number may be another process's by now: podman's own knows this directory.
    let knows = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&*runtime_dir.to_string_lossy())
    };
    if let Some(pid) = pid.filter(knows) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}
