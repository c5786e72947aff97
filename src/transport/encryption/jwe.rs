//! JSON Web Encryption (RFC 7516) in its JSON form, as ocicrypt keeps the key of a layer: the text under a random key (A256GCM), and that
//! key for each recipient.
//!
//! Key encryption (RFC 7518): RSA-OAEP with SHA-1 or SHA-256, and ECDH-ES on P-256, P-384 and P-521 with AES key wrap.
//!
//! Must not: show a key; try an algorithm with a key that is not for it.

use aes_kw::{KeyInit, KwAes128, KwAes192, KwAes256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use getrandom::SysRng;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rsa::Oaep;
use rsa::traits::PaddingScheme;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::key::{Jwk, PublicKey, Recipient, SecretKey};

const TAG: usize = 16;

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// It is no JWE, or of a kind that is not known here.
    Unsupported(&'static str),
    /// It is for none of the keys.
    NoKeyFits,
}

/// `text` for the recipients; any of them can read it. `None` if an algorithm that a key asks for is not known, or there are no random
/// numbers.
pub(super) fn seal(text: &[u8], recipients: &[Recipient]) -> Option<String> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).ok()?;
    let mut sealed = recipients.iter().map(|recipient| seal_key(&key, recipient)).collect::<Option<Vec<_>>>()?;
    let mut protected = Map::new();
    // What a single recipient needs to know is protected as well.
    if let [(header, _)] = sealed.as_mut_slice() {
        protected.append(header);
    }
    protected.insert("enc".to_owned(), "A256GCM".into());
    let protected = encoded(Value::Object(protected).to_string().as_bytes());

    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).ok()?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?);
    let mut content = text.to_vec();
    let aad = Aad::from(protected.as_bytes());
    let tag = cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut content).ok()?;

    let mut document = json!({
        "protected": protected, "iv": encoded(&nonce), "ciphertext": encoded(&content), "tag": encoded(tag.as_ref()),
    });
    match sealed.as_slice() {
        [(_, key)] => document["encrypted_key"] = encoded(key).into(),
        several => {
            let one = |(header, key): &(Map<String, Value>, Vec<u8>)| json!({"header": header, "encrypted_key": encoded(key)});
            document["recipients"] = several.iter().map(one).collect();
        }
    }
    Some(document.to_string())
}

/// The header for a recipient, and the key under the recipient's.
fn seal_key(key: &[u8; 32], recipient: &Recipient) -> Option<(Map<String, Value>, Vec<u8>)> {
    let mut header = Map::new();
    let algorithm = match (&recipient.key, recipient.algorithm.as_str()) {
        (PublicKey::Rsa(_), "") => "RSA-OAEP",
        (_, "") => "ECDH-ES+A256KW",
        (_, named) => named,
    };
    header.insert("alg".to_owned(), algorithm.into());
    if let PublicKey::Rsa(public) = &recipient.key {
        let sealed = match algorithm {
            "RSA-OAEP" => Oaep::<sha1::Sha1>::new().encrypt(&mut SysRng, public, key),
            "RSA-OAEP-256" => Oaep::<Sha256>::new().encrypt(&mut SysRng, public, key),
            _ => return None,
        };
        return Some((header, sealed.ok()?));
    }
    let secret = ephemeral(&recipient.key)?;
    header.insert("epk".to_owned(), web_key(&secret)?);
    let wrapping = derive(&agreed(&secret, &recipient.key)?, algorithm, &[], &[])?;
    let mut wrapped = [0; 40];
    let done = match wrapping.len() {
        16 => KwAes128::new_from_slice(&wrapping).ok()?.wrap_key(key, &mut wrapped).is_ok(),
        24 => KwAes192::new_from_slice(&wrapping).ok()?.wrap_key(key, &mut wrapped).is_ok(),
        _ => KwAes256::new_from_slice(&wrapping).ok()?.wrap_key(key, &mut wrapped).is_ok(),
    };
    done.then(|| (header, wrapped.to_vec()))
}

