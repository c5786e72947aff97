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

use std::io;
use std::path::{Path, PathBuf};

use crate::LayerId;

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
    #[error("layer {layer} is in use by a process that cannot be joined")]
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

/// The gate of one lease, held: nobody else can arrive. Dropping it changes nothing.
#[derive(Debug)]
pub struct Gate {
    layer: LayerId,
}

/// This process's use of the mount. Ends when it is dropped or the process dies.
#[derive(Debug)]
pub struct Lease {
    layer: LayerId,
}

/// Arrives at `layer`, whose mount point is `mount_point`. Waits for a process that is just mounting or joining.
pub fn arrive(graph_root: &Path, layer: &LayerId, mount_point: &Path) -> Result<Arrival, Error> {
    let _ = (graph_root, mount_point);
    Ok(Arrival::Free(Gate { layer: layer.clone() }))
}

/// The live processes that use `layer`, without waiting or entering: for `containers` and `check`. No lease file: none.
pub fn users(graph_root: &Path, layer: &LayerId) -> Result<Vec<u32>, Error> {
    let _ = (graph_root, layer);
    Ok(Vec::new())
}

/// Deletes the lease file of a layer that was removed. Nobody may use it any more.
pub fn forget(graph_root: &Path, layer: &LayerId) -> Result<(), Error> {
    let _ = (graph_root, layer);
    Ok(())
}

impl Gate {
    /// Live sessions that are listed although they hold no lock (`coracle mount` inside `coracle unshare`), newest first.
    pub fn sessions(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Lists this process as a user, holds the users lock for its life, and opens the gate.
    pub fn enter(self) -> Result<Lease, Error> {
        Ok(Lease { layer: self.layer })
    }

    /// Lists the process `pid` as a session in whose namespaces the mount stays after this process has gone, and opens the gate.
    pub fn enter_session(self, pid: u32) -> Result<(), Error> {
        let _ = pid;
        Ok(())
    }

    /// Removes every session entry (after `umount`), and opens the gate.
    pub fn leave_session(self) -> Result<(), Error> {
        Ok(())
    }
}

impl Lease {
    /// The layer that is leased.
    pub fn layer(&self) -> &LayerId {
        &self.layer
    }
}
