//! What `copy --from` an image would bring, as one digest, without copying it.
//!
//! Must not change anything; enters the namespace in which the owners of files mean what they mean in the image.

use std::collections::HashMap;
use std::ffi::OsString;

use containers_storage::Digest;
use containers_storage::images::Image;
use containers_storage::store::Store;

use super::add::{self, RootOwner, Selection, Source};
use super::mounted::{self, Mounted};
use crate::copier::fingerprint::{FileId, Known};

/// Why files of an image cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be mounted.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// Its files cannot be read.
    #[error("{0}")]
    Look(#[from] add::Error),
}

/// Digests of files are of no use twice: an image is looked at once. Those of one look are kept, for files that are copied with several
/// sources.
#[derive(Default)]
struct OfThisLook(HashMap<FileId, [u8; 32]>);

impl Known for OfThisLook {
    fn get(&mut self, file: &FileId) -> Option<[u8; 32]> {
        self.0.get(file).copied()
    }

    fn put(&mut self, file: &FileId, digest: [u8; 32]) {
        self.0.insert(*file, digest);
    }
}

/// The digest over all files of `image` that `sources` select: names, kinds, modes, owners, contents, and no times.
pub fn contents(store: &Store, image: &Image, sources: &[OsString], selection: &Selection) -> Result<Digest, Error> {
    let name = image.id.to_string();
    if image.layer.is_some() {
        mounted::enter_files(store, &name)?;
    }
    let mounted = Mounted::of_image(store, image.layer.as_ref(), &name)?;
    let source = Source::Root { root: mounted.root(), owner: RootOwner::Another };
    Ok(add::fingerprint(&source, sources, selection, &mut OfThisLook::default())?)
}
