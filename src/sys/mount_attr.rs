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
    let Attributes { set, clear, propagation } = attributes;
    call(mount, reach, libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 })
}

/// Shows what is in the mount with the owners that the maps of the user namespace `maps` say (Linux 5.12). The mount is attached nowhere,
/// and its file system belongs to the caller's user namespace.
pub fn set_id_map(mount: BorrowedFd<'_>, reach: Reach, maps: BorrowedFd<'_>) -> io::Result<()> {
    let userns_fd = u64::try_from(maps.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    let attr = libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd };
    call(mount, reach, attr)
}

fn call(mount: BorrowedFd<'_>, reach: Reach, attr: libc::mount_attr) -> io::Result<()> {
    let recursive = if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 };
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
