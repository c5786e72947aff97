//! Each stage in a process of its own, several at the same time where nothing keeps them apart.
//!
//! ```text
//! this process ── fork ─▶ stage: enters namespaces, builds ── events, outcome ─▶ this process tells, starts what is ready now
//!       │                        └ output of RUN ───────────▶ line by line, where stages run side by side or the caller follows it;
//!       │                                                     else where ours goes
//!       └ SIGINT, SIGTERM, a stage that failed: the others are ended, their containers removed
//!         SIGKILL: the kernel ends the others, and with them what they run (PR_SET_PDEATHSIG); `remains` has their containers removed
//! ```
//!
//! Invariant: this process enters no namespace while stages are built, and has no thread; of a process that ended, however it did, no
//! container is left but one that is to be kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use containers_storage::ContainerId;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::pipe::PipeFlags;

use super::error::{Error, StepError};
use super::event::{Event, OutputStream, Tell};
use super::options::{Following, Leftovers};
use super::plan::Base;
use super::stage::{Build, Built, Progress, Tree};
use super::wire::{self, Message, Report};
use crate::container::remove;
use crate::run::Streams;
use crate::run::streams::Output;
use crate::sys::fork::fork_alone;

/// Signals that end a build.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
/// How long a stage that is told to end may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing happens before that is told to whoever wants to know.
const IDLE: u16 = 250;
/// How much of a line of output is kept together.
const LINE: usize = 64 << 10;

/// A stage that is being built.
struct Worker {
    index: usize,
    pid: Pid,
    messages: File,
    answers: File,
    outputs: Vec<Lines>,
    /// Those that it made, the newest last; some may be gone.
    containers: Vec<ContainerId>,
    outcome: Option<Result<Said, Error>>,
}

/// The last word of a worker.
enum Said {
    Built(Box<Report>),
    Lacks(Vec<usize>),
}

/// The output of commands, line by line.
struct Lines {
    from: File,
    stream: OutputStream,
    rest: Vec<u8>,
    is_open: bool,
}

/// All workers of a build.
pub(super) struct Workers<'b, 'h> {
    build: &'b Build<'h>,
    signals: SignalFd,
    before: SigSet,
    running: Vec<Worker>,
    /// Whether output comes here line by line: more than one can run, so that it has to be told apart, or the caller follows it.
    is_told: bool,
    said: Vec<String>,
    /// What stages need that the plan did not know of, by the number of each: they began once already.
    lacked: BTreeMap<usize, BTreeSet<usize>>,
}

/// What came of waiting.
enum Woken {
    Stage(usize, Result<Said, Error>),
    Signal(Signal),
}

fn failed(action: &str) -> impl FnOnce(io::Error) -> Error {
    let action = action.to_owned();
    move |source| Error::Commit(Box::new(StepError::Io { action, source }))
}

/// Builds all stages that are needed. Answers with all of them, also after a failure: what they left has to be taken away.
pub(super) fn build_all<'h>(build: &Build<'h>, tell: Tell<'_>) -> (Vec<Option<Built<'h>>>, Result<(), Error>) {
    let mut done: Vec<Option<Built<'h>>> = vec![None; build.plan.stages.len()];
    let side_by_side = build.options.selection.jobs != 1 && !build.plan.is_chain();
    let is_told = side_by_side || build.options.following != Following::Steps;
    let outcome = Workers::new(build, is_told).and_then(|mut workers| {
        let all = workers.all(&mut done, tell);
        if all.is_err() {
            workers.end(tell);
        }
        all
    });
    (done, outcome)
}

impl<'b, 'h> Workers<'b, 'h> {
    fn new(build: &'b Build<'h>, is_told: bool) -> Result<Self, Error> {
        let mut set = SigSet::empty();
        ENDING.iter().for_each(|signal| set.add(*signal));
        let block = || -> io::Result<(SignalFd, SigSet)> {
            let before = SigSet::thread_get_mask()?;
            set.thread_block()?;
            Ok((SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?, before))
        };
        let (signals, before) = block().map_err(failed("watching for signals"))?;
        Ok(Self { build, signals, before, running: Vec::new(), is_told, said: Vec::new(), lacked: BTreeMap::new() })
    }

