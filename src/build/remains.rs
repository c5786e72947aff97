//! Working containers of builds that were killed: each is noted before it exists, so that somebody can remove it.
//!
//! ```text
//! <graph root>/coracle/builds/<16 hex digits>     one line for each container: its ID
//!                                                 locked (flock(2)) by the processes of the build and its guardian, as long as one lives
//! ```
//!
//! The guardian removes the containers when all processes of the build have ended without saying so. Where that was killed, too, the note
//! is without a lock, and the next build or `prune` does it.
//!
//! Invariant: only a container that a build made for itself is noted, and only one of a build of which no process lives is removed.
//! Deleting the directory while nothing runs costs a `rm`.

use std::cell::OnceCell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use containers_storage::ContainerId;
use containers_storage::store::Store;
use nix::sys::wait::waitpid;
use rustix::fs::FlockOperation;

use crate::container::remove;
use crate::run::Guardian;
use crate::sys::fork::fork_alone;

/// Where the notes are, below the graph root.
const DIRECTORY: &str = "coracle/builds";
/// More than any build has containers, in bytes.
const LONGEST: u64 = 1 << 20;
/// How often a note is begun that others take away.
const ATTEMPTS: usize = 8;
/// How often a container is tried that something still uses, and how long to wait in between: a killed command takes a moment to end.
const PATIENCE: (usize, Duration) = (50, Duration::from_millis(20));

/// The note of one build. It goes with this value in the process that began it.
#[derive(Debug)]
pub(super) struct Remains {
    path: PathBuf,
    note: File,
    guardian: OnceCell<Guardian>,
    owner: u32,
}

impl Remains {
    /// Begins the note of a build. The processes that are forked from now on hold its lock.
    pub(super) fn begin(store: &Store) -> io::Result<Self> {
        let directory = directory(store);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        for _ in 0..ATTEMPTS {
            let random = getrandom::u64().map_err(io::Error::other)?;
            let path = directory.join(format!("{random:016x}"));
            let note = match options.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
                    options.open(&path)?
                }
                other => other?,
            };
            rustix::fs::flock(&note, FlockOperation::LockExclusive)?;
            // Before it was locked, another build may have taken it for abandoned.
            if note.metadata()?.nlink() > 0 {
                return Ok(Self { path, note, guardian: OnceCell::new(), owner: std::process::id() });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Notes a container that will be.
    pub(super) fn note(&self, id: &ContainerId) -> io::Result<()> {
        (&self.note).write_all(format!("{id}\n").as_bytes())
    }

    /// Has a process of its own watch over the build, unless there is one already.
    pub(super) fn watch(&self, store: &Store) {
        // Without one the next build does its work.
        if self.guardian.get().is_none()
            && let Ok(guardian) = Guardian::start(|| finish(store, &self.path))
        {
            let _ = self.guardian.set(guardian);
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = std::fs::remove_file(&self.path);
            if let Some(guardian) = self.guardian.take() {
                guardian.dismiss();
            }
        }
    }
}

/// Removes what killed builds left. In a process of its own, since it may have to enter a user namespace; only if there is something.
pub fn collect(store: &Store) {
    let Ok(entries) = std::fs::read_dir(directory(store)) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(note) = File::open(&path) else { continue };
        if rustix::fs::flock(&note, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if note.metadata().is_ok_and(|stat| stat.len() == 0) {
            let _ = std::fs::remove_file(&path);
            continue;
        }
        let Ok((unneeded, _)) = rustix::pipe::pipe() else { return };
        // It has a copy of the lock.
        let child = fork_alone(unneeded.as_fd(), || {
            finish(store, &path);
            0
        });
        if let Ok(pid) = child {
            let _ = waitpid(pid, None);
        }
    }
}

/// Removes the containers of a note and then the note, unless something could not be removed.
fn finish(store: &Store, path: &Path) {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    // An error means that the build has ended in order after all.
    let mut is_done = read.is_ok();
    // A line that was cut off stands for a container that was never made.
    for id in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse::<ContainerId>().ok()) {
        is_done &= is_removed(store, &id);
    }
    if is_done {
        let _ = std::fs::remove_file(path);
    }
}

fn is_removed(store: &Store, id: &ContainerId) -> bool {
    for _ in 0..PATIENCE.0 {
        match remove::remove(store, id.as_str()) {
            Ok(_) | Err(remove::Error::NotKnown { .. }) => return true,
            Err(remove::Error::InUse { .. }) => std::thread::sleep(PATIENCE.1),
            Err(error) => {
                log::debug!("the container {} of a killed build stays: {error}", id.short());
                return false;
            }
        }
    }
    false
}

fn directory(store: &Store) -> PathBuf {
    store.conf().graph_root.join(DIRECTORY)
}
