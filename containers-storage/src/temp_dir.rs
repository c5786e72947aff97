//! Temporary directories inside a store, owned by a live process: `tempdirs/temp-dir-X` beside its lock file `lock-X`.
//!
//! Invariant: the owner holds the exclusive lock on `lock-X` for the directory's life. A directory whose lock can be taken is
//! dead, and every tool may delete it (format, section 5.6). So the only copy of data must never be in one.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::lock::{make_private_dir, try_exclusive};
use crate::rooted::Root;

const LOCK: &str = "lock-";
const DIR: &str = "temp-dir-";

/// A live temporary directory. Dropped, it is deleted as far as this process may; what it may not delete, others collect.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    lock_path: PathBuf,
    // Held for the life of the directory; other tools try it.
    _lock: File,
    gone: bool,
}

impl TempDir {
    /// Makes a temporary directory (0700) below `parent`, which is `<driver>/tempdirs` or `<driver>-layers/tmp` and is made if it is missing.
    pub fn create(parent: &Path) -> io::Result<Self> {
        // A collector may take and delete a lock file between our creating and our locking it; then another name is drawn.
        for _ in 0..64 {
            let mut random = [0u8; 8];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let name = u64::from_le_bytes(random);
            let lock_path = parent.join(format!("{LOCK}{name}"));
            let lock = match create_lock_file(&lock_path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_private_dir(parent)?;
                    create_lock_file(&lock_path)?
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            if !try_exclusive(&lock)? || rustix::fs::fstat(&lock)?.st_nlink == 0 {
                continue;
            }
            let path = parent.join(format!("{DIR}{name}"));
            if let Err(error) = std::fs::DirBuilder::new().mode(0o700).create(&path) {
                let _ = std::fs::remove_file(&lock_path);
                return Err(error);
            }
            return Ok(Self { path, lock_path, _lock: lock, gone: false });
        }
        Err(io::Error::other("no temporary directory could be locked"))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes the directory and what is in it. After an error it still exists in part, and the call can be repeated, for example in
    /// the user namespace that the owners of the files belong to.
    pub fn remove(&mut self) -> io::Result<()> {
        if !self.gone {
            remove_tree(&self.path)?;
            // The lock file goes last: while it is there and held, nobody else touches the directory.
            std::fs::remove_file(&self.lock_path)?;
            self.gone = true;
        }
        Ok(())
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Best effort; what stays is dead as soon as the lock is closed, and is collected.
        let _ = self.remove();
    }
}

/// What a collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Directories that were deleted.
    pub removed: usize,
    /// Dead directories that hold files of other owners: they can be deleted in the store's user namespace only.
    pub foreign: usize,
}

/// Deletes every dead temporary directory below `parent`, which need not exist.
pub fn collect_dead(parent: &Path) -> io::Result<Collected> {
    let mut collected = Collected::default();
    for name in dead_or_alive(parent)? {
        let lock_path = parent.join(format!("{LOCK}{name}"));
        let Some(_lock) = take_if_dead(&lock_path)? else { continue };
        match remove_tree(&parent.join(format!("{DIR}{name}"))) {
            Ok(()) => match std::fs::remove_file(&lock_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => collected.removed += 1,
            },
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => collected.foreign += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(collected)
}

/// The dead temporary directories below `parent`, for a report. Nothing is deleted.
pub fn list_dead(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dead = Vec::new();
    for name in dead_or_alive(parent)? {
        let path = parent.join(format!("{DIR}{name}"));
        if is_dead(&parent.join(format!("{LOCK}{name}")))? {
            dead.push(path);
        }
    }
    Ok(dead)
}

/// The X of every `lock-X` and `temp-dir-X` below `parent`.
fn dead_or_alive(parent: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = std::collections::BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(random) = name.strip_prefix(LOCK).or_else(|| name.strip_prefix(DIR)) {
            names.insert(random.to_owned());
        }
    }
    Ok(names.into_iter().collect())
}

/// The lock of a dead directory, held; none if its owner lives. A directory whose lock file is missing is dead.
fn take_if_dead(lock_path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = File::from(rustix::fs::openat(CWD, lock_path, flags, Mode::RUSR | Mode::WUSR)?);
    Ok(try_exclusive(&lock)?.then_some(lock))
}

fn is_dead(lock_path: &Path) -> io::Result<bool> {
    match rustix::fs::openat(CWD, lock_path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => try_exclusive(&File::from(file)),
        Err(rustix::io::Errno::NOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn create_lock_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match Root::open(parent) {
        Ok(root) => root.remove_all(Path::new(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_ones_are_collected_and_live_ones_are_not() {
        let store = tempfile::tempdir().unwrap();
        let parent = store.path().join("overlay/tempdirs");
        let live = TempDir::create(&parent).unwrap();
        std::fs::write(live.path().join("f"), "x").unwrap();
        std::fs::create_dir_all(parent.join("temp-dir-17/sub")).unwrap();
        std::fs::write(parent.join("lock-17"), "").unwrap();
        std::fs::write(parent.join("lock-18"), "").unwrap();
        assert_eq!(list_dead(&parent).unwrap(), [parent.join("temp-dir-17"), parent.join("temp-dir-18")]);
        assert_eq!(collect_dead(&parent).unwrap(), Collected { removed: 2, foreign: 0 });
        assert!(live.path().join("f").exists());
        drop(live);
        assert_eq!(std::fs::read_dir(&parent).unwrap().count(), 0);
    }

    #[test]
    fn a_store_without_the_directory_has_nothing_to_collect() {
        let store = tempfile::tempdir().unwrap();
        assert_eq!(collect_dead(&store.path().join("overlay/tempdirs")).unwrap(), Collected::default());
        assert!(!store.path().join("overlay").exists());
    }
}
