//! Signal dispositions that a child must not inherit from the Rust runtime.

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
