//! A user namespace that is there already: a helper enters it, and from inside creates the new process as this process's own child, whose
//! other namespaces belong to it.
//!
//! Invariant: the new process is root of the namespace before it does anything else, and the namespace has the ids that own the container's
//! files, or nothing is run.

use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use containers_storage::id_map::IdMap;
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Pid, Uid};
use oci_spec::runtime::Spec;

use super::id_maps;
use crate::run::Error;
use crate::sys::fork;

/// As `sys::fork::fork_into`, in the user namespace `user` if there is one.
pub(super) fn fork_into(
    user: Option<&OwnedFd>,
    new: CloneFlags,
    unneeded: &[BorrowedFd<'_>],
    child: impl FnOnce() -> i32,
) -> io::Result<Pid> {
    let Some(user) = user else { return fork::fork_into(new, unneeded, child) };
    let (mut answer, there) = io::pipe()?;
    let helper = fork::fork_into(CloneFlags::empty(), &[], || {
        let made = enter(user).and_then(|()| fork::fork_sibling(new, unneeded, child));
        // A number of a process is positive, a refusal is not.
        let word = made.map_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO), Pid::as_raw);
        i32::from((&there).write_all(&word.to_ne_bytes()).is_err())
    })?;
    drop(there);
    let mut word = [0; 4];
    let read = answer.read_exact(&mut word);
    nix::sys::wait::waitpid(helper, None)?;
    read?;
    match i32::from_ne_bytes(word) {
        pid @ 1.. => Ok(Pid::from_raw(pid)),
        refusal => Err(io::Error::from_raw_os_error(-refusal)),
    }
}

/// Enters the namespace and becomes root there.
fn enter(user: &OwnedFd) -> io::Result<()> {
    nix::sched::setns(user, CloneFlags::CLONE_NEWUSER)?;
    nix::unistd::setgroups(&[])?;
    let root = (Gid::from_raw(0), Uid::from_raw(0));
    nix::unistd::setresgid(root.0, root.0, root.0)?;
    Ok(nix::unistd::setresuid(root.1, root.1, root.1)?)
}

/// Refuses a namespace that has other ids than the container: it may have been replaced since `from`.
pub(super) fn check(pid: Pid, spec: &Spec) -> Result<(), Error> {
    let wanted = id_maps::of(spec);
    for (name, map) in [("uid_map", &wanted.uid), ("gid_map", &wanted.gid)] {
        let path = format!("/proc/{pid}/{name}");
        let text =
            std::fs::read_to_string(&path).map_err(|source| Error::prepare(format!("the map of ids {path:?}"), source))?;
        if IdMap::parse_proc(&text) != *map {
            return Err(Error::OtherIds);
        }
    }
    Ok(())
}
