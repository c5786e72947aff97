//! Sigstore signatures with a public key: ECDSA over P-256 and SHA-256, what cosign makes by default.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::Refusal;

/// How the DER of a public key on the curve P-256 begins; 65 bytes of the point follow (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// The payload, if one of the keys has signed it.
pub(super) fn verified(payload: Vec<u8>, signature: &[u8], keys: &[Vec<u8>]) -> Result<Vec<u8>, Refusal> {
    for key in keys {
        let point = point(key).ok_or_else(|| {
            Refusal::Unsupported("a key of sigstoreSigned is not a PEM file of an ECDSA key on the curve P-256".to_owned())
        })?;
        if UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&payload, signature).is_ok() {
            return Ok(payload);
        }
    }
    Err(Refusal::Invalid("cryptographic signature verification failed: it is by none of the keys of the policy".to_owned()))
}

/// The point of a key in PEM.
fn point(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let body = text.split_once(BEGIN)?.1.split_once(END)?.0;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    let point = der.strip_prefix(P256.as_slice())?;
    (point.len() == 65).then(|| point.to_vec())
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
}
