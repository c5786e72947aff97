//! The lock files that all tools on a store share: OFD locks over the whole file, and the last-write stamp inside.
//!
//! Invariant: locks are taken in the order of `Rank`; a thread that tries otherwise gets an error, never a deadlock. OFD locks
//! conflict with the POSIX locks of the other tools, and no stray `close` drops them (format, section 5.1).
//!
//! Must not: delete or replace a lock file.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

thread_local! {
    /// One bit for each rank that this thread holds.
    static HELD: Cell<u8> = const { Cell::new(0) };
}

/// The place of a lock in the order in which they are taken (format, section 5.2). A thread holds at most one of each rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// `storage.lock`
    Storage,
    /// `<driver>-layers/layers.lock`
    Layers,
    /// `<run root>/<driver>-layers/mountpoints.lock`: innermost of the layers', taken while holding layers.lock only.
    MountPoints,
    /// `<driver>-images/images.lock`
    Images,
    /// `<driver>-containers/containers.lock`
    Containers,
}

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Other readers.
    Shared,
    /// Nobody.
    Exclusive,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, locked, read or written.
    #[error("locking {path:?}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file system is read-only, or the file belongs to someone else: readers work, writers don't.
    #[error("{path:?} cannot be written, the store is read-only")]
    ReadOnly {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The thread already holds a lock of this or a later rank: a fault of the program.
    #[error("lock {path:?} wanted out of order")]
    Order {
        /// The lock file.
        path: PathBuf,
    },
}

/// A held lock; dropping it releases it. It stays with its thread.
#[derive(Debug)]
pub struct Lock {
    /// None: a reader of a store whose lock file was never made. Nothing was written there, or nothing can be.
    file: Option<File>,
    /// The lock file of the same rank in the other root, where images lie apart from containers (format, section 2.5).
    other: Option<File>,
    path: PathBuf,
    rank: Rank,
    access: Access,
    // Ranks are kept per thread, so a guard must be dropped where it was taken.
    _thread: PhantomData<*const ()>,
}

impl Lock {
    /// Waits for the lock on `path`. For `Access::Exclusive` a missing file is made (0644), and so is its directory (0700);
    /// for `Access::Shared` nothing is made, and a missing file counts as locked: tables are replaced by renames, so that a reader sees
    /// a whole one in any case.
    pub fn acquire(path: &Path, rank: Rank, access: Access) -> Result<Self, Error> {
        let bit = 1u8 << rank as u8;
        if HELD.get() >= bit {
            return Err(Error::Order { path: path.to_owned() });
        }
        let file = match access {
            Access::Exclusive => Some(open_for_writing(path).map_err(|source| refused(path, source))?),
            Access::Shared => open_for_reading(path).map_err(|source| Error::Io { path: path.to_owned(), source })?,
        };
        if let Some(file) = &file {
            wait(file, access).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        }
        HELD.set(HELD.get() | bit);
        Ok(Self { file, other: None, path: path.to_owned(), rank, access, _thread: PhantomData })
    }

    /// Waits for the lock on `path` as well: that of the other root. All tools take the two in the same order.
    pub(crate) fn and(mut self, path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        self.other = match self.access {
            Access::Exclusive => Some(open_for_writing(path).map_err(|source| refused(path, source))?),
            Access::Shared => open_for_reading(path).map_err(failed)?,
        };
        if let Some(file) = &self.other {
            wait(file, self.access).map_err(failed)?;
        }
        Ok(self)
    }

    /// Waits for the shared lock on `path` of a read-only store. Such locks come after ours of the same rank and are held one at a
    /// time, so they have none.
    pub(crate) fn acquire_additional(path: &Path) -> Result<Option<File>, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let file = open_for_reading(path).map_err(failed)?;
        if let Some(file) = &file {
            wait(file, Access::Shared).map_err(failed)?;
        }
        Ok(file)
    }

    /// Writes a fresh stamp: what others remember of the files under this lock is out of date from now on. To be called
    /// before each change of them (format, section 5.3). The lock must be exclusive.
    pub fn stamp(&self) -> Result<(), Error> {
        let (Some(file), Access::Exclusive) = (&self.file, self.access) else {
            return Err(Error::Order { path: self.path.clone() });
        };
        let stamp = fresh_stamp();
        for file in std::iter::once(file).chain(&self.other) {
            match rustix::io::pwrite(file, &stamp, 0) {
                Ok(64) => {}
                Ok(_) => return Err(Error::Io { path: self.path.clone(), source: io::ErrorKind::WriteZero.into() }),
                Err(error) => return Err(refused(&self.path, error.into())),
            }
        }
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        HELD.set(HELD.get() & !(1u8 << self.rank as u8));
    }
}

