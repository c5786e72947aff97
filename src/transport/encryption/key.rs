//! Keys of recipients in the forms that people have: PEM, DER, and JSON Web Keys (RFC 7517).
//!
//! Must not: show a secret key; guess which curve is meant.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::{BoxedUint, RsaPrivateKey, RsaPublicKey};
use serde::Deserialize;

/// The public key of a recipient.
#[derive(Clone)]
pub(super) enum PublicKey {
    Rsa(Box<RsaPublicKey>),
    P256(p256::PublicKey),
    P384(p384::PublicKey),
    P521(p521::PublicKey),
}

/// A public key, and the algorithm that its JSON Web Key asks for.
#[derive(Clone)]
pub(super) struct Recipient {
    pub(super) key: PublicKey,
    /// Empty for the usual one.
    pub(super) algorithm: String,
}

/// A secret key.
#[derive(Clone)]
pub(super) enum SecretKey {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
}

/// A file that is not the key it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// It is something else.
    Unknown,
    /// It is a key under a passphrase.
    Passphrase,
}

/// The members of a JSON Web Key that are used here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Jwk {
    pub(super) kty: String,
    pub(super) crv: String,
    pub(super) alg: String,
    pub(super) x: String,
    pub(super) y: String,
    n: String,
    e: String,
    d: String,
    p: String,
    q: String,
}

impl PublicKey {
    /// The public key in a file.
    pub(super) fn read(bytes: &[u8]) -> Option<Recipient> {
        let usual = |key| Some(Recipient { key, algorithm: String::new() });
        if let Some(jwk) = Jwk::read(bytes) {
            return if jwk.d.is_empty() { Some(Recipient { key: jwk.public()?, algorithm: jwk.alg }) } else { None };
        }
        match pem(bytes) {
            Some(block) if block.label == "PUBLIC KEY" || block.label == "RSA PUBLIC KEY" => usual(Self::of_der(&block.der)?),
            Some(_) => None,
            None => usual(Self::of_der(bytes)?),
        }
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        let rsa = RsaPublicKey::from_public_key_der(der).ok().or_else(|| RsaPublicKey::from_pkcs1_der(der).ok());
        rsa.map(|key| Self::Rsa(Box::new(key)))
            .or_else(|| p256::PublicKey::from_public_key_der(der).ok().map(Self::P256))
            .or_else(|| p384::PublicKey::from_public_key_der(der).ok().map(Self::P384))
            .or_else(|| p521::PublicKey::from_public_key_der(der).ok().map(Self::P521))
    }
}

impl SecretKey {
    /// The secret key in a file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NoKey> {
        if let Some(jwk) = Jwk::read(bytes) {
            return jwk.secret().ok_or(NoKey::Unknown);
        }
        let key = match pem(bytes) {
            Some(block) if block.is_encrypted => return Err(NoKey::Passphrase),
            Some(block) if block.label.ends_with("PRIVATE KEY") => Self::of_der(&block.der),
            Some(_) => None,
            None => Self::of_der(bytes),
        };
        key.ok_or(NoKey::Unknown)
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        let rsa = RsaPrivateKey::from_pkcs8_der(der).ok().or_else(|| RsaPrivateKey::from_pkcs1_der(der).ok());
        rsa.map(|key| Self::Rsa(Box::new(key)))
            .or_else(|| {
                p256::SecretKey::from_pkcs8_der(der).or_else(|_| p256::SecretKey::from_sec1_der(der)).ok().map(Self::P256)
            })
            .or_else(|| {
                p384::SecretKey::from_pkcs8_der(der).or_else(|_| p384::SecretKey::from_sec1_der(der)).ok().map(Self::P384)
            })
            .or_else(|| {
                p521::SecretKey::from_pkcs8_der(der).or_else(|_| p521::SecretKey::from_sec1_der(der)).ok().map(Self::P521)
            })
    }
}

impl Jwk {
    fn read(bytes: &[u8]) -> Option<Self> {
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        if is_object { serde_json::from_slice(bytes).ok() } else { None }
    }

