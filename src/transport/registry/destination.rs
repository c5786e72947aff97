//! Writing an image to a registry.
//!
//! Invariant: a manifest is sent after everything that it names. A layer whose blob the registry has, in this repository or in another
//! one that the store knows to have it, is not sent.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use containers_storage::store::{self, Store};
use containers_storage::{Digest, ImageId};

use super::error::Error as RegistryError;
use super::session::{Body, Session};
use super::signatures::{self, Signatures};
use super::source::scopes_at;
use super::upload::{self, Mounted};
use crate::http::{Retry, Url};
use crate::image::manifest::Descriptor;
use crate::image::signature::Kind;
use crate::image::{Format, Location, Manifest, Reference};
use crate::transport::{Accepts, BlobId, BlobStream, Destination, Error, InIndex, LayerForm, LayerRequest, Means, Silence};

/// As many repositories are asked for a blob.
const MOST_MOUNTS: usize = 3;
/// A blob of unknown length that is not longer, in bytes, is sent with one request and not with two.
const IN_ONE_PIECE: u64 = 1 << 20;

/// A repository that gets an image.
pub(in crate::transport) struct RegistryDestination<'s> {
    reference: Reference,
    session: Arc<Session>,
    store: &'s Store,
    /// Layers at a time.
    parallel: usize,
    /// Uploads that were begun when a blob could not be taken over.
    begun: Mutex<HashMap<Digest, Url>>,
    /// Read when the first blob is missing.
    neighbours: Mutex<Option<Neighbours>>,
    signatures: Signatures,
    /// The manifest or index that the image is.
    main: Mutex<Option<Digest>>,
}

/// Other repositories of the registry, and which blobs they have: those of the layers of images that the store knows by their names.
struct Neighbours {
    paths: Vec<String>,
    /// For each blob the places of `paths`.
    blobs: HashMap<Digest, Vec<usize>>,
}

impl Neighbours {
    fn read(store: &Store, reference: &Reference, own_path: &str) -> Result<Self, store::Error> {
        let mut found = Self { paths: Vec::new(), blobs: HashMap::new() };
        let layers = store.layers()?;
        for image in store.images()?.all()? {
            let names = image.names.iter().filter_map(|name| Reference::parse_qualified(name).ok());
            let names = names.filter(|name| name.domain() == reference.domain() && name.path() != own_path);
            let paths: BTreeSet<String> = names.map(|name| name.path().to_owned()).collect();
            let Some(top) = image.layer.as_ref().filter(|_| !paths.is_empty()) else { continue };
            let blobs: Vec<Digest> = layers.chain(top)?.into_iter().filter_map(|layer| layer.compressed_digest).collect();
            for path in paths {
                let place = found.paths.iter().position(|known| *known == path).unwrap_or(found.paths.len());
                if place == found.paths.len() {
                    found.paths.push(path);
                }
                for blob in &blobs {
                    found.blobs.entry(blob.clone()).or_default().push(place);
                }
            }
        }
        Ok(found)
    }

    /// The first repositories that have the blob.
    fn with(&self, blob: &Digest) -> Vec<String> {
        let places: BTreeSet<usize> = self.blobs.get(blob).into_iter().flatten().copied().collect();
        places.into_iter().take(MOST_MOUNTS).filter_map(|place| self.paths.get(place).cloned()).collect()
    }
}

impl<'s> RegistryDestination<'s> {
    /// The repository that the name says; mirrors get nothing. Nobody is asked yet.
    pub(in crate::transport) fn open(reference: &Reference, means: Means<'s>) -> Result<Self, Error> {
        let failed = |source| Error::Registry {
            doing: format!("initializing destination docker://{reference}"),
            source: Box::new(source),
        };
        let places = super::places(reference, means).map_err(failed)?;
        let endpoint = places.into_iter().rfind(|endpoint| !endpoint.is_mirror);
        let nowhere =
            || Error::NoImage { place: format!("docker://{reference}"), reason: "there is no place to ask".to_owned() };
        let endpoint = endpoint.ok_or_else(nowhere)?;
        let session = Session::new(means.network, &endpoint, reference.domain()).map_err(failed)?;
        Ok(Self {
            reference: reference.clone(),
            session: Arc::new(session.with(Silence::Awaited)),
            store: means.store,
            parallel: means.network.layers_out_at_once(),
            begun: Mutex::default(),
            neighbours: Mutex::default(),
            signatures: Signatures::new(&means.network.environment, scopes_at(&endpoint.repository, reference)),
            main: Mutex::default(),
        })
    }

    fn failed(&self, doing: impl Into<String>) -> impl FnOnce(RegistryError) -> Error {
        let doing = doing.into();
        move |source| Error::Registry { doing, source: Box::new(source) }
    }

    /// Paths of other repositories of this registry that have the blob, as far as the store knows: those of images with the layer.
    fn mount_candidates(&self, digest: &Digest) -> Result<Vec<String>, store::Error> {
        let mut neighbours = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match neighbours.take() {
            Some(known) => known,
            None => Neighbours::read(self.store, &self.reference, self.session.path())?,
        };
        Ok(neighbours.insert(known).with(digest))
    }

    /// Whether the blob could be taken over from another repository.
    fn mounted(&self, digest: &Digest) -> Result<bool, Error> {
        let candidates = self.mount_candidates(digest);
        let candidates = candidates.map_err(|source| Error::Store { place: self.name(), source })?;
        for path in candidates {
            match upload::mount(&self.session, digest, &path) {
                Ok(Mounted::Yes) => return Ok(true),
                Ok(Mounted::No(at)) => {
                    let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(earlier) = begun.insert(digest.clone(), at) {
                        upload::cancel(&self.session, &earlier);
                    }
                }
                // It is only a short cut: who may not read there sends the bytes.
                Err(error) => log::debug!("taking {digest} over from {path}: {error}"),
            }
        }
        Ok(false)
    }

