//! `copy`: one image, or all images of an index, from a source to a destination.

use std::fmt;

use containers_storage::{Digest, ImageId};

use super::compression::Method;
use super::{Destination, Error, Source};
use crate::conf::Policy;
use crate::image::Format;

/// Which images of an index are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instances {
    /// The one for a platform, and no index.
    Platform(Platform),
    /// The index and all its images (`--all`).
    All,
}

/// What an image must run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// As Go calls it: `amd64`, `arm64`.
    pub architecture: String,
    /// `v8`; empty for the most capable that fits.
    pub variant: String,
}

impl Platform {
    /// This machine.
    pub fn of_this_machine() -> Self {
        Self { os: "linux".to_owned(), architecture: crate::golang::goarch().to_owned(), variant: String::new() }
    }
}

/// What becomes of layers that are compressed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompress {
    /// They are copied as they are, whatever `method` says of others.
    #[default]
    Never,
    /// Those with another algorithm are compressed anew (`--force-compression`).
    OtherAlgorithm,
}

/// How layers are compressed on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerCompression {
    /// `--compression-format` and `--compression-level`; none is gzip at its usual level.
    pub method: Option<Method>,
    /// `--force-compression`.
    pub recompress: Recompress,
    /// Uncompressed layers stay so, even where the destination would have them compressed (`--disable-compression`).
    pub disabled: bool,
}

/// How an image is copied.
#[derive(Debug, Clone)]
pub struct CopyOptions<'a> {
    /// Which images of an index.
    pub instances: Instances,
    /// The manifest's format (`--format`); none keeps it where the destination can.
    pub format: Option<Format>,
    /// Compression of layers.
    pub compression: LayerCompression,
    /// What may be read.
    pub policy: &'a Policy,
}

/// What is happening. The text of each is a line for standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Before an image: its manifest is read.
    Signatures,
    /// An index: this many of its images are copied.
    Instances {
        /// How many.
        count: usize,
        /// Of how many.
        total: usize,
    },
    /// One image of an index.
    Instance {
        /// Its manifest.
        digest: &'a Digest,
        /// Which, counted from 1.
        number: usize,
        /// Of how many.
        count: usize,
    },
    /// A layer is read.
    Blob(&'a Digest),
    /// A layer is at the destination already.
    Skipped(&'a Digest),
    /// The config is written.
    Config(&'a Digest),
    /// The manifest is written.
    Manifest,
    /// The index is written.
    Index,
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signatures => f.write_str("Getting image source signatures"),
            Self::Instances { count, total } => write!(f, "Copying {count} of {total} images in list"),
            Self::Instance { digest, number, count } => write!(f, "Copying image {digest} ({number}/{count})"),
            Self::Blob(digest) => write!(f, "Copying blob {digest}"),
            Self::Skipped(digest) => write!(f, "Copying blob {digest} skipped: already exists"),
            Self::Config(digest) => write!(f, "Copying config {digest}"),
            Self::Manifest => f.write_str("Writing manifest to image destination"),
            Self::Index => f.write_str("Writing manifest list to image destination"),
        }
    }
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Digest of the manifest, or of the index with `Instances::All`, as the destination has it.
    pub digest: Digest,
    /// Length of that document in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// The image in the store, where that is the destination.
    pub image: Option<ImageId>,
}

/// Copies an image. `progress` is called from several threads, with one line each time.
///
/// # Errors
/// The policy rejects the source; a document or blob is not what its descriptor says; source or destination fail. Nothing is visible
/// at the destination then; layers that a store got already stay there for the next attempt only if they are whole.
pub fn copy(
    source: &dyn Source,
    destination: Box<dyn Destination + '_>,
    options: &CopyOptions<'_>,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, Error> {
    let _ = (destination, options, progress);
    Err(Error::ReadUnsupported { location: source.name() })
}
