//! The directory that is unpacked into, and what both modes do there.
//!
//! Invariant: a member's directory is resolved once, by `Root`; everything else is one component below that handle. Directories
//! get mode and time at the very end, and only if they are still the inode that was made (known attacks A25).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::directories::Identity;
use super::super::entry::split_path;
use super::super::inode::{self, NewFile};
use super::super::reader::Reader;
use super::super::{Entry, Error, Kind, OverlayXattrs, Ownership, Recorded, RecordedKind, Refusal, Time, xattrs};
use super::Unmapped;
use super::pipeline::Tap;
use crate::Root;

/// The owner and mode of directories that the archive implies.
const IMPLIED_MODE: u32 = 0o755;

/// A directory to be finished at the end.
struct Pending {
    path: Vec<u8>,
    identity: Identity,
    mode: u32,
    mtime: Time,
}

/// The directory and what is known about it.
pub(super) struct Target<'a> {
    root: &'a Root,
    unmapped: Unmapped,
    ownership: Ownership,
    implied_owner: (u32, u32),
    /// The directory of the last member and its path.
    cached: Option<(Vec<u8>, Root)>,
    pending: Vec<Pending>,
    /// Directories that were made for what is below them, and not described since.
    implied: HashSet<Vec<u8>>,
}

/// Opens a directory by name for its metadata.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl<'a> Target<'a> {
    pub(super) fn new(root: &'a Root, unmapped: Unmapped, implied_owner: (u32, u32)) -> Self {
        let ownership = Ownership::default();
        Self { root, unmapped, ownership, implied_owner, cached: None, pending: Vec::new(), implied: HashSet::new() }
    }

    /// The same, with owners and modes kept so.
    pub(super) fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    pub(super) fn root(&self) -> &'a Root {
        self.root
    }

    /// Paths of the directories that the archive implies only.
    pub(super) fn implied(&self) -> &HashSet<Vec<u8>> {
        &self.implied
    }

    /// What was looked up may have been replaced.
    pub(super) fn forget(&mut self) {
        self.cached = None;
    }

    /// The directory `path`, made with its parents if it is missing. Links are followed within the root.
    pub(super) fn directory(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        if self.cached.as_ref().is_none_or(|(cached, _)| cached != path) {
            let found = match self.root.subdir(as_path(path)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_parents(path)?,
                found => found?,
            };
            self.cached = Some((path.to_vec(), found));
        }
        match &self.cached {
            Some((_, directory)) => Ok(directory.as_fd()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn make_parents(&mut self, path: &[u8]) -> io::Result<Root> {
        let mut at = PathBuf::new();
        let mut directory = self.root.try_clone()?;
        for component in path.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
            at.push(as_path(component));
            directory = match self.root.subdir(&at) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    rustix::fs::mkdirat(&directory, component, Mode::RWXU)?;
                    let made = rustix::fs::openat(&directory, component, DIRECTORY, Mode::empty())?;
                    let (uid, gid) = self.implied_owner;
                    match self.ownership.own(made.as_fd(), uid, gid) {
                        Err(_) if self.unmapped == Unmapped::Ignore => {}
                        other => other?,
                    }
                    let kind = RecordedKind::Directory;
                    self.ownership.record(&made, Recorded { uid, gid, mode: IMPLIED_MODE, kind })?;
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(self.ownership.mode(IMPLIED_MODE)))?;
                    self.implied.insert(at.as_os_str().as_bytes().to_vec());
                    self.root.subdir(&at)?
                }
                found => found?,
            };
        }
        Ok(directory)
    }

    /// Makes a regular file in the directory `parent`, with its metadata and the content that `reader` is at.
    pub(super) fn make_file(
        &mut self,
        parent: &[u8],
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<Tap>,
    ) -> Result<Made, Error> {
        let failed = |source| Error::entry(&entry.name, "creating the file", source);
        let directory = self.directory(parent).map_err(failed)?;
        let mut file = match NewFile::create(directory, name) {
            Err(Errno::EXIST) => return Ok(Made::Exists),
            created => created.map_err(|error| failed(error.into()))?,
        };
        reader.content(&mut |offset, bytes| file.write(offset, bytes))?;
        file.extend(entry.size).map_err(|source| Error::entry(&entry.name, "writing", source))?;
        self.owned(entry, self.ownership.own(file.as_fd(), entry.uid, entry.gid))?;
        file.describe(entry, self.ownership)
            .map_err(|source| Error::entry(&entry.name, "setting its mode, attributes and time", source))?;
        Ok(Made::New)
    }

    /// Gives the open directory of `path` its owner and attributes now, and the rest at the end.
    pub(super) fn describe_directory(&mut self, fd: BorrowedFd<'_>, path: &[u8], entry: &Entry) -> Result<(), Error> {
        self.owned(entry, self.ownership.own(fd, entry.uid, entry.gid))?;
        let failed = |source: io::Error| Error::entry(&entry.name, "setting its attributes", source);
        xattrs::set(fd, &entry.xattrs).map_err(failed)?;
        self.ownership.record(fd, inode::recorded(entry)).map_err(failed)?;
        let stat = rustix::fs::fstat(fd).map_err(|error| failed(error.into()))?;
        let identity = (stat.st_dev, stat.st_ino);
        self.implied.remove(path);
        self.pending.push(Pending { path: path.to_vec(), identity, mode: self.ownership.mode(entry.mode), mtime: entry.mtime });
        Ok(())
    }

    /// Makes a link, pipe or device in the directory `parent`, with its metadata.
    pub(super) fn make_node(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<Made, Error> {
        let (unmapped, ownership) = (self.unmapped, self.ownership);
        let failed = |source: io::Error| Error::entry(&entry.name, "creating", source);
        let directory = self.directory(parent).map_err(failed)?;
        if ownership != Ownership::OnInode && !matches!(entry.kind, Kind::Symlink(_)) {
            return match NewFile::create(directory, name) {
                Err(Errno::EXIST) => Ok(Made::Exists),
                file => {
                    let described = file.map_err(io::Error::from).and_then(|file| file.describe(entry, ownership));
                    described.map(|()| Made::New).map_err(failed)
                }
            };
        }
        let made = match &entry.kind {
            Kind::Symlink(text) => rustix::fs::symlinkat(text.as_slice(), directory, name),
            kind => inode::make_node(directory, name, kind),
        };
        match made {
            Err(Errno::EXIST) => return Ok(Made::Exists),
            other => other.map_err(|error| failed(error.into()))?,
        }
        owned(unmapped, entry, ownership.own_node(directory, name, entry.uid, entry.gid))?;
        inode::set_node_mode_time(directory, name, entry).map_err(failed)?;
        Ok(Made::New)
    }

    /// Links `name` in the directory `parent` to the member `target` (a clean path), which is not followed.
    pub(super) fn make_link(&mut self, parent: &[u8], name: &[u8], target: &[u8], entry: &Entry) -> Result<Made, Error> {
        let refuse = |why| {
            let written = if let Kind::HardLink(written) = &entry.kind { written } else { target };
            Error::refused(&entry.name, Refusal::Link { target: super::super::Escaped::new(written), why })
        };
        let failed = |source: io::Error| Error::entry(&entry.name, "creating the hard link", source);
        let (target_parent, target_name) = match self.root.parent(as_path(target)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(refuse("does not exist")),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(refuse("is the root")),
            other => other.map_err(failed)?,
        };
        let stat = match rustix::fs::statat(&target_parent, &target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Err(refuse("does not exist")),
            other => other.map_err(|error| failed(error.into()))?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(refuse("is a directory"));
        }
        let directory = self.directory(parent).map_err(failed)?;
        // The target is opened by nothing: linkat does not follow it without AT_SYMLINK_FOLLOW.
        match rustix::fs::linkat(&target_parent, &target_name, directory, name, AtFlags::empty()) {
            Err(Errno::EXIST) => Ok(Made::Exists),
            other => other.map(|()| Made::New).map_err(|error| failed(error.into())),
        }
    }

    /// Makes the directory `path` opaque; passed over if a link or a file stands in the way, which hides the same.
    pub(super) fn make_opaque(&mut self, path: &[u8], family: OverlayXattrs) -> io::Result<()> {
        let Some(directory) = self.directory_without_links(path)? else { return Ok(()) };
        xattrs::set_opaque(directory, family)
    }

    /// Makes a whiteout of `path`. What the same archive put there stays: a directory becomes opaque, anything else hides the lower
    /// one by itself. Passed over below a link or a whiteout.
    pub(super) fn make_whiteout(&mut self, path: &[u8], owner: (u32, u32), family: OverlayXattrs) -> io::Result<()> {
        let (parent, name) = split_path(path);
        let Some(directory) = self.directory_without_links(parent)? else { return Ok(()) };
        match inode::make_whiteout(directory.as_fd(), name) {
            Ok(()) => match self.ownership.own_node(directory.as_fd(), name, owner.0, owner.1) {
                Err(Errno::INVAL | Errno::PERM) if self.unmapped == Unmapped::Ignore => Ok(()),
                other => Ok(other?),
            },
            Err(Errno::EXIST) => match rustix::fs::openat(&directory, name, DIRECTORY, Mode::empty()) {
                Ok(existing) => xattrs::set_opaque(existing, family),
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The directory `path`, made if missing, or `None` if something that is no directory stands on the way.
    fn directory_without_links(&mut self, path: &[u8]) -> io::Result<Option<OwnedFd>> {
        let mut directory = rustix::fs::openat(self.root, ".", DIRECTORY, Mode::empty())?;
        for component in path.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
            directory = match rustix::fs::openat(&directory, component, DIRECTORY, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(Errno::NOENT) => {
                    self.forget();
                    self.make_parents(path)?;
                    rustix::fs::openat(&directory, component, DIRECTORY, Mode::empty())?
                }
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Some(directory))
    }

    /// Gives the directories their modes and times: those below first, so that a mode does not lock us out.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let mut pending = std::mem::take(&mut self.pending);
        // A stable sort: of two entries for one directory the later one counts.
        pending.sort_by(|one, other| other.path.cmp(&one.path));
        for directory in pending {
            let Pending { path, identity, mode, mtime } = directory;
            let finished = (|| {
                let found = match self.root.subdir(as_path(&path)) {
                    // A later entry replaced it.
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                        return Ok(());
                    }
                    found => found?,
                };
                let fd = rustix::fs::openat(&found, ".", DIRECTORY, Mode::empty())?;
                let stat = rustix::fs::fstat(&fd)?;
                if (stat.st_dev, stat.st_ino) == identity { inode::set_mode_time(fd.as_fd(), mode, mtime) } else { Ok(()) }
            })();
            finished.map_err(|source: io::Error| Error::entry(&path, "setting the directory's mode and time", source))?;
        }
        Ok(())
    }

    fn owned(&self, entry: &Entry, result: rustix::io::Result<()>) -> Result<(), Error> {
        owned(self.unmapped, entry, result)
    }
}

/// Whether the name was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    New,
    Exists,
}

/// What a change of owner means: EINVAL is how the kernel says that an id has no mapping (user_namespaces(7)).
fn owned(unmapped: Unmapped, entry: &Entry, result: rustix::io::Result<()>) -> Result<(), Error> {
    match result {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::PERM) if unmapped == Unmapped::Ignore => Ok(()),
        Err(Errno::INVAL) => Err(Error::refused(&entry.name, Refusal::Unmapped { uid: entry.uid, gid: entry.gid })),
        Err(error) => Err(Error::entry(&entry.name, "changing its owner", error)),
    }
}

/// Opens the existing directory `name`; `None` if it is something else.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
