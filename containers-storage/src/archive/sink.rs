//! Where the bytes of a tar stream go: SHA-256, length, tar-split, and perhaps a writer. Works on a thread of its own.

use crate::Digest;

/// What the sink found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of the uncompressed tar: the diff ID.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}