/// Waits for the exclusive lock on a file that stands outside of the order: taken before any lock that has a rank, and held until
/// the file is closed.
pub fn exclusive(path: &Path) -> Result<File, Error> {
    let file = open_for_writing(path).map_err(|source| refused(path, source))?;
    wait(&file, Access::Exclusive).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(file)
}

/// Tries to lock the whole of `file` exclusively, for as long as any copy of the descriptor is open. `false`: someone else has it.
pub fn try_exclusive(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn wait(file: &File, access: Access) -> io::Result<()> {
    let kind = match access {
        Access::Shared => libc::F_RDLCK,
        Access::Exclusive => libc::F_WRLCK,
    };
    let request = whole_file(kind);
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&request)) {
            Ok(_) => return Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    let narrow = |value: libc::c_int| libc::c_short::try_from(value).unwrap_or(0);
    libc::flock { l_type: narrow(kind), l_whence: narrow(libc::SEEK_SET), l_start: 0, l_len: 0, l_pid: 0 }
}

fn open_for_writing(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file = match rustix::fs::openat(CWD, path, flags, mode) {
        Err(Errno::NOENT) => {
            if let Some(parent) = path.parent() {
                make_private_dir(parent)?;
            }
            rustix::fs::openat(CWD, path, flags, mode)?
        }
        opened => opened?,
    };
    regular(file.into())
}

/// `file`, unless it is a pipe or a device that stands in the place of a lock (known attack A127).
pub(crate) fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
}

fn open_for_reading(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => regular(file.into()).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes `path` and its missing parents, mode 0700.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn refused(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Error::ReadOnly { path: path.to_owned(), source }
        }
        _ => Error::Io { path: path.to_owned(), source },
    }
}

/// 64 bytes that no other write has: time, a counter of this process, its pid, and random bytes. Others compare them only.
fn fresh_stamp() -> [u8; 64] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    let mut stamp = [0u8; 64];
    stamp[..8].copy_from_slice(&time.to_le_bytes());
    stamp[8..16].copy_from_slice(&(COUNTER.fetch_add(1, Ordering::Relaxed) + 1).to_le_bytes());
    stamp[16..20].copy_from_slice(&std::process::id().to_le_bytes());
    // Without random bytes, time, counter and pid still differ from every other stamp.
    let _ = getrandom::fill(&mut stamp[20..]);
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_lock_first_is_refused_and_not_a_deadlock() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join("new").join(name);
        let images = Lock::acquire(&path("images.lock"), Rank::Images, Access::Exclusive).unwrap();
        assert!(matches!(Lock::acquire(&path("layers.lock"), Rank::Layers, Access::Shared), Err(Error::Order { .. })));
        assert!(matches!(Lock::acquire(&path("images.lock"), Rank::Images, Access::Shared), Err(Error::Order { .. })));
        let containers = Lock::acquire(&path("containers.lock"), Rank::Containers, Access::Exclusive).unwrap();
        drop((images, containers));
        Lock::acquire(&path("layers.lock"), Rank::Layers, Access::Shared).unwrap();
    }

    #[test]
    fn excludes_other_threads_and_lets_readers_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.lock");
        let held = Lock::acquire(&path, Rank::Layers, Access::Exclusive).unwrap();
        let busy = || !try_exclusive(&File::options().write(true).open(&path).unwrap()).unwrap();
        assert!(busy());
        drop(held);
        assert!(!busy());
        let reader = Lock::acquire(&path, Rank::Layers, Access::Shared).unwrap();
        let other = path.clone();
        std::thread::spawn(move || drop(Lock::acquire(&other, Rank::Layers, Access::Shared).unwrap())).join().unwrap();
        assert!(busy());
        drop(reader);
    }

    #[test]
    fn a_reader_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.lock");
        drop(Lock::acquire(&path, Rank::Layers, Access::Shared).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn every_stamp_is_another_one_and_has_the_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.lock");
        let lock = Lock::acquire(&path, Rank::Layers, Access::Exclusive).unwrap();
        lock.stamp().unwrap();
        let first = std::fs::read(&path).unwrap();
        lock.stamp().unwrap();
        let second = std::fs::read(&path).unwrap();
        assert_eq!((first.len(), second.len()), (64, 64));
        assert_ne!(first, second);
        assert_eq!(second[16..20], std::process::id().to_le_bytes());
    }

    #[test]
    fn a_shared_lock_cannot_be_stamped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.lock");
        std::fs::write(&path, "").unwrap();
        assert!(Lock::acquire(&path, Rank::Layers, Access::Shared).unwrap().stamp().is_err());
        assert_eq!(std::fs::read(&path).unwrap().len(), 0);
    }
}
