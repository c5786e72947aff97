//! `rm`: a working container, its writable layer and its state go; the image stays.

use std::os::unix::fs::MetadataExt;

use containers_storage::driver::{self, GraphDriver, Shape};
use containers_storage::store::{self, Store};
use containers_storage::{ContainerId, LayerId, lease};

use super::{mounted, state};

/// Why a container could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container has this name or ID. Scripts look for this phrase.
    #[error("removing container {name:?}: {}", state::not_known(name))]
    NotKnown {
        /// What was typed.
        name: String,
    },
    /// The store could not be read.
    #[error("{0}")]
    State(#[source] state::Error),
    /// A process of ours uses it.
    #[error("removing container {name:?}: process {pid} uses it")]
    InUse {
        /// What was typed.
        name: String,
        /// The process.
        pid: u32,
    },
    /// Its lease could not be read.
    #[error("removing container {name:?}")]
    Lease {
        /// What was typed.
        name: String,
        /// What failed.
        source: lease::Error,
    },
    /// Its mount could not be taken down.
    #[error("removing container {name:?}")]
    Driver {
        /// What was typed.
        name: String,
        /// What failed.
        source: driver::Error,
    },
    /// Files of other owners are left, and the user namespace could not be entered to delete them.
    #[error("removing container {name:?}")]
    Namespace {
        /// What was typed.
        name: String,
        /// What failed.
        source: Box<mounted::Error>,
    },
    /// The store refused.
    #[error("removing container {name:?}")]
    Store {
        /// What was typed.
        name: String,
        /// What failed.
        source: store::Error,
    },
}

/// Removes the container that `name` (a name, an ID, or a unique prefix of one) stands for. Returns its ID.
///
/// The records go first, without a user namespace; one is entered only if files of other owners are left.
pub fn remove(store: &Store, name: &str) -> Result<ContainerId, Error> {
    let record = state::find(store, name).map_err(|error| match error {
        state::Error::NotKnown { name } => Error::NotKnown { name },
        other => Error::State(other),
    })?;
    let driver = store.driver().map_err(|source| Error::Driver { name: name.to_owned(), source })?;
    let graph_root = &store.conf().graph_root;
    let users = lease::users(graph_root, &record.layer).map_err(|source| Error::Lease { name: name.to_owned(), source })?;
    if driver::is_mount_point(&driver.mount_point(&record.layer)) {
        // Mounted in this very namespace (`coracle unshare`): it is unmounted first.
        driver.unmount(&record.layer).map_err(|source| Error::Driver { name: name.to_owned(), source })?;
    } else if let Some(&pid) = users.iter().find(|&&pid| pid != std::process::id()) {
        return Err(Error::InUse { name: name.to_owned(), pid });
    }
    let failed = |source| Error::Store { name: name.to_owned(), source };
    let entering = |source| Error::Namespace { name: name.to_owned(), source: Box::new(source) };
    let enter = || mounted::enter_files(store, name).map(drop).map_err(entering);
    if state::is_shifted(&record) || is_foreign(driver, &record.layer) {
        enter()?;
    }
    if driver.shape() == Shape::Trees {
        store.forget_mounts(&record.layer).map_err(failed)?;
    }
    let mut deleted = store.delete_container(&record.id).map_err(failed)?;
    if !deleted.finish().map_err(failed)? {
        enter()?;
        deleted.finish().map_err(failed)?;
    }
    // What is left of a lease is worth no failure: nobody can use it any more.
    let _ = lease::forget(graph_root, &record.layer);
    Ok(record.id)
}

/// Whether the layer's directory itself belongs to another ID (`--userns` of other tools, or a tree whose root was given away):
/// from outside the user namespace it cannot even be moved. One that is not there belongs to nobody.
pub fn is_foreign(driver: &dyn GraphDriver, layer: &LayerId) -> bool {
    let mount_point = driver.mount_point(layer);
    let directory = match driver.shape() {
        Shape::Trees => Some(mount_point.as_path()),
        Shape::Diffs => mount_point.parent(),
    };
    let owner = directory.and_then(|directory| std::fs::symlink_metadata(directory).ok()).map(|stat| stat.uid());
    owner.is_some_and(|owner| owner != rustix::process::geteuid().as_raw())
}
