//! Two whole trees compared: a layer's and its parent's, where layers are kept so (`driver::Shape::Trees`).
//!
//! A container's tree begins as a copy of its parent's, so that a file whose time of change (ctime) lies before the copy's end is the
//! copy. Nobody can set that time, unlike the time of modification. A directory that was renamed since brings old files along: below
//! one, and wherever times cannot be trusted, equal metadata are not believed and contents are compared.
//!
//! Invariant: read-only, by handle, nothing followed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::compare::{self, Object};
use super::{Change, FileKind, Kind};
use crate::id_map::IdMaps;
use crate::placeholder::is_placeholder;
use crate::rooted;
use crate::{Root, placeholder};

/// Times of files lag behind the clock by a tick of the kernel, ten milliseconds at most.
const LAG: SignedDuration = SignedDuration::from_millis(20);

/// Both trees.
pub(super) struct Trees {
    own: Root,
    parent: Root,
    /// What was last changed before this has not been changed since it was copied.
    copied_by: Option<Timestamp>,
}

/// A directory that both have.
struct Task {
    path: PathBuf,
    /// It stands where the copy put it.
    in_place: bool,
    /// Neither it nor an entry of it was changed or renamed since the copy.
    untouched: bool,
}

impl Trees {
    /// The trees of a layer and its parent; `copied_by` is when the layer's was a finished copy of the parent's, if it ever was and that is known.
    pub(super) fn new(own: Root, parent: Root, copied_by: Option<Timestamp>) -> Self {
        Self { own, parent, copied_by: copied_by.and_then(|time| time.checked_sub(LAG).ok()) }
    }

    /// All changes, in no order. A deleted directory is listed without what was in it.
    pub(super) fn compare(&self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        let untouched = self.is_untouched(&rustix::fs::fstat(&self.own)?);
        let mut todo = vec![Task { path: PathBuf::new(), in_place: true, untouched }];
        while let Some(task) = todo.pop() {
            self.directory(&task, &mut changes, &mut todo)?;
        }
        Ok(changes)
    }

    fn directory(&self, task: &Task, changes: &mut Vec<Change>, todo: &mut Vec<Task>) -> io::Result<()> {
        let (own, parent) = (open(&self.own, &task.path)?, open(&self.parent, &task.path)?);
        let listed = rooted::list(parent.as_fd())?.into_iter().map(|entry| entry.name);
        let mut below: BTreeSet<OsString> = listed.collect();
        for entry in rooted::list(own.as_fd())? {
            let path = task.path.join(&entry.name);
            let stat = stat(&own, &entry.name)?;
            if !below.remove(&entry.name) {
                if is_mount_placeholder(&own, &entry.name, &stat)? {
                    continue;
                }
                changes.push(change(&path, Kind::Added, &stat));
                if kind(&stat) == FileKind::Directory {
                    add_below(open_child(&own, &entry.name)?, &path, changes)?;
                }
                continue;
            }
            let lower = self::stat(&parent, &entry.name)?;
            let untouched = self.is_untouched(&stat);
            // A rename changes the times of what is renamed and of the directory that it happens in.
            let in_place = task.in_place && (task.untouched || untouched);
            let is_copy = in_place && untouched;
            let both = [(&own, &stat), (&parent, &lower)];
            if differ(both, &entry.name, is_copy)? {
                let old_size = (kind(&lower) == FileKind::File).then(|| size(&lower));
                changes.push(Change { old_size, ..change(&path, Kind::Changed, &stat) });
            }
            match (kind(&stat), kind(&lower)) {
                (FileKind::Directory, FileKind::Directory) => todo.push(Task { path, in_place, untouched }),
                (FileKind::Directory, _) => add_below(open_child(&own, &entry.name)?, &path, changes)?,
                _ => {}
            }
        }
        for name in below {
            let lower = stat(&parent, &name)?;
            let old_size = (kind(&lower) == FileKind::File).then(|| size(&lower));
            changes.push(Change { size: 0, old_size, ..change(&task.path.join(&name), Kind::Deleted, &lower) });
        }
        Ok(())
    }

    fn is_untouched(&self, stat: &Stat) -> bool {
        let changed = Timestamp::new(stat.st_ctime as _, stat.st_ctime_nsec as _);
        self.copied_by.is_some_and(|copied_by| changed.is_ok_and(|changed| changed < copied_by))
    }
}

/// Everything below `root`, as added.
pub(super) fn all(root: &Root) -> io::Result<Vec<Change>> {
    let mut changes = Vec::new();
    add_below(open(root, Path::new(""))?, Path::new(""), &mut changes)?;
    Ok(changes)
}

/// Lists all that is in a directory as added. Directories are opened by one name each, so that no path is too long.
fn add_below(dir: OwnedFd, path: &Path, changes: &mut Vec<Change>) -> io::Result<()> {
    let mut todo = vec![(dir, path.to_path_buf())];
    while let Some((dir, path)) = todo.pop() {
        for entry in rooted::list(dir.as_fd())? {
            let stat = stat(&dir, &entry.name)?;
            if is_mount_placeholder(&dir, &entry.name, &stat)? {
                continue;
            }
            let path = path.join(&entry.name);
            changes.push(change(&path, Kind::Added, &stat));
            if kind(&stat) == FileKind::Directory {
                todo.push((open_child(&dir, &entry.name)?, path));
            }
        }
    }
    Ok(())
}

fn is_mount_placeholder(dir: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<bool> {
    let may_be = match kind(stat) {
        FileKind::Directory => true,
        FileKind::File => stat.st_size == 0,
        _ => false,
    };
    Ok(may_be && placeholder::is_marked(dir.as_fd(), name)? && is_placeholder(dir.as_fd(), name)?)
}

/// Whether an entry differs. `is_copy`: unless its metadata do, it need not be read.
fn differ([(own, a), (parent, b)]: [(&OwnedFd, &Stat); 2], name: &OsStr, is_copy: bool) -> io::Result<bool> {
    if (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid) {
        return Ok(true);
    }
    let same_time = (a.st_mtime, a.st_mtime_nsec) == (b.st_mtime, b.st_mtime_nsec);
    // A directory's time and size change with its entries.
    if kind(a) != FileKind::Directory && !(same_time && a.st_size == b.st_size && a.st_rdev == b.st_rdev) {
        return Ok(true);
    }
    Ok(!is_copy && compare::differ(&Object::open(own, name)?, &Object::open(parent, name)?, &IdMaps::default())?)
}

fn stat(dir: &OwnedFd, name: &OsStr) -> io::Result<Stat> {
    Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn kind(stat: &Stat) -> FileKind {
    FileKind::of(stat)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn change(path: &Path, kind: Kind, stat: &Stat) -> Change {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let size = if is_file { size(stat) } else { 0 };
    Change { path: Path::new("/").join(path), kind, file_type: FileKind::of(stat), size, old_size: None }
}

fn open(root: &Root, path: &Path) -> io::Result<OwnedFd> {
    root.resolve(path)
}

fn open_child(dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}
