//! A list of the store and its images, wherever they are, as one source of a copy.
//!
//! Invariant: a place is opened when the first of its images is read, and only if the policy accepts it; what comes from there is
//! verified against the digests of the list by whoever copies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use containers_storage::Digest;
use containers_storage::store::Store;

use super::artifact::{self, Artifacts};
use super::{Access, Error, Stored};
use crate::conf::Policy;
use crate::image::Manifest;
use crate::image::location::{Location, StorageName};
use crate::image::manifest::{Descriptor, Document, LayerType};
use crate::transport::storage::StoreSource;
use crate::transport::{self, BlobStream, LayerRequest, RawManifest, Source};

/// Where a blob comes from.
#[derive(Clone)]
enum Home<'s> {
    Place(Arc<dyn Source + 's>),
    /// An artifact that the list holds itself.
    Artifact,
}

/// A list and its images.
pub struct ListSource<'s> {
    store: &'s Store,
    stored: Stored,
    policy: Policy,
    access: Access<'s>,
    state: Mutex<State<'s>>,
}

#[derive(Default)]
struct State<'s> {
    /// What was opened, by place.
    places: HashMap<String, Arc<dyn Source + 's>>,
    /// Where manifests, configs and layers come from, by digest.
    homes: HashMap<Digest, Home<'s>>,
}

impl<'s> ListSource<'s> {
    /// A list that was read.
    pub fn new(store: &'s Store, stored: Stored, access: &Access<'s>) -> Result<Self, Error> {
        let policy = access.trust.load();
        let operand = || stored.image.id.to_string();
        let policy = policy.map_err(|source| Error::Policy { operand: operand(), source: Box::new(source) })?;
        Ok(Self { store, stored, policy, access: *access, state: Mutex::default() })
    }

    fn artifacts(&self) -> &Artifacts {
        &self.stored.artifacts
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<'s>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source that has the image with this manifest.
    fn open(&self, manifest: &Digest) -> Result<Arc<dyn Source + 's>, transport::Error> {
        let place = self.stored.places.get(manifest.as_str()).map_or("", String::as_str);
        if let Some(known) = self.state().places.get(place) {
            return Ok(known.clone());
        }
        let source: Arc<dyn Source + 's> = match self.location(place)? {
            Some(location) => {
                let source = transport::open_source(&location, self.access.means(self.store))?;
                transport::copy::require_policy(source.as_ref(), &self.policy)?;
                source.into()
            }
            // Of a list that another tool pulled, or whose image moved: the store knows it by the digest.
            None => Arc::new(StoreSource::of_image(self.store, self.stored.image.clone(), self.stored.image.id.as_str())),
        };
        self.state().places.insert(place.to_owned(), source.clone());
        Ok(source)
    }

    /// The place that a text of `instances.json` names; none for one that is of no use.
    fn location(&self, place: &str) -> Result<Option<Location>, transport::Error> {
        if place.is_empty() {
            return Ok(None);
        }
        let location = Location::parse(place).map_err(|source| transport::Error::Impossible(format!("{place}: {source}")))?;
        Ok(match location {
            Some(Location::Storage(name)) if self.is_in_use(&name) => {
                let name = StorageName { store: None, name: name.name };
                // The image may have gone and come back under another ID since.
                let there = transport::open_source(&Location::Storage(name.clone()), self.access.means(self.store)).is_ok();
                there.then_some(Location::Storage(name))
            }
            location => location,
        })
    }

    /// Whether the name is one of the store in use.
    fn is_in_use(&self, name: &StorageName) -> bool {
        let Some(spec) = &name.store else { return true };
        spec.graph_root.as_deref().is_none_or(|root| root == self.store.conf().graph_root)
    }

    fn remember(&self, digests: impl Iterator<Item = Digest>, home: &Home<'s>) {
        let mut state = self.state();
        for digest in digests {
            state.homes.insert(digest, home.clone());
        }
    }

    fn home(&self, digest: &Digest) -> Option<Home<'s>> {
        self.state().homes.get(digest).cloned()
    }

    fn instance(&self, digest: &Digest) -> Result<(RawManifest, Home<'s>), transport::Error> {
        if let Some(text) = self.artifacts().manifests.get(digest.as_str()) {
            return Ok((RawManifest { bytes: text.clone().into_bytes(), media_type: None }, Home::Artifact));
        }
        let source = self.open(digest)?;
        let own = source.manifest(None).ok().filter(|raw| Digest::of(&raw.bytes) == *digest);
        let (raw, instance) = match own {
            Some(raw) => (raw, None),
            None => (source.manifest(Some(digest))?, Some(digest)),
        };
        // What the list says is in the store and trusted; what is elsewhere is looked at where it comes in.
        transport::copy::require_image(source.as_ref(), &self.policy, &raw.bytes, instance)?;
        Ok((raw, Home::Place(source)))
    }
}

