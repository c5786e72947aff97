//! The JSON of a list: as Docker's manifest list, as an OCI index, and as `manifest inspect` shows it. The order of the members is
//! that of the other tools' structs, since digests are over these bytes.

use std::collections::BTreeMap;

use containers_storage::Digest;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Entry, Kind, List, Platform};
use crate::golang::json;
use crate::image::manifest::{DOCKER_LIST, OCI_INDEX};

#[derive(Serialize)]
struct DockerList<'a> {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    manifests: Entries<DockerEntry<'a>>,
}

/// An OCI index, and what `manifest inspect` shows: Docker's entries with what the OCI's have beyond them.
#[derive(Serialize)]
struct OciIndex<'a, E> {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    #[serde(rename = "artifactType", skip_serializing_if = "str::is_empty")]
    artifact_type: &'a str,
    manifests: Entries<E>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<E>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

/// Entries; none is `null`, as Go writes a slice that nothing was put into.
struct Entries<E>(Vec<E>);

impl<E: Serialize> Serialize for Entries<E> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_none() } else { self.0.serialize(serializer) }
    }
}

#[derive(Serialize)]
struct DockerEntry<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    urls: &'a [String],
    platform: DockerPlatform<'a>,
}

#[derive(Serialize)]
struct OciEntry<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    urls: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<OciPlatform<'a>>,
    #[serde(rename = "artifactType", skip_serializing_if = "str::is_empty")]
    artifact_type: &'a str,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct ShownEntry<'a> {
    #[serde(flatten)]
    entry: DockerEntry<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "artifactType", skip_serializing_if = "str::is_empty")]
    artifact_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    data: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
}

#[derive(Serialize)]
struct OciPlatform<'a> {
    architecture: &'a str,
    os: &'a str,
    #[serde(rename = "os.version", skip_serializing_if = "str::is_empty")]
    os_version: &'a str,
    #[serde(rename = "os.features", skip_serializing_if = "<[String]>::is_empty")]
    os_features: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct DockerPlatform<'a> {
    #[serde(flatten)]
    platform: OciPlatform<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    features: &'a [String],
}

impl List {
    /// The JSON, as Go's structs write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let written = match self.kind {
            Kind::Docker => json::to_vec(&DockerList {
                schema_version: 2,
                media_type: DOCKER_LIST,
                manifests: Entries(self.entries.iter().map(DockerEntry::of).collect()),
            }),
            Kind::Oci => json::to_vec(&OciIndex {
                schema_version: 2,
                media_type: OCI_INDEX,
                artifact_type: &self.artifact_type,
                manifests: Entries(self.entries.iter().map(OciEntry::of).collect()),
                subject: self.subject.as_ref().map(OciEntry::of),
                annotations: &self.annotations,
                rest: &self.rest,
            }),
        };
        // Only map keys that are no strings could fail, and there are none.
        written.unwrap_or_default()
    }

    /// What `manifest inspect` shows, with four blanks a level. `files` names those that an artifact was made of.
    pub fn to_inspection(&self, files: &dyn Fn(&Digest) -> Vec<String>) -> Vec<u8> {
        let shown = OciIndex {
            schema_version: 2,
            media_type: if self.preferred_kind() == Kind::Oci { OCI_INDEX } else { DOCKER_LIST },
            artifact_type: &self.artifact_type,
            manifests: Entries(self.entries.iter().map(|entry| ShownEntry::of(entry, files(&entry.digest))).collect()),
            subject: self.subject.as_ref().map(|entry| ShownEntry::of(entry, Vec::new())),
            annotations: &self.annotations,
            // As with Buildah, what is not known is not shown.
            rest: &Map::new(),
        };
        json::to_vec_indented(&shown, "    ").unwrap_or_default()
    }
}

impl<'a> DockerEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        let Entry { media_type, digest, size, urls, platform, .. } = entry;
        let platform = DockerPlatform { platform: OciPlatform::of(platform), features: &platform.features };
        Self { media_type, size: *size, digest, urls, platform }
    }
}

impl<'a> OciEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        let Entry { media_type, digest, size, urls, annotations, data, platform, artifact_type, rest } = entry;
        let known = Platform { features: Vec::new(), ..platform.clone() } != Platform::default();
        let platform = known.then(|| OciPlatform::of(platform));
        Self { media_type, digest, size: *size, urls, annotations, data, platform, artifact_type, rest }
    }
}

impl<'a> ShownEntry<'a> {
    fn of(entry: &'a Entry, files: Vec<String>) -> Self {
        let Entry { annotations, artifact_type, data, .. } = entry;
        Self { entry: DockerEntry::of(entry), annotations, artifact_type, data, files }
    }
}

impl<'a> OciPlatform<'a> {
    fn of(platform: &'a Platform) -> Self {
        let Platform { architecture, os, os_version, os_features, variant, rest, .. } = platform;
        Self { architecture, os, os_version, os_features, variant, rest }
    }
}

/// `instances.json` beside a list in the store: where each image of it is, by digest.
pub fn instances(known: &BTreeMap<String, String>) -> Vec<u8> {
    json::to_vec(known).unwrap_or_default()
}
