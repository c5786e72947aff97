//! Encrypted layers, as ocicrypt and the tools with it write them: each layer under a key of its own, and that key in the layer's
//! annotations for each recipient.
//!
//! ```text
//! …tar+gzip ── cipher ─▶ …tar+gzip+encrypted
//!                         annotations  org.opencontainers.image.enc.keys.jwe  the key, for the holders of secret keys (`jwe`)
//!                                      org.opencontainers.image.enc.keys.pgp  the same for those of OpenPGP keys (`openpgp`)
//!                                      org.opencontainers.image.enc.pubopts   cipher and HMAC
//! ```
//!
//! Invariants: a key is in no error, no log line and no `Debug` output. Who has none of the recipients' keys learns of a layer its length.
//! A layer counts as decrypted only when its HMAC was compared.

mod cipher;
mod jwe;
mod key;
mod openpgp;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use containers_storage::Digest;
use serde::{Deserialize, Serialize};

use self::cipher::{Decrypting, Encrypting, LayerKey};
use self::key::{NoKey, PublicKey, Recipient, SecretKey};
use self::openpgp::KeyRing;
use crate::conf::auth::Secret;
use crate::image::manifest::Descriptor;

/// The end of the media type of an encrypted layer.
const SUFFIX: &str = "+encrypted";
/// How all annotations about encryption begin.
const PREFIX: &str = "org.opencontainers.image.enc.";
const KEYS_JWE: &str = "org.opencontainers.image.enc.keys.jwe";
const KEYS_PGP: &str = "org.opencontainers.image.enc.keys.pgp";
const PUBLIC_OPTIONS: &str = "org.opencontainers.image.enc.pubopts";
const CIPHER: &str = "AES_256_CTR_HMAC_SHA256";
/// The longest key file.
const MAX_KEY_BYTES: u64 = 1 << 20;

