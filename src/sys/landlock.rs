//! Landlock (landlock(7)): no reach to abstract unix sockets outside, or to any file outside of a directory.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

const SCOPE_SIGNAL: u64 = 1 << 1;
const RULE_PATH_BENEATH: u32 = 1;

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// What a Landlock version can forbid of files: execute, write, read, list, remove, make of each kind (13 rights), then moving
/// between directories (2), truncating (3), device controls (5).
fn file_rights(abi: u32) -> u64 {
    let count = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << count) - 1
}

/// Confines this process and its descendants to files below `root`, and keeps them from tracing, and with ABI 6 from signalling and
/// from connecting to abstract unix sockets of, processes outside. Answers whether the kernel could; ABI 1 cannot, since it would
/// forbid every move between directories. Needs `no_new_privs` or CAP_SYS_ADMIN in the user namespace.
pub fn confine_below(root: BorrowedFd<'_>) -> io::Result<bool> {
    let Some(abi) = abi().filter(|abi| *abi >= 2) else { return Ok(false) };
    let rights = file_rights(abi);
    let scoped = if abi >= 6 { SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL } else { 0 };
    let ruleset = create_ruleset(&RulesetAttr { handled_access_fs: rights, handled_access_net: 0, scoped })?;
    let rule = PathBeneathAttr { allowed_access: rights, parent_fd: root.as_raw_fd() };
    // SAFETY: the first argument is an open descriptor, `rule` a live struct of the type that the rule's kind stands for; the kernel
    // only reads it.
    super::checked(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const rule, 0u32)
    })?;
    restrict_self(&ruleset)?;
    Ok(true)
}

/// Keeps this process and its descendants from connecting to abstract unix sockets that were made outside. Needs ABI 6, and
/// `no_new_privs` or CAP_SYS_ADMIN in the user namespace.
pub fn scope_abstract_sockets() -> io::Result<()> {
    let attr = RulesetAttr { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPE_ABSTRACT_UNIX_SOCKET };
    restrict_self(&create_ruleset(&attr)?)
}

fn create_ruleset(attr: &RulesetAttr) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is a live struct of the size that is passed; the kernel only reads it.
    let fd = super::checked(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(attr), size_of::<RulesetAttr>(), 0u32)
    })?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn restrict_self(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: the call takes two integers, the first of which is an open descriptor.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
    super::checked(result).map(drop)
}
