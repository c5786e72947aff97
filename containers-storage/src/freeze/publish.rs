//! Publishing a layer that was frozen in place, and ending or undoing what a killed process left.
//!
//! ```text
//! step                    killed after it, the next process
//! tar-split               finds no flag: a stray file, garbage
//! second record + flag    rolls back: no image has the layer
//! directory renamed       rolls back
//! image                   rolls forward: an image has it, so the container goes
//! container               rolls forward
//! first record, flag off  finds nothing to do
//! ```
//!
//! The layer moves from the container's random ID to the one that its content gives it. Images of equal content have equal IDs, and the
//! other tools refuse to store one again ("already exists, but uses a different top layer") unless its layer has that ID. Both records
//! stand while the directory is renamed, so that no tool takes it for an orphan.
//!
//! Invariant: layers.lock is held exclusively from the first step to the last, so a flag that is found under it is a dead process's.

use serde_json::Value;

use super::{Error, FLAG, InPlace};
use crate::driver::Side;
use crate::images::Image;
use crate::layers::{Layer, Layers};
use crate::store::{self, AllMut, LayerContent, NewImage, Note, Noted, Store, Trash};
use crate::table::records::Prepared;
use crate::{ContainerId, Digest, LayerId, lease};

impl InPlace {
    /// In one critical section: records the layer's digests, records `image` (whose `layer` is set to the layer that is used), and
    /// deletes the container's record. The container's own directories are deleted after it.
    pub fn publish(self, store: &Store, image: &NewImage) -> Result<Image, Error> {
        self.sweep()?;
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
        let image = NewImage { layer: Some(self.target.clone()), ..image.clone() };
        if all.layers.find(&self.target)?.is_some() {
            return Err(self.unfit("another layer has the ID of its content"));
        }
        let own = self.own.clone();
        let published = Steps::prepare(self, store, &mut all, &image).and_then(|mut steps| {
            steps.record_layer(store)?;
            steps.record_image(store, &all)?;
            steps.release_container(store)?;
            steps.finish()
        });
        drop(all);
        match published {
            Ok((recorded, mut deleted)) => {
                // Nobody mounts the layer for writing again. Should the file stay, `check` finds it.
                let _ = lease::forget(&store.conf().graph_root, &own);
                deleted.finish()?;
                Ok(recorded)
            }
            Err(error) => {
                // The locks are free again; taking them once more ends or undoes what was begun. If that fails, the next one does it.
                let _ = store.lock_layers();
                Err(error)
            }
        }
    }

    fn unfit(&self, reason: &'static str) -> Error {
        Error::Unfit { layer: self.own.clone(), container: self.container.clone(), reason }
    }
}

/// All that a publication writes: written and synced before its first step, so that the disk flushes once and a full one is noticed while
/// nothing has happened. What is dropped before its step is as if it had not been prepared.
pub(super) struct Steps {
    frozen: InPlace,
    image: Image,
    container: ContainerId,
    both_records: Prepared,
    images: Prepared,
    containers: Prepared,
    last_record: Prepared,
    noted: Noted,
    deleted: store::Deleted,
}

impl Steps {
    pub(super) fn prepare(frozen: InPlace, store: &Store, all: &mut AllMut, new: &NewImage) -> Result<Self, Error> {
        let noted = store.note(&Note { images: vec![new.id.clone()], ..Note::default() })?;
        let mut layer = all.layers.get(&frozen.own)?;
        layer.id = frozen.target.clone();
        layer.names.clear();
        // It was the container's; an image's layer gets that of who mounts it.
        layer.mount_label.clear();
        layer.set_content(Some(&frozen.content));
        layer.flags.insert(FLAG.to_owned(), Value::from(frozen.own.as_str()));
        all.layers.push(store.table_of_image_layers(), &layer)?;
        let both_records = all.layers.prepare()?;
        let (image, images) = store.prepare_image(&mut all.images, new)?;
        all.containers.remove(&frozen.container);
        store::stand_upon(&mut all.containers, new)?;
        let containers = all.containers.prepare()?;
        forget_own(all, &frozen.own, &frozen.target)?;
        let last_record = all.layers.prepare()?;
        let all_prepared = [&both_records, &images, &containers, &last_record];
        all_prepared.iter().for_each(|prepared| prepared.start_sync());
        all_prepared.iter().try_for_each(|prepared| prepared.sync())?;
        let (container, deleted) = (frozen.container.clone(), store::Deleted::default());
        Ok(Self { frozen, image, container, both_records, images, containers, last_record, noted, deleted })
    }

