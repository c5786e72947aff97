//! Manifests of artifacts: files that are no image, described as one (OCI image specification, guidelines for artifact usage).

use std::collections::BTreeMap;

use containers_storage::Digest;
use serde::Serialize;

use super::{Descriptor, OCI_MANIFEST};
use crate::golang::json;

/// Media type of a config or layer that stands for none.
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The bytes of such a config or layer.
pub const EMPTY: &[u8] = b"{}";
/// What an artifact is that does not say what it is.
pub const UNKNOWN_TYPE: &str = "application/vnd.unknown.artifact.v1";
/// Annotation with the name of the file that a layer was.
pub const TITLE: &str = "org.opencontainers.image.title";

/// An artifact.
#[derive(Debug, Clone)]
pub struct Artifact<'a> {
    /// What it is.
    pub artifact_type: &'a str,
    /// Its config.
    pub config: Blob,
    /// Its files.
    pub layers: Vec<Blob>,
    /// The image that it belongs to: media type, digest, size, what it is.
    pub subject: Option<(Descriptor, String)>,
    /// Annotations of the whole.
    pub annotations: &'a BTreeMap<String, String>,
}

/// A config or layer of an artifact.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Media type, digest and size, and annotations.
    pub descriptor: Descriptor,
    /// Its bytes in base64, if they are embedded.
    pub data: String,
}

impl Blob {
    /// The stand-in for none, with a type of its own if one is given.
    pub fn empty(media_type: &str) -> Self {
        use base64::Engine as _;
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(EMPTY),
            size: EMPTY.len() as u64,
            annotations: BTreeMap::new(),
        };
        Self { descriptor, data: base64::engine::general_purpose::STANDARD.encode(EMPTY) }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    #[serde(rename = "artifactType", skip_serializing_if = "str::is_empty")]
    artifact_type: &'a str,
    config: WrittenBlob<'a>,
    layers: Vec<WrittenBlob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<WrittenBlob<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct WrittenBlob<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    data: &'a str,
    #[serde(rename = "artifactType", skip_serializing_if = "str::is_empty")]
    artifact_type: &'a str,
}

impl<'a> WrittenBlob<'a> {
    fn of(descriptor: &'a Descriptor, data: &'a str, artifact_type: &'a str) -> Self {
        let Descriptor { media_type, digest, size, annotations } = descriptor;
        Self { media_type, digest, size: *size, annotations, data, artifact_type }
    }
}

impl Artifact<'_> {
    /// The JSON of its manifest, as the other tools' structs write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        fn of(blob: &Blob) -> WrittenBlob<'_> {
            WrittenBlob::of(&blob.descriptor, &blob.data, "")
        }
        let written = Written {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            artifact_type: self.artifact_type,
            config: of(&self.config),
            layers: self.layers.iter().map(of).collect(),
            subject: self.subject.as_ref().map(|(descriptor, kind)| WrittenBlob::of(descriptor, "", kind)),
            annotations: self.annotations,
        };
        // Only map keys that are no strings could fail, and there are none.
        json::to_vec(&written).unwrap_or_default()
    }
}

/// Media types by the end of a file's name: those that Go's programs know without asking the machine.
const BY_ENDING: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("css", "text/css"),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("mjs", "text/javascript"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("xml", "text/xml"),
];

/// Media types by the first bytes.
const BY_START: &[(&[u8], &str)] = &[
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\x89PNG\x0d\x0a\x1a\x0a", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"\0asm", "application/wasm"),
    (b"<?xml", "text/xml"),
];

/// The media type of a file by its name, else by how it begins.
pub fn media_type(name: &str, start: &[u8]) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let by_ending = BY_ENDING.iter().find(|(known, _)| ending.as_deref() == Some(known));
    let by_start = || BY_START.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| *kind);
    // What browsers take for text: no control characters but those of text (WHATWG, MIME sniffing, binary data byte).
    let is_text = !start.iter().any(|byte| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f));
    let unknown = if is_text { "text/plain" } else { "application/octet-stream" };
    by_ending.map(|(_, kind)| *kind).or_else(by_start).unwrap_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::Document;

    #[test]
    fn types_follow_from_the_name_or_the_bytes() {
        let cases: [(&str, &[u8], &str); 8] = [
            ("a.json", b"{}", "application/json"),
            ("a.JSON", b"", "application/json"),
            ("a", b"{}", "text/plain"),
            ("a.b", b"", "text/plain"),
            ("a", b"\x1f\x8b\x08\0", "application/x-gzip"),
            ("a.tgz", b"\x1f\x8b\x08\0", "application/x-gzip"),
            ("a", b"a\0b", "application/octet-stream"),
            (".json", b"\0", "application/json"),
        ];
        for (name, start, want) in cases {
            assert_eq!(media_type(name, start), want, "{name:?}");
        }
    }

    #[test]
    fn an_artifact_is_written_as_the_specification_shows_it() {
        let none = BTreeMap::new();
        let artifact = Artifact {
            artifact_type: "application/x",
            config: Blob::empty(EMPTY_TYPE),
            layers: vec![Blob::empty(EMPTY_TYPE)],
            subject: None,
            annotations: &none,
        };
        let empty = r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="}"#;
        let want = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"application/x","config":{empty},"layers":[{empty}]}}"#
        );
        let bytes = artifact.to_bytes();
        assert_eq!(String::from_utf8_lossy(&bytes), want);
        let Ok(Document::Image(manifest)) = Document::parse(&bytes, None) else { panic!("a manifest") };
        assert!(manifest.is_artifact());
    }
}
