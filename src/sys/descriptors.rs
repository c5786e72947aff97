//! `close_range(2)`: no descriptor survives `exec` by accident.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Marks every descriptor from `first` on close-on-exec, inherited and foreign ones included (Linux 5.11).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: the call takes three integers; with CLOSE_RANGE_CLOEXEC it closes nothing now, so that no owned descriptor becomes
    // invalid.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    super::checked(result).map(drop)
}

/// Takes ownership of a descriptor that has just arrived in a control message (`SCM_RIGHTS`, unix(7)), of which nix gives the
/// number only. Must be called once for a received number.
pub fn received(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel installed the descriptor for this message, and the number is passed here before anything else sees it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Makes `number` another name of `descriptor` that survives `exec`. Only for a process that is about to execute a program: what
/// `number` named before is closed, whoever thought to own it.
pub fn duplicate_to(descriptor: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if descriptor.as_raw_fd() == number {
        // dup2 would leave the close-on-exec flag on.
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
        return Ok(());
    }
    // SAFETY: dup2 takes two integers. That it may close a descriptor which a value of this process owns is the documented
    // contract: the only caller executes a program next, or ends.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    super::checked(result.into()).map(drop)
}
