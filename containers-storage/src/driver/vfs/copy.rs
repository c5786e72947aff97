//! One entry of a tree, copied by directory handle with everything that belongs to it: data, holes, owner, mode, times, attributes.
//!
//! Invariant: the copy is a new inode, created exclusively; nothing is followed on either side. Its order is that of every new inode: data,
//! owner, mode, attributes, times (chown(2) clears setuid and capabilities).
//!
//! Must not: open what is no regular file.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Opens what must not be followed, waited for, or made a terminal.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Longest list of names and longest value of attributes, in bytes (xattr(7)).
const XATTR_LIMIT: usize = 64 << 10;

/// How entries are copied; shared by the threads that do it.
#[derive(Debug)]
pub(super) struct Copier {
    /// What a change of owner to an ID that this user namespace lacks means.
    ignore_chown_errors: bool,
    /// Sharing of data was not refused yet.
    reflink: AtomicBool,
}

/// Whether an entry was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    New,
    /// The name is taken.
    Exists,
}

impl Copier {
    pub(super) fn new(ignore_chown_errors: bool) -> Self {
        Self { ignore_chown_errors, reflink: AtomicBool::new(true) }
    }

    /// Copies the regular file `name`.
    pub(super) fn file(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> io::Result<Made> {
        let source = rustix::fs::openat(from, name, READ, Mode::empty())?;
        let stat = rustix::fs::fstat(&source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file any more"));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = match rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => return Ok(Made::Exists),
            opened => opened?,
        };
        self.data(&source, &target, &stat)?;
        self.describe(&source, &target, &stat)?;
        Ok(Made::New)
    }

    /// Copies a link, pipe, socket or device. A device that may not be made is passed over, as everywhere in this format (section 7.3).
    pub(super) fn node(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> io::Result<Made> {
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let made = match file_type {
            FileType::Symlink => rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name),
            _ => rustix::fs::mknodat(to, name, file_type, Mode::empty(), stat.st_rdev),
        };
        match made {
            Err(Errno::EXIST) => return Ok(Made::Exists),
            Err(Errno::PERM) if matches!(file_type, FileType::CharacterDevice | FileType::BlockDevice) => return Ok(Made::New),
            other => other?,
        }
        let (uid, gid) = owner(stat);
        self.owned(rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
        if file_type != FileType::Symlink {
            // `fchmod` refuses a bare handle, and `fchmodat` would follow a link.
            let handle = rustix::fs::openat(to, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), mode(stat))?;
        }
        Ok(rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).map(|()| Made::New)?)
    }

    /// Gives `target` owner, mode, attributes and times of `source`, whose `stat` was just read.
    pub(super) fn describe(&self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let (uid, gid) = owner(stat);
        self.owned(rustix::fs::fchown(target, uid, gid))?;
        rustix::fs::fchmod(target, mode(stat))?;
        attributes(source, target)?;
        Ok(rustix::fs::futimens(target, &times(stat))?)
    }

    /// EINVAL is how the kernel says that an ID has no mapping (user_namespaces(7)).
    fn owned(&self, result: rustix::io::Result<()>) -> io::Result<()> {
        match result {
            Err(Errno::INVAL | Errno::PERM) if self.ignore_chown_errors => Ok(()),
            // Whoever is not root could enter no user namespace: all files are its own.
            Err(Errno::PERM | Errno::INVAL) if !rustix::process::geteuid().is_root() => Ok(()),
            other => Ok(other?),
        }
    }

    fn data(&self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            return Ok(());
        }
        if self.reflink.load(Ordering::Relaxed) {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => return Ok(()),
                // The file system can't; some kinds of file can't on one that can (ioctl_ficlone(2)).
                Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => {
                    self.reflink.store(false, Ordering::Relaxed)
                }
                Err(_) => {}
            }
        }
        // `st_blocks` counts 512 bytes, whatever the block size (stat(2)).
        if u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < size {
            return sparse(source, target, size);
        }
        range(source, target, 0..size)
    }
}

/// Copies what lies between the holes (lseek(2), `SEEK_DATA`).
fn sparse(source: &OwnedFd, target: &OwnedFd, size: u64) -> io::Result<()> {
    let mut offset = 0;
    while offset < size {
        let data = match rustix::fs::seek(source, SeekFrom::Data(offset)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            // The file system can't tell.
            Err(Errno::INVAL) => return range(source, target, offset..size),
            Err(errno) => return Err(errno.into()),
        };
        let hole = rustix::fs::seek(source, SeekFrom::Hole(data))?.min(size);
        if hole <= data {
            break;
        }
        range(source, target, data..hole)?;
        offset = hole;
    }
    Ok(rustix::fs::ftruncate(target, size)?)
}

/// Copies a range inside the kernel, or by reading and writing where it can't.
fn range(source: &OwnedFd, target: &OwnedFd, range: std::ops::Range<u64>) -> io::Result<()> {
    let (mut from, mut to) = (range.start, range.start);
    while from < range.end {
        let left = usize::try_from(range.end - from).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return read_and_write(source, target, from..range.end);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn read_and_write(source: &OwnedFd, target: &OwnedFd, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    let mut offset = range.start;
    while offset < range.end {
        let room = usize::try_from(range.end - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
        let length = match rustix::io::pread(source, &mut buffer[..room], offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::INTR) => continue,
            read => read?,
        };
        let mut written = 0;
        while written < length {
            written += match rustix::io::pwrite(target, &buffer[written..length], offset + written as u64) {
                Err(Errno::INTR) => 0,
                other => other?,
            };
        }
        offset += length as u64;
    }
    Ok(())
}

/// Copies the attributes that belong to a file system tree and not to the machine: no labels, nothing of overlayfs.
fn attributes(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    // Most files have none.
    let length = match rustix::fs::flistxattr_query(source) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    let mut names = vec![0; length.min(XATTR_LIMIT)];
    let length = rustix::fs::flistxattr(source, &mut names[..])?;
    let mut value = vec![0; XATTR_LIMIT];
    for name in names[..length].split(|&byte| byte == 0).filter(|name| is_copied(name)) {
        let length = match rustix::fs::fgetxattr(source, name, &mut value[..]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            length => length?,
        };
        match rustix::fs::fsetxattr(target, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn is_copied(name: &[u8]) -> bool {
    crate::archive::is_carried(name) || name.starts_with(b"system.posix_acl_")
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

/// Access and modification, to the nanosecond: equal times are how unchanged files are told.
pub(super) fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime as _, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
    }
}

/// Opens the directory `name` of `parent`; `None` if it is something else.
pub(super) fn open_directory(parent: impl AsFd, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::openat(parent, name, READ | OFlags::DIRECTORY, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
