//! Keeping the index small: what leads to no image, or has not been of use for long, goes.
//!
//! Invariant: nothing is removed but files of the index, which cost a step, or a reason in words, when they are needed after all.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use containers_storage::ImageId;
use containers_storage::store::Store;

use super::{parse_entry, read};

/// How long an entry is kept that was not written anew.
const OLDEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The most entries of a kind that are kept, the newest.
const MOST: usize = 20_000;
/// How often the index is looked through by the way.
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// What is touched when it was.
const STAMP: &str = "tidied";
/// Where there is one entry for each image of a step.
const KEYS: &str = "keys";
/// Where entries grow old.
const OTHERS: [&str; 3] = ["last", "trees", "signed"];

/// When to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// If nobody did in the last hour.
    Due,
}

/// What there is of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stock {
    /// Steps that can be found.
    pub steps: usize,
    /// Files beside.
    pub others: usize,
}

/// What there is for the builds of `store`.
pub fn stock(store: &Store) -> Stock {
    let directory = super::directory(store);
    let count = |name: &str| entries(&directory.join(name)).map(|found| found.count()).unwrap_or_default();
    Stock { steps: count(KEYS), others: OTHERS.iter().map(|name| count(name)).sum() }
}

/// Removes what leads to no image any more, and what is old.
pub fn tidy(store: &Store, when: When) {
    let directory = super::directory(store);
    let stamp = directory.join(STAMP);
    if !directory.exists() || when == When::Due && age(fs::metadata(&stamp)) < Some(INTERVAL) {
        return;
    }
    // Before: one of several that look is enough.
    let done = fs::write(&stamp, b"").and_then(|()| tidy_all(store, &directory));
    if let Err(error) = done {
        log::debug!("{}: {error}", directory.display());
    }
}

fn age(metadata: io::Result<fs::Metadata>) -> Option<Duration> {
    // What is of the future is new.
    let modified = metadata.and_then(|metadata| metadata.modified()).ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
}

fn tidy_all(store: &Store, directory: &Path) -> io::Result<()> {
    let images = store.images().and_then(|images| images.listed()).map_err(io::Error::other)?;
    let images: BTreeSet<ImageId> = images.into_iter().map(|image| image.id).collect();
    for entry in entries(&directory.join(KEYS))? {
        let noted = read(&entry.path()).and_then(|text| parse_entry(&text));
        let leads = noted.is_some_and(|(image, _)| images.contains(&image));
        if !leads && age(entry.metadata()) > Some(Duration::from_secs(60)) {
            remove(&entry);
        }
    }
    for name in OTHERS {
        let mut aged: Vec<(Duration, DirEntry)> =
            entries(&directory.join(name))?.filter_map(|entry| Some((age(entry.metadata())?, entry))).collect();
        aged.sort_by_key(|(age, _)| *age);
        let is_old = |(at, (age, _)): &(usize, &(Duration, DirEntry))| *at >= MOST || *age > OLDEST;
        aged.iter().enumerate().filter(is_old).for_each(|(_, (_, entry))| remove(entry));
    }
    Ok(())
}

/// The entries of one kind, and what a killed process left of one.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = DirEntry> + use<>> {
    let found = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?),
    };
    Ok(found.into_iter().flatten().flatten().filter(|entry| entry.file_name() != OsStr::new(STAMP)))
}

fn remove(entry: &DirEntry) {
    // Should it stay, that does no harm.
    let _ = fs::remove_file(entry.path());
}
