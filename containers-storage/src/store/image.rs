//! Recording, naming and deleting images (format, sections 8.2, 8.4 and 8.5).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::pending::Note;
use super::trash::Trash;
use super::{AllMut, ContainersMut, Deleted, Error, ImagesMut, Store};
use crate::images::{Image, big_data_file};
use crate::layers::Layers;
use crate::lock::{self, Access, Rank};
use crate::table::PendingFile;
use crate::table::records::Prepared;
use crate::{ContainerId, Digest, ImageId, LayerId};

/// What a new image is.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Its ID.
    pub id: ImageId,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its top layer.
    pub layer: Option<LayerId>,
    /// Names to give it; each is taken from whoever has it.
    pub names: Vec<String>,
    /// JSON text; `{}` is fine.
    pub metadata: String,
    /// When the image was made, RFC 3339.
    pub created: String,
    /// Whether it is made only to be copied elsewhere by this process, which takes it away again with `Store::release_image`. Should it
    /// die before, `check::repair` does it.
    pub passing: bool,
    /// A container whose record names the image from the moment that it is there, in place of the one that it named before
    /// (`Store::hold_image`).
    pub holder: Option<ContainerId>,
    /// Key and bytes, in the order of format 8.2: config, `manifest-<digest>`, `manifest`.
    pub big_data: Vec<(String, Vec<u8>)>,
}

/// How names are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameChange {
    /// Exactly these.
    Set,
    /// These as well.
    Add,
    /// All but these.
    Remove,
}

impl Store {
    /// Records an image and stores its big data. An image that exists under this ID gets the names and the data, if it has the same
    /// top layer.
    pub fn put_image(&self, new: &NewImage) -> Result<Image, Error> {
        // Shared, and held to the end: nobody can delete the top layer in between, or take the note for a dead process's.
        let layers_lock = self.lock(Rank::Layers, Access::Shared)?;
        let layers = self.load_layers()?;
        if let Some(layer) = new.layer.as_ref().filter(|layer| !layers.contains(layer)) {
            return Err(Error::NoLayer(layer.clone()));
        }
        let mut images = self.lock_images()?;
        let noted = self.note(&Note { images: vec![new.id.clone()], ..Note::default() })?;
        let (image, mut prepared) = self.prepare_image(&mut images, new)?;
        let mut containers = new.holder.is_some().then(|| self.lock_containers()).transpose()?;
        if let Some(containers) = &mut containers {
            stand_upon(containers, new)?;
            prepared.append(containers.prepare()?);
        }
        prepared.finish()?;
        self.claim_layers(&layers, new.layer.as_ref());
        noted.done();
        drop((containers, images, layers_lock));
        // What killed commits left goes with the next one, which mostly has the namespace that deleting it needs.
        let _ = self.collect_dead();
        Ok(image)
    }

    /// Has the record of a container name an image, so that no tool deletes the image before the container: with its own files, which may be
    /// none, the container stands where it stood.
    pub fn hold_image(&self, holder: &ContainerId, image: &ImageId) -> Result<(), Error> {
        let _images = self.lock(Rank::Images, Access::Shared)?;
        self.load_images()?.get(image)?;
        let mut containers = self.lock_containers()?;
        containers.update(holder, |container| container.image = Some(image.clone()))?;
        containers.prepare()?.finish()
    }

    /// Writes the big data of an image and the table with its record, to be synced and committed. Whether it is only passing is said
    /// before, so that no kill leaves one that nobody knows to be.
    pub(crate) fn prepare_image(&self, images: &mut ImagesMut, new: &NewImage) -> Result<(Image, Prepared), Error> {
        if new.passing {
            self.announce_image(&new.id, images.find(&new.id)?.is_some())?;
        } else {
            self.claim_image(&new.id);
        }
        let existing = images.find(&new.id)?.filter(|image| !image.read_only);
        if existing.as_ref().is_some_and(|image| image.layer != new.layer) {
            return Err(Error::ImageConflict(new.id.clone()));
        }
        let mut prepared = write_big_data(&self.image_dir(images, &new.id), new)?;
        for name in &new.names {
            take_name_from_others(images, name, &new.id)?;
        }
        let fill = |image: &mut Image| {
            image.digest = Some(new.digest.clone());
            image.metadata.clone_from(&new.metadata);
            for (key, bytes) in &new.big_data {
                image.note_big_data(key, bytes);
            }
            for name in new.names.iter().rev() {
                image.take_name(name);
            }
        };
        if existing.is_some() {
            let image = images.update(&new.id, fill)?;
            prepared.append(images.prepare()?);
            return Ok((image, prepared));
        }
        let mut image = Image {
            id: new.id.clone(),
            digest: None,
            names: Vec::new(),
            names_history: Vec::new(),
            layer: new.layer.clone(),
            mapped_layers: Vec::new(),
            metadata: String::new(),
            big_data_names: Vec::new(),
            big_data_sizes: BTreeMap::new(),
            big_data_digests: BTreeMap::new(),
            created: new.created.clone(),
            flags: serde_json::Map::new(),
            read_only: false,
        };
        fill(&mut image);
        images.push(&image)?;
        prepared.append(images.prepare()?);
        Ok((image, prepared))
    }