/// Why a key of the command line cannot be used. Scripts look for the words.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A recipient that cannot be used.
    #[error("unable to obtain encryption config: invalid encryption keys: {problem}: {recipient:?}")]
    Recipient {
        /// What was typed.
        recipient: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A key that cannot be used.
    #[error("unable to obtain decryption config: invalid decryption keys: {problem}: {file:?}")]
    Secret {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file that cannot be read.
    #[error("unable to obtain {what} config: invalid {what} keys: Unable to read file: open {file:?}")]
    Read {
        /// `encryption` or `decryption`.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// For whom layers are encrypted, and which (`--encryption-key`, `--encrypt-layer`).
#[derive(Clone)]
pub struct Encryption {
    jwe: Vec<Recipient>,
    pgp: Vec<String>,
    layers: Vec<i64>,
}

/// Keys that layers may be decrypted with (`--decryption-key`).
#[derive(Clone)]
pub struct Decryption {
    keys: Vec<SecretKey>,
    rings: Vec<KeyRing>,
}

/// What becomes of the encryption of layers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sealing<'a> {
    /// Layers are encrypted.
    pub encrypt: Option<&'a Encryption>,
    /// Layers that are encrypted are decrypted.
    pub decrypt: Option<&'a Decryption>,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").field("layers", &self.layers).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decryption").finish_non_exhaustive()
    }
}

impl Encryption {
    /// Reads the keys of recipients, `PROTOCOL:KEY`; `None` if there are none. `layers` are places in the image, from 0 or, negative,
    /// from behind; none are all.
    ///
    /// # Errors
    /// A protocol that is not known or cannot be had here; a file that is no public key.
    pub fn read(recipients: &[String], layers: &[i64]) -> Result<Option<Self>, KeyError> {
        if recipients.is_empty() {
            return Ok(None);
        }
        let mut encryption = Self { jwe: Vec::new(), pgp: Vec::new(), layers: layers.to_vec() };
        for recipient in recipients {
            let wrong = |problem| Err(KeyError::Recipient { recipient: recipient.clone(), problem });
            match recipient.split_once(':') {
                Some(("jwe", file)) => match PublicKey::read(&read(file, "encryption")?) {
                    Some(key) => encryption.jwe.push(key),
                    None => return wrong("File provided is not a public key"),
                },
                Some(("pgp", name)) if !name.is_empty() => encryption.pgp.push(name.to_owned()),
                Some(("pkcs7", _)) => {
                    return wrong("pkcs7 is not supported here: use a key by jwe:, which the same tools read");
                }
                Some(("pkcs11", _)) => return wrong("pkcs11 is not supported here: no device is asked for keys"),
                Some(("provider", _)) => return wrong("provider is not supported here: no other program is asked for keys"),
                Some(_) => return wrong("Provided protocol not recognized"),
                None => return wrong("Invalid recipient format"),
            }
        }
        Ok(Some(encryption))
    }

    /// Whether a layer of an image with `count` layers is meant.
    pub(super) fn applies_to(&self, index: usize, count: usize) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|layer| place(*layer, count) == Some(index))
    }

    /// The first layer that was named, and that an image with `count` layers does not have.
    pub(super) fn missing_layer(&self, count: usize) -> Option<i64> {
        self.layers.iter().copied().find(|layer| place(*layer, count).is_none())
    }

    /// The annotations of a layer that was encrypted under `key`, whose HMAC and whose plain digest are known now.
    pub(super) fn wrap(
        &self,
        key: &LayerSecret,
        (hmac, digest): (Vec<u8>, Digest),
    ) -> Result<BTreeMap<String, String>, String> {
        let secret = Private {
            key: STANDARD.encode(key.0.key),
            digest: digest.to_string(),
            options: Nonce { nonce: STANDARD.encode(key.0.nonce) },
        };
        let secret = serde_json::to_vec(&secret).map_err(|error| error.to_string())?;
        let public = Public { cipher: CIPHER.to_owned(), hmac: STANDARD.encode(hmac), options: BTreeMap::new() };
        let public = serde_json::to_vec(&public).map_err(|error| error.to_string())?;
        let mut told = BTreeMap::from([(PUBLIC_OPTIONS.to_owned(), STANDARD.encode(public))]);
        if !self.jwe.is_empty() {
            let sealed = jwe::seal(&secret, &self.jwe).ok_or("a key asks for an algorithm that is not known here")?;
            told.insert(KEYS_JWE.to_owned(), STANDARD.encode(sealed));
        }
        if !self.pgp.is_empty() {
            told.insert(KEYS_PGP.to_owned(), STANDARD.encode(openpgp::seal(&secret, &self.pgp)?));
        }
        Ok(told)
    }
}

/// The place that `layer` means.
fn place(layer: i64, count: usize) -> Option<usize> {
    let count = i64::try_from(count).ok()?;
    let place = if layer < 0 { count.checked_add(layer)? } else { layer };
    usize::try_from(place).ok().filter(|_| place < count)
}

impl Decryption {
    /// Reads secret keys, each `FILE[:PASSPHRASE]`; `None` if there are none.
    ///
    /// # Errors
    /// A file that is no secret key, or one under a passphrase.
    pub fn read(keys: &[String]) -> Result<Option<Self>, KeyError> {
        if keys.is_empty() {
            return Ok(None);
        }
        let mut decryption = Self { keys: Vec::new(), rings: Vec::new() };
        for key in keys {
            let (file, passphrase) = key.split_once(':').map_or((key.as_str(), None), |(file, rest)| (file, Some(rest)));
            let bytes = read(file, "decryption")?;
            let wrong = |problem| KeyError::Secret { file: file.into(), problem };
            match SecretKey::read(&bytes) {
                Ok(key) => decryption.keys.push(key),
                Err(NoKey::Passphrase) => {
                    let problem = "the private key is under a passphrase, which is supported for OpenPGP keys only: take it off with \"openssl pkey\"";
                    return Err(wrong(problem));
                }
                Err(NoKey::Unknown) if openpgp::is_secret_ring(&bytes) => {
                    let passphrase = passphrase.map(password).transpose()?;
                    decryption.rings.push(KeyRing { bytes, passphrase });
                }
                Err(NoKey::Unknown) => return Err(wrong("unidentified private key in file")),
            }
        }
        Ok(Some(decryption))
    }

