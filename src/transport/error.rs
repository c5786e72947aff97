//! What can go wrong on the way of an image, in words for people.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use containers_storage::{Digest, archive, driver, store, tar_split};
use nix::sys::signal::Signal;

use super::registry;
use super::trust::Refusal;
use crate::image::{config, manifest};

/// Why an image could not be read, written or copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A place that images cannot be read from.
    #[error("{location}: images cannot be read from there")]
    ReadUnsupported {
        /// The place.
        location: String,
    },
    /// A place that images cannot be written to.
    #[error("{location}: images cannot be written there")]
    WriteUnsupported {
        /// The place.
        location: String,
    },
    /// A file or directory cannot be used.
    #[error("{action} {path:?}")]
    Io {
        /// What was tried, as "reading".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What an image is read from cannot be opened. Scripts look for the words.
    #[error("open {path}")]
    Open {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A manifest or index is not one.
    #[error("{place}")]
    Manifest {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// A config is not one.
    #[error("the config of {place}")]
    Config {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        source: config::Error,
    },
    /// A document other than manifest and config is not what it should be.
    #[error("{place}: {problem}")]
    Document {
        /// The file or entry.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A blob is not what was announced.
    #[error("{place}: the blob {digest} {problem}")]
    Blob {
        /// Where it was read.
        place: String,
        /// What it was to be.
        digest: Digest,
        /// What is wrong with it.
        problem: String,
    },
    /// A layer's content is not what the config says.
    #[error("{place}: layer {index} has the diff ID {found}, the config says {expected}")]
    DiffId {
        /// Where it was read.
        place: String,
        /// Which layer, counted from 0.
        index: usize,
        /// What it is.
        found: Digest,
        /// What it was to be.
        expected: Digest,
    },
    /// Manifest and config disagree about the layers.
    #[error("{place}: the manifest has {layers} layers, the config {diff_ids}")]
    LayerCount {
        /// Where they were read.
        place: String,
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// The image of a layout cannot be opened. Scripts look for the words.
    #[error("initializing source {location}")]
    Initializing {
        /// The layout and the image, both ends of the colon written even where no image is named.
        location: String,
        /// Why not.
        source: Box<Error>,
    },
    /// There is no such image in a place that was named already.
    #[error("{reason}")]
    NotThere {
        /// What there is instead.
        reason: String,
    },
    /// There is no such image.
    #[error("{place}: {reason}")]
    NoImage {
        /// Where it was looked for.
        place: String,
        /// What there is instead.
        reason: String,
    },
    /// An index has no instance for this platform.
    #[error("{place}: no image found in manifest list for architecture {architecture:?}, variant {variant:?}, OS {os:?}")]
    NoInstance {
        /// Where the index is.
        place: String,
        /// What was looked for.
        architecture: String,
        /// What was looked for.
        variant: String,
        /// What was looked for.
        os: String,
    },
    /// The destination has something else already.
    #[error("{place}: {reason}")]
    Occupied {
        /// Where.
        place: String,
        /// What is there.
        reason: String,
    },
    /// The policy does not accept the source. Scripts look for the words.
    #[error("Source image rejected")]
    Untrusted {
        /// What the image lacks.
        source: Box<Refusal>,
    },
    /// Signatures to a place that has none.
    #[error("{place} cannot hold signatures: use --remove-signatures, and no --sign-by")]
    NoPlaceForSignatures {
        /// The destination.
        place: String,
    },
    /// The image would become another one, which nobody has signed.
    #[error(
        "{place} would have to be changed for the destination, and that would invalidate signatures: use --remove-signatures"
    )]
    SignaturesLost {
        /// The source.
        place: String,
    },
    /// A file of signatures is not one.
    #[error("the signatures of {place}: {problem}")]
    BadSignatures {
        /// The image.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// No signature was made.
    #[error("signing the image with the key {key:?}: {problem}")]
    Signing {
        /// The key, as typed.
        key: String,
        /// What gpg said.
        problem: String,
    },
    /// An index to a place that holds single images.
    #[error("copying multiple images to {place}: it holds one image only")]
    OneImageOnly {
        /// The destination.
        place: String,
    },
    /// Two wishes that exclude each other.
    #[error("{0}")]
    Impossible(String),
    /// A layer is encrypted, and cannot be read. Scripts look for the words.
    #[error("decrypting layer {digest}: {problem}")]
    Sealed {
        /// The layer.
        digest: Digest,
        /// Why it cannot be read.
        problem: String,
    },
    /// A layer could not be encrypted.
    #[error("encrypting {place}: {problem}")]
    Sealing {
        /// The layer.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// An archive is not what it should be.
    #[error("{place}")]
    Archive {
        /// The file.
        place: String,
        /// What is wrong with it.
        source: Box<archive::Error>,
    },
    /// The tar of a stored layer cannot be put together.
    #[error("layer {layer} of the store")]
    TarSplit {
        /// The layer.
        layer: String,
        /// What is wrong.
        source: tar_split::Error,
    },
    /// A layer of the store cannot be used.
    #[error("layer {layer} of the store")]
    Driver {
        /// The layer.
        layer: String,
        /// What is wrong.
        source: driver::Error,
    },
    /// The store refused.
    #[error("{place}")]
    Store {
        /// The source or destination.
        place: String,
        /// What failed.
        source: store::Error,
    },
    /// A registry did not do what was asked.
    #[error("{doing}")]
    Registry {
        /// What was tried, with the names of the registry and the image.
        doing: String,
        /// What it said.
        source: Box<registry::Error>,
    },
    /// A signal arrived that ends the process; what was begun is taken away.
    #[error("ended by {0}")]
    Interrupted(Signal),
    /// A stream broke off.
    #[error("{action} {place}")]
    Stream {
        /// What was tried, as "writing".
        action: &'static str,
        /// The blob.
        place: String,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same may succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Registry { source, .. } if source.is_transient())
    }

    /// How long a registry wants to be left alone.
    pub(super) fn asked_pause(&self) -> Option<Duration> {
        self.registry().and_then(registry::Error::asked_pause)
    }

    /// Whether the place was asked and has no such image; a directory that is missing has none either.
    pub fn is_not_there(&self) -> bool {
        match self {
            Self::Registry { source, .. } => source.relevance() == registry::Relevance::NotThere,
            Self::NoImage { .. } | Self::NotThere { .. } => true,
            Self::Initializing { source, .. } => source.is_not_there(),
            Self::Open { source, .. } | Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// What a registry said, if that is the reason.
    pub fn registry(&self) -> Option<&registry::Error> {
        match self {
            Self::Registry { source, .. } => Some(source),
            _ => None,
        }
    }

    /// An `Io` error, for `map_err`.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self + use<E> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: source.into() }
    }
}
