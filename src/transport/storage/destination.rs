//! Writing an image into a store.
//!
//! Invariant: layers are unpacked where nobody looks, several at once; they become layers of the store only when all of them, config
//! and manifest are there and verified. What was given up is deleted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use containers_storage::archive::unpack::Unmapped;
use containers_storage::layers::{Layer, LayerContent, Layers};
use containers_storage::store::{self, NewImage, StagedLayer};
use containers_storage::{Digest, ImageId, LayerId};
use jiff::Timestamp;

use super::{Handle, signatures};
use crate::image::location::StorageName;
use crate::image::manifest::Descriptor;
use crate::image::signature::Kind;
use crate::image::{Format, ImageConfig, Location, Manifest, Reference, Time};
use crate::transport::{Accepts, BlobId, BlobStream, Destination, Documents, Error, InIndex, LayerForm, LayerRequest, blob};

/// A store that gets an image.
pub(in crate::transport) struct StoreDestination<'s> {
    store: Handle<'s>,
    location: Location,
    name: Option<Reference>,
    /// Layers at a time.
    parallel: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The store's layers when the first one was asked for.
    layers: Option<Layers>,
    /// Those of them, from the lowest up, that are the image's as far as was asked: each layer is asked for, and all below it count.
    there: Vec<(Digest, Layer)>,
    staged: BTreeMap<usize, (StagedLayer, LayerContent)>,
    documents: Documents,
    /// The index that the image is one of.
    index: Option<Vec<u8>>,
    signatures: Vec<Vec<u8>>,
}

impl<'s> StoreDestination<'s> {
    pub(super) fn new(store: Handle<'s>, name: &StorageName, location: &Location, parallel: usize) -> Result<Self, Error> {
        let name = match name.name.as_str() {
            "" => None,
            // An ID says nothing new: it is that of the config.
            id if id.starts_with('@') => None,
            name => {
                let wrong = |source| Error::Impossible(format!("{location}: {source}"));
                Some(Reference::for_new_image(name).map_err(|source: crate::image::reference::Error| wrong(source))?)
            }
        };
        Ok(Self { store, location: location.clone(), name, parallel, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: store::Error) -> Error {
        Error::Store { place: self.name(), source }
    }

    /// The layer of the store that has this and all lower diffs.
    fn existing(&self, diff_ids: &[Digest]) -> Result<Option<Layer>, Error> {
        let mut state = self.state();
        if state.layers.is_none() {
            state.layers = Some(self.store.layers().map_err(|error| self.failed(error))?);
        }
        let State { layers: Some(layers), there, .. } = &mut *state else { return Ok(None) };
        let same = there.iter().zip(diff_ids).take_while(|((known, _), wanted)| known == *wanted).count();
        if same < diff_ids.len() {
            there.truncate(same);
        }
        for diff_id in diff_ids.get(same..).unwrap_or_default() {
            let below = there.last().map(|(_, layer)| &layer.id);
            match upon(layers, below, diff_id).map_err(|error| self.failed(error))? {
                Some(layer) => there.push((diff_id.clone(), layer)),
                None => return Ok(None),
            }
        }
        let top = diff_ids.len().checked_sub(1).and_then(|top| there.get(top));
        Ok(top.map(|(_, layer)| layer.clone()))
    }

    /// Makes the staged layers layers of the store, and answers with the top one.
    fn put_layers(
        &self,
        diff_ids: &[Digest],
        mut staged: BTreeMap<usize, (StagedLayer, LayerContent)>,
    ) -> Result<Option<LayerId>, Error> {
        // What was there is below all that was not.
        let there = (0..diff_ids.len()).find(|index| staged.contains_key(index)).unwrap_or(diff_ids.len());
        let deleted = |index: usize| {
            let reason = format!("layer {index} was deleted by another process while the image was copied");
            Error::NoImage { place: self.name(), reason }
        };
        let below = match there.checked_sub(1) {
            None => None,
            Some(index) => Some(self.existing(&diff_ids[..there])?.ok_or_else(|| deleted(index))?.id),
        };
        let mut above = Vec::with_capacity(staged.len());
        for index in there..diff_ids.len() {
            above.push(staged.remove(&index).ok_or_else(|| deleted(index))?);
        }
        self.store.put_layers(&above, below.as_ref()).map_err(|error| self.failed(error))
    }

    /// The digest for the record of an image that came by the index `named_by`: as with the other tools that of the index, so that this
    /// name finds it again, unless the image was there before.
    fn digest_of_record(&self, id: &ImageId, named_by: Digest) -> Result<Digest, Error> {
        let found = self.store.images().and_then(|images| images.find(id)).map_err(|error| self.failed(error))?;
        Ok(found.and_then(|image| image.digest).unwrap_or(named_by))
    }

    /// The top layer of the image `id`, if it is there already with the same content.
    fn known_top(&self, id: &ImageId, diff_ids: &[Digest]) -> Result<Option<LayerId>, store::Error> {
        let Some(top) = self.store.images()?.find(id)?.filter(|image| !image.read_only).and_then(|image| image.layer) else {
            return Ok(None);
        };
        let chain = self.store.layers()?.chain(&top)?;
        let same = chain.iter().rev().map(|layer| layer.diff_digest.as_ref()).eq(diff_ids.iter().map(Some));
        Ok(same.then_some(top))
    }
}

/// The layer directly upon `below` with the content `diff_id`. The one with the usual ID is preferred.
fn upon(layers: &Layers, below: Option<&LayerId>, diff_id: &Digest) -> Result<Option<Layer>, store::Error> {
    let is_it =
        |layer: &Layer| layer.parent.as_ref() == below && layer.diff_digest.as_ref() == Some(diff_id) && !layer.is_incomplete();
    let usual = LayerId::of_image_layer(below, diff_id);
    if let Some(layer) = layers.find(&usual)?.filter(is_it) {
        return Ok(Some(layer));
    }
    Ok(layers.with_diff_digest(diff_id)?.into_iter().find(is_it))
}

impl Destination for StoreDestination<'_> {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn reference(&self) -> Option<Reference> {
        self.name.clone()
    }

