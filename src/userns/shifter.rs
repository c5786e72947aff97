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
use nix::sched::CloneFlags;

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
    let enter = || nix::sched::unshare(CloneFlags::CLONE_NEWUSER);
    while_in(&enter, |process| fill(process, maps))
}

/// The maps of the user namespace that `namespace` is a handle on, with the ids of this process's own outside; `None` if it is this
/// process's own. Refused with EINVAL if this process has threads, with EPERM if the kernel lets this process not enter it (setns(2)).
pub fn maps_of(namespace: BorrowedFd<'_>) -> io::Result<Option<IdMaps>> {
    let (own, there) = (rustix::fs::stat("/proc/self/ns/user")?, rustix::fs::fstat(namespace)?);
    if (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino) {
        return Ok(None);
    }
    let enter = || nix::sched::setns(namespace, CloneFlags::CLONE_NEWUSER);
    let read = |process: i32, name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}"));
    let maps = while_in(&enter, |process| {
        let (uid, gid) = (read(process, "uid_map")?, read(process, "gid_map")?);
        Ok(IdMaps { uid: IdMap::parse_proc(&uid), gid: IdMap::parse_proc(&gid) })
    });
    maps.map(Some)
}

/// Calls `ask` with the number of a child that has entered a user namespace and stays there meanwhile.
fn while_in<T>(enter: &dyn Fn() -> nix::Result<()>, ask: impl FnOnce(i32) -> io::Result<T>) -> io::Result<T> {
    let (mut ready, there) = io::pipe()?;
    let (gate, opened) = io::pipe()?;
    let child = fork_alone(opened.as_fd(), || {
        let refusal = enter().err().map_or(0, |errno| errno as i32);
        let said = (&there).write_all(&refusal.to_ne_bytes()).is_ok();
        // Ends with the other side, too.
        let waited = said && (&gate).read(&mut [0]).is_ok();
        i32::from(!waited)
    })?;
    drop(there);
    let mut refusal = [0; 4];
    let answer = ready.read_exact(&mut refusal).and_then(|()| match i32::from_ne_bytes(refusal) {
        0 => ask(child.as_raw()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    });
    drop(opened);
    nix::sys::wait::waitpid(child, None)?;
    answer
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
