//! The image of a large step is made while the next step runs.
//!
//! ```text
//! stage   step 1 ─┬─ step 2 in a container on the image below step 1, whose mount shows the changes of step 1 ─┬─ image of 1, step 3 …
//! child           └─ seals the container of step 1, hashes its layer ──── waits ────────────── go on ─▶ records ┘
//! ```
//!
//! When step 2 has ended, nothing is mounted: only then are records written and directories moved, by `commit` as always. A new container on
//! the image of step 1 gets the changes of step 2, and is what would have been there without all this.
//!
//! Invariant: what the child does is a commit that can be given up at any time before it is told to go on; dies one of the two, the
//! other one ends or does it again. Nobody sees an image before all of it is there.
//!
//! Must not: change what a step sees or leaves. A small layer is hashed sooner than a second container is made, so it is not made here.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use containers_storage::archive::pack::{self, Limits};
use containers_storage::driver::Shape;
use containers_storage::store::Store;
use containers_storage::{ContainerId, ImageId, LayerId, Root};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::pipe::PipeFlags;

use super::cache::Inputs;
use super::error::StepError;
use super::options::Options;
use crate::container::commit::{self, Point, Watch};
use crate::container::from::UserNamespace;
use crate::container::{WorkingContainer, mounted};
use crate::image::Change;
use crate::sys::fork::fork_alone;
use crate::sys::parent::end_with;

/// What is hashed in the time that a second container takes to be made and removed.
const SMALL: Limits = Limits { bytes: 32 << 20, entries: 1_000 };

/// What the child says when its container is sealed.
const SEALED: u8 = b's';
/// What it is told when it may record the image.
const GO_ON: u8 = b'g';

/// The image of a step, which is being made.
#[derive(Debug)]
pub(super) struct Ahead {
    pid: Pid,
    orders: File,
    answers: File,
    /// The container that becomes the image.
    pub(super) container: ContainerId,
    layer: LayerId,
    /// How it is committed, should the child fail.
    pub(super) options: commit::Options,
    /// What the step depended on.
    pub(super) inputs: Inputs,
    /// All that the container was told, which one on the same image must be told as well.
    pub(super) told: Vec<Change>,
    /// What the container of the next step was told beside it.
    pub(super) since: Vec<Change>,
}

/// The image that the child made, and lines for the person.
pub(super) type Made = (ImageId, Vec<String>);

/// Whether a build with these options can do it at all: with ids or labels of its own, a container's changes fit no other container.
pub(super) fn is_possible(store: &Store, options: &Options<'_>) -> bool {
    let is_plain = matches!(options.run.user_namespace, UserNamespace::Host | UserNamespace::Private);
    let has_room =
        store.driver().is_ok_and(|driver| driver.shape() == Shape::Diffs && !driver.is_served() && driver.can_move_to_images());
    let goes = !options.layering.containers.keeps_done();
    is_plain && goes && has_room && options.run.labels.is_none() && rustix::process::geteuid().is_root()
}

/// Whether it would be worth it.
fn is_large(store: &Store, container: &WorkingContainer) -> io::Result<bool> {
    let diff = store.driver().and_then(|driver| driver.diff_dir(container.layer())).map_err(io::Error::other)?;
    pack::exceeds(&Root::open(&diff)?, SMALL)
}

/// Begins to make an image of `container`, if that takes a while. Answers when the container is sealed; `None`: it is to be committed as always.
pub(super) fn start(
    store: &Store,
    container: &ContainerId,
    options: &commit::Options,
    told: &[Change],
    inputs: &Inputs,
) -> Result<Option<Ahead>, StepError> {
    let opened = WorkingContainer::open(store, container.as_str())?;
    if !is_large(store, &opened).map_err(failed("looking at what a step has changed"))? {
        return Ok(None);
    }
    // In the child it would be the mount of another process.
    mounted::release(store, &opened).map_err(|error| StepError::Commit(Box::new(commit::Error::Mount(error))))?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
    let open = || -> io::Result<_> { Ok((pipe()?, pipe()?)) };
    let (orders, answers) = open().map_err(failed("opening pipes"))?;
    let (mut heard, mut said) = (File::from(orders.0), File::from(answers.1));
    let parent = nix::unistd::getpid();
    let pid = fork_alone(orders.1.as_fd(), || {
        if end_with(parent).is_err() {
            return 1;
        }
        i32::from(work(store, container, options, (&mut heard, &mut said)).is_err())
    });
    let pid = pid.map_err(failed("starting a process for the image of a step"))?;
    drop((heard, said));
    let (orders, mut answers) = (File::from(orders.1), File::from(answers.0));
    if !is_sealed(&mut answers) {
        // Why it failed is said when it is tried again here.
        end(pid);
        return Ok(None);
    }
    Ok(Some(Ahead {
        pid,
        orders,
        answers,
        container: container.clone(),
        layer: opened.layer().clone(),
        options: options.clone(),
        inputs: inputs.clone(),
        told: told.to_vec(),
        since: Vec::new(),
    }))
}

impl Ahead {
    /// Shows `container`, which is on the same image, what the sealed one has changed.
    pub(super) fn show_to(&self, store: &Store, container: &ContainerId) -> Result<(), StepError> {
        let opened = WorkingContainer::open(store, container.as_str())?;
        mounted::lay_upon(store, &opened, &self.layer).map_err(|error| StepError::Commit(Box::new(commit::Error::Mount(error))))
    }

    /// Has the image recorded. Nothing may be mounted that shows what the container has changed. `None`: it was not, and can be made as always.
    pub(super) fn finish(&mut self) -> Option<Made> {
        let mut text = String::new();
        let told = self.orders.write_all(&[GO_ON]);
        let heard = told.and_then(|()| self.answers.read_to_string(&mut text));
        end(self.pid);
        heard.ok()?;
        let mut lines = text.lines();
        let image = lines.next()?.parse().ok()?;
        Some((image, lines.map(str::to_owned).collect()))
    }
}

/// Waits for the end of a child that has nothing more to do.
fn end(pid: Pid) {
    let _ = waitpid(pid, None);
}

fn is_sealed(answers: &mut File) -> bool {
    let mut said = [0; 1];
    answers.read_exact(&mut said).is_ok() && said == [SEALED]
}

/// What the child does: commits, and says the image and what a person should know, a line each.
fn work(
    store: &Store,
    container: &ContainerId,
    options: &commit::Options,
    (orders, answers): (&mut File, &mut File),
) -> Result<(), ()> {
    let mut notes = Vec::new();
    let mut reached = |point: Point| match point {
        Point::Sealed => answers.write_all(&[SEALED]).is_ok(),
        Point::Packed => orders.read_exact(&mut [0; 1]).is_ok(),
    };
    let outcome = {
        let mut watch = Watch::new(&mut reached);
        commit::commit_watched(store, container.as_str(), options, &mut |line| notes.push(line), &mut watch)
    };
    // Tried again, it fails in the same way where it can be told.
    let image = outcome.map_err(drop)?.id;
    let lines: String = notes.iter().map(|note| format!("{}\n", note.replace('\n', " "))).collect();
    answers.write_all(format!("{image}\n{lines}").as_bytes()).map_err(drop)
}

fn failed(action: &str) -> impl FnOnce(io::Error) -> StepError {
    let action = action.to_owned();
    move |source| StepError::Io { action, source }
}
