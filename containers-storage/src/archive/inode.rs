//! New inodes by directory handle: created exclusively, described by descriptor (known attacks A03, A25).
//!
//! Invariant: the order is owner, mode, attributes, time: a change of owner clears setuid and the capability (chown(2)), and all
//! of them change the time. The umask has no say (A41).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};

use super::{Entry, Kind, Ownership, Recorded, RecordedKind, Time, xattrs};

/// A regular file that gets its data.
pub(super) struct NewFile {
    fd: OwnedFd,
    /// Whether the data is there already, shared with another file.
    pub(super) shared: bool,
    end: u64,
}

impl NewFile {
    /// Creates the file `name`, for us only until it is complete.
    pub(super) fn create(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self { fd, shared: false, end: 0 })
    }

    /// Shares the data of `source` (ioctl_ficlone(2)); false if the file system can't.
    pub(super) fn share(&mut self, source: BorrowedFd<'_>) -> bool {
        self.shared = rustix::fs::ioctl_ficlone(&self.fd, source).is_ok();
        self.shared
    }

    /// Writes `bytes` at `offset`.
    pub(super) fn write(&mut self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let length = match rustix::io::pwrite(&self.fd, bytes, offset) {
                Err(rustix::io::Errno::INTR) => continue,
                written => written?,
            };
            bytes = &bytes[length..];
            offset += length as u64;
        }
        self.end = self.end.max(offset);
        Ok(())
    }

    /// Gives the file its length, if a hole ends it.
    pub(super) fn extend(&self, size: u64) -> io::Result<()> {
        if !self.shared && self.end < size {
            rustix::fs::ftruncate(&self.fd, size)?;
        }
        Ok(())
    }

    /// Sets mode, attributes and time; the owner was set before.
    pub(super) fn describe(&self, entry: &Entry, ownership: Ownership) -> io::Result<()> {
        rustix::fs::fchmod(&self.fd, usable(ownership.mode(entry.mode), 0o400))?;
        xattrs::set(&self.fd, &entry.xattrs)?;
        ownership.record(&self.fd, recorded(entry))?;
        Ok(rustix::fs::futimens(&self.fd, &entry.mtime.timestamps())?)
    }
}

impl AsFd for NewFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Owner, mode and type of an entry, for an attribute.
pub(super) fn recorded(entry: &Entry) -> Recorded {
    Recorded { uid: entry.uid, gid: entry.gid, mode: entry.mode & 0o7777, kind: RecordedKind::of(&entry.kind) }
}

/// Gives what `fd` stands for an owner.
pub(super) fn set_owner(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> rustix::io::Result<()> {
    owned(rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
}

/// What the kernel's answer to a change of owner means. Whoever is not root could enter no user namespace: all files are its own.
fn owned(answer: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match answer {
        Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) if !rustix::process::geteuid().is_root() => Ok(()),
        answer => answer,
    }
}

/// The mode `mode`, with what its owner needs to use the file again (`needed`), if that is not root. The archive keeps the mode itself.
fn usable(mode: u32, needed: u32) -> Mode {
    let more = if rustix::process::geteuid().is_root() { 0 } else { needed };
    Mode::from_raw_mode(mode | more)
}

/// Gives the open directory its mode and time.
pub(super) fn set_mode_time(fd: BorrowedFd<'_>, mode: u32, mtime: Time) -> io::Result<()> {
    rustix::fs::fchmod(fd, usable(mode, 0o700))?;
    Ok(rustix::fs::futimens(fd, &mtime.timestamps())?)
}

/// Makes the pipe or device `name`, with a mode that lets nobody use it.
pub(super) fn make_node(parent: BorrowedFd<'_>, name: &[u8], kind: &Kind) -> rustix::io::Result<()> {
    let (file_type, device) = match *kind {
        Kind::Fifo => (FileType::Fifo, 0),
        Kind::CharDevice { major, minor } => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
        Kind::BlockDevice { major, minor } => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        _ => return Err(rustix::io::Errno::INVAL),
    };
    rustix::fs::mknodat(parent, name, file_type, Mode::empty(), device)
}

/// Makes a whiteout: a character device 0:0 without any mode (overlayfs documentation, "whiteouts and opaque directories").
pub(super) fn make_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    make_node(parent, name, &Kind::CharDevice { major: 0, minor: 0 })
}

/// Gives the node `name` itself, never what a link names, an owner.
pub(super) fn set_node_owner(parent: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    owned(rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))
}

/// Gives the node `name`, which can't be opened for it, its mode (links have none) and time. chmod goes to the inode of a bare
/// handle by way of proc, since `fchmod` refuses such handles and `fchmodat` would follow a link.
pub(super) fn set_node_mode_time(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> io::Result<()> {
    if !matches!(entry.kind, Kind::Symlink(_)) {
        let handle = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        rustix::fs::chmodat(rustix::fs::CWD, path, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
    }
    Ok(rustix::fs::utimensat(parent, name, &entry.mtime.timestamps(), AtFlags::SYMLINK_NOFOLLOW)?)
}
