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
mod supervise;
mod targets;
mod terminal;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use oci_spec::runtime::{Process, Spec};
use rustix::mount::MountAttrFlags;
use rustix::pipe::PipeFlags;

use child::Inheritance;
use hand_over::descriptor_channel;
use report::{Kind, Report};

// What the other engines share with this one.
pub(super) use filesystem::{attach, discarding, private_tmpfs};
pub(super) use hand_over::receive_descriptor;
pub(super) use id_maps::of as id_maps_of;
pub(super) use output::{Output, Reader, Streams};
pub(super) use plan::{DEVICES, Plan, PlannedMount, Source, can_mount, plan};
pub(super) use privileges::give;
pub(super) use supervise::{Signals, end_leftovers, watch};
pub(super) use targets::Shape;

use super::etc_files::ExtraFile;
use super::hooks::Runner;
use super::network_program::Service;
use super::{Error, RootChange, Status};
use crate::conf::hooks::Stage;
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
    /// A child of this process that is none of the container's.
    pub guardian: Option<Pid>,
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
            let plan = plan((job.rootfs.as_fd(), job.guards), job.spec, &job.sources, job.files.clone())?;
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
    let (started, service) = start(&job, &plan, process, &signals)?;
    let status = watch(started.pid, &signals, started.console, started.output);
    let spare: Vec<Pid> = service.iter().map(Service::pid).chain(job.guardian).collect();
    if pid_is_shared {
        end_leftovers(&spare);
    }
    status.map_err(|source| {
        supervise::end(started.pid);
        Error::prepare("waiting for the command", source)
    })
}

struct Started {
    pid: Pid,
    console: Option<OwnedFd>,
    output: Streams,
}

/// Forks, sees the child through its set-up, and answers when the command runs.
fn start(job: &Job<'_>, plan: &Plan, process: &Process, signals: &Signals) -> Result<(Started, Option<Service>), Error> {
    let failed = |source: io::Error| Error::prepare("starting a process", source);
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()));
    let (report_read, report_write) = pipe()?;
    let waits = job.network.is_some() || job.hooks.is_some();
    let link = waits.then(descriptor_channel).transpose().map_err(failed)?;
    let (link_outer, link_inner) = link.unzip();
    let console = process.terminal().unwrap_or(false).then(descriptor_channel).transpose().map_err(failed)?;
    let (console_outer, console_inner) = console.unzip();
    let output = match process.terminal() {
        Some(true) => Output::default(),
        _ => {
            let (maps, label) = (id_maps::of(job.spec), super::lsm::pipe_label(job.spec)?);
            let reader = Reader { user: process.user(), maps: &maps, label, has_input: job.input.is_some() };
            Output::for_user(&reader, job.output).map_err(failed)?
        }
    };
    let inheritance = Inheritance {
        plan,
        ground: job.ground,
        spec: job.spec,
        process,
        root_change: job.root_change,
        filter: job.filter.as_deref(),
        scope_abstract_sockets: job.scope_abstract_sockets,
        keep_groups: job.keep_groups,
        input: job.input.as_ref(),
        groups: &job.groups,
        console: console_inner.as_ref(),
        output: &output,
        report: report_write.as_fd(),
        network: link_inner.as_ref(),
        hooks: job.hooks,
    };
    let gate = plan.new.contains(CloneFlags::CLONE_NEWUSER).then(pipe).transpose()?;
    let (gate_read, gate_write) = gate.unzip();
    let pid = in_pid_namespace(plan.pid.as_ref(), || {
        // The process enters a new namespace of control groups when it is in the group that is to be its top.
        joined::fork_into(plan.user.as_ref(), plan.new - CloneFlags::CLONE_NEWCGROUP, || {
            let mapped = gate_read.as_ref().map_or(Ok(()), id_maps::await_maps);
            match mapped.and_then(|()| child::become_container(&inheritance)) {
                Ok(never) => match never {},
                Err(report) => {
                    // Nobody is left to tell if the pipe is broken.
                    let _ = report.send(&mut File::from(report_write.try_clone().unwrap_or_else(|_| std::process::abort())));
                    1
                }
            }
        })
    })
    .map_err(|source| match plan.user {
        Some(_) => Error::JoinUser { source },
        None => failed(source),
    })?;
    drop(report_write);
    drop(gate_read);
    if plan.user.is_some() {
        let checked = joined::check(pid, job.spec);
        let hidden = checked.and_then(|()| if plan.new.contains(CloneFlags::CLONE_NEWPID) { Ok(()) } else { hide() });
        hidden.inspect_err(|_| supervise::end(pid))?;
    }
    if let Some(gate) = gate_write {
        let written = id_maps::write(pid, job.spec, gate);
        // Not before: who hides, hides its children too, and with them the files that the maps are written to.
        let hidden = written.and_then(|()| if plan.new.contains(CloneFlags::CLONE_NEWPID) { Ok(()) } else { hide() });
        hidden.inspect_err(|_| supervise::end(pid))?;
    }
    let mut output = output.into_streams();
    drop(console_inner);
    drop(link_inner);
    let connected = connect(job, pid, plan.new, link_outer);
    let answer = connected.and_then(|service| {
        supervise::await_answer(report_read.as_fd(), signals).map_err(failed)?;
        let console = attend(job, report_read, console_outer)?;
        job.hooks.iter().for_each(|hooks| hooks.started(pid));
        Ok((Started { pid, console, output: std::mem::take(&mut output) }, service))
    });
    if answer.is_err() {
        supervise::end(pid);
    }
    answer
}

