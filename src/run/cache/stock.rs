//! All caches of a caller: how many there are, and taking them away.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use containers_storage::Root;
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::lock::{LOCK_DIRECTORY, try_alone};
use super::{DIRECTORY, UNFINISHED, checked};

/// The caches that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stock {
    /// How many.
    pub number: usize,
}

/// What emptying came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Emptied {
    /// Caches that are gone.
    pub removed: usize,
    /// Caches that a process uses: they stay.
    pub in_use: usize,
}

/// The caches in `parent`, which may be missing.
pub fn stock(parent: &Path) -> io::Result<Stock> {
    let Some(own) = opened(parent)? else { return Ok(Stock::default()) };
    let entries = Root::from(own).read_dir(Path::new("."))?;
    let number = entries.iter().filter(|entry| is_cache(&entry.name.to_string_lossy())).count();
    Ok(Stock { number })
}

/// Removes the caches in `parent` that nobody uses, and what a killed process has not finished. Locks stay: a process may hold one of
/// them, or wait for it.
pub fn empty(parent: &Path) -> io::Result<Emptied> {
    let mut emptied = Emptied::default();
    let Some(own) = opened(parent)? else { return Ok(emptied) };
    let root = Root::from(own.try_clone()?);
    for entry in root.read_dir(Path::new("."))? {
        let name = entry.name.to_string_lossy();
        if name == LOCK_DIRECTORY {
            continue;
        }
        // The lock of one that is being made is that of the cache that it is to be.
        let unfinished = name.strip_prefix(UNFINISHED).map(|rest| rest.rsplit_once('-').map_or(rest, |(cache, _)| cache));
        match try_alone(&own, unfinished.unwrap_or(&name))? {
            Some(_alone) => {
                root.remove_all(Path::new(&entry.name))?;
                emptied.removed += usize::from(unfinished.is_none());
            }
            None => emptied.in_use += usize::from(unfinished.is_none()),
        }
    }
    Ok(emptied)
}

fn opened(parent: &Path) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::openat(CWD, parent, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        opened => checked(opened?).map(Some),
    }
}

/// Whether a directory of this name is a cache of ours or of Buildah's.
fn is_cache(name: &str) -> bool {
    name != LOCK_DIRECTORY && !name.starts_with(UNFINISHED)
}
