//! Each stage that takes work in a process of its own, several at the same time where nothing keeps them apart.
//!
//! ```text
//! this process looks ─▶ all of the stage is of earlier builds: nothing else is needed
//!       ├ something is not, or others are being built (who waits for them does not look meanwhile)
//!       └── fork ─▶ stage: enters namespaces, builds ── events, outcome ─▶ this process tells, starts what is ready now
//!       │                        └ output of RUN ───────────▶ line by line, where stages run side by side or the caller follows it;
//!       │                                                     else where ours goes
//!       └ SIGINT, SIGTERM, a stage that failed: the others are ended, their containers removed
//!         SIGKILL: the kernel ends the others, and with them what they run (PR_SET_PDEATHSIG); `remains` has their containers removed
//! ```
//!
//! A process that has built a stage waits for another one (`child`), which it is told with what became of stages that it does not know.
//!
//! Invariant: this process enters no namespace while stages are built, and has no thread; of a process that ended, however it did, no
//! container is left but one that is to be kept.

mod child;
mod lines;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use containers_storage::{ContainerId, store};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::pipe::PipeFlags;

use self::child::{may_go_on, work};
use self::lines::{Lines, has_message};
use super::error::{Error, StepError};
use super::event::{Event, OutputStream, Tell};
use super::options::Following;
use super::plan::Base;
use super::reach::Reach;
use super::stage::{Build, Built, Progress, Stage, Tree};
use super::wire::{self, Message, Order, Report};
use crate::container::remove;
use crate::run::Streams;
use crate::run::streams::{Input, Output};
use crate::sys::fork::fork_alone;
use crate::sys::parent::end_with;
use crate::sys::signals::is_ignored;

/// Signals that end a build.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
/// How long a stage that is told to end may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing happens before that is told to whoever wants to know.
const IDLE: u16 = 250;

/// A process, and the stage that it builds, or has built.
struct Worker {
    index: usize,
    pid: Pid,
    messages: File,
    answers: File,
    outputs: Vec<Lines>,
    /// Those that it made, the newest last; some may be gone.
    containers: Vec<ContainerId>,
    /// The one that a failed step left.
    left: Option<ContainerId>,
    outcome: Option<Result<Said, Error>>,
    /// Of which stages it knows what they have become.
    known: Vec<bool>,
    /// Whether it waits for another stage.
    is_idle: bool,
}

/// The last word of a worker.
enum Said {
    Built(Box<Report>),
    Lacks(Vec<usize>),
    Lost(Vec<usize>),
}

/// All workers of a build.
pub(super) struct Workers<'b, 'h> {
    build: &'b Build<'h>,
    signals: SignalFd,
    before: SigSet,
    running: Vec<Worker>,
    idle: Vec<Worker>,
    /// Whether output comes here line by line: more than one can run, so that it has to be told apart, or the caller follows it.
    is_told: bool,
    said: Vec<String>,
    /// Stages whose beginning was told.
    begun: BTreeSet<usize>,
    /// What stages need that the plan did not know of, by the number of each.
    lacked: BTreeMap<usize, BTreeSet<usize>>,
    /// Whether those that run are told to end: whatever they say then, their steps have not failed.
    is_ending: bool,
}

/// What came of a stage.
enum Came<'h> {
    Built(Result<Box<Built<'h>>, StepError>),
    Lacks(Vec<usize>),
    Lost(Vec<usize>),
    /// Nothing yet: there is a process for it.
    Nothing,
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
    if side_by_side {
        // Stages that read one input would each get some of it, by chance.
        build.streams.borrow_mut().input = Input::Nothing;
    }
    let is_told = side_by_side || build.options.following != Following::Steps;
    let outcome = Workers::new(build, is_told).and_then(|mut workers| {
        let all = workers.all(&mut done, tell);
        if all.is_err() {
            workers.end(tell);
        }
        workers.dismiss();
        all
    });
    build.save_digests();
    (done, outcome)
}

