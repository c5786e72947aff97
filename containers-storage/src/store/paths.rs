//! Where everything of a store lies: one root, or two where images lie apart from containers (`imagestore`, format 2.5).
//!
//! ```text
//! graph root    layers.json (containers' layers), containers.json, their layers' directories, every tar-split, what is ours
//! image store   layers.json (images' layers), images.json, their layers' directories, a second copy of the tar-splits
//! ```
//!
//! Must not: read a table.

use std::path::{Path, PathBuf};

use super::{Error, Store};
use crate::driver::Side;
use crate::images::Images;
use crate::lock::{Rank, make_private_dir};
use crate::{ContainerId, ImageId, LayerId};

impl Store {
    /// The driver's home for containers' layers, `<graph root>/<driver>`.
    pub fn driver_home(&self) -> PathBuf {
        self.conf.graph_root.join(self.conf.driver.name())
    }

    /// The same for the layers of `side`.
    pub(super) fn home_of(&self, side: Side) -> PathBuf {
        match side {
            Side::Containers => self.driver_home(),
            Side::Images => self.conf.image_root().join(self.conf.driver.name()),
        }
    }

    /// Where the table of containers' layers and all tar-splits are.
    pub fn layers_dir(&self) -> PathBuf {
        self.conf.driver.part(&self.conf.graph_root, "layers")
    }

    /// Where the table of images' layers is, if it is another place: the image store's.
    pub(crate) fn layers_dir_apart(&self) -> Option<PathBuf> {
        self.conf.image_store.as_ref().map(|root| self.conf.driver.part(root, "layers"))
    }

    /// Where the table of images and their big data are.
    pub fn images_dir(&self) -> PathBuf {
        self.conf.driver.part(self.conf.image_root(), "images")
    }

    /// Where images are that were there before they got a store of their own: the graph root's.
    pub(crate) fn images_dir_apart(&self) -> Option<PathBuf> {
        self.conf.image_store.as_ref().map(|_| self.conf.driver.part(&self.conf.graph_root, "images"))
    }

    /// The directory of an image's big data, beside the table that has its record.
    pub(crate) fn image_dir(&self, images: &Images, id: &ImageId) -> PathBuf {
        let apart = self.images_dir_apart().filter(|_| images.is_apart(id));
        apart.unwrap_or_else(|| self.images_dir()).join(id)
    }

    /// Where the tables of containers and their directories are.
    pub fn containers_dir(&self) -> PathBuf {
        self.conf.driver.part(&self.conf.graph_root, "containers")
    }

    /// What is ours beside the format: leases, notes, what can be rebuilt.
    pub fn private_dir(&self) -> PathBuf {
        self.conf.graph_root.join("coracle")
    }

    /// Where temporary trees on the file system of those layers may be made (`temp_dir::TempDir`).
    pub fn temp_dirs(&self, side: Side) -> PathBuf {
        self.home_of(side).join("tempdirs")
    }

