//! The built-in runtime: executes a runtime specification without another program.
//!
//! ```text
//!   parent: plan (pin sources, verify devices) ─ targets (make mount points) ─ fork ─ report ─ supervise ─ remove mount points
//!   child:                                            filesystem ─ pivot ─ cwd ─ privileges ─ exec
//! ```
//!
//! Invariant: nothing of the host is opened by the child, nothing of the image by the parent except by handle below the root.

mod child;
mod command;
mod copy_up;
mod filesystem;
mod hand_over;
mod id_maps;
mod input;
mod joined;
mod lsm;
mod options;
mod output;
mod plain;
mod plan;
mod privileges;
mod report;
mod start;
mod supervise;
mod targets;
mod terminal;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use rustix::mount::MountAttrFlags;

// What the other engines share with this one.
pub(super) use copy_up::copy_tree;
pub(super) use filesystem::{attach, discarding, private_tmpfs};
pub(super) use hand_over::receive_descriptor;
pub(super) use id_maps::of as id_maps_of;
pub(super) use output::{Output, Reader};
pub(super) use plan::{DEVICES, Plan, PlannedMount, Source, can_mount, plan};
pub(super) use privileges::give;
pub(super) use supervise::{Signals, end_leftovers, watch};
pub(super) use targets::Shape;

use super::etc_files::ExtraFile;
use super::hooks::Runner;
use super::network_program::Service;
use super::ssh::Socket;
use super::{Error, RootChange, Status};
use crate::sys::seccomp::Instruction;

/// What the process stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// A tree of mounts in a namespace of its own.
    Mounts,
    /// The root file system as it lies: nothing can be mounted here. The specification's mounts and namespaces are not made.
    Directory,
}

/// A specification and what it cannot carry.
pub(super) struct Job<'a> {
    pub ground: Ground,
    /// The root file system, attached in the caller's mount namespace.
    pub rootfs: &'a Root,
    pub spec: &'a Spec,
    /// Sources of binds that were found below a directory handle, by target.
    pub sources: Vec<(PathBuf, OwnedFd)>,
    pub files: Vec<ExtraFile>,
    pub sockets: Vec<Socket>,
    pub filter: Option<Vec<Instruction>>,
    pub root_change: RootChange,
    /// `Request::guards`
    pub guards: MountAttrFlags,
    pub scope_abstract_sockets: bool,
    pub keep_groups: bool,
    /// Standard input, where it is not the caller's.
    pub input: Option<OwnedFd>,
    /// Where standard output and error lead.
    pub output: [BorrowedFd<'a>; 2],
    /// Files through which the process joins its control groups.
    pub groups: Vec<OwnedFd>,
    /// Children of this process that are none of the container's.
    pub servants: Vec<Pid>,
    /// Run around the command.
    pub hooks: Option<&'a Runner<'a>>,
    /// Connects the network namespace that it is given; what it answers with ends the service when dropped.
    pub network: Option<&'a dyn Fn(OwnedFd) -> Result<Option<Service>, Error>>,
}

/// Mount points that were made in the root file system.
#[derive(Debug, Default)]
pub(super) struct Placeholders {
    made: Vec<targets::Placeholder>,
    /// Files that were empty and have been given content for the time of the run.
    lent: Vec<OwnedFd>,
}

impl Placeholders {
    /// Takes content back that was lent, and removes what is still what was made, and empty.
    pub(super) fn remove(self) {
        self.lent.iter().for_each(|file| targets::empty(file.as_fd()));
        targets::remove(self.made);
    }

    /// Gives `file` to the container for the time of the run, where no mount can: in its own place, if there is none or an empty one.
    pub(super) fn lend(&mut self, rootfs: &Root, file: &ExtraFile) -> io::Result<()> {
        let handle = targets::find_or_make(rootfs.as_fd(), &file.target, Shape::File, &mut self.made)?;
        if targets::fill(handle.as_fd(), &file.content, file.place.mode)? {
            self.lent.push(handle);
        }
        Ok(())
    }

