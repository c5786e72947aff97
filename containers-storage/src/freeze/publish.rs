//! Publishing a layer that was frozen in place, and ending or undoing what a killed process left.
//!
//! ```text
//! step             killed after it, the next process
//! tar-split        finds no flag: a stray file, which the layer's deletion takes along
//! layer + flag     rolls back: no image has the layer
//! image            rolls forward: an image has it, so the container goes
//! container        rolls forward
//! flag off         finds nothing to do
//! ```
//!
//! Invariant: layers.lock is held exclusively from the first step to the last, so a flag that is found under it is a dead process's.

use serde_json::Value;

use super::{Error, FLAG, InPlace};
use crate::images::Image;
use crate::layers::{Layer, Layers};
use crate::store::{self, AllMut, LayerContent, NewImage, Note, Store, Trash};
use crate::{ContainerId, Digest, LayerId, lease};

impl InPlace {
    /// In one critical section: records the layer's digests, records `image` (whose `layer` is set to the layer that is used), and
    /// deletes the container's record. The container's own directories are deleted after it.
    pub fn publish(self, store: &Store, image: &NewImage) -> Result<Image, Error> {
        let mut all = store.lock_all()?;
        let container = all.containers.get(&self.container)?;
        let layer = all.layers.get(&self.own)?;
        if container.layer != self.own {
            return Err(self.unfit("the container has another layer now"));
        }
        require_fit(&all.layers, &layer, &self.container)?;
        if let Some(equal) = equal_layer(&all.layers, &self.own, self.parent.as_ref(), &self.content)? {
            let image = NewImage { layer: Some(equal), ..image.clone() };
            let image = record_image(store, &mut all, &image)?;
            drop(all);
            // The image is whole; a container that stays is one `rm` away.
            store.delete_container(&self.container)?.finish()?;
            return Ok(image);
        }
        let image = NewImage { layer: Some(self.own.clone()), ..image.clone() };
        self.record_layer(store, &mut all)?;
        let recorded = record_image(store, &mut all, &image);
        if recorded.is_err() {
            roll_back(store, &mut all, &self.own)?;
            return recorded;
        }
        let mut deleted = release_container(store, &mut all, &self.own)?;
        clear_flag(&mut all, &self.own)?;
        drop(all);
        // Nobody mounts the layer for writing again. Should the file stay, `check` finds it.
        let _ = lease::forget(&store.conf().graph_root, &self.own);
        deleted.finish()?;
        recorded
    }

    /// Puts the tar-split in place, then the digests into the record, with the flag.
    pub(super) fn record_layer(&self, store: &Store, all: &mut AllMut) -> Result<(), Error> {
        let target = store.layers_dir().join(format!("{}.tar-split.gz", self.own));
        std::fs::rename(&self.tar_split, &target).map_err(Error::io("creating", &target))?;
        store.sync_layers()?;
        let flag = Value::from(self.container.as_str());
        let freeze = |layer: &mut Layer| {
            layer.set_content(Some(&self.content));
            layer.flags.insert(FLAG.to_owned(), flag);
        };
        if all.layers.is_volatile(&self.own) {
            // An image's layer belongs into the file that every tool reads, and that is synced.
            let mut layer = all.layers.get(&self.own)?;
            freeze(&mut layer);
            all.layers.remove(&self.own);
            all.layers.push(&layer)?;
        } else {
            all.layers.update(&self.own, freeze)?;
        }
        Ok(all.layers.save()?)
    }

    fn unfit(&self, reason: &'static str) -> Error {
        Error::Unfit { layer: self.own.clone(), container: self.container.clone(), reason }
    }
}

/// Ends or undoes the half-done freezes that killed processes left. Called by the store whenever it locks its layers and finds the flag.
pub(crate) fn recover(store: &Store, all: &mut AllMut) -> Result<(), store::Error> {
    for id in all.layers.flagged(FLAG) {
        if all.images.users_of(&id).is_empty() && !all.containers.of_layer(&id).is_empty() {
            roll_back(store, all, &id)?;
        } else {
            // What is left of the container's directories after another kill is found by `check`.
            let _deleted = release_container(store, all, &id)?;
            clear_flag(all, &id)?;
        }
    }
    Ok(())
}

/// A layer can be frozen if only its container knows it.
pub(super) fn require_fit(layers: &Layers, layer: &Layer, container: &ContainerId) -> Result<(), Error> {
    let reason = if layer.diff_digest.is_some() {
        "it is an image's layer already"
    } else if !layers.children(&layer.id)?.is_empty() {
        "other layers are built on it"
    } else if !layer.uid_map.is_empty() || !layer.gid_map.is_empty() {
        "its owners are shifted by an id map"
    } else {
        return Ok(());
    };
    Err(Error::Unfit { layer: layer.id.clone(), container: container.clone(), reason })
}

/// Another, complete layer with the same parent and content.
pub(super) fn equal_layer(
    layers: &Layers,
    own: &LayerId,
    parent: Option<&LayerId>,
    content: &LayerContent,
) -> Result<Option<LayerId>, store::Error> {
    let digest: &Digest = &content.diff_digest;
    let equal = layers.with_diff_digest(digest)?.into_iter().find(|layer| {
        layer.id != *own
            && layer.parent.as_ref() == parent
            && !layer.is_incomplete()
            && !layer.flags.contains_key(FLAG)
            && layer.uid_map.is_empty()
            && layer.gid_map.is_empty()
    });
    Ok(equal.map(|layer| layer.id))
}

pub(super) fn record_image(store: &Store, all: &mut AllMut, image: &NewImage) -> Result<Image, Error> {
    let noted = store.note(&Note { images: vec![image.id.clone()], ..Note::default() })?;
    let recorded = store.record_image(&mut all.images, image)?;
    all.images.save()?;
    noted.done();
    Ok(recorded)
}

/// Removes the record of the container that has the layer.
pub(super) fn release_container(store: &Store, all: &mut AllMut, layer: &LayerId) -> Result<store::Deleted, store::Error> {
    let containers = all.containers.of_layer(layer);
    let mut trash = Trash::new(store);
    for id in &containers {
        all.containers.remove(id);
    }
    all.containers.save()?;
    for id in &containers {
        trash.take_container_dirs(id)?;
    }
    Ok(trash.into_deleted(Vec::new()))
}

pub(super) fn clear_flag(all: &mut AllMut, layer: &LayerId) -> Result<(), store::Error> {
    all.layers.update(layer, |layer| {
        layer.flags.remove(FLAG);
    })?;
    all.layers.save()
}

/// Makes the layer its container's again: first the record, then the tar-split, which nothing names any more.
fn roll_back(store: &Store, all: &mut AllMut, layer: &LayerId) -> Result<(), store::Error> {
    all.layers.update(layer, |layer| {
        layer.set_content(None);
        layer.flags.remove(FLAG);
    })?;
    all.layers.save()?;
    let path = store.layers_dir().join(format!("{layer}.tar-split.gz"));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(store::Error::io("deleting", &path)(error)),
        _ => Ok(()),
    }
}