impl<'b, 'h> Workers<'b, 'h> {
    fn new(build: &'b Build<'h>, is_told: bool) -> Result<Self, Error> {
        let mut set = SigSet::empty();
        // What the caller ignores, as below `nohup`, ends nothing.
        ENDING.into_iter().filter(|signal| !is_ignored(*signal)).for_each(|signal| set.add(signal));
        let block = || -> io::Result<(SignalFd, SigSet)> {
            let before = SigSet::thread_get_mask()?;
            set.thread_block()?;
            Ok((SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?, before))
        };
        let (signals, before) = block().map_err(failed("watching for signals"))?;
        Ok(Self {
            build,
            signals,
            before,
            running: Vec::new(),
            idle: Vec::new(),
            is_told,
            said: Vec::new(),
            begun: BTreeSet::new(),
            lacked: BTreeMap::new(),
            is_ending: false,
        })
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
            let (index, came) = match next.and_then(|at| waiting.remove(at)) {
                Some(index) => (index, self.begin(index, done, tell)?),
                None => match self.wait(tell)? {
                    Woken::Signal(signal) => return Err(Error::Interrupted(signal as i32)),
                    Woken::Stage(index, said) => (index, self.came_of(said?)),
                },
            };
            self.take(index, came, (done, &mut waiting), tell)?;
        }
        Ok(())
    }

    fn came_of(&self, said: Said) -> Came<'h> {
        match said {
            Said::Built(report) => Came::Built(report.into_built(self.build).map(Box::new)),
            Said::Lacks(stages) => Came::Lacks(stages),
            Said::Lost(stages) => Came::Lost(stages),
        }
    }

    fn take(
        &mut self,
        index: usize,
        came: Came<'h>,
        (done, waiting): (&mut [Option<Built<'h>>], &mut VecDeque<usize>),
        tell: Tell<'_>,
    ) -> Result<(), Error> {
        match came {
            Came::Nothing => {}
            Came::Built(Ok(built)) => done[index] = Some(*built),
            Came::Built(Err(error)) if is_lost(&error) && self.is_patient(index, tell) => {
                self.forget(index);
                waiting.push_back(index);
            }
            Came::Built(Err(error)) => return Err(Error::Commit(Box::new(error))),
            Came::Lacks(stages) => self.begin_again(index, &stages, done, waiting)?,
            Came::Lost(stages) => {
                self.is_patient(index, tell);
                for stage in &stages {
                    self.forget(*stage);
                    let built = done[*stage].take();
                    built.and_then(|built| built.holder).iter().for_each(|holder| self.build.remove_holder(holder, tell));
                }
                self.begin_again(index, &stages, done, waiting)?;
            }
        }
        Ok(())
    }

    /// What processes know of the stage is not so any more.
    fn forget(&mut self, stage: usize) {
        for worker in self.running.iter_mut().chain(&mut self.idle) {
            worker.known[stage] = false;
        }
    }

    /// Whether a stage may begin once more, since an image that it stands on was removed meanwhile.
    fn is_patient(&self, index: usize, tell: Tell<'_>) -> bool {
        let left = self.build.patience.get();
        self.build.patience.set(left.saturating_sub(1));
        let text = format!("an image that stage {} stands on was removed meanwhile: it begins again", index + 1);
        if left > 0 {
            tell(Event::Notice(text));
        }
        left > 0
    }

    /// The stage `index` is built after all that `stages` need.
    fn begin_again(
        &mut self,
        index: usize,
        stages: &[usize],
        done: &[Option<Built<'h>>],
        waiting: &mut VecDeque<usize>,
    ) -> Result<(), Error> {
        for stage in self.lacking(index, stages, done)? {
            if !waiting.contains(&stage) {
                waiting.push_back(stage);
            }
        }
        waiting.push_back(index);
        Ok(())
    }

    /// Begins a stage. Where a process waits for one, steps were taken already, so that it would be in vain to look first; else this one looks
    /// how far it comes without work, if nobody waits to be heard meanwhile, and starts a process for the rest.
    fn begin(&mut self, index: usize, done: &[Option<Built<'h>>], tell: Tell<'_>) -> Result<Came<'h>, Error> {
        if let Some(worker) = self.idle.pop() {
            self.order(worker, index, done)?;
            return Ok(Came::Nothing);
        }
        let stopped = match self.running.is_empty() && self.build.may_look() {
            true => match self.look(index, done, tell)? {
                Progress::Built(built) => return Ok(Came::Built(Ok(built))),
                Progress::Lacks(stages) => return Ok(Came::Lacks(stages)),
                Progress::Lost(stages) => return Ok(Came::Lost(stages)),
                Progress::Stopped(stage) => stage,
            },
            false => None,
        };
        self.start(index, stopped, done)?;
        Ok(Came::Nothing)
    }

    fn look<'d>(&mut self, index: usize, done: &'d [Option<Built<'h>>], tell: Tell<'_>) -> Result<Progress<'d, 'h>, Error>
    where
        'b: 'd,
    {
        let build: &'d Build<'h> = self.build;
        build.reach.set(Reach::Look);
        let mut signal = None;
        let mut looking = |event: Event| {
            if let Event::Step { number, .. } = &event {
                if let Ok(Some(info)) = self.signals.read_signal() {
                    signal = Some(info.ssi_signo);
                    drop(build.stop());
                }
                if *number == 1 && !self.begun.insert(index) {
                    return;
                }
            }
            tell(event);
        };
        let progress = build.stage(index, done, &mut looking);
        build.reach.set(Reach::Work);
        if let Some(signal) = signal {
            return Err(Error::Interrupted(i32::try_from(signal).unwrap_or(Signal::SIGTERM as i32)));
        }
        if !matches!(progress, Ok(Progress::Stopped(_))) {
            tell(Event::StageEnded { stage: build.place(index), is_built: progress.is_ok() });
        }
        progress
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

    /// Has a process that waits build a stage.
    fn order(&mut self, mut worker: Worker, index: usize, done: &[Option<Built<'h>>]) -> Result<(), Error> {
        let mut news = Vec::new();
        for (at, (known, built)) in worker.known.iter_mut().zip(done).enumerate() {
            if let Some(built) = built.as_ref().filter(|_| !*known) {
                news.push((at, Report::of(built)));
                *known = true;
            }
        }
        wire::send(&mut worker.answers, &Order::Build { stage: index, news })
            .map_err(failed("asking a process for a stage"))?;
        (worker.index, worker.is_idle) = (index, false);
        self.running.push(worker);
        Ok(())
    }

    /// Lets those go that wait.
    fn dismiss(&mut self) {
        for worker in std::mem::take(&mut self.idle) {
            let Worker { pid, mut answers, .. } = worker;
            // Not by an end of the pipe, of which others that were started later have a copy.
            let _ = wire::send(&mut answers, &Order::End);
            let _ = waitpid(pid, None);
        }
    }

    /// Starts a process for a stage, which goes on with it where it stopped.
    fn start(&mut self, index: usize, stopped: Option<Box<Stage<'_, 'h>>>, done: &[Option<Built<'h>>]) -> Result<(), Error> {
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
            work(build, (index, stopped), done, (&mut to, &mut heard))
        });
        let pid = pid.map_err(failed("starting a process for a stage"))?;
        let outputs = match self.is_told {
            true => vec![Lines::new(stdout.0, OutputStream::Stdout), Lines::new(stderr.0, OutputStream::Stderr)],
            false => Vec::new(),
        };
        self.running.push(Worker {
            index,
            pid,
            messages: messages.0.into(),
            answers: answers.1.into(),
            outputs,
            containers: Vec::new(),
            left: None,
            outcome: None,
            known: done.iter().map(Option::is_some).collect(),
            is_idle: false,
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
                    let index = worker.index;
                    tell(Event::StageEnded { stage: self.build.place(index), is_built: outcome.is_ok() });
                    if worker.is_idle {
                        self.idle.push(worker);
                    }
                    return Ok(Woken::Stage(index, outcome));
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

    /// Hears one worker: its output first, which is older than what it says next. Answers with the outcome when it has ended, or waits for
    /// another stage.
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
        let message = wire::receive(&mut worker.messages).map_err(failed("listening to a stage"))?;
        let goes_on = message.as_ref().is_some_and(|message| may_go_on(self.build, message));
        match message {
            Some(Message::Event(event)) => {
                match event {
                    Event::ContainerMade(id) => {
                        worker.containers.extend(id.parse());
                        if let Some(remains) = &self.build.remains {
                            remains.watch(self.build.store);
                        }
                    }
                    Event::ContainerLeft(id) => worker.left = id.parse().ok(),
                    // The newest one is that of the step.
                    Event::HolderMade(id) => worker.containers.splice(0..0, id.parse()).for_each(drop),
                    Event::Step { number: 1, .. } if !self.begun.insert(worker.index) => {}
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
                worker.known[worker.index] = true;
                Ok(worker.has_said(Said::Built(report), goes_on))
            }
            Some(Message::Lacks(stages)) => Ok(worker.has_said(Said::Lacks(stages), goes_on)),
            Some(Message::Lost(stages)) => Ok(worker.has_said(Said::Lost(stages), goes_on)),
            Some(Message::Failed(error)) => {
                worker.containers = worker.left.take().into_iter().collect();
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
        let keeps = self.build.options.layering.containers.keeps_failed() && !self.is_ending;
        let kept = containers.last().filter(|id| keeps && self.build.store.containers().is_ok_and(|all| all.get(id).is_ok()));
        if let Some(id) = kept {
            let how = if outcome.is_some() { "the failed step left it" } else { "it was left" };
            tell(Event::Notice(format!("the container {} is kept as {how}", id.short())));
        }
        for id in containers.iter().rev().filter(|id| kept != Some(id)) {
            remove_left(self.build, id, tell);
        }
        outcome.unwrap_or(Err(Error::Process { stage, how }))
    }

    /// Ends all that are left.
    fn end(&mut self, tell: Tell<'_>) {
        self.is_ending = true;
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

impl Worker {
    /// The last word about a stage. It is the outcome, unless that comes with the end of the process.
    fn has_said(&mut self, said: Said, may_go_on: bool) -> Option<Result<Said, Error>> {
        self.is_idle = may_go_on;
        if may_go_on {
            return Some(Ok(said));
        }
        self.outcome = Some(Ok(said));
        None
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

/// Whether an image of a stage is not there any more.
fn is_lost(error: &StepError) -> bool {
    matches!(error, StepError::Store(error) if matches!(**error, store::Error::NoImage(_)))
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
