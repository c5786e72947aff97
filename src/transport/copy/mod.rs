//! `copy`: one image, or all images of an index, from a source to a destination.
//!
//! ```text
//! mod     options, policy, which image        job     one image, or an index of them: config, layers, documents
//! layers  each layer's way, several at once   plan    what becomes of a layer; the manifest for it (pure)
//! variants  images in several compressions: which are missing, the index that names them (pure)
//! ```
//!
//! Invariant: the order is layers, config, manifest, index, so that whatever is there names only what is there.

mod job;
mod layers;
mod plan;
mod variants;

use std::io::Read;

use containers_storage::{Digest, ImageId};

use self::job::Job;
pub use self::variants::Variants;
use super::compression::Method;
use super::encryption::Sealing;
use super::{BlobId, Destination, Error, InIndex, RawManifest, Source, blob, trust};
use crate::conf::Policy;
use crate::conf::policy::Requirement;
use crate::image::manifest::Document;
pub use crate::image::manifest::index::Platform;
use crate::image::manifest::index::{Index, Instance};
use crate::image::{Format, Manifest, config};

/// Which images of an index are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instances {
    /// The one for a platform, and no index.
    Platform(Platform),
    /// The index and all its images (`--all`).
    All,
    /// The index alone, whose images are at the destination already.
    IndexOnly,
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

/// What becomes of layers that are not compressed. A destination that keeps no compressed ones has its way in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Uncompressed {
    /// What the destination does by itself: `oci:` compresses, `dir:` does not.
    #[default]
    AsDestination,
    /// They are compressed, as `push` wants it for `dir:` too.
    Compress,
    /// They stay so (`--disable-compression`).
    Keep,
}

/// How layers are compressed on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerCompression {
    /// `--compression-format` and `--compression-level`; none is gzip at its usual level.
    pub method: Option<Method>,
    /// `--force-compression`.
    pub recompress: Recompress,
    /// What becomes of uncompressed layers.
    pub uncompressed: Uncompressed,
    /// Compressions that images of an index are wanted in besides what the above makes of them (`--add-compression`).
    pub variants: Variants,
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
    /// What becomes of signatures.
    pub signatures: Signatures<'a>,
    /// What becomes of encryption.
    pub sealing: Sealing<'a>,
}

/// What becomes of signatures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signatures<'a> {
    /// Those that the image has.
    pub existing: Existing,
    /// `--sign-by`: the key that a new one is made with.
    pub sign_by: Option<&'a str>,
}

/// What becomes of the signatures that an image has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// They are copied, and nothing of the image may change then.
    #[default]
    Copy,
    /// They are not (`--remove-signatures`).
    Remove,
}

/// A layer that something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving<'a> {
    /// Its place in the image, 0 for the lowest: two layers may have one digest.
    pub index: usize,
    /// What the source calls it.
    pub digest: &'a Digest,
    /// Its length at the source, in bytes.
    pub size: u64,
}

