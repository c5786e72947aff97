//! One live mount per container: who of ours uses a container's writable layer, and how the next one joins.
//!
//! Two overlay mounts on one upper directory break each other. So the verb that mounts a container leaves a lease, and the
//! next verb joins the mount that is there.
//!
//! ```text
//! <graph root>/coracle/leases/<layer id>      byte 0: gate  (exclusive, short: held from arrival until entered)
//!                                             byte 1: users (shared, held by every process that uses the mount)
//! ```
//!
//! The file's text lists users, one a line: pid, start time (field 22 of /proc/pid/stat), boot id. The lock proves that *somebody*
//! lives; an entry says who can be joined. A session (the shell of `coracle unshare`) holds no lock, its entry alone names it.
//!
//! Invariant: an entry is believed only if a process with that pid *and* start time runs under this boot. Deleting the directory
//! while nothing runs costs nothing.
//!
//! Must not: enter a namespace, mount, or probe; the caller does, between `arrive` and `enter`.

mod entries;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::LayerId;
use crate::driver::is_mount_point;
use entries::{Entry, Kind};

/// Byte of the gate.
const GATE: i64 = 0;
/// Byte of the users' lock.
const USERS: i64 = 1;
/// A lease file lists a handful of processes; more than this is none of ours.
const MAX_TEXT: usize = 64 * 1024;

/// Why a lease could not be read or taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the lease file failed.
    #[error("{action} {path:?}")]
    Io {
        /// The operation, as a participle.
        action: &'static str,
        /// The lease file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Someone holds the lease, but none of the listed processes lives: the holder does not want to be joined.
    #[error("layer {layer} is in use by a process that cannot be joined from here")]
    Unjoinable {
        /// The layer.
        layer: LayerId,
    },
}

/// What the arriving process finds.
#[derive(Debug)]
pub enum Arrival {
    /// No process of ours holds the mount. The caller probes for foreign mounts (`GraphDriver::in_use`), mounts, and calls
    /// `Gate::enter`. If the probe says busy, `Gate::sessions` lists live processes in whose namespaces the mount may be.
    Free(Gate),
    /// A live process holds the mount in other namespaces. The caller joins its user and mount namespaces, finds the mount at
    /// the same path there, and calls `Gate::enter`. If joining fails (a non-dumpable process), dropping the gate leaves all as it was.
    HeldBy {
        /// A process to join, as seen from this pid namespace.
        pid: u32,
        /// To be entered after joining.
        gate: Gate,
    },
    /// The mount is visible in this mount namespace already. The caller uses it and calls `Gate::enter`.
    MountedHere {
        /// Where.
        path: PathBuf,
        /// To be entered.
        gate: Gate,
    },
}

/// The gate of one lease, held: nobody else can arrive. Dropping it changes nothing. Arriving at the same layer again while
/// holding it waits for ever.
#[derive(Debug)]
pub struct Gate {
    file: LeaseFile,
}

/// This process's use of the mount. Ends when it is dropped, or when the process and every child that it forked without executing
/// something else have died.
#[derive(Debug)]
pub struct Lease {
    file: LeaseFile,
}

/// The open lease file. Both locks belong to this one descriptor (OFD).
#[derive(Debug)]
struct LeaseFile {
    layer: LayerId,
    path: PathBuf,
    file: File,
    /// Who opened it: a forked child that drops its copy must not unlock for its parent.
    opener: u32,
}

/// Arrives at `layer`, whose mount point is `mount_point`. Waits for a process that is just mounting or joining.
pub fn arrive(graph_root: &Path, layer: &LayerId, mount_point: &Path) -> Result<Arrival, Error> {
    let file = LeaseFile::open_gated(graph_root, layer)?;
    let alone = file.try_alone()?;
    if is_mount_point(mount_point) {
        return Ok(Arrival::MountedHere { path: mount_point.to_path_buf(), gate: Gate { file } });
    }
    if alone {
        return Ok(Arrival::Free(Gate { file }));
    }
    // A holder may be on its way out: its entry is dead already, its lock is not yet gone.
    for _ in 0..50 {
        let joinable = file.live()?.into_iter().rev().find(|entry| entry.process.is_here());
        if let Some(entry) = joinable {
            return Ok(Arrival::HeldBy { pid: entry.process.pid, gate: Gate { file } });
        }
        std::thread::sleep(Duration::from_millis(2));
        if file.try_alone()? {
            return Ok(Arrival::Free(Gate { file }));
        }
    }
    Err(Error::Unjoinable { layer: layer.clone() })
}

