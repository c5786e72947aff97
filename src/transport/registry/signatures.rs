//! The signatures of images at a registry: simple ones beside it (`lookaside`), those of sigstore in it, as images of their own.
//!
//! Invariant: which place is asked or written to is what registries.d says of the repository that is really spoken to. Signatures are
//! foreign bytes here: nothing is verified, everything has a limit.

use std::io::Read as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use containers_storage::Digest;

use super::download::Download;
use super::error::Error as RegistryError;
use super::lookaside::{self, Lookaside};
use super::session::{Body, Session};
use super::{source, upload};
use crate::conf::registries_d::Places;
use crate::conf::{Environment, SignaturePlaces};
use crate::image::manifest::{Descriptor, Document, OCI_MANIFEST};
use crate::image::signature::attachment::{self, Attachment, Documents};
use crate::image::signature::{Kind, MAX_BYTES, MAX_COUNT, kind_of};
use crate::image::{Manifest, config};
use crate::transport::{BlobId, BlobStream, Error, RawManifest};

/// The signatures of the images of a repository.
pub(super) struct Signatures {
    environment: Environment,
    /// The image as scopes, the narrowest first.
    scopes: Vec<String>,
    places: OnceLock<Places>,
    /// What was read last, and of which manifest: the policy and the copy ask for the same.
    last: Mutex<Option<(Digest, Vec<Vec<u8>>)>>,
}

impl Signatures {
    /// Those of the image with these scopes. No I/O.
    pub(super) fn new(environment: &Environment, scopes: Vec<String>) -> Self {
        Self { environment: environment.clone(), scopes, places: OnceLock::new(), last: Mutex::default() }
    }

    fn places(&self) -> Result<&Places, RegistryError> {
        if let Some(known) = self.places.get() {
            return Ok(known);
        }
        let read = SignaturePlaces::load(&self.environment)?.of(&self.scopes);
        Ok(self.places.get_or_init(|| read))
    }

    fn image(&self) -> &str {
        self.scopes.first().map(String::as_str).unwrap_or_default()
    }

    fn failed<T>(&self, doing: &str, result: Result<T, RegistryError>) -> Result<T, Error> {
        result.map_err(|source| Error::Registry {
            doing: format!("{doing} signatures of docker://{}", self.image()),
            source: Box::new(source),
        })
    }

