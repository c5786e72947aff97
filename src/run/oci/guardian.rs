//! A process that outlives a killed `run` long enough to end its container.
//!
//! A runtime's container belongs to nobody: were this program killed, it would go on. The guardian waits at a pipe whose other
//! end only this program holds, and ends the container, its state and the bundle when it closes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::pipe::PipeFlags;

use super::bundle::Bundle;
use super::protocol::Program;
use crate::sys;

/// What the run says when it has tidied up itself.
const DISMISSED: &[u8] = b"d";

/// The guardian of one run.
pub(super) struct Guardian {
    pid: Pid,
    line: OwnedFd,
}

impl Guardian {
    /// Starts it.
    pub(super) fn start(program: &Program, bundle: &Bundle) -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let pid = sys::fork::fork_alone(write.as_fd(), || {
            // Its own session: what ends the run's process group does not end it.
            let _ = rustix::process::setsid();
            if let Ok(1) = rustix::io::read(&read, &mut [0u8; 1]) {
                return 0;
            }
            program.delete();
            bundle.remove();
            0
        })?;
        Ok(Self { pid, line: write })
    }

    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets it go: everything has been tidied up.
    pub(super) fn dismiss(self) {
        // It may have been killed; nothing is left for it to do.
        let _ = rustix::io::write(&self.line, DISMISSED);
        let _ = waitpid(self.pid, None);
    }
}
