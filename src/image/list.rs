//! Manifest lists: several images under one name, each for its platform. Docker's list and the OCI index are two spellings of it.
//!
//! Invariant: members that are not known here survive, and equal lists give equal bytes, those of the other tools. A list has one
//! entry for each digest.

use std::collections::BTreeMap;

use containers_storage::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ImageConfig;
use super::manifest::{DOCKER_LIST, Document, Error, Manifest, OCI_INDEX};
use crate::golang::json;

/// A manifest list.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// The images, in order.
    pub entries: Vec<Entry>,
    /// Which of the two it is written as.
    pub kind: Kind,
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
    /// What it runs on.
    #[serde(default)]
    pub platform: Platform,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What an image runs on (OCI image specification, index).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// CPU architecture, in Go's words.
    pub architecture: String,
    /// Operating system, in Go's words.
    pub os: String,
    /// Version of the operating system.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features that the operating system must have.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Vec<Entry>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A list as it is written; entries of the two kinds differ in the order of their members.
#[derive(Serialize)]
struct Written<'a, E> {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    manifests: Vec<E>,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct DockerEntry<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
    platform: &'a Platform,
}

#[derive(Serialize)]
struct OciEntry<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

impl List {
    /// A list without images, which is always one of Docker's: only that kind says in words what it is.
    pub fn new() -> Self {
        Self { entries: Vec::new(), kind: Kind::Docker, rest: Map::new() }
    }

    /// Reads a list; one image is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Document::Index(bytes) = Document::parse(bytes, None)? else {
            return Err(Error::Unsupported("one image, and not a list of images".to_owned()));
        };
        let mut shape: Shape = serde_json::from_slice(&bytes)?;
        shape.rest.remove("schemaVersion");
        let kind = if shape.media_type.as_deref() == Some(DOCKER_LIST) { Kind::Docker } else { Kind::Oci };
        Ok(Self { entries: shape.manifests, kind, rest: shape.rest })
    }

    /// Adds an image, or sees to it that the one with this manifest has this platform.
    pub fn add(&mut self, manifest: &Manifest, config: &ImageConfig) {
        let platform = Platform {
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            os_features: config.os_features.clone(),
            variant: config.variant.clone(),
            rest: Map::new(),
        };
        let digest = manifest.digest();
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.digest == digest) {
            entry.platform = platform;
            return;
        }
        let size = manifest.bytes().len() as u64;
        let media_type = manifest.media_type().to_owned();
        self.entries.push(Entry { media_type, digest, size, platform, rest: Map::new() });
    }

    /// The kind that the other tools write when they change a list: Docker's if it is empty or tells features of CPUs, which only
    /// that one can, else the OCI's.
    pub fn preferred_kind(&self) -> Kind {
        let has = |member: &str| self.entries.iter().any(|entry| entry.rest.contains_key(member));
        let features = self.entries.iter().any(|entry| entry.platform.rest.contains_key("features"));
        let only_oci = has("annotations") || has("urls") || !self.rest.is_empty();
        if only_oci || !(self.entries.is_empty() || features) { Kind::Oci } else { Kind::Docker }
    }

    /// The JSON, as Go's structs write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let written = match self.kind {
            Kind::Docker => json::to_vec(&Written {
                schema_version: 2,
                media_type: DOCKER_LIST,
                manifests: self.entries.iter().map(DockerEntry::of).collect(),
                rest: &Map::new(),
            }),
            Kind::Oci => json::to_vec(&Written {
                schema_version: 2,
                media_type: OCI_INDEX,
                manifests: self.entries.iter().map(OciEntry::of).collect(),
                rest: &self.rest,
            }),
        };
        // Only map keys that are no strings could fail, and there are none.
        written.unwrap_or_default()
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> DockerEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        let Entry { media_type, digest, size, platform, .. } = entry;
        Self { media_type, size: *size, digest, platform }
    }
}

impl<'a> OciEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        let Entry { media_type, digest, size, platform, rest } = entry;
        Self { media_type, digest, size: *size, platform: Some(platform).filter(|it| **it != Platform::default()), rest }
    }
}

/// `instances.json` beside a list in the store: where each image of it is, by digest.
pub fn instances(known: &BTreeMap<String, String>) -> Vec<u8> {
    json::to_vec(known).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Format;
    use crate::image::manifest::Descriptor;

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
        list.add(&first, &config("amd64", ""));
        list.add(&manifest(Format::Docker, 2), &config("arm64", "v8"));
        list.add(&first, &config("riscv64", ""));
        let texts: Vec<_> =
            list.entries.iter().map(|entry| (entry.platform.architecture.as_str(), entry.media_type.as_str())).collect();
        assert_eq!(
            texts,
            [("riscv64", crate::image::manifest::OCI_MANIFEST), ("arm64", crate::image::manifest::DOCKER_MANIFEST)]
        );
        assert_eq!(list.entries[0].digest, first.digest());
    }

    #[test]
    fn both_kinds_are_written_as_go_does_and_read_again() {
        let mut list = List::new();
        assert_eq!(list.preferred_kind(), Kind::Docker);
        list.add(&manifest(Format::Oci, 1), &config("arm64", "v8"));
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
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"x","digest":"{}","size":1,"annotations":{{"a":"b"}},"artifactType":"t"}}],"annotations":{{"c":"d"}},"subject":{{"size":7}}}}"#,
            Digest::of(b"x")
        );
        let list = List::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(list.to_bytes()).unwrap(), text);
        assert_eq!(list.preferred_kind(), Kind::Oci);
        assert!(List::parse(manifest(Format::Oci, 1).bytes()).is_err());
    }
}
