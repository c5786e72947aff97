//! `manifest create`: a new list, with or without images.

use std::collections::BTreeMap;

use containers_storage::ImageId;
use containers_storage::images::Image;
use containers_storage::store::Store;
use jiff::Timestamp;

use super::reading::{self, Access, Entries};
use super::{Artifacts, Error, Stored, add, change, existing, qualified};
use crate::image::Time;
use crate::image::list::List;

/// What becomes of a list that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// That is an error.
    #[default]
    Refuse,
    /// The images are added to it (`--amend`). One image becomes the first of a list that takes its name.
    Amend,
    /// It loses its name, and goes if it has no other (`--replace`). One image stays, if only by its ID.
    Replace,
}

/// Makes a list called `name` of these images. `annotations` are those of the list itself.
pub fn create(
    store: &Store,
    name: &str,
    images: &[(&str, &Entries)],
    annotations: &BTreeMap<String, String>,
    if_exists: Existing,
    access: &Access<'_>,
) -> Result<ImageId, Error> {
    // Nobody else of ours makes a list of this name meanwhile.
    let _making = store.lock_lists().map_err(|source| Error::store(name, source))?;
    let (old, one) = match existing(store, name) {
        Ok(old) => (old, None),
        Err(Error::OneImage { id, .. }) => (None, Some(id)),
        Err(error) => return Err(error),
    };
    if if_exists == Existing::Refuse
        && let Some(id) = old.as_ref().map(|old| &old.id).or(one.as_ref())
    {
        return Err(in_use(name, id.clone()));
    }
    let first = one.filter(|_| if_exists == Existing::Amend).map(|id| id.to_string());
    let first = first.iter().map(|id| (id.as_str(), &Entries::All));
    let opened = first.chain(images.iter().copied()).map(|(operand, which)| {
        let opened = reading::open(store, operand, access)?;
        let entries = opened.entries(which)?;
        Ok((opened, entries))
    });
    let opened = opened.collect::<Result<Vec<_>, Error>>()?;
    let fill = |stored: &mut Stored| {
        for (opened, entries) in opened {
            add::put(stored, &opened, entries)?;
        }
        if !annotations.is_empty() {
            stored.list.annotations.clone_from(annotations);
        }
        Ok(())
    };
    if let (Some(old), Existing::Amend) = (&old, if_exists) {
        return change(store, access.registries, old.id.as_str(), fill).map(|(id, ())| id);
    }
    let mut stored = new_list();
    fill(&mut stored)?;
    let id = record(store, name, &mut stored)?;
    if let Some(old) = old {
        // The new one has the name by now. What else the old one is called stays.
        let failed = |source| Error::store(name, source);
        let left = store.images().and_then(|images| images.find(&old.id)).map_err(failed)?;
        if left.is_some_and(|image| image.names.is_empty()) {
            store.delete_image(&old.id).and_then(|mut deleted| deleted.finish()).map_err(failed)?;
        }
    }
    Ok(id)
}

fn in_use(name: &str, id: ImageId) -> Error {
    let name = qualified(name).map_or_else(|_| name.to_owned(), |name| name.to_string());
    Error::InUse { name, id }
}

/// A list that is in no store yet.
pub(super) fn new_list() -> Stored {
    let image = Image {
        // The other tools have random IDs for lists, since a list changes and its ID does not.
        id: ImageId::random(),
        digest: None,
        names: Vec::new(),
        names_history: Vec::new(),
        layer: None,
        mapped_layers: Vec::new(),
        metadata: String::new(),
        big_data_names: Vec::new(),
        big_data_sizes: BTreeMap::new(),
        big_data_digests: BTreeMap::new(),
        created: Time::from_timestamp(Timestamp::now()).as_str().to_owned(),
        flags: serde_json::Map::new(),
        read_only: false,
    };
    let (places, artifacts) = (BTreeMap::new(), Artifacts::default());
    Stored { image, list: List::new(), bytes: Vec::new(), places, artifacts }
}

/// Writes a new list into the store under its name, which is taken from whoever has it.
pub(super) fn record(store: &Store, name: &str, stored: &mut Stored) -> Result<ImageId, Error> {
    let full = qualified(name)?.to_string();
    stored.save(store, &[full])?;
    Ok(stored.image.id.clone())
}