    /// Keeps other processes of ours from making a manifest list until it is dropped. Taken before all other locks.
    pub fn lock_lists(&self) -> Result<File, Error> {
        Ok(lock::exclusive(&self.private_dir().join("lists.lock"))?)
    }

    /// Keeps all tools from changing this manifest list until it is dropped. Taken after `lock_lists`, before all other locks.
    pub fn lock_list(&self, id: &ImageId) -> Result<File, Error> {
        let path = self.conf.driver.part(&self.conf.run_root, "locks").join(format!("sha256:{id}"));
        Ok(lock::exclusive(&path)?)
    }

    /// Changes an image's names. A name that another image has moves from it. An image of an additional store gets a record here first.
    pub fn change_image_names(&self, id: &ImageId, change: NameChange, names: &[String]) -> Result<Image, Error> {
        match change {
            NameChange::Remove => self.with_room(|| self.try_change_image_names(id, change, names)),
            NameChange::Set | NameChange::Add => self.try_change_image_names(id, change, names),
        }
    }

    fn try_change_image_names(&self, id: &ImageId, change: NameChange, names: &[String]) -> Result<Image, Error> {
        let mut images = self.lock_images()?;
        let mut prepared = self.pull_up(&mut images, id)?;
        if change != NameChange::Remove {
            for name in names {
                take_name_from_others(&mut images, name, id)?;
            }
        }
        let image = images.update(id, |image| {
            match change {
                NameChange::Set => image.names.clear(),
                NameChange::Remove => image.names.retain(|name| !names.contains(name)),
                NameChange::Add => {}
            }
            if change != NameChange::Remove {
                names.iter().rev().for_each(|name| image.take_name(name));
            }
        })?;
        if !image.names.is_empty() {
            self.claim_image(id);
        }
        prepared.append(images.prepare()?);
        prepared.finish()?;
        Ok(image)
    }

    /// Gives an image that only an additional store has a record and data of its own in this store; its layers stay where they are. Its
    /// record in the other store is hidden by this one from then on.
    pub(super) fn pull_up(&self, images: &mut ImagesMut, id: &ImageId) -> Result<Prepared, Error> {
        let mut prepared = Prepared::default();
        let Some(image) = images.find(id)?.filter(|image| image.read_only) else { return Ok(prepared) };
        let dir = self.images_dir().join(id);
        crate::lock::make_private_dir(&dir).map_err(Error::io("creating", &dir))?;
        for key in &image.big_data_names {
            let file = big_data_file(key).ok_or_else(|| Error::NoData { image: id.clone(), key: key.clone() })?;
            prepared.push(PendingFile::write(&dir.join(&file), &[&self.read_image_file(id, &file)?])?);
        }
        images.push(&image)?;
        Ok(prepared)
    }

    /// Stores more data for an image, under `key`. An image of an additional store gets a record here first.
    pub fn put_image_data(&self, id: &ImageId, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut images = self.lock_images()?;
        let file = big_data_file(key).ok_or_else(|| Error::NoData { image: id.clone(), key: key.to_owned() })?;
        let mut prepared = self.pull_up(&mut images, id)?;
        images.update(id, |image| image.note_big_data(key, bytes))?;
        let dir = self.image_dir(&images, id);
        crate::lock::make_private_dir(&dir).map_err(Error::io("creating", &dir))?;
        prepared.push(PendingFile::write(&dir.join(file), &[bytes])?);
        prepared.append(images.prepare()?);
        prepared.finish()
    }

    /// Deletes an image and those of its layers that nothing else uses. An image with containers is refused.
    pub fn delete_image(&self, id: &ImageId) -> Result<Deleted, Error> {
        self.with_room(|| {
            let mut all = self.lock_all()?;
            self.delete_locked_images(&mut all, std::slice::from_ref(id))
        })
    }

    /// Deletes several images as `delete_image` does, all of them or none: some hundred, so that the note of them (`pending`) stays small. Of
    /// those that are not there nothing is said.
    pub fn delete_images(&self, ids: &[ImageId]) -> Result<Deleted, Error> {
        self.with_room(|| {
            let mut all = self.lock_all()?;
            let there = ids.iter().filter(|id| all.images.find(id).is_ok_and(|image| image.is_some()));
            let there: Vec<ImageId> = there.cloned().collect();
            self.delete_locked_images(&mut all, &there)
        })
    }

    /// Takes away an image that this process recorded as passing, unless somebody has come to use it, or records it too.
    pub fn release_image(&self, id: &ImageId) -> Result<Deleted, Error> {
        let mut all = self.lock_all()?;
        let Some(image) = all.images.find(id)? else { return Ok(Deleted::default()) };
        if !self.is_only_passing(id)? || !image.names.is_empty() || !all.containers.of_image(id).is_empty() {
            return Ok(Deleted::default());
        }
        self.delete_locked_images(&mut all, std::slice::from_ref(id))
    }

