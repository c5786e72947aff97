//! Making, renaming and deleting containers (format, sections 8.3 and 8.5).

use std::collections::HashSet;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, RenameFlags, Uid};
use serde_json::Value;

use super::layer::StagedTree;
use super::pending::{Note, layer_users};
use super::trash::Trash;
use super::{Deleted, Error, Store};
use crate::archive::Marks;
use crate::containers::Container;
use crate::driver::{Shape, Side};
use crate::id_map::IdMap;
use crate::layers::Layer;
use crate::selinux::{LabelChoice, Labels};
use crate::temp_dir::TempDir;
use crate::{ContainerId, ImageId, LayerId};

/// What a new container is.
#[derive(Debug, Clone, Default)]
pub struct NewContainer {
    /// The image it is made from; none for scratch.
    pub image: Option<ImageId>,
    /// The layer below its writable one: the image's top layer; none for scratch.
    pub parent: Option<LayerId>,
    /// Opaque text for the record.
    pub metadata: String,
    /// Options for mounts of the container, in place of the configured ones.
    pub mount_options: Vec<String>,
    /// Users inside the container and on disk; empty: the same. The layer below has the same map, or none, and is mounted with other
    /// owners (`driver::MountOptions::shift`).
    pub uid_map: IdMap,
    /// The same for groups.
    pub gid_map: IdMap,
    /// How its SELinux labels are made, under the locks, so that no two containers get one level; none where SELinux is off.
    pub labels: Option<LabelChoice>,
}

impl Store {
    /// Makes a container with a fresh writable layer. `name` is asked with 0, 1, 2… until it gives a name that no container has;
    /// with `None` it insists on its last one, and the call fails with `Error::NameInUse`. `state` is given the new record and
    /// `container_dir`, which exists then, to write files there before the record is visible. Both are called under locks: nothing slow.
    ///
    /// Where layers are whole trees (`driver::Shape::Trees`) this copies the parent's, and must run inside the user namespace of the store.
    pub fn create_container(
        &self,
        new: &NewContainer,
        name: &mut dyn FnMut(u32) -> Option<String>,
        state: &mut dyn FnMut(&Container, &Path) -> io::Result<()>,
    ) -> Result<Container, Error> {
        let created = self.try_create_container(new, name, state);
        if created.is_err() {
            // The locks are free again; taking them once more undoes what was noted. If that fails as well, the next one does it.
            let _ = self.lock_layers();
        }
        created
    }

    fn try_create_container(
        &self,
        new: &NewContainer,
        name: &mut dyn FnMut(u32) -> Option<String>,
        state: &mut dyn FnMut(&Container, &Path) -> io::Result<()>,
    ) -> Result<Container, Error> {
        let copy = self.copy_of(new.parent.as_ref())?;
        let mut layers = self.lock_layers()?;
        if let Some(image) = &new.image {
            self.images()?.get(image)?;
        }
        if let Some(parent) = &new.parent
            && !layers.contains(parent)
        {
            return Err(Error::NoLayer(parent.clone()));
        }
        let mut containers = self.lock_containers()?;
        if self.conf.transient {
            let dir = self.layers_run_dir();
            crate::lock::make_private_dir(&dir).map_err(Error::io("creating", &dir))?;
        }

        let mut container = Container::new(new.image.clone(), LayerId::random());
        container.names.push(free_name(&containers, name)?);
        container.metadata.clone_from(&new.metadata);
        if !new.mount_options.is_empty() {
            container.flags.insert("MountOpts".to_owned(), Value::from(new.mount_options.clone()));
        }
        if let Some(choice) = &new.labels {
            container.set_labels(&free_labels(choice, &containers)?);
        }

        let noted = self.note(&Note {
            containers: vec![container.id.clone()],
            layers: vec![container.layer.clone()],
            images: Vec::new(),
        })?;
        match &copy {
            Some(copy) => self.driver()?.adopt(&container.layer, new.parent.as_ref(), copy.tree(), Side::Containers)?,
            None => self.driver()?.create(&container.layer, new.parent.as_ref())?,
        }
        let parent = new.parent.as_ref().map(|parent| layers.get(parent)).transpose()?;
        let same = |parent: &Layer| parent.uid_map == new.uid_map.0 && parent.gid_map == new.gid_map.0;
        let is_on_disk = parent.as_ref().is_none_or(same);
        if parent.is_none() || !is_on_disk {
            self.give_to_root(&container.layer, &new.uid_map, &new.gid_map)?;
        }
        let dir = self.container_dir(&container.id);
        crate::lock::make_private_dir(&dir).map_err(Error::io("creating", &dir))?;
        state(&container, &dir).map_err(Error::io("writing the state of the container in", &dir))?;

        let origin = self.table_of_containers();
        container.uid_map.clone_from(&new.uid_map.0);
        container.gid_map.clone_from(&new.gid_map.0);
        let mut layer = Layer::new(container.layer.clone(), new.parent.clone());
        layer.mount_label = container.labels().mount;
        if is_on_disk {
            layer.uid_map.clone_from(&new.uid_map.0);
            layer.gid_map.clone_from(&new.gid_map.0);
        }
        layers.push(origin, &layer)?;
        containers.push(origin, &container)?;
        let mut prepared = layers.prepare()?;
        prepared.append(containers.prepare()?);
        prepared.finish()?;
        noted.done();
        Ok(container)
    }

