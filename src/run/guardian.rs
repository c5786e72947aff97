//! A process that outlives a killed command long enough to tidy up after it.
//!
//! What a command leaves outside of itself (a runtime's container, files lent to a root file system, a directory of something fetched,
//! the containers of a build) belongs to nobody when this program is killed. The guardian waits at a pipe whose other end only this
//! program and what it forked since hold, and tidies up when it closes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::pipe::PipeFlags;

use crate::sys;

/// What the command says when it has tidied up itself.
const DISMISSED: &[u8] = b"d";

/// The guardian of one run, directory or build.
#[derive(Debug)]
pub struct Guardian {
    pid: Pid,
    line: OwnedFd,
}

impl Guardian {
    /// Starts it; `tidy_up` is executed in a copy of this process. Refused with `EINVAL` if this process has threads.
    ///
    /// # Errors
    /// There can be no pipe or no process.
    pub fn start(tidy_up: impl FnOnce()) -> io::Result<Self> {
        let (read, line) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let pid = sys::fork::fork_alone(line.as_fd(), || {
            // Its own session: what ends the process group of the command does not end it. Nobody in the container may attach to it.
            let _ = rustix::process::setsid();
            let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
            if rustix::io::read(&read, &mut [0u8; 1]) != Ok(1) {
                tidy_up();
            }
            0
        })?;
        Ok(Self { pid, line })
    }

    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets it go: everything has been tidied up.
    pub fn dismiss(self) {
        // It may have been killed; nothing is left for it to do.
        let _ = rustix::io::write(&self.line, DISMISSED);
        let _ = waitpid(self.pid, None);
    }
}
