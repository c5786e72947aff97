//! The walk over a tree: depth first, each directory's names in byte order (as Go's `WalkDir`), iterative.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, RawDir};

use super::super::directories::{Directories, Identity};

/// A directory's names that are still to come, the last one first.
struct Listing {
    names: Vec<u8>,
    /// Start and end in `names`, and the type as the directory tells it.
    entries: Vec<(u32, u32, FileType)>,
    /// Length of the directory's own path.
    path: usize,
}

/// The walk. Between two calls of `next`, `path` is the entry at hand and `directory` holds it.
pub(super) struct Walk {
    directories: Directories,
    listings: Vec<Listing>,
    path: Vec<u8>,
    name: usize,
    buffer: Vec<u8>,
}

/// What `next` found.
pub(super) enum Step {
    /// An entry of this type.
    Entry(FileType),
    /// The end of a directory that was entered.
    Leave,
}

impl Walk {
    /// A walk over the open directory `base`, which is not an entry itself.
    pub(super) fn new(base: OwnedFd) -> io::Result<Self> {
        let mut walk = Self {
            directories: Directories::new(base),
            listings: Vec::new(),
            path: Vec::new(),
            name: 0,
            buffer: Vec::with_capacity(32 << 10),
        };
        walk.list()?;
        Ok(walk)
    }

    /// The path of the entry below the base.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last component of `path`.
    pub(super) fn name(&self) -> &[u8] {
        &self.path[self.name..]
    }

    /// The directory that holds the entry.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directories.current()
    }

    /// Goes on; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Step>> {
        let Some(listing) = self.listings.last_mut() else { return Ok(None) };
        self.path.truncate(listing.path);
        let Some((start, end, kind)) = listing.entries.pop() else {
            self.listings.pop();
            if self.directories.depth() == 0 {
                return Ok(None);
            }
            self.directories.leave()?;
            return Ok(Some(Step::Leave));
        };
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.name = self.path.len();
        self.path.extend_from_slice(&listing.names[start as usize..end as usize]);
        if kind != FileType::Unknown {
            return Ok(Some(Step::Entry(kind)));
        }
        let stat = rustix::fs::statat(self.directory(), self.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Some(Step::Entry(FileType::from_raw_mode(stat.st_mode))))
    }

    /// The entry at hand is the open directory `fd`: its entries come next.
    pub(super) fn enter(&mut self, fd: OwnedFd, identity: Identity) -> io::Result<()> {
        self.directories.enter(fd, identity);
        self.list()
    }

    fn list(&mut self) -> io::Result<()> {
        let mut listing = Listing { names: Vec::new(), entries: Vec::new(), path: self.path.len() };
        let directory = self.directories.current();
        let mut entries = RawDir::new(directory, self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let start = u32::try_from(listing.names.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            listing.names.extend_from_slice(name);
            let end = u32::try_from(listing.names.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            listing.entries.push((start, end, entry.file_type()));
        }
        let names = &listing.names;
        let name = |&(start, end, _): &(u32, u32, FileType)| &names[start as usize..end as usize];
        listing.entries.sort_unstable_by(|one, other| name(other).cmp(name(one)));
        self.listings.push(listing);
        Ok(())
    }
}
