//! Signatures of images: how they are kept, and what a signature says. Pure: nothing is verified here.
//!
//! ```text
//! simple signing   an OpenPGP message whose text is the payload                  (containers-signature(5))
//! sigstore         NUL "sigstore-json" LF {"mimeType", "payload", "annotations"}: the payload, and a signature in an annotation
//! payload          {"critical":{"type","image":{"docker-manifest-digest"},"identity":{"docker-reference"}},"optional":{…}}
//! ```
//!
//! Invariant: a payload with members that are not known, or with one twice, is none.

pub mod attachment;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use containers_storage::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::attachment::Attachment;
use crate::golang::json;

/// The largest signature that is read.
pub const MAX_BYTES: usize = 4 << 20;
/// The most signatures of one image.
pub const MAX_COUNT: usize = 128;

/// What the payload of a simple signature is.
const SIMPLE: &str = "atomic container signature";
/// What the payload of a sigstore signature is.
const COSIGN: &str = "cosign container image signature";
/// How a sigstore signature begins as bytes.
const SIGSTORE_START: &[u8] = b"\0sigstore-json\n";
/// Media type of such a payload.
const SIGSTORE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation with the signature of such a payload.
const SIGSTORE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// A signature as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// An OpenPGP message.
    Simple(Vec<u8>),
    /// A payload, and the signature of its bytes.
    Sigstore {
        /// The payload.
        payload: Vec<u8>,
        /// The signature, ASN.1 of ECDSA.
        signature: Vec<u8>,
    },
    /// A form that is not known here.
    Unknown,
}

/// What a signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Of which manifest it is.
    pub manifest: Digest,
    /// What that image is called.
    pub reference: String,
}

/// By what a payload was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Simple signing.
    Simple,
    /// Sigstore.
    Sigstore,
}

/// A payload that says something else, or nothing that is understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or members that are missing or not known.
    #[error("the text of the signature is not understood")]
    Json(#[from] serde_json::Error),
    /// Another `type`.
    #[error("the signature is of the type {0:?}")]
    Kind(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    critical: Critical,
    #[serde(rename = "optional")]
    _optional: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: SignedIdentity,
    image: SignedImage,
    r#type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedIdentity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedImage {
    #[serde(rename = "docker-manifest-digest")]
    manifest: Digest,
}

#[derive(Serialize)]
struct New {
    critical: Critical,
    optional: Optional,
}

#[derive(Serialize)]
struct Optional {
    creator: String,
    timestamp: i64,
}

impl Signature {
    /// What the bytes of a signature are.
    pub fn parse(bytes: &[u8]) -> Self {
        if bytes.starts_with(SIGSTORE_START) {
            let read = Attachment::parse(bytes).filter(|attachment| attachment.mime_type == SIGSTORE_TYPE).and_then(|read| {
                let signature = STANDARD.decode(read.annotations.get(SIGSTORE_ANNOTATION)?).ok()?;
                Some(Self::Sigstore { payload: read.payload, signature })
            });
            return read.unwrap_or(Self::Unknown);
        }
        // A binary OpenPGP message begins with a packet's tag, whose first bit is set.
        let simple = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        if simple { Self::Simple(bytes.to_vec()) } else { Self::Unknown }
    }
}

/// Which kind of signature the bytes are, whatever it says; `None` for a form that is not known.
pub fn kind_of(bytes: &[u8]) -> Option<Kind> {
    match bytes.first() {
        Some(byte) if byte & 0x80 != 0 => Some(Kind::Simple),
        _ => Attachment::parse(bytes).map(|_| Kind::Sigstore),
    }
}

impl Payload {
    /// Reads what was signed.
    pub fn parse(bytes: &[u8], kind: Kind) -> Result<Self, Error> {
        let Document { critical, .. } = serde_json::from_slice(bytes)?;
        let want = if kind == Kind::Simple { SIMPLE } else { COSIGN };
        if critical.r#type != want {
            return Err(Error::Kind(critical.r#type));
        }
        Ok(Self { manifest: critical.image.manifest, reference: critical.identity.reference })
    }

    /// The text of a new simple signature, made at `timestamp` (seconds since 1970).
    pub fn to_bytes(&self, timestamp: i64) -> Vec<u8> {
        let critical = Critical {
            identity: SignedIdentity { reference: self.reference.clone() },
            image: SignedImage { manifest: self.manifest.clone() },
            r#type: SIMPLE.to_owned(),
        };
        let optional = Optional { creator: format!("coracle {}", env!("CARGO_PKG_VERSION")), timestamp };
        // Only map keys that are no strings could fail, and there are none.
        json::to_vec(&New { critical, optional }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_read_again() {
        let payload = Payload { manifest: Digest::of(b"m"), reference: "q.io/a/b:1".to_owned() };
        let bytes = payload.to_bytes(7);
        assert_eq!(Payload::parse(&bytes, Kind::Simple).unwrap(), payload);
        assert!(Payload::parse(&bytes, Kind::Sigstore).is_err());
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"critical\":{", "\"critical\":{\"x\":1,"),
            ("{\"critical\"", "{\"x\":1,\"critical\""),
            ("\"critical\":{", "\"critical\":{\"type\":\"atomic container signature\","),
            ("sha256:", "sha256:../"),
            ("\"docker-reference\"", "\"Docker-Reference\""),
        ] {
            assert!(Payload::parse(text.replacen(from, to, 1).as_bytes(), Kind::Simple).is_err(), "{to}");
        }
    }

    #[test]
    fn the_first_bytes_tell_the_form() {
        assert_eq!(Signature::parse(b"\xa3x"), Signature::Simple(b"\xa3x".to_vec()));
        let json =
            format!(r#"{{"mimeType":"{SIGSTORE_TYPE}","payload":"cA==","annotations":{{"{SIGSTORE_ANNOTATION}":"cw=="}}}}"#);
        let bytes = [SIGSTORE_START, json.as_bytes()].concat();
        assert_eq!(Signature::parse(&bytes), Signature::Sigstore { payload: b"p".to_vec(), signature: b"s".to_vec() });
        for other in [b"\0other\n{}".to_vec(), b"-----BEGIN PGP".to_vec(), [SIGSTORE_START, b"{}"].concat(), b"\0".to_vec()] {
            assert_eq!(Signature::parse(&other), Signature::Unknown);
        }
    }
}
