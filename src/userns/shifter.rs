//! Id-mapped mounts: a user namespace that nobody lives in, whose maps a mount is given.
//!
//! ```text
//!  this process              a child
//!  fork ───────────────────▶ unshare(CLONE_NEWUSER); says so; waits
//!  write its uid_map, gid_map; open its /proc/PID/ns/user; let it end
//!  mount_setattr(MOUNT_ATTR_IDMAP) with the descriptor
//! ```
//!
//! Invariant: the namespace is made at the first use, and has the maps that were given, complete or not at all.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use containers_storage::driver::Shift;
use containers_storage::id_map::{IdMap, IdMaps};

use super::enter::unshare_user;
use crate::sys::fork::fork_alone;
use crate::sys::mount_attr::{self, Reach};

/// Gives mounts other owners. A file of the user with the id inside is shown as that of the id outside.
#[derive(Debug)]
pub struct Shifter {
    maps: IdMaps,
    namespace: Mutex<OnceCell<OwnedFd>>,
}

impl Shifter {
    /// With these maps. Does nothing yet.
    pub fn new(maps: IdMaps) -> Self {
        Self { maps, namespace: Mutex::default() }
    }

    /// Changes `mount`, which is attached nowhere and was never changed so before, and as much below it as `reach` says.
    ///
    /// # Errors
    /// What the kernel says, mostly EPERM: only the owner of the file system's own user namespace may (mount_setattr(2)).
    pub fn shift(&self, mount: BorrowedFd<'_>, reach: Reach) -> io::Result<()> {
        let namespace = self.namespace.lock().map_err(|_| io::Error::other("another thread has failed"))?;
        let handle = match namespace.get() {
            Some(handle) => handle,
            None => {
                let made = with_maps(&self.maps)?;
                namespace.get_or_init(|| made)
            }
        };
        mount_attr::set_id_map(mount, reach, handle.as_fd())
    }
}

impl Shift for Shifter {
    fn maps(&self) -> &IdMaps {
        &self.maps
    }

    fn apply(&self, mount: BorrowedFd<'_>) -> io::Result<()> {
        self.shift(mount, Reach::Mount)
    }
}

/// A new user namespace with these maps. Refused with EINVAL if this process has threads.
fn with_maps(maps: &IdMaps) -> io::Result<OwnedFd> {
    let (mut ready, there) = io::pipe()?;
    let (gate, opened) = io::pipe()?;
    let child = fork_alone(opened.as_fd(), || {
        let unshared = unshare_user().is_ok();
        let said = unshared && (&there).write_all(b"u").is_ok();
        // Ends with the other side, too.
        let waited = said && (&gate).read(&mut [0]).is_ok();
        i32::from(!waited)
    })?;
    drop(there);
    let namespace = ready.read_exact(&mut [0]).and_then(|()| fill(child.as_raw(), maps));
    drop(opened);
    nix::sys::wait::waitpid(child, None)?;
    match namespace {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(rustix::io::Errno::PERM.into()),
        other => other,
    }
}

/// Writes the maps of the namespace of `process` and opens it.
fn fill(process: i32, maps: &IdMaps) -> io::Result<OwnedFd> {
    for (name, map) in [("uid_map", &maps.uid), ("gid_map", &maps.gid)] {
        // One write(2) for the whole map: the kernel takes no second one (user_namespaces(7)).
        File::options().write(true).open(format!("/proc/{process}/{name}"))?.write_all(text(map).as_bytes())?;
    }
    Ok(File::open(format!("/proc/{process}/ns/user"))?.into())
}

fn text(map: &IdMap) -> String {
    map.0.iter().map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.size)).collect()
}