/// What is happening. Told from several threads at once; `Moved` comes with every piece that is read, so that whoever is told must be
/// quick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// What a short name stands for, in words.
    Resolved(&'a str),
    /// An image at a registry is asked for.
    Trying(&'a str),
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
    /// One image of an index once more, in another compression.
    Replicating {
        /// The manifest of the image that it is made of.
        digest: &'a Digest,
        /// Which, counted from 1, after all those of the index.
        number: usize,
        /// Of how many.
        count: usize,
    },
    /// The layers of an image are copied now.
    Layers {
        /// How many.
        count: usize,
        /// Their length at the source, in bytes.
        bytes: u64,
    },
    /// A layer is read.
    Blob(Moving<'a>),
    /// A part of a layer was read.
    Moved {
        /// The layer.
        layer: Moving<'a>,
        /// How much of it, in bytes; less than before if it is read again from its beginning.
        bytes: u64,
    },
    /// A layer is at the destination now.
    Copied(Moving<'a>),
    /// A layer is at the destination already.
    Skipped(Moving<'a>),
    /// The config is written.
    Config(&'a Digest),
    /// The manifest is written.
    Manifest,
    /// The index is written.
    Index,
    /// Signatures are written.
    StoringSignatures,
}

impl Progress<'_> {
    /// The line for standard error that Buildah has for it, where it has one.
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Self::Resolved(words) => (*words).to_owned(),
            Self::Trying(name) => format!("Trying to pull {name}..."),
            Self::Signatures => "Getting image source signatures".to_owned(),
            Self::Instances { count, total } => format!("Copying {count} of {total} images in list"),
            Self::Instance { digest, number, count } => format!("Copying image {digest} ({number}/{count})"),
            Self::Replicating { digest, number, count } => format!("Replicating image {digest} ({number}/{count})"),
            Self::Blob(layer) => format!("Copying blob {}", layer.digest),
            Self::Skipped(layer) => format!("Copying blob {} skipped: already exists", layer.digest),
            Self::Config(digest) => format!("Copying config {digest}"),
            Self::Manifest => "Writing manifest to image destination".to_owned(),
            Self::Index => "Writing manifest list to image destination".to_owned(),
            Self::StoringSignatures => "Storing signatures".to_owned(),
            Self::Layers { .. } | Self::Moved { .. } | Self::Copied(_) => return None,
        })
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

/// How deep indexes may be nested (known attacks A139).
const MAX_DEPTH: usize = 4;

/// Copies an image. `progress` is called from several threads.
///
/// # Errors
/// The policy rejects the source; a document or blob is not what its descriptor says; source or destination fail. Nothing is visible
/// at the destination then, but for layers that a store got whole: they stay for the next attempt, or for `prune`.
pub fn copy(
    source: &dyn Source,
    destination: Box<dyn Destination + '_>,
    options: &CopyOptions<'_>,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, Error> {
    require_policy(source, options.policy)?;
    progress(Progress::Signatures);
    let requirements = requirements(source, options.policy);
    let job = Job { source, destination: destination.as_ref(), options, requirements, progress };
    let raw = source.manifest(None)?;
    let written = match parse(source, &raw)? {
        Document::Image(manifest) => job.image(&manifest, InIndex::Alone, None)?,
        Document::Index(bytes) => {
            let index = read_index(source, &bytes, raw.media_type.as_deref())?;
            match &options.instances {
                Instances::Platform(platform) => {
                    let manifest = choose(source, index, platform)?;
                    destination.note_index(&bytes);
                    job.image(&manifest, InIndex::Alone, Some(&manifest.digest()))?
                }
                Instances::All | Instances::IndexOnly => job.index(&index)?,
            }
        }
    };
    let image = destination.complete()?;
    Ok(Outcome { digest: written.digest, size: written.size, media_type: written.media_type, image })
}

/// The manifest of the image that a source has for a platform, and its config's bytes. No signature is looked at.
pub fn read_image(source: &dyn Source, platform: &Platform) -> Result<(Manifest, Vec<u8>), Error> {
    let raw = source.manifest(None)?;
    let manifest = match parse(source, &raw)? {
        Document::Image(manifest) => manifest,
        Document::Index(bytes) => choose(source, read_index(source, &bytes, raw.media_type.as_deref())?, platform)?,
    };
    let config = read_config(source, &manifest)?;
    Ok((manifest, config))
}

/// What the policy asks of the images of a source.
fn requirements<'p>(source: &dyn Source, policy: &'p Policy) -> &'p [Requirement] {
    if source.is_trusted() { &[] } else { policy.requirements(source.transport(), &source.policy_scopes()) }
}

/// Whether the policy asks nothing of the images of a source.
pub fn accepts_anything(source: &dyn Source, policy: &Policy) -> bool {
    requirements(source, policy).iter().all(|requirement| *requirement == Requirement::Accept)
}

/// Refuses a source that the policy does not accept, whatever its signatures are.
pub fn require_policy(source: &dyn Source, policy: &Policy) -> Result<(), Error> {
    let hopeless = |requirement: &&Requirement| matches!(requirement, Requirement::Reject | Requirement::Unsupported(_));
    match requirements(source, policy).iter().find(hopeless) {
        Some(requirement) => trust::require(source, std::slice::from_ref(requirement), &[], None),
        None => Ok(()),
    }
}

/// Refuses an image that does not fulfil what the policy asks: the one with this manifest, which is that of `instance` if the source is
/// an index.
pub fn require_image(source: &dyn Source, policy: &Policy, manifest: &[u8], instance: Option<&Digest>) -> Result<(), Error> {
    trust::require(source, requirements(source, policy), manifest, instance)
}

fn parse(source: &dyn Source, raw: &RawManifest) -> Result<Document, Error> {
    Document::parse(&raw.bytes, raw.media_type.as_deref())
        .map_err(|error| Error::Manifest { place: source.name(), source: error })
}

fn read_index(source: &dyn Source, bytes: &[u8], media_type: Option<&str>) -> Result<Index, Error> {
    Index::parse(bytes, media_type).map_err(|error| Error::Manifest { place: source.name(), source: error })
}

/// The manifest of an image of an index, verified.
pub fn read_instance(source: &dyn Source, instance: &Instance) -> Result<Document, Error> {
    parse(source, &read_raw_instance(source, instance)?)
}

fn read_raw_instance(source: &dyn Source, instance: &Instance) -> Result<RawManifest, Error> {
    let raw = source.manifest(Some(&instance.digest))?;
    let found = BlobId { digest: Digest::of(&raw.bytes), size: raw.bytes.len() as u64 };
    let expected = BlobId { digest: instance.digest.clone(), size: instance.size };
    let wrong = |source_error| Error::Stream { action: "reading a manifest of", place: source.name(), source: source_error };
    blob::verify(&expected, &found).map_err(wrong)?;
    Ok(RawManifest { media_type: Some(instance.media_type.clone()), ..raw })
}

/// The image of an index that fits a platform, through indexes in it.
fn choose(source: &dyn Source, mut index: Index, platform: &Platform) -> Result<Manifest, Error> {
    for _ in 0..MAX_DEPTH {
        let instance = index.choose(platform).ok_or_else(|| Error::NoInstance {
            place: source.name(),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
        })?;
        let raw = read_raw_instance(source, instance)?;
        match parse(source, &raw)? {
            Document::Image(manifest) => return Ok(manifest),
            Document::Index(bytes) => index = read_index(source, &bytes, raw.media_type.as_deref())?,
        }
    }
    Err(Error::Document { place: source.name(), problem: format!("indexes are nested more than {MAX_DEPTH} deep") })
}

/// The config that a manifest names, verified.
pub fn read_config(source: &dyn Source, manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let descriptor = &manifest.config;
    let limit = config::MAX_BYTES as u64;
    if descriptor.size > limit {
        let problem = format!("is the config and has {} bytes (limit {limit})", descriptor.size);
        return Err(Error::Blob { place: source.name(), digest: descriptor.digest.clone(), problem });
    }
    let mut bytes = Vec::new();
    let read = source.blob(descriptor)?.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::Stream { action: "reading the config of", place: source.name(), source: error })?;
    Ok(bytes)
}