    /// Puts the tar-split in place, then a second record with the digests and the flag, then the directory under its ID.
    pub(super) fn record_layer(&mut self, store: &Store) -> Result<(), Error> {
        store.place_tar_split(&self.frozen.tar_split, &self.frozen.target)?;
        store.sync_layers()?;
        std::mem::take(&mut self.both_records).commit()?;
        Ok(store.driver()?.rename(&self.frozen.own, &self.frozen.target, Side::Images)?)
    }

    /// The image gets its data and its record.
    pub(super) fn record_image(&mut self, store: &Store, all: &AllMut) -> Result<(), Error> {
        std::mem::take(&mut self.images).commit()?;
        store.claim_layers(&all.layers, self.image.layer.as_ref());
        Ok(())
    }

    /// The container's record goes, then its directories.
    pub(super) fn release_container(&mut self, store: &Store) -> Result<(), Error> {
        std::mem::take(&mut self.containers).commit()?;
        let mut trash = Trash::new(store);
        trash.take_container_dirs(&self.container)?;
        self.deleted = trash.into_deleted(Vec::new());
        Ok(())
    }

    /// The layer's first record and the flag go.
    fn finish(self) -> Result<(Image, store::Deleted), Error> {
        self.last_record.commit()?;
        self.noted.done();
        Ok((self.image, self.deleted))
    }
}

/// Ends or undoes the half-done freezes that killed processes left. Called by the store whenever it locks its layers and finds the flag.
/// Answers with the containers that are gone with it.
pub(crate) fn recover(store: &Store, all: &mut AllMut) -> Result<Vec<ContainerId>, store::Error> {
    let mut released = Vec::new();
    for target in all.layers.flagged(FLAG) {
        let flag = all.layers.get(&target)?.flags.get(FLAG).and_then(Value::as_str).and_then(|id| id.parse().ok());
        let own: LayerId = match flag {
            Some(own) if own != target => own,
            // No flag that this version writes: without the container's ID nothing can be undone.
            _ => {
                forget_flag(all, &target)?;
                all.layers.prepare()?.finish()?;
                continue;
            }
        };
        if all.images.users_of(&target).is_empty() {
            roll_back(store, all, &own, &target)?;
        } else {
            store.driver()?.rename(&own, &target, Side::Images)?;
            released.extend(all.containers.of_layer(&own));
            // What is left of the container's directories after another kill is found by `check`.
            let _deleted = release_container(store, all, &own)?;
            forget_own(all, &own, &target)?;
            all.layers.prepare()?.finish()?;
        }
    }
    Ok(released)
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

/// Records an image on a layer that is there already.
fn record_image(store: &Store, all: &mut AllMut, image: &NewImage) -> Result<Image, Error> {
    let noted = store.note(&Note { images: vec![image.id.clone()], ..Note::default() })?;
    let (recorded, mut prepared) = store.prepare_image(&mut all.images, image)?;
    store::stand_upon(&mut all.containers, image)?;
    prepared.append(all.containers.prepare()?);
    prepared.finish()?;
    store.claim_layers(&all.layers, image.layer.as_ref());
    noted.done();
    Ok(recorded)
}

/// Removes the record of the container that has the layer.
fn release_container(store: &Store, all: &mut AllMut, layer: &LayerId) -> Result<store::Deleted, store::Error> {
    let containers = all.containers.of_layer(layer);
    let mut trash = Trash::new(store);
    for id in &containers {
        all.containers.remove(id);
    }
    all.containers.prepare()?.finish()?;
    for id in &containers {
        trash.take_container_dirs(id)?;
    }
    Ok(trash.into_deleted(Vec::new()))
}

/// The record under the container's ID goes, and the flag with it.
fn forget_own(all: &mut AllMut, own: &LayerId, target: &LayerId) -> Result<(), store::Error> {
    all.layers.remove(own);
    forget_flag(all, target)
}

fn forget_flag(all: &mut AllMut, target: &LayerId) -> Result<(), store::Error> {
    all.layers.update(target, |layer| drop(layer.flags.remove(FLAG))).map(drop)
}

/// Makes the layer its container's again: first the directory, then the record, then the tar-split, which nothing names any more.
fn roll_back(store: &Store, all: &mut AllMut, own: &LayerId, target: &LayerId) -> Result<(), store::Error> {
    let driver = store.driver()?;
    if !driver.exists(own) {
        driver.rename(target, own, Side::Containers)?;
    }
    all.layers.remove(target);
    all.layers.prepare()?.finish()?;
    store.remove_tar_split(target)
}