    fn delete_locked_images(&self, all: &mut AllMut, ids: &[ImageId]) -> Result<Deleted, Error> {
        let images = ids.iter().map(|id| deletable(all, id)).collect::<Result<Vec<Image>, Error>>()?;
        ids.iter().for_each(|id| all.images.remove(id));
        let abandoned = super::unused(&self.abandoned_layers()?, &all.layers, &all.images, &all.containers)?;
        let mut layers: Vec<LayerId> = Vec::new();
        let mut blobs = Vec::new();
        for image in &images {
            let unused = unused_layers(all, image, &abandoned)?;
            blobs.extend(self.blobs_of(&unused, &all.layers)?);
            unused.iter().for_each(|layer| all.layers.remove(layer));
            layers.extend(unused);
        }
        let noted = self.note(&Note { images: ids.to_vec(), layers: layers.clone(), containers: Vec::new() })?;
        let mut prepared = all.images.prepare()?;
        prepared.append(all.layers.prepare()?);
        prepared.finish()?;
        self.drop_blobs(&blobs, &all.layers)?;
        let mut trash = Trash::new(self);
        for layer in &layers {
            trash.take_layer(layer)?;
        }
        for id in ids {
            trash.take_image_dir(id)?;
            self.claim_image(id);
        }
        noted.done();
        Ok(trash.into_deleted(layers))
    }
}

/// The image, if nothing forbids to delete it.
fn deletable(all: &AllMut, id: &ImageId) -> Result<Image, Error> {
    let image = all.images.get(id)?;
    if image.read_only {
        return Err(Error::ReadOnlyImage(id.clone()));
    }
    let users = all.containers.of_image(id);
    if !users.is_empty() {
        let users = users.iter().map(ToString::to_string).collect();
        return Err(Error::InUse { what: format!("image {id}"), users });
    }
    Ok(image)
}

/// Writes the data of `new` into the directory `dir`, to be synced and committed.
fn write_big_data(dir: &Path, new: &NewImage) -> Result<Prepared, Error> {
    crate::lock::make_private_dir(dir).map_err(Error::io("creating", dir))?;
    let mut prepared = Prepared::default();
    for (key, bytes) in &new.big_data {
        let missing = || Error::NoData { image: new.id.clone(), key: key.clone() };
        let file = big_data_file(key).ok_or_else(missing)?;
        prepared.push(PendingFile::write(&dir.join(file), &[bytes])?);
    }
    Ok(prepared)
}

/// The holder's record names the new image. One that somebody has removed holds nothing, and that is no reason to fail.
pub(crate) fn stand_upon(containers: &mut ContainersMut, new: &NewImage) -> Result<(), Error> {
    match new.holder.as_ref().filter(|holder| containers.get(holder).is_ok()) {
        Some(holder) => containers.update(holder, |container| container.image = Some(new.id.clone())).map(drop),
        None => Ok(()),
    }
}

fn take_name_from_others(images: &mut ImagesMut, name: &str, except: &ImageId) -> Result<(), Error> {
    for other in images.other_owners(name, except) {
        images.update(&other, |image| image.names.retain(|theirs| theirs != name))?;
    }
    Ok(())
}

/// The layers of `image`, which is no longer in the table, that nothing else uses: mapped copies, then from the top down. Those of killed
/// processes (`abandoned`, upper ones first) keep none: what lies on a layer goes before it.
fn unused_layers(all: &AllMut, image: &Image, abandoned: &[LayerId]) -> Result<Vec<LayerId>, Error> {
    let mut gone: Vec<LayerId> = Vec::new();
    let is_used = |id: &LayerId, gone: &[LayerId]| -> Result<bool, Error> {
        let kept_child = all.layers.children(id)?.iter().any(|child| !gone.contains(child) && !abandoned.contains(child));
        let foreign = !all.layers.contains(id) || all.layers.is_read_only(id);
        Ok(foreign || kept_child || !all.images.users_of(id).is_empty() || !all.containers.of_layer(id).is_empty())
    };
    for mapped in &image.mapped_layers {
        if all.layers.contains(mapped) {
            // The copy lies upon the top layer's directory, though its record does not say so: the top stays as long as it does.
            if is_used(mapped, &gone)? {
                return Ok(gone);
            }
            gone.push(mapped.clone());
        }
    }
    let mut next = image.layer.clone();
    while let Some(id) = next {
        if is_used(&id, &gone)? {
            break;
        }
        let above = abandoned.iter().filter(|layer| !gone.contains(layer) && is_above(&all.layers, layer, &id));
        let above: Vec<LayerId> = above.cloned().collect();
        gone.extend(above);
        next = all.layers.get(&id)?.parent;
        gone.push(id);
    }
    Ok(gone)
}

/// Whether `layer` lies, with others between them or not, on `lower`.
fn is_above(layers: &Layers, layer: &LayerId, lower: &LayerId) -> bool {
    let below = |id: &LayerId| layers.parent(id);
    // More steps than any driver stacks layers: a loop.
    std::iter::successors(below(layer), below).take(1000).any(|id| id == *lower)
}
