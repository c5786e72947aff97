//! The files that an image is made of: those of a directory, or the members of a tar.
//!
//! Invariant: a name is resolved below the directory only (`Root`), so that a link that leads out is an error; a document is read with
//! a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use containers_storage::{Digest, Root};

use super::Error;

/// Files by name. Names are made from digests and constants, or were checked.
pub(super) trait Files: Send + Sync {
    /// How a person calls the file.
    fn place(&self, name: &str) -> String;

    /// The bytes of a file, and their number.
    fn open(&self, name: &str) -> Result<(Box<dyn Read + Send>, u64), Error>;

    /// Whether the file is there.
    fn contains(&self, name: &str) -> bool;

    /// A whole file of at most `limit` bytes.
    fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let (file, size) = self.open(name)?;
        let limit = limit as u64;
        if size > limit {
            return Err(Error::Document { place: self.place(name), problem: format!("has {size} bytes (limit {limit})") });
        }
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| Error::Stream { action: "reading", place: self.place(name), source })?;
        Ok(bytes)
    }
}

/// The file of a blob in the OCI image layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The files of a directory.
#[derive(Debug)]
pub(super) struct DirFiles {
    root: Root,
    path: PathBuf,
}

impl DirFiles {
    /// Opens a directory that an image is read from; a missing one is the error that its file `first` is missing, as with the other tools.
    pub(super) fn of_image(path: &Path, first: &str) -> Result<Self, Error> {
        let missing = |source| Error::Open { path: path.join(first).display().to_string(), source };
        let root = Root::open(path).map_err(missing)?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// Opens the directory.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let root = Root::open(path).map_err(Error::io("opening", path))?;
        Ok(Self { root, path: path.to_owned() })
    }

    fn failed(&self, name: &str, source: io::Error) -> Error {
        let path = self.path.join(name);
        let linked = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
        if linked {
            let problem = format!("is a symbolic link to nothing inside of {}", self.path.display());
            return Error::Document { place: path.display().to_string(), problem };
        }
        Error::Io { action: "reading", path, source }
    }
}

impl Files for DirFiles {
    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn open(&self, name: &str) -> Result<(Box<dyn Read + Send>, u64), Error> {
        let opened = self.root.open_file(Path::new(name)).and_then(|file: File| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|source| self.failed(name, source))?;
        Ok((Box::new(file), size))
    }

    fn contains(&self, name: &str) -> bool {
        self.root.metadata(Path::new(name)).is_ok()
    }
}
