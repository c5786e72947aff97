//! `mount`: a mount of a working container that stays in this mount namespace, noted in `mountpoints.json` as Buildah does.
//!
//! For an ordinary user that is only useful inside `coracle unshare` (or `buildah unshare`): a mount made in a namespace of the
//! verb's own would end with it. The session that keeps the namespace alive is listed in the container's lease, so that verbs
//! outside join it.
//!
//! Where layers are whole trees nothing is mounted, so that this works in any namespace: the layer's directory is told, and counted.

use std::path::{Path, PathBuf};

use containers_storage::driver::{self, Shape};
use containers_storage::lease::{self, Arrival};
use containers_storage::store::{self, Store};
use containers_storage::{ContainerId, LayerId};

use super::{WorkingContainer, list, mounted, state};
use crate::userns;

/// Why a container could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// `umount` of an unknown container. Scripts look for this phrase.
    #[error("error unmounting container {name}: {}", state::not_known(name))]
    NotKnown {
        /// What was typed.
        name: String,
    },
    /// The caller is not root and in no namespace of its own, so that nobody would see the mount.
    #[error("cannot mount using driver {driver} in rootless mode. You need to run it in a `coracle unshare` session")]
    NotInUnshare {
        /// The graph driver.
        driver: &'static str,
    },
    /// A verb in another namespace uses it just now.
    #[error("container {name:?} is mounted by process {pid} in another namespace")]
    Elsewhere {
        /// The container.
        name: String,
        /// The process.
        pid: u32,
    },
    /// Mounting failed.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// The lease could not be read or changed.
    #[error("mounting {name:?}")]
    Lease {
        /// The container.
        name: String,
        /// What failed.
        source: lease::Error,
    },
    /// The mount could not be noted in the store.
    #[error("noting the mount of {name:?}")]
    Note {
        /// The container.
        name: String,
        /// What failed.
        source: store::Error,
    },
    /// The driver refused.
    #[error("mounting {name:?}")]
    Driver {
        /// The container.
        name: String,
        /// What failed.
        source: driver::Error,
    },
}

/// One mounted container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// Mounts the container `name` in this mount namespace and leaves it there.
pub fn mount(store: &Store, name: &str) -> Result<MountPoint, Error> {
    let container = WorkingContainer::open(store, name)?;
    let failed = |source| Error::Driver { name: name.to_owned(), source };
    let driver = store.driver().map_err(failed)?;
    require_session(store)?;
    let mount_point = driver.mount_point(container.layer());
    let note = || {
        let noted = store.note_mount(container.layer(), &mount_point);
        noted.map_err(|source| Error::Note { name: name.to_owned(), source })
    };
    if driver.shape() == Shape::Trees {
        let path = driver.diff_dir(container.layer()).map_err(failed)?;
        note()?;
        note_mount_point(store, &container, Some(&path))?;
        return Ok(MountPoint { id: container.id().clone(), name: container.name(), path });
    }
    let lease_failed = |source| Error::Lease { name: name.to_owned(), source };
    match lease::arrive(&store.conf().graph_root, container.layer(), &mount_point).map_err(lease_failed)? {
        Arrival::MountedHere { .. } => {}
        Arrival::HeldBy { pid, .. } => return Err(Error::Elsewhere { name: name.to_owned(), pid }),
        Arrival::Free(gate) => {
            mounted::mount_free(store, driver, &container)?;
            gate.enter_session(session()).map_err(lease_failed)?;
            note()?;
        }
    }
    note_mount_point(store, &container, Some(&mount_point))?;
    Ok(MountPoint { id: container.id().clone(), name: container.name(), path: mount_point })
}

/// Refuses callers who could neither make nor see a mount that stays.
pub fn require_session(store: &Store) -> Result<(), Error> {
    if store.driver().is_ok_and(|driver| driver.shape() == Shape::Trees) {
        return Ok(());
    }
    match userns::current() {
        userns::State::Outside => Err(Error::NotInUnshare { driver: store.conf().driver.name() }),
        userns::State::Inside | userns::State::RealRoot => Ok(()),
    }
}

/// The working containers that are mounted in this mount namespace, or noted as mounted where nothing is ever mounted.
pub fn mounted(store: &Store) -> Result<Vec<MountPoint>, Error> {
    let mut found = Vec::new();
    for listed in list::list(store, list::Scope::Working)? {
        let record = state::find(store, listed.id.as_str())?;
        if let Some(path) = visible(store, &record.layer)? {
            found.push(MountPoint { id: listed.id, name: listed.name, path });
        }
    }
    Ok(found)
}

/// Where `layer` is mounted in this mount namespace, or noted as mounted where nothing is ever mounted.
pub(super) fn visible(store: &Store, layer: &LayerId) -> Result<Option<PathBuf>, Error> {
    let driver = store.driver().map_err(|source| Error::Driver { name: String::new(), source })?;
    let path = driver.mount_point(layer);
    let is_mounted = match driver.shape() {
        Shape::Diffs => driver::is_mount_point(&path),
        Shape::Trees => {
            let counts = store.mount_counts().map_err(|source| Error::Note { name: String::new(), source })?;
            counts.get(layer).is_some_and(|count| *count > 0)
        }
    };
    Ok(is_mounted.then_some(path))
}

/// Says in the state file where the container is mounted, for Buildah; `None`: nowhere.
pub(super) fn note_mount_point(store: &Store, container: &WorkingContainer, path: Option<&Path>) -> Result<(), state::Error> {
    WorkingContainer::edit(store, container.id().as_str(), |container| {
        let text = path.map(|path| path.to_string_lossy().into_owned());
        container.state_mut().set_mount_point(text.as_deref());
        Ok(())
    })
}

/// The process that keeps this mount namespace alive: the oldest ancestor in it.
fn session() -> u32 {
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = std::process::id();
    let here = namespace(own);
    let mut oldest = own;
    // A loop in the table of processes is impossible, but the table changes while it is read.
    for _ in 0..1024 {
        match parent(oldest) {
            Some(pid) if pid != 0 && here.is_some() && namespace(pid) == here => oldest = pid,
            _ => break,
        }
    }
    oldest
}

/// Field 4 of `/proc/<pid>/stat` (proc_pid_stat(5)).
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}
