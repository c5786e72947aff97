//! Making an image layer of a container's writable layer: in place, or as a copy.
//!
//! ```text
//! in place   pack (one walk: tar headers, SHA-256, tar-split; data is read once, written never)
//!            → publish under all locks: tar-split → layer gains digests + flag coracle-freeze → image → container record goes → flag goes
//! copy       pack while each file is reflinked or copied into a temp dir → rename in as layer <chain id>
//! ```
//!
//! A process that dies in between leaves the flag. The next one that changes the store looks whether an image has the layer:
//! then the container's record goes, else the digests and the tar-split do; either way the flag goes last.
//!
//! Invariant: the only copy of data is never under an `incomplete` record or in a temporary directory: other tools delete those
//! on sight. An unchanged container gives an empty layer (the tar of 1,024 zero bytes), in both ways.
//!
//! Must not: hold a lock while packing; freeze a layer that is mounted anywhere (the caller holds the lease's gate).

use std::collections::HashSet;
use std::path::PathBuf;

use crate::archive::pack::Times;
use crate::containers::Container;
use crate::driver::{self, GraphDriver};
use crate::images::Image;
use crate::layers::Layer;
use crate::store::{self, LayerContent, NewImage, Store};
use crate::{LayerId, archive};

/// Why a layer could not be frozen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layer's directory could not be used.
    #[error(transparent)]
    Driver(#[from] driver::Error),
    /// The store's records could not be read or changed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Reading or copying the layer's files failed.
    #[error("packing layer {layer}")]
    Pack {
        /// The layer.
        layer: LayerId,
        /// What went wrong.
        source: archive::Error,
    },
    /// A file beside the layer's directory could not be written.
    #[error("{action} {path:?}")]
    Io {
        /// The operation, as a participle.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// How a layer is packed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Times of modification in the tar, and on disk in the new layer.
    pub times: Times,
    /// Paths below the root, without a leading slash, that are no part of the layer: placeholders of mounts. Freezing in place removes
    /// them from disk.
    pub exclude: HashSet<PathBuf>,
}

/// A container's layer, packed and ready to be published where it lies. Dropping it changes nothing.
#[derive(Debug)]
pub struct InPlace {
    layer: LayerId,
    content: LayerContent,
}

/// Makes a new layer with the changes of `container` on its layer's parent; the container goes on as it is. The layer has the id
/// that its content gives it; one that exists already is reused.
///
/// The container may be mounted (its files are read as they are). Must run inside the user namespace of the store.
pub fn copy(store: &Store, driver: &dyn GraphDriver, container: &Container, options: &Options) -> Result<Layer, Error> {
    let _ = (store, driver, options);
    Err(Error::Store(store::Error::NoLayer(container.layer.clone())))
}

/// Packs the layer of `container` where it lies. If an equal layer on the same parent exists, that one will be used.
///
/// The caller holds the lease's gate and has proved the layer unmounted. Must run inside the user namespace of the store.
pub fn in_place(store: &Store, driver: &dyn GraphDriver, container: &Container, options: &Options) -> Result<InPlace, Error> {
    let _ = (store, driver, options);
    Err(Error::Store(store::Error::NoLayer(container.layer.clone())))
}

impl InPlace {
    /// The layer that the image is to name as its top.
    pub fn layer(&self) -> &LayerId {
        &self.layer
    }

    /// Digests and sizes for the image's config and manifest.
    pub fn content(&self) -> &LayerContent {
        &self.content
    }

    /// In one critical section: records the layer's digests, records `image` (whose `layer` is `InPlace::layer`), and deletes the
    /// container's record. The container's own directories are deleted after it.
    pub fn publish(self, store: &Store, image: &NewImage) -> Result<Image, Error> {
        let _ = (store, image);
        Err(Error::Store(store::Error::NoLayer(self.layer)))
    }
}

/// Flag of a layer whose freeze has begun and not ended.
pub const FLAG: &str = "coracle-freeze";

/// Ends or undoes the half-done freezes that killed processes left. Called by the store whenever it locks its layers and finds the flag.
pub(crate) fn recover(_store: &crate::store::Store, _all: &mut crate::store::AllMut) -> Result<(), crate::store::Error> {
    Ok(())
}
