//! Signal dispositions: those that a child must not inherit from the Rust runtime, and those that the caller chose.

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Gives SIGPIPE its default action again: the Rust runtime ignores it, and ignored signals stay ignored through `exec`, which
/// makes `yes | head` in a container run for ever.
pub fn restore_sigpipe() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action is no handler, so no code of ours can run in signal context.
    unsafe { sigaction(Signal::SIGPIPE, &default) }?;
    Ok(())
}

/// Whether the process ignores `signal`, as it does below `nohup` and in the background of a script. Blocked, an ignored signal is kept
/// as any other, and read from a descriptor by whoever does not ask first.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action nothing changes; the present one is written into memory that is ours and of its size.
    let asked = unsafe { libc::sigaction(signal as libc::c_int, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeroes are an action, so that it is one whether it was written or not.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
