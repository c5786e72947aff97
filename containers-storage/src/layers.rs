//! The table of layers: `<driver>-layers/layers.json` and `volatile-layers.json`.
//!
//! Invariant: records of the stable file come first; an ID that a later file repeats is ignored (format, section 3.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, LayerId};

/// A member of an ID map as tables hold it; "host" means the user namespace that the tools run in (format, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapEntry {
    /// First ID inside.
    pub container_id: u32,
    /// First ID outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// How a blob was compressed when it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// A plain tar.
    #[default]
    None,
    /// bzip2
    Bzip2,
    /// gzip
    Gzip,
    /// xz
    Xz,
    /// Zstandard
    Zstd,
    /// A number this version does not know.
    Other(i64),
}

/// The record of one layer. Members that are not listed here survive in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its ID.
    pub id: LayerId,
    /// Names; rare.
    pub names: Vec<String>,
    /// The layer below.
    pub parent: Option<LayerId>,
    /// Opaque text of the tool that made it.
    pub metadata: String,
    /// SELinux label for mounts.
    pub mount_label: String,
    /// When the record was made, RFC 3339.
    pub created: String,
    /// Digest of the blob as it was received.
    pub compressed_digest: Option<Digest>,
    /// Length of that blob in bytes; 0 when unknown.
    pub compressed_size: i64,
    /// Diff ID: digest of the uncompressed tar.
    pub diff_digest: Option<Digest>,
    /// Length of the uncompressed tar in bytes; -1 when unknown.
    pub diff_size: i64,
    /// Digest of the table of contents of a partial pull.
    pub toc_digest: Option<Digest>,
    /// Compression of the blob received.
    pub compression: Compression,
    /// Distinct owners in the tar headers, sorted.
    pub uids: Vec<u32>,
    /// Distinct groups in the tar headers, sorted.
    pub gids: Vec<u32>,
    /// Free flags; `incomplete` marks what everyone may destroy.
    pub flags: Map<String, Value>,
    /// Shift of the owners on disk.
    pub uid_map: Vec<IdMapEntry>,
    /// Shift of the groups on disk.
    pub gid_map: Vec<IdMapEntry>,
    /// Keys of the layer's big data.
    pub big_data_names: Vec<String>,
}

impl Layer {
    /// Whether the layer is under construction or being deleted.
    pub fn is_incomplete(&self) -> bool {
        self.flags.get("incomplete") == Some(&Value::Bool(true))
    }
}

/// The layers as they were when the table was read.
#[derive(Debug)]
pub struct Layers {}

impl Layers {
    /// The layer with this ID.
    pub fn find(&self, _id: &LayerId) -> Result<Option<Layer>, crate::store::Error> {
        Ok(None)
    }

    /// Every layer.
    pub fn all(&self) -> Result<Vec<Layer>, crate::store::Error> {
        Ok(Vec::new())
    }

    /// The layers of an image from `top` down to the base, `top` first. A missing parent or a loop is an error.
    pub fn chain(&self, _top: &LayerId) -> Result<Vec<Layer>, crate::store::Error> {
        Ok(Vec::new())
    }

    /// Every layer whose diff ID is `digest`.
    pub fn with_diff_digest(&self, _digest: &Digest) -> Result<Vec<Layer>, crate::store::Error> {
        Ok(Vec::new())
    }

    /// Every layer directly above `parent`.
    pub fn children(&self, _parent: &LayerId) -> Result<Vec<LayerId>, crate::store::Error> {
        Ok(Vec::new())
    }
}
