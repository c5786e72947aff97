//! `manifest add` and `commit --manifest`: images into a list.

use std::collections::BTreeMap;

use containers_storage::store::Store;
use containers_storage::{Digest, ImageId};

use super::create::new_list;
use super::reading::{self, Access, Entries, Opened};
use super::{Error, Stored, change, existing_or_meant, place};
use crate::image::list::Entry;
use crate::image::manifest::index::MAX_INSTANCES;
use crate::image::{ImageConfig, Manifest};

/// What is said of an image instead of what its config says; what is not given stays.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--os`
    pub os: Option<String>,
    /// `--arch`
    pub architecture: Option<String>,
    /// `--variant`
    pub variant: Option<String>,
    /// `--os-version`
    pub os_version: Option<String>,
    /// `--os-features`
    pub os_features: Vec<String>,
    /// `--features`
    pub features: Vec<String>,
    /// `--annotation`; they take the place of older ones.
    pub annotations: BTreeMap<String, String>,
}

impl Overrides {
    /// Changes an entry.
    pub(super) fn apply(&self, entry: &mut Entry) {
        let set = |field: &mut String, given: &Option<String>| {
            if let Some(given) = given {
                field.clone_from(given);
            }
        };
        set(&mut entry.platform.os, &self.os);
        set(&mut entry.platform.architecture, &self.architecture);
        set(&mut entry.platform.variant, &self.variant);
        set(&mut entry.platform.os_version, &self.os_version);
        if !self.os_features.is_empty() {
            entry.platform.os_features.clone_from(&self.os_features);
        }
        if !self.features.is_empty() {
            entry.platform.features.clone_from(&self.features);
        }
        if !self.annotations.is_empty() {
            entry.annotations.clone_from(&self.annotations);
        }
    }
}

/// Adds the image that `operand` names, or images of the list that it names, to the list `name`. Answers with the list's ID and the
/// digest of the image; of several, of the first, which the overrides are for.
pub fn add(
    store: &Store,
    name: &str,
    operand: &str,
    which: &Entries,
    overrides: &Overrides,
    access: &Access<'_>,
) -> Result<(ImageId, Option<Digest>), Error> {
    // No list, no need to look at the image.
    super::find(store, access.registries, name)?;
    let opened = reading::open(store, operand, access)?;
    let entries = opened.entries(which)?;
    change(store, access.registries, name, |stored| {
        let first = put(stored, &opened, entries)?;
        if let Some(entry) = first.as_ref().and_then(|digest| stored.list.entry_mut(digest)) {
            overrides.apply(entry);
        }
        Ok(first)
    })
}

/// Puts entries into a list, and where their images are. Answers with the digest of the first.
pub(super) fn put(stored: &mut Stored, opened: &Opened<'_>, entries: Vec<Entry>) -> Result<Option<Digest>, Error> {
    opened.note_places(stored, &entries);
    let first = entries.first().map(|entry| entry.digest.clone());
    for entry in entries {
        put_entry(stored, entry)?;
    }
    Ok(first)
}

/// Puts one entry into a list.
pub(super) fn put_entry(stored: &mut Stored, entry: Entry) -> Result<(), Error> {
    stored.list.add(entry);
    if stored.list.entries.len() > MAX_INSTANCES { Err(Error::Full) } else { Ok(()) }
}

/// An image that was just made.
#[derive(Debug)]
pub struct Built<'a> {
    /// Its ID.
    pub id: &'a ImageId,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its config, which tells its platform.
    pub config: &'a ImageConfig,
}

/// Adds an image that was just made to the list called `name`, which is made if there is none. Returns the list's ID.
pub fn add_built(store: &Store, name: &str, built: &Built<'_>) -> Result<ImageId, Error> {
    // Nobody else of ours makes a list of this name meanwhile.
    let _making = store.lock_lists().map_err(|source| Error::store(name, source))?;
    let entry = Entry::of_image(built.manifest, built.config);
    let put = |stored: &mut Stored| {
        stored.places.insert(entry.digest.to_string(), place(store, built.id));
        stored.list.add(entry.clone());
    };
    match existing_or_meant(store, name)? {
        Some(image) => {
            let registries = crate::conf::Registries::default();
            let (id, ()) = change(store, &registries, image.id.as_str(), |stored| {
                put(stored);
                Ok(())
            })?;
            Ok(id)
        }
        None => {
            let mut stored = new_list();
            put(&mut stored);
            super::create::record(store, name, &mut stored)
        }
    }
}
