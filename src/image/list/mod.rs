//! Manifest lists: several images under one name, each for its platform. Docker's list and the OCI index are two spellings of it.
//!
//! ```text
//! mod      what a list says; adding, removing, choosing the spelling      write   the JSON of both spellings, and of `inspect`
//! ```
//!
//! Invariant: members that are not known here survive, and equal lists give equal bytes, those of the other tools. A list has one
//! entry for each digest.

mod write;

use std::collections::BTreeMap;

use containers_storage::Digest;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use self::write::instances;
use super::ImageConfig;
use super::manifest::index::MAX_INSTANCES;
use super::manifest::{DOCKER_LIST, Document, Error, Manifest};

/// A manifest list.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// The images, in order.
    pub entries: Vec<Entry>,
    /// Which of the two it is written as.
    pub kind: Kind,
    /// What the whole is, if it is no plain index of images (OCI only).
    pub artifact_type: String,
    /// What the whole belongs to (OCI only).
    pub subject: Option<Entry>,
    /// Annotations of the whole (OCI only).
    pub annotations: BTreeMap<String, String>,
    rest: Map<String, Value>,
}

/// The two media types of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Docker's manifest list.
    Docker,
    /// The OCI image index.
    Oci,
}

/// One image of a list.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    /// Media type of its manifest.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Length of its manifest in bytes.
    pub size: u64,
    /// Where else its manifest may be. Never used here.
    #[serde(default, deserialize_with = "nullable")]
    pub urls: Vec<String>,
    /// Annotations (OCI only).
    #[serde(default, deserialize_with = "nullable")]
    pub annotations: BTreeMap<String, String>,
    /// The manifest itself in base64, if it is embedded (OCI only).
    #[serde(default, deserialize_with = "nullable")]
    pub data: String,
    /// What it runs on.
    #[serde(default, deserialize_with = "nullable")]
    pub platform: Platform,
    /// What it is, if it is no image (OCI only).
    #[serde(default, deserialize_with = "nullable", rename = "artifactType")]
    pub artifact_type: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What an image runs on (OCI image specification, index).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// CPU architecture, in Go's words.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// Operating system, in Go's words.
    #[serde(deserialize_with = "nullable")]
    pub os: String,
    /// Version of the operating system.
    #[serde(rename = "os.version", deserialize_with = "nullable")]
    pub os_version: String,
    /// Features that the operating system must have.
    #[serde(rename = "os.features", deserialize_with = "nullable")]
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    #[serde(deserialize_with = "nullable")]
    pub variant: String,
    /// Features that the CPU must have (Docker only).
    #[serde(deserialize_with = "nullable")]
    pub features: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    #[serde(default, deserialize_with = "nullable", rename = "artifactType")]
    artifact_type: String,
    #[serde(default, deserialize_with = "nullable")]
    manifests: Vec<Entry>,
    subject: Option<Entry>,
    #[serde(default, deserialize_with = "nullable")]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Go reads `null` as the zero of any type, and writes it for an empty list.
fn nullable<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl List {
    /// A list without images, which is always one of Docker's: only that kind says in words what it is.
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            kind: Kind::Docker,
            artifact_type: String::new(),
            subject: None,
            annotations: BTreeMap::new(),
            rest: Map::new(),
        }
    }

    /// Reads a list; one image is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Document::Index(bytes) = Document::parse(bytes, None)? else {
            return Err(Error::Unsupported("one image, and not a list of images".to_owned()));
        };
        let mut shape: Shape = serde_json::from_slice(&bytes)?;
        if shape.manifests.len() > MAX_INSTANCES {
            return Err(Error::TooManyInstances(shape.manifests.len()));
        }
        shape.rest.remove("schemaVersion");
        let kind = if shape.media_type.as_deref() == Some(DOCKER_LIST) { Kind::Docker } else { Kind::Oci };
        let Shape { artifact_type, manifests: entries, subject, annotations, rest, .. } = shape;
        Ok(Self { entries, kind, artifact_type, subject, annotations, rest })
    }

    /// Adds an image at the end. The entry that has its digest already goes, with all that was said there.
    pub fn add(&mut self, entry: Entry) {
        self.entries.retain(|known| known.digest != entry.digest);
        self.entries.push(entry);
    }

    /// Takes the image with this manifest out; `false` if there is none.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.digest != *digest);
        self.entries.len() < before
    }

    /// The entry of the image with this manifest.
    pub fn entry_mut(&mut self, digest: &Digest) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.digest == *digest)
    }

    /// The kind that the other tools write when they change a list: the OCI's if it says what only that one can, else Docker's if it
    /// is empty or tells features of CPUs, which only that one can, else the OCI's.
    pub fn preferred_kind(&self) -> Kind {
        let only_oci =
            |entry: &Entry| !(entry.artifact_type.is_empty() && entry.annotations.is_empty() && entry.data.is_empty());
        let whole = !self.artifact_type.is_empty() || self.subject.is_some() || !self.annotations.is_empty();
        if whole || self.entries.iter().any(only_oci) {
            return Kind::Oci;
        }
        let features = self.entries.iter().any(|entry| !entry.platform.features.is_empty());
        if features || self.entries.is_empty() { Kind::Docker } else { Kind::Oci }
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    /// A document of which nothing else is known.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: String::new(),
            platform: Platform::default(),
            artifact_type: String::new(),
            rest: Map::new(),
        }
    }

    /// The entry of an image, whose config tells its platform.
    pub fn of_image(manifest: &Manifest, config: &ImageConfig) -> Self {
        let platform = Platform::of_config(config);
        Self { platform, ..Self::new(manifest.media_type(), manifest.digest(), manifest.bytes().len() as u64) }
    }
}

