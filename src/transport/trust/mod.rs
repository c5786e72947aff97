//! Trust: whether an image fulfils what policy.json asks of it, by its signatures; and making one (`--sign-by`).
//!
//! ```text
//! mod       the requirements, one by one         identity   does the name in a signature fit the image
//! gpg       OpenPGP, by the machine's gpgv and gpg           sigstore   ECDSA, with a public key
//! ```
//!
//! Invariant: what is decided is decided about the bytes of the manifest that is copied: a signature counts only if it names their
//! digest (known attacks A109). A failure to verify is never success.

pub(super) mod gpg;
mod identity;
mod sigstore;

use containers_storage::Digest;

use super::{Error, Source};
use crate::conf::policy::{Key, Requirement, Signed};
use crate::image::Reference;
use crate::image::signature::{Kind, MAX_COUNT, Payload, Signature};

/// Why a signature does not count, or a requirement is not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// `reject`. Scripts look for the words.
    #[error("Running image {place} is rejected by policy.")]
    Rejected {
        /// The image.
        place: String,
    },
    /// There are none. Scripts look for the words.
    #[error("A signature was required, but no signature exists")]
    NoSignature,
    /// None of them counts.
    #[error("None of the signatures were accepted, reasons: {0}")]
    NoneAccepted(String),
    /// It is by nobody who is trusted, or by nobody at all.
    #[error("{0}")]
    Invalid(String),
    /// It is of another image.
    #[error("the signature is for the manifest {signed}, and this is {found}")]
    OtherImage {
        /// What was signed.
        signed: Digest,
        /// What is there.
        found: Digest,
    },
    /// It is of an image of another name.
    #[error("Signature for identity {signed:?} is not accepted")]
    OtherName {
        /// The name in the signature.
        signed: String,
    },
    /// A requirement that is not known.
    #[error("a requirement of the policy cannot be checked: {0}")]
    Unsupported(String),
    /// A key cannot be read.
    #[error("reading the key {path:?}")]
    Key {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A program or file that is needed to verify.
    #[error("verifying a signature: {0}")]
    Program(String),
}

/// The largest file of keys.
const MAX_KEYS: u64 = 16 << 20;

/// Refuses the image with this manifest unless it fulfils all requirements. `instance` says that the manifest is one of an index.
pub(super) fn require(
    source: &dyn Source,
    requirements: &[Requirement],
    manifest: &[u8],
    instance: Option<&Digest>,
) -> Result<(), Error> {
    let mut signatures = None;
    for requirement in requirements {
        let refuse = |reason| Error::Untrusted { source: Box::new(reason) };
        let (signed, kind) = match requirement {
            Requirement::Accept => continue,
            Requirement::Reject => return Err(refuse(Refusal::Rejected { place: source.name() })),
            Requirement::Unsupported(reason) => return Err(refuse(Refusal::Unsupported(reason.clone()))),
            Requirement::SignedBy(signed) => (signed, Kind::Simple),
            Requirement::SigstoreSigned(signed) => (signed, Kind::Sigstore),
        };
        let all = match &mut signatures {
            Some(all) => all,
            none => none.insert(source.signatures(instance)?),
        };
        one_counts(source, signed, kind, all, &Digest::of(manifest)).map_err(refuse)?;
    }
    Ok(())
}

/// A new simple signature of a manifest under a name, by the key `key` of gpg.
pub(super) fn new_signature(manifest: &Digest, name: &Reference, key: &str) -> Result<Vec<u8>, Error> {
    let payload = Payload { manifest: manifest.clone(), reference: name.to_string() };
    let text = payload.to_bytes(jiff::Timestamp::now().as_second());
    gpg::sign(&text, key).map_err(|problem| Error::Signing { key: key.to_owned(), problem })
}

/// Whether images can be signed with the key, as far as that can be told without signing one.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    gpg::has_key(key).map_err(|problem| Error::Signing { key: key.to_owned(), problem })
}

/// Whether one of the signatures fulfils the requirement.
fn one_counts(
    source: &dyn Source,
    signed: &Signed,
    kind: Kind,
    signatures: &[Vec<u8>],
    manifest: &Digest,
) -> Result<(), Refusal> {
    let keys = signed.keys.iter().map(read_key).collect::<Result<Vec<_>, _>>()?;
    let mut reasons = Vec::new();
    for bytes in signatures.iter().take(MAX_COUNT) {
        let text = match (Signature::parse(bytes), kind) {
            (Signature::Simple(message), Kind::Simple) => gpg::verified(&message, &keys),
            (Signature::Sigstore { payload, signature }, Kind::Sigstore) => sigstore::verified(payload, &signature, &keys),
            _ => continue,
        };
        match text.and_then(|text| fits(source, signed, kind, &text, manifest)) {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(reason.to_string()),
        }
    }
    match reasons.len() {
        0 => Err(Refusal::NoSignature),
        1 => Err(Refusal::Invalid(reasons.remove(0))),
        _ => Err(Refusal::NoneAccepted(reasons.join("; "))),
    }
}

/// Whether a text that was signed by a trusted key is about this image.
fn fits(source: &dyn Source, signed: &Signed, kind: Kind, text: &[u8], manifest: &Digest) -> Result<(), Refusal> {
    let payload = Payload::parse(text, kind).map_err(|error| Refusal::Invalid(super::causes(&error)))?;
    if !identity::fits(&signed.identity, source.reference().as_ref(), &payload.reference) {
        return Err(Refusal::OtherName { signed: payload.reference });
    }
    if payload.manifest != *manifest {
        return Err(Refusal::OtherImage { signed: payload.manifest, found: manifest.clone() });
    }
    Ok(())
}

fn read_key(key: &Key) -> Result<Vec<u8>, Refusal> {
    use std::io::Read as _;
    match key {
        Key::Data(bytes) => Ok(bytes.clone()),
        Key::File(path) => {
            let failed = |source| Refusal::Key { path: path.clone(), source };
            let mut bytes = Vec::new();
            let file = std::fs::File::open(path).map_err(failed)?;
            let length = file.take(MAX_KEYS + 1).read_to_end(&mut bytes).map_err(failed)?;
            if length as u64 > MAX_KEYS {
                return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 16 MiB")));
            }
            Ok(bytes)
        }
    }
}
