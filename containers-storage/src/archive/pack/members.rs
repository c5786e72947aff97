//! Each entry of the tree as a member: what it is, its header, its data.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::super::copy::Copy;
use super::super::entry::PATH_LIMIT;
use super::super::inode::NewFile;
use super::super::sink::Feed;
use super::super::{Entry, Error, Kind, OverlayXattrs, Ownership, Refusal, Time, header, whiteout, xattrs};
use super::walk::{Step, Walk};
use super::{OnDisk, Options, Owners, Times, Tree};
use crate::{Root, placeholder};

/// What was found on the way.
#[derive(Default)]
pub(super) struct Found {
    pub(super) uids: BTreeSet<u32>,
    pub(super) gids: BTreeSet<u32>,
    pub(super) entries: u64,
    pub(super) skipped_sockets: Vec<PathBuf>,
    pub(super) placeholders: Vec<PathBuf>,
    last_owner: Option<(u32, u32)>,
}

/// Packs one tree.
pub(super) struct Packer<'a> {
    options: &'a Options,
    walk: Walk,
    xattrs: xattrs::Reader,
    copy: Option<Copy<'a>>,
    feed: Feed,
    header: Vec<u8>,
    /// First path of each inode with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    found: Found,
    /// Whether files can be opened without touching their access time; refused for files of others (open(2)).
    no_access_time: bool,
}

