//! Joining the user and mount namespaces of another process of ours, so that two verbs share one live mount.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::ThreadNameSpaceType;

use super::enter::become_root;
use super::error::Error;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    /// Its number, in the caller's pid namespace.
    pub pid: u32,
    /// When it was started, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
}

/// Enters the user and the mount namespace of `process`. The caller must have no threads. The working directory stays the
/// same directory. Where the process is in the caller's own namespace already, nothing is done for that one.
///
/// # Errors
/// `Gone` if the process has ended, `Join` if the kernel refuses: the process is not ours, or it is not dumpable.
pub fn join(process: ProcessId) -> Result<(), Error> {
    let handle = handle_on(process)?;
    let failed = |source: io::Error| Error::Join { pid: process.pid, source };
    let mut kinds = ThreadNameSpaceType::empty();
    for (name, kind) in [("user", ThreadNameSpaceType::USER), ("mnt", ThreadNameSpaceType::MOUNT)] {
        if differs(process.pid, name).map_err(failed)? {
            kinds |= kind;
        }
    }
    if kinds.is_empty() {
        return Ok(());
    }
    let before = WorkingDirectory::remember().map_err(failed)?;
    // Both in one call (setns(2), Linux 5.8): the mount namespace belongs to the user namespace.
    rustix::thread::move_into_thread_name_spaces(handle.as_fd(), kinds).map_err(|errno| failed(errno.into()))?;
    become_root()?;
    before.restore().map_err(failed)
}

/// A descriptor of the process, once it is proved to be the one that was meant.
fn handle_on(process: ProcessId) -> Result<OwnedFd, Error> {
    let gone = Error::Gone { pid: process.pid };
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Err(gone) };
    let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Err(gone),
        Err(source) => return Err(Error::Join { pid: process.pid, source: source.into() }),
    };
    // The descriptor came first: if the start time is right now, the number still belongs to the process it stands for, or to
    // one that was started in the same clock tick after that one ended, which the check for its end below excludes.
    if start_time(process.pid) != Some(process.start_time) || has_ended(&handle) {
        return Err(gone);
    }
    Ok(handle)
}

/// A descriptor of a process becomes readable when the process ends (pidfd_open(2)).
fn has_ended(handle: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(handle, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
}

/// Field 22 of `/proc/PID/stat`. The second field is a name in parentheses that may hold anything.
fn start_time(pid: u32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_start_time(&String::from_utf8_lossy(&text))
}

fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

fn differs(pid: u32, namespace: &str) -> io::Result<bool> {
    let theirs = std::fs::metadata(format!("/proc/{pid}/ns/{namespace}"))?;
    let ours = std::fs::metadata(format!("/proc/self/ns/{namespace}"))?;
    Ok((theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()))
}

/// Entering a mount namespace moves the working directory to its root (setns(2)).
struct WorkingDirectory {
    path: PathBuf,
    handle: OwnedFd,
}

impl WorkingDirectory {
    fn remember() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { path: std::env::current_dir()?, handle: rustix::fs::open(".", flags, Mode::empty())? })
    }

    /// By name, so that mounts of the new namespace are seen; by handle where the name is now something else.
    fn restore(&self) -> io::Result<()> {
        let before = rustix::fs::fstat(&self.handle)?;
        if rustix::process::chdir(&self.path).is_ok() {
            let now = rustix::fs::stat(".")?;
            if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino) {
                return Ok(());
            }
        }
        Ok(rustix::process::fchdir(&self.handle)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_process_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in ["sh", "a) S 1 (b", "x y", ")"] {
            assert_eq!(parse_start_time(&format!("12 ({name}) {tail}")), Some(4711), "{name:?}");
        }
        assert_eq!(parse_start_time("12 (sh) S 1"), None);
        assert_eq!(parse_start_time(""), None);
    }

    #[test]
    fn a_process_with_another_start_time_is_another_process() {
        let pid = std::process::id();
        let started = start_time(pid).expect("we run");
        assert!(matches!(join(ProcessId { pid, start_time: started + 1 }), Err(Error::Gone { .. })));
        assert!(handle_on(ProcessId { pid, start_time: started }).is_ok());
        for pid in [0, u32::MAX, 0x7fff_fff0] {
            assert!(matches!(join(ProcessId { pid, start_time: 1 }), Err(Error::Gone { .. })), "{pid}");
        }
    }
}
