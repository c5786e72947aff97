//! One source to one place: a file, or the content of a directory with everything below it.
//!
//! ```text
//!  source (handle) ─ stat ─┬─ header ─▶ digest            in the order of names, by bytes
//!                          └─ make ───▶ destination       directories that were left out are made when something below is not
//! ```
//!
//! Invariant: both sides go from directory handle to directory handle, one component at a time, without following links; only a
//! link that stands where a directory is to be is followed, below the destination's root.
//!
//! Must not: print; decide where a source goes.

mod walk;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use containers_storage::archive::unpack::Devices;
use containers_storage::id_map::IdMaps;
use rustix::fs::{Mode, OFlags, Stat, Timespec};

use super::content::Mover;
use super::digest::{Hashing, SourceKind};
use super::ignore::Ignore;
use super::make;
use super::mode::ModeChange;
use super::names::{Names, Owner};

/// A level takes three descriptors, and a process usually has 1024.
const DEEPEST: usize = 256;

/// Why a source could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source.
    #[error("reading {path:?}")]
    Read {
        /// Its name.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The destination.
    #[error("storing {path:?}")]
    Store {
        /// Its name in the container.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The source has the destination in it: the copy would be copied as well, for ever.
    #[error("{path:?} is where the copy goes: a directory cannot be copied into itself")]
    IntoItself {
        /// The destination, by its name in the source.
        path: PathBuf,
    },
    /// A name that means something else in a layer.
    #[error("{path:?}: the name begins with \".wh.\", which would delete files in a layer")]
    Whiteout {
        /// The copy, by its name in the container.
        path: PathBuf,
    },
    /// Directories in directories without end.
    #[error("{path:?} is more than {DEEPEST} directories deep")]
    TooDeep {
        /// Where it was given up.
        path: PathBuf,
    },
}

/// What copies look like. Owners are those inside.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The owner of everything; `None` keeps the source's.
    pub owner: Option<Owner>,
    /// What becomes of the mode of everything but links; `None` keeps the source's.
    pub mode: Option<ModeChange>,
    /// Which bits of a source's mode are kept.
    pub kept_mode: u32,
    /// The time of everything, in seconds since 1970; `None` keeps the source's.
    pub time: Option<i64>,
    /// The owner of directories that have no source.
    pub default_owner: Owner,
}

/// Which ids on disk stand for the ids that are inside; `None`: the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Maps<'a> {
    /// Where the sources are.
    pub sources: Option<&'a IdMaps>,
    /// Where the copies go.
    pub copies: Option<&'a IdMaps>,
}

impl Maps<'_> {
    /// The ids inside that own a source.
    pub fn inside(self, stat: &Stat) -> io::Result<Owner> {
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        let missing = || io::Error::other(format!("its owner {uid}:{gid} is not among the ids of the container that it is in"));
        let inside = self.sources.map_or(Some((uid, gid)), |maps| maps.inside(uid, gid));
        inside.map(|(uid, gid)| Owner { uid, gid }).ok_or_else(missing)
    }

    /// The ids on disk of a copy that belongs to `owner`.
    pub fn on_disk(self, owner: Owner) -> io::Result<Owner> {
        let Some(maps) = self.copies else { return Ok(owner) };
        let (uid, gid) = maps.owner_on_disk(owner.uid, owner.gid)?;
        Ok(Owner { uid, gid })
    }
}

/// What is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// By the path below the context.
    pub context: Option<&'a Ignore>,
    /// By the path below the source, for a file by its name; and by the path below the context.
    pub source: Option<&'a Ignore>,
    /// What is no directory is taken only if these patterns match it, in one of the same two ways.
    pub include: Option<&'a Ignore>,
}

