//! A stream into a directory handle: a layer into an empty `diff`, or an archive into a root file system.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use crate::{Digest, Root};

use super::{Compression, Entry, Error, OverlayXattrs};

/// What is done with block and character devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// Made (real root only).
    Create,
    /// Passed over in silence, as a user namespace can't make them (format section 7.3).
    Skip,
}

/// What is done when an owner is not mapped in this user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unmapped {
    /// The archive is refused with the member's name and owner.
    #[default]
    Refuse,
    /// The file keeps our own owner (`ignore_chown_errors`, or a single mapped id).
    Ignore,
}

/// How a layer is unpacked.
#[derive(Debug, Clone, Copy)]
pub struct LayerOptions {
    /// The family of the opaque mark.
    pub xattrs: OverlayXattrs,
    /// Devices.
    pub devices: Devices,
    /// Owners without a mapping.
    pub unmapped: Unmapped,
}

/// What a layer was: all that its record needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerOutcome {
    /// SHA-256 of the input as it came.
    pub blob_digest: Digest,
    /// Length of the input in bytes.
    pub blob_size: u64,
    /// How the input was compressed.
    pub compression: Compression,
    /// SHA-256 of the uncompressed tar, trailing bytes included: the diff ID.
    pub diff_digest: Digest,
    /// Length of the uncompressed tar in bytes.
    pub diff_size: u64,
    /// Owners that occur, whiteouts not counted.
    pub uids: BTreeSet<u32>,
    /// Groups that occur, whiteouts not counted.
    pub gids: BTreeSet<u32>,
    /// Members read.
    pub entries: u64,
}

/// Unpacks the layer `input` (compressed or not) into the empty directory `diff`, whose own owner and mode stay. The gzip'd
/// tar-split is written to `tar_split`. After an error `diff` holds a part; the caller removes it.
pub fn layer(
    input: &mut (dyn Read + Send),
    diff: &Root,
    options: LayerOptions,
    tar_split: Option<&mut (dyn Write + Send)>,
) -> Result<LayerOutcome, Error> {
    let _ = (input, diff, options, tar_split);
    Err(Error::Read(std::io::ErrorKind::Unsupported.into()))
}

/// What becomes of one member of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is unpacked.
    Take,
    /// It is left out. Directories needed by members below it are made all the same.
    Skip,
}

/// How an archive is unpacked into a root file system.
pub struct TreeOptions<'a> {
    /// Devices.
    pub devices: Devices,
    /// Owners without a mapping.
    pub unmapped: Unmapped,
    /// Owner and group of everything, instead of the archive's (`--chown`).
    pub owner: Option<(u32, u32)>,
    /// Mode of files and directories, instead of the archive's (`--chmod`); links are not touched.
    pub mode: Option<u32>,
    /// Owner and group of directories that the archive implies but does not hold; their mode is 0755.
    pub implied_owner: (u32, u32),
    /// Sees each member before it is made, may change it (name, owner, time), and decides.
    pub filter: Option<&'a mut dyn FnMut(&mut Entry) -> Verdict>,
}

/// What an archive was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeOutcome {
    /// SHA-256 of the input as it came.
    pub blob_digest: Digest,
    /// How the input was compressed.
    pub compression: Compression,
    /// Members made.
    pub entries: u64,
}

/// Unpacks the archive `input` (compressed or not) into the existing directory `dest` of the root file system `root`. Whiteout
/// names are ordinary here. Links on the way to a member are followed, never out of `root`; an existing link to a directory
/// stands for that directory; anything else that exists is replaced, unless both are directories.
pub fn tree(
    input: &mut (dyn Read + Send),
    root: &Root,
    dest: &Path,
    options: &mut TreeOptions<'_>,
) -> Result<TreeOutcome, Error> {
    let _ = (input, root, dest, options);
    Err(Error::Read(std::io::ErrorKind::Unsupported.into()))
}
