//! The walk over a tree: depth first, each directory's names in byte order (as Go's `WalkDir`), iterative.

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, RawDir};

use super::super::directories::{Directories, Identity};

/// A directory's names that are still to come, the last one first.
struct Listing {
    names: Vec<u8>,
    /// Start and end in `names`, and the type as the directory tells it; none for a name that the directory has no more.
    entries: Vec<(u32, u32, Option<FileType>)>,
    /// Length of the directory's own path.
    path: usize,
}

impl Listing {
    fn push(&mut self, name: &[u8], kind: Option<FileType>) -> io::Result<()> {
        let start = u32::try_from(self.names.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.names.extend_from_slice(name);
        let end = u32::try_from(self.names.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.entries.push((start, end, kind));
        Ok(())
    }

    fn sort(&mut self) {
        let names = &self.names;
        let name = |&(start, end, _): &(u32, u32, Option<FileType>)| &names[start as usize..end as usize];
        self.entries.sort_unstable_by(|one, other| name(other).cmp(name(one)));
    }
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
    /// A name that was added with `add_gone`.
    Gone,
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
        match kind {
            None => return Ok(Some(Step::Gone)),
            Some(FileType::Unknown) => {}
            Some(kind) => return Ok(Some(Step::Entry(kind))),
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
            listing.push(name, Some(entry.file_type()))?;
        }
        listing.sort();
        self.listings.push(listing);
        Ok(())
    }

    /// Adds names that the directory just entered (at first the base) has no more; they come in their order.
    pub(super) fn add_gone(&mut self, names: &[OsString]) -> io::Result<()> {
        let Some(listing) = self.listings.last_mut().filter(|_| !names.is_empty()) else { return Ok(()) };
        names.iter().try_for_each(|name| listing.push(name.as_bytes(), None))?;
        listing.sort();
        Ok(())
    }
}