/// What is the same for all sources of one call.
#[derive(Debug)]
pub struct Session<'a> {
    /// The container's root.
    pub target: &'a Root,
    /// Owners' names where the sources are; they are part of the digest.
    pub names: &'a Names,
    /// What the copies look like.
    pub look: Look,
    /// What is left out.
    pub filter: Filter<'a>,
    /// Whether devices are made.
    pub devices: Devices,
    /// Who is who on disk.
    pub maps: Maps<'a>,
    /// Device and inode of the directories that copies go to, under each of their names: none of them may lie in a source.
    pub destinations: Vec<(u64, u64)>,
    /// The root that the sources lie below, if it shows the same files as `target`.
    pub same_tree: Option<&'a Root>,
    /// What was left out unasked: a line each.
    pub warnings: Vec<String>,
    /// Names below a source that must be among what is copied; those that were are taken out.
    pub required: Vec<PathBuf>,
    /// The directory of the driver that `target` shows what is written of: its files can be read without a hold on the mount.
    upper: Option<Root>,
    mover: Mover,
    owners: HashMap<(u32, u32), (String, String)>,
}

/// One source.
#[derive(Debug)]
pub struct Source<'a> {
    /// A bare handle on it, links followed or not as asked.
    pub handle: BorrowedFd<'a>,
    /// Its name below its root, relative; ignore patterns are matched against it.
    pub path: PathBuf,
}

/// Where a source goes.
#[derive(Debug)]
pub struct Place {
    /// The directory, open.
    pub directory: OwnedFd,
    /// Its name in the container, for links and messages.
    pub path: PathBuf,
    /// The name that a source that is no directory gets.
    pub name: OsString,
    /// What comes before the names in the digest: the parents kept by `--parents`, or nothing.
    pub prefix: PathBuf,
}

/// What became of one source.
#[derive(Debug)]
pub struct Copied {
    /// `file` or `dir`.
    pub kind: SourceKind,
    /// The digest over all that was copied, which may still be in the making.
    pub digest: Hashing,
    /// How many entries that is.
    pub entries: u64,
}

impl<'a> Session<'a> {
    /// A session that copies into `target`.
    pub fn new(target: &'a Root, names: &'a Names, look: Look, filter: Filter<'a>, devices: Devices) -> Self {
        let maps = Maps::default();
        let destinations = rustix::fs::fstat(target).map(|stat| (stat.st_dev, stat.st_ino)).into_iter().collect();
        let (warnings, mover, owners) = (Vec::new(), Mover::default(), HashMap::new());
        let (same_tree, required, upper) = (None, Vec::new(), None);
        Self { target, names, look, filter, devices, maps, destinations, same_tree, warnings, required, upper, mover, owners }
    }

    /// The same where `names` must be among what is copied.
    #[must_use]
    pub fn with_required(self, names: &[PathBuf]) -> Self {
        Self { required: names.to_vec(), ..self }
    }

    /// The same between containers whose ids on disk are others than inside.
    #[must_use]
    pub fn with_maps(self, maps: Maps<'a>) -> Self {
        Self { maps, ..self }
    }

    /// The same where `directory` is another name of what is written to: the upper directory of an overlay.
    #[must_use]
    pub fn with_destination(mut self, directory: Option<&Path>) -> Self {
        self.upper = directory.and_then(|directory| Root::open(directory).ok());
        let stat = self.upper.as_ref().and_then(|directory| rustix::fs::fstat(directory).ok());
        self.destinations.extend(stat.map(|stat| (stat.st_dev, stat.st_ino)));
        self
    }

    /// The same where sources lie below `root`, which shows the same files as the target.
    #[must_use]
    pub fn with_sources_in_target(self, root: Option<&'a Root>) -> Self {
        Self { same_tree: root, ..self }
    }

    /// Gives a directory that has no source its owner, mode 0755, and the time that was asked for.
    pub fn finish_new_directory(&self, made: BorrowedFd<'_>) -> io::Result<()> {
        make::chown(made, self.maps.on_disk(self.look.default_owner)?)?;
        rustix::fs::fchmod(made, Mode::from_raw_mode(0o755))?;
        if let Some(seconds) = self.look.time {
            let at = Timespec { tv_sec: seconds, tv_nsec: 0 };
            rustix::fs::futimens(made, &rustix::fs::Timestamps { last_access: at, last_modification: at })?;
        }
        Ok(())
    }

    /// Copies `source` to `place`: the content of a directory into the directory, anything else under the place's name.
    pub fn copy(&mut self, source: &Source<'_>, place: &Place) -> Result<Copied, Error> {
        walk::copy(self, source, place)
    }
}

/// A readable descriptor of the directory that a bare handle stands for.
pub fn open_directory(handle: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(handle, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
