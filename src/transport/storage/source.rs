//! Reading an image of a store.
//!
//! Invariant: a layer is given out as the blob it came in as, if that was kept, else as the tar that it was, byte for byte; in both cases
//! the digest is verified while it streams.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use containers_storage::archive::Escaped;
use containers_storage::images::Image;
use containers_storage::layers::{Compression, Layer, Layers};
use containers_storage::store::{self, Store};
use containers_storage::{Digest, Root, tar_split};

use super::remembered::{self, Compressed};
use super::{Handle, signatures};
use crate::image::location::StorageName;
use crate::image::manifest::{Descriptor, LayerType};
use crate::image::{Format, Location, Manifest, Reference};
use crate::transport::compression::chunked;
use crate::transport::{BlobId, BlobStream, Error, LayerRequest, RawManifest, Source, pipe};

/// The key of an image's manifest.
const MANIFEST_KEY: &str = "manifest";

/// An image of a store.
pub struct StoreSource<'s> {
    store: Handle<'s>,
    image: Image,
    location: Location,
    /// The store's layers when the first one was asked for: each layer on its way asks.
    layers: Mutex<Option<Layers>>,
}

impl<'s> StoreSource<'s> {
    pub(super) fn new(store: Handle<'s>, image: Image, location: Location) -> Self {
        Self { store, image, location, layers: Mutex::default() }
    }

    /// An image that was found, by the name that found it.
    pub fn of_image(store: &'s Store, image: Image, name: &str) -> Self {
        Self::new(Handle::InUse(store), image, Location::Storage(StorageName { store: None, name: name.to_owned() }))
    }

    fn failed(&self, source: store::Error) -> Error {
        Error::Store { place: self.name(), source }
    }

    /// What `find` finds among the layers.
    fn among_layers<T>(&self, find: impl FnOnce(&Layers) -> Result<T, store::Error>) -> Result<T, Error> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match layers.take() {
            Some(read) => Ok(read),
            None => self.store.layers(),
        };
        find(layers.insert(read.map_err(|error| self.failed(error))?)).map_err(|error| self.failed(error))
    }

    /// The image whose manifest has the digest: this one, or an instance of this list.
    fn image_of(&self, manifest: &Digest) -> Result<Image, Error> {
        if self.image.digest.as_ref() == Some(manifest) {
            return Ok(self.image.clone());
        }
        let images = self.store.images().and_then(|images| images.by_digest(manifest)).map_err(|error| self.failed(error))?;
        images.into_iter().next().ok_or_else(|| {
            let reason = format!("the image with the manifest {manifest} is not in the store");
            Error::NoImage { place: self.name(), reason }
        })
    }

    /// The blob that stands for a layer.
    fn describe(&self, layer: &Layer, original: &Descriptor, diff_id: &Digest, format: Format) -> Result<Descriptor, Error> {
        if self.store.kept_blob(layer).is_some()
            && let Some(described) = as_it_came(layer, original, format)
        {
            return Ok(described);
        }
        let media_type = format.layer_media_type().to_owned();
        let size = match u64::try_from(layer.diff_size) {
            Ok(size) => size,
            // Some other tool did not count.
            Err(_) => io::copy(&mut self.tar(layer)?, &mut io::sink()).map_err(|source| self.stream_failed(layer, source))?,
        };
        Ok(Descriptor { media_type, digest: diff_id.clone(), size, annotations: original.annotations.clone() })
    }

    fn remembered(&self) -> std::path::PathBuf {
        self.store.private_dir().join("compressed")
    }

    fn stream_failed(&self, layer: &Layer, source: io::Error) -> Error {
        Error::Stream { action: "reading", place: format!("layer {} of the store", layer.id), source }
    }

    /// The tar of a layer. Its digest is compared at the end.
    fn tar(&self, layer: &Layer) -> Result<Box<dyn io::Read + Send>, Error> {
        let driver = self.store.driver().map_err(|source| Error::Driver { layer: layer.id.to_string(), source })?;
        let driver_failed = |source| Error::Driver { layer: layer.id.to_string(), source };
        let mut dirs = vec![driver.diff_dir(&layer.id).map_err(driver_failed)?];
        dirs.extend(driver.lower_dirs(&layer.id).map_err(driver_failed)?);
        let roots = dirs.iter().map(|dir| Root::open(dir).map_err(Error::io("opening", dir)));
        let roots: Vec<Root> = roots.collect::<Result<_, _>>()?;
        let path = self.store.tar_split(&layer.id);
        let mut split = File::open(&path).map_err(Error::io("reading", &path))?;
        let (id, expected) = (layer.id.clone(), layer.diff_digest.clone());
        let stream = pipe::stream("assemble", move |to| {
            let mut open = |name: &[u8]| tar_split::open_in(&roots, name);
            let made = tar_split::assemble(&mut split, &mut open, to);
            let made = made.map_err(|error| io::Error::other(format!("layer {id} of the store is damaged: {error}")))?;
            match expected.filter(|expected| *expected != made.digest) {
                Some(expected) => {
                    let text = format!("layer {id} of the store has the digest {} instead of {expected}", made.digest);
                    Err(io::Error::new(io::ErrorKind::InvalidData, text))
                }
                None => Ok(()),
            }
        });
        stream.map_err(|source| self.stream_failed(layer, source))
    }

    fn layer_blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
        let expected = BlobId { digest: blob.digest.clone(), size: blob.size };
        for layer in self.among_layers(|layers| layers.with_compressed_digest(&blob.digest))? {
            if let Some(file) = self.store.kept_blob(&layer) {
                return Ok(BlobStream::new(Box::new(file), expected));
            }
        }
        // Whichever layer it is: the digest says that the content is the same.
        let same = self.among_layers(|layers| layers.with_diff_digest(&blob.digest))?;
        match same.iter().find(|layer| self.store.tar_split(&layer.id).exists()) {
            // `tar` compares the digest.
            Some(layer) => Ok(BlobStream::verified_by_writer(self.tar(layer)?, expected)),
            None => {
                let problem =
                    if same.is_empty() { "is not in the store" } else { "cannot be made again: its tar-split is missing" };
                Err(Error::Blob { place: self.name(), digest: blob.digest.clone(), problem: problem.to_owned() })
            }
        }
    }
}