    /// Makes the device node `name` in `/dev` where it is missing.
    pub(super) fn lend_device(&mut self, rootfs: &Root, name: &str, number: (u32, u32)) -> io::Result<()> {
        let dev = targets::find_or_make(rootfs.as_fd(), Path::new("/dev"), Shape::Directory, &mut self.made)?;
        let file = targets::make_node(dev.as_fd(), name.as_ref(), number, &mut self.made)?;
        if file.is_some() {
            log::warn!(
                "device nodes can neither be made nor bound here: /dev/{name} is a file, which keeps what is written to it until the command ends"
            );
        }
        self.lent.extend(file);
        Ok(())
    }
}

/// Runs the specification and waits for its end.
pub(super) fn execute(job: Job<'_>, made: &mut Placeholders) -> Result<Status, Error> {
    let Some(process) = job.spec.process() else { return Err(Error::Request("the specification has no process".into())) };
    let plan = match job.ground {
        Ground::Mounts => {
            let (files, sockets) = (job.files.clone(), job.sockets.clone());
            let plan = plan((job.rootfs.as_fd(), job.guards), job.spec, &job.sources, files, sockets)?;
            refuse_links(job.rootfs, &plan)?;
            make_targets(job.rootfs, &plan, made)?;
            plan
        }
        Ground::Directory => plan::bare(job.rootfs.as_fd())?,
    };
    let signals = Signals::block().map_err(|source| Error::prepare("signals", source))?;
    let pid_is_shared = !plan.new.contains(CloneFlags::CLONE_NEWPID);
    if pid_is_shared {
        adopt_orphans()?;
        if job.network.is_none() && !plan.new.contains(CloneFlags::CLONE_NEWUSER) && plan.user.is_none() {
            hide()?;
        }
    }
    let (started, service) = start::start(&job, &plan, process, &signals)?;
    let status = watch(started.pid, &signals, started.console, started.output);
    let spare: Vec<Pid> = service.iter().map(Service::pid).chain(job.servants.iter().copied()).collect();
    if pid_is_shared {
        end_leftovers(&spare);
    }
    status.map_err(|source| {
        supervise::end(started.pid);
        Error::prepare("waiting for the command", source)
    })
}

/// Where the kernel's own trees go must not be a link: masks and parameters would land beside them (CVE-2019-19921).
pub(super) fn refuse_links(rootfs: &Root, plan: &Plan) -> Result<(), Error> {
    for name in ["/proc", "/sys", "/dev"] {
        let mounted = plan.mounts.iter().any(|mount| mount.target == Path::new(name));
        let stat = rootfs.symlink_metadata(Path::new(name));
        let link = stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink);
        if mounted && link {
            return Err(Error::Request(format!("{name} of the image is a link; nothing can be mounted there")));
        }
    }
    Ok(())
}

/// Makes the mount points that lie in the root file system itself; those in other mounts are the child's.
pub(super) fn make_targets(rootfs: &Root, plan: &Plan, made: &mut Placeholders) -> Result<(), Error> {
    for (index, mount) in plan.mounts.iter().enumerate() {
        let below = |other: &plan::PlannedMount| mount.target.starts_with(&other.target);
        if plan.mounts.iter().take(index).any(below) {
            continue;
        }
        targets::find_or_make(rootfs.as_fd(), &mount.target, mount.shape, &mut made.made)
            .map_err(|source| Error::prepare(format!("the mount point {:?}", mount.target), source))?;
    }
    Ok(())
}

/// Without a pid namespace the command sees this process: it must not attach to it (CVE-2016-9962).
fn hide() -> Result<(), Error> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|errno| Error::prepare("hiding from the container", errno.into()))
}

/// Without a pid namespace what the command leaves behind must come to us.
pub(super) fn adopt_orphans() -> Result<(), Error> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| Error::prepare("adopting orphans", errno.into()))
}
