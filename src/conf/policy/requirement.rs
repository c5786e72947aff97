//! The requirements of policy.json: what an image must fulfil to be read, containers-policy.json(5).
//!
//! Must not guess: a kind or member that is not known makes the requirement one that nothing fulfils.

use std::path::PathBuf;

use base64::Engine as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::UniqueMap;

/// One requirement. All of a list must be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// `insecureAcceptAnything`
    Accept,
    /// `reject`
    Reject,
    /// `signedBy`: a simple signature by an OpenPGP key.
    SignedBy(Signed),
    /// `sigstoreSigned`: a signature by an ECDSA key, as cosign makes them.
    SigstoreSigned(Signed),
    /// What cannot be checked, and why.
    Unsupported(String),
}

/// By whom, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Public keys, any of which will do.
    pub keys: Vec<Key>,
    /// What the signature must say that the image is.
    pub identity: Identity,
}

/// A public key, or a file with several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `keyPath`, `keyPaths`
    File(PathBuf),
    /// `keyData`, `keyDatas`: the bytes of such a file.
    Data(Vec<u8>),
}

/// `signedIdentity`: what the name in a signature must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Identity {
    /// That of the image.
    Exact,
    /// That of the image; for an image that is named by a digest one of the same repository.
    #[default]
    RepoDigestOrExact,
    /// One of the image's repository.
    Repository,
    /// This one.
    ExactReference(String),
    /// One of this repository.
    ExactRepository(String),
    /// As `RepoDigestOrExact`, after one prefix of the image's name was replaced by another.
    Remap {
        /// The beginning of names of images.
        prefix: String,
        /// The beginning of names in signatures.
        signed_prefix: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawSigned {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    key_type: Option<String>,
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    signed_identity: Option<RawIdentity>,
    fulcio: Option<IgnoredAny>,
    pki: Option<IgnoredAny>,
    rekor_public_key_path: Option<IgnoredAny>,
    rekor_public_key_paths: Option<IgnoredAny>,
    rekor_public_key_data: Option<IgnoredAny>,
    rekor_public_key_datas: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum RawIdentity {
    MatchExact,
    MatchRepoDigestOrExact,
    MatchRepository,
    ExactReference { docker_reference: String },
    ExactRepository { docker_repository: String },
    RemapIdentity { prefix: String, signed_prefix: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnlyKind {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
}

impl Requirement {
    /// Reads one requirement. What is wrong with it is said in words.
    pub(super) fn parse(raw: &RawValue) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| error.to_string();
        let members: UniqueMap<Box<RawValue>> = serde_json::from_str(raw.get()).map_err(wrong)?;
        let kind = members.0.get("type").ok_or("a requirement has no \"type\"")?;
        let kind: String = serde_json::from_str(kind.get()).map_err(wrong)?;
        let plain = || serde_json::from_str::<OnlyKind>(raw.get()).map_err(wrong);
        match kind.as_str() {
            "insecureAcceptAnything" => plain().map(|_| Self::Accept),
            "reject" => plain().map(|_| Self::Reject),
            "signedBy" => {
                let raw: RawSigned = serde_json::from_str(raw.get()).map_err(wrong)?;
                if raw.key_datas.is_some() || raw.beyond_keys().is_some() {
                    return Err("a signedBy requirement has a member of sigstoreSigned".to_owned());
                }
                match raw.key_type.as_deref() {
                    Some("GPGKeys") => Ok(Self::SignedBy(raw.signed()?)),
                    Some(other) => Ok(Self::Unsupported(format!("its keyType {other:?} is not GPGKeys"))),
                    None => Err("a signedBy requirement has no \"keyType\"".to_owned()),
                }
            }
            "sigstoreSigned" => {
                let raw: RawSigned = serde_json::from_str(raw.get()).map_err(wrong)?;
                if raw.key_type.is_some() {
                    return Err("a sigstoreSigned requirement has a \"keyType\"".to_owned());
                }
                match raw.beyond_keys() {
                    Some(reason) => Ok(Self::Unsupported(reason.to_owned())),
                    None => Ok(Self::SigstoreSigned(raw.signed()?)),
                }
            }
            "signedBaseLayer" => Ok(Self::Unsupported("signedBaseLayer is not checked by anybody".to_owned())),
            // What it wants cannot even be said.
            other => Err(format!("Unknown policy requirement type {other:?}")),
        }
    }
}

impl RawSigned {
    /// What cannot be checked.
    fn beyond_keys(&self) -> Option<&'static str> {
        let rekor = [
            &self.rekor_public_key_path,
            &self.rekor_public_key_paths,
            &self.rekor_public_key_data,
            &self.rekor_public_key_datas,
        ];
        if rekor.iter().any(|key| key.is_some()) {
            return Some(
                "entries of a transparency log (rekorPublicKey…) are not checked here; a requirement with keyPath alone is",
            );
        }
        if self.fulcio.is_some() || self.pki.is_some() {
            return Some("certificates (fulcio, pki) are not checked here; a requirement with keyPath alone is");
        }
        None
    }

    fn signed(self) -> Result<Signed, String> {
        let decode = |text: &String| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            bytes.map(Key::Data).map_err(|error| format!("a key is not base64: {error}"))
        };
        let ways = [
            self.key_path.map(|path| Ok(vec![Key::File(path)])),
            self.key_paths.map(|paths| Ok(paths.into_iter().map(Key::File).collect())),
            self.key_data.as_ref().map(|text| decode(text).map(|key| vec![key])),
            self.key_datas.as_ref().map(|texts| texts.iter().map(decode).collect()),
        ];
        let mut ways = ways.into_iter().flatten();
        let keys: Vec<Key> = match (ways.next(), ways.next()) {
            (Some(keys), None) => keys?,
            _ => return Err("exactly one of keyPath, keyPaths, keyData and keyDatas must be given".to_owned()),
        };
        if keys.is_empty() {
            return Err("a list of keys is empty".to_owned());
        }
        let identity = match self.signed_identity {
            None | Some(RawIdentity::MatchRepoDigestOrExact) => Identity::RepoDigestOrExact,
            Some(RawIdentity::MatchExact) => Identity::Exact,
            Some(RawIdentity::MatchRepository) => Identity::Repository,
            Some(RawIdentity::ExactReference { docker_reference }) => Identity::ExactReference(docker_reference),
            Some(RawIdentity::ExactRepository { docker_repository }) => Identity::ExactRepository(docker_repository),
            Some(RawIdentity::RemapIdentity { prefix, signed_prefix }) => Identity::Remap { prefix, signed_prefix },
        };
        Ok(Signed { keys, identity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Requirement, String> {
        Requirement::parse(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn keys_and_identities_are_read() {
        let signed = |key, identity| Requirement::SignedBy(Signed { keys: vec![key], identity });
        let file = || Key::File("/k".into());
        let cases = [
            (r#"{"type":"reject"}"#.to_owned(), Requirement::Reject),
            (r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}"#.to_owned(), signed(file(), Identity::default())),
            (
                r#"{"type":"signedBy","keyType":"GPGKeys","keyData":"YQ==","signedIdentity":{"type":"matchExact"}}"#.to_owned(),
                signed(Key::Data(b"a".to_vec()), Identity::Exact),
            ),
            (
                r#"{"type":"signedBy","keyType":"GPGKeys","keyPaths":["/k"],"signedIdentity":{"type":"remapIdentity","prefix":"a","signedPrefix":"b"}}"#.to_owned(),
                signed(file(), Identity::Remap { prefix: "a".into(), signed_prefix: "b".into() }),
            ),
            (
                r#"{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactRepository","dockerRepository":"x/y"}}"#.to_owned(),
                Requirement::SigstoreSigned(Signed { keys: vec![file()], identity: Identity::ExactRepository("x/y".into()) }),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(parsed(&text), Ok(want), "{text}");
        }
    }

    /// All ways to give keys, and all identities, of the newest containers-policy.json(5).
    #[test]
    fn every_way_to_say_it_is_known() {
        for keys in [r#""keyPath":"/k""#, r#""keyPaths":["/k","/l"]"#, r#""keyData":"YQ==""#, r#""keyDatas":["YQ==","Yg=="]"#] {
            for identity in [
                r#"{"type":"matchExact"}"#,
                r#"{"type":"matchRepoDigestOrExact"}"#,
                r#"{"type":"matchRepository"}"#,
                r#"{"type":"exactReference","dockerReference":"r.io/a:1"}"#,
                r#"{"type":"exactRepository","dockerRepository":"r.io/a"}"#,
                r#"{"type":"remapIdentity","prefix":"r.io","signedPrefix":"q.io"}"#,
            ] {
                let text = format!(r#"{{"type":"sigstoreSigned",{keys},"signedIdentity":{identity}}}"#);
                assert!(matches!(parsed(&text), Ok(Requirement::SigstoreSigned(_))), "{text}");
                let text = format!(r#"{{"type":"signedBy","keyType":"GPGKeys",{keys},"signedIdentity":{identity}}}"#);
                assert_eq!(matches!(parsed(&text), Ok(Requirement::SignedBy(_))), !keys.contains("keyDatas"), "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_fulfilled_by_nothing() {
        for text in [
            r#"{"type":"signedBaseLayer","baseLayerIdentity":{}}"#,
            r#"{"type":"signedBy","keyType":"X509","keyPath":"/k"}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r"}"#,
            r#"{"type":"sigstoreSigned","fulcio":{}}"#,
        ] {
            assert!(matches!(parsed(text), Ok(Requirement::Unsupported(_))), "{text}");
        }
        for text in [
            "{}",
            r#"{"type":"somethingNew","x":1}"#,
            r#"{"type":"reject","x":1}"#,
            r#"{"type":"signedBy","keyPath":"/k"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPaths":[]}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keyData":"YQ=="}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keyPath":"/l"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keypath":"/l"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyData":"!"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyDatas":["YQ=="]}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","fulcio":{}}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","rekorPublicKeyPath":"/r"}"#,
            r#"{"type":"sigstoreSigned","keyType":"GPGKeys","keyPath":"/k"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","signedIdentity":{"type":"matchSome"}}"#,
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
