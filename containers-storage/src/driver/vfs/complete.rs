//! A layer's changes made a whole tree: what the parent shows and the layer neither has nor deletes is copied in.
//!
//! ```text
//! queue of directories ─► threads: list the parent's directory; for each name
//!     the layer deletes it                     leave it out
//!     the layer has it, both are directories   merge: into the queue, unless the layer's is opaque
//!     the layer has it                         leave it
//!     otherwise                                copy it; a directory goes into the queue
//! ```
//!
//! Invariant: what the layer has is never changed, but the time of its directories, which is set back. A directory is done by one thread, and
//! gets its own times after its last entry.
//!
//! Must not: be called under a lock; be called with a tree that others can reach.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;

use super::copy::{self, Copier, Made};
use crate::Root;
use crate::archive::Marks;
use crate::driver::Error;
use crate::rooted::{self, EntryKind};

/// More threads than this only wait for the disk.
const MAX_THREADS: usize = 8;

/// A directory to be filled.
struct Job {
    /// Below both roots.
    path: PathBuf,
    kind: Dir,
}

/// What the target's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dir {
    /// The top: the driver gives it owner and mode when it is in its place, since one that its owner may not write to cannot be moved.
    Root,
    /// Made for the copy: it becomes as the parent's.
    Copied,
    /// The layer's own, which keeps what the layer says of it.
    Layers,
    /// Made by the layer for something below it: it becomes as the parent's.
    Implied,
}

struct Queue {
    jobs: Vec<Job>,
    /// Jobs that are being worked on, which may add others.
    active: usize,
    failure: Option<Error>,
}

struct Work<'a> {
    source: Root,
    target: Root,
    target_path: &'a Path,
    marks: &'a Marks,
    copier: Copier,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// The first copy of each inode that has several names.
    links: Mutex<HashMap<(u64, u64), PathBuf>>,
}

