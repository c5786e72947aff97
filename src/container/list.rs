//! The working containers of a store, and the containers that other tools made in it.

use std::collections::HashMap;

use containers_storage::containers::Container;
use containers_storage::store::Store;
use containers_storage::{ContainerId, ImageId};

use super::state::{self, Summary};

/// Which containers a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that Coracle or Buildah made.
    Working,
    /// Those of podman and CRI-O as well.
    All,
}

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The container's ID.
    pub id: ContainerId,
    /// Whether it is a working container, made by Coracle or Buildah.
    pub builder: bool,
    /// The ID of its image in 64 hexadecimal digits; empty for `scratch`.
    pub image_id: String,
    /// The name of its image; empty for `scratch` and for an image without a name.
    pub image_name: String,
    /// Its name; empty when it has none.
    pub name: String,
}

/// The containers of `store` in the order of the table. A state file that cannot be read makes its container somebody else's.
pub fn list(store: &Store, scope: Scope) -> Result<Vec<Listed>, state::Error> {
    let failed = |source| state::Error::Store { name: String::new(), source };
    let records = store.containers().and_then(|containers| containers.all()).map_err(failed)?;
    let mut listed = Vec::with_capacity(records.len());
    let mut others = Vec::new();
    for record in records {
        match Summary::read(&store.container_dir(&record.id)) {
            Some(summary) => listed.push(of_summary(record, summary)),
            None if scope == Scope::All => {
                others.push(listed.len());
                listed.push(of_record(record));
            }
            None => {}
        }
    }
    if !others.is_empty() {
        name_images(store, &mut listed, &others).map_err(failed)?;
    }
    Ok(listed)
}

fn of_summary(record: Container, summary: Summary) -> Listed {
    Listed {
        id: record.id,
        builder: true,
        image_id: summary.image_id,
        image_name: summary.image,
        name: record.names.into_iter().next().unwrap_or(summary.name),
    }
}

fn of_record(record: Container) -> Listed {
    Listed {
        id: record.id,
        builder: false,
        image_id: record.image.as_ref().map(ImageId::to_string).unwrap_or_default(),
        image_name: String::new(),
        name: record.names.into_iter().next().unwrap_or_default(),
    }
}

/// Containers without a state of ours are shown with the first name of their image.
fn name_images(store: &Store, listed: &mut [Listed], which: &[usize]) -> Result<(), containers_storage::store::Error> {
    let images = store.images()?.all()?;
    let names: HashMap<String, String> =
        images.into_iter().filter_map(|image| Some((image.id.to_string(), image.names.into_iter().next()?))).collect();
    for &index in which {
        if let Some(name) = names.get(&listed[index].image_id) {
            listed[index].image_name.clone_from(name);
        }
    }
    Ok(())
}
