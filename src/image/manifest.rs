//! Manifests: the document that names a config and layers, in the OCI and the Docker form.
//!
//! Invariant: a `Manifest` that was read keeps its bytes; its digest is over those. A document that is both manifest and index
//! is refused (CVE-2021-41190), as are unknown digests and more layers than [`MAX_LAYERS`].

pub mod artifact;
pub mod edit;
pub mod index;
mod layer_type;

use std::collections::BTreeMap;

pub use self::layer_type::LayerType;

use containers_storage::Digest;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::Format;
use crate::golang::json;

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
/// Media type of a gzip-compressed OCI layer.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of an OCI layer compressed with Zstandard.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Media type of a gzip-compressed Docker layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The largest manifest that is read: 4 MiB, as the distribution specification recommends.
pub const MAX_BYTES: usize = 4 << 20;
/// The most layers that an image may have.
pub const MAX_LAYERS: usize = 500;

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, a member twice, or a member of the wrong type.
    #[error("parsing manifest")]
    Json(#[from] serde_json::Error),
    /// A document above [`MAX_BYTES`].
    #[error("manifest of {0} bytes is too large (limit {MAX_BYTES})")]
    TooLarge(usize),
    /// It could be read as two kinds of document.
    #[error("ambiguous manifest: {0} has the member {1:?}")]
    Ambiguous(&'static str, String),
    /// `mediaType` in the document is not what the descriptor or header said, or not what the members are.
    #[error("manifest declares media type {declared:?}, expected {expected:?}")]
    MediaType {
        /// What the document says.
        declared: String,
        /// What named it.
        expected: String,
    },
    /// Not a kind of document that we know.
    #[error("unsupported manifest: {0}")]
    Unsupported(String),
    /// A member that must be there is not.
    #[error("manifest has no {0:?}")]
    Missing(&'static str),
    /// More than [`index::MAX_INSTANCES`].
    #[error("index has {0} instances (limit {max})", max = index::MAX_INSTANCES)]
    TooManyInstances(usize),
    /// More than [`MAX_LAYERS`].
    #[error("manifest has {0} layers (limit {MAX_LAYERS})")]
    TooManyLayers(usize),
}

/// A typed pointer to bytes (OCI image specification, descriptor).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Descriptor {
    /// Media type of the bytes.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Annotations.
    #[serde(default, deserialize_with = "nullable_map")]
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
    /// What it is, if that is no image; empty in most.
    pub artifact_type: String,
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

/// The members that decide what a document is, and those of an image manifest. Anything else is ignored here and kept in the
/// bytes. Without `flatten`, serde refuses a member that comes twice.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "schemaVersion")]
    schema_version: Option<u64>,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    // Go writes an empty list as null.
    #[serde(default, deserialize_with = "null_is_empty")]
    manifests: Option<Vec<IgnoredAny>>,
    #[serde(default, deserialize_with = "nullable_map")]
    annotations: BTreeMap<String, String>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<IgnoredAny>,
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
}

/// Names whose other spellings in case are refused: Go's parsers take them for the member itself (A107).
const DECISIVE: [&str; 6] = ["schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers"];

fn nullable_map<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<IgnoredAny>>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

impl Document {
    /// Reads a manifest or index. `media_type` is what named it (a descriptor or a record), if anything did; it must agree with
    /// the document's own, and both with its members.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge(bytes.len()));
        }
        json::check_depth(bytes)?;
        let names: BTreeMap<String, IgnoredAny> = serde_json::from_slice(bytes)?;
        let variant = |name: &&String| DECISIVE.iter().any(|known| known.eq_ignore_ascii_case(name) && known != name);
        if let Some(name) = names.keys().find(variant) {
            return Err(Error::Ambiguous("the document", name.chars().take(100).collect()));
        }
        let shape: Shape = serde_json::from_slice(bytes)?;
        let media_type = agreed(shape.media_type.as_deref(), media_type)?;
        if shape.fs_layers.is_some() || shape.schema_version == Some(1) {
            return Err(Error::Unsupported(
                "Docker schema 1 (v2s1), which nobody writes any more: convert the image with skopeo".into(),
            ));
        }
        match (&shape.manifests, shape.config.is_some() || shape.layers.is_some()) {
            (Some(_), true) => {
                Err(Error::Ambiguous("an index", if shape.config.is_some() { "config" } else { "layers" }.into()))
            }
            (Some(_), false) => {
                expect(media_type.as_deref(), &[OCI_INDEX, DOCKER_LIST])?;
                Ok(Self::Index(bytes.to_vec()))
            }
            (None, true) => shape.into_manifest(media_type.as_deref(), bytes).map(Self::Image),
            (None, false) => Err(Error::Unsupported("neither an image nor an index".into())),
        }
    }
}

