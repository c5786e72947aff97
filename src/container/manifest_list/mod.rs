//! Manifest lists in the store: `manifest` and `commit --manifest`.
//!
//! ```text
//! images.json            an image record without layers
//!   manifest             the list; its bytes are what push copies
//!   instances.json       digest of an image → where it is, as transport:rest; "" → the list's own ID
//!   artifacts.json       what `add --artifact` made: manifests, small blobs, paths of files (only if there is something)
//!
//! mod       what is stored; finding, reading, writing       create  edit      the verbs
//! add       images into a list      artifact  files as one       reading   what an operand names
//! source    a list and its images, wherever they are, as one source of a copy
//! ```
//!
//! Invariant: a list is read and written under the lock that the other tools take for it, so that no entry is lost. Members that are
//! not known here survive.

mod add;
mod artifact;
mod create;
mod edit;
mod error;
mod reading;
mod source;

use std::collections::BTreeMap;

use containers_storage::images::Image;
use containers_storage::store::{self, NewImage, Store};
use containers_storage::{Digest, ImageId};

pub use self::add::{Built, Overrides, add, add_built};
use self::artifact::Artifacts;
pub use self::artifact::{ArtifactOptions, ConfigFrom, add_artifact};
pub use self::create::{Existing, create};
pub use self::edit::{Target, annotate, remove};
pub use self::error::Error;
pub use self::reading::{Access, Ask, Entries, elsewhere, platforms};
pub use self::source::ListSource;
use super::find_image::{self, find_image};
use crate::conf::Registries;
use crate::image::list::{List, instances};
use crate::image::manifest;
use crate::image::reference::Reference;

const MANIFEST: &str = "manifest";
const INSTANCES: &str = "instances.json";
const ARTIFACTS: &str = "artifacts.json";

/// A list of the store.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its record.
    pub image: Image,
    /// What it says.
    pub list: List,
    /// Its bytes, as read.
    pub bytes: Vec<u8>,
    /// Where each image is, by the digest of its manifest.
    places: BTreeMap<String, String>,
    artifacts: Artifacts,
}

impl Stored {
    /// The files that the artifact with this manifest was made of.
    pub fn files(&self, digest: &Digest) -> Vec<String> {
        self.artifacts.files.get(digest.as_str()).cloned().unwrap_or_default()
    }

    /// Reads what the store has of a list.
    pub fn read(store: &Store, image: Image) -> Result<Self, Error> {
        let id = || image.id.clone();
        let bytes = store.image_data(&image, MANIFEST).map_err(|source| Error::store(id().as_str(), source))?;
        let list = List::parse(&bytes).map_err(|source| Error::Damaged { id: id(), source })?;
        let beside = |key| match store.image_data(&image, key) {
            Ok(bytes) => Ok(Some(bytes)),
            // A list that another tool pulled, or an older one made, has no such file.
            Err(store::Error::NoData { .. }) => Ok(None),
            Err(source) => Err(Error::store(image.id.as_str(), source)),
        };
        let wrong = |file| move |source| Error::Beside { id: id(), file, source };
        let places = beside(INSTANCES)?.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(wrong(INSTANCES))?;
        let artifacts = beside(ARTIFACTS)?.map(|bytes| serde_json::from_slice(&bytes)).transpose();
        let artifacts = artifacts.map_err(|source| Error::Beside { id: image.id.clone(), file: ARTIFACTS, source })?;
        Ok(Self { list, bytes, places: places.unwrap_or_default(), artifacts: Option::unwrap_or_default(artifacts), image })
    }

