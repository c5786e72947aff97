//! A stage with the image of a large step that is made beside the next one (`ahead`): when it is begun, and what is done when it is there.
//!
//! Invariant: while an image is in the making, the stage's container stands on the image below it and shows what the step has changed;
//! `catch_up` ends that, and puts what was done since in a container on the new image.

use containers_storage::ContainerId;

use super::Stage;
use crate::build::ahead::{self, Ahead};
use crate::build::cache::Inputs;
use crate::build::error::StepError;
use crate::build::event::{Event, Tell};
use crate::build::finish::{self, Subject};
use crate::build::late::{CreatedBy, Entries};
use crate::build::step::Done;
use crate::container::commit::{self, Edit};
use crate::container::{WorkingContainer, mounted, remove};
use crate::image::Change;

impl Stage<'_, '_> {
    /// Begins to make the image of a step; `false`: it is sooner made as always.
    pub(super) fn commit_ahead(&mut self, done: &mut Done, inputs: &Inputs, tell: Tell<'_>) -> Result<bool, StepError> {
        if !ahead::is_possible(self.build.store, self.build.options) {
            return Ok(false);
        }
        self.container(tell)?;
        let Some(container) = &self.container else { return Ok(false) };
        // A thread that hashes is not there in another process.
        let words = std::mem::take(&mut done.created_by).known().map_err(Box::new)?;
        done.created_by = CreatedBy::Known(words.clone());
        let (mut options, mut edits) = self.commit_files();
        edits.push(Edit::Change(Change::CreatedBy(words)));
        options.edits = finish::of_a_step(&self.build.options.image, &self.draft, edits);
        options.holder = Some(self.holder(tell)?);
        self.ahead = ahead::start(self.build.store, container, &options, &self.told, inputs)?;
        if self.ahead.is_none() {
            return Ok(false);
        }
        self.container = None;
        Ok(true)
    }

    /// Has the image made that was begun, and puts what was done since in a container on it.
    pub(super) fn catch_up(&mut self, tell: Tell<'_>) -> Result<(), StepError> {
        let Some(mut ahead) = self.ahead.take() else { return Ok(()) };
        let since = self.container.take();
        // What is not there any more when something fails needs not be taken away.
        self.container = Some(ahead.container.clone());
        let caught_up = self.end_ahead(&mut ahead, since.as_ref(), tell);
        if let Some(id) = since {
            let removed = remove::remove(self.build.store, id.as_str());
            caught_up.and(removed.map(drop).map_err(|error| StepError::Remove(Box::new(error))))
        } else {
            caught_up
        }
    }

    fn end_ahead(&mut self, ahead: &mut Ahead, since: Option<&ContainerId>, tell: Tell<'_>) -> Result<(), StepError> {
        let store = self.build.store;
        if let Some(id) = since {
            let opened = WorkingContainer::open(store, id.as_str())?;
            mounted::release(store, &opened).map_err(|error| StepError::Commit(Box::new(commit::Error::Mount(error))))?;
        }
        let image = match ahead.finish() {
            Some((image, notes)) => {
                notes.into_iter().for_each(|note| tell(Event::Notice(note)));
                image
            }
            None => {
                let mut subject = Subject::Container(ahead.container.to_string(), Entries::default());
                finish::commit_quietly(self, &mut subject, &ahead.options, tell)?.id
            }
        };
        self.container = None;
        self.go_on_upon(&image)?;
        self.note_unsent(&ahead.inputs);
        self.send(&image, tell);
        self.note_made(&ahead.inputs, false, tell);
        self.pending.append(&mut ahead.since);
        if let Some(id) = since {
            self.container(tell)?;
            if let Some(container) = &self.container {
                store.exchange_changes(id, container)?;
            }
        }
        Ok(())
    }
}