    /// The directory of a layer upon none, or upon one without maps, gets the owner that the maps give root. Without maps it is left alone.
    fn give_to_root(&self, layer: &LayerId, uid: &IdMap, gid: &IdMap) -> Result<(), Error> {
        // A mount program shows the owners on disk as the maps say, root's as root's.
        if (uid.0.is_empty() && gid.0.is_empty()) || self.driver()?.is_served() {
            return Ok(());
        }
        let diff = self.driver()?.diff_dir(layer)?;
        let owner = (uid.root().map(Uid::from_raw), gid.root().map(Gid::from_raw));
        let given = rustix::fs::chownat(CWD, &diff, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW);
        given.map_err(Error::io("changing the owner of", &diff))
    }

    /// Where layers are whole trees: a copy of `parent`, made before any lock is taken.
    fn copy_of(&self, parent: Option<&LayerId>) -> Result<Option<StagedTree>, Error> {
        match self.driver()?.shape() {
            Shape::Diffs => Ok(None),
            Shape::Trees => {
                let staged = self.stage_tree(Side::Containers)?;
                self.driver()?.complete(staged.tree(), parent, &Marks::default())?;
                Ok(Some(staged))
            }
        }
    }

    /// Deletes a container and its writable layer; the layer stays if an image or another layer has come to use it. One whose deletion
    /// a killed process had begun is deleted by taking the locks, and that counts.
    ///
    /// On a disk so full that not even this can be written down the files of the container go before its record: a kill in between leaves
    /// an empty container.
    pub fn delete_container(&self, id: &ContainerId) -> Result<Deleted, Error> {
        match self.with_room(|| self.try_delete_container(id)) {
            Err(error) if error.is_out_of_space() && self.hollow_out(id)? => self.try_delete_container(id),
            other => other,
        }
    }

    /// Deletes the files of a container's own layer, unless somebody else uses them. Whether there were any.
    fn hollow_out(&self, id: &ContainerId) -> Result<bool, Error> {
        let all = self.lock_all()?;
        let layer = all.containers.get(id)?.layer;
        let others = layer_users(&all, &layer)?.iter().any(|user| user != id.as_str());
        if others || !all.layers.contains(&layer) {
            return Ok(false);
        }
        let diff = self.driver()?.diff_dir(&layer)?;
        let failed = |error| Error::io("deleting what is in", &diff)(error);
        let root = crate::Root::open(&diff).map_err(failed)?;
        let mut any = false;
        for entry in std::fs::read_dir(&diff).map_err(failed)? {
            root.remove_all(Path::new(&entry.map_err(failed)?.file_name())).map_err(failed)?;
            any = true;
        }
        Ok(any)
    }