/// Copies into `tree` what `parent` shows and the layer neither has nor deletes.
pub(super) fn complete(tree: &Path, parent: &Path, marks: &Marks, ignore_chown_errors: bool) -> Result<(), Error> {
    if marks.opaque.contains(Path::new("")) {
        return Ok(());
    }
    let root = Job { path: PathBuf::new(), kind: Dir::Root };
    let work = Work {
        source: Root::open(parent).map_err(Error::io("opening", parent))?,
        target: Root::open(tree).map_err(Error::io("opening", tree))?,
        target_path: tree,
        marks,
        copier: Copier::new(ignore_chown_errors),
        queue: Mutex::new(Queue { jobs: vec![root], active: 0, failure: None }),
        changed: Condvar::new(),
        links: Mutex::new(HashMap::new()),
    };
    // The first directory tells whether there is anything to share.
    work.step();
    let others = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS) - 1;
    thread::scope(|scope| {
        let waiting = lock(&work.queue).jobs.len();
        for _ in 0..others.min(waiting) {
            // Without a thread this one does it all.
            let _ = thread::Builder::new().name("copy".to_owned()).spawn_scoped(scope, || work.run());
        }
        work.run();
    });
    match lock(&work.queue).failure.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A thread that panicked has left nothing half-changed that others would read: the result is an error all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work<'_> {
    /// Works until nothing is left, or something failed.
    fn run(&self) {
        while self.step() {}
    }

    /// Does one directory; false when there will be none any more.
    fn step(&self) -> bool {
        let mut queue = lock(&self.queue);
        let job = loop {
            if queue.failure.is_some() {
                return false;
            }
            match queue.jobs.pop() {
                Some(job) => break job,
                None if queue.active == 0 => return false,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        };
        queue.active += 1;
        drop(queue);
        let done = self.directory(&job);
        let mut queue = lock(&self.queue);
        queue.active -= 1;
        match done {
            Ok(found) => queue.jobs.extend(found),
            Err(source) => {
                let path = self.target_path.join(&job.path);
                queue.failure.get_or_insert(Error::Io { action: "copying the parent's files into", path, source });
            }
        }
        drop(queue);
        self.changed.notify_all();
        true
    }

    /// Fills one directory; what is to be done below it is returned.
    fn directory(&self, job: &Job) -> io::Result<Vec<Job>> {
        let from = open(&self.source, &job.path)?;
        let to = open(&self.target, &job.path)?;
        let before = rustix::fs::fstat(&to)?;
        let mut found = Vec::new();
        for entry in rooted::list(from.as_fd())? {
            let path = job.path.join(&entry.name);
            let deleted = self.marks.whiteouts.contains(&path);
            if !deleted && let Some(kind) = self.entry(&from, &to, &entry, &path)? {
                found.push(Job { path, kind });
            }
        }
        match job.kind {
            Dir::Layers => rustix::fs::futimens(&to, &copy::times(&before))?,
            Dir::Root => rustix::fs::futimens(&to, &copy::times(&rustix::fs::fstat(&from)?))?,
            Dir::Copied | Dir::Implied => self.copier.describe(&from, &to, &rustix::fs::fstat(&from)?)?,
        }
        Ok(found)
    }

    /// Copies one entry, unless the layer has it. `Some`: a directory that is to be filled.
    fn entry(&self, from: &OwnedFd, to: &OwnedFd, entry: &rooted::Entry, path: &Path) -> io::Result<Option<Dir>> {
        let name = entry.name.as_bytes();
        if entry.kind == Some(EntryKind::Directory) {
            return self.subdirectory(to, name, path);
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.subdirectory(to, name, path),
            _ if stat.st_nlink > 1 => self.linked(from, to, name, path, &stat)?,
            file_type => self.single(from, to, name, &stat, file_type)?,
        };
        Ok(None)
    }

    fn single(&self, from: &OwnedFd, to: &OwnedFd, name: &[u8], stat: &Stat, file_type: FileType) -> io::Result<Made> {
        match file_type {
            FileType::RegularFile => self.copier.file(from.as_fd(), to.as_fd(), name),
            _ => self.copier.node(from.as_fd(), to.as_fd(), name, stat),
        }
    }

    /// A file with several names: copied once, linked from then on. The lock is held while it is copied, since the next name needs it.
    fn linked(&self, from: &OwnedFd, to: &OwnedFd, name: &[u8], path: &Path, stat: &Stat) -> io::Result<Made> {
        let mut links = lock(&self.links);
        let inode = (stat.st_dev, stat.st_ino);
        let Some(first) = links.get(&inode) else {
            let made = self.single(from, to, name, stat, FileType::from_raw_mode(stat.st_mode))?;
            if made == Made::New {
                links.insert(inode, path.to_path_buf());
            }
            return Ok(made);
        };
        let (parent, first) = self.target.parent(first)?;
        match rustix::fs::linkat(parent, first, to, OsStr::from_bytes(name), AtFlags::empty()) {
            Ok(()) => Ok(Made::New),
            Err(Errno::EXIST) => Ok(Made::Exists),
            // A device that could not be made, or the limit of names of one inode.
            Err(Errno::NOENT | Errno::MLINK) => self.single(from, to, name, stat, FileType::from_raw_mode(stat.st_mode)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn subdirectory(&self, to: &OwnedFd, name: &[u8], path: &Path) -> io::Result<Option<Dir>> {
        match rustix::fs::mkdirat(to, name, Mode::RWXU) {
            Ok(()) => Ok(Some(Dir::Copied)),
            Err(Errno::EXIST) if self.marks.opaque.contains(path) || !is_directory(to.as_fd(), name)? => Ok(None),
            Err(Errno::EXIST) if self.marks.implied.contains(path) => Ok(Some(Dir::Implied)),
            Err(Errno::EXIST) => Ok(Some(Dir::Layers)),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn is_directory(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// The directory `path`, readable.
fn open(root: &Root, path: &Path) -> io::Result<OwnedFd> {
    let directory = root.subdir(path)?;
    copy::open_directory(&directory, b".")?.ok_or_else(|| io::ErrorKind::NotADirectory.into())
}

#[cfg(test)]
mod tests;