/// Connects the child's network namespace, if it is one that has to be, and runs the hooks that want the namespaces.
///
/// The program that serves it finds it through this process, which may hide only after that. The command still waits.
fn connect(job: &Job<'_>, pid: Pid, new: CloneFlags, link: Option<OwnedFd>) -> Result<Option<Service>, Error> {
    let failed = |source: io::Error| Error::prepare("connecting the network", source);
    let Some(link) = link else { return Ok(None) };
    // Without a descriptor the child has failed, and its report says why.
    let Some(namespace) = receive_descriptor(link.as_fd()).map_err(failed)? else { return Ok(None) };
    let service = job.network.map(|serve| serve(namespace)).transpose()?.flatten();
    job.hooks.map(|hooks| hooks.before(pid)).transpose()?;
    if !new.contains(CloneFlags::CLONE_NEWPID) {
        hide()?;
    }
    rustix::io::write(&link, b"r").map_err(|errno| failed(errno.into()))?;
    Ok(service)
}

/// The parent's side of the set-up: the other end of the terminal, if there is one.
fn attend(job: &Job<'_>, report: OwnedFd, console: Option<OwnedFd>) -> Result<Option<OwnedFd>, Error> {
    let failed = |source: io::Error| Error::prepare("starting a process", source);
    if let Some(report) = Report::receive(&mut File::from(report)).map_err(failed)? {
        let process = job.spec.process().as_ref();
        let explained =
            process.filter(|_| report.text.is_empty()).map(|process| command::explain(job.rootfs, process, &report));
        return Err(start_error(explained.unwrap_or(report)));
    }
    Ok(console.map(|socket| receive_descriptor(socket.as_fd())).transpose().map_err(failed)?.flatten())
}

fn start_error(report: Report) -> Error {
    let source = report.source();
    let (name, detail) = match report.text.split_once('\0') {
        Some((name, detail)) => (name.to_string(), detail.to_string()),
        None => (report.text.clone(), String::new()),
    };
    match report.kind {
        Kind::Setup => Error::Start { step: name, source },
        Kind::NotFound => Error::CommandNotFound(name),
        Kind::NotExecutable => Error::NotExecutable { name, source },
        Kind::NoInterpreter => Error::NoInterpreter { name, interpreter: detail },
        Kind::ForeignMachine => Error::ForeignMachine { name, machine: detail },
        Kind::WorkingDirectory => Error::WorkingDirectory { path: PathBuf::from(name), source },
        Kind::Hook => {
            let (stage, words) = detail.split_once('\0').unwrap_or_default();
            let stage = [Stage::CreateContainer, Stage::StartContainer].into_iter().find(|known| known.name() == stage);
            Error::Hook { path: PathBuf::from(name), stage: stage.map_or("", Stage::name), words: words.to_owned() }
        }
    }
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

/// Calls `fork` so that its child is created in the pid namespace `namespace`.
fn in_pid_namespace(namespace: Option<&OwnedFd>, fork: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
    let Some(namespace) = namespace else { return fork() };
    let own = File::open("/proc/self/ns/pid")?;
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWPID)?;
    let pid = fork();
    nix::sched::setns(&own, CloneFlags::CLONE_NEWPID)?;
    pid
}
