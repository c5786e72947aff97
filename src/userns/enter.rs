//! Entering: the one way into a user namespace with the caller's ids, and into a private mount namespace.
//!
//! ```text
//!  this process                         two children, forked before, still outside
//!  unshare(CLONE_NEWUSER)               wait for the gate
//!  open the gate ─────────────────────▶ exec newuidmap PID 0 UID 1 1 START LENGTH …
//!                                       exec newgidmap PID 0 GID 1 1 START LENGTH …      (both at once)
//!  wait for both; become 0:0
//!  unshare(CLONE_NEWNS), cut propagation
//! ```

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;

use caps::{CapSet, Capability};
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use super::current::{self, Ids, State};
use super::error::{Error, Refusal};
use super::maps::{self, Plan, Written};
use crate::sys::fork::fork_alone;

/// Whether the verb's mounts end with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountNamespace {
    /// A new mount namespace, propagation cut off: what is mounted ends with the process.
    Private,
    /// The mount namespace the process is in, if it may mount there: for `mount` inside `unshare`, or by real root. A process
    /// that needs a new user namespace gets a new mount namespace with it all the same.
    Keep,
}

/// How `enter` got where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A new user namespace with the subordinate ids, or with all ids of an ordinary container's root.
    NewFull,
    /// A new user namespace with one id only.
    NewSingle,
    /// The user namespace that the process was in already.
    AlreadyInside,
    /// Real root: no user namespace.
    RealRoot,
}

/// Where the process is after `enter`.
#[derive(Debug)]
pub struct Entered {
    /// How it got there.
    pub how: How,
    /// The ids of the person, as seen outside.
    pub outer: Ids,
    /// What the person should know: one line of standard error each, escaped.
    pub notices: Vec<Notice>,
}

/// Something the person should know, though the work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Only the caller's own id is mapped; why, and what would help.
    SingleId(String),
    /// No user namespace can be entered, and the process is not root; why.
    OneOwner(String),
    /// A subordinate range is also somebody else's; which.
    Overlap(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SingleId(why) => write!(f, "files can have one owner only, since the user namespace has a single id: {why}"),
            Self::OneOwner(why) => write!(f, "files can have one owner only, since no user namespace can be entered: {why}"),
            Self::Overlap(what) => f.write_str(what),
        }
    }
}

/// Makes the process root over the caller's ids, with a mount namespace as asked. Must be called before any thread is started.
/// Called again, it finds the process inside and does what `MountNamespace` says.
///
/// # Errors
/// `Unshare` and `Mounts` where the machine does not allow it, `Subid` for unusable subordinate ids, `Helper` if only one of the
/// two maps could be written. No subordinate ids, or no way to use them, is a notice and not an error.
pub fn enter(mounts: MountNamespace) -> Result<Entered, Error> {
    let outer = current::declared_ids();
    let how = match current::current() {
        State::RealRoot => How::RealRoot,
        State::Inside => How::AlreadyInside,
        State::Outside => return enter_new(outer),
    };
    if mounts == MountNamespace::Private {
        unshare_mounts()?;
    }
    Ok(Entered { how, outer, notices: Vec::new() })
}

fn enter_new(outer: Ids) -> Result<Entered, Error> {
    // Not `outer`: what the new maps say is about the namespace that the process is in now.
    let own = Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let mut notices = Vec::new();
    let written = match maps::plan(own, &mut notices)? {
        Plan::Full(helpers) => helpers.enter(&mut notices)?,
        Plan::Identity => {
            // Since Linux 5.12 nobody maps root who lacks this one. A namespace without ids could not be left again.
            let surely = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETFCAP).unwrap_or(false);
            if !surely && try_as_root() == Trial::NoIds {
                return Err(Error::Ids { what: maps::UID_MAP, source: io::ErrorKind::PermissionDenied.into() });
            }
            maps::enter_with_all_ids(&mut notices)?
        }
        Plan::Single => {
            unshare_user()?;
            Written::Neither
        }
    };
    let how = match written {
        Written::Both => How::NewFull,
        Written::Neither => {
            maps::write_single(own)?;
            How::NewSingle
        }
    };
    become_root()?;
    unshare_mounts()?;
    Ok(Entered { how, outer, notices })
}