    /// The key of an encrypted layer.
    pub(super) fn open(&self, layer: &Descriptor) -> Result<Opened, String> {
        let told = |name: &str| layer.annotations.get(name).map(String::as_str);
        let mut problems = Vec::new();
        for sealed in messages(told(KEYS_JWE)) {
            match jwe::open(&sealed, &self.keys) {
                Ok(secret) => return opened(&secret, told(PUBLIC_OPTIONS)),
                Err(jwe::NotOpened::Unsupported(problem)) => problems.push(problem.to_owned()),
                Err(jwe::NotOpened::NoKeyFits) => {}
            }
        }
        for sealed in messages(told(KEYS_PGP)) {
            for ring in &self.rings {
                match openpgp::open(&sealed, ring) {
                    Ok(secret) => return opened(&secret, told(PUBLIC_OPTIONS)),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        let known = layer.annotations.keys().any(|name| [KEYS_JWE, KEYS_PGP].contains(&name.as_str()));
        if !known {
            return Err("its key is for recipients of another kind than jwe and pgp, which is not supported here".to_owned());
        }
        let why = if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) };
        Err(format!("no suitable key unwrapper found or none of the private keys could be used for decryption{why}"))
    }
}

/// What is in a comma-separated list of messages in base64.
fn messages(list: Option<&str>) -> impl Iterator<Item = Vec<u8>> {
    list.into_iter().flat_map(|list| list.split(',')).filter_map(|text| STANDARD.decode(text).ok())
}

/// The key of one layer.
pub(super) struct LayerSecret(LayerKey);

impl LayerSecret {
    /// A new one.
    pub(super) fn random() -> io::Result<Self> {
        LayerKey::random().map(Self)
    }

