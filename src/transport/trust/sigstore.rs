//! Sigstore signatures with a public key: ECDSA over P-256, what cosign makes by default, and over P-384, Ed25519 and RSA (PKCS #1
//! version 1.5); of the payload's SHA-256, but for Ed25519, which takes the payload.
//!
//! Must not guess: a key of another kind is an error, whatever other keys there are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::Refusal;

/// A kind of key whose DER always begins alike, and how many bytes follow.
struct Fixed {
    start: &'static [u8],
    length: usize,
    algorithm: &'static dyn VerificationAlgorithm,
}

const FIXED: [Fixed; 3] = [
    // RFC 5480: ecPublicKey on prime256v1, and the point.
    Fixed {
        start: &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
            0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        length: 65,
        algorithm: &ECDSA_P256_SHA256_ASN1,
    },
    // The same on secp384r1.
    Fixed {
        start: &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
            0x22, 0x03, 0x62, 0x00,
        ],
        length: 97,
        algorithm: &ECDSA_P384_SHA256_ASN1,
    },
    // RFC 8410: Ed25519.
    Fixed { start: &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], length: 32, algorithm: &ED25519 },
];
/// The algorithm of an RSA key (RFC 3279, section 2.3.1), between two lengths.
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// The payload, if one of the keys has signed it.
pub(super) fn verified(payload: Vec<u8>, signature: &[u8], keys: &[Vec<u8>]) -> Result<Vec<u8>, Refusal> {
    for key in keys {
        let key = read(key).ok_or_else(|| {
            let kinds = "ECDSA on P-256 or P-384, Ed25519, or RSA from 2048 bits on";
            Refusal::Unsupported(format!("a key of sigstoreSigned is not a PEM file of a public key: {kinds}"))
        })?;
        if key.verify(&payload, signature).is_ok() {
            return Ok(payload);
        }
    }
    Err(Refusal::Invalid("cryptographic signature verification failed: it is by none of the keys of the policy".to_owned()))
}

/// The key in a PEM file.
fn read(pem: &[u8]) -> Option<UnparsedPublicKey<Vec<u8>>> {
    let text = std::str::from_utf8(pem).ok()?;
    let body = text.split_once(BEGIN)?.1.split_once(END)?.0;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    for Fixed { start, length, algorithm } in FIXED {
        if let Some(key) = der.strip_prefix(start) {
            return (key.len() == length).then(|| UnparsedPublicKey::new(algorithm, key.to_vec()));
        }
    }
    Some(UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa(&der)?.to_vec()))
}

