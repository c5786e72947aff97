//! Compressed blobs that layers came in as, kept for the next push: `<graph root>/coracle/blobs/sha256/<hex>`.
//!
//! ```text
//! layer record: compressed-diff-digest ──▶ the file of that name, if it is there
//! ```
//!
//! Invariant: a file has its name only if its bytes have that digest. It goes with the last layer that has the digest; what other tools
//! left behind is collected by `check::repair`. Deleting all of them costs only that a push compresses anew.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Error, Store};
use crate::layers::{Compression, Layer, Layers};
use crate::rooted::Root;
use crate::{Digest, LayerId};

impl Store {
    pub(super) fn blobs_dir(&self) -> PathBuf {
        self.private_dir().join("blobs/sha256")
    }

    fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        (digest.algorithm() == "sha256").then(|| self.blobs_dir().join(digest.hex()))
    }

    /// The blob that the layer came in as, if it was kept and has the recorded length. Its bytes are still to be verified: the file
    /// may have been changed since.
    pub fn kept_blob(&self, layer: &Layer) -> Option<File> {
        if !matches!(layer.compression, Compression::Gzip | Compression::Zstd) {
            return None;
        }
        let digest = layer.compressed_digest.as_ref().filter(|digest| digest.algorithm() == "sha256")?;
        let file = Root::open(&self.blobs_dir()).ok()?.open_file(Path::new(digest.hex())).ok()?;
        let length = file.metadata().ok()?.len();
        (i64::try_from(length) == Ok(layer.compressed_size)).then_some(file)
    }

    /// Gives the file `blob` its name. Its bytes have the digest `digest`. The caller holds layers.lock, and a layer has the digest.
    pub(super) fn keep_blob(&self, blob: &Path, digest: &Digest) -> io::Result<()> {
        let Some(path) = self.blob_path(digest) else { return Ok(()) };
        match std::fs::rename(blob, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                crate::lock::make_private_dir(&self.blobs_dir())?;
                std::fs::rename(blob, &path)
            }
            renamed => renamed,
        }
    }

    /// Deletes the blobs that no layer has any more. The caller holds layers.lock; `gone` are layers that were taken out of `layers`.
    pub(super) fn drop_blobs(&self, gone: &[Digest], layers: &Layers) -> Result<(), Error> {
        for digest in gone {
            if let Some(path) = self.blob_path(digest)
                && layers.with_compressed_digest(digest)?.is_empty()
            {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("deleting", &path)(error)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The digests of the blobs that `ids` came in as.
    pub(super) fn blobs_of(&self, ids: &[LayerId], layers: &Layers) -> Result<Vec<Digest>, Error> {
        // Most stores have none.
        if ids.is_empty() || !self.blobs_dir().exists() {
            return Ok(Vec::new());
        }
        let mut digests = Vec::new();
        for id in ids {
            let layer = layers.find(id)?.filter(|layer| layer.compression != Compression::None);
            digests.extend(layer.and_then(|layer| layer.compressed_digest));
        }
        Ok(digests)
    }

    /// The files among the kept blobs that no layer has.
    pub(crate) fn orphaned_blobs(&self, layers: &Layers) -> Result<Vec<PathBuf>, Error> {
        let dir = self.blobs_dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("reading", &dir)(error)),
        };
        let known: HashSet<String> = layers
            .all()?
            .iter()
            .filter_map(|layer| layer.compressed_digest.as_ref().map(|digest| digest.hex().to_owned()))
            .collect();
        let mut orphans = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("reading", &dir))?;
            if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                orphans.push(entry.path());
            }
        }
        orphans.sort();
        Ok(orphans)
    }
}

/// A stream whose bytes are written to a file as they pass. A file that cannot be written is given up: it is only a convenience.
pub(super) struct Keeping<'a> {
    input: &'a mut (dyn Read + Send),
    file: Option<File>,
}

impl<'a> Keeping<'a> {
    /// What is read of `input` is written to the new file `path`.
    pub(super) fn new(input: &'a mut (dyn Read + Send), path: &Path) -> Self {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).ok();
        Self { input, file }
    }

    /// Whether all that was read is in the file.
    pub(super) fn is_whole(&self) -> bool {
        self.file.is_some()
    }
}

impl Read for Keeping<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(into)?;
        if let Some(file) = &mut self.file
            && file.write_all(&into[..length]).is_err()
        {
            self.file = None;
        }
        Ok(length)
    }
}
