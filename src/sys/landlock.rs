//! Landlock (landlock(7)), as far as scopes: no reach to abstract unix sockets outside.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// `struct landlock_ruleset_attr` of ABI 6.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

const CREATE_RULESET_VERSION: u32 = 1;
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;

/// The Landlock version of the running kernel; `None` where it is missing or switched off.
pub fn abi() -> Option<u32> {
    // SAFETY: with this flag the kernel wants a null pointer and size 0, reads nothing, and answers with a number.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<RulesetAttr>(), 0usize, CREATE_RULESET_VERSION)
    };
    u32::try_from(super::checked(result).ok()?).ok()
}

/// Keeps this process and its descendants from connecting to abstract unix sockets that were made outside. Needs ABI 6, and
/// `no_new_privs` or CAP_SYS_ADMIN in the user namespace.
pub fn scope_abstract_sockets() -> io::Result<()> {
    let attr = RulesetAttr { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPE_ABSTRACT_UNIX_SOCKET };
    // SAFETY: `attr` is a live struct of the size that is passed; the kernel only reads it.
    let fd = super::checked(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0u32)
    })?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the call takes two integers, the first of which is an open descriptor.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, std::os::fd::AsRawFd::as_raw_fd(&ruleset), 0u32) };
    super::checked(result).map(drop)
}