/// A mount namespace of the process's own, into which what happens outside propagates and out of which nothing does. Needs
/// CAP_SYS_ADMIN.
pub fn unshare_mounts() -> Result<(), Error> {
    let failed = |source: rustix::io::Errno| Error::Mounts { cause: refusal(source), source: source.into() };
    new_namespace(UnshareFlags::NEWNS).map_err(failed)?;
    // Slave and not private, so that we do not keep busy what the machine unmounts meanwhile.
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(failed)
}

/// What comes of entering as root of an ordinary container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    Fine,
    /// The kernel makes no user namespace.
    NoNamespace,
    /// It makes one into which no id can be mapped.
    NoIds,
}

/// Whether this is root of an ordinary container: without the right to mount, and refused a user namespace that would give it, or
/// the ids for one. Tried in a child, which takes a third of a millisecond; for everybody else the answer takes none.
pub fn is_refused() -> bool {
    rustix::process::geteuid().is_root() && current::current() == State::Outside && try_as_root() != Trial::Fine
}

fn try_as_root() -> Trial {
    const STATUSES: [Trial; 3] = [Trial::Fine, Trial::NoNamespace, Trial::NoIds];
    let input = io::stdin();
    let own = Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let child = fork_alone(input.as_fd(), || {
        let entered = maps::enter_with_all_ids(&mut Vec::new());
        let result = match entered {
            Err(Error::Unshare { .. }) => Trial::NoNamespace,
            Ok(Written::Neither) if maps::write_single(own).is_err() => Trial::NoIds,
            Err(_) => Trial::NoIds,
            Ok(_) => Trial::Fine,
        };
        STATUSES.iter().position(|status| *status == result).map_or(-1, |status| status as i32)
    });
    let ended = child.ok().and_then(|pid| waitpid(pid, None).ok());
    let status = match ended {
        Some(WaitStatus::Exited(_, status)) => usize::try_from(status).ok(),
        _ => None,
    };
    // What could not be tried is found out by doing it.
    status.and_then(|status| STATUSES.get(status).copied()).unwrap_or(Trial::Fine)
}

pub(super) fn unshare_user() -> Result<(), Error> {
    new_namespace(UnshareFlags::NEWUSER).map_err(|source| Error::Unshare { cause: refusal(source), source: source.into() })
}

/// unshare(2). The safe function of nix is the same call; rustix's is deprecated for a flag that is not used here.
fn new_namespace(flags: UnshareFlags) -> Result<(), rustix::io::Errno> {
    let flags = nix::sched::CloneFlags::from_bits_retain(flags.bits().cast_signed());
    nix::sched::unshare(flags).map_err(|errno| rustix::io::Errno::from_raw_os_error(errno as i32))
}

/// All of real, effective and saved ids 0, as the maps make the caller's ids.
pub(super) fn become_root() -> Result<(), Error> {
    let failed = |what| move |errno: nix::Error| Error::Ids { what, source: io::Error::from(errno) };
    let (uid, gid) = (nix::unistd::Uid::from_raw(0), nix::unistd::Gid::from_raw(0));
    nix::unistd::setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(failed("setresuid"))
}

/// Which setting of the machine explains `errno`. Asked only after a refusal: settings are evidence for words, never for a decision.
fn refusal(errno: rustix::io::Errno) -> Refusal {
    let is = |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    match errno {
        rustix::io::Errno::NOSPC if is("/proc/sys/user/max_user_namespaces", "0") => Refusal::Disabled,
        rustix::io::Errno::NOSPC | rustix::io::Errno::USERS => Refusal::Limit,
        // Filters answer with either.
        rustix::io::Errno::NOSYS => Refusal::Sandbox,
        rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => {
            if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
                Refusal::AppArmor
            } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
                Refusal::UnprivilegedClone
            } else {
                Refusal::Sandbox
            }
        }
        _ => Refusal::Unknown,
    }
}