/// The media type that the document and what named it agree on.
fn agreed(inside: Option<&str>, outside: Option<&str>) -> Result<Option<String>, Error> {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    match (given(inside), given(outside)) {
        (Some(declared), Some(expected)) if declared != expected => Err(Error::MediaType { declared, expected }),
        (inside, outside) => Ok(inside.or(outside)),
    }
}

/// Refuses a media type that the members contradict. None at all is judged by shape.
fn expect(media_type: Option<&str>, allowed: &[&str]) -> Result<(), Error> {
    match media_type {
        Some(declared) if !allowed.contains(&declared) => {
            Err(Error::MediaType { declared: declared.to_owned(), expected: allowed.join(" or ") })
        }
        _ => Ok(()),
    }
}

impl Shape {
    fn into_manifest(self, media_type: Option<&str>, bytes: &[u8]) -> Result<Manifest, Error> {
        expect(media_type, &[OCI_MANIFEST, DOCKER_MANIFEST])?;
        let config = self.config.ok_or(Error::Missing("config"))?;
        let layers = self.layers.ok_or(Error::Missing("layers"))?;
        if layers.len() > MAX_LAYERS {
            return Err(Error::TooManyLayers(layers.len()));
        }
        let docker = media_type.unwrap_or(&config.media_type).starts_with("application/vnd.docker.");
        let format = if docker { Format::Docker } else { Format::Oci };
        let (annotations, artifact_type) = (self.annotations, self.artifact_type.unwrap_or_default());
        Ok(Manifest { format, config, layers, annotations, artifact_type, raw: bytes.to_vec() })
    }
}

impl Manifest {
    /// Makes a new manifest and its bytes, as the other tools' Go structs write it.
    pub fn new(format: Format, config: Descriptor, layers: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        let raw = match format {
            Format::Oci => json::to_vec(&WriteManifest {
                schema_version: 2,
                media_type: OCI_MANIFEST,
                config: OciDescriptor::of(&config),
                layers: layers.iter().map(OciDescriptor::of).collect(),
                annotations: &annotations,
            }),
            Format::Docker => json::to_vec(&WriteManifest {
                schema_version: 2,
                media_type: DOCKER_MANIFEST,
                config: DockerDescriptor::of(&config),
                layers: layers.iter().map(DockerDescriptor::of).collect(),
                annotations: &BTreeMap::new(),
            }),
        };
        // Only map keys that are no strings could fail, and there are none.
        Self { format, config, layers, annotations, artifact_type: String::new(), raw: raw.unwrap_or_default() }
    }

    /// Whether it holds something else than an image: then neither its config nor its layers are what those of an image are (OCI image
    /// specification, guidelines for artifact usage).
    pub fn is_artifact(&self) -> bool {
        let unknown = ![OCI_CONFIG, DOCKER_CONFIG].contains(&self.config.media_type.as_str());
        self.format == Format::Oci && (!self.artifact_type.is_empty() || unknown)
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

impl Format {
    /// The media type of a config in this format.
    pub fn config_media_type(self) -> &'static str {
        match self {
            Self::Oci => OCI_CONFIG,
            Self::Docker => DOCKER_CONFIG,
        }
    }

    /// The media type of an uncompressed layer in this format.
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Self::Oci => OCI_LAYER,
            Self::Docker => DOCKER_LAYER,
        }
    }
}

