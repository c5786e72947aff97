//! `diff`: what a working container or an image changed against its parent.

use std::path::PathBuf;

pub use containers_storage::changes::Kind;
use containers_storage::changes::{self, FileKind};
use containers_storage::driver;
use containers_storage::store::{self, Store};

use super::find_image::{self, find_one};
use super::{mounted, state};
use crate::conf::Registries;
use crate::image::manifest::index::Platform;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// The image could not be found.
    #[error("{0}")]
    Image(#[from] find_image::Error),
    /// The user namespace could not be entered.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// The layer's record could not be read.
    #[error("comparing {name:?} with its parent")]
    Store {
        /// The container or image.
        name: String,
        /// What failed.
        source: store::Error,
    },
    /// The layers could not be compared.
    #[error("comparing {name:?} with its parent")]
    Compare {
        /// The container or image.
        name: String,
        /// What failed.
        source: driver::Error,
    },
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute within the container; foreign bytes, to be escaped when printed.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: Kind,
    /// Its size in bytes now, for a regular file.
    pub size: Option<u64>,
}

/// The changes of the container or image `name` (looked up in this order), sorted by path. Enters the user namespace: directories
/// of other owners could not be read outside.
pub fn diff(store: &Store, registries: &Registries, name: &str) -> Result<Vec<Change>, Error> {
    let (mut shift, mut linked) = (None, Vec::new());
    let layer = match state::find(store, name) {
        Ok(record) => {
            shift = mounted::shift(store, &record)?;
            linked = state::linked_trees(store, &record.id)?;
            Some(record.layer)
        }
        Err(state::Error::NotKnown { .. }) => find_one(store, registries, name, &Platform::of_this_machine())?.image.layer,
        Err(error) => return Err(error.into()),
    };
    let Some(layer) = layer else { return Ok(Vec::new()) };
    let failed = |source| Error::Compare { name: name.to_owned(), source };
    let driver = store.driver().map_err(failed)?;
    mounted::enter_files(store, name)?;
    let record = store.layers().and_then(|layers| layers.get(&layer));
    let record = record.map_err(|source| Error::Store { name: name.to_owned(), source })?;
    let all = match shift {
        // A mount program writes the owners inside.
        Some(shift) if !driver.is_served() => changes::of_shifted_layer(driver, &record, shift.maps()),
        _ => changes::of_layer(driver, &record),
    };
    let all = all.and_then(|all| changes::with_trees(driver, &record, all, &linked)).map_err(failed)?;
    let change = |change: changes::Change| Change {
        size: (change.kind != Kind::Deleted && change.file_type == FileKind::File).then_some(change.size),
        path: change.path,
        kind: change.kind,
    };
    Ok(all.into_iter().map(change).collect())
}