    fn try_delete_container(&self, id: &ContainerId) -> Result<Deleted, Error> {
        let mut all = self.lock_all()?;
        if all.ended.contains(id) {
            return Ok(Deleted::default());
        }
        let container = all.containers.get(id)?;
        all.containers.remove(id);
        let layer = container.layer;
        let gone = all.layers.contains(&layer) && layer_users(&all, &layer)?.is_empty();
        let layers = if gone { vec![layer] } else { Vec::new() };
        let noted = self.note(&Note { containers: vec![id.clone()], layers: layers.clone(), images: Vec::new() })?;

        for layer in &layers {
            all.layers.remove(layer);
        }
        let mut prepared = all.containers.prepare()?;
        prepared.append(all.layers.prepare()?);
        prepared.finish()?;
        let mut trash = Trash::new(self);
        for layer in &layers {
            trash.take_layer(layer)?;
        }
        trash.take_container_dirs(id)?;
        noted.done();
        Ok(trash.into_deleted(layers))
    }

    /// Gives a container another name, in place of all it has.
    pub fn rename_container(&self, id: &ContainerId, name: &str) -> Result<Container, Error> {
        let mut containers = self.lock_containers()?;
        if let Some(other) = containers.by_name(name)?
            && other.id != *id
        {
            return Err(Error::NameInUse { name: name.to_owned(), id: other.id });
        }
        let container = containers.update(id, |container| container.names = vec![name.to_owned()])?;
        containers.prepare()?.finish()?;
        Ok(container)
    }

    /// A temporary directory on the file system of the containers' own directories, for what is put together first and then
    /// renamed into one of them. Deleted when it is dropped, or collected after a kill.
    pub fn stage_beside_containers(&self) -> Result<TempDir, Error> {
        let parent = self.temp_dirs_outside_home();
        TempDir::create(&parent).map_err(Error::io("making a temporary directory in", &parent))
    }

    /// Gives each of two containers what the other one has changed, in one step. Neither may be mounted, and a mount shows both changes on
    /// equal layers below. Must run inside the user namespace of the store; only where layers hold nothing but changes (`Shape::Diffs`).
    pub fn exchange_changes(&self, one: &ContainerId, other: &ContainerId) -> Result<(), Error> {
        let _layers = self.lock_layers()?;
        let containers = self.containers()?;
        let diff = |id| Ok::<_, Error>(self.driver()?.diff_dir(&containers.get(id)?.layer)?);
        let (one, other) = (diff(one)?, diff(other)?);
        let exchanged = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
        exchanged.map_err(Error::io("exchanging", &one))
    }

    /// Changes the opaque text of a container's record.
    pub fn set_container_metadata(&self, id: &ContainerId, metadata: &str) -> Result<(), Error> {
        let mut containers = self.lock_containers()?;
        containers.update(id, |container| metadata.clone_into(&mut container.metadata))?;
        containers.prepare()?.finish()
    }
}

/// Labels with a level that none of `containers` has.
fn free_labels(choice: &LabelChoice, containers: &crate::containers::Containers) -> Result<Labels, Error> {
    let level = |label: &str| label.splitn(4, ':').nth(3).map(str::to_owned);
    let labels = containers.all()?.into_iter().map(|container| container.labels());
    let taken: HashSet<String> = labels.flat_map(|labels| [level(&labels.process), level(&labels.mount)]).flatten().collect();
    Ok(choice.choose(&|level| taken.contains(level))?)
}

fn free_name(containers: &crate::containers::Containers, name: &mut dyn FnMut(u32) -> Option<String>) -> Result<String, Error> {
    let mut taken = None;
    for attempt in 0..=u32::MAX {
        let Some(candidate) = name(attempt) else { break };
        match containers.by_name(&candidate)? {
            None => return Ok(candidate),
            Some(other) => taken = Some(Error::NameInUse { name: candidate, id: other.id }),
        }
    }
    Err(taken.unwrap_or_else(|| Error::UnknownContainer(String::new())))
}
