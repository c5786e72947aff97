//! The tables under their exclusive locks: the only way to change a record.
//!
//! Invariant: a guard holds its lock from before the table is read until it is dropped. `prepare` stamps the lock, then writes beside the
//! tables. What was not committed when a guard is dropped never happened. Ranks (`lock::Rank`) make taking guards in the wrong order an error.
//!
//! Must not: be held while something slow is done.

use std::ops::{Deref, DerefMut};

use super::{Error, Store};
use crate::ContainerId;
use crate::containers::Containers;
use crate::images::Images;
use crate::layers::{INCOMPLETE, Layers};
use crate::lock::{Access, Lock, Rank};
use crate::table::records::Prepared;

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident, $table:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            table: $table,
            lock: Lock,
        }

        impl Deref for $name {
            type Target = $table;

            fn deref(&self) -> &$table {
                &self.table
            }
        }

        impl DerefMut for $name {
            fn deref_mut(&mut self) -> &mut $table {
                &mut self.table
            }
        }

        impl $name {
            /// Writes what was changed beside the tables. It counts when it is committed, which needs the guard to live on.
            pub(crate) fn prepare(&mut self) -> Result<Prepared, Error> {
                if self.table.records.is_changed() {
                    self.lock.stamp()?;
                }
                self.table.records.prepare()
            }
        }
    };
}

guard! {
    /// The layers, locked.
    LayersMut, Layers
}
guard! {
    /// The images, locked.
    ImagesMut, Images
}
guard! {
    /// The containers, locked.
    ContainersMut, Containers
}

/// All three tables, locked.
#[derive(Debug)]
pub struct AllMut {
    /// The layers.
    pub layers: LayersMut,
    /// The images.
    pub images: ImagesMut,
    /// The containers.
    pub containers: ContainersMut,
    /// The containers whose removal a killed process had begun and this one has ended.
    pub(super) ended: Vec<ContainerId>,
}

impl Store {
    /// Locks the layers. What killed processes left half done (layers under construction, pending notes, half-done freezes) is
    /// recovered first.
    pub(crate) fn lock_layers(&self) -> Result<LayersMut, Error> {
        Ok(self.lock_recovered()?.0)
    }

    /// The locked layers, and the containers whose removal was ended on the way.
    fn lock_recovered(&self) -> Result<(LayersMut, Vec<ContainerId>), Error> {
        let layers = self.lock_layers_as_they_are()?;
        let notes = self.pending_notes()?;
        let freezing = !layers.flagged(crate::freeze::FLAG).is_empty();
        if notes.is_empty() && !freezing && layers.flagged(INCOMPLETE).is_empty() {
            return Ok((layers, Vec::new()));
        }
        let (images, containers) = (self.lock_images()?, self.lock_containers()?);
        let mut all = AllMut { layers, images, containers, ended: Vec::new() };
        if freezing {
            all.ended = crate::freeze::recover(self, &mut all)?;
        }
        self.recover_pending(&mut all, notes)?;
        self.delete_incomplete(&mut all)?;
        Ok((all.layers, all.ended))
    }

    /// Locks the layers and recovers nothing.
    pub(super) fn lock_layers_as_they_are(&self) -> Result<LayersMut, Error> {
        let lock = self.lock(Rank::Layers, Access::Exclusive)?;
        Ok(LayersMut { table: self.load_layers()?, lock })
    }

    /// Locks the images.
    pub(crate) fn lock_images(&self) -> Result<ImagesMut, Error> {
        let lock = self.lock(Rank::Images, Access::Exclusive)?;
        Ok(ImagesMut { table: self.load_images()?, lock })
    }

    /// Locks the containers.
    pub(crate) fn lock_containers(&self) -> Result<ContainersMut, Error> {
        let lock = self.lock(Rank::Containers, Access::Exclusive)?;
        Ok(ContainersMut { table: self.load_containers()?, lock })
    }

    /// Locks all tables, in order; recovers as `lock_layers` does.
    pub(crate) fn lock_all(&self) -> Result<AllMut, Error> {
        let (layers, ended) = self.lock_recovered()?;
        Ok(AllMut { layers, images: self.lock_images()?, containers: self.lock_containers()?, ended })
    }

    /// Holds all tables still, for reading. The tables that `load_all` reads then belong together.
    pub(crate) fn read_all(&self) -> Result<[Lock; 3], Error> {
        let layers = self.lock(Rank::Layers, Access::Shared)?;
        let images = self.lock(Rank::Images, Access::Shared)?;
        let containers = self.lock(Rank::Containers, Access::Shared)?;
        Ok([layers, images, containers])
    }

    /// All tables, as they are under locks that the caller holds.
    pub(crate) fn load_all(&self) -> Result<(Layers, Images, Containers), Error> {
        Ok((self.load_layers()?, self.load_images()?, self.load_containers()?))
    }

    fn delete_incomplete(&self, all: &mut AllMut) -> Result<(), Error> {
        let mut trash = super::trash::Trash::new(self);
        // A layer goes before its parent, so that no record ever names a missing one.
        loop {
            let flagged = all.layers.flagged(INCOMPLETE);
            let mut progress = false;
            for id in flagged {
                if all.layers.children(&id)?.is_empty() && all.containers.of_layer(&id).is_empty() {
                    match trash.take_layer(&id) {
                        // A directory of other IDs: it waits for a process in the store's user namespace.
                        Err(error) if error.is_permission_denied() => continue,
                        other => other?,
                    }
                    all.layers.remove(&id);
                    progress = true;
                }
            }
            if !progress {
                break;
            }
        }
        all.layers.prepare()?.finish()
    }
}
