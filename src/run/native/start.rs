//! From a plan to a running command: the fork, what parent and child tell each other on the way, and the answer.
//!
//! ```text
//! parent   ends ─ fork ─ maps of ids or their check ─ network, hooks ─ await the report ─ terminal
//! child           await the maps ─ child::become_container ────────────────▶ exec, or a report of what failed
//! ```
//!
//! Invariant: whatever fails, the child is ended and no descriptor of it stays open here.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::CloneFlags;
use nix::unistd::Pid;
use oci_spec::runtime::Process;
use rustix::pipe::PipeFlags;

use super::child::{self, Inheritance};
use super::hand_over::{descriptor_channel, receive_descriptor};
use super::output::{Output, Reader, Streams};
use super::plan::Plan;
use super::report::{self, Kind, Report};
use super::supervise::{self, Signals};
use super::{Job, command, hide, id_maps, joined};
use crate::conf::hooks::Stage;
use crate::run::network_program::Service;
use crate::run::{Error, lsm};

/// A command that runs.
pub(super) struct Started {
    pub pid: Pid,
    pub console: Option<OwnedFd>,
    pub output: Streams,
}

/// This process's ends of what leads to the child.
struct Outer {
    report: OwnedFd,
    /// Brings the network namespace, and takes the word that it is connected.
    link: Option<OwnedFd>,
    /// Brings the terminal.
    console: Option<OwnedFd>,
    /// Takes the word that the maps of ids are written.
    gate: Option<OwnedFd>,
}

impl Outer {
    fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        [Some(&self.report), self.link.as_ref(), self.console.as_ref(), self.gate.as_ref()].into_iter().flatten()
    }
}

/// The child's ends.
struct Inner {
    report: OwnedFd,
    link: Option<OwnedFd>,
    console: Option<OwnedFd>,
    gate: Option<OwnedFd>,
}

/// Forks, sees the child through its set-up, and answers when the command runs.
pub(super) fn start(
    job: &Job<'_>,
    plan: &Plan,
    process: &Process,
    signals: &Signals,
) -> Result<(Started, Option<Service>), Error> {
    let (outer, inner) = ends(job, plan, process)?;
    let output = output_for(job, process)?;
    // Its ends are the child's alone from now on: a pipe ends when the child does.
    let pid = fork(job, plan, process, (inner, &outer), &output)?;
    let output = output.into_streams();
    map_ids(job, plan, pid, outer.gate).inspect_err(|_| supervise::end(pid))?;
    let run = || {
        let service = connect(job, pid, plan.new, outer.link)?;
        supervise::await_answer(outer.report.as_fd(), signals).map_err(failed)?;
        let console = attend(job, outer.report, outer.console)?;
        job.hooks.iter().for_each(|hooks| hooks.started(pid));
        Ok((Started { pid, console, output }, service))
    };
    run().inspect_err(|_| supervise::end(pid))
}

fn failed(source: io::Error) -> Error {
    Error::prepare("starting a process", source)
}

fn ends(job: &Job<'_>, plan: &Plan, process: &Process) -> Result<(Outer, Inner), Error> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()));
    let channel = |wanted: bool| wanted.then(descriptor_channel).transpose().map(Option::unzip).map_err(failed);
    let (report, inner_report) = pipe()?;
    let (link, inner_link) = channel(job.network.is_some() || job.hooks.is_some())?;
    let (console, inner_console) = channel(process.terminal().unwrap_or(false))?;
    let (inner_gate, gate) = plan.new.contains(CloneFlags::CLONE_NEWUSER).then(pipe).transpose()?.unzip();
    let inner = Inner { report: inner_report, link: inner_link, console: inner_console, gate: inner_gate };
    Ok((Outer { report, link, console, gate }, inner))
}

/// What stands for the caller's output; with a terminal, nothing.
fn output_for(job: &Job<'_>, process: &Process) -> Result<Output, Error> {
    if process.terminal() == Some(true) {
        return Ok(Output::default());
    }
    let (maps, label) = (id_maps::of(job.spec), lsm::pipe_label(job.spec)?);
    let reader = Reader { user: process.user(), maps: &maps, label, has_input: job.input.is_some() };
    Output::for_user(&reader, job.output).map_err(failed)
}

fn fork(job: &Job<'_>, plan: &Plan, process: &Process, (inner, outer): (Inner, &Outer), output: &Output) -> Result<Pid, Error> {
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
        console: inner.console.as_ref(),
        output,
        report: inner.report.as_fd(),
        network: inner.link.as_ref(),
        hooks: job.hooks,
    };
    // With them open in the child, too, nothing that it waits for would ever say that this process has ended.
    let unneeded: Vec<_> = outer.descriptors().map(AsFd::as_fd).collect();
    let forked = in_pid_namespace(plan.pid.as_ref(), || {
        // The process enters a new namespace of control groups when it is in the group that is to be its top.
        joined::fork_into(plan.user.as_ref(), plan.new - CloneFlags::CLONE_NEWCGROUP, &unneeded, || {
            let mapped = inner.gate.as_ref().map_or(Ok(()), id_maps::await_maps);
            match mapped.and_then(|()| child::become_container(&inheritance)) {
                Ok(never) => match never {},
                Err(report) => {
                    // Nobody is left to tell if the pipe is broken. Not by a copy of the descriptor: the limit of them may be reached.
                    let _ = report.send(&mut report::Pipe(inner.report.as_fd()));
                    1
                }
            }
        })
    });
    forked.map_err(|source| match plan.user {
        Some(_) => Error::JoinUser { source },
        None => failed(source),
    })
}

/// Writes the maps of the child's own user namespace, or checks those of the one that it was made in; and hides from it where it sees us.
fn map_ids(job: &Job<'_>, plan: &Plan, pid: Pid, gate: Option<OwnedFd>) -> Result<(), Error> {
    if plan.user.is_none() && gate.is_none() {
        return Ok(());
    }
    if plan.user.is_some() {
        joined::check(pid, job.spec)?;
    }
    if let Some(gate) = gate {
        id_maps::write(pid, job.spec, gate)?;
    }
    // Not before: who hides, hides its children too, and with them the files that the maps are written to.
    if plan.new.contains(CloneFlags::CLONE_NEWPID) { Ok(()) } else { hide() }
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

/// Calls `fork` so that its child is created in the pid namespace `namespace`.
fn in_pid_namespace(namespace: Option<&OwnedFd>, fork: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
    let Some(namespace) = namespace else { return fork() };
    let own = File::open("/proc/self/ns/pid")?;
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWPID)?;
    let pid = fork();
    nix::sched::setns(&own, CloneFlags::CLONE_NEWPID)?;
    pid
}
