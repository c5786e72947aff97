//! `umount`: takes down a mount that `mount` left in this mount namespace.

use containers_storage::ContainerId;
use containers_storage::driver::{self, Shape};
use containers_storage::lease::{self, Arrival};
use containers_storage::store::Store;

use super::mount::{Error, note_mount_point};
use super::{WorkingContainer, state};

/// Unmounts the container `name`. Returns its ID if it was mounted in this mount namespace, or if the driver mounts nothing.
pub fn umount(store: &Store, name: &str) -> Result<Option<ContainerId>, Error> {
    let container = WorkingContainer::open(store, name).map_err(|error| match error {
        state::Error::NotKnown { name } => Error::NotKnown { name },
        other => Error::State(other),
    })?;
    let failed = |source| Error::Driver { name: name.to_owned(), source };
    let lease_failed = |source| Error::Lease { name: name.to_owned(), source };
    let driver = store.driver().map_err(failed)?;
    let note = || {
        let noted = store.note_unmount(container.layer());
        noted.map_err(|source| Error::Note { name: name.to_owned(), source })
    };
    if driver.shape() == Shape::Trees {
        note()?;
        note_mount_point(store, &container, None)?;
        // As Buildah with this driver: whether it was mounted or not.
        return Ok(Some(container.id().clone()));
    }
    let mount_point = driver.mount_point(container.layer());
    if !driver::is_mount_point(&mount_point) {
        return Ok(None);
    }
    let arrival = lease::arrive(&store.conf().graph_root, container.layer(), &mount_point).map_err(lease_failed)?;
    driver.unmount(container.layer()).map_err(failed)?;
    if let Arrival::MountedHere { gate, .. } | Arrival::Free(gate) = arrival {
        gate.leave_session().map_err(lease_failed)?;
    }
    note()?;
    note_mount_point(store, &container, None)?;
    Ok(Some(container.id().clone()))
}