/// The text, if it is for one of the keys.
pub(super) fn open(document: &[u8], keys: &[SecretKey]) -> Result<Vec<u8>, NotOpened> {
    let document: Map<String, Value> =
        serde_json::from_slice(document).map_err(|_| NotOpened::Unsupported("it is no JSON Web Encryption"))?;
    let broken = || NotOpened::Unsupported("it is no whole JSON Web Encryption");
    let member = |name: &str| text(&document, name).and_then(decoded);
    let protected_text = text(&document, "protected").unwrap_or_default();
    let protected: Map<String, Value> =
        decoded(protected_text).and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(broken)?;
    let recipients = match document.get("recipients").and_then(Value::as_array) {
        Some(several) => several.iter().filter_map(Value::as_object).collect(),
        None => vec![&document],
    };
    let mut aad = protected_text.to_owned();
    if let Some(more) = text(&document, "aad") {
        aad = format!("{aad}.{more}");
    }
    let (nonce, content, tag) =
        (member("iv").ok_or_else(broken)?, member("ciphertext").ok_or_else(broken)?, member("tag").ok_or_else(broken)?);
    for recipient in recipients {
        let mut header = protected.clone();
        for more in [document.get("unprotected"), recipient.get("header")].into_iter().flatten().filter_map(Value::as_object) {
            header.extend(more.clone());
        }
        if header.contains_key("crit") || header.contains_key("zip") {
            return Err(NotOpened::Unsupported("it has a header that is not known here"));
        }
        let cipher = match text(&header, "enc") {
            Some("A256GCM") => &AES_256_GCM,
            Some("A128GCM") => &AES_128_GCM,
            _ => return Err(NotOpened::Unsupported("its content is under another cipher than A256GCM")),
        };
        let Some(sealed) = text(recipient, "encrypted_key").and_then(decoded) else { continue };
        for key in keys {
            let opened = open_key(&header, &sealed, key);
            let cipher = opened.and_then(|key| UnboundKey::new(cipher, &key).ok()).map(LessSafeKey::new);
            let opened = cipher.and_then(|cipher| open_content(&cipher, &nonce, &aad, [&content, &tag]));
            if let Some(text) = opened {
                return Ok(text);
            }
        }
    }
    Err(NotOpened::NoKeyFits)
}

fn open_content(cipher: &LessSafeKey, nonce: &[u8], aad: &str, [content, tag]: [&[u8]; 2]) -> Option<Vec<u8>> {
    if tag.len() != TAG {
        return None;
    }
    let mut both = [content, tag].concat();
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let text = cipher.open_in_place(nonce, Aad::from(aad.as_bytes()), &mut both).ok()?;
    Some(text.to_vec())
}

/// The key that was sealed for the owner of `key`.
fn open_key(header: &Map<String, Value>, sealed: &[u8], key: &SecretKey) -> Option<Vec<u8>> {
    let algorithm = text(header, "alg")?;
    if let SecretKey::Rsa(key) = key {
        return match algorithm {
            "RSA-OAEP" => Oaep::<sha1::Sha1>::new().decrypt(Some(&mut SysRng), key, sealed).ok(),
            "RSA-OAEP-256" => Oaep::<Sha256>::new().decrypt(Some(&mut SysRng), key, sealed).ok(),
            _ => None,
        };
    }
    let theirs: Jwk = serde_json::from_value(header.get("epk")?.clone()).ok()?;
    let party = |name| text(header, name).map_or(Some(Vec::new()), decoded);
    let wrapping = derive(&agreed(key, &theirs.public()?)?, algorithm, &party("apu")?, &party("apv")?)?;
    let mut opened = vec![0; sealed.len().checked_sub(8).filter(|length| *length <= 64)?];
    let done = match wrapping.len() {
        16 => KwAes128::new_from_slice(&wrapping).ok()?.unwrap_key(sealed, &mut opened).is_ok(),
        24 => KwAes192::new_from_slice(&wrapping).ok()?.unwrap_key(sealed, &mut opened).is_ok(),
        _ => KwAes256::new_from_slice(&wrapping).ok()?.unwrap_key(sealed, &mut opened).is_ok(),
    };
    done.then_some(opened)
}