impl Platform {
    /// What a config says.
    pub fn of_config(config: &ImageConfig) -> Self {
        Self {
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            os_features: config.os_features.clone(),
            variant: config.variant.clone(),
            features: Vec::new(),
            rest: Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Format;
    use crate::image::manifest::{Descriptor, OCI_INDEX};

    fn manifest(format: Format, byte: u8) -> Manifest {
        let config = Descriptor {
            media_type: format.config_media_type().to_owned(),
            digest: Digest::of(&[byte]),
            size: 1,
            annotations: BTreeMap::new(),
        };
        Manifest::new(format, config, Vec::new(), BTreeMap::new())
    }

    fn config(architecture: &str, variant: &str) -> ImageConfig {
        ImageConfig {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.to_owned(),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn an_image_is_added_once_and_its_platform_is_the_last_one_told() {
        let mut list = List::new();
        let first = manifest(Format::Oci, 1);
        list.add(Entry::of_image(&first, &config("amd64", "")));
        list.add(Entry::of_image(&manifest(Format::Docker, 2), &config("arm64", "v8")));
        list.add(Entry::of_image(&first, &config("riscv64", "")));
        let texts: Vec<_> =
            list.entries.iter().map(|entry| (entry.platform.architecture.as_str(), entry.media_type.as_str())).collect();
        assert_eq!(
            texts,
            [("arm64", crate::image::manifest::DOCKER_MANIFEST), ("riscv64", crate::image::manifest::OCI_MANIFEST)]
        );
        assert_eq!(list.entries[1].digest, first.digest());
        assert!(list.remove(&first.digest()) && !list.remove(&first.digest()));
    }

    #[test]
    fn both_kinds_are_written_as_go_does_and_read_again() {
        let mut list = List::new();
        assert_eq!(list.preferred_kind(), Kind::Docker);
        list.add(Entry::of_image(&manifest(Format::Oci, 1), &config("arm64", "v8")));
        let (digest, size) = (list.entries[0].digest.clone(), list.entries[0].size);
        let docker = format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":{size},"digest":"{digest}","platform":{{"architecture":"arm64","os":"linux","variant":"v8"}}}}]}}"#
        );
        assert_eq!(String::from_utf8(list.to_bytes()).unwrap(), docker);
        assert_eq!(List::parse(docker.as_bytes()).unwrap(), list);
        list.kind = list.preferred_kind();
        let oci = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"platform":{{"architecture":"arm64","os":"linux","variant":"v8"}}}}]}}"#
        );
        assert_eq!(String::from_utf8(list.to_bytes()).unwrap(), oci);
        assert_eq!(List::parse(oci.as_bytes()).unwrap(), list);
    }

    #[test]
    fn what_is_not_known_survives() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"x","digest":"{0}","size":1,"annotations":{{"a":"b"}},"artifactType":"t","w":2}}],"subject":{{"mediaType":"s","digest":"{0}","size":7,"y":[1]}},"annotations":{{"c":"d"}},"x":{{"z":1}}}}"#,
            Digest::of(b"x")
        );
        let list = List::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(list.to_bytes()).unwrap(), text);
        assert_eq!(list.preferred_kind(), Kind::Oci);
        assert!(List::parse(manifest(Format::Oci, 1).bytes()).is_err());
    }
}
