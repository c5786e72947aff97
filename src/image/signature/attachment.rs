//! Sigstore signatures as an image of their own: how cosign puts them beside the image that they are of. Pure.
//!
//! ```text
//! name        the repository's, with the tag sha256-<hex>.sig for the manifest sha256:<hex>
//! manifest    OCI; each layer is a payload, and its annotations have the signature
//! config      an OCI config whose diff IDs are the digests of the payloads
//! ```
//!
//! Invariant: signatures are added; what is there already stays as it is written.

use std::collections::BTreeMap;

use containers_storage::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::SIGSTORE_START;
use crate::golang::json;
use crate::image::manifest::edit::Members;
use crate::image::manifest::{OCI_CONFIG, OCI_MANIFEST};

/// A sigstore signature, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Media type of the payload.
    pub mime_type: String,
    /// The payload.
    #[serde(with = "encoded")]
    pub payload: Vec<u8>,
    /// What belongs to it, with the signature itself.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

mod encoded {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

/// The documents of an image of signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config that it names.
    pub config: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    media_type: &'a str,
    size: u64,
    digest: Digest,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: Digest,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Attachment {
    /// Reads a signature as it is kept; `None` if it is none of sigstore's.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes.strip_prefix(SIGSTORE_START)?).ok()
    }

    /// The signature as it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Only map keys that are no strings could fail, and there are none.
        [SIGSTORE_START, &json::to_vec(self).unwrap_or_default()].concat()
    }
}

/// The tag of the signatures of a manifest.
pub fn tag(manifest: &Digest) -> String {
    format!("{}-{}.sig", manifest.algorithm(), manifest.hex())
}

/// The documents with `new` added to what is there; `None` if all of it is.
///
/// # Errors
/// What is there is no such manifest and config.
pub fn with(existing: Option<&Documents>, new: &[Attachment]) -> Result<Option<Documents>, serde_json::Error> {
    let start = Documents {
        manifest: format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\",\"config\":{{}},\"layers\":[]}}")
            .into_bytes(),
        config: br#"{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec(),
    };
    let Documents { manifest, config } = existing.unwrap_or(&start);
    let mut manifest: Members = serde_json::from_slice(manifest)?;
    let mut config: Members = serde_json::from_slice(config)?;
    let mut rootfs: Members = serde_json::from_str(config.get("rootfs").map_or("{\"type\":\"layers\"}", RawValue::get))?;
    let mut layers: Vec<Box<RawValue>> = serde_json::from_str(manifest.get("layers").map_or("[]", RawValue::get))?;
    let mut diff_ids: Vec<Digest> = serde_json::from_str(rootfs.get("diff_ids").map_or("[]", RawValue::get))?;
    let before = layers.len();
    for attachment in new {
        let digest = Digest::of(&attachment.payload);
        let is_there = |layer: &RawValue| -> Result<bool, serde_json::Error> {
            let layer: Layer = serde_json::from_str(layer.get())?;
            let same = layer.digest == digest && layer.media_type == attachment.mime_type;
            Ok(same && layer.annotations == attachment.annotations)
        };
        if layers.iter().map(|layer| is_there(layer)).collect::<Result<Vec<_>, _>>()?.contains(&true) {
            continue;
        }
        let size = attachment.payload.len() as u64;
        let (media_type, annotations) = (attachment.mime_type.as_str(), &attachment.annotations);
        let described = json::to_vec(&Described { media_type, size, digest: digest.clone(), annotations })?;
        layers.push(RawValue::from_string(String::from_utf8_lossy(&described).into_owned())?);
        diff_ids.push(digest);
    }
    if layers.len() == before && existing.is_some() {
        return Ok(None);
    }
    rootfs.set("diff_ids", &diff_ids)?;
    config.set("rootfs", &RawValue::from_string(rootfs.to_text()?)?)?;
    let config = config.to_text()?.into_bytes();
    let (digest, size) = (Digest::of(&config), config.len() as u64);
    manifest.set("config", &Described { media_type: OCI_CONFIG, size, digest, annotations: &BTreeMap::new() })?;
    manifest.set("layers", &layers)?;
    Ok(Some(Documents { manifest: manifest.to_text()?.into_bytes(), config }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageConfig;
    use crate::image::manifest::Document;

    fn attachment(payload: &str, signature: &str) -> Attachment {
        let annotations = BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), signature.to_owned())]);
        Attachment { mime_type: super::super::SIGSTORE_TYPE.to_owned(), payload: payload.into(), annotations }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let one = attachment("p", "cw==");
        let bytes = one.to_bytes();
        assert!(bytes.starts_with(b"\0sigstore-json\n{\"mimeType\":\"application/"), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(Attachment::parse(&bytes), Some(one));
        assert_eq!(Attachment::parse(b"\xa3"), None);
        assert_eq!(tag(&Digest::of(b"x")), format!("sha256-{}.sig", Digest::of(b"x").hex()));
    }

    #[test]
    fn signatures_are_added_to_those_that_are_there() {
        let (one, two) = (attachment("p", "cw=="), attachment("p", "dA=="));
        let first = with(None, std::slice::from_ref(&one)).unwrap().unwrap();
        assert_eq!(with(Some(&first), std::slice::from_ref(&one)).unwrap(), None);
        let both = with(Some(&first), &[one, two]).unwrap().unwrap();
        let parsed = Document::parse(&both.manifest, Some(OCI_MANIFEST)).unwrap();
        let Document::Image(manifest) = parsed else { panic!("{parsed:?}") };
        assert_eq!(manifest.layers.len(), 2);
        assert_eq!(manifest.config.digest, Digest::of(&both.config));
        assert_eq!(ImageConfig::parse(&both.config).unwrap().diff_ids, [Digest::of(b"p"), Digest::of(b"p")]);
        let odd = Documents {
            manifest: b"{\"x\":1.50,\"layers\":[{\"mediaType\":\"a\",\"digest\":\"md5:x\"}]}".to_vec(),
            ..first.clone()
        };
        assert!(with(Some(&odd), &[attachment("q", "")]).is_err());
        let kept = Documents { manifest: b"{\"x\":1.50,\"layers\":[]}".to_vec(), ..first };
        let text = String::from_utf8(with(Some(&kept), &[attachment("q", "")]).unwrap().unwrap().manifest).unwrap();
        assert!(text.starts_with("{\"x\":1.50,\"layers\":[{"), "{text}");
    }
}
