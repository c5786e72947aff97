//! Files that are written beside the place where they will be, and come there all at once.
//!
//! Invariant: nothing stands under its final name before `Staging::publish`; dropped, a staging directory is deleted.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use rustix::fs::{Mode, OFlags};

use super::{BlobId, BlobStream, Error};

/// A directory of ours (0700, random name) in the directory that the files are for.
#[derive(Debug)]
pub(super) struct Staging {
    target: PathBuf,
    path: PathBuf,
}

impl Staging {
    /// Makes it in `target`, which exists.
    pub(super) fn create(target: &Path) -> Result<Self, Error> {
        let random = getrandom::u64().map_err(|error| Error::io("naming a file in", target)(std::io::Error::other(error)))?;
        let path = target.join(format!(".coracle-{random:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::io("creating", &path))?;
        Ok(Self { target: target.to_owned(), path })
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