    /// The input, encrypted.
    pub(super) fn encrypting<R: Read>(&self, input: R) -> Encrypting<R> {
        Encrypting::new(input, &self.0)
    }
}

/// What decrypts one layer.
pub(super) struct Opened {
    key: LayerKey,
    hmac: Vec<u8>,
}

impl Opened {
    /// The input, decrypted.
    pub(super) fn decrypting<R: Read>(&self, input: R) -> Decrypting<R> {
        Decrypting::new(input, &self.key, self.hmac.clone())
    }
}

/// What only recipients know of a layer (ocicrypt's spec of private options).
#[derive(Serialize, Deserialize)]
struct Private {
    #[serde(rename = "symkey")]
    key: String,
    /// Of the layer before it was encrypted, or before it was compressed: tools differ.
    digest: String,
    #[serde(rename = "cipheroptions")]
    options: Nonce,
}

#[derive(Serialize, Deserialize)]
struct Nonce {
    nonce: String,
}

/// What everybody knows of it.
#[derive(Serialize, Deserialize)]
struct Public {
    cipher: String,
    hmac: String,
    #[serde(rename = "cipheroptions", default)]
    options: BTreeMap<String, String>,
}

fn opened(secret: &[u8], public: Option<&str>) -> Result<Opened, String> {
    let public = public.and_then(|text| STANDARD.decode(text).ok());
    let public: Option<Public> = public.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let public = public.ok_or("its annotations do not say how it was encrypted")?;
    if public.cipher != CIPHER {
        return Err(format!("unsupported cipher type: {:?}", public.cipher));
    }
    let key = || {
        let secret: Private = serde_json::from_slice(secret).ok()?;
        let bytes = |text: &str| STANDARD.decode(text).ok();
        Some(LayerKey { key: bytes(&secret.key)?.try_into().ok()?, nonce: bytes(&secret.options.nonce)?.try_into().ok()? })
    };
    let key = key().ok_or("what its annotations keep for the owner of the key is damaged")?;
    let hmac = STANDARD.decode(&public.hmac).map_err(|_| "its HMAC is damaged")?;
    Ok(Opened { key, hmac })
}

/// Whether a layer of this media type is encrypted.
pub(super) fn is_encrypted(media_type: &str) -> bool {
    media_type.ends_with(SUFFIX)
}

/// The media type of an encrypted layer.
pub(super) fn encrypted_type(media_type: &str) -> String {
    format!("{media_type}{SUFFIX}")
}

/// The annotations of a layer without those about its encryption.
pub(super) fn without_keys(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let others = annotations.iter().filter(|(name, _)| !name.starts_with(PREFIX));
    others.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The bytes of a file of the command line.
fn read(file: &str, what: &'static str) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::Read { what, file: file.into(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(file).and_then(|file| file.take(MAX_KEY_BYTES).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

/// The passphrase that `file=FILE`, `pass=TEXT`, `fd=NUMBER` or `TEXT` means.
fn password(text: &str) -> Result<Secret, KeyError> {
    let bytes = if let Some(file) = text.strip_prefix("file=") {
        read(file, "decryption")?
    } else if let Some(number) = text.strip_prefix("fd=") {
        let failed = |source| KeyError::Read { what: "decryption", file: format!("/proc/self/fd/{number}").into(), source };
        openpgp::passphrase_from(number).map_err(failed)?
    } else {
        text.strip_prefix("pass=").unwrap_or(text).as_bytes().to_vec()
    };
    Ok(Secret::new(String::from_utf8_lossy(&bytes).trim_end_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_from_both_ends() {
        let encryption = |layers: &[i64]| Encryption { jwe: Vec::new(), pgp: Vec::new(), layers: layers.to_vec() };
        let chosen = |layers: &[i64]| (0..3).filter(|index| encryption(layers).applies_to(*index, 3)).collect::<Vec<_>>();
        assert_eq!(chosen(&[]), [0, 1, 2]);
        assert_eq!(chosen(&[0, -1]), [0, 2]);
        assert_eq!(chosen(&[-3]), [0]);
        assert_eq!(encryption(&[0, 3]).missing_layer(3), Some(3));
        assert_eq!(encryption(&[-4]).missing_layer(3), Some(-4));
        assert_eq!(encryption(&[i64::MIN]).missing_layer(3), Some(i64::MIN));
        assert_eq!(encryption(&[2, -3]).missing_layer(3), None);
    }

    #[test]
    fn recipients_that_cannot_be_had_are_refused_by_name() {
        let refused = |text: &str| Encryption::read(&[text.to_owned()], &[]).unwrap_err().to_string();
        for (text, words) in [
            ("key.pem", "Invalid recipient format"),
            ("foo:key.pem", "Provided protocol not recognized"),
            ("pkcs7:cert.pem", "pkcs7 is not supported"),
            ("pkcs11:x", "pkcs11 is not supported"),
            ("provider:x", "provider is not supported"),
            ("jwe:/nonexistent/key", "Unable to read file: open \"/nonexistent/key\""),
            ("jwe:/dev/null", "File provided is not a public key"),
        ] {
            let said = refused(text);
            assert!(said.starts_with("unable to obtain encryption config: ") && said.contains(words), "{said}");
        }
        assert!(Encryption::read(&[], &[1]).unwrap().is_none());
        assert!(Decryption::read(&["/dev/null".to_owned()]).unwrap_err().to_string().contains("unidentified private key"));
    }

    #[test]
    fn only_what_is_about_encryption_is_taken_out() {
        let all = BTreeMap::from([("a".to_owned(), "b".to_owned()), (KEYS_JWE.to_owned(), "c".to_owned())]);
        assert_eq!(without_keys(&all).into_keys().collect::<Vec<_>>(), ["a"]);
        assert!(is_encrypted(&encrypted_type("x")) && !is_encrypted("x"));
    }
}
