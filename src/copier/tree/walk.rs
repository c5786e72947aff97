//! The walk over a source: each entry is described for the digest and made at the destination.
//!
//! Invariant: as `tree`. Must not: open a name of the source before its type is known (known attack A14).

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containers_storage::Root;
use containers_storage::archive::unpack::Devices;
use containers_storage::rooted::{open_child, reopen_regular};
use rustix::fs::{FileType, OFlags, Stat, Timespec};

use super::super::content::{Extent, WORTH_READING_AGAIN};
use super::super::digest::{SourceKind, Stream};
use super::super::glob::names_in;
use super::super::header::{Dialect, Header, Kind};
use super::super::ignore::Ignore;
use super::super::make::{self, Before, Metadata};
use super::super::names::Owner;
use super::super::xattr;
use super::{Copied, DEEPEST, Error, Place, Session, Source, open_directory};

/// What deletes a file begins so in layers (OCI image specification, "Whiteouts").
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// Copies `source` to `place`.
pub(super) fn copy(session: &mut Session<'_>, source: &Source<'_>, place: &Place) -> Result<Copied, Error> {
    let read = |error: io::Error| Error::Read { path: source.path.clone(), source: error };
    let stat = rustix::fs::fstat(source.handle).map_err(|error| read(error.into()))?;
    let session_tree = (session.same_tree, session.target);
    let mut walk = Walk {
        session,
        stream: Stream::default(),
        links: HashMap::new(),
        archive_name: place.prefix.as_os_str().as_bytes().to_vec(),
        below_source: PathBuf::new(),
        landing: landing(session_tree, source, place),
        source: source.path.clone(),
        target: place.path.clone(),
        entries: 0,
        depth: 0,
    };
    let top = Directory {
        parent: None,
        path: place.path.clone(),
        handle: OnceCell::from(place.directory.try_clone().map_err(read)?),
    };
    let kind = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        walk.refuse_destination(&stat)?;
        let readable = open_directory(source.handle).map_err(read)?;
        walk.children(readable, &top)?;
        SourceKind::Dir
    } else {
        walk.push(&place.name, None);
        walk.other(source.handle, &stat, &top, &place.name)?;
        SourceKind::File
    };
    Ok(Copied { kind, entries: walk.entries, digest: walk.stream.complete() })
}

/// The place below `source` that is copied to, where sources lie in the tree that they are copied into. Both trees are different mounts, with
/// inode numbers of their own: the kernel's names tell.
fn landing((own, target): (Option<&Root>, &Root), source: &Source<'_>, place: &Place) -> Option<PathBuf> {
    let source = own?.name_of(source.handle).ok()?;
    let place = target.name_of(place.directory.as_fd()).ok()?;
    place.strip_prefix(source).ok().filter(|below| !below.as_os_str().is_empty()).map(Path::to_path_buf)
}

/// A directory of the destination, made when it is needed.
struct Directory<'p> {
    parent: Option<&'p Directory<'p>>,
    /// Its name in the container; the last component is its name in `parent`.
    path: PathBuf,
    handle: OnceCell<OwnedFd>,
}

/// Where a directory of the destination is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Under its own name, and since when.
    Here(Before),
    /// Where the link of its name leads.
    BehindLink,
}

/// The first name of a file that has several.
struct FirstName {
    archive_name: Vec<u8>,
    target: PathBuf,
    inode: (u64, u64),
}

struct Walk<'s, 'a> {
    session: &'s mut Session<'a>,
    stream: Stream,
    links: HashMap<(u64, u64), FirstName>,
    archive_name: Vec<u8>,
    below_source: PathBuf,
    /// Where the copy goes, if that is below the source.
    landing: Option<PathBuf>,
    source: PathBuf,
    target: PathBuf,
    entries: u64,
    depth: usize,
}

/// The lengths and names to go back to after an entry.
struct Mark(usize);

impl Directory<'_> {
    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

impl Walk<'_, '_> {
    fn push(&mut self, name: &OsStr, source_name: Option<&OsStr>) -> Mark {
        let mark = Mark(self.archive_name.len());
        if !self.archive_name.is_empty() {
            self.archive_name.push(b'/');
        }
        self.archive_name.extend_from_slice(name.as_bytes());
        self.target.push(name);
        match source_name {
            Some(source_name) => {
                self.source.push(source_name);
                self.below_source.push(source_name);
            }
            // The source itself: for `--exclude` a file is its name.
            None => self.below_source.push(self.source.file_name().unwrap_or(name)),
        }
        mark
    }

    fn pop(&mut self, Mark(length): Mark) {
        self.archive_name.truncate(length);
        self.target.pop();
        self.source.pop();
        self.below_source.pop();
    }

