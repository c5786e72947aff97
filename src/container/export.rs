//! The files of an image outside of the store: in a directory of the host, or as a tar archive.
//!
//! ```text
//! layer, mounted for reading ─ pack ─▶ tar ─┬────────────────────────────▶ a writer
//!                                           └─ pipe ─ unpack, below a handle ▶ a directory
//! ```
//!
//! Invariant: what an image holds reaches the host as plain files of the caller's: for a caller without privilege without set-user-ID and
//! set-group-ID bits, owners and extended attributes. Devices are left out of a directory. Nothing is written outside of it.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use containers_storage::archive::pack::{self, OnDisk, Output, Owners, Times, Tree};
use containers_storage::archive::unpack::{self, Devices, TreeOptions, Unmapped, Verdict};
use containers_storage::archive::{self, Entry};
use containers_storage::store::Store;
use containers_storage::{LayerId, Root};

use super::commit::Clock;
use super::find_image::{self, find_one};
use super::mounted::{self, Mounted};
use crate::conf::Registries;
use crate::transport::copy::Platform;

/// Bits that give a program other rights than its caller's (inode(7)).
const SET_ID: u32 = 0o6000;

/// Where the files go.
pub enum Destination<'a> {
    /// Below this directory, which is made if it is missing; what it has already stays, or is replaced.
    Directory(&'a Path),
    /// As a tar archive.
    Tar(&'a mut (dyn Write + Send)),
}

/// Why not all is there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image could not be found.
    #[error("{0}")]
    Image(#[from] find_image::Error),
    /// Its files could not be mounted.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// The directory cannot be made or opened.
    #[error("opening the output directory {path:?}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The files could not be read or written.
    #[error("writing the files of {image:?}")]
    Archive {
        /// The image.
        image: String,
        /// The cause.
        source: archive::Error,
    },
    /// No pipe, or no thread.
    #[error("writing the files of {image:?}")]
    System {
        /// The image.
        image: String,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// Whether it is about the place that files are written to, which is none of the store's.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Archive { .. })
    }
}

/// Writes all that the image `name` shows. Where the clock is fixed, every file has its time. Enters the user namespace.
///
/// # Errors
/// The image is not there, or its files cannot be read or written.
pub fn export(
    store: &Store,
    registries: &Registries,
    name: &str,
    clock: Clock,
    destination: Destination<'_>,
) -> Result<(), Error> {
    let times = match clock {
        Clock::Now => Times::Keep,
        Clock::Timestamp(seconds) | Clock::Epoch(seconds) | Clock::EpochForFiles(seconds) => Times::Force(seconds),
    };
    let layer = find_one(store, registries, name, &Platform::of_this_machine())?.image.layer;
    match destination {
        Destination::Directory(path) => {
            // Made before the namespace is entered: it is the caller's.
            let root = open(path).map_err(|source| Error::Directory { path: path.to_path_buf(), source })?;
            let Some(tree) = shown(store, layer.as_ref(), name)? else { return Ok(()) };
            unpacked(tree.root(), &root, &Means { image: name, strip: store.conf().rootless, times })
        }
        Destination::Tar(writer) => match shown(store, layer.as_ref(), name)? {
            Some(tree) => {
                packed(tree.root(), times, writer).map_err(|source| Error::Archive { image: name.to_owned(), source })
            }
            None => writer.write_all(&NOTHING).map_err(|source| Error::System { image: name.to_owned(), source }),
        },
    }
}

/// An archive of nothing (POSIX.1-2017, pax, "ustar Interchange Format": two records of zeros).
const NOTHING: [u8; 1024] = [0; 1024];

fn open(path: &Path) -> io::Result<Root> {
    std::fs::create_dir_all(path)?;
    Root::open(&std::fs::canonicalize(path)?)
}

/// The files of an image; none if it has no layers.
fn shown(store: &Store, layer: Option<&LayerId>, name: &str) -> Result<Option<Mounted>, Error> {
    let Some(layer) = layer else { return Ok(None) };
    mounted::enter_files(store, name)?;
    Ok(Some(Mounted::read_only(store, layer, name)?))
}

fn packed(root: &Root, times: Times, writer: &mut (dyn Write + Send)) -> Result<(), archive::Error> {
    let how = pack::Options {
        tree: Tree::Merged,
        times,
        on_disk: OnDisk::Untouched,
        owner: Owners::AsOnDisk,
        exclude: HashSet::new(),
    };
    let output = Output { tar: Some(writer), ..Output::default() };
    pack::pack(root, &how, &mut |_| Ok(false), output).map(drop)
}

/// How a directory is filled.
struct Means<'m> {
    image: &'m str,
    /// Whether nothing may have rights or owners of its own.
    strip: bool,
    times: Times,
}

/// Through a pipe, so that one engine reads and one writes, whatever stands in the tree.
fn unpacked(tree: &Root, directory: &Root, means: &Means<'_>) -> Result<(), Error> {
    let system = |source| Error::System { image: means.image.to_owned(), source };
    let failed = |source| Error::Archive { image: means.image.to_owned(), source };
    let (reader, writer) = io::pipe().map_err(system)?;
    let times = means.times;
    std::thread::scope(|scope| {
        let mut writer = writer;
        let packing = std::thread::Builder::new().name("export".to_owned());
        let packing = packing.spawn_scoped(scope, move || packed(tree, times, &mut writer)).map_err(system)?;
        let mut reader = reader;
        let filled = filled(&mut reader, directory, means);
        // What is packed has nobody to read it any more.
        drop(reader);
        let packed = packing.join().map_err(|_| system(io::Error::other("the thread that reads the files has failed")))?;
        // A pipe that broke is the reader's fault.
        filled.map_err(failed)?;
        packed.map_err(failed)
    })
}

fn filled(reader: &mut (dyn io::Read + Send), directory: &Root, means: &Means<'_>) -> Result<(), archive::Error> {
    let mut plain = |entry: &mut Entry| {
        entry.mode &= !SET_ID;
        entry.xattrs.clear();
        Verdict::Take
    };
    let mut options = TreeOptions {
        devices: Devices::Skip,
        unmapped: Unmapped::Ignore,
        // Root of the namespace is the caller outside of it.
        owner: means.strip.then_some((0, 0)),
        mode: None,
        implied_owner: (0, 0),
        maps: None,
        filter: if means.strip { Some(&mut plain) } else { None },
    };
    unpack::tree(reader, directory, Path::new(""), &mut options).map(drop)
}