    fn all(&mut self, done: &mut [Option<Built<'h>>], tell: Tell<'_>) -> Result<(), Error> {
        let mut waiting: VecDeque<usize> = self.build.plan.needed().collect();
        let most = match self.build.options.selection.jobs {
            // Stages that only now turn out to be needed must not mix their output.
            _ if !self.is_told => 1,
            0 => usize::MAX,
            jobs => jobs,
        };
        while !waiting.is_empty() || !self.running.is_empty() {
            let is_ready = |index: &usize| {
                let needs = self.build.plan.stages[*index].needs.iter().chain(self.lacked.get(index).into_iter().flatten());
                needs.into_iter().all(|need| done[*need].is_some())
            };
            let next = if self.running.len() < most { waiting.iter().position(is_ready) } else { None };
            if let Some(index) = next.and_then(|at| waiting.remove(at)) {
                self.start(index, done)?;
                continue;
            }
            match self.wait(tell)? {
                Woken::Signal(signal) => return Err(Error::Interrupted(signal as i32)),
                Woken::Stage(index, said) => match said? {
                    Said::Built(report) => {
                        let built = report.into_built(self.build).map_err(|source| Error::Commit(Box::new(source)))?;
                        done[index] = Some(built);
                    }
                    Said::Lacks(stages) => {
                        for stage in self.lacking(index, &stages, done)? {
                            if !waiting.contains(&stage) {
                                waiting.push_back(stage);
                            }
                        }
                        waiting.push_back(index);
                    }
                },
            }
        }
        Ok(())
    }

    /// The stages that have to be built besides, since `index` lacks `stages`.
    fn lacking(&mut self, index: usize, stages: &[usize], done: &[Option<Built<'h>>]) -> Result<BTreeSet<usize>, Error> {
        self.lacked.entry(index).or_default().extend(stages);
        let mut all = BTreeSet::new();
        stages.iter().for_each(|stage| all.extend(self.build.plan.with_needs(*stage)));
        for stage in &all {
            let Base::Stage(base) = self.build.plan.stages[*stage].base else { continue };
            let is_container = matches!(done[base].as_ref().map(|built| &built.tree), Some(Tree::Container(_)));
            if is_container || self.running.iter().any(|worker| worker.index == base) {
                return Err(Error::LateBase { stage: stage + 1, base: base + 1 });
            }
            self.build.more_bases.borrow_mut().insert(base);
        }
        let is_running = |stage: &usize| self.running.iter().any(|worker| worker.index == *stage);
        all.retain(|stage| done[*stage].is_none() && !is_running(stage));
        Ok(all)
    }

    fn start(&mut self, index: usize, done: &[Option<Built<'h>>]) -> Result<(), Error> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
        let open = || -> io::Result<_> { Ok((pipe()?, pipe()?, pipe()?, pipe()?)) };
        let (messages, answers, stdout, stderr) = open().map_err(failed("opening pipes"))?;
        let streams = self.is_told.then(|| Output::To { stdout: Arc::new(stdout.1), stderr: Arc::new(stderr.1) });
        let (build, before) = (self.build, self.before);
        let (mut to, mut heard) = (File::from(messages.1), File::from(answers.0));
        let parent = nix::unistd::getpid();
        let pid = fork_alone(messages.0.as_fd(), || {
            if before.thread_set_mask().is_err() || end_with(parent).is_err() {
                return 1;
            }
            if let Some(output) = &streams {
                let input = build.streams.borrow().input.clone();
                build.streams.replace(Streams { input, output: output.clone() });
            }
            work(build, index, done, (&mut to, &mut heard))
        });
        let pid = pid.map_err(failed("starting a process for a stage"))?;
        let lines = |from: OwnedFd, stream| Lines { from: from.into(), stream, rest: Vec::new(), is_open: true };
        let outputs = match self.is_told {
            true => vec![lines(stdout.0, OutputStream::Stdout), lines(stderr.0, OutputStream::Stderr)],
            false => Vec::new(),
        };
        self.running.push(Worker {
            index,
            pid,
            messages: messages.0.into(),
            answers: answers.1.into(),
            outputs,
            containers: Vec::new(),
            outcome: None,
        });
        Ok(())
    }

    /// Waits until a stage has ended, or a signal arrives; tells what happens meanwhile.
    fn wait(&mut self, tell: Tell<'_>) -> Result<Woken, Error> {
        let is_live = self.build.options.following == Following::Live;
        let patience = if is_live { PollTimeout::from(IDLE) } else { PollTimeout::NONE };
        loop {
            let ready = self.poll(patience).map_err(failed("waiting for stages"))?;
            if is_live && !ready.contains(&true) {
                tell(Event::Idle);
            }
            if let Some(info) = self.signals.read_signal().map_err(|errno| failed("reading a signal")(errno.into()))? {
                let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
                return Ok(Woken::Signal(signal.unwrap_or(Signal::SIGTERM)));
            }
            for at in (0..self.running.len()).rev() {
                if ready.get(at).copied().unwrap_or(false)
                    && let Some(outcome) = self.hear(at, tell)?
                {
                    let worker = self.running.remove(at);
                    tell(Event::StageEnded { stage: self.build.place(worker.index), is_built: outcome.is_ok() });
                    return Ok(Woken::Stage(worker.index, outcome));
                }
            }
        }
    }

    /// Which workers have something to say.
    fn poll(&self, timeout: PollTimeout) -> io::Result<Vec<bool>> {
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut whose = Vec::new();
        for (at, worker) in self.running.iter().enumerate() {
            let outputs = worker.outputs.iter().filter(|lines| lines.is_open).map(|lines| lines.from.as_fd());
            for fd in std::iter::once(worker.messages.as_fd()).chain(outputs) {
                polled.push(PollFd::new(fd, PollFlags::POLLIN));
                whose.push(at);
            }
        }
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = vec![false; self.running.len()];
        for (fd, at) in polled.iter().skip(1).zip(whose) {
            ready[at] |= fd.any().unwrap_or(false);
        }
        Ok(ready)
    }

    /// Hears one worker: its output first, which is older than what it says next. Answers with the outcome when it has ended.
    fn hear(&mut self, at: usize, tell: Tell<'_>) -> Result<Option<Result<Said, Error>>, Error> {
        let place = self.running.get(at).map(|worker| self.build.place(worker.index));
        let (Some(worker), Some(place)) = (self.running.get_mut(at), place) else { return Ok(None) };
        for lines in &mut worker.outputs {
            let stream = lines.stream;
            lines.read(&mut |line| tell(Event::Output { stage: place, stream, line })).map_err(failed("reading output"))?;
        }
        if !has_message(&worker.messages).map_err(failed("waiting for a stage"))? {
            return Ok(None);
        }
        match wire::receive(&mut worker.messages).map_err(failed("listening to a stage"))? {
            Some(Message::Event(event)) => {
                match event {
                    Event::ContainerMade(id) => {
                        worker.containers.extend(id.parse());
                        if let Some(remains) = &self.build.remains {
                            remains.watch(self.build.store);
                        }
                    }
                    Event::ContainerGone => worker.containers.clear(),
                    // It has been told when the stage began for the first time.
                    Event::Step { number: 1, .. } if self.lacked.contains_key(&worker.index) => {}
                    // Each process finds out for itself what the machine lacks.
                    Event::Notice(text) if self.said.contains(&text) => {}
                    event => {
                        if let Event::Notice(text) = &event {
                            self.said.push(text.clone());
                        }
                        tell(event);
                    }
                }
                wire::answer(&mut worker.answers);
                Ok(None)
            }
            Some(Message::Built(report)) => {
                worker.containers.clear();
                worker.outcome = Some(Ok(Said::Built(report)));
                Ok(None)
            }
            Some(Message::Lacks(stages)) => {
                worker.outcome = Some(Ok(Said::Lacks(stages)));
                Ok(None)
            }
            Some(Message::Failed(error)) => {
                worker.containers.clear();
                let cause = error.errno.map(io::Error::from_raw_os_error);
                worker.outcome = Some(Err(Error::Remote { error, cause }));
                Ok(None)
            }
            None => Ok(Some(self.ended(at, tell))),
        }
    }

    /// A worker has said its last word.
    fn ended(&mut self, at: usize, tell: Tell<'_>) -> Result<Said, Error> {
        let Some(worker) = self.running.get_mut(at) else {
            return Err(Error::Process { stage: 0, how: "unknown".to_owned() });
        };
        let how = match waitpid(worker.pid, None) {
            Ok(WaitStatus::Exited(_, status)) => format!("with status {status}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("by {signal}"),
            Ok(_) | Err(_) => "for an unknown reason".to_owned(),
        };
        let (stage, outcome) = (worker.index + 1, worker.outcome.take());
        let containers = std::mem::take(&mut worker.containers);
        let keeps = self.build.options.layering.containers == Leftovers::KeepFailed;
        let kept = containers.last().filter(|id| keeps && self.build.store.containers().is_ok_and(|all| all.get(id).is_ok()));
        if let Some(id) = kept {
            tell(Event::Notice(format!("the container {} is kept as it was left", id.short())));
        }
        for id in containers.iter().rev().filter(|id| kept != Some(id)) {
            remove_left(self.build, id, tell);
        }
        outcome.unwrap_or(Err(Error::Process { stage, how }))
    }

    /// Ends all that are left.
    fn end(&mut self, tell: Tell<'_>) {
        for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, PATIENCE)] {
            for worker in &self.running {
                // One that has ended needs no signal.
                let _ = kill(worker.pid, signal);
            }
            let deadline = Instant::now() + patience;
            while !self.running.is_empty() && Instant::now() < deadline {
                let Ok(ready) = self.poll(PollTimeout::from(100u8)) else { break };
                let ended = |at: &usize| ready.get(*at).copied().unwrap_or(false);
                let Some(at) = (0..self.running.len()).find(ended) else { continue };
                // What it still has to say is of no interest.
                match self.hear(at, &mut |_| {}) {
                    Ok(None) => {}
                    Ok(Some(_)) | Err(_) => drop(self.running.remove(at)),
                }
            }
        }
        for worker in std::mem::take(&mut self.running) {
            tell(Event::Warning(format!("the process {} of a stage does not end", worker.pid)));
        }
    }
}

impl Drop for Workers<'_, '_> {
    fn drop(&mut self) {
        // A signal that arrived meanwhile is taken back: it has been obeyed.
        while let Ok(Some(_)) = self.signals.read_signal() {}
        // Cannot fail: the mask was read from the kernel.
        let _ = self.before.thread_set_mask();
    }
}

/// Has the kernel kill this process when `parent`, which forked it, ends without having told it to.
fn end_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before the call.
    if nix::unistd::getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
}

/// Builds one stage, in a process of its own. Answers with its exit status.
fn work(build: &Build<'_>, index: usize, done: &[Option<Built<'_>>], (to, heard): (&mut File, &mut File)) -> i32 {
    let mut tell = |event: Event| {
        let said = wire::send(to, &Message::Event(event)).and_then(|()| wire::await_answer(heard));
        if said.is_err() {
            // Whoever wanted the stage is gone.
            std::process::exit(1);
        }
    };
    let outcome = build.stage(index, done, &mut tell);
    build.save_digests();
    let last = match &outcome {
        Ok(Progress::Built(built)) => Message::Built(Box::new(Report::of(built))),
        Ok(Progress::Lacks(stages)) => Message::Lacks(stages.clone()),
        Err(error) => Message::Failed(Box::new(wire::failure(build, error))),
    };
    i32::from(wire::send(to, &last).is_err() || outcome.is_err())
}

