//! The process of a stage: goes on with the stage that it was started for, then with others that it is told, until nobody wants more.
//!
//! Invariant: it ends with the process that started it. What it says last of a stage it says when nothing of that stage is left here.

use std::borrow::Cow;
use std::fs::File;

use super::is_lost;
use crate::build::error::{Error, StepError};
use crate::build::event::Event;
use crate::build::stage::{Build, Built, Progress, Stage, Tree};
use crate::build::wire::{self, Message, Order, Report};

/// Whether a process can build another stage after what it said last. Without layers it may be the one where the container of a stage is
/// mounted; one that became an image has none any more.
pub(super) fn may_go_on(build: &Build<'_>, last: &Message) -> bool {
    match last {
        Message::Built(report) => build.with_layers() || report.is_image(),
        Message::Lacks(_) => build.with_layers(),
        // It knows of stages that are no more: the next one is built by another.
        Message::Lost(_) | Message::Failed(_) | Message::Event(_) => false,
    }
}

/// Builds the stage `index` from where it stopped, then others. Answers with the exit status of the process.
pub(super) fn work<'h>(
    build: &Build<'h>,
    (mut index, mut stopped): (usize, Option<Box<Stage<'_, 'h>>>),
    done: &[Option<Built<'h>>],
    (to, heard): (&mut File, &mut File),
) -> i32 {
    let mut done = Cow::Borrowed(done);
    loop {
        let (last, built) = take(build, (index, stopped.take()), &done, (to, heard));
        if wire::send(to, &last).is_err() || matches!(last, Message::Failed(_)) {
            return 1;
        }
        if !may_go_on(build, &last) {
            return 0;
        }
        let Ok(Some(Order::Build { stage, news })) = wire::receive(heard) else { return 0 };
        if let Some(place) = done.to_mut().get_mut(index) {
            *place = built.map(|built| as_told(build, *built));
        }
        for (at, report) in news {
            let built = match report.into_built(build) {
                Ok(built) => built,
                Err(error) => return i32::from(wire::send(to, &lack(build, at, error)).is_err()),
            };
            let Some(place) = done.to_mut().get_mut(at) else { return 1 };
            *place = Some(built);
        }
        index = stage;
    }
}

/// What is known of a stage that was built here. Without layers its image is the same whichever process makes the next one: others are not told
/// by which name the image was found that a stage without steps hands on.
fn as_told<'h>(build: &Build<'_>, mut built: Built<'h>) -> Built<'h> {
    if let Tree::Image(Some(image)) = &mut built.tree
        && !build.with_layers()
    {
        image.found.name = None;
    }
    built
}

/// What is to be said where the image of the stage `at`, which another process built, cannot be read: mostly that a prune took it.
fn lack(build: &Build<'_>, at: usize, error: StepError) -> Message {
    match is_lost(&error) && build.patience.get() > 0 {
        true => Message::Lost(vec![at]),
        false => failed(build, &Error::Commit(Box::new(error))),
    }
}

fn failed(build: &Build<'_>, error: &Error) -> Message {
    Message::Failed(Box::new(wire::failure(build, error)))
}

/// Builds one stage. Answers with what is to be said of it, and with what came of it.
fn take<'h>(
    build: &Build<'h>,
    (index, stopped): (usize, Option<Box<Stage<'_, 'h>>>),
    done: &[Option<Built<'h>>],
    (to, heard): (&mut File, &mut File),
) -> (Message, Option<Box<Built<'h>>>) {
    let mut tell = |event: Event| {
        let said = wire::send(to, &Message::Event(event)).and_then(|()| wire::await_answer(heard));
        if said.is_err() {
            // Whoever wanted the stage is gone.
            std::process::exit(1);
        }
    };
    let outcome = match stopped {
        Some(stage) => stage.go_on(&mut tell),
        None => build.stage(index, done, &mut tell),
    };
    build.save_digests();
    match outcome {
        Ok(Progress::Built(built)) => (Message::Built(Box::new(Report::of(&built))), Some(built)),
        Ok(Progress::Lacks(stages)) => (Message::Lacks(stages), None),
        Ok(Progress::Lost(stages)) => (Message::Lost(stages), None),
        // Never, since everything is permitted here.
        Ok(Progress::Stopped(_)) => (failed(build, &Error::Commit(Box::new(StepError::Beyond))), None),
        Err(error) => (failed(build, &error), None),
    }
}