    /// The point of an elliptic curve, uncompressed (SEC 1, section 2.3.3).
    fn point(&self) -> Option<Vec<u8>> {
        let (x, y) = (decoded(&self.x)?, decoded(&self.y)?);
        Some([&[4], x.as_slice(), y.as_slice()].concat())
    }

    pub(super) fn public(&self) -> Option<PublicKey> {
        match (self.kty.as_str(), self.crv.as_str()) {
            ("RSA", _) => Some(PublicKey::Rsa(Box::new(RsaPublicKey::new(number(&self.n)?, number(&self.e)?).ok()?))),
            ("EC", "P-256") => p256::PublicKey::from_sec1_bytes(&self.point()?).ok().map(PublicKey::P256),
            ("EC", "P-384") => p384::PublicKey::from_sec1_bytes(&self.point()?).ok().map(PublicKey::P384),
            ("EC", "P-521") => p521::PublicKey::from_sec1_bytes(&self.point()?).ok().map(PublicKey::P521),
            _ => None,
        }
    }

    fn secret(&self) -> Option<SecretKey> {
        match (self.kty.as_str(), self.crv.as_str()) {
            ("RSA", _) => {
                let primes = vec![number(&self.p)?, number(&self.q)?];
                let key = RsaPrivateKey::from_components(number(&self.n)?, number(&self.e)?, number(&self.d)?, primes);
                Some(SecretKey::Rsa(Box::new(key.ok()?)))
            }
            ("EC", "P-256") => p256::SecretKey::from_slice(&decoded(&self.d)?).ok().map(SecretKey::P256),
            ("EC", "P-384") => p384::SecretKey::from_slice(&decoded(&self.d)?).ok().map(SecretKey::P384),
            ("EC", "P-521") => p521::SecretKey::from_slice(&decoded(&self.d)?).ok().map(SecretKey::P521),
            _ => None,
        }
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn number(text: &str) -> Option<BoxedUint> {
    let bytes = decoded(text).filter(|bytes| !bytes.is_empty())?;
    Some(BoxedUint::from_be_slice_vartime(&bytes))
}

/// One block of a PEM file (RFC 7468).
struct Block {
    label: String,
    der: Vec<u8>,
    is_encrypted: bool,
}

/// The first block of a PEM file that holds a key; OpenSSL writes the curve's parameters before.
fn pem(bytes: &[u8]) -> Option<Block> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut first = None;
    for part in text.split("-----BEGIN ").skip(1) {
        let (label, rest) = part.split_once("-----")?;
        let body = rest.split_once(&format!("-----END {label}-----"))?.0;
        let has_headers = body.lines().any(|line| line.contains(": "));
        let is_encrypted = label.starts_with("ENCRYPTED") || body.contains("ENCRYPTED");
        let data: String = body.lines().filter(|line| !line.contains(": ")).flat_map(str::split_whitespace).collect();
        let der = if is_encrypted || has_headers { Vec::new() } else { STANDARD.decode(data).ok()? };
        let block = Block { label: label.to_owned(), der, is_encrypted };
        if block.label.ends_with(" KEY") {
            return Some(block);
        }
        first.get_or_insert(block);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with openssl for this test.
    const SEC1: &str = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

    #[test]
    fn what_is_no_key_is_said_to_be_none() {
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let traditional = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for (text, want) in [
            (encrypted, NoKey::Passphrase),
            (traditional, NoKey::Passphrase),
            (SEC1, NoKey::Unknown),
            ("", NoKey::Unknown),
            ("{}", NoKey::Unknown),
            ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", NoKey::Unknown),
        ] {
            assert_eq!(SecretKey::read(text.as_bytes()).err(), Some(want), "{text}");
            assert!(PublicKey::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn a_web_key_is_public_or_secret() {
        // RFC 7517, appendix A.2.
        let secret = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
        assert!(SecretKey::read(secret.as_bytes()).is_ok());
        assert!(PublicKey::read(secret.as_bytes()).is_none());
        let public = secret.replace(r#","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE""#, r#","alg":"ECDH-ES+A128KW""#);
        assert!(PublicKey::read(public.as_bytes()).is_some_and(|recipient| recipient.algorithm == "ECDH-ES+A128KW"));
        assert_eq!(SecretKey::read(public.as_bytes()).err(), Some(NoKey::Unknown));
    }
}