    /// Every directory that temporary ones are made in.
    pub(crate) fn all_temp_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.temp_dirs(Side::Containers), self.temp_dirs_outside_home()];
        if let Some(layers) = self.layers_dir_apart() {
            dirs.extend([self.temp_dirs(Side::Images), layers.join("tmp")]);
        }
        dirs
    }

    /// Where temporary files are made that are to be renamed to or from places outside of the driver's home. The other tools make the
    /// home a mount of its own at any time (format, section 6.2), and no rename leaves a mount.
    pub(crate) fn temp_dirs_outside_home(&self) -> PathBuf {
        self.layers_dir().join("tmp")
    }

    /// Such a place on the file system of `path`, which is below one of the roots.
    pub(crate) fn temp_dirs_beside(&self, path: &Path) -> PathBuf {
        // One root may lie in the other.
        let is_inner = |root: &PathBuf| {
            path.starts_with(root) && !(self.conf.graph_root.starts_with(root) && path.starts_with(&self.conf.graph_root))
        };
        match self.layers_dir_apart().filter(|_| self.conf.image_store.as_ref().is_some_and(is_inner)) {
            Some(layers) => layers.join("tmp"),
            None => self.temp_dirs_outside_home(),
        }
    }

    /// The tar-split of a layer. A layer of an additional store has it there.
    pub fn tar_split(&self, layer: &LayerId) -> PathBuf {
        let name = format!("{layer}.tar-split.gz");
        let here = self.layers_dir().join(&name);
        let mut others = self.conf.image_store.iter().chain(&self.conf.additional_image_stores).peekable();
        if others.peek().is_none() || here.exists() {
            return here;
        }
        let others = others.map(|store| self.conf.driver.part(store, "layers").join(&name));
        others.into_iter().find(|path| path.exists()).unwrap_or(here)
    }

    /// Every place of a layer's tar-split that is ours. The format has it in the graph root; a second one in the image store makes that
    /// store whole by itself, for those who open it alone.
    fn own_tar_splits(&self, layer: &LayerId) -> impl Iterator<Item = PathBuf> {
        let name = format!("{layer}.tar-split.gz");
        std::iter::once(self.layers_dir()).chain(self.layers_dir_apart()).map(move |dir| dir.join(&name))
    }

    /// Puts the file `from` in place as the tar-split of an image's layer.
    pub(crate) fn place_tar_split(&self, from: &Path, layer: &LayerId) -> Result<(), Error> {
        let path = self.layers_dir().join(format!("{layer}.tar-split.gz"));
        std::fs::rename(from, &path).map_err(Error::io("creating", &path))?;
        for other in self.own_tar_splits(layer).skip(1) {
            remove_if_there(&other)?;
            if let Some(dir) = other.parent() {
                make_private_dir(dir).map_err(Error::io("creating", dir))?;
            }
            let linked = std::fs::hard_link(&path, &other).or_else(|_| std::fs::copy(&path, &other).map(drop));
            linked.map_err(Error::io("creating", &other))?;
        }
        Ok(())
    }

    /// Deletes a layer's tar-split. Nothing there is no error.
    pub(crate) fn remove_tar_split(&self, layer: &LayerId) -> Result<(), Error> {
        self.own_tar_splits(layer).try_for_each(|path| remove_if_there(&path))
    }

    /// Where a container's own files are: `<graph root>/<driver>-containers/<id>/userdata`.
    pub fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.containers_dir().join(id).join("userdata")
    }

    /// The same below the run root.
    pub fn container_run_dir(&self, id: &ContainerId) -> PathBuf {
        self.containers_run_dir().join(id).join("userdata")
    }

    /// Where the directories of containers below the run root are.
    pub(crate) fn containers_run_dir(&self) -> PathBuf {
        self.conf.driver.part(&self.conf.run_root, "containers")
    }

    /// Where the table of mounts is.
    pub(crate) fn layers_run_dir(&self) -> PathBuf {
        self.conf.driver.part(&self.conf.run_root, "layers")
    }

    /// The lock file of a rank.
    pub fn lock_path(&self, rank: Rank) -> PathBuf {
        match rank {
            Rank::Storage => self.conf.graph_root.join("storage.lock"),
            Rank::Layers => self.layers_dir().join("layers.lock"),
            Rank::MountPoints => self.layers_run_dir().join("mountpoints.lock"),
            Rank::Images => self.images_dir().join("images.lock"),
            Rank::Containers if self.conf.transient => self.containers_run_dir().join("containers.lock"),
            Rank::Containers => self.containers_dir().join("containers.lock"),
        }
    }

    /// The directory of the volatile table in use, then that of the other mode's (format, sections 3.1 and 3.9).
    pub(super) fn in_use_first(&self, [stable, run]: [PathBuf; 2]) -> [PathBuf; 2] {
        if self.conf.transient { [run, stable] } else { [stable, run] }
    }
}

/// Deletes a file. Nothing there is no error.
pub(super) fn remove_if_there(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("deleting", path)(error)),
        _ => Ok(()),
    }
}
