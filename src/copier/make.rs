//! Making one entry at the destination: exclusive, never through a link, metadata by handle.
//!
//! Invariant: a new inode is made with `O_EXCL` or its like, in a directory that is open; what is in the way is removed first, by
//! name in that directory (known attacks A02, A03). Owner, then mode, then attributes, then times: each of the first two clears
//! bits that belong to a later one.
//!
//! Must not: read the source, or know paths.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use containers_storage::Root;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::names::Owner;

/// How often an entry that somebody else keeps making is removed again.
const PATIENCE: u32 = 32;

/// What an entry looks like once it is made.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    /// User and group.
    pub owner: Owner,
    /// Permissions with the setuid, setgid and sticky bits.
    pub mode: u32,
    /// Time of the last change of content.
    pub modified: Timespec,
    /// Extended attributes.
    pub xattrs: &'a BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata<'_> {
    fn times(&self) -> Timestamps {
        Timestamps { last_access: self.modified, last_modification: self.modified }
    }
}

/// An empty file for writing, in the place of whatever has the name. Its mode is what `mode` and the umask leave.
pub fn file(directory: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode & 0o777);
    in_place(directory, name, Remove::Everything, || rustix::fs::openat(directory, name, flags, mode))
}

/// A symbolic link.
pub fn symlink(directory: BorrowedFd<'_>, name: &OsStr, target: &OsStr) -> io::Result<()> {
    in_place(directory, name, Remove::AllButFullDirectories, || rustix::fs::symlinkat(target, directory, name))
}

/// A FIFO or device.
pub fn node(directory: BorrowedFd<'_>, name: &OsStr, kind: FileType, device: u64) -> io::Result<OwnedFd> {
    let mode = Mode::RUSR | Mode::WUSR;
    in_place(directory, name, Remove::AllButFullDirectories, || rustix::fs::mknodat(directory, name, kind, mode, device))?;
    let handle = containers_storage::rooted::open_child(directory, name)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) != kind {
        return Err(io::Error::other("it was replaced while it was made"));
    }
    Ok(handle)
}

/// Another name for the file `source_name` in `source`, which must still be `inode`.
pub fn hard_link(
    source: BorrowedFd<'_>,
    source_name: &OsStr,
    inode: (u64, u64),
    directory: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    in_place(directory, name, Remove::AllButFullDirectories, || {
        rustix::fs::linkat(source, source_name, directory, name, AtFlags::empty())
    })?;
    let made = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (made.st_dev, made.st_ino) != inode {
        return Err(io::Error::other("the first name was replaced while the second was made"));
    }
    Ok(())
}

/// Whether a directory was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was made now, mode 0700.
    Absent,
    /// It was there.
    Present,
}