/// Either manifest, with Go's member order; the descriptors differ in theirs.
#[derive(Serialize)]
struct WriteManifest<'a, D> {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    config: D,
    layers: Vec<D>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct OciDescriptor<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> OciDescriptor<'a> {
    fn of(descriptor: &'a Descriptor) -> Self {
        let Descriptor { media_type, digest, size, annotations } = descriptor;
        Self { media_type, digest, size: *size, annotations }
    }
}

#[derive(Serialize)]
struct DockerDescriptor<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
}

impl<'a> DockerDescriptor<'a> {
    fn of(descriptor: &'a Descriptor) -> Self {
        Self { media_type: &descriptor.media_type, size: descriptor.size, digest: &descriptor.digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Buildah 1.28.2.
    const EVERY_OCI: &[u8] = include_bytes!("testdata/every-oci.manifest.json");
    const EVERY_DOCKER: &[u8] = include_bytes!("testdata/every-docker.manifest.json");

    fn image(bytes: &[u8], media_type: Option<&str>) -> Manifest {
        match Document::parse(bytes, media_type) {
            Ok(Document::Image(manifest)) => manifest,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_and_writes_the_same_bytes_as_buildah() {
        for (bytes, format) in [(EVERY_OCI, Format::Oci), (EVERY_DOCKER, Format::Docker)] {
            let read = image(bytes, None);
            assert_eq!((read.format, read.bytes()), (format, bytes));
            let made = Manifest::new(format, read.config.clone(), read.layers.clone(), read.annotations.clone());
            assert_eq!(std::str::from_utf8(made.bytes()), std::str::from_utf8(bytes));
            assert_eq!(made.digest(), Digest::of(bytes));
        }
    }

    #[test]
    fn the_config_type_decides_where_no_media_type_is_given() {
        let without = std::str::from_utf8(EVERY_OCI).unwrap().replace(&format!("\"mediaType\":\"{OCI_MANIFEST}\","), "");
        assert_eq!(image(without.as_bytes(), None).format, Format::Oci);
        assert_eq!(image(without.as_bytes(), Some(OCI_MANIFEST)).format, Format::Oci);
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(Document::parse(index, None).unwrap(), Document::Index(index.to_vec()));
    }

    /// A107, A105, A139 of the project's list of known attacks.
    #[test]
    fn refuses_ambiguous_documents() {
        let every = std::str::from_utf8(EVERY_OCI).unwrap();
        let layer = every.split_once("\"layers\":[").unwrap().1.split_once(']').unwrap().0;
        let cases = [
            ("index and layers", every.replacen('{', "{\"manifests\":[],", 1)),
            ("index that claims to be a manifest", format!(r#"{{"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#)),
            ("manifest that claims to be an index", every.replacen(OCI_MANIFEST, OCI_INDEX, 1)),
            ("a member twice", every.replacen('{', "{\"layers\":[],", 1)),
            ("a member in other case", every.replacen('{', "{\"Layers\":[],", 1)),
            ("an index in other case", every.replacen('{', "{\"MANIFESTS\":[],", 1)),
            ("traversal in a digest", every.replacen("sha256:", "sha256:../", 1)),
            ("negative size", every.replacen("\"size\":", "\"size\":-", 1)),
            ("neither", "{}".to_owned()),
            ("schema 1", r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned()),
            ("no config", r#"{"layers":[]}"#.to_owned()),
            ("not an object", "[]".to_owned()),
            ("two documents", format!("{every}{every}")),
            ("layers", every.replace(layer, &vec![layer; 501].join(","))),
            ("depth", format!(r#"{{"x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000))),
            ("size", format!("{every}{}", " ".repeat(MAX_BYTES))),
        ];
        for (what, document) in cases {
            assert!(Document::parse(document.as_bytes(), None).is_err(), "{what}");
        }
        assert!(Document::parse(EVERY_OCI, Some(DOCKER_MANIFEST)).is_err());
        assert!(Document::parse(EVERY_OCI, Some(OCI_MANIFEST)).is_ok());
    }
}