/// The descriptor of the blob that a layer came in as.
fn as_it_came(layer: &Layer, original: &Descriptor, format: Format) -> Option<Descriptor> {
    let digest = layer.compressed_digest.clone()?;
    let size = u64::try_from(layer.compressed_size).ok()?;
    if original.digest == digest && original.size == size {
        return Some(original.clone());
    }
    let kind = match layer.compression {
        Compression::Gzip => LayerType::Gzip,
        Compression::Zstd => LayerType::Zstd,
        _ => return None,
    };
    let media_type = kind.in_format(format)?.to_owned();
    let mut annotations = original.annotations.clone();
    // They are about the bytes of the manifest's blob.
    annotations.retain(|name, _| !name.starts_with(chunked::PREFIX));
    Some(Descriptor { media_type, digest, size, annotations })
}

/// The layers of an image, lowest first.
fn chain(layers: &Layers, image: &Image) -> Result<Vec<Layer>, store::Error> {
    let Some(top) = &image.layer else { return Ok(Vec::new()) };
    let mut chain = layers.chain(top)?;
    chain.reverse();
    Ok(chain)
}

impl Source for StoreSource<'_> {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn transport(&self) -> &'static str {
        "containers-storage"
    }

    fn policy_scopes(&self) -> Vec<String> {
        let prefixes = super::scope_prefixes(self.store.conf().driver, &self.store.conf().graph_root);
        let names = self.image.names.iter().filter_map(|name| Reference::parse_qualified(name).ok());
        let mut scopes = Vec::new();
        for name in names {
            let repository = name.repository();
            for prefix in &prefixes {
                scopes.push(format!("{prefix}{name}"));
                let shorter = repository.match_indices('/').map(|(at, _)| &repository[..at]);
                let ancestors: Vec<&str> = shorter.chain([repository.as_str()]).collect();
                scopes.extend(ancestors.iter().rev().map(|scope| format!("{prefix}{scope}")));
            }
        }
        scopes.extend(prefixes);
        scopes
    }

    fn is_trusted(&self) -> bool {
        matches!(self.store, Handle::InUse(_))
    }

    fn reference(&self) -> Option<Reference> {
        let typed = match &self.location {
            Location::Storage(name) => Reference::parse_qualified(&name.name).ok(),
            _ => None,
        };
        typed.or_else(|| Reference::parse_qualified(self.image.names.first()?).ok())
    }

    fn signatures(&self, instance: Option<&Digest>) -> Result<Vec<Vec<u8>>, Error> {
        match instance {
            None => {
                let manifest = self.store.image_data(&self.image, MANIFEST_KEY).map_err(|error| self.failed(error))?;
                signatures::read(&self.store, &self.image, Some(&Digest::of(&manifest)))
            }
            Some(digest) => signatures::read(&self.store, &self.image_of(digest)?, Some(digest)),
        }
    }

    fn names(&self) -> Vec<String> {
        self.image.names.clone()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, Error> {
        let (image, key) = match instance {
            None => (self.image.clone(), MANIFEST_KEY.to_owned()),
            Some(digest) => (self.image_of(digest)?, format!("manifest-{digest}")),
        };
        let bytes = match self.store.image_data(&image, &key) {
            // Not every tool stores it under both keys.
            Err(store::Error::NoData { .. }) => self.store.image_data(&image, MANIFEST_KEY),
            read => read,
        };
        Ok(RawManifest { bytes: bytes.map_err(|error| self.failed(error))?, media_type: None })
    }

    fn layers(&self, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<Descriptor>, Error> {
        let image = self.image_of(&manifest.digest()).unwrap_or_else(|_| self.image.clone());
        let chain = self.among_layers(|layers| chain(layers, &image))?;
        if chain.len() != diff_ids.len() || manifest.layers.len() != diff_ids.len() {
            return Err(Error::LayerCount { place: self.name(), layers: chain.len(), diff_ids: diff_ids.len() });
        }
        let mut described = Vec::with_capacity(chain.len());
        for (index, (layer, diff_id)) in chain.iter().zip(diff_ids).enumerate() {
            if let Some(found) = layer.diff_digest.as_ref().filter(|found| *found != diff_id) {
                let (found, expected) = (found.clone(), diff_id.clone());
                return Err(Error::DiffId { place: self.name(), index, found, expected });
            }
            described.push(self.describe(layer, &manifest.layers[index], diff_id, manifest.format)?);
        }
        Ok(described)
    }

    fn known_as(&self, request: &LayerRequest<'_>) -> Result<Vec<Descriptor>, Error> {
        let Some(diff_id) = request.diff_id() else { return Ok(Vec::new()) };
        let mut known: Vec<Descriptor> = Vec::new();
        for layer in self.among_layers(|layers| layers.with_diff_digest(diff_id))? {
            // OCI's names are those of all kinds of compression.
            let came = as_it_came(&layer, request.blob, Format::Oci);
            known.extend(came.filter(|came| *came != *request.blob && !known.contains(came)));
        }
        for blob in remembered::find(&self.remembered(), diff_id) {
            let media_type = blob.kind.in_format(Format::Oci).unwrap_or_default().to_owned();
            known.push(Descriptor { media_type, digest: blob.digest, size: blob.size, ..request.blob.clone() });
        }
        Ok(known)
    }

    fn learned(&self, request: &LayerRequest<'_>, blob: &Descriptor, kind: LayerType) {
        if let Some(diff_id) = request.diff_id() {
            let blob = Compressed { kind, digest: blob.digest.clone(), size: blob.size };
            remembered::note(&self.remembered(), diff_id, &blob);
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
        let key = blob.digest.to_string();
        if self.image.big_data_names.contains(&key) {
            let bytes = self.store.image_data(&self.image, &key).map_err(|error| self.failed(error))?;
            let expected = BlobId { digest: blob.digest.clone(), size: blob.size };
            return Ok(BlobStream::new(Box::new(io::Cursor::new(bytes)), expected));
        }
        // The config of an instance of a list is that of another image.
        let images = self.store.images().map_err(|error| self.failed(error))?;
        if let Ok(id) = blob.digest.hex().parse()
            && let Some(image) = images.find(&id).map_err(|error| self.failed(error))?
        {
            let bytes = self.store.image_data(&image, &key).map_err(|error| self.failed(error))?;
            let expected = BlobId { digest: blob.digest.clone(), size: blob.size };
            return Ok(BlobStream::new(Box::new(io::Cursor::new(bytes)), expected));
        }
        self.layer_blob(blob)
    }
}

impl std::fmt::Debug for StoreSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSource")
            .field("image", &Escaped::new(self.location.to_string().as_bytes()))
            .finish_non_exhaustive()
    }
}