/// Arrives at `layer`, which any number of processes may use at once, without a mount (`driver::Shape::Trees`).
pub fn arrive_freely(graph_root: &Path, layer: &LayerId) -> Result<Gate, Error> {
    Ok(Gate { file: LeaseFile::open_gated(graph_root, layer)? })
}

/// The live processes that are listed for `layer`, without waiting or entering: for `containers` and `check`. No lease file: none.
pub fn users(graph_root: &Path, layer: &LayerId) -> Result<Vec<u32>, Error> {
    let path = path_of(graph_root, layer);
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path);
    match opened.and_then(crate::lock::regular) {
        Ok(file) => {
            let file = LeaseFile { layer: layer.clone(), path, file, opener: 0 };
            Ok(file.live_here()?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::Io { action: "opening", path, source }),
    }
}

/// Deletes the lease file of a layer that was removed. Nobody may use it any more. A missing file is no error.
pub fn forget(graph_root: &Path, layer: &LayerId) -> Result<(), Error> {
    let path = path_of(graph_root, layer);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io { action: "removing", path, source }),
        _ => Ok(()),
    }
}

impl Gate {
    /// Other live processes in whose namespaces the mount may be, newest first: those that hold the lease, and sessions.
    pub fn candidates(&self) -> Vec<u32> {
        let listed = self.file.live_here().unwrap_or_default().into_iter().rev();
        listed.filter(|pid| *pid != std::process::id()).collect()
    }

    /// Live sessions that are listed although they hold no lock (`coracle mount` inside `coracle unshare`), newest first.
    pub fn sessions(&self) -> Vec<u32> {
        let listed = self.file.live().unwrap_or_default().into_iter().rev();
        listed.filter(|entry| entry.kind == Kind::Session && entry.process.is_here()).map(|entry| entry.process.pid).collect()
    }

    /// Lists this process as a user, holds the users lock for its life, and opens the gate.
    pub fn enter(self) -> Result<Lease, Error> {
        self.file.lock(libc::F_RDLCK, USERS)?;
        let own = Entry::of(std::process::id(), Kind::User);
        self.file.rewrite(|entries| {
            entries.retain(|entry| *entry != own);
            entries.push(own.clone());
        })?;
        self.file.lock(libc::F_UNLCK, GATE)?;
        Ok(Lease { file: self.file })
    }

    /// Lists the process `pid`, which serves the mount, as a session, and keeps the gate: should this process be killed, the next one finds
    /// the mount there.
    pub fn note_server(&self, pid: u32) -> Result<(), Error> {
        let session = Entry::of(pid, Kind::Session);
        self.file.rewrite(|entries| {
            entries.retain(|entry| *entry != session);
            entries.push(session.clone());
        })
    }

    /// Lists the process `pid` as a session in whose namespaces the mount stays after this process has gone, and opens the gate.
    pub fn enter_session(self, pid: u32) -> Result<(), Error> {
        let session = Entry::of(pid, Kind::Session);
        self.file.rewrite(|entries| {
            entries.retain(|entry| *entry != session);
            entries.push(session.clone());
        })
    }

    /// Removes every session entry (after `umount`), and opens the gate.
    pub fn leave_session(self) -> Result<(), Error> {
        self.file.rewrite(|entries| entries.retain(|entry| entry.kind != Kind::Session))
    }
}

/// Proof that no other process uses the mount, and that none arrives, until it is dropped.
#[derive(Debug)]
pub struct Alone<'a> {
    file: &'a LeaseFile,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // From exclusive to shared is always granted.
        let _ = self.file.try_lock(libc::F_RDLCK, USERS);
        let _ = self.file.try_lock(libc::F_UNLCK, GATE);
    }
}

