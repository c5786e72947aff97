//! Manifest lists in the store: `commit --manifest`.
//!
//! A list is an image record without layers; its `manifest` is the list, and `instances.json` says for each digest which image of the
//! store it is (as podman and Buildah keep them).
//!
//! Invariant: a list is read and written under the lock that the other tools take for it, so that no entry is lost.

use std::collections::BTreeMap;

use containers_storage::images::Image;
use containers_storage::store::{self, NewImage, Store};
use containers_storage::{Digest, ImageId};
use jiff::Timestamp;

use super::find_image::{self, find_image};
use crate::conf::Registries;
use crate::image::list::{List, instances};
use crate::image::reference::{self, Reference};
use crate::image::{ImageConfig, Manifest, Time, manifest};

/// Key of the big data that says where a list's images are.
const INSTANCES: &str = "instances.json";

/// Why an image was not added to a list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is none.
    #[error("cannot parse input: {text:?}: {reason}")]
    Name {
        /// What was typed.
        text: String,
        /// Which rule it breaks.
        reason: reference::Error,
    },
    /// The name is that of one image. Scripts look for the end.
    #[error(
        "image name {name:?} is already associated with image {id:?}, which is no manifest list: that name is already in use"
    )]
    OneImage {
        /// What was typed.
        name: String,
        /// The image.
        id: ImageId,
    },
    /// Looking for the list failed.
    #[error("{0}")]
    Find(#[from] find_image::Error),
    /// The list cannot be read.
    #[error("reading manifest list {id}")]
    Damaged {
        /// The list.
        id: ImageId,
        /// What is wrong.
        source: manifest::Error,
    },
    /// `instances.json` cannot be read.
    #[error("reading manifest list {id}: instances.json")]
    Instances {
        /// The list.
        id: ImageId,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The store refused.
    #[error("manifest list {name:?}")]
    Store {
        /// What was typed.
        name: String,
        /// What failed.
        source: store::Error,
    },
}

/// An image to be added.
#[derive(Debug)]
pub struct Instance<'a> {
    /// Its ID.
    pub id: &'a ImageId,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its config, which tells its platform.
    pub config: &'a ImageConfig,
}

/// Whether there could be a list called `name`: refuses what is no name, and the name of one image.
pub fn check(store: &Store, name: &str) -> Result<(), Error> {
    find(store, name).map(drop)
}

/// Adds an image to the list called `name`, which is made if there is none. Returns the list's ID.
pub fn add(store: &Store, name: &str, instance: &Instance<'_>) -> Result<ImageId, Error> {
    let failed = |source| Error::Store { name: name.to_owned(), source };
    // Nobody else of ours makes a list of this name meanwhile.
    let _making = store.lock_lists().map_err(failed)?;
    let Some(id) = find(store, name)?.map(|image| image.id) else {
        return create(store, name, instance);
    };
    let _changing = store.lock_list(&id).map_err(failed)?;
    let image = store.images().and_then(|images| images.get(&id)).map_err(failed)?;
    let bytes = store.image_data(&image, "manifest").map_err(failed)?;
    let mut list = List::parse(&bytes).map_err(|source| Error::Damaged { id: id.clone(), source })?;
    let mut known = places(store, &image).map_err(|source| Error::Instances { id: id.clone(), source })?;
    list.add(instance.manifest, instance.config);
    list.kind = list.preferred_kind();
    known.insert(instance.manifest.digest().to_string(), place(store, instance.id));
    put(store, &image.id, &[], &image.created, &list, &known).map_err(failed)?;
    Ok(image.id)
}

fn create(store: &Store, name: &str, instance: &Instance<'_>) -> Result<ImageId, Error> {
    // The other tools have random IDs for lists, since a list changes and its ID does not.
    let id: ImageId = ImageId::random();
    let mut list = List::new();
    list.add(instance.manifest, instance.config);
    let known = BTreeMap::from([(instance.manifest.digest().to_string(), place(store, instance.id))]);
    let names = [qualified(name)?.to_string()];
    let created = Time::from_timestamp(Timestamp::now());
    put(store, &id, &names, created.as_str(), &list, &known)
        .map_err(|source| Error::Store { name: name.to_owned(), source })?;
    Ok(id)
}

fn put(
    store: &Store,
    id: &ImageId,
    names: &[String],
    created: &str,
    list: &List,
    known: &BTreeMap<String, String>,
) -> Result<(), store::Error> {
    let manifest = list.to_bytes();
    let new = NewImage {
        id: id.clone(),
        digest: Digest::of(&manifest),
        layer: None,
        names: names.to_vec(),
        metadata: String::new(),
        created: created.to_owned(),
        big_data: vec![("manifest".to_owned(), manifest), (INSTANCES.to_owned(), instances(known))],
    };
    store.put_image(&new).map(drop)
}

/// The list called `name`, if there is one.
fn find(store: &Store, name: &str) -> Result<Option<Image>, Error> {
    let image = match find_image(store, &Registries::default(), name) {
        Ok(found) => found.image,
        Err(find_image::Error::NotKnown { .. }) => return qualified(name).map(|_| None),
        Err(error) => return Err(error.into()),
    };
    let failed = |source| Error::Store { name: name.to_owned(), source };
    let bytes = store.image_data(&image, "manifest").map_err(failed)?;
    match manifest::Document::parse(&bytes, None) {
        Ok(manifest::Document::Index(_)) => Ok(Some(image)),
        Ok(manifest::Document::Image(_)) => Err(Error::OneImage { name: name.to_owned(), id: image.id }),
        Err(source) => Err(Error::Damaged { id: image.id, source }),
    }
}

fn qualified(name: &str) -> Result<Reference, Error> {
    Reference::for_new_image(name).map_err(|reason| Error::Name { text: name.to_owned(), reason })
}

/// Where the images of a list are, by digest. A list that another tool pulled has no such file.
fn places(store: &Store, image: &Image) -> serde_json::Result<BTreeMap<String, String>> {
    match store.image_data(image, INSTANCES) {
        Ok(bytes) => serde_json::from_slice(&bytes),
        Err(_) => Ok(BTreeMap::new()),
    }
}

/// An image of the store as the other tools name it (containers-transports(5)).
fn place(store: &Store, id: &ImageId) -> String {
    let conf = store.conf();
    format!("containers-storage:[{}@{}+{}]@{id}", conf.driver.name(), conf.graph_root.display(), conf.run_root.display())
}
