//! Layers that no image names yet: `<graph root>/coracle/unclaimed/<layer id>`, one line for each process that is about to name it in one.
//!
//! ```text
//! put_layer    writes the file before the layer's record is visible; on a layer that has the file already, adds a line
//! put_image    deletes the files of all layers that its image is made of
//! ```
//!
//! A layer whose processes have all died, and which nothing else has come to use, is garbage: a killed commit or pull left it. It stays
//! until `check::repair`, so that the same pull, started again, finds it. Layers without a file are never judged: another tool
//! may be at work on them.
//!
//! Images that a process records only to copy them elsewhere have such files as well, in `passing/`: `put_image` writes one, a name or
//! another process that records the image as its own deletes it, and `check::repair` deletes the images of the dead.
//!
//! Files are not synced: after a power cut one may be missing, and its layer stays.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;

use super::{Error, Store};
use crate::containers::Containers;
use crate::images::Images;
use crate::layers::Layers;
use crate::process::Process;
use crate::{ImageId, LayerId, lock, table};

/// A handful of processes at most make the same layer at once.
const MAX_TEXT: u64 = 1 << 20;

impl Store {
    fn unclaimed_dir(&self) -> PathBuf {
        self.private_dir().join("unclaimed")
    }

    /// The file that says who is about to name the layer.
    pub(crate) fn claim_file(&self, id: &LayerId) -> PathBuf {
        self.unclaimed_dir().join(id)
    }

    /// Says that this process made the layer and will name it. The caller holds layers.lock exclusively.
    pub(super) fn announce_layer(&self, id: &LayerId) -> Result<(), Error> {
        let path = self.claim_file(id);
        let line = format!("{}\n", Process::own());
        let written = match std::fs::write(&path, &line) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                lock::make_private_dir(&self.unclaimed_dir()).and_then(|()| std::fs::write(&path, &line))
            }
            other => other,
        };
        written.map_err(Error::io("writing", &path))
    }

    /// Says that this process will name a layer as well that another one announced. Nothing is said of others' layers.
    pub(super) fn join_announcement(&self, id: &LayerId) -> Result<(), Error> {
        let path = self.claim_file(id);
        let opened = std::fs::OpenOptions::new().append(true).open(&path);
        match opened.and_then(|mut file| writeln!(file, "{}", Process::own())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("writing", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Takes it that the image on `top` is recorded now. A file that stays is stale, and `check` says so.
    pub(crate) fn claim_layers(&self, layers: &Layers, top: Option<&LayerId>) {
        let Ok(announced) = self.announced_layers() else { return };
        let mut next = top.filter(|_| !announced.is_empty()).cloned();
        let mut left = announced.len();
        while let Some(id) = next.take() {
            if announced.contains(&id) {
                let _ = std::fs::remove_file(self.claim_file(&id));
                left -= 1;
            }
            // Mostly the top layer is the only one: no other record is looked at.
            next = if left > 0 { layers.parent(&id) } else { None };
        }
    }

    fn passing_dir(&self) -> PathBuf {
        self.private_dir().join("passing")
    }

    /// The file that says who alone has a use for the image.
    pub(crate) fn passing_file(&self, id: &ImageId) -> PathBuf {
        self.passing_dir().join(id)
    }

    /// Says that this process is about to record the image and will take it away. One that is there already and that nobody said this
    /// of stays. The caller holds images.lock exclusively.
    pub(super) fn announce_image(&self, id: &ImageId, is_recorded: bool) -> Result<(), Error> {
        let path = self.passing_file(id);
        let dir = self.passing_dir();
        lock::make_private_dir(&dir).map_err(Error::io("creating", &dir))?;
        let opened = std::fs::OpenOptions::new().append(true).create(!is_recorded).open(&path);
        match opened.and_then(|mut file| writeln!(file, "{}", Process::own())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("writing", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Takes it that the image is here to stay, or gone. A file that stays is stale, and `check` says so.
    pub(super) fn claim_image(&self, id: &ImageId) {
        let _ = std::fs::remove_file(self.passing_file(id));
    }

    /// Whether nobody but this process, or nobody who lives, has a use for the image.
    pub(super) fn is_only_passing(&self, id: &ImageId) -> Result<bool, Error> {
        let path = self.passing_file(id);
        match table::read_limited(&path, MAX_TEXT) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("reading", &path)(error)),
            Ok(bytes) => {
                let (text, own) = (String::from_utf8_lossy(&bytes).into_owned(), Process::own());
                let mut others = text.lines().filter_map(|line| line.parse::<Process>().ok()).filter(|process| *process != own);
                Ok(!others.any(|process| process.may_live()))
            }
        }
    }

    /// Images that processes recorded as passing, all of whom have died.
    pub(crate) fn abandoned_images(&self) -> Result<Vec<ImageId>, Error> {
        let dir = self.passing_dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("reading", &dir)(error)),
        };
        let mut abandoned = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::io("reading", &dir))?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<ImageId>().ok()) else { continue };
            let path = self.passing_file(&id);
            let bytes = table::read_limited(&path, MAX_TEXT).map_err(Error::io("reading", &path))?;
            let text = String::from_utf8_lossy(&bytes);
            if !text.lines().filter_map(|line| line.parse::<Process>().ok()).any(|process| process.may_live()) {
                abandoned.push(id);
            }
        }
        abandoned.sort();
        Ok(abandoned)
    }

    fn announced_layers(&self) -> Result<HashSet<LayerId>, Error> {
        let dir = self.unclaimed_dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashSet::new()),
            Err(error) => return Err(Error::io("reading", &dir)(error)),
        };
        let names = entries.map(|entry| Ok(entry.map_err(Error::io("reading", &dir))?.file_name()));
        let ids = names.filter_map(|name: Result<_, Error>| name.map(|name| name.to_str()?.parse().ok()).transpose());
        ids.collect()
    }

    /// Announced layers all of whose processes have died.
    pub(crate) fn abandoned_layers(&self) -> Result<HashSet<LayerId>, Error> {
        let mut abandoned = HashSet::new();
        for id in self.announced_layers()? {
            let path = self.claim_file(&id);
            let bytes = table::read_limited(&path, MAX_TEXT).map_err(Error::io("reading", &path))?;
            let text = String::from_utf8_lossy(&bytes);
            if !text.lines().filter_map(|line| line.parse::<Process>().ok()).any(|process| process.may_live()) {
                abandoned.insert(id);
            }
        }
        Ok(abandoned)
    }
}

/// Those of the `abandoned` layers that are recorded and that nothing uses but each other, upper ones first.
pub(crate) fn unused(
    abandoned: &HashSet<LayerId>,
    layers: &Layers,
    images: &Images,
    containers: &Containers,
) -> Result<Vec<LayerId>, Error> {
    let mut left: Vec<&LayerId> = abandoned
        .iter()
        .filter(|id| layers.contains(id) && !layers.is_read_only(id))
        .filter(|id| images.users_of(id).is_empty() && containers.of_layer(id).is_empty())
        .collect();
    left.sort();
    let mut unused: Vec<LayerId> = Vec::new();
    loop {
        let before = unused.len();
        let mut kept = Vec::new();
        for id in left {
            if layers.children(id)?.iter().all(|child| unused.contains(child)) {
                unused.push(id.clone());
            } else {
                kept.push(id);
            }
        }
        if unused.len() == before {
            return Ok(unused);
        }
        left = kept;
    }
}
