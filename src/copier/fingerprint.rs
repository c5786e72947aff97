//! What a source is, without copying it: a digest over names, kinds, modes, links, contents and attributes, in the order of names.
//!
//! ```text
//!  source ─ statx of each name ─┬─ known (device, inode, size, times)? ─ yes ─▶ its digest
//!                               └─ no: open, read, hash ──────────────────────▶ its digest, to be known
//! ```
//!
//! Times are no part of it. Two sources with equal fingerprints are copied to equal files, but for times.
//!
//! Invariant: nothing is opened but what is read, each below its directory's handle and without following links.
//! Must not: write; decide which sources there are.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use containers_storage::Digest;
use containers_storage::rooted::{open_child, reopen_regular};
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use super::glob::names_in;
use super::ignore::Ignore;
use super::tree::{Error, Filter, open_directory};
use super::xattr;

/// As `tree`: nothing deeper can be copied.
const DEEPEST: usize = 256;
/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// A file as the kernel describes it: while nothing of this changes, its content and attributes do not either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Time of the last change of the content, ns since 1970.
    pub modified: i64,
    /// Time of the last change of anything, ns since 1970.
    pub changed: i64,
}

impl FileId {
    fn of(stat: &Stat) -> Self {
        let time = |seconds: i64, part: u64| seconds.wrapping_mul(1_000_000_000).wrapping_add(part.cast_signed());
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Who remembers digests of files.
pub trait Known {
    /// The digest that was `put` for it.
    fn get(&mut self, file: &FileId) -> Option<[u8; 32]>;
    /// Remembers a digest of content and attributes.
    fn put(&mut self, file: &FileId, digest: [u8; 32]);
    /// Whether the content of a file that is not known may be read. Otherwise there is no fingerprint (`ErrorKind::WouldBlock`).
    fn may_read(&mut self, _file: &FileId) -> bool {
        true
    }
}

/// What counts beside names and contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Copies belong to whom the caller says.
    Ignored,
    /// Copies keep them.
    Counted,
}

/// One fingerprint over any number of sources.
pub struct Fingerprint<'a> {
    filter: Filter<'a>,
    owners: Owners,
    known: &'a mut dyn Known,
    hash: Sha256,
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Names so far: below the context, below the source, and as they are digested.
    context: PathBuf,
    below_source: PathBuf,
    name: Vec<u8>,
    depth: usize,
    buffer: Vec<u8>,
}

impl<'a> Fingerprint<'a> {
    /// Nothing so far.
    pub fn new(filter: Filter<'a>, owners: Owners, known: &'a mut dyn Known) -> Self {
        Self {
            filter,
            owners,
            known,
            hash: Sha256::new(),
            links: HashMap::new(),
            context: PathBuf::new(),
            below_source: PathBuf::new(),
            name: Vec::new(),
            depth: 0,
            buffer: Vec::new(),
        }
    }

