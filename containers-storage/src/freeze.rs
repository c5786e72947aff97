//! Making an image layer of a container's writable layer: in place, or as a copy.
//!
//! ```text
//! in place   pack (walk once: tar headers, SHA-256, tar-split; data is read once, written never)
//!            → publish under all three locks: layer gains digests + flag coracle-freeze → image → container record goes → flag goes
//! by copy    pack while each file is reflinked or copied into a temp dir → rename in as layer <chain id>
//! ```
//!
//! Invariant: the only copy of data is never under an `incomplete` record or in a temporary directory.
//!
//! Must not: hold a lock while packing.

use std::path::PathBuf;

/// How a layer is packed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Every entry's modification time, in seconds since 1970, in the tar and on disk.
    pub timestamp: Option<i64>,
    /// Entries newer than this get this time (SOURCE_DATE_EPOCH with `--rewrite-timestamp`), in the tar and on disk.
    pub clamp: Option<i64>,
    /// Paths below the root, without a leading slash, that are no part of the layer: placeholders of mounts.
    pub exclude: Vec<PathBuf>,
}
