//! The only `unsafe` of this package: system calls that neither nix nor rustix wraps, each behind one safe function.
//!
//! Invariant: every block says why it is sound; what a safe function of this module promises holds whatever the caller does.
//!
//! Must not: decide anything. A function here takes its arguments to the kernel and brings the answer back.

pub mod allocator;
pub mod command;
pub mod descriptors;
pub mod fork;
pub mod landlock;
pub mod loopback;
pub mod mount_attr;
pub mod parent;
pub mod seccomp;
pub mod signals;
pub mod stdio;
pub mod trampoline;

use std::io;

/// Turns the result of a raw system call into a `Result`.
fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
