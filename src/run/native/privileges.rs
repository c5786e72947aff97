//! Ids, groups, capabilities, limits: what the process may do from here on.
//!
//! Invariant: inheritable and ambient sets are empty (CVE-2022-24769); a group that cannot be dropped is an error, except where
//! the kernel forbids `setgroups` altogether because one id only is mapped (user_namespaces(7)).

use std::io;
use std::os::fd::BorrowedFd;

use caps::CapSet;
use caps::errors::CapsError;
use nix::unistd::{Gid, Uid};
use oci_spec::runtime::{LinuxCapabilities, Process};
use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::report::{Kind, Report};
use crate::run::capabilities::Set;
use crate::sys;
use crate::sys::seccomp::Instruction;

/// The end state.
pub(super) struct Privileges {
    uid: u32,
    gid: u32,
    /// `None` keeps the caller's.
    groups: Option<Vec<Gid>>,
    choice: Groups,
    bounding: Set,
    held: Set,
    no_new_privileges: bool,
}

/// Which supplementary groups the process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Groups {
    /// Those of its user.
    OfUser,
    /// Those of its user; where this user namespace forbids it (user_namespaces(7)), the caller's.
    OfUserIfAllowed,
    /// The caller's.
    Kept,
}

/// Whether this user namespace forbids `setgroups` (user_namespaces(7)); asked while `/proc` is the machine's.
pub(super) fn groups_to_set() -> Groups {
    let denied = std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"));
    if denied { Groups::OfUserIfAllowed } else { Groups::OfUser }
}

impl Privileges {
    pub(super) fn of(process: &Process, choice: Groups) -> Self {
        let user = process.user();
        let groups = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect();
        let capabilities = process.capabilities().as_ref();
        let set = |pick: fn(&LinuxCapabilities) -> Option<&oci_spec::runtime::Capabilities>| {
            capabilities.and_then(pick).map_or(Set::EMPTY, Set::from_spec)
        };
        Self {
            uid: user.uid(),
            gid: user.gid(),
            groups: (choice != Groups::Kept).then_some(groups),
            choice,
            bounding: set(|sets| sets.bounding().as_ref()),
            held: set(|sets| sets.effective().as_ref()),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
        }
    }

    /// Takes everything else away. The filter comes before the capabilities go, since installing it needs CAP_SYS_ADMIN where
    /// `no_new_privs` is not asked for. `bind` is called before it, when the ids are the command's.
    pub(super) fn shrink(&self, filter: Option<&[Instruction]>, bind: &dyn Fn() -> Result<(), Report>) -> Result<(), Report> {
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).map_err(Report::step("setting no_new_privs"))?;
        }
        let may_shrink = caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP).unwrap_or(false);
        // Without CAP_SETPCAP (a container that was left without it) no_new_privs alone keeps what is not held out of reach.
        if may_shrink || !self.no_new_privileges {
            shrink_bounding(self.bounding)?;
        }
        // Ids change below: without this the capabilities would go before the filter is in.
        rustix::thread::set_keep_capabilities(true).map_err(Report::step("keeping capabilities"))?;
        self.set_ids()?;
        bind()?;
        let everything = capabilities_now()?;
        set_capabilities(everything, everything)?;
        if let Some(filter) = filter {
            sys::seccomp::install(filter, 0).map_err(Report::step("installing the system call filter"))?;
        }
        rustix::thread::clear_ambient_capability_set().map_err(Report::step("clearing the ambient capabilities"))?;
        let held = CapabilitySet::from_bits_retain(self.held.0);
        set_capabilities(held, held)?;
        rustix::thread::set_keep_capabilities(false).map_err(Report::step("giving up capabilities"))
    }

    fn set_ids(&self) -> Result<(), Report> {
        if let Some(groups) = &self.groups {
            match nix::unistd::setgroups(groups) {
                Err(nix::errno::Errno::EPERM) if self.choice == Groups::OfUserIfAllowed => {}
                other => other.map_err(Report::step("setting the supplementary groups"))?,
            }
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let failed = |what: &str, id: u32| {
            let text = format!("becoming {what} {id} (is it among the ids of this user namespace?)");
            move |error: nix::errno::Errno| Report::new(Kind::Setup, error, text)
        };
        nix::unistd::setresgid(gid, gid, gid).map_err(failed("group", self.gid))?;
        nix::unistd::setresuid(uid, uid, uid).map_err(failed("user", self.uid))
    }
}

/// A capability that the running kernel does not know is in no set, and needs no dropping.
fn shrink_bounding(keep: Set) -> Result<(), Report> {
    let failed = |error: CapsError| Report {
        kind: Kind::Setup,
        errno: libc::EPERM,
        text: format!("shrinking the capability bounding set ({error})"),
    };
    for capability in caps::all() {
        let kept = keep.0 & capability.bitmask() != 0;
        if !kept && caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false) {
            caps::drop(None, CapSet::Bounding, capability).map_err(failed)?;
        }
    }
    Ok(())
}

fn capabilities_now() -> Result<CapabilitySet, Report> {
    Ok(rustix::thread::capabilities(None).map_err(Report::step("reading the capabilities"))?.permitted)
}

fn set_capabilities(effective: CapabilitySet, permitted: CapabilitySet) -> Result<(), Report> {
    let sets = CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(Report::step("setting the capabilities"))
}

/// Sets the resource limits.
pub(super) fn set_limits(process: &Process) -> Result<(), Report> {
    use nix::sys::resource::{Resource, setrlimit};
    use oci_spec::runtime::PosixRlimitType as Type;
    for limit in process.rlimits().iter().flatten() {
        let resource = match limit.typ() {
            Type::RlimitCpu => Resource::RLIMIT_CPU,
            Type::RlimitFsize => Resource::RLIMIT_FSIZE,
            Type::RlimitData => Resource::RLIMIT_DATA,
            Type::RlimitStack => Resource::RLIMIT_STACK,
            Type::RlimitCore => Resource::RLIMIT_CORE,
            Type::RlimitRss => Resource::RLIMIT_RSS,
            Type::RlimitNproc => Resource::RLIMIT_NPROC,
            Type::RlimitNofile => Resource::RLIMIT_NOFILE,
            Type::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
            Type::RlimitAs => Resource::RLIMIT_AS,
            Type::RlimitLocks => Resource::RLIMIT_LOCKS,
            Type::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
            Type::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
            Type::RlimitNice => Resource::RLIMIT_NICE,
            Type::RlimitRtprio => Resource::RLIMIT_RTPRIO,
            Type::RlimitRttime => Resource::RLIMIT_RTTIME,
        };
        setrlimit(resource, limit.soft(), limit.hard())
            .map_err(|error| Report::new(Kind::Setup, error, format!("setting \"{}\" limit", limit.typ())))?;
    }
    Ok(())
}

/// Gives a directory that was made 0700 its owner, then its mode.
pub(in crate::run) fn give(handle: BorrowedFd<'_>, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
    let owner = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(handle, "", Some(owner.0), Some(owner.1), rustix::fs::AtFlags::EMPTY_PATH)?;
    // A bare handle takes no fchmod; the directory is reopened by that very handle.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::openat(handle, ".", flags, Mode::empty())?;
    Ok(rustix::fs::fchmod(&opened, Mode::from_raw_mode(mode))?)
}
