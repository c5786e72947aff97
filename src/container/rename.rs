//! `rename`: a working container gets another name, in its record and in its state.

use containers_storage::ContainerId;
use containers_storage::store::{self, Store};

use super::name::{self, InvalidName};
use super::{WorkingContainer, state};

/// Why a container could not be renamed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be found, or its state not be written.
    #[error("{0}")]
    State(#[from] state::Error),
    /// It has that name already.
    #[error("renaming a container with the same name as its current name")]
    SameName,
    /// The new name is no name.
    #[error("{0}")]
    Invalid(#[from] InvalidName),
    /// Another container has that name.
    #[error("the container name {name:?} is already in use by container {:?}", .holder.as_str())]
    NameInUse {
        /// The wanted name.
        name: String,
        /// The container that has it.
        holder: ContainerId,
    },
    /// The store refused.
    #[error("renaming {name:?}")]
    Store {
        /// The container.
        name: String,
        /// What failed.
        source: store::Error,
    },
}

/// Gives the container `old_name` the name `new_name`.
pub fn rename(store: &Store, old_name: &str, new_name: &str) -> Result<(), Error> {
    WorkingContainer::edit(store, old_name, |container| {
        name::check(new_name)?;
        if container.name() == new_name {
            return Err(Error::SameName);
        }
        match store.rename_container(container.id(), new_name) {
            Ok(_) => {}
            Err(store::Error::NameInUse { name, id }) => return Err(Error::NameInUse { name, holder: id }),
            Err(source) => return Err(Error::Store { name: old_name.to_owned(), source }),
        }
        // The name in the state is what newer Buildahs list (format, section 3.8).
        container.state_mut().name = new_name.to_owned();
        Ok(())
    })
}
