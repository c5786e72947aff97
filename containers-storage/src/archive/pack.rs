//! A directory as a tar stream: the diff of a layer, or a whole merged tree.
//!
//! ```text
//! walk ─► header ─► feed ══ buffers ══► sink (own thread): SHA-256, tar-split, tar
//!           │        ▲ read(2) straight into the buffer
//!           └─► copy ┘ (optional)
//! ```
//!
//! Invariant: equal trees give equal bytes, whatever the file system, its order of names or its inode numbers. Names are looked up
//! one component at a time below an open directory and never followed (A18), and only regular files are opened.

mod members;
mod survey;
mod walk;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use self::members::Packer;
pub use self::survey::{Limits, exceeds, settle_times};
use super::sink::{self, Hash, Outputs};
use super::{Error, OverlayXattrs, Ownership};
use crate::id_map::IdMaps;
use crate::{Digest, Root};

/// What the directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A layer's `diff`, seen without a mount: 0:0 devices are whiteouts, opaque marks count.
    Layer(OverlayXattrs),
    /// A mounted root file system, packed whole (`--squash`): no whiteouts.
    Merged,
    /// The whole tree of a layer, of which only these changes are packed: what is gone becomes a whiteout.
    Changes(Selection),
}

/// The changes of a tree that are packed. Paths are below the root, clean, without a leading slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What is packed; of a directory that is not here nothing is.
    present: HashSet<PathBuf>,
    /// Names that are gone, by directory.
    gone: HashMap<PathBuf, Vec<OsString>>,
}

impl Selection {
    /// Adds what the tree has at `path`, and the directories on the way to it.
    pub fn add(&mut self, path: &Path) {
        let mut next = Some(path);
        while let Some(path) = next.filter(|path| !path.as_os_str().is_empty()) {
            if !self.present.insert(path.to_path_buf()) {
                break;
            }
            next = path.parent();
        }
    }

    /// Adds what the tree has no more at `path`, and the directories on the way to it.
    pub fn add_gone(&mut self, path: &Path) {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            self.add(parent);
            self.gone.entry(parent.to_path_buf()).or_default().push(name.to_owned());
        }
    }

    fn has(&self, path: &Path) -> bool {
        self.present.contains(path)
    }

    fn gone_from(&self, directory: &Path) -> &[OsString] {
        self.gone.get(directory).map_or(&[], Vec::as_slice)
    }
}

/// What becomes of times of modification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Times {
    /// As on disk, cut to whole seconds.
    #[default]
    Keep,
    /// At most this many seconds since 1970 (`SOURCE_DATE_EPOCH`).
    Clamp(i64),
    /// Exactly this many seconds since 1970 (`--timestamp`).
    Force(i64),
}

/// How a directory is packed.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the directory is.
    pub tree: Tree,
    /// Times in the archive (and in a copy).
    pub times: Times,
    /// Whether the files in the packed directory themselves get the times that the archive says.
    pub on_disk: OnDisk,
    /// Who owns the entries, in the archive and in a copy.
    pub owner: Owners,
    /// Paths below the root, without leading slash, that are left out with all that is below them.
    pub exclude: HashSet<PathBuf>,
}

/// Who owns what is packed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Owners {
    /// Who owns it on disk.
    #[default]
    AsOnDisk,
    /// One owner and group for all.
    One(u32, u32),
    /// Whom these maps say: an id on disk is one outside, an entry gets the one inside. What belongs to root outside, as all that the
    /// tools themselves make, belongs to root inside.
    Inside(IdMaps),
    /// The other way round: an entry gets the id outside.
    Outside(IdMaps),
}

impl Owners {
    /// The owner and group of an entry that has these on disk; `None` if a map does not cover one of them.
    fn of(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        match self {
            Self::AsOnDisk => Some((uid, gid)),
            Self::One(uid, gid) => Some((*uid, *gid)),
            Self::Inside(maps) => maps.inside(uid, gid),
            Self::Outside(maps) => maps.outside(uid, gid),
        }
    }
}

/// Whether packing may change the directory it packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisk {
    /// The directory is only read.
    #[default]
    Untouched,
    /// Times on disk become those of the archive, whole seconds (freezing in place; `check` compares them).
    SetTimes,
}

/// Where the archive goes. The default computes digest and size only.
#[derive(Default)]
pub struct Output<'a> {
    /// Gets the tar itself.
    pub tar: Option<&'a mut (dyn Write + Send)>,
    /// Gets the tar-split, as the gzip file that the store keeps.
    pub tar_split: Option<&'a mut (dyn Write + Send)>,
    /// An empty directory that becomes a copy of the packed one, whiteouts and opaque marks included, made while it is read.
    pub copy: Option<&'a Root>,
    /// Where the copy keeps owners and modes.
    pub ownership: Ownership,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// SHA-256 of the tar: the diff ID.
    pub diff_digest: Digest,
    /// Length of the tar in bytes.
    pub diff_size: u64,
    /// Owners that occur, whiteouts not counted.
    pub uids: BTreeSet<u32>,
    /// Groups that occur, whiteouts not counted.
    pub gids: BTreeSet<u32>,
    /// Members written.
    pub entries: u64,
    /// Paths of sockets, which no archive holds.
    pub skipped_sockets: Vec<PathBuf>,
    /// Paths of placeholders of mounts (`crate::placeholder`), which are left out with all below them.
    pub placeholders: Vec<PathBuf>,
}

/// Packs `source`. `lower_has` says whether a directory that is opaque in this layer really exists in a lower one; only then
/// does its marker go into the archive. It is asked with a path below the root, and never for `Tree::Merged`.
///
/// Starts a thread, so that namespaces must be entered before. Memory: 2 MiB of buffers and the names of the directories on the
/// way down.
pub fn pack(
    source: &Root,
    options: &Options,
    lower_has: &mut dyn FnMut(&Path) -> io::Result<bool>,
    output: Output<'_>,
) -> Result<Outcome, Error> {
    let (feed, chunks, free) = sink::connect();
    let outputs = Outputs { hash: Hash::Compute, tar: output.tar, tar_split: output.tar_split };
    thread::scope(|scope| {
        let sink = thread::Builder::new().name("tar-sink".to_owned());
        let sink = sink.spawn_scoped(scope, move || sink::drain(chunks, free, outputs)).map_err(Error::Thread)?;
        let packed = Packer::new(source, options, output.copy.map(|copy| (copy, output.ownership)), feed)
            .and_then(|packer| packer.run(lower_has));
        let drained = sink.join().map_err(|_| Error::Thread(sink::sink_gone()))?;
        let (found, summary) = sink::cause(packed, drained)?;
        let diff_digest = summary.digest.ok_or_else(|| Error::Thread(sink::sink_gone()))?;
        Ok(Outcome {
            diff_digest,
            diff_size: summary.size,
            uids: found.uids,
            gids: found.gids,
            entries: found.entries,
            skipped_sockets: found.skipped_sockets,
            placeholders: found.placeholders,
        })
    })
}
