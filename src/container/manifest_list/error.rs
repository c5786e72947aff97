//! What can go wrong with a manifest list, in words for people.

use std::path::PathBuf;

use containers_storage::store;
use containers_storage::{Digest, ImageId};

use crate::conf;
use crate::container::find_image;
use crate::image::{config, location, manifest, reference};
use crate::transport;

/// Why a list was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is none.
    #[error("cannot parse input: {text:?}: {reason}")]
    Name {
        /// What was typed.
        text: String,
        /// Which rule it breaks.
        reason: reference::Error,
    },
    /// The name is that of one image. Scripts look for the end.
    #[error(
        "image name {name:?} is already associated with image {id:?}, which is no manifest list: that name is already in use"
    )]
    OneImage {
        /// What was typed.
        name: String,
        /// The image.
        id: ImageId,
    },
    /// A new list has the name of an older one. Scripts look for the end.
    #[error(
        "creating image to hold manifest list: image name {name:?} is already associated with image \"{id}\": that name is already in use"
    )]
    InUse {
        /// The full name.
        name: String,
        /// The list that has it.
        id: ImageId,
    },
    /// One image where a list should be. Scripts look for the words.
    #[error("{name}: image is not a manifest list")]
    NotAList {
        /// The image.
        name: String,
    },
    /// The same at another place. Scripts look for the end.
    #[error("{place}: manifest is of type {media_type} (not a list type)")]
    NotAListAt {
        /// The place.
        place: String,
        /// What is there.
        media_type: String,
    },
    /// Looking for the list or an image failed.
    #[error("{0}")]
    Find(#[from] find_image::Error),
    /// The list cannot be read.
    #[error("reading manifest list {id}")]
    Damaged {
        /// The list.
        id: ImageId,
        /// What is wrong.
        source: manifest::Error,
    },
    /// A file beside the list cannot be read.
    #[error("reading manifest list {id}: {file}")]
    Beside {
        /// The list.
        id: ImageId,
        /// `instances.json` or `artifacts.json`.
        file: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// What was typed is no place of an image.
    #[error("reading image {operand:?}")]
    Location {
        /// What was typed.
        operand: String,
        /// What is wrong with it.
        source: location::Error,
    },
    /// policy.json cannot be read.
    #[error("reading image {operand:?}")]
    Policy {
        /// What was typed.
        operand: String,
        /// What failed.
        source: Box<conf::Error>,
    },
    /// A short name that is neither in the store nor at a registry. Scripts look for the phrase.
    #[error("{operand}: image not known")]
    Nowhere {
        /// What was typed.
        operand: String,
        /// What the registry said.
        source: Box<transport::Error>,
    },
    /// An image cannot be read.
    #[error("reading image {operand:?}")]
    Read {
        /// What was typed.
        operand: String,
        /// What failed.
        source: Box<transport::Error>,
    },
    /// A document of an image is not one.
    #[error("reading image {operand:?}")]
    Document {
        /// What was typed.
        operand: String,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// The config of an image is not one.
    #[error("reading the config of image {operand:?}")]
    Config {
        /// What was typed.
        operand: String,
        /// What is wrong with it.
        source: config::Error,
    },
    /// An index inside of an index.
    #[error("{operand}: {digest} is an index inside of an index: add it by itself")]
    Nested {
        /// What was typed.
        operand: String,
        /// The inner one.
        digest: Digest,
    },
    /// An index has no instance for the platform.
    #[error("{operand}: no image found in manifest list for architecture {architecture:?}, variant \"\", OS {os:?}")]
    NoInstance {
        /// What was typed.
        operand: String,
        /// What was looked for.
        architecture: String,
        /// What was looked for.
        os: String,
    },
    /// A list is full.
    #[error("a manifest list has at most {max} entries", max = manifest::index::MAX_INSTANCES)]
    Full,
    /// The list has no such image. Scripts look for the words.
    #[error("no instance matching digest {digest:?} found in manifest list: file does not exist", digest = .digest.as_str())]
    NoEntry {
        /// What was looked for.
        digest: Digest,
    },
    /// A file for an artifact cannot be read.
    #[error("reading {path:?} to determine its digest")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The store refused.
    #[error("manifest list {name:?}")]
    Store {
        /// What was typed.
        name: String,
        /// What failed.
        source: store::Error,
    },
}

impl Error {
    pub(super) fn store(name: &str, source: store::Error) -> Self {
        Self::Store { name: name.to_owned(), source }
    }
}
