//! `<run root>/<driver>-layers/mountpoints.json`: the mounts that stay, as the other tools count them (format, sections 3.9 and 5.7).
//!
//! Only a mount that outlives its process is noted. What the file says of others cannot be trusted: a process that dies takes its
//! private mounts along and leaves its count.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Store};
use crate::LayerId;
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
    pub fn note_mount(&self, layer: &LayerId, path: &Path) -> Result<(), Error> {
        self.edit_mount_points(layer, Some(&path.to_string_lossy()))
    }

    /// Notes that `layer` is mounted no more.
    pub fn note_unmount(&self, layer: &LayerId) -> Result<(), Error> {
        self.edit_mount_points(layer, None)
    }

    fn edit_mount_points(&self, layer: &LayerId, path: Option<&str>) -> Result<(), Error> {
        // The lock of the mount points is taken within that of the layers only.
        let _layers = self.lock(Rank::Layers, Access::Exclusive)?;
        let lock = Lock::acquire(&self.lock_path(Rank::MountPoints), Rank::MountPoints, Access::Exclusive)?;
        let mut table = Table::read(&self.layers_run_dir().join("mountpoints.json"))?;
        let known = table.find(layer.as_str());
        match (known, path) {
            (None, None) => return Ok(()),
            (Some(index), None) => table.remove(index),
            (None, Some(path)) => table.push(&MountPoint { id: layer.clone(), path: path.to_owned(), count: 1 })?,
            (Some(index), Some(path)) => {
                table.update(index, |point: &mut MountPoint| {
                    path.clone_into(&mut point.path);
                    point.count = 1;
                })?;
            }
        }
        lock.stamp()?;
        table.save(Durability::Volatile)
    }
}
