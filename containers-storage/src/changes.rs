//! What a layer changes against the layers below it: the list behind the verb `diff`.
//!
//! Invariant: read-only, and by handle below the layer's directory. Whiteouts and opaque directories count as deletions; what
//! overlayfs keeps for itself (origin, impure) counts as nothing. Sorted by path.

mod compare;
pub(crate) mod stack;
mod trees;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use serde::Serialize;

use crate::Root;
use crate::driver::{Error, GraphDriver, Shape};
use crate::id_map::IdMaps;
use crate::layers::Layer;
use crate::placeholder::is_placeholder;
use stack::Stack;
use trees::Trees;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was not there below.
    Added,
    /// It is there above and below, and something differs: content, owner, mode, time, target.
    Changed,
    /// It is there below only. Of a deleted directory only the directory itself is listed.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path in the root file system, absolute.
    pub path: PathBuf,
    /// What happened.
    pub kind: Kind,
    /// The type above, or below for a deletion.
    pub file_type: FileKind,
    /// Bytes of a regular file above; 0 for everything else.
    pub size: u64,
    /// Bytes of the regular file below, if there was one.
    pub old_size: Option<u64>,
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Block or character device.
    Device,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl FileKind {
    fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice | FileType::BlockDevice => Self::Device,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            _ => Self::File,
        }
    }
}

/// A directory of the layer that is to be compared.
struct Task {
    /// Below the root, without a leading slash.
    path: PathBuf,
    /// The layers below in which it is a directory too, nearest first.
    lowers: Vec<usize>,
    /// What the lowers have and the layer has not is gone: the directory, or one above it, is opaque.
    opaque: bool,
}

/// Lists what `layer` changes against its parents, sorted by path (bytewise). A directory whose entries changed but which itself
/// did not is not listed. May be called while the layer is mounted. In a rootless store it must run inside the user namespace,
/// or directories of other ids cannot be read. A path longer than the kernel takes (4,095 bytes) is an error.
pub fn of_layer(driver: &dyn GraphDriver, layer: &Layer) -> Result<Vec<Change>, Error> {
    of_shifted_layer(driver, layer, &IdMaps::default())
}

/// The same of a layer below which mounts show other owners, by these maps (`driver::MountOptions::shift`).
pub fn of_shifted_layer(driver: &dyn GraphDriver, layer: &Layer, below: &IdMaps) -> Result<Vec<Change>, Error> {
    let own = driver.diff_dir(&layer.id)?;
    let mut changes = match driver.shape() {
        Shape::Diffs => {
            let stack = Stack::open(&own, &driver.lower_dirs(&layer.id)?, driver.upper_marks())?;
            of_diff(&own, &stack, below)?
        }
        Shape::Trees => of_tree(driver, layer, &own)?,
    };
    changes.sort_unstable_by(|a, b| a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes()));
    Ok(changes)
}

/// `changes` of the layer with what `trees`, which are to become layers above it, add: the directories of plain files that the container's
/// next commits put upon it, lowest first.
pub fn with_trees(
    driver: &dyn GraphDriver,
    layer: &Layer,
    changes: Vec<Change>,
    trees: &[PathBuf],
) -> Result<Vec<Change>, Error> {
    if trees.is_empty() {
        return Ok(changes);
    }
    let mut merged: BTreeMap<Vec<u8>, Change> =
        changes.into_iter().map(|change| (change.path.as_os_str().as_bytes().to_vec(), change)).collect();
    let mut below = vec![driver.diff_dir(&layer.id)?];
    below.extend(driver.lower_dirs(&layer.id)?);
    for tree in trees {
        let stack = Stack::open(tree, &below, driver.upper_marks())?;
        for change in of_diff(tree, &stack, &IdMaps::default())? {
            let key = change.path.as_os_str().as_bytes().to_vec();
            let kind = match merged.get(&key).map(|before| before.kind) {
                // What was new stays new; what was gone and is back has changed.
                Some(Kind::Added) => Kind::Added,
                Some(_) => Kind::Changed,
                None => change.kind,
            };
            merged.insert(key, Change { kind, ..change });
        }
        below.insert(0, tree.clone());
    }
    Ok(merged.into_values().collect())
}