impl Lease {
    /// Whether this process is the only user. Waits for nobody: with somebody just arriving, it is not.
    pub fn alone(&self) -> Option<Alone<'_>> {
        if !self.file.try_lock(libc::F_WRLCK, GATE).unwrap_or(false) {
            return None;
        }
        if self.file.try_lock(libc::F_WRLCK, USERS).unwrap_or(false) {
            return Some(Alone { file: &self.file });
        }
        let _ = self.file.try_lock(libc::F_UNLCK, GATE);
        None
    }

    /// The layer that is leased.
    pub fn layer(&self) -> &LayerId {
        &self.file.layer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Only manners: an entry that stays is recognised as dead, or as not holding the lock. So nothing waits here.
        if self.file.is_ours() && self.file.try_lock(libc::F_WRLCK, GATE).unwrap_or(false) {
            let own = Entry::of(std::process::id(), Kind::User);
            let _ = self.file.rewrite(|entries| entries.retain(|entry| *entry != own));
        }
    }
}

impl Drop for LeaseFile {
    fn drop(&mut self) {
        // Closing would not do while a child of this process is between fork and exec.
        if self.is_ours() {
            let _ = self.try_lock(libc::F_UNLCK, GATE);
            let _ = self.try_lock(libc::F_UNLCK, USERS);
        }
    }
}

impl LeaseFile {
    fn is_ours(&self) -> bool {
        self.opener == std::process::id()
    }

    /// The lease file, created if missing, with the gate taken.
    fn open_gated(graph_root: &Path, layer: &LayerId) -> Result<Self, Error> {
        let path = path_of(graph_root, layer);
        loop {
            let opened = || {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
                crate::lock::regular(options.open(&path)?)
            };
            let file = match opened() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let dir = path.parent().unwrap_or(graph_root);
                    DirBuilder::new().recursive(true).mode(0o700).create(dir).and_then(|()| opened())
                }
                other => other,
            };
            let file = file.map_err(|source| Error::Io { action: "opening", path: path.clone(), source })?;
            let lease = Self { layer: layer.clone(), path: path.clone(), file, opener: std::process::id() };
            lease.lock(libc::F_WRLCK, GATE)?;
            // `forget` may have deleted the file while this process waited.
            if lease.file.metadata().is_ok_and(|stat| stat.nlink() > 0) {
                return Ok(lease);
            }
        }
    }

    /// Whether nobody else holds the users lock; then this process does, exclusively.
    fn try_alone(&self) -> Result<bool, Error> {
        self.try_lock(libc::F_WRLCK, USERS)
    }

    fn try_lock(&self, kind: i32, byte: i64) -> Result<bool, Error> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(kind, byte))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(self.io("locking", errno.into())),
        }
    }

    fn lock(&self, kind: i32, byte: i64) -> Result<(), Error> {
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&range(kind, byte))) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.io("locking", errno.into())),
            }
        }
    }

    /// The entries that may be alive, in the order of arrival.
    fn live(&self) -> Result<Vec<Entry>, Error> {
        let length = self.file.metadata().map_err(|error| self.io("reading", error))?.len();
        let mut text = vec![0; MAX_TEXT.min(usize::try_from(length).unwrap_or(MAX_TEXT))];
        let mut filled = 0;
        while let Some(rest) = text.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) => return Err(self.io("reading", error)),
            }
        }
        text.truncate(filled);
        Ok(entries::parse(&String::from_utf8_lossy(&text)).into_iter().filter(|entry| entry.process.may_live()).collect())
    }

    /// The pids of those of them that mean something here.
    fn live_here(&self) -> Result<Vec<u32>, Error> {
        Ok(self.live()?.into_iter().filter(|entry| entry.process.is_here()).map(|entry| entry.process.pid).collect())
    }

    /// Rewrites the list, dead entries left out. Only with the gate held. A kill in between leaves half a line, which is skipped.
    fn rewrite(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), Error> {
        let mut entries = self.live()?;
        change(&mut entries);
        let text = entries::format(&entries);
        let written = self.file.set_len(0).and_then(|()| self.file.write_all_at(text.as_bytes(), 0));
        written.map_err(|error| self.io("writing", error))
    }

    fn io(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }
}

fn path_of(graph_root: &Path, layer: &LayerId) -> PathBuf {
    graph_root.join("coracle/leases").join(layer)
}

fn range(kind: i32, byte: i64) -> libc::flock {
    // l_pid must be 0 for OFD locks (fcntl(2)).
    libc::flock { l_type: kind as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: byte, l_len: 1, l_pid: 0 }
}
