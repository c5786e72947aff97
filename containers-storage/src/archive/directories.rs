//! A way down a tree as a stack of open directories, of any depth with a bounded number of descriptors (known attacks A140).
//!
//! Invariant: going up again leads to the very directory one came from (device and inode are compared), whatever was moved
//! meanwhile; a name is never looked up twice.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// Directories kept open; those above are closed and found again by `..`.
const OPEN_LIMIT: usize = 64;

/// Device and inode of a directory.
pub(crate) type Identity = (u64, u64);

struct Level {
    fd: Option<OwnedFd>,
    identity: Identity,
}

/// The stack; the first directory stays open and is never left.
pub(crate) struct Directories {
    base: OwnedFd,
    levels: Vec<Level>,
}

impl Directories {
    pub(crate) fn new(base: OwnedFd) -> Self {
        Self { base, levels: Vec::new() }
    }

    /// How many directories were entered and not left.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The directory one is in.
    pub(crate) fn current(&self) -> BorrowedFd<'_> {
        self.levels.last().and_then(|level| level.fd.as_ref()).unwrap_or(&self.base).as_fd()
    }

    pub(crate) fn enter(&mut self, fd: OwnedFd, identity: Identity) {
        self.levels.push(Level { fd: Some(fd), identity });
        if let Some(far) = self.levels.len().checked_sub(OPEN_LIMIT + 1) {
            self.levels[far].fd = None;
        }
    }

    /// Goes up and returns the directory that was left; `None` at the base.
    pub(crate) fn leave(&mut self) -> io::Result<Option<OwnedFd>> {
        let Some(Level { fd: Some(left), .. }) = self.levels.pop() else { return Ok(None) };
        if let Some(level) = self.levels.last_mut()
            && level.fd.is_none()
        {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let parent = rustix::fs::openat(&left, "..", flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&parent)?;
            if (stat.st_dev, stat.st_ino) != level.identity {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a directory was moved meanwhile"));
            }
            level.fd = Some(parent);
        }
        Ok(Some(left))
    }
}