/// The key for key wrap (RFC 7518, section 4.6.2): one round of the Concat KDF with SHA-256.
fn derive(agreed: &[u8], algorithm: &str, apu: &[u8], apv: &[u8]) -> Option<Vec<u8>> {
    let length: u32 = match algorithm {
        "ECDH-ES+A128KW" => 16,
        "ECDH-ES+A192KW" => 24,
        "ECDH-ES+A256KW" => 32,
        _ => return None,
    };
    let mut sha = Sha256::new();
    sha.update(1_u32.to_be_bytes());
    sha.update(agreed);
    for part in [algorithm.as_bytes(), apu, apv] {
        sha.update(u32::try_from(part.len()).ok()?.to_be_bytes());
        sha.update(part);
    }
    sha.update((length * 8).to_be_bytes());
    let mut key = sha.finalize().to_vec();
    key.truncate(usize::try_from(length).ok()?);
    Some(key)
}

/// What both sides of a Diffie-Hellman exchange know; `None` for different curves.
fn agreed(secret: &SecretKey, public: &PublicKey) -> Option<Vec<u8>> {
    match (secret, public) {
        (SecretKey::P256(secret), PublicKey::P256(public)) => Some(secret.diffie_hellman(public).raw_secret_bytes().to_vec()),
        (SecretKey::P384(secret), PublicKey::P384(public)) => Some(secret.diffie_hellman(public).raw_secret_bytes().to_vec()),
        (SecretKey::P521(secret), PublicKey::P521(public)) => Some(secret.diffie_hellman(public).raw_secret_bytes().to_vec()),
        _ => None,
    }
}

/// A new key on the curve of `public`.
fn ephemeral(public: &PublicKey) -> Option<SecretKey> {
    /// How often a number may be too large for the curve; it is so one time in 2^32 at most.
    const TRIES: usize = 16;
    (0..TRIES).find_map(|_| {
        let mut bytes = [0_u8; 66];
        getrandom::fill(&mut bytes).ok()?;
        // 521 bits.
        bytes[0] &= 1;
        match public {
            PublicKey::Rsa(_) => None,
            PublicKey::P256(_) => p256::SecretKey::from_slice(&bytes[34..]).ok().map(SecretKey::P256),
            PublicKey::P384(_) => p384::SecretKey::from_slice(&bytes[18..]).ok().map(SecretKey::P384),
            PublicKey::P521(_) => p521::SecretKey::from_slice(&bytes).ok().map(SecretKey::P521),
        }
    })
}

