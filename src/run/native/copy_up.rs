//! `tmpcopyup`: a tmpfs that starts with what the image has in its place. The same for caches that begin with something.
//!
//! Invariant: the walk goes by handle and follows no link; what is copied is what the container would have seen anyway.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use containers_storage::Root;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// Directories below the place that is copied.
const DEPTH_LIMIT: usize = 256;

/// Copies the content of the directory `target` below `root` to `mount`.
pub(super) fn copy(root: BorrowedFd<'_>, target: &Path, mount: BorrowedFd<'_>) -> io::Result<()> {
    let relative = target.strip_prefix("/").unwrap_or(target);
    match Root::from(root.try_clone_to_owned()?).subdir(relative) {
        Ok(from) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let same = |uid: u32, gid: u32| Ok((uid, gid));
            directory(rustix::fs::openat(&from, ".", flags, Mode::empty())?, mount, &same, DEPTH_LIMIT)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who owns the copy of what these own.
pub(in crate::run) type Owner<'o> = &'o dyn Fn(u32, u32) -> io::Result<(u32, u32)>;

/// Copies the directory `from` with all that is in it to the empty one `to`.
pub(in crate::run) fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, owner: Owner<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let stat = rustix::fs::fstat(from)?;
    directory(rustix::fs::openat(from, ".", flags, Mode::empty())?, to, owner, DEPTH_LIMIT)?;
    own(to, &stat, owner)
}

fn directory(from: OwnedFd, to: BorrowedFd<'_>, owner: Owner<'_>, depth: usize) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    for entry in Dir::read_from(&from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = rustix::fs::openat(to, name, flags, Mode::empty())?;
                directory(rustix::fs::openat(&from, name, flags, Mode::empty())?, inner.as_fd(), owner, depth)?;
                own(inner.as_fd(), &stat, owner)?;
            }
            FileType::RegularFile => {
                let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut source = std::fs::File::from(rustix::fs::openat(&from, name, read, Mode::empty())?);
                let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let copy = rustix::fs::openat(to, name, write, Mode::RWXU)?;
                io::copy(&mut source, &mut std::fs::File::from(copy.try_clone()?))?;
                own(copy.as_fd(), &stat, owner)?;
            }
            FileType::Symlink => rustix::fs::symlinkat(rustix::fs::readlinkat(&from, name, Vec::new())?, to, name)?,
            _ => {}
        }
    }
    Ok(())
}

fn own(handle: BorrowedFd<'_>, stat: &rustix::fs::Stat, owner: Owner<'_>) -> io::Result<()> {
    let (uid, gid) = owner(stat.st_uid, stat.st_gid)?;
    rustix::fs::fchown(handle, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    Ok(rustix::fs::fchmod(handle, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}