impl Source for ListSource<'_> {
    fn name(&self) -> String {
        let name = self.stored.image.names.first().cloned();
        Location::stored(&name.unwrap_or_else(|| self.stored.image.id.to_string())).to_string()
    }

    fn policy_scopes(&self) -> Vec<String> {
        Vec::new()
    }

    fn transport(&self) -> &'static str {
        "containers-storage"
    }

    fn is_trusted(&self) -> bool {
        true
    }

    fn signatures(&self, instance: Option<&Digest>) -> Result<Vec<Vec<u8>>, transport::Error> {
        let Some(digest) = instance else { return Ok(Vec::new()) };
        let Some(Home::Place(source)) = self.home(digest) else { return Ok(Vec::new()) };
        let own = source.manifest(None)?;
        source.signatures(if Digest::of(&own.bytes) == *digest { None } else { Some(digest) })
    }

    fn names(&self) -> Vec<String> {
        self.stored.image.names.clone()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, transport::Error> {
        let Some(digest) = instance else {
            return Ok(RawManifest { bytes: self.stored.bytes.clone(), media_type: None });
        };
        let (raw, home) = self.instance(digest)?;
        if let Ok(Document::Image(manifest)) = Document::parse(&raw.bytes, raw.media_type.as_deref()) {
            let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
            let blobs: Vec<Digest> = blobs.map(|blob| blob.digest.clone()).collect();
            self.remember(blobs.into_iter().chain([digest.clone()]), &home);
        }
        Ok(RawManifest { media_type: None, ..raw })
    }

    fn layers(&self, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<Descriptor>, transport::Error> {
        let Some(Home::Place(source)) = self.home(&manifest.digest()) else { return Ok(manifest.layers.clone()) };
        let layers = source.layers(manifest, diff_ids)?;
        self.remember(layers.iter().map(|layer| layer.digest.clone()), &Home::Place(source));
        Ok(layers)
    }

    fn known_as(&self, layer: &LayerRequest<'_>) -> Result<Vec<Descriptor>, transport::Error> {
        match self.home(&layer.blob.digest) {
            Some(Home::Place(source)) => source.known_as(layer),
            _ => Ok(Vec::new()),
        }
    }

    fn learned(&self, layer: &LayerRequest<'_>, blob: &Descriptor, kind: LayerType) {
        if let Some(Home::Place(source)) = self.home(&layer.blob.digest) {
            source.learned(layer, blob, kind);
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, transport::Error> {
        match self.home(&blob.digest) {
            Some(Home::Place(source)) => source.blob(blob),
            Some(Home::Artifact) => artifact::blob(self.artifacts(), blob),
            None => {
                let problem = "is of no image of the list".to_owned();
                Err(transport::Error::Blob { place: self.name(), digest: blob.digest.clone(), problem })
            }
        }
    }
}

impl std::fmt::Debug for ListSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListSource").field("list", &self.stored.image.id).finish_non_exhaustive()
    }
}
