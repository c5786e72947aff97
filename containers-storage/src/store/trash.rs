//! What was taken out of the store under its locks, and is deleted without them.
//!
//! Directories are renamed into temporary directories of this process (format, section 5.6), one in each of the driver's homes and one
//! beside each table of layers, since a home may be a mount of its own, and images may lie on another file system. That works without the user
//! namespace that their content belongs to. Deleting may need it; what is not deleted is dead with this process, and collected later.

use std::path::{Path, PathBuf};

use super::reserve::Reserve;
use super::{Error, Store};
use crate::temp_dir::{self, TempDir};
use crate::{ContainerId, ImageId, LayerId, driver, lease};

impl Store {
    /// An empty trash.
    pub(crate) fn trash(&self) -> Trash<'_> {
        Trash::new(self)
    }
}

/// Collects what goes.
#[derive(Debug)]
pub(crate) struct Trash<'s> {
    store: &'s Store,
    /// The temporary directories in use, by the directory that they are in.
    dirs: Vec<(PathBuf, TempDir)>,
    taken: u32,
    outside: Vec<PathBuf>,
}

/// What a deletion took away. Dropped, it deletes the files as far as this process may.
#[derive(Debug, Default)]
#[must_use]
pub struct Deleted {
    /// The layers that went.
    pub layers: Vec<LayerId>,
    dirs: Vec<TempDir>,
    outside: Vec<PathBuf>,
    temp_dirs: Vec<PathBuf>,
    /// To be made again, when there is room.
    reserve: Option<Reserve>,
}

impl Deleted {
    /// Deletes the files of what was removed. `false`: some belong to other owners; call it again in the store's user namespace.
    /// Never called or killed in between: the next collection does it.
    pub fn finish(&mut self) -> Result<bool, Error> {
        for path in std::mem::take(&mut self.outside) {
            // The run root is cleared by a reboot in any case.
            let _ = std::fs::remove_dir_all(path);
        }
        // What killed processes left goes along, as far as this process may; else the next one, or `check::repair`, does it.
        for parent in &self.temp_dirs {
            let _ = temp_dir::collect_dead(parent);
        }
        while let Some(dir) = self.dirs.last_mut() {
            match dir.remove() {
                Ok(()) => drop(self.dirs.pop()),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(false),
                Err(error) => return Err(Error::io("deleting", dir.path())(error)),
            }
        }
        if let Some(reserve) = self.reserve.take() {
            reserve.make();
        }
        Ok(true)
    }
}

impl<'s> Trash<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store, dirs: Vec::new(), taken: 0, outside: Vec::new() }
    }

    /// Takes the directories and files of a layer. The caller holds layers.lock exclusively. Nothing there is no error.
    pub(crate) fn take_layer(&mut self, id: &LayerId) -> Result<(), Error> {
        let driver = self.store.driver()?;
        // A mount would go along with the rename, and deleting would reach through it.
        if driver::is_mount_point(&driver.mount_point(id)) {
            driver.unmount(id)?;
        }
        if let Some(side) = driver.side_of(id) {
            driver.detach(id, self.dir_in(self.store.temp_dirs(side))?)?;
        }
        self.store.remove_tar_split(id)?;
        self.take(&self.store.layers_dir().join(id))?;
        super::paths::remove_if_there(&self.store.claim_file(id))?;
        // An old lease names nobody who lives; should it stay, it costs a file.
        let _ = lease::forget(&self.store.conf.graph_root, id);
        Ok(())
    }

    /// Takes the directories of a container in both roots.
    pub(crate) fn take_container_dirs(&mut self, id: &ContainerId) -> Result<(), Error> {
        self.take(&self.store.containers_dir().join(id))?;
        self.outside.push(self.store.containers_run_dir().join(id));
        Ok(())
    }

    /// Takes a directory below the run root.
    pub(crate) fn take_outside(&mut self, path: PathBuf) {
        self.outside.push(path);
    }

    /// Takes the big data of an image.
    pub(crate) fn take_image_dir(&mut self, id: &ImageId) -> Result<(), Error> {
        let dirs = std::iter::once(self.store.images_dir()).chain(self.store.images_dir_apart());
        dirs.into_iter().try_for_each(|dir| self.take(&dir.join(id)))
    }

    /// Takes a file or directory below one of the roots.
    pub(crate) fn take(&mut self, path: &Path) -> Result<(), Error> {
        // Mostly there is nothing to take; no directory is made for that.
        if rustix::fs::lstat(path).is_err_and(|error| error == rustix::io::Errno::NOENT) {
            return Ok(());
        }
        self.taken += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{}-record-{name}", self.taken);
        let target = self.dir_in(self.store.temp_dirs_beside(path))?.join(name);
        std::fs::rename(path, &target).map_err(Error::io("moving", path))
    }

    /// Ends taking; what was taken may be deleted when the locks are gone.
    pub(crate) fn into_deleted(self, layers: Vec<LayerId>) -> Deleted {
        let dirs = self.dirs.into_iter().map(|(_, dir)| dir).collect();
        let reserve = self.store.reserve_to_come();
        Deleted { layers, dirs, outside: self.outside, temp_dirs: self.store.all_temp_dirs(), reserve }
    }

    /// The temporary directory in `parent`, made when it is first asked for.
    fn dir_in(&mut self, parent: PathBuf) -> Result<&Path, Error> {
        let known = self.dirs.iter().position(|(place, _)| *place == parent);
        let index = match known {
            Some(index) => index,
            None => {
                let dir = TempDir::create(&parent).map_err(Error::io("making a temporary directory in", &parent))?;
                self.dirs.push((parent, dir));
                self.dirs.len() - 1
            }
        };
        Ok(self.dirs.get(index).map_or(Path::new(""), |(_, dir)| dir.path()))
    }
}