    /// Adds one source: the content of a directory, or a file. `path` is its name below the context, `prefix` what is kept of it.
    pub fn add(&mut self, handle: BorrowedFd<'_>, path: &Path, prefix: &Path) -> Result<(), Error> {
        self.context = path.to_path_buf();
        self.below_source = PathBuf::new();
        self.name = prefix.as_os_str().as_bytes().to_vec();
        let stat = self.read(rustix::fs::fstat(handle).map_err(Into::into))?;
        self.field(b"source");
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let directory = self.read(open_directory(handle))?;
            return self.children(directory);
        }
        let own = path.file_name().unwrap_or_default().to_owned();
        self.below_source.push(&own);
        let length = self.push_name(&own);
        let added = self.other(handle, &stat);
        self.name.truncate(length);
        added
    }

    /// The digest.
    pub fn complete(self) -> Digest {
        Digest::from_sha256(self.hash.finalize().into())
    }

    /// A part of the digest: its length first, so that no two lists of parts look the same.
    fn field(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    fn push_name(&mut self, name: &OsStr) -> usize {
        let length = self.name.len();
        if length > 0 {
            self.name.push(b'/');
        }
        self.name.extend_from_slice(name.as_bytes());
        length
    }

    fn read<T>(&self, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Read { path: self.context.clone(), source })
    }

    fn is_excluded(&self) -> bool {
        self.filter.context.is_some_and(|ignore| ignore.excludes(&self.context.to_string_lossy()))
            || self.filter.source.is_some_and(|ignore| ignore.excludes(&self.below_source.to_string_lossy()))
    }

    fn may_take_back(&self) -> bool {
        [self.filter.context, self.filter.source].into_iter().flatten().any(Ignore::takes_back)
    }

    fn children(&mut self, directory: OwnedFd) -> Result<(), Error> {
        if self.depth >= DEEPEST {
            return Err(Error::TooDeep { path: self.context.clone() });
        }
        self.depth += 1;
        let listing = self.read(directory.try_clone())?;
        for (name, _) in self.read(names_in(listing))? {
            self.context.push(&name);
            self.below_source.push(&name);
            let length = self.push_name(&name);
            self.entry(directory.as_fd(), &name)?;
            self.name.truncate(length);
            self.context.pop();
            self.below_source.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn entry(&mut self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Error> {
        let excluded = self.is_excluded();
        if excluded && !self.may_take_back() {
            return Ok(());
        }
        let stat = self.read(rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let handle = self.read(open_child(directory, name))?;
            if !excluded {
                self.head(b'd', &stat);
                self.attributes(handle.as_fd(), &stat)?;
            }
            let readable = self.read(open_directory(handle.as_fd()))?;
            return self.children(readable);
        }
        if excluded {
            return Ok(());
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1 {
            // Nothing is opened of a file that is known.
            if let Some(digest) = self.known.get(&FileId::of(&stat)) {
                self.head(b'f', &stat);
                self.field(&digest);
                return Ok(());
            }
        }
        let handle = self.read(open_child(directory, name))?;
        let stat = self.read(rustix::fs::fstat(&handle).map_err(Into::into))?;
        self.other(handle.as_fd(), &stat)
    }

    fn head(&mut self, kind: u8, stat: &Stat) {
        let name = std::mem::take(&mut self.name);
        self.field(&name);
        self.name = name;
        self.hash.update([kind]);
        self.hash.update((stat.st_mode & 0o7777).to_le_bytes());
        if self.owners == Owners::Counted {
            self.hash.update(stat.st_uid.to_le_bytes());
            self.hash.update(stat.st_gid.to_le_bytes());
        }
    }

    /// A directory's own.
    fn attributes(&mut self, handle: BorrowedFd<'_>, stat: &Stat) -> Result<(), Error> {
        let id = FileId::of(stat);
        let digest = match self.known.get(&id) {
            Some(digest) => digest,
            None => {
                let readable = self.read(open_directory(handle))?;
                let mut hash = Sha256::new();
                self.xattrs(readable.as_fd(), &mut hash)?;
                let digest = hash.finalize().into();
                self.known.put(&id, digest);
                digest
            }
        };
        self.field(&digest);
        Ok(())
    }

    fn xattrs(&self, file: BorrowedFd<'_>, hash: &mut Sha256) -> Result<(), Error> {
        for (name, value) in self.read(xattr::read(file))? {
            for part in [name, value] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Ok(())
    }

    fn other(&mut self, handle: BorrowedFd<'_>, stat: &Stat) -> Result<(), Error> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(handle, stat),
            FileType::Symlink => {
                let target = self.read(rustix::fs::readlinkat(handle, "", Vec::new()).map_err(Into::into))?;
                self.head(b'l', stat);
                self.field(target.to_bytes());
                Ok(())
            }
            // A socket is never copied.
            FileType::Socket => Ok(()),
            kind => {
                self.head(b'n', stat);
                self.hash.update([u8::from(kind == FileType::Fifo), u8::from(kind == FileType::BlockDevice)]);
                self.hash.update(stat.st_rdev.to_le_bytes());
                Ok(())
            }
        }
    }

    fn file(&mut self, handle: BorrowedFd<'_>, stat: &Stat) -> Result<(), Error> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)).cloned() {
                self.head(b'h', stat);
                self.field(&first);
                return Ok(());
            }
            self.links.insert((stat.st_dev, stat.st_ino), self.name.clone());
        }
        let id = FileId::of(stat);
        let digest = match self.known.get(&id) {
            Some(digest) => digest,
            None => {
                if !self.known.may_read(&id) {
                    return self.read(Err(io::ErrorKind::WouldBlock.into()));
                }
                let digest = self.content(handle)?;
                self.known.put(&id, digest);
                digest
            }
        };
        self.head(b'f', stat);
        self.field(&digest);
        Ok(())
    }

    fn content(&mut self, handle: BorrowedFd<'_>) -> Result<[u8; 32], Error> {
        use std::io::Read;
        let mut file = self.read(reopen_regular(handle, OFlags::RDONLY))?;
        let mut hash = Sha256::new();
        self.xattrs(file.as_fd(), &mut hash)?;
        self.buffer.resize(CHUNK, 0);
        let mut length: u64 = 0;
        loop {
            let count = match file.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => self.read(other)?,
            };
            if count == 0 {
                break;
            }
            hash.update(&self.buffer[..count]);
            length = length.wrapping_add(count as u64);
        }
        hash.update(length.to_le_bytes());
        Ok(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use containers_storage::Root;

    use super::*;

    #[derive(Default)]
    struct Remembering {
        digests: HashMap<FileId, [u8; 32]>,
        read: usize,
    }

    impl Known for Remembering {
        fn get(&mut self, file: &FileId) -> Option<[u8; 32]> {
            self.digests.get(file).copied()
        }

        fn put(&mut self, file: &FileId, digest: [u8; 32]) {
            self.read += 1;
            self.digests.insert(*file, digest);
        }
    }

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(root.join("d/f"), "one").unwrap();
        std::fs::write(root.join("g"), "two").unwrap();
        symlink("g", root.join("l")).unwrap();
        directory
    }

    fn fingerprint(root: &Path, ignore: Option<&Ignore>, known: &mut Remembering) -> Digest {
        let handle = Root::open(root).unwrap();
        let mut all = Fingerprint::new(Filter { context: ignore, ..Filter::default() }, Owners::Ignored, known);
        all.add(handle.as_fd(), Path::new(""), Path::new("")).unwrap();
        all.complete()
    }

    #[test]
    fn only_what_a_copy_would_show_counts() {
        let directory = tree();
        let root = directory.path();
        let before = fingerprint(root, None, &mut Remembering::default());
        let same = |change: &dyn Fn()| {
            change();
            fingerprint(root, None, &mut Remembering::default()) == before
        };
        let touched = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
        assert!(same(&|| std::fs::File::options().write(true).open(root.join("g")).unwrap().set_times(touched).unwrap()));
        assert!(!same(&|| std::fs::write(root.join("g"), "TWO").unwrap()));
        assert!(same(&|| std::fs::write(root.join("g"), "two").unwrap()));
        let mode = |mode| std::fs::set_permissions(root.join("g"), std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(!same(&|| mode(0o600)));
        assert!(same(&|| mode(0o644)));
        assert!(!same(&|| std::fs::rename(root.join("l"), root.join("m")).unwrap()));
        assert!(same(&|| std::fs::rename(root.join("m"), root.join("l")).unwrap()));
        assert!(!same(&|| {
            std::fs::remove_file(root.join("l")).unwrap();
            symlink("d", root.join("l")).unwrap();
        }));
    }

    #[test]
    fn what_is_known_is_not_read_again() {
        let directory = tree();
        let mut known = Remembering::default();
        let first = fingerprint(directory.path(), None, &mut known);
        assert_eq!(known.read, 3);
        assert_eq!(fingerprint(directory.path(), None, &mut known), first);
        assert_eq!(known.read, 3);
        std::fs::write(directory.path().join("d/f"), "ONE and more").unwrap();
        assert_ne!(fingerprint(directory.path(), None, &mut known), first);
    }

    #[test]
    fn what_is_left_out_does_not_count() {
        let directory = tree();
        let ignore = Ignore::new(["d", "!d/k"]).unwrap();
        let before = fingerprint(directory.path(), Some(&ignore), &mut Remembering::default());
        std::fs::write(directory.path().join("d/f"), "other").unwrap();
        assert_eq!(fingerprint(directory.path(), Some(&ignore), &mut Remembering::default()), before);
        std::fs::write(directory.path().join("d/k"), "kept").unwrap();
        assert_ne!(fingerprint(directory.path(), Some(&ignore), &mut Remembering::default()), before);
    }
}
