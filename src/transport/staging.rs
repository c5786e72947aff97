//! Files that are written beside the place where they will be, and come there all at once.
//!
//! Invariant: nothing stands under its final name before `Staging::publish`; dropped, a staging directory is deleted. One whose process
//! was killed is deleted by the next one beside it: nobody holds its lock.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::{BlobId, BlobStream, Error};

/// A directory of ours (0700, random name) in the directory that the files are for.
#[derive(Debug)]
pub(super) struct Staging {
    target: PathBuf,
    path: PathBuf,
    /// Its lock. None where the file system has no locks: then nobody takes it for a dead one either.
    _lock: Option<File>,
}

/// What the names of staging directories begin with, before 16 hexadecimal digits.
const PREFIX: &str = ".coracle-";

impl Staging {
    /// Makes it in `target`, which exists. What processes left there that were killed is deleted.
    pub(super) fn create(target: &Path) -> Result<Self, Error> {
        remove_dead(target);
        loop {
            let random = getrandom::u64().map_err(|error| Error::io("naming a file in", target)(io::Error::other(error)))?;
            let path = target.join(format!("{PREFIX}{random:016x}"));
            std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::io("creating", &path))?;
            let handle = open(&path).map_err(Error::io("opening", &path))?;
            let lock = match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&handle, &path) => Some(handle),
                // Until it had its lock, it was taken for a dead one.
                Ok(()) | Err(Errno::WOULDBLOCK) => continue,
                Err(_) => None,
            };
            return Ok(Self { target: target.to_owned(), path, _lock: lock });
        }
    }

    /// Writes a blob into it, under a name of this directory only.
    pub(super) fn put(&self, name: &str, stream: &mut BlobStream<'_>) -> Result<BlobId, Error> {
        let path = self.path.join(name);
        let mut file = create(&path)?;
        let written = stream.write_to(&mut file);
        written.map_err(|source| Error::Stream { action: "copying to", place: path.display().to_string(), source })
    }

    /// Writes a document into it.
    pub(super) fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        std::io::Write::write_all(&mut create(&path)?, bytes).map_err(Error::io("writing", &path))
    }

    /// Gives a file another name in this directory.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let path = self.path.join(to);
        std::fs::rename(self.path.join(from), &path).map_err(Error::io("writing", &path))
    }

    /// Gives a file its final name, relative to the target directory; what stands there is replaced. Directories on the way are made;
    /// links among them do not lead out of the target directory.
    pub(super) fn publish(&self, name: &str, target: &str) -> Result<(), Error> {
        let path = self.target.join(target);
        let (parent, file) = target.rsplit_once('/').unwrap_or((".", target));
        let publish = || {
            let root = Root::open(&self.target)?;
            let mode = Mode::from_raw_mode(rustix::fs::stat(&self.target)?.st_mode & 0o777);
            let parent = root.mkdir_all(Path::new(parent), |made, _| {
                let made = rustix::fs::openat(made, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                Ok(rustix::fs::fchmod(made, mode)?)
            })?;
            Ok(rustix::fs::renameat(rustix::fs::CWD, self.path.join(name), parent, file)?)
        };
        publish().map_err(Error::io::<std::io::Error>("writing", &path))
    }
}

/// Deletes what nobody holds the lock of. What cannot be deleted is in nobody's way.
fn remove_dead(target: &Path) {
    let Ok(entries) = std::fs::read_dir(target) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if !digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            continue;
        }
        let Ok(handle) = open(&entry.path()) else { continue };
        let is_ours = handle.metadata().is_ok_and(|metadata| metadata.uid() == rustix::process::geteuid().as_raw());
        if is_ours && flock(&handle, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn open(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(directory, flags, Mode::empty())?))
}

/// Whether the open directory still has its name.
fn is_at(handle: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let named = std::fs::symlink_metadata(path).map(identity).ok();
    named.is_some() && named == handle.metadata().map(identity).ok()
}

fn create(path: &Path) -> Result<File, Error> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    opened.map_err(Error::io("creating", path))
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Best effort: nobody looks for anything in it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A directory that is made if it is missing, and goes again if nothing comes into it.
#[derive(Debug)]
pub(super) struct MadeDir(Option<PathBuf>);

impl MadeDir {
    /// Makes `path` and what is missing above it.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let made = (!path.exists()).then(|| path.to_owned());
        std::fs::create_dir_all(path).map_err(Error::io("creating", path))?;
        Ok(Self(made))
    }

    /// Whether it was not there before.
    pub(super) fn is_new(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for MadeDir {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Only an empty one can be removed so.
            let _ = std::fs::remove_dir(path);
        }
    }
}