    fn accepts(&self) -> Accepts {
        let parallel = self.parallel;
        // The layers are inflated here, but manifest and records tell of them as they came.
        Accepts { formats: &[Format::Oci, Format::Docker], layers: LayerForm::Preserve, indexes: false, parallel }
    }

    fn keeps_encrypted(&self) -> bool {
        false
    }

    fn has_layer(&self, layer: &LayerRequest<'_>) -> Result<Option<Descriptor>, Error> {
        let diff_ids = layer.diff_ids.get(..=layer.index).unwrap_or_default();
        Ok(self.existing(diff_ids)?.map(|_| layer.blob.clone()))
    }

    fn put_layer(&self, request: &LayerRequest<'_>, stream: BlobStream<'_>) -> Result<BlobId, Error> {
        let place = || format!("layer {} of {}", request.index, self.name());
        let mut staged = self.store.stage_layer().map_err(|error| self.failed(error))?;
        let unmapped = if crate::userns::has_single_id() { Unmapped::Ignore } else { Unmapped::Refuse };
        // The digest is computed where it is unpacked.
        let (mut input, expected) = stream.into_unverified();
        let content = staged.unpack_and_keep(&mut input, unmapped);
        let content = content.map_err(|source| Error::Archive { place: place(), source: Box::new(source) })?;
        let found = BlobId { digest: content.compressed_digest.clone(), size: content.compressed_size };
        if let Some(expected) = expected {
            let wrong = |source| Error::Stream { action: "reading", place: place(), source };
            blob::verify(&expected, &found).map_err(wrong)?;
        }
        if let Some(expected) = request.diff_id().filter(|expected| **expected != content.diff_digest) {
            let (found, expected) = (content.diff_digest.clone(), expected.clone());
            return Err(Error::DiffId { place: self.name(), index: request.index, found, expected });
        }
        self.state().staged.insert(request.index, (staged, content));
        Ok(found)
    }

    fn put_config(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.state().documents.put_config(digest, bytes);
        Ok(())
    }

    fn put_manifest(&self, manifest: &Manifest, _: InIndex) -> Result<(), Error> {
        self.state().documents.put_manifest(manifest);
        Ok(())
    }

    fn note_index(&self, bytes: &[u8]) {
        self.state().index = Some(bytes.to_vec());
    }

    fn accepts_signature(&self, _: Option<Kind>) -> Result<(), Error> {
        Ok(())
    }

    fn put_signatures(&self, signatures: &[Vec<u8>], _: Option<&Digest>) -> Result<(), Error> {
        self.state().signatures = signatures.to_vec();
        Ok(())
    }

    fn complete(self: Box<Self>) -> Result<Option<ImageId>, Error> {
        let State { staged, documents, index, signatures, .. } = std::mem::take(&mut *self.state());
        let Some((config_digest, config, manifest)) = documents.both() else { return Ok(None) };
        let parsed = ImageConfig::parse(&config).map_err(|source| Error::Config { place: self.name(), source })?;
        let id = ImageId::of_config(&config_digest);
        let known = self.known_top(&id, &parsed.diff_ids).map_err(|error| self.failed(error))?;
        let layer = match known {
            Some(top) => Some(top),
            None => self.put_layers(&parsed.diff_ids, staged)?,
        };
        let digest = manifest.digest();
        let (metadata, signature_data) = signatures::write(&digest, &signatures);
        let mut big_data = vec![
            (config_digest.to_string(), config),
            (format!("manifest-{digest}"), manifest.bytes().to_vec()),
            ("manifest".to_owned(), manifest.bytes().to_vec()),
        ];
        big_data.extend(signature_data);
        let digest = match index {
            None => digest,
            Some(bytes) => {
                let named_by = Digest::of(&bytes);
                big_data.push((format!("manifest-{named_by}"), bytes));
                self.digest_of_record(&id, named_by)?
            }
        };
        let image = NewImage {
            passing: false,
            holder: None,
            id: id.clone(),
            layer,
            names: self.name.iter().map(ToString::to_string).collect(),
            metadata,
            // An image that does not say when it was made is as old as its record.
            created: parsed.created.unwrap_or_else(|| Time::from_timestamp(Timestamp::now())).as_str().to_owned(),
            big_data,
            digest,
        };
        self.store.put_image(&image).map_err(|error| self.failed(error))?;
        Ok(Some(id))
    }
}
