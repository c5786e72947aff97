//! Who may use a cache at a time: a lock of a file beside it, the one that Buildah takes, too.
//!
//! Invariant: a lock ends with the open file, so with the process that holds it (F_OFD_SETLK, fcntl_locking(2)); a file that somebody put
//! in its place is not followed, and not waited for.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::FcntlArg;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::DIRECTORY;
use crate::run::mount_args::Sharing;

/// The directory of locks.
pub(super) const LOCK_DIRECTORY: &str = "buildah-cache-lockfiles";
const LOCK_NAME: &str = "buildah-cache-lockfile";

/// How many directories one cache may come to when it is used by many at once, each for itself.
const COPIES: usize = 256;

/// The right to use a cache.
#[derive(Debug)]
pub(super) struct Claim {
    /// Which one.
    pub key: String,
    /// The directory.
    pub name: String,
    /// Holds the lock.
    pub file: File,
}

/// Waits until `key` may be used as `sharing` says, or finds a copy of it that nobody uses.
///
/// Who shares it takes a lock that others may share, and so waits for who has it alone.
pub(super) fn claim(parent: &OwnedFd, key: &str, sharing: Sharing) -> io::Result<Claim> {
    let claim = |name: String, file: File| Claim { key: key.to_owned(), name, file };
    if sharing != Sharing::Private {
        let file = open(parent, key)?;
        let kind = if sharing == Sharing::Locked { libc::F_WRLCK } else { libc::F_RDLCK };
        wait(&file, kind)?;
        return Ok(claim(key.to_owned(), file));
    }
    for number in 0..COPIES {
        let name = if number == 0 { key.to_owned() } else { format!("{key}-{number}") };
        if let Some(file) = try_alone(parent, &name)? {
            return Ok(claim(name, file));
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{COPIES} processes use it")))
}

/// The lock of the directory `name` for this process alone; `None` while it is in use.
pub(super) fn try_alone(parent: &OwnedFd, name: &str) -> io::Result<Option<File>> {
    let file = open(parent, name)?;
    loop {
        match nix::fcntl::fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))) {
            Ok(_) => return Ok(Some(file)),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => return Ok(None),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn wait(file: &File, kind: libc::c_int) -> io::Result<()> {
    loop {
        match nix::fcntl::fcntl(file, FcntlArg::F_OFD_SETLKW(&whole(kind))) {
            Ok(_) => return Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind as libc::c_short, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}

fn open(parent: &OwnedFd, name: &str) -> io::Result<File> {
    let step = |parent: &OwnedFd, name: &str| -> io::Result<OwnedFd> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?),
            Err(error) => Err(error.into()),
        }
    };
    let directory = step(&step(parent, LOCK_DIRECTORY)?, name)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, LOCK_NAME, flags, Mode::RUSR | Mode::WUSR)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{LOCK_NAME:?} is no regular file")));
    }
    Ok(file)
}
