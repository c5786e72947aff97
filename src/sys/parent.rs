//! A process that ends when its parent does (`PR_SET_PDEATHSIG`, prctl(2)).
//!
//! Entering a user namespace that the caller's ids own keeps the bond; a change to ids that are others outside breaks it.

use std::io;

use nix::errno::Errno;
use nix::unistd::{Pid, getppid};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Has the kernel kill this process when `parent`, which forked it, ends.
///
/// # Errors
/// `ESRCH` if the parent has ended already: nobody would kill this process then.
pub fn end_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
}