    /// All signatures of a manifest.
    pub(super) fn read(&self, session: &Arc<Session>, manifest: &Digest) -> Result<Vec<Vec<u8>>, Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = last.as_ref().filter(|(of, _)| of == manifest) {
            return Ok(known.clone());
        }
        let places = self.failed("reading", self.places())?;
        let lookaside = self.failed("reading", Lookaside::parse(&places.read))?;
        let mut found = lookaside.read(session, session.path(), manifest)?;
        if places.attachments {
            found.extend(self.read_attached(session, manifest)?);
        }
        *last = Some((manifest.clone(), found.clone()));
        Ok(found)
    }

    fn read_attached(&self, session: &Arc<Session>, manifest: &Digest) -> Result<Vec<Vec<u8>>, Error> {
        let Some(attached) = self.attached(session, manifest)? else { return Ok(Vec::new()) };
        let place = || format!("docker://{}", self.image());
        if attached.layers.len() > MAX_COUNT {
            let problem = format!("there are {} (limit {MAX_COUNT})", attached.layers.len());
            return Err(Error::BadSignatures { place: place(), problem });
        }
        let read = |layer: &Descriptor| {
            let payload = self.blob(session, layer, MAX_BYTES)?;
            let (mime_type, annotations) = (layer.media_type.clone(), layer.annotations.clone());
            Ok(Attachment { mime_type, payload, annotations }.to_bytes())
        };
        attached.layers.iter().map(read).collect()
    }

    /// The manifest of the image of signatures, if there is one.
    fn attached(&self, session: &Session, manifest: &Digest) -> Result<Option<Manifest>, Error> {
        let raw = match source::read_manifest(session, &attachment::tag(manifest), None) {
            Err(RegistryError::Refused { status: 404, .. }) => return Ok(None),
            raw => self.failed("reading", raw)?,
        };
        let RawManifest { bytes, media_type } = raw;
        let place = || format!("the signatures of docker://{}", self.image());
        match Document::parse(&bytes, media_type.as_deref()) {
            Ok(Document::Image(manifest)) => Ok(Some(manifest)),
            Ok(Document::Index(_)) => Err(Error::Document { place: place(), problem: "they are an index".to_owned() }),
            Err(source) => Err(Error::Manifest { place: place(), source }),
        }
    }

    fn blob(&self, session: &Arc<Session>, blob: &Descriptor, limit: usize) -> Result<Vec<u8>, Error> {
        if blob.size > limit as u64 {
            let (place, problem) = (format!("docker://{}", self.image()), format!("has {} bytes (limit {limit})", blob.size));
            return Err(Error::Blob { place, digest: blob.digest.clone(), problem });
        }
        let download = self.failed("reading", Download::start(Arc::clone(session), &blob.digest, blob.size))?;
        let expected = BlobId { digest: blob.digest.clone(), size: blob.size };
        let mut bytes = Vec::new();
        let read = BlobStream::new(Box::new(download), expected).read_to_end(&mut bytes);
        let place = || format!("signatures of docker://{}", self.image());
        read.map_err(|source| Error::Stream { action: "reading", place: place(), source })?;
        Ok(bytes)
    }

    /// Whether there is a place for new signatures of this kind.
    pub(super) fn accepts(&self, kind: Option<Kind>) -> Result<(), Error> {
        let places = self.failed("writing", self.places())?;
        let checked = match kind {
            Some(Kind::Simple) => Lookaside::parse(&places.write).and_then(|lookaside| lookaside.writable().map(drop)),
            Some(Kind::Sigstore) if places.attachments => Ok(()),
            Some(Kind::Sigstore) => Err(RegistryError::NoAttachments),
            None => Err(RegistryError::UnknownSignature),
        };
        self.failed("writing", checked)
    }

    /// Writes the signatures of a manifest: simple ones in the place of those that were there, the others beside them.
    pub(super) fn write(&self, session: &Arc<Session>, manifest: &Digest, signatures: &[Vec<u8>]) -> Result<(), Error> {
        let simple: Vec<Vec<u8>> = signatures.iter().filter(|bytes| kind_of(bytes) == Some(Kind::Simple)).cloned().collect();
        let attachments: Vec<Attachment> = signatures.iter().filter_map(|bytes| Attachment::parse(bytes)).collect();
        if !simple.is_empty() {
            let places = self.failed("writing", self.places())?;
            let lookaside = self.failed("writing", Lookaside::parse(&places.write))?;
            let base = self.failed("writing", lookaside.writable())?;
            lookaside::write(base, session.path(), manifest, &simple)?;
        }
        if attachments.is_empty() { Ok(()) } else { self.attach(session, manifest, &attachments) }
    }

    fn attach(&self, session: &Arc<Session>, manifest: &Digest, attachments: &[Attachment]) -> Result<(), Error> {
        let existing = match self.attached(session, manifest)? {
            Some(existing) => Some(Documents {
                config: self.blob(session, &existing.config, config::MAX_BYTES)?,
                manifest: existing.bytes().to_vec(),
            }),
            None => None,
        };
        let place = || format!("docker://{}", self.image());
        let added = attachment::with(existing.as_ref(), attachments);
        let wrong = |error: serde_json::Error| Error::BadSignatures { place: place(), problem: error.to_string() };
        let Some(Documents { manifest: bytes, config }) = added.map_err(wrong)? else { return Ok(()) };
        let put = || {
            for blob in attachments.iter().map(|attachment| &attachment.payload).chain([&config]) {
                put_blob(session, blob)?;
            }
            upload::put_manifest(session, &attachment::tag(manifest), &bytes, OCI_MANIFEST)
        };
        self.failed("writing", put())
    }
}

/// Sends a small blob, if the registry lacks it.
pub(super) fn put_blob(session: &Session, bytes: &[u8]) -> Result<(), RegistryError> {
    let digest = Digest::of(bytes);
    match upload::find(session, &digest)? {
        Some(size) if size == bytes.len() as u64 => Ok(()),
        _ => session.repeated(|| upload::begin(session).and_then(|at| upload::end(session, &at, &digest, Body::Bytes(bytes)))),
    }
}