/// The public part of a key, as a JSON Web Key.
fn web_key(secret: &SecretKey) -> Option<Value> {
    let (curve, point) = match secret {
        SecretKey::Rsa(_) => return None,
        SecretKey::P256(key) => ("P-256", key.public_key().to_sec1_bytes()),
        SecretKey::P384(key) => ("P-384", key.public_key().to_sec1_bytes()),
        SecretKey::P521(key) => ("P-521", key.public_key().to_sec1_bytes()),
    };
    let both = point.strip_prefix(&[4])?;
    let (x, y) = both.split_at(both.len() / 2);
    Some(json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)}))
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518, appendix C: Alice's ephemeral key and Bob's static one.
    const BOB: &str = r#"{"kty":"EC","crv":"P-256","x":"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ","y":"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck","d":"VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw"}"#;

    fn keys(curve: &str) -> (SecretKey, Recipient) {
        let any = match curve {
            "P-256" => PublicKey::P256(p256::SecretKey::from_slice(&[1; 32]).unwrap().public_key()),
            "P-384" => PublicKey::P384(p384::SecretKey::from_slice(&[1; 48]).unwrap().public_key()),
            _ => PublicKey::P521(p521::SecretKey::from_slice(&[1; 66]).unwrap().public_key()),
        };
        let secret = ephemeral(&any).unwrap();
        let public = serde_json::from_value::<Jwk>(web_key(&secret).unwrap()).unwrap().public().unwrap();
        (secret, Recipient { key: public, algorithm: String::new() })
    }

    #[test]
    fn the_derived_key_is_that_of_the_rfc() {
        let alice = r#"{"kty":"EC","crv":"P-256","x":"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0","y":"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}"#;
        let alice: Jwk = serde_json::from_str(alice).unwrap();
        let bob = SecretKey::read(BOB.as_bytes()).unwrap();
        let z = agreed(&bob, &alice.public().unwrap()).unwrap();
        assert_eq!(z[..4], [158, 86, 217, 29]);
        // The appendix derives for A128GCM itself; the same round, another name.
        let mut sha = Sha256::new();
        sha.update([0, 0, 0, 1]);
        sha.update(&z);
        sha.update(
            [&[0, 0, 0, 14][..], b"ECDH-ES+A128KW", &[0, 0, 0, 5], b"Alice", &[0, 0, 0, 3], b"Bob", &[0, 0, 0, 128]].concat(),
        );
        assert_eq!(derive(&z, "ECDH-ES+A128KW", b"Alice", b"Bob").unwrap(), sha.finalize()[..16]);
        assert_eq!(derive(&z, "ECDH-ES", b"", b""), None);
    }

    #[test]
    fn each_recipient_can_read_it_and_nobody_else() {
        let all: Vec<_> = ["P-256", "P-384", "P-521"].map(keys).into_iter().collect();
        let recipients: Vec<Recipient> = all.iter().map(|(_, public)| public.clone()).collect();
        let sealed = seal(b"the key", &recipients).unwrap();
        for (secret, public) in &all {
            assert_eq!(open(sealed.as_bytes(), std::slice::from_ref(secret)).unwrap(), b"the key");
            let alone = seal(b"alone", std::slice::from_ref(public)).unwrap();
            assert!(!alone.contains("recipients"));
            assert_eq!(open(alone.as_bytes(), std::slice::from_ref(secret)).unwrap(), b"alone");
        }
        let (stranger, _) = keys("P-256");
        assert_eq!(open(sealed.as_bytes(), &[stranger]), Err(NotOpened::NoKeyFits));
        assert_eq!(open(sealed.as_bytes(), &[]), Err(NotOpened::NoKeyFits));
    }

    #[test]
    fn what_a_web_key_asks_for_is_done_or_refused() {
        let (secret, mut public) = keys("P-256");
        for algorithm in ["ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"] {
            public.algorithm = algorithm.to_owned();
            let sealed = seal(b"x", std::slice::from_ref(&public)).unwrap();
            assert_eq!(open(sealed.as_bytes(), std::slice::from_ref(&secret)).unwrap(), b"x", "{algorithm}");
        }
        public.algorithm = "RSA1_5".to_owned();
        assert_eq!(seal(b"x", &[public]), None);
    }

    #[test]
    fn damage_is_noticed() {
        let (secret, public) = keys("P-256");
        let sealed = seal(b"the key of a layer", &[public]).unwrap();
        let document: Value = serde_json::from_str(&sealed).unwrap();
        for name in ["protected", "iv", "ciphertext", "tag", "encrypted_key"] {
            let mut changed = document.clone();
            let mut bytes = decoded(changed[name].as_str().unwrap()).unwrap();
            bytes[2] ^= 1;
            changed[name] = encoded(&bytes).into();
            assert!(open(changed.to_string().as_bytes(), std::slice::from_ref(&secret)).is_err(), "{name}");
            changed[name] = 1.into();
            assert!(open(changed.to_string().as_bytes(), std::slice::from_ref(&secret)).is_err(), "{name}");
        }
        for text in ["", "[]", "{}", "a.b.c.d.e"] {
            assert!(matches!(open(text.as_bytes(), &[]), Err(NotOpened::Unsupported(_))), "{text}");
        }
    }
}