    fn begin(&self, digest: Option<&Digest>) -> Result<Url, RegistryError> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match digest.and_then(|digest| begun.remove(digest)) {
            Some(at) => Ok(at),
            None => {
                drop(begun);
                upload::begin(&self.session)
            }
        }
    }

    /// Sends a blob whose digest is known at its end, and which begins with `first`: one of which that is all in one piece, and anything
    /// else as it comes.
    fn send_unknown(&self, at: &Url, first: &[u8], stream: &mut BlobStream<'_>) -> Result<(), RegistryError> {
        if let Some(found) = stream.found() {
            return upload::end(&self.session, at, &found.digest, Body::Bytes(first));
        }
        let at = upload::send(&self.session, at, Body::Stream { reader: &mut first.chain(&mut *stream), length: None })?;
        match stream.found() {
            Some(found) => upload::end(&self.session, &at, &found.digest, Body::None),
            None => Ok(()),
        }
    }

    fn put_document(&self, selector: &str, bytes: &[u8], media_type: &str) -> Result<(), Error> {
        let sent = upload::put_manifest(&self.session, selector, bytes, media_type);
        sent.map_err(self.failed(format!("uploading manifest {selector} to {}", self.reference.repository())))
    }

    /// The tag or digest that the document gets.
    fn selector(&self, digest: &Digest) -> Result<String, Error> {
        match self.reference.digest() {
            None => Ok(self.reference.tag().unwrap_or("latest").to_owned()),
            Some(wanted) if wanted == digest => Ok(wanted.to_string()),
            Some(wanted) => {
                Err(Error::Impossible(format!("{}: the manifest has the digest {digest} and not {wanted}", self.name())))
            }
        }
    }
}

impl Destination for RegistryDestination<'_> {
    fn name(&self) -> String {
        Location::Registry(self.reference.clone()).to_string()
    }

    fn reference(&self) -> Option<Reference> {
        Some(self.reference.clone())
    }

    fn accepts(&self) -> Accepts {
        let parallel = self.parallel;
        Accepts { formats: &[Format::Oci, Format::Docker], layers: LayerForm::Compress, indexes: true, parallel }
    }

    fn has_layer(&self, layer: &LayerRequest<'_>) -> Result<Option<Descriptor>, Error> {
        let blob = layer.blob;
        let doing = || format!("checking whether a blob {} exists in {}", blob.digest, self.reference.repository());
        let there = upload::find(&self.session, &blob.digest).map_err(|error| self.failed(doing())(error))?;
        let known = there.is_some_and(|size| size == blob.size) || self.mounted(&blob.digest)?;
        Ok(known.then(|| blob.clone()))
    }

    fn put_layer(&self, request: &LayerRequest<'_>, mut stream: BlobStream<'_>) -> Result<BlobId, Error> {
        let doing = || format!("writing blob {} to {}", request.blob.digest, self.reference.repository());
        let unread = |source| Error::Stream { action: "reading", place: self.name(), source };
        let expected = stream.expected().cloned();
        let mut first = Vec::new();
        if expected.is_none() {
            (&mut stream).take(IN_ONE_PIECE).read_to_end(&mut first).map_err(unread)?;
        }
        let at = self.begin(expected.as_ref().map(|expected| &expected.digest));
        let at = at.map_err(|error| self.failed(doing())(error))?;
        let sent = match &expected {
            Some(BlobId { digest, size }) => {
                let body = Body::Stream { reader: &mut stream, length: Some(*size) };
                upload::end(&self.session, &at, digest, body)
            }
            None => self.send_unknown(&at, &first, &mut stream),
        };
        if let Err(error) = sent {
            if !error.is_transient() {
                upload::cancel(&self.session, &at);
            }
            return Err(self.failed(doing())(error));
        }
        // All of it was sent, but the last read is what verifies it.
        let found = io::copy(&mut stream, &mut io::sink()).map(|_| stream.found().cloned());
        let missing = || Error::Impossible(format!("{}: a layer was not read to its end", self.name()));
        found.map_err(unread)?.ok_or_else(missing)
    }

    fn put_config(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let doing = || format!("uploading config {digest} to {}", self.reference.repository());
        let sent = signatures::put_blob(&self.session, bytes);
        sent.map_err(|error| self.failed(doing())(error))
    }

    fn put_manifest(&self, manifest: &Manifest, instance: InIndex) -> Result<(), Error> {
        let digest = manifest.digest();
        let selector = match instance {
            InIndex::Alone => {
                *self.main.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest.clone());
                self.selector(&digest)?
            }
            InIndex::Instance => digest.to_string(),
        };
        self.put_document(&selector, manifest.bytes(), manifest.media_type())
    }

    fn put_index(&self, bytes: &[u8], media_type: &str) -> Result<(), Error> {
        let digest = Digest::of(bytes);
        self.put_document(&self.selector(&digest)?, bytes, media_type)?;
        *self.main.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        Ok(())
    }

    fn accepts_signature(&self, kind: Option<Kind>) -> Result<(), Error> {
        self.signatures.accepts(kind)
    }

    fn put_signatures(&self, signatures: &[Vec<u8>], instance: Option<&Digest>) -> Result<(), Error> {
        let main = self.main.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match instance.cloned().or(main) {
            Some(manifest) => self.signatures.write(&self.session, &manifest, signatures),
            None => Err(Error::NoPlaceForSignatures { place: self.name() }),
        }
    }

    fn complete(self: Box<Self>) -> Result<Option<ImageId>, Error> {
        Ok(None)
    }

    fn retry(&self) -> Retry {
        self.session.retry()
    }

    fn give_up(&self) {
        self.session.give_up();
    }
}