/// The key itself in the DER of an RSA key: a sequence of the algorithm and a bit string, both with lengths of two bytes.
fn rsa(der: &[u8]) -> Option<&[u8]> {
    fn long(der: &[u8], tag: u8) -> Option<&[u8]> {
        let (length, rest) = der.strip_prefix(&[tag, 0x82])?.split_first_chunk()?;
        (usize::from(u16::from_be_bytes(*length)) == rest.len()).then_some(rest)
    }
    long(long(der, 0x30)?.strip_prefix(RSA.as_slice())?, 0x03)?.strip_prefix(&[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by openssl: a key, and its signature of "text".
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEecqKLfK30+4Qy4SxDbGanpYamhHd\n5HOUv6w1g4W1fSR7kgTkt7690Knpv9J4pmewl+R4TBMSSjQb6BCnQcgsdQ==\n-----END PUBLIC KEY-----\n";
    const SIGNATURE: &str = "MEUCIFLxTNjCZTykywaK83FI3dkAP3JjiyC+QQ9Hg+7me0YtAiEA2HSa4oTNmz9dxcnMnpIdseay85PvEkHewo4cXBzLby0=";

    #[test]
    fn the_right_key_over_the_right_bytes() {
        let signature = STANDARD.decode(SIGNATURE).unwrap();
        let keys = [PEM.as_bytes().to_vec()];
        assert_eq!(verified(b"text".to_vec(), &signature, &keys).unwrap(), b"text");
        assert!(verified(b"texT".to_vec(), &signature, &keys).is_err());
        assert!(verified(b"text".to_vec(), &signature[1..], &keys).is_err());
        assert!(verified(b"text".to_vec(), &signature, &[]).is_err());
        assert!(verified(b"text".to_vec(), &signature, &[b"x".to_vec()]).is_err());
    }

    /// What the crate `sigstore` 0.15 wrote to a registry: its key, its payload and its signature, as cosign's are.
    #[test]
    fn what_another_implementation_signed_is_verified() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERqXDvhw7VFhbCWkXMxb97fjgCt0V\naCKzkn0wdCz6LATAr6QLWC7UnYjxUbphuGk8Df0cruKTqnSwMfiMrgJpKA==\n-----END PUBLIC KEY-----\n";
        let payload = br#"{"critical":{"identity":{"docker-reference":"127.0.0.1:5701/sig28423/app:1"},"image":{"docker-manifest-digest":"sha256:c76cf1b25370182e35992a2276c0073cd348a334b56ec39d5963a4556ec30da9"},"type":"cosign container image signature"},"optional":null}"#;
        let signature = "MEUCIQDSXr2CQfszXFabZJVWIE/6ycUNPKxIyptSuV9NR3xjwAIgbe20VmSPT1fTnjwC32qfmTCVjk4JBxCM8nkTGlVkHpQ=";
        let signature = STANDARD.decode(signature).unwrap();
        assert_eq!(verified(payload.to_vec(), &signature, &[pem.as_bytes().to_vec()]).unwrap(), payload);
        assert!(verified(payload.to_vec(), &signature, &[PEM.as_bytes().to_vec()]).is_err());
        let mut other = payload.to_vec();
        other[100] ^= 1;
        assert!(verified(other, &signature, &[pem.as_bytes().to_vec()]).is_err());
    }

    /// The same of other kinds of keys.
    const OTHERS: [(&str, &str); 3] = [
        (
            "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEaQIQDvU1GvVAQvO6xQiejnGauE0/CNkS\nk1PmNq39m7Iev0jKJnXUYfhf3OL+dN5CrcEI8YiW3VGEb3p+CUSTfyLaVyrZ9nnO\nrCKE6PPgenwEZTni0hL7ml68mYQ/rvRv\n-----END PUBLIC KEY-----\n",
            "MGUCMCOLt7waIS/IfAfCI21J5otRu9ssxhQuP8Idoxx4xfg85+ZHJUdgQORKit+LiSaM9AIxAOb7c6tCvecNb8aQIzN/idbPLLSEDXlZDEhxHr9JPEHeZL2k7+IyEOsYtgXcseXKvw==",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAlTGFp54F5tKci2TptGVpYyOIbtyZDic28LCsebL8Rlg=\n-----END PUBLIC KEY-----\n",
            "PkFZpN1lUmelCjU5Xmt+VKcW4EeCC3gor98IfoYvxiBe8XTT/DhuogcdymXMo1TgiBCgVQRbQ7Fa2y61mlBGCA==",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA6za1fxpruzyXPd+nvyLZ\n3m5vZCMaS35gI0USGOTqxhySin/Kl9DYGmLyBIn5j2n/Li7rCRCQViVhd5SDOx0v\nusSHrQLOqg8Tp6drJ55r6Ru6OYP5e0TWajkUTR/0vZwHO/mQRZiu2+UpeCjq9nCf\n6bOLY/w41KvmGKOCaTB842a78znBsZqU+SWWQx8qc089Z+0ha4zc/EMm/ZP4/q57\n36a8WpYMT6OM0aFOaOpNDq8/w5ydxrwt9TP5xT01+2B4Otq38lb5Qppr1a8WtWOD\nBz1McnmohyO0b5NS/ApataMfsKTBxhXIWgNW3Eow3BXisEc9YZFGGgw2D9KDyoWR\newIDAQAB\n-----END PUBLIC KEY-----\n",
            "Uux4Cga0ILfda7zGIn6y9yaayM4dLBvytbOKyUCQBzn4jzsHY6vly98v4YnOGKT9mkjR3c4jIYiW8pquSm4NOb2hwe/7YfztQTw01h39gT7LDNCCKNAtfQ1UzcJkWo1mZNXdLIFb0QzGEqMAVmhQZNrtTLUVVJbJYGAGy6JfP7Ncls3i7v5HU6asoQea0KmD/i33PTwD47Eg1uxwd9L1EygDlI8ievvO8QRdidg9qRer3out161iUHDy+B1CoINM9VjN7pfwoNXitR1m3VIJE61WbTJzggJvmgaUEgt8XGFv10Kk/MWegN+krgSM5mFy2i6fhi0BuzE0wY25P2o1YQ==",
        ),
    ];

    #[test]
    fn other_kinds_of_keys_verify_too() {
        for (pem, signature) in OTHERS {
            let signature = STANDARD.decode(signature).unwrap();
            // A wrong key before the right one does no harm.
            let keys = [PEM.as_bytes().to_vec(), pem.as_bytes().to_vec()];
            assert!(verified(b"text".to_vec(), &signature, &keys).is_ok(), "{pem}");
            assert!(verified(b"texT".to_vec(), &signature, &keys).is_err());
            assert!(verified(b"text".to_vec(), &signature, &keys[..1]).is_err());
            let cut = pem.replacen("A", "", 4);
            assert!(verified(b"text".to_vec(), &signature, &[cut.into_bytes()]).is_err());
        }
    }
}
