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
    /// The first name of its image; empty for `scratch`, and if the image has no name or is gone.
    pub image_name: String,
    /// Its name; empty when it has none.
    pub name: String,
}

/// The containers of `store` in the order of the table. A state file that cannot be read makes its container somebody else's.
pub fn list(store: &Store, scope: Scope) -> Result<Vec<Listed>, state::Error> {
    let failed = |source| state::Error::Store { name: String::new(), source };
    let records = store.containers().and_then(|containers| containers.all()).map_err(failed)?;
    let mut listed = Vec::with_capacity(records.len());
    for record in records {
        match Summary::read(&store.container_dir(&record.id)) {
            Some(summary) => listed.push(of_summary(record, summary)),
            None if scope == Scope::All => listed.push(of_record(record)),
            None => {}
        }
    }
    name_images(store, &mut listed).map_err(failed)?;
    Ok(listed)
}

fn of_summary(record: Container, summary: Summary) -> Listed {
    Listed {
        id: record.id,
        builder: true,
        image_id: summary.image_id,
        image_name: String::new(),
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

/// Each container is shown with the first name that its image has now, as by Buildah: not with the one it was made by.
fn name_images(store: &Store, listed: &mut [Listed]) -> Result<(), containers_storage::store::Error> {
    if listed.iter().all(|row| row.image_id.is_empty()) {
        return Ok(());
    }
    let images = store.images()?;
    let mut names: HashMap<String, String> = HashMap::new();
    for row in listed {
        if let Some(name) = names.get(&row.image_id) {
            row.image_name.clone_from(name);
            continue;
        }
        let found = match row.image_id.parse::<ImageId>() {
            Ok(id) => images.find(&id)?,
            Err(_) => None,
        };
        row.image_name = found.and_then(|image| image.names.into_iter().next()).unwrap_or_default();
        names.insert(row.image_id.clone(), row.image_name.clone());
    }
    Ok(())
}
