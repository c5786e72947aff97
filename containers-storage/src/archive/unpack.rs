//! A stream into a directory handle: a layer into an empty `diff`, or an archive into a root file system, in one pass.
//!
//! Invariant: nothing outside the handle is touched, whatever the archive says. Names are resolved by `Root` below it, new inodes
//! are created exclusively, and metadata is set by descriptor. Digests are of every byte of the input, read to its end.
//!
//! Must not: be called before namespaces are entered (it starts threads, and owners mean those of this user namespace).

mod layer;
mod pipeline;
mod target;
mod tree;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use self::pipeline::{Onward, Tap};
use super::decompress::{Blob, Decompressor};
use super::reader::Reader;
use super::sink::{self, BUFFERS, Hash, Outputs};
use super::{Compression, Entry, Error, Marks, Ownership, Whiteouts};
use crate::id_map::IdMaps;
use crate::{Digest, Root};

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
    /// How deletions are kept.
    pub whiteouts: Whiteouts,
    /// Devices.
    pub devices: Devices,
    /// Owners without a mapping.
    pub unmapped: Unmapped,
    /// Where owners and modes are kept.
    pub ownership: Ownership,
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
    /// What it says about the layers below, for `Whiteouts::Listed`.
    pub marks: Marks,
}

/// Unpacks the layer `input` (compressed or not) into the empty directory `diff`, whose own owner and mode stay. The gzip'd
/// tar-split is written to `tar_split`. After an error `diff` holds a part; the caller removes it.
pub fn layer(
    input: &mut (dyn Read + Send),
    diff: &Root,
    options: LayerOptions,
    tar_split: Option<&mut (dyn Write + Send)>,
) -> Result<LayerOutcome, Error> {
    let stream = Decompressor::new(input).map_err(Error::Read)?;
    let compression = stream.compression();
    // Without compression the blob is the diff: hashing it once is enough.
    let hash = if compression == Compression::None { Hash::Skip } else { Hash::Compute };
    let outputs = Outputs { hash, tar: None, tar_split };
    let (give_back, free) = channel();
    let (to_sink, chunks) = sync_channel(BUFFERS);
    let (unpacked, blob) = thread::scope(|scope| {
        let (pieces, inflating) = start_inflating(scope, stream, free)?;
        let sink = thread::Builder::new().name("tar-sink".to_owned());
        let sink = sink.spawn_scoped(scope, move || sink::drain(chunks, give_back, outputs)).map_err(Error::Thread)?;
        let tap = Tap::new(pieces, Onward::Sink(to_sink));
        let unpacked = layer::Layer::new(diff, options).run(Reader::new(tap));
        let unpacked = sink::cause(unpacked, join(sink)?);
        Ok::<_, Error>((unpacked, join(inflating)?))
    })?;
    let (found, summary) = unpacked.map_err(|error| blame(error, compression))?;
    let blob = complete(blob, compression)?;
    Ok(LayerOutcome {
        diff_digest: summary.digest.unwrap_or_else(|| blob.digest.clone()),
        blob_digest: blob.digest,
        blob_size: blob.size,
        compression,
        diff_size: summary.size,
        uids: found.uids,
        gids: found.gids,
        entries: found.entries,
        marks: found.marks,
    })
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
    /// The ids on disk that stand for all of these owners. One that stands for none is an error.
    pub maps: Option<&'a IdMaps>,
    /// Sees each member before it is made, may change it (its `path`, owner, mode, time), and decides.
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
    let stream = Decompressor::new(input).map_err(Error::Read)?;
    let compression = stream.compression();
    let tree = tree::Tree::new(root, dest, options)?;
    let (give_back, free) = channel();
    let (unpacked, blob) = thread::scope(|scope| {
        let (pieces, inflating) = start_inflating(scope, stream, free)?;
        let unpacked = tree.run(Reader::new(Tap::new(pieces, Onward::Back(give_back))));
        Ok::<_, Error>((unpacked, join(inflating)?))
    })?;
    let entries = unpacked.map_err(|error| blame(error, compression))?;
    Ok(TreeOutcome { blob_digest: complete(blob, compression)?.digest, compression, entries })
}

type Inflated = Option<io::Result<Blob>>;
type Pieces = std::sync::mpsc::Receiver<io::Result<(Vec<u8>, usize)>>;

fn start_inflating<'scope, 'input: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    stream: Decompressor<'input>,
    free: std::sync::mpsc::Receiver<Vec<u8>>,
) -> Result<(Pieces, ScopedJoinHandle<'scope, Inflated>), Error> {
    let (to, pieces) = sync_channel(BUFFERS);
    let thread = thread::Builder::new().name("tar-inflate".to_owned());
    let thread = thread.spawn_scoped(scope, move || pipeline::inflate(stream, to, free)).map_err(Error::Thread)?;
    Ok((pieces, thread))
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, Error> {
    thread.join().map_err(|_| Error::Thread(io::Error::other("a thread of the unpacker has failed")))
}

/// The input's digest, known once it was read to its end.
fn complete(blob: Inflated, compression: Compression) -> Result<Blob, Error> {
    let blob = blob.ok_or_else(|| Error::Thread(io::Error::other("the input was not read to its end")))?;
    blob.map_err(|source| blame(Error::Read(source), compression))
}

/// A stream that can't be read is the decompressor's complaint, if there is one.
fn blame(error: Error, compression: Compression) -> Error {
    match error {
        Error::Read(source) if compression != Compression::None => Error::Decompress { compression, source },
        error => error,
    }
}