/// Removes what a process left that was killed.
fn remove_left(build: &Build<'_>, id: &ContainerId, tell: Tell<'_>) {
    // What ran in it may take a moment to end.
    for attempt in 0..50 {
        match remove::remove(build.store, id.as_str()) {
            Ok(_) | Err(remove::Error::NotKnown { .. }) => return,
            Err(remove::Error::InUse { .. }) if attempt < 49 => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return tell(Event::Warning(error.to_string())),
        }
    }
}

fn has_message(pipe: &File) -> io::Result<bool> {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

impl Lines {
    /// Reads what there is now, and gives away whole lines; the last one without an end when nobody is left who could go on.
    fn read(&mut self, give: &mut dyn FnMut(String)) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        while self.is_open && has_message(&self.from)? {
            let count = self.from.read(&mut chunk)?;
            self.is_open = count > 0;
            self.rest.extend_from_slice(chunk.get(..count).unwrap_or_default());
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n').or((self.rest.len() > LINE).then_some(LINE))
            {
                let line: Vec<u8> = self.rest.drain(..=end.min(self.rest.len() - 1)).collect();
                give(text(&line));
            }
        }
        if !self.is_open && !self.rest.is_empty() {
            give(text(&std::mem::take(&mut self.rest)));
        }
        Ok(())
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned()
}
