//! Room for deletions on a full disk: `<graph root>/coracle/reserve`, a file of zeros that gives way to them.
//!
//! Taking something out of the store writes first: a note, the tables without the record, a directory to move the files to. Where not
//! a block is free that would fail, and nothing could ever be removed. So a file that nobody needs lies ready, and goes first.
//!
//! ```text
//! any change, room enough       the reserve is made, if it is missing
//! a deletion, hardly any room   the reserve goes, then the deletion is done as always
//! a deletion without a reserve  kept blobs and what the dead left go; then what the deletion itself says (a container's own files)
//! ```
//!
//! Invariant: nothing depends on the reserve; a kill between any two steps leaves a store as valid as before, at most without one.
//! Must not: grow a store that has hardly any room.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;

use super::{Error, Store};

/// Bytes of the reserve, for tables of the usual size.
const SIZE: u64 = 256 << 10;
/// Files that a deletion makes in passing: a note, three tables, temporary directories with their locks.
const FILES: u64 = 32;

/// A reserve that is still to be made.
#[derive(Debug)]
pub(super) struct Reserve {
    root: PathBuf,
    path: PathBuf,
    size: u64,
}

impl Reserve {
    /// Makes it, if that leaves as much again.
    pub(super) fn make(&self) {
        if !has_room_for(&self.root, self.size.saturating_mul(2)) {
            return;
        }
        let Ok(file) = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path) else { return };
        if rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.size).is_err() {
            // Without blocks of its own it is of no use.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether the file system of `root` has this many bytes and the files of a deletion to spare. One that does not say has.
fn has_room_for(root: &Path, bytes: u64) -> bool {
    let Ok(stat) = rustix::fs::statvfs(root) else { return true };
    let inodes = stat.f_files == 0 || stat.f_favail >= FILES;
    inodes && stat.f_bavail.saturating_mul(stat.f_frsize) >= bytes
}

impl Store {
    fn reserve(&self) -> PathBuf {
        self.private_dir().join("reserve")
    }

    /// Bytes that a deletion may need: each table is written beside itself.
    fn reserve_size(&self) -> u64 {
        let tables = [
            self.layers_dir().join("layers.json"),
            self.images_dir().join("images.json"),
            self.containers_dir().join("containers.json"),
        ];
        let lengths = tables.iter().filter_map(|table| std::fs::metadata(table).ok()).map(|table| table.len());
        SIZE.saturating_add(lengths.sum::<u64>().saturating_mul(2))
    }

    /// Makes the reserve, if it is missing and there is room enough. It is worth no failure.
    pub(super) fn keep_reserve(&self) {
        if !self.reserve_spent.load(Ordering::Relaxed) && !self.reserve().exists() {
            self.next_reserve().make();
        }
    }

    /// The reserve that can be made when a deletion, which used the last one up, has made room.
    pub(super) fn reserve_to_come(&self) -> Option<Reserve> {
        self.reserve_spent.load(Ordering::Relaxed).then(|| self.next_reserve())
    }

    fn next_reserve(&self) -> Reserve {
        Reserve { root: self.conf.graph_root.clone(), path: self.reserve(), size: self.reserve_size() }
    }

    /// Does `change`, a deletion, on a full disk as well. It is tried again when room was made, and so must have changed nothing when it
    /// fails for want of room.
    pub(super) fn with_room<T>(&self, mut change: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        if !has_room_for(&self.conf.graph_root, SIZE) {
            self.give_up_reserve();
        }
        match change() {
            Err(error) if error.is_out_of_space() && (self.give_up_reserve() || self.give_up_the_rebuildable()) => change(),
            other => other,
        }
    }

    /// Makes room for a deletion, if there is hardly any.
    pub(crate) fn make_room(&self) {
        if !has_room_for(&self.conf.graph_root, SIZE) && !self.give_up_reserve() {
            self.give_up_the_rebuildable();
        }
    }

    /// Whether what only saves time may be written: there is room for far more than it takes.
    pub(super) fn has_room_to_spare(&self) -> bool {
        has_room_for(&self.conf.graph_root, self.reserve_size().saturating_mul(2))
    }

    /// Whether there was a reserve.
    fn give_up_reserve(&self) -> bool {
        let gone = std::fs::remove_file(self.reserve()).is_ok();
        if gone {
            // Its room is for this process, until that ends.
            self.reserve_spent.store(true, Ordering::Relaxed);
        }
        gone
    }

    /// Deletes what only saves time, and what dead processes left. Whether something went.
    fn give_up_the_rebuildable(&self) -> bool {
        let blobs = std::fs::read_dir(self.blobs_dir()).into_iter().flatten().flatten();
        let blobs = blobs.filter(|blob| std::fs::remove_file(blob.path()).is_ok()).count();
        let noted = self.give_up_memos();
        let dead = self.collect_dead().unwrap_or_default();
        noted || blobs + dead.removed > 0
    }
}
