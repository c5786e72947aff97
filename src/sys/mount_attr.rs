//! `mount_setattr(2)`: attributes of a mount that is not attached yet, recursively.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to change of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0 to leave the propagation.
    pub propagation: u64,
}

/// How much of the tree below the mount changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This mount only.
    Mount,
    /// This mount and all mounts below it.
    Tree,
}

/// Changes the mount that the handle `mount` stands for.
pub fn set_attributes(mount: BorrowedFd<'_>, reach: Reach, attributes: Attributes) -> io::Result<()> {
    let recursive = if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 };
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    // SAFETY: the path is a terminated empty string and `attr` a live struct of the size that is passed; the kernel only reads
    // both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    super::checked(result).map(drop)
}
