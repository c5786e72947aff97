//! The table of images: `<driver>-images/images.json`, and each image's big data beside it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::store::Error;
use crate::{Digest, ImageId, LayerId};

/// The record of one image. Members that are not listed here survive in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its ID: the digits of its config's digest.
    pub id: ImageId,
    /// Digest of its manifest.
    pub digest: Option<Digest>,
    /// Normalised references, unique in the store.
    pub names: Vec<String>,
    /// Names it ever had, newest first.
    pub names_history: Vec<String>,
    /// The top layer; none for an image without layers.
    pub layer: Option<LayerId>,
    /// Copies of the top layer with other owners.
    pub mapped_layers: Vec<LayerId>,
    /// JSON text of the image library.
    pub metadata: String,
    /// Keys of the big data, in order of storing.
    pub big_data_names: Vec<String>,
    /// Length in bytes by key.
    pub big_data_sizes: BTreeMap<String, i64>,
    /// Digest by key.
    pub big_data_digests: BTreeMap<String, Digest>,
    /// When the image was made, RFC 3339.
    pub created: String,
    /// Free flags.
    pub flags: Map<String, Value>,
    /// In a read-only additional store.
    pub read_only: bool,
}

/// The images as they were when the table was read: this store's first, then those of additional stores.
#[derive(Debug)]
pub struct Images {}

impl Images {
    /// Every image, in the order of the table.
    pub fn all(&self) -> Result<Vec<Image>, Error> {
        Ok(Vec::new())
    }

    /// The image with this ID.
    pub fn find(&self, _id: &ImageId) -> Result<Option<Image>, Error> {
        Ok(None)
    }

    /// The image that has this normalised name.
    pub fn by_name(&self, _name: &str) -> Result<Option<Image>, Error> {
        Ok(None)
    }

    /// Every image with this digest: its own, or that of any of its manifests (format, section 3.4).
    pub fn by_digest(&self, _digest: &Digest) -> Result<Vec<Image>, Error> {
        Ok(Vec::new())
    }

    /// The image whose ID starts with `prefix` (1 to 64 hex digits). Several: `Error::Ambiguous`.
    pub fn by_prefix(&self, _prefix: &str) -> Result<Option<Image>, Error> {
        Ok(None)
    }
}