    /// Writes it back, as the kind that the other tools would. It gets these names, whoever has them.
    fn save(&mut self, store: &Store, names: &[String]) -> Result<(), Error> {
        self.list.kind = self.list.preferred_kind();
        self.bytes = self.list.to_bytes();
        self.places.insert(String::new(), self.image.id.to_string());
        let mut big_data = vec![(MANIFEST.to_owned(), self.bytes.clone()), (INSTANCES.to_owned(), instances(&self.places))];
        if !self.artifacts.is_empty() || self.image.big_data_names.iter().any(|key| key == ARTIFACTS) {
            big_data.push((ARTIFACTS.to_owned(), self.artifacts.to_bytes()));
        }
        let new = NewImage {
            passing: false,
            holder: None,
            id: self.image.id.clone(),
            digest: Digest::of(&self.bytes),
            layer: self.image.layer.clone(),
            names: names.to_vec(),
            metadata: self.image.metadata.clone(),
            created: self.image.created.clone(),
            big_data,
        };
        store.put_image(&new).map(drop).map_err(|source| Error::store(self.image.id.as_str(), source))
    }
}

/// The list that `name` means. An image that is no list is an error.
pub fn find(store: &Store, registries: &Registries, name: &str) -> Result<Stored, Error> {
    let found = find_image(store, registries, name)?;
    if !is_list(store, &found.image)? {
        let name = found.name.unwrap_or_else(|| found.id.to_string());
        return Err(Error::NotAList { name });
    }
    Stored::read(store, found.image)
}

/// Changes the list that `name` means, while no other process does.
fn change<T>(
    store: &Store,
    registries: &Registries,
    name: &str,
    edit: impl FnOnce(&mut Stored) -> Result<T, Error>,
) -> Result<(ImageId, T), Error> {
    let id = find(store, registries, name)?.image.id;
    let _changing = store.lock_list(&id).map_err(|source| Error::store(name, source))?;
    let image = store.images().and_then(|images| images.get(&id)).map_err(|source| Error::store(name, source))?;
    let mut stored = Stored::read(store, image)?;
    let outcome = edit(&mut stored)?;
    stored.save(store, &[])?;
    Ok((id, outcome))
}

/// Whether an image of the store is a list.
pub fn is_list(store: &Store, image: &Image) -> Result<bool, Error> {
    let has = |wanted: &str| image.big_data_names.iter().any(|key| key == wanted);
    if image.layer.is_some() || !has(MANIFEST) {
        return Ok(false);
    }
    let bytes = store.image_data(image, MANIFEST).map_err(|source| Error::store(image.id.as_str(), source))?;
    let document = manifest::Document::parse(&bytes, None);
    let document = document.map_err(|source| Error::Damaged { id: image.id.clone(), source })?;
    Ok(matches!(document, manifest::Document::Index(_)))
}

/// Whether there could be a list called `name`: refuses what is no name, and the name of one image.
pub fn check(store: &Store, name: &str) -> Result<(), Error> {
    existing_or_meant(store, name).map(drop)
}

/// The list that has the name of a new one, if there is one. Only the name itself counts, not what else it may be short for.
fn existing(store: &Store, name: &str) -> Result<Option<Image>, Error> {
    let full = qualified(name)?.to_string();
    let image = store.images().and_then(|images| images.by_name(&full)).map_err(|source| Error::store(name, source))?;
    match image {
        Some(image) if !is_list(store, &image)? => Err(Error::OneImage { name: name.to_owned(), id: image.id }),
        image => Ok(image),
    }
}

/// The same, or a list that is named by its ID or in some shorter way.
fn existing_or_meant(store: &Store, name: &str) -> Result<Option<Image>, Error> {
    if let Some(image) = existing(store, name)? {
        return Ok(Some(image));
    }
    match find_image(store, &Registries::default(), name) {
        Ok(found) => Ok(if is_list(store, &found.image)? { Some(found.image) } else { None }),
        Err(find_image::Error::NotKnown { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn qualified(name: &str) -> Result<Reference, Error> {
    Reference::for_new_image(name).map_err(|reason| Error::Name { text: name.to_owned(), reason })
}

/// An image of the store as the other tools name it (containers-transports(5)).
fn place(store: &Store, id: &ImageId) -> String {
    let conf = store.conf();
    format!("containers-storage:[{}@{}+{}]@{id}", conf.driver.name(), conf.graph_root.display(), conf.run_root.display())
}
