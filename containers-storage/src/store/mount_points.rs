//! `<run root>/<driver>-layers/mountpoints.json`: the mounts that stay, as the other tools count them (format, sections 3.9 and 5.7).
//!
//! Only a mount that outlives its process is noted. What the file says of others cannot be trusted: a process that dies takes its
//! private mounts along and leaves its count. Where layers are whole trees nothing is mounted, and the count is all there is: it says that
//! somebody may still use the directory.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Store};
use crate::LayerId;
use crate::driver::Shape;
use crate::lock::{Access, Lock, Rank};
use crate::table::{Durability, Table};

#[derive(Debug, Serialize, Deserialize)]
struct MountPoint {
    id: LayerId,
    #[serde(default)]
    path: String,
    #[serde(default)]
    count: i64,
}

impl Store {
    /// Notes that `layer` is mounted at `path` and stays so. The count is set to one: the caller has proved that nobody else has it mounted.
    /// Where layers are whole trees it is raised by one.
    pub fn note_mount(&self, layer: &LayerId, path: &Path) -> Result<(), Error> {
        let shape = self.driver()?.shape();
        self.edit_mount_points(layer, &|count| Some(if shape == Shape::Trees { count.max(0) + 1 } else { 1 }), Some(path))
    }

    /// Notes that `layer` is mounted no more; where layers are whole trees, once less.
    pub fn note_unmount(&self, layer: &LayerId) -> Result<(), Error> {
        let shape = self.driver()?.shape();
        self.edit_mount_points(layer, &|count| Some(count - 1).filter(|left| shape == Shape::Trees && *left > 0), None)
    }

    /// Forgets all mounts of `layer`.
    pub fn forget_mounts(&self, layer: &LayerId) -> Result<(), Error> {
        self.edit_mount_points(layer, &|_| None, None)
    }

    /// How often each layer is mounted, as the file says.
    pub fn mount_counts(&self) -> Result<HashMap<LayerId, i64>, Error> {
        let path = self.layers_run_dir().join("mountpoints.json");
        if !path.exists() {
            return Ok(HashMap::new());
        }
        let _lock = self.lock(Rank::MountPoints, Access::Shared)?;
        let table = Table::read(&path)?;
        (0..table.len()).map(|index| table.parse(index).map(|point: MountPoint| (point.id, point.count))).collect()
    }

    /// Gives the layer's entry the count that `count` makes of the old one (0 without an entry); `None` removes it.
    fn edit_mount_points(&self, layer: &LayerId, count: &dyn Fn(i64) -> Option<i64>, path: Option<&Path>) -> Result<(), Error> {
        // The lock of the mount points is taken within that of the layers only.
        let _layers = self.lock(Rank::Layers, Access::Exclusive)?;
        let lock = Lock::acquire(&self.lock_path(Rank::MountPoints), Rank::MountPoints, Access::Exclusive)?;
        let mut table = Table::read(&self.layers_run_dir().join("mountpoints.json"))?;
        let known = table.find(layer.as_str());
        let old = known.map(|index| table.parse(index).map(|point: MountPoint| point.count)).transpose()?;
        let path = path.map(|path| path.to_string_lossy().into_owned());
        match (known, count(old.unwrap_or(0))) {
            (None, None) => return Ok(()),
            (Some(index), None) => table.remove(index),
            (None, Some(count)) => table.push(&MountPoint { id: layer.clone(), path: path.unwrap_or_default(), count })?,
            (Some(index), Some(count)) => {
                table.update(index, |point: &mut MountPoint| {
                    point.count = count;
                    if let Some(path) = path {
                        point.path = path;
                    }
                })?;
            }
        }
        lock.stamp()?;
        table.save(Durability::Volatile)
    }
}
