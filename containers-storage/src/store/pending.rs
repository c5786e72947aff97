//! Notes of what is half done: `<graph root>/coracle/pending/<random>`, one line `container|image|layer <id>` for each object.
//!
//! An operation notes what it is about to make or take away, while it holds layers.lock, and deletes the note when all is done. So a
//! note that is found under that lock is a dead process's. It costs two system calls where the format's way, to record a layer
//! as incomplete first, costs a sync of the whole table; a store without our notes is still right, only with orphans in it.
//!
//! ```text
//! an owner (container, image) of the note is recorded   the operation has not begun, or it has ended: nothing to do
//! owners are noted, none is recorded                    the layers go, unless somebody else uses them; so do the owners' directories
//! a layer is not recorded                               its directory goes
//! ```
//!
//! Notes are not synced: after a power cut they may be missing or empty, and `check` finds what they would have told.

use std::path::PathBuf;

use super::trash::Trash;
use super::{AllMut, Error, Store};
use crate::{ContainerId, ImageId, LayerId};

/// What one operation makes or takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub containers: Vec<ContainerId>,
    pub images: Vec<ImageId>,
    pub layers: Vec<LayerId>,
}

/// A note in the store. It stays until `done`.
#[derive(Debug)]
#[must_use]
pub(crate) struct Noted {
    path: PathBuf,
}

impl Noted {
    /// Deletes the note. Should that fail, recovery finds that there is nothing to do.
    pub(crate) fn done(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Note {
    fn text(&self) -> String {
        let containers = self.containers.iter().map(|id| format!("container {id}\n"));
        let images = self.images.iter().map(|id| format!("image {id}\n"));
        let layers = self.layers.iter().map(|id| format!("layer {id}\n"));
        containers.chain(images).chain(layers).collect()
    }

    fn parse(text: &str) -> Self {
        let mut note = Self::default();
        // A line that was cut short, or that a later version wrote, says nothing.
        for (kind, id) in text.lines().filter_map(|line| line.split_once(' ')) {
            match kind {
                "container" => note.containers.extend(id.parse::<ContainerId>()),
                "image" => note.images.extend(id.parse::<ImageId>()),
                "layer" => note.layers.extend(id.parse::<LayerId>()),
                _ => {}
            }
        }
        note
    }
}

impl Store {
    fn pending_dir(&self) -> PathBuf {
        self.private_dir().join("pending")
    }

    /// Writes a note. The caller holds layers.lock until it is done.
    pub(crate) fn note(&self, note: &Note) -> Result<Noted, Error> {
        let dir = self.pending_dir();
        let path = dir.join(ContainerId::random().short());
        let text = note.text();
        let written = match std::fs::write(&path, &text) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                crate::lock::make_private_dir(&dir).and_then(|()| std::fs::write(&path, &text))
            }
            other => other,
        };
        written.map_err(|error| {
            // A file may be there in which nothing stands.
            let _ = std::fs::remove_file(&path);
            Error::io("writing", &path)(error)
        })?;
        self.keep_reserve();
        Ok(Noted { path })
    }

    /// The notes in the store. Those found while holding layers.lock exclusively are of dead processes.
    pub(crate) fn pending_notes(&self) -> Result<Vec<(PathBuf, Note)>, Error> {
        let dir = self.pending_dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("reading", &dir)(error)),
        };
        let mut notes = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("reading", &dir))?.path();
            let bytes = crate::table::read_limited(&path, 1 << 20).map_err(Error::io("reading", &path))?;
            notes.push((path, Note::parse(&String::from_utf8_lossy(&bytes))));
        }
        Ok(notes)
    }

    /// Takes away what the notes tell of, and the notes; all but what only another user namespace lets go.
    pub(super) fn recover_pending(&self, all: &mut AllMut, notes: Vec<(PathBuf, Note)>) -> Result<(), Error> {
        let mut trash = Trash::new(self);
        for (path, note) in notes {
            match self.recover_note(all, &note, &mut trash) {
                // Directories of other IDs: what is left, and the note, wait for a process in the store's user namespace.
                Err(error) if error.is_permission_denied() => continue,
                other => other?,
            }
            std::fs::remove_file(&path).map_err(Error::io("deleting", &path))?;
        }
        Ok(())
    }

    fn recover_note(&self, all: &mut AllMut, note: &Note, trash: &mut Trash<'_>) -> Result<(), Error> {
        let owned = !note.containers.is_empty() || !note.images.is_empty();
        let mut recorded = false;
        for id in &note.containers {
            recorded |= all.containers.find(id)?.is_some();
        }
        for id in &note.images {
            recorded |= all.images.find(id)?.is_some();
        }
        if owned && !recorded {
            for id in &note.layers {
                if all.layers.contains(id) && layer_users(all, id)?.is_empty() {
                    all.layers.remove(id);
                }
            }
            all.layers.prepare()?.finish()?;
            for id in &note.containers {
                trash.take_container_dirs(id)?;
            }
            for id in &note.images {
                trash.take_image_dir(id)?;
            }
        }
        for id in note.layers.iter().filter(|id| !all.layers.contains(id)) {
            trash.take_layer(id)?;
        }
        Ok(())
    }
}

/// IDs of the images, containers and layers that use a layer.
pub(super) fn layer_users(all: &AllMut, id: &LayerId) -> Result<Vec<String>, Error> {
    let mut users = all.images.users_of(id);
    users.extend(all.containers.of_layer(id).iter().map(ToString::to_string));
    users.extend(all.layers.children(id)?.iter().map(ToString::to_string));
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_written_and_torn_ones_say_less() {
        let id = "a".repeat(64);
        let note = Note {
            containers: vec![id.parse().unwrap()],
            images: vec!["b".repeat(64).parse().unwrap()],
            layers: vec![id.parse().unwrap(), "c".repeat(64).parse().unwrap()],
        };
        assert_eq!(Note::parse(&note.text()), note);
        let torn = &note.text()[..note.text().len() - 3];
        assert_eq!(Note::parse(torn).layers.len(), 1);
        assert_eq!(Note::parse("layer ../../x\nfuture y\n\0"), Note::default());
    }
}