/// The changes of a layer whose directory holds everything that it shows.
fn of_tree(driver: &dyn GraphDriver, layer: &Layer, own: &Path) -> Result<Vec<Change>, Error> {
    let open = |path: &Path| Root::open(path).map_err(Error::io("opening", path));
    let read = open(own)?;
    let Some(parent) = &layer.parent else {
        return trees::all(&read).map_err(Error::io("reading", own));
    };
    let parent = open(&driver.diff_dir(parent)?)?;
    // A container's layer is recorded when it is a whole copy, by us at least: the other tools take the time before they copy, which makes
    // every file look touched. What is older in an image's layer may have been so in the layer's archive.
    let copied_by = if layer.diff_digest.is_none() { layer.created.parse().ok() } else { None };
    Trees::new(read, parent, copied_by).compare().map_err(Error::io("reading", own))
}

/// What `own` shows and `parent` does not, and the reverse, in no order: two mounted views, of whose files no time can be trusted.
/// Without a parent everything is added.
pub(crate) fn between(own: &Root, parent: Option<&Root>) -> std::io::Result<Vec<Change>> {
    match parent {
        Some(parent) => Trees::new(own.try_clone()?, parent.try_clone()?, None).compare(),
        None => trees::all(own),
    }
}

/// The changes of a layer whose directory holds nothing else.
fn of_diff(own: &Path, stack: &Stack, below: &IdMaps) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    let mut todo = vec![Task { path: PathBuf::new(), lowers: stack.all_lowers(), opaque: false }];
    while let Some(task) = todo.pop() {
        let at = own.join(&task.path);
        compare_directory((stack, below), &task, &mut changes, &mut todo).map_err(Error::io("reading", &at))?;
    }
    Ok(changes)
}

/// Compares the entries of one directory, and adds its subdirectories to what is to be done.
fn compare_directory(
    (stack, owners): (&Stack, &IdMaps),
    task: &Task,
    changes: &mut Vec<Change>,
    todo: &mut Vec<Task>,
) -> std::io::Result<()> {
    let dir = stack.open_directory(&task.path, &task.lowers)?;
    let names = crate::rooted::list(dir.own.as_fd())?;
    for entry in &names {
        if let Some(hidden) = stack.mark_of_program(&entry.name) {
            let below = if hidden.is_empty() { None } else { dir.find(hidden)? };
            changes.extend(below.map(|below| change(&task.path.join(hidden), Kind::Deleted, &below.object)));
            continue;
        }
        let own = stack.object(&dir.own, &entry.name)?;
        let path = task.path.join(&entry.name);
        let below = dir.find(&entry.name)?;
        if own.is_whiteout() {
            changes.extend(below.map(|below| change(&path, Kind::Deleted, &below.object)));
            continue;
        }
        if below.is_none() && own.is_marked_placeholder()? && is_placeholder(dir.own.as_fd(), &entry.name)? {
            continue;
        }
        let is_dir = own.kind() == FileKind::Directory;
        let mut lowers = Vec::new();
        match below {
            None => changes.push(change(&path, Kind::Added, &own)),
            Some(below) => {
                if compare::differ(&own, &below.object, owners)? {
                    changes.push(Change { old_size: below.object.size(), ..change(&path, Kind::Changed, &own) });
                }
                lowers = below.directories;
            }
        }
        if is_dir {
            let opaque = task.opaque || stack.is_opaque(&own)?;
            todo.push(Task { path, lowers, opaque });
        }
    }
    if task.opaque {
        for name in dir.names_below()? {
            if names.binary_search_by(|entry| entry.name.cmp(&name)).is_err() {
                changes.extend(dir.find(&name)?.map(|below| change(&task.path.join(&name), Kind::Deleted, &below.object)));
            }
        }
    }
    Ok(())
}

/// The change of one path; for a deletion `object` is what was there.
fn change(path: &Path, kind: Kind, object: &compare::Object) -> Change {
    let (size, old_size) = match kind {
        Kind::Deleted => (0, object.size()),
        Kind::Added | Kind::Changed => (object.size().unwrap_or(0), None),
    };
    Change { path: Path::new("/").join(path), kind, file_type: object.kind(), size, old_size }
}