    fn read<T>(&self, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Read { path: self.source.clone(), source })
    }

    fn store<T>(&self, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Store { path: self.target.clone(), source })
    }

    fn is_excluded(&self) -> bool {
        let filter = self.session.filter;
        filter.context.is_some_and(|ignore| ignore.excludes(&self.source.to_string_lossy()))
            || filter.source.is_some_and(|ignore| self.is_named(ignore))
    }

    /// Whether patterns match the name below the source, or the one below the context; the former alone if one takes back, since
    /// that says what it means of one name only.
    fn is_named(&self, patterns: &Ignore) -> bool {
        patterns.excludes(&self.below_source.to_string_lossy())
            || (!patterns.takes_back() && patterns.excludes(&self.source.to_string_lossy()))
    }

    /// Something is copied that may be among what must be.
    fn note_required(&mut self) {
        let (below, source) = (&self.below_source, &self.source);
        self.session.required.retain(|required| !below.starts_with(required) && !source.starts_with(required));
    }

    /// Whether something below a directory that is left out may be wanted again.
    fn may_take_back(&self) -> bool {
        let filter = self.session.filter;
        [filter.context, filter.source].into_iter().flatten().any(Ignore::takes_back)
    }

    /// Everything in `source`, in the order of names.
    fn children(&mut self, source: OwnedFd, into: &Directory<'_>) -> Result<(), Error> {
        if self.depth >= DEEPEST {
            return Err(Error::TooDeep { path: self.source.clone() });
        }
        self.depth += 1;
        let listing = self.read(source.try_clone())?;
        for (name, _) in self.read(names_in(listing))? {
            let mark = self.push(&name, Some(&name));
            self.entry(source.as_fd(), &name, into)?;
            self.pop(mark);
        }
        self.depth -= 1;
        Ok(())
    }

    fn entry(&mut self, source: BorrowedFd<'_>, name: &OsStr, into: &Directory<'_>) -> Result<(), Error> {
        let handle = self.read(open_child(source, name))?;
        let stat = self.read(rustix::fs::fstat(&handle).map_err(Into::into))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            self.directory(handle.as_fd(), &stat, into)
        } else {
            self.other(handle.as_fd(), &stat, into, name)
        }
    }

    fn directory(&mut self, handle: BorrowedFd<'_>, stat: &Stat, into: &Directory<'_>) -> Result<(), Error> {
        let excluded = self.is_excluded();
        if excluded && !self.may_take_back() {
            return Ok(());
        }
        self.refuse_destination(stat)?;
        self.refuse_whiteout()?;
        let readable = self.read(open_directory(handle))?;
        let made = Directory { parent: Some(into), path: self.target.clone(), handle: OnceCell::new() };
        if excluded {
            return self.children(readable, &made);
        }
        let xattrs = self.read(xattr::read(readable.as_fd()))?;
        let inside = self.metadata(stat, &xattrs)?;
        self.header(Kind::Directory, stat, &inside, 0, b"");
        let metadata = self.on_disk(inside)?;
        self.make_directory(into, &made, &metadata)?;
        // A copy of the directory that is copied to is empty, as with Buildah: what comes there is no source.
        if self.landing.as_ref() != Some(&self.below_source) {
            self.children(readable, &made)?;
        }
        // What was made in it has changed its time.
        let handle = self.handle_of(&made)?;
        self.store(make::touch(handle, &metadata))
    }

    /// A source in the tree that is copied into ends at its `landing`; with the driver vfs its root is a destination.
    fn refuse_destination(&self, stat: &Stat) -> Result<(), Error> {
        if self.session.same_tree.is_none() && self.session.destinations.contains(&(stat.st_dev, stat.st_ino)) {
            return Err(Error::IntoItself { path: self.source.clone() });
        }
        Ok(())
    }

    /// Said now, and not when the layer is packed, where nobody knows any more where the name is from.
    fn refuse_whiteout(&self) -> Result<(), Error> {
        match self.target.file_name().is_some_and(|name| name.as_bytes().starts_with(WHITEOUT)) {
            true => Err(Error::Whiteout { path: self.target.clone() }),
            false => Ok(()),
        }
    }

    /// Makes a directory that has a source.
    fn make_directory(&mut self, into: &Directory<'_>, made: &Directory<'_>, metadata: &Metadata<'_>) -> Result<(), Error> {
        let parent = self.handle_of(into)?;
        let (handle, stands) = self.store(self.directory_at(parent, made))?;
        let mut owner = metadata.owner;
        if stands == Stands::BehindLink {
            self.store(make::chown_link(parent, made.name(), owner))?;
            let stat = self.store(rustix::fs::fstat(&handle).map_err(Into::into))?;
            owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
        }
        let refused = self.store(make::finish(handle.as_fd(), &Metadata { owner, ..*metadata }))?;
        self.warn_of_xattrs(&refused);
        self.keep(made, handle);
        Ok(())
    }

    fn keep(&self, made: &Directory<'_>, handle: OwnedFd) {
        // It is set once only: nobody asks for the handle before it is made.
        let _ = made.handle.set(handle);
    }

    /// The directory that has the name of `made` in `parent`. A link to a directory stays; anything else that has the name gives way.
    fn directory_at(&self, parent: BorrowedFd<'_>, made: &Directory<'_>) -> io::Result<(OwnedFd, Stands)> {
        if let Some((handle, before)) = make::directory(parent, made.name())? {
            return Ok((handle, Stands::Here(before)));
        }
        match self.behind_link(&made.path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                make::remove_link(parent, made.name())?;
                let (handle, before) = make::directory(parent, made.name())?.ok_or(io::ErrorKind::AlreadyExists)?;
                Ok((handle, Stands::Here(before)))
            }
            found => Ok((found?, Stands::BehindLink)),
        }
    }

    /// The directory that the link at `path` leads to, below the container's root.
    fn behind_link(&self, path: &Path) -> io::Result<OwnedFd> {
        open_directory(self.session.target.subdir(path)?.as_fd())
    }

    /// The handle of a directory; those that were left out, but hold something that was not, are made here, 0755.
    fn handle_of<'d>(&self, directory: &'d Directory<'_>) -> Result<BorrowedFd<'d>, Error> {
        if let Some(handle) = directory.handle.get() {
            return Ok(handle.as_fd());
        }
        let Some(parent) = directory.parent else {
            return self.store(Err(io::ErrorKind::NotFound.into()));
        };
        let parent = self.handle_of(parent)?;
        let (handle, stands) = self.store(self.directory_at(parent, directory))?;
        if stands == Stands::Here(Before::Absent) {
            self.store(self.session.finish_new_directory(handle.as_fd()))?;
        }
        Ok(directory.handle.get_or_init(|| handle).as_fd())
    }

    /// Anything but a directory.
    fn other(&mut self, handle: BorrowedFd<'_>, stat: &Stat, into: &Directory<'_>, name: &OsStr) -> Result<(), Error> {
        if self.is_excluded() || self.session.filter.include.is_some_and(|include| !self.is_named(include)) {
            return Ok(());
        }
        self.refuse_whiteout()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(handle, stat, into, name),
            FileType::Symlink => self.symlink(handle, stat, into, name),
            FileType::Fifo => self.node(Kind::Fifo, stat, into, name),
            FileType::CharacterDevice => self.node(Kind::CharDevice, stat, into, name),
            FileType::BlockDevice => self.node(Kind::BlockDevice, stat, into, name),
            _ => {
                let name = String::from_utf8_lossy(&self.archive_name).into_owned();
                self.session.warnings.push(format!("copier: skipping socket {name:?}"));
                Ok(())
            }
        }
    }

    fn file(&mut self, handle: BorrowedFd<'_>, stat: &Stat, into: &Directory<'_>, name: &OsStr) -> Result<(), Error> {
        let content = self.read(reopen_regular(handle, OFlags::RDONLY))?;
        let xattrs = self.read(xattr::read(content.as_fd()))?;
        let inside = self.metadata(stat, &xattrs)?;
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.remove(&inode)
        {
            self.header(Kind::HardLink, stat, &inside, 0, &first.archive_name);
            let result = self.hard_link(&first, into, name);
            self.links.insert(inode, first);
            return result;
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.header(Kind::File, stat, &inside, size, b"");
        let metadata = self.on_disk(inside)?;
        let directory = self.handle_of(into)?;
        let made = self.store(make::file(directory, name, metadata.mode))?;
        let extent = Extent { size, blocks: u64::try_from(stat.st_blocks).unwrap_or(0) };
        let again = (size >= WORTH_READING_AGAIN).then(|| self.again(directory, name, made.as_fd())).flatten();
        let copied = self.session.mover.copy(content.as_fd(), made.as_fd(), again.as_ref(), extent, &mut self.stream);
        self.store(copied)?;
        self.stream.end_of_file();
        let refused = self.store(make::finish(made.as_fd(), &metadata))?;
        self.warn_of_xattrs(&refused);
        if stat.st_nlink > 1 {
            let new = self.store(rustix::fs::fstat(&made).map_err(Into::into))?;
            let first = FirstName {
                archive_name: self.archive_name.clone(),
                target: self.target.clone(),
                inode: (new.st_dev, new.st_ino),
            };
            self.links.insert(inode, first);
        }
        Ok(())
    }

    /// The file that was just made, for reading, where the driver has it. Through a mount it would keep that busy.
    fn again(&self, directory: BorrowedFd<'_>, name: &OsStr, made: BorrowedFd<'_>) -> Option<Arc<File>> {
        let upper = self.session.upper.as_ref()?;
        let path = self.session.target.name_of(directory).ok()?.join(name);
        let file = reopen_regular(upper.resolve_nofollow(&path).ok()?.as_fd(), OFlags::RDONLY).ok()?;
        let (there, here) = (rustix::fs::fstat(&file).ok()?, rustix::fs::fstat(made).ok()?);
        // Where the mount shows other numbers it is hashed on the way.
        (there.st_ino == here.st_ino && there.st_size == 0).then(|| Arc::new(file))
    }

    fn hard_link(&self, first: &FirstName, into: &Directory<'_>, name: &OsStr) -> Result<(), Error> {
        let directory = self.handle_of(into)?;
        let (parent, first_name) = self.store(self.session.target.parent(&first.target))?;
        self.store(make::hard_link(parent.as_fd(), &first_name, first.inode, directory, name))
    }

    fn symlink(&mut self, handle: BorrowedFd<'_>, stat: &Stat, into: &Directory<'_>, name: &OsStr) -> Result<(), Error> {
        let target = self.read(rustix::fs::readlinkat(handle, "", Vec::new()).map_err(Into::into))?;
        let none = BTreeMap::new();
        let inside = self.metadata(stat, &none)?;
        self.header(Kind::Symlink, stat, &inside, 0, target.to_bytes());
        let metadata = Metadata { mode: stat.st_mode & 0o7777, ..self.on_disk(inside)? };
        let directory = self.handle_of(into)?;
        self.store(make::symlink(directory, name, OsStr::from_bytes(target.to_bytes())))?;
        self.store(make::finish_symlink(directory, name, &metadata))
    }

    fn node(&mut self, kind: Kind, stat: &Stat, into: &Directory<'_>, name: &OsStr) -> Result<(), Error> {
        let none = BTreeMap::new();
        let inside = self.metadata(stat, &none)?;
        self.header(kind, stat, &inside, 0, b"");
        let metadata = self.on_disk(inside)?;
        // In an overlay file system the character device 0/0 means that the name does not exist.
        let is_whiteout = kind == Kind::CharDevice && stat.st_rdev == 0;
        if kind != Kind::Fifo && (self.session.devices == Devices::Skip || is_whiteout) {
            let name = String::from_utf8_lossy(&self.archive_name).into_owned();
            self.session.warnings.push(format!("copier: skipping device {name:?}"));
            return Ok(());
        }
        let directory = self.handle_of(into)?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let device = if kind == Kind::Fifo { 0 } else { stat.st_rdev };
        let made = self.store(make::node(directory, name, file_type, device))?;
        self.store(make::finish_node(made.as_fd(), &metadata))
    }

    /// What a copy looks like inside.
    fn metadata<'x>(&self, stat: &Stat, xattrs: &'x BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Metadata<'x>, Error> {
        let look = self.session.look;
        let modified = match look.time {
            Some(seconds) => Timespec { tv_sec: seconds, tv_nsec: 0 },
            None => Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() },
        };
        let owner = match look.owner {
            Some(owner) => owner,
            None => self.read(self.session.maps.inside(stat))?,
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let kept = stat.st_mode & look.kept_mode;
        let mode = look.mode.map_or(kept, |change| change.apply(kept, is_directory));
        Ok(Metadata { owner, mode, modified, xattrs })
    }

    /// The same with the owner's ids on disk.
    fn on_disk<'x>(&self, inside: Metadata<'x>) -> Result<Metadata<'x>, Error> {
        Ok(Metadata { owner: self.store(self.session.maps.on_disk(inside.owner))?, ..inside })
    }

    /// The entry's header. Owners' names are those of the source, whatever `--chown` says, since the other builder's digest has them.
    fn header(&mut self, kind: Kind, stat: &Stat, metadata: &Metadata<'_>, size: u64, link: &[u8]) {
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
            _ => (0, 0),
        };
        self.entries += 1;
        if !self.session.required.is_empty() {
            self.note_required();
        }
        let names = self.session.names;
        let owner = || (names.user(stat.st_uid).to_owned(), names.group(stat.st_gid).to_owned());
        let (user, group) = self.session.owners.entry((stat.st_uid, stat.st_gid)).or_insert_with(owner);
        self.stream.header(&Header {
            dialect: Dialect::Posix,
            name: &self.archive_name,
            kind,
            mode: metadata.mode,
            uid: metadata.owner.uid,
            gid: metadata.owner.gid,
            size,
            modified: 0,
            link,
            user: user.as_bytes(),
            group: group.as_bytes(),
            device,
            xattrs: metadata.xattrs,
        });
    }

    fn warn_of_xattrs(&mut self, refused: &[Vec<u8>]) {
        for name in refused {
            let (path, name) = (self.target.display().to_string(), String::from_utf8_lossy(name).into_owned());
            self.session.warnings.push(format!("copier: {path:?}: the file system does not take the attribute {name:?}"));
        }
    }
}