/// Opens what must not be followed, waited for, or made a terminal.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl<'a> Packer<'a> {
    pub(super) fn new(
        source: &Root,
        options: &'a Options,
        copy: Option<(&'a Root, Ownership)>,
        feed: Feed,
    ) -> Result<Self, Error> {
        let opening = |source: io::Error| Error::entry(b".", "opening", source);
        let base = rustix::fs::openat(source, ".", READ | OFlags::DIRECTORY, Mode::empty());
        let marks = match options.tree {
            Tree::Layer(family) => Some(family),
            Tree::Merged | Tree::Changes(_) => None,
        };
        Ok(Self {
            options,
            walk: Walk::new(base.map_err(|error| opening(error.into()))?).map_err(opening)?,
            xattrs: xattrs::Reader::new(marks),
            copy: copy
                .map(|(root, ownership)| Copy::new(root, ownership))
                .transpose()
                .map_err(|source| Error::entry(b".", "opening the copy", source))?,
            feed,
            header: Vec::new(),
            links: HashMap::new(),
            found: Found::default(),
            no_access_time: true,
        })
    }

    /// Packs everything and ends the archive.
    pub(super) fn run(mut self, lower_has: &mut dyn FnMut(&Path) -> io::Result<bool>) -> Result<Found, Error> {
        self.add_gone(Path::new(""))?;
        while let Some(step) = self.walk.next().map_err(|source| self.failed("listing", source))? {
            let file_type = match step {
                Step::Entry(file_type) => file_type,
                Step::Gone => {
                    self.gone()?;
                    continue;
                }
                Step::Leave => {
                    if let Some(copy) = &mut self.copy {
                        copy.leave().map_err(|source| self.failed("copying", source))?;
                    }
                    continue;
                }
            };
            let path = Path::new(OsStr::from_bytes(self.walk.path()));
            if !self.options.exclude.is_empty() && self.options.exclude.contains(path) {
                continue;
            }
            if let Tree::Changes(selection) = &self.options.tree
                && !selection.has(path)
            {
                continue;
            }
            if self.walk.path().len() > PATH_LIMIT {
                return Err(self.refused(Refusal::TooLarge { what: "the name", limit: PATH_LIMIT as u64 }));
            }
            if self.options.tree == Tree::Layer(OverlayXattrs::Program) && self.walk.name().starts_with(whiteout::PREFIX) {
                self.program_mark()?;
                continue;
            }
            match file_type {
                FileType::Directory => self.directory(lower_has)?,
                FileType::RegularFile => self.regular()?,
                FileType::Socket => self.found.skipped_sockets.push(path.to_path_buf()),
                _ => self.node()?,
            }
        }
        self.feed.write(&header::END).and_then(|()| self.feed.finish()).map_err(Error::Write)?;
        Ok(self.found)
    }

    fn directory(&mut self, lower_has: &mut dyn FnMut(&Path) -> io::Result<bool>) -> Result<(), Error> {
        let (fd, stat) = self.open(OFlags::DIRECTORY, FileType::Directory)?;
        let attributes = self.attributes(fd.as_fd())?;
        if attributes.placeholder && placeholder::is_vacant(fd.as_fd()).map_err(|source| self.failed("listing", source))? {
            self.leave_out_placeholder();
            return Ok(());
        }
        let stat = attributes.shown(stat);
        let mut entry = self.entry(&stat, Kind::Directory)?;
        entry.xattrs = attributes.carried;
        self.set_time_on_disk(Some(fd.as_fd()), &stat, &entry)?;
        self.write_header(&entry)?;
        let opaque = match self.options.tree {
            Tree::Layer(family) if attributes.opaque => Some(family),
            _ => None,
        };
        if let Some(copy) = &mut self.copy {
            copy.enter(self.walk.name(), &entry, opaque).map_err(|source| self.failed("copying", source))?;
        }
        if opaque.is_some() {
            let path = Path::new(OsStr::from_bytes(self.walk.path()));
            if lower_has(path).map_err(|source| self.failed("looking it up in the lower layers", source))? {
                entry.path.extend_from_slice(b"/");
                entry.path.extend_from_slice(whiteout::OPAQUE);
                (entry.kind, entry.mtime, entry.size, entry.xattrs) = (Kind::File, Time::default(), 0, Vec::new());
                self.write_header(&entry)?;
            }
        }
        let path = PathBuf::from(OsStr::from_bytes(self.walk.path()));
        self.walk.enter(fd, (stat.st_dev, stat.st_ino)).map_err(|source| self.failed("listing", source))?;
        self.add_gone(&path)
    }

    /// What is gone from the directory that was just entered comes among its entries.
    fn add_gone(&mut self, directory: &Path) -> Result<(), Error> {
        let Tree::Changes(selection) = &self.options.tree else { return Ok(()) };
        self.walk.add_gone(selection.gone_from(directory)).map_err(|source| self.failed("listing", source))
    }

    /// A file by which fuse-overlayfs says that something is deleted, where it can make no device.
    fn program_mark(&mut self) -> Result<(), Error> {
        let (directory, name) = (self.walk.directory(), self.walk.name());
        // The directory's attribute says the same.
        if whiteout::is_program_opaque(name) {
            return Ok(());
        }
        let hidden = match whiteout::meaning(name) {
            whiteout::Meaning::Whiteout(hidden) => hidden.to_vec(),
            _ => return Err(self.refused(Refusal::Name("begins with \".wh.\", which would delete files in a layer"))),
        };
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|error| self.failed("reading its metadata", error.into()))?;
        let mut entry = self.described(&stat, Kind::File)?;
        entry.mode = 0;
        self.write_header(&entry)?;
        if let Some(copy) = &mut self.copy {
            copy.whiteout(&hidden, &entry).map_err(|source| self.failed("copying", source))?;
        }
        Ok(())
    }

    /// A whiteout of the name at hand. Its time is that of the directory, which changed when the name went.
    fn gone(&mut self) -> Result<(), Error> {
        let stat =
            rustix::fs::fstat(self.walk.directory()).map_err(|error| self.failed("reading its directory", error.into()))?;
        let mut entry = self.entry(&stat, Kind::File)?;
        (entry.uid, entry.gid) = if let Owners::One(uid, gid) = self.options.owner { (uid, gid) } else { (0, 0) };
        self.write_whiteout(entry).map(drop)
    }

    fn regular(&mut self) -> Result<(), Error> {
        let (fd, stat) = self.open(OFlags::empty(), FileType::RegularFile)?;
        let attributes = self.attributes(fd.as_fd())?;
        if attributes.placeholder && stat.st_size == 0 {
            self.leave_out_placeholder();
            return Ok(());
        }
        let stat = attributes.shown(stat);
        if self.link(&stat)? {
            return Ok(());
        }
        if let Some(kind) = attributes.recorded.and_then(|recorded| recorded.kind.node()).filter(|_| stat.st_size == 0) {
            return self.write_node(&stat, kind);
        }
        let mut entry = self.entry(&stat, Kind::File)?;
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        entry.xattrs = attributes.carried;
        self.write_header(&entry)?;
        let mut copied = match &mut self.copy {
            Some(copy) => {
                let file = copy.file(self.walk.name(), entry.size, fd.as_fd());
                Some(file.map_err(|source| self.failed("copying", source))?)
            }
            None => None,
        };
        // `st_blocks` counts 512 bytes, whatever the block size (stat(2)).
        if u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < entry.size && entry.size > 64 << 10 {
            self.sparse_data(fd.as_fd(), entry.size, copied.as_mut())?;
        } else {
            self.data(fd.as_fd(), 0..entry.size, copied.as_mut())?;
        }
        self.feed.zeros(entry.size.wrapping_neg() % 512).map_err(Error::Write)?;
        self.set_time_on_disk(Some(fd.as_fd()), &stat, &entry)?;
        if let Some(copied) = copied {
            let complete = copied.extend(entry.size).and_then(|()| {
                let ownership = self.copy.as_ref().map(|copy| copy.ownership).unwrap_or_default();
                ownership.own(copied.as_fd(), entry.uid, entry.gid)?;
                copied.describe(&entry, ownership)
            });
            complete.map_err(|source| self.failed("copying", source))?;
        }
        Ok(())
    }

    fn leave_out_placeholder(&mut self) {
        self.found.placeholders.push(PathBuf::from(OsStr::from_bytes(self.walk.path())));
    }

    /// Links, pipes, devices and whiteouts: nothing of them is opened.
    fn node(&mut self) -> Result<(), Error> {
        let (directory, name) = (self.walk.directory(), self.walk.name());
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|error| self.failed("reading its metadata", error.into()))?;
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice if stat.st_rdev == 0 => match self.options.tree {
                Tree::Layer(_) => return self.whiteout(&stat),
                Tree::Merged => Kind::CharDevice { major, minor },
                Tree::Changes(_) => {
                    return Err(self.refused(Refusal::Name("is a character device 0:0, which would delete a file")));
                }
            },
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(directory, name, Vec::new());
                Kind::Symlink(text.map_err(|error| self.failed("reading the link", error.into()))?.into_bytes())
            }
            _ => return Err(self.refused(Refusal::Changed)),
        };
        if self.link(&stat)? {
            return Ok(());
        }
        self.write_node(&stat, kind)
    }

    fn write_node(&mut self, stat: &Stat, kind: Kind) -> Result<(), Error> {
        let entry = self.entry(stat, kind)?;
        self.set_time_on_disk(None, stat, &entry)?;
        self.write_header(&entry)?;
        if let Some(copy) = &mut self.copy {
            copy.other(self.walk.name(), &entry).map_err(|source| self.failed("copying", source))?;
        }
        Ok(())
    }

    fn whiteout(&mut self, stat: &Stat) -> Result<(), Error> {
        let entry = self.entry(stat, Kind::File)?;
        let entry = self.write_whiteout(entry)?;
        if let Some(copy) = &mut self.copy {
            copy.whiteout(self.walk.name(), &entry).map_err(|source| self.failed("copying", source))?;
        }
        Ok(())
    }

    /// Writes `entry` as a whiteout of the name at hand.
    fn write_whiteout(&mut self, mut entry: Entry) -> Result<Entry, Error> {
        entry.mode = 0;
        let start = self.walk.path().len() - self.walk.name().len();
        entry.path.splice(start..start, whiteout::PREFIX.iter().copied());
        self.write_header(&entry)?;
        Ok(entry)
    }

    /// Writes a hard link if `stat` is a further name of an inode; remembers the inode if it has more names to come.
    fn link(&mut self, stat: &Stat) -> Result<bool, Error> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else {
            self.links.insert((stat.st_dev, stat.st_ino), self.walk.path().to_vec());
            return Ok(false);
        };
        let entry = self.entry(stat, Kind::HardLink(first.clone()))?;
        self.write_header(&entry)?;
        if let Some(copy) = &mut self.copy {
            copy.other(self.walk.name(), &entry).map_err(|source| self.failed("copying", source))?;
        }
        Ok(true)
    }

    /// The entry at hand, without size and attributes.
    fn entry(&self, stat: &Stat, kind: Kind) -> Result<Entry, Error> {
        if self.options.tree != Tree::Merged && self.walk.name().starts_with(whiteout::PREFIX) {
            return Err(self.refused(Refusal::Name("begins with \".wh.\", which would delete files in a layer")));
        }
        self.described(stat, kind)
    }

    /// The entry of the name at hand, whatever it is called.
    fn described(&self, stat: &Stat, kind: Kind) -> Result<Entry, Error> {
        let owner = self.options.owner.of(stat.st_uid, stat.st_gid);
        let unmapped = || {
            let text = format!("its owner {}:{} is not among the ids of the container", stat.st_uid, stat.st_gid);
            self.failed("mapping its owner", std::io::Error::new(std::io::ErrorKind::InvalidInput, text))
        };
        let (uid, gid) = owner.ok_or_else(unmapped)?;
        let mtime = archived_seconds(self.options.times, stat.st_mtime);
        // All tools expect 0777 of a link, whatever the file system says (format section 11.1).
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { stat.st_mode & 0o7777 };
        Ok(Entry {
            name: Vec::new(),
            path: self.walk.path().to_vec(),
            kind,
            mode,
            uid,
            gid,
            mtime: Time::from_seconds(mtime),
            size: 0,
            xattrs: Vec::new(),
        })
    }

    fn write_header(&mut self, entry: &Entry) -> Result<(), Error> {
        self.header.clear();
        header::encode(entry, &mut self.header)?;
        self.feed.write(&self.header).map_err(Error::Write)?;
        self.feed.member(header::member_name(entry), entry.size);
        let found = &mut self.found;
        found.entries += 1;
        let is_mark = self.walk.path() != entry.path;
        if !is_mark && found.last_owner.replace((entry.uid, entry.gid)) != Some((entry.uid, entry.gid)) {
            found.uids.insert(entry.uid);
            found.gids.insert(entry.gid);
        }
        Ok(())
    }

    /// Feeds the bytes `range` of the file.
    fn data(&mut self, fd: BorrowedFd<'_>, range: std::ops::Range<u64>, mut copied: Option<&mut NewFile>) -> Result<(), Error> {
        let mut offset = range.start;
        while offset < range.end {
            let room = self.feed.room().map_err(Error::Write)?;
            let length = usize::try_from(range.end - offset).map_or(room.len(), |left| left.min(room.len()));
            let length = match rustix::io::pread(fd, &mut room[..length], offset) {
                Ok(0) => return Err(self.refused(Refusal::Changed)),
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(self.failed("reading", error.into())),
            };
            let bytes = self.feed.filled(length);
            if let Some(copied) = copied.as_deref_mut().filter(|copied| !copied.shared) {
                let written = copied.write(offset, bytes);
                written.map_err(|source| Error::entry(self.walk.path(), "copying", source))?;
            }
            offset += length as u64;
        }
        Ok(())
    }

    /// Feeds a file with holes, which are neither read nor written (lseek(2), `SEEK_DATA`).
    fn sparse_data(&mut self, fd: BorrowedFd<'_>, size: u64, mut copied: Option<&mut NewFile>) -> Result<(), Error> {
        let mut offset = 0;
        while offset < size {
            let data = match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
                Ok(data) => data.min(size),
                Err(Errno::NXIO) => size,
                // The file system can't tell.
                Err(Errno::INVAL) => return self.data(fd, offset..size, copied),
                Err(error) => return Err(self.failed("looking for holes", error.into())),
            };
            self.feed.zeros(data.saturating_sub(offset)).map_err(Error::Write)?;
            if data >= size {
                break;
            }
            let hole = rustix::fs::seek(fd, SeekFrom::Hole(data));
            let hole = hole.map_err(|error| self.failed("looking for holes", error.into()))?.min(size);
            if hole <= data {
                return Err(self.refused(Refusal::Changed));
            }
            self.data(fd, data..hole, copied.as_deref_mut())?;
            offset = hole;
        }
        Ok(())
    }

    fn set_time_on_disk(&self, fd: Option<BorrowedFd<'_>>, stat: &Stat, entry: &Entry) -> Result<(), Error> {
        let same = (stat.st_mtime, stat.st_mtime_nsec) == (entry.mtime.seconds, 0);
        if self.options.on_disk == OnDisk::Untouched || same {
            return Ok(());
        }
        let times = entry.mtime.timestamps();
        let set = match fd {
            Some(fd) => rustix::fs::futimens(fd, &times),
            None => rustix::fs::utimensat(self.walk.directory(), self.walk.name(), &times, AtFlags::SYMLINK_NOFOLLOW),
        };
        set.map_err(|error| self.failed("setting its time", error.into()))
    }

    fn open(&mut self, flags: OFlags, expected: FileType) -> Result<(OwnedFd, Stat), Error> {
        let mut flags = READ | flags;
        if self.no_access_time {
            flags |= OFlags::NOATIME;
        }
        let mut opened = rustix::fs::openat(self.walk.directory(), self.walk.name(), flags, Mode::empty());
        if self.no_access_time && matches!(opened, Err(Errno::PERM)) {
            self.no_access_time = false;
            flags.remove(OFlags::NOATIME);
            opened = rustix::fs::openat(self.walk.directory(), self.walk.name(), flags, Mode::empty());
        }
        let fd = match opened {
            // It was something else when the directory was listed.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Err(self.refused(Refusal::Changed)),
            opened => opened.map_err(|error| self.failed("opening", error.into()))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.failed("reading its metadata", error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != expected {
            return Err(self.refused(Refusal::Changed));
        }
        Ok((fd, stat))
    }

    fn attributes(&mut self, fd: BorrowedFd<'_>) -> Result<xattrs::Attributes, Error> {
        let read = self.xattrs.read(fd);
        let attributes = read.map_err(|source| self.failed("reading its extended attributes", source))?;
        match attributes.refusal() {
            Some(refusal) => Err(self.refused(refusal)),
            None => Ok(attributes),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::entry(self.walk.path(), action, source)
    }

    fn refused(&self, refusal: Refusal) -> Error {
        Error::refused(self.walk.path(), refusal)
    }
}

/// The time, in seconds since 1970, that an archive with `times` says of an entry with this one on disk.
pub(super) fn archived_seconds(times: Times, on_disk: i64) -> i64 {
    match times {
        Times::Keep => on_disk,
        Times::Clamp(latest) => on_disk.min(latest),
        Times::Force(time) => time,
    }
}
