//! `close_range(2)`: no descriptor survives `exec` by accident.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Marks every descriptor from `first` on close-on-exec, inherited and foreign ones included (Linux 5.11).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: the call takes three integers; with CLOSE_RANGE_CLOEXEC it closes nothing now, so that no owned descriptor becomes
    // invalid.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match super::checked(result) {
        // Older kernels, and filters of system calls that do not know it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) => one_by_one(first),
        other => other.map(drop),
    }
}

/// The same without the call: by the list in `/proc`, or, where there is none, for every number that there may be.
fn one_by_one(first: u32) -> io::Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd").and_then(|names| {
        let names = names.map(|entry| Ok(entry?.file_name().to_str().and_then(|name| name.parse().ok())));
        names.filter_map(io::Result::transpose).collect::<io::Result<Vec<u32>>>()
    });
    let limit = || rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(1 << 20).min(1 << 20) as u32;
    let numbers: Box<dyn Iterator<Item = u32>> = match listed {
        Ok(numbers) => Box::new(numbers.into_iter()),
        Err(_) => Box::new(first..limit()),
    };
    for number in numbers.filter(|number| *number >= first) {
        let Ok(number) = RawFd::try_from(number) else { continue };
        // SAFETY: the call takes three integers; it closes nothing now, and a number that names nothing is an error that it returns.
        let result = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        match super::checked(result.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EBADF) => return Err(error),
            _ => {}
        }
    }
    Ok(())
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
