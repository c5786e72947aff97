//! A copy of what is being packed, made from the same reads (the copying commit: one read of each file).
//!
//! Invariant: the copy is what unpacking the archive would make, plus the opaque marks: owners, modes and times are those of the
//! archive, and attributes pass the same allow-list. File data is shared with the original where the file system can
//! (`FICLONE`), never by hard link, since a layer's files must not change when the container's do (format section 7.6).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::directories::Directories;
use super::inode::{self, NewFile};
use super::{Entry, Kind, OverlayXattrs, Ownership, xattrs};
use crate::Root;

/// The copy being made.
pub(super) struct Copy<'a> {
    root: &'a Root,
    directories: Directories,
    /// What the directories that were entered get when they are left: later entries would change their times.
    pending: Vec<Entry>,
    /// Whether sharing data was not yet refused.
    reflink: bool,
    /// Where owners and modes are kept in the copy.
    pub(super) ownership: Ownership,
}

impl<'a> Copy<'a> {
    /// A copy in the empty directory `root`, whose own owner and mode are the caller's.
    pub(super) fn new(root: &'a Root, ownership: Ownership) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = rustix::fs::openat(root, ".", flags, Mode::empty())?;
        Ok(Self { root, directories: Directories::new(base), pending: Vec::new(), reflink: true, ownership })
    }

    /// Makes the directory `name` and goes into it.
    pub(super) fn enter(&mut self, name: &[u8], entry: &Entry, opaque: Option<OverlayXattrs>) -> io::Result<()> {
        let parent = self.directories.current();
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        xattrs::set(&directory, &entry.xattrs)?;
        if let Some(family) = opaque {
            xattrs::set_opaque(&directory, family)?;
        }
        let stat = rustix::fs::fstat(&directory)?;
        self.directories.enter(directory, (stat.st_dev, stat.st_ino));
        self.pending.push(entry.clone());
        Ok(())
    }

    /// Goes up, giving the directory its owner, mode and time.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        let directory = self.directories.leave()?;
        if let (Some(directory), Some(entry)) = (directory, self.pending.pop()) {
            self.ownership.own(directory.as_fd(), entry.uid, entry.gid)?;
            self.ownership.record(&directory, inode::recorded(&entry))?;
            inode::set_mode_time(directory.as_fd(), self.ownership.mode(entry.mode), entry.mtime)?;
        }
        Ok(())
    }

    /// Makes the regular file `name`, with the data of `source` if that can be shared.
    pub(super) fn file(&mut self, name: &[u8], size: u64, source: BorrowedFd<'_>) -> io::Result<NewFile> {
        let mut file = NewFile::create(self.directories.current(), name)?;
        if self.reflink && size > 0 {
            self.reflink = file.share(source);
        }
        Ok(file)
    }

    /// Makes anything that is neither a directory nor a regular file.
    pub(super) fn other(&mut self, name: &[u8], entry: &Entry) -> io::Result<()> {
        let parent = self.directories.current();
        match &entry.kind {
            Kind::HardLink(first) => {
                let first = Path::new(std::ffi::OsStr::from_bytes(first));
                let (directory, first) = self.root.parent(first)?;
                return Ok(rustix::fs::linkat(directory, first, parent, name, AtFlags::empty())?);
            }
            Kind::Symlink(text) => rustix::fs::symlinkat(text.as_slice(), parent, name)?,
            _ if self.ownership != Ownership::OnInode => return NewFile::create(parent, name)?.describe(entry, self.ownership),
            kind => inode::make_node(parent, name, kind)?,
        }
        self.ownership.own_node(parent, name, entry.uid, entry.gid)?;
        inode::set_node_mode_time(parent, name, entry)
    }

    /// Makes a whiteout of `name`.
    pub(super) fn whiteout(&mut self, name: &[u8], entry: &Entry) -> io::Result<()> {
        let parent = self.directories.current();
        inode::make_whiteout(parent, name)?;
        Ok(self.ownership.own_node(parent, name, entry.uid, entry.gid)?)
    }
}