/// A directory, open for reading. One that is there already is taken as it is; anything else that has the name is removed.
/// `None` if a link is in the way: the caller knows below which root it may be followed.
pub fn directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<(OwnedFd, Before)>> {
    for _ in 0..PATIENCE {
        let before = match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => Before::Absent,
            Err(Errno::EXIST) => Before::Present,
            Err(error) => return Err(error.into()),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(handle) => return Ok(Some((handle, before))),
            Err(Errno::NOENT) => continue,
            // A link is no directory, and is not followed: the kernel says either.
            Err(Errno::LOOP | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
        match file_type(parent, name)? {
            Some(FileType::Symlink) => return Ok(None),
            Some(FileType::Directory) | None => {}
            Some(_) => remove(parent, name, Remove::AllButFullDirectories)?,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Takes away what stands where a directory was found to be a link to no directory.
pub fn remove_link(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    remove(parent, name, Remove::AllButFullDirectories)
}

/// Sets what `metadata` says on an open file or directory. Returns the names of attributes that the file system refuses.
pub fn finish(made: BorrowedFd<'_>, metadata: &Metadata<'_>) -> io::Result<Vec<Vec<u8>>> {
    let now = rustix::fs::fstat(made)?;
    let owner = metadata.owner;
    let mut mode = now.st_mode & 0o7777;
    if (now.st_uid, now.st_gid) != (owner.uid, owner.gid) {
        chown(made, owner)?;
        mode = !metadata.mode;
    }
    if mode != metadata.mode {
        rustix::fs::fchmod(made, Mode::from_raw_mode(metadata.mode))?;
    }
    let mut refused = Vec::new();
    for (name, value) in metadata.xattrs {
        match rustix::fs::fsetxattr(made, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::PERM) => refused.push(name.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    rustix::fs::futimens(made, &metadata.times())?;
    Ok(refused)
}

/// The same for a bare handle on a FIFO or device, which must not be opened.
pub fn finish_node(handle: BorrowedFd<'_>, metadata: &Metadata<'_>) -> io::Result<()> {
    let owner = metadata.owner;
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
    owned(rustix::fs::chownat(handle, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH), owner)?;
    // fchmod(2) refuses a bare handle; its name below /proc/self/fd is the same inode.
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::chmodat(CWD, path.as_str(), Mode::from_raw_mode(metadata.mode), AtFlags::empty())?;
    Ok(rustix::fs::utimensat(CWD, path.as_str(), &metadata.times(), AtFlags::empty())?)
}

/// Owner and times of a link itself.
pub fn finish_symlink(directory: BorrowedFd<'_>, name: &OsStr, metadata: &Metadata<'_>) -> io::Result<()> {
    chown_link(directory, name, metadata.owner)?;
    Ok(rustix::fs::utimensat(directory, name, &metadata.times(), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Owner of an open file or directory.
pub fn chown(made: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
    owned(rustix::fs::fchown(made, Some(uid), Some(gid)), owner)
}

/// Owner of a link itself.
pub fn chown_link(directory: BorrowedFd<'_>, name: &OsStr, owner: Owner) -> io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
    owned(rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW), owner)
}

/// What the kernel's answer to a change of owner means. Whoever is not root has no namespace either, and all files are its own.
fn owned(answer: rustix::io::Result<()>, owner: Owner) -> io::Result<()> {
    match answer {
        Err(Errno::PERM | Errno::INVAL) if !rustix::process::geteuid().is_root() => Ok(()),
        answer => answer.map_err(|errno| chown_error(errno, owner)),
    }
}

/// An id without a mapping is an invalid argument (user_namespaces(7)), which tells people nothing.
fn chown_error(errno: Errno, owner: Owner) -> io::Error {
    match errno {
        Errno::INVAL => {
            let text =
                format!("the owner {}:{} is not in the user namespace, whose ids /etc/subuid gives", owner.uid, owner.gid);
            io::Error::new(io::ErrorKind::InvalidInput, text)
        }
        errno => errno.into(),
    }
}

/// Times of an open directory, once all is in it.
pub fn touch(directory: BorrowedFd<'_>, metadata: &Metadata<'_>) -> io::Result<()> {
    Ok(rustix::fs::futimens(directory, &metadata.times())?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Remove {
    Everything,
    AllButFullDirectories,
}

fn in_place<T>(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    what: Remove,
    mut make: impl FnMut() -> rustix::io::Result<T>,
) -> io::Result<T> {
    for _ in 0..PATIENCE {
        match make() {
            Err(Errno::EXIST) => remove(directory, name, what)?,
            other => return Ok(other?),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn remove(directory: BorrowedFd<'_>, name: &OsStr, what: Remove) -> io::Result<()> {
    match (file_type(directory, name)?, what) {
        (None, _) => Ok(()),
        (Some(FileType::Directory), Remove::Everything) => {
            Root::from(directory.as_fd().try_clone_to_owned()?).remove_all(name.as_ref())
        }
        (Some(kind), _) => {
            let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match rustix::fs::unlinkat(directory, name, flags) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

fn file_type(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
