//! The image of an earlier build in place of a step: what the step depends on, where its image is, and who gets it beside this store.

use containers_storage::{Digest, ImageId};

use super::Stage;
use crate::build::cache::identity::Past;
use crate::build::cache::{Inputs, Known};
use crate::build::error::StepError;
use crate::build::event::{Event, Missed, Tell};
use crate::build::finish;
use crate::build::options::{CachePlace, Reuse};
use crate::build::step::{self, Next};
use crate::container::from;
use crate::container::pull::Obtained;
use crate::dockerfile::instruction::Instruction;

/// An image of a step that other places do not have yet.
pub(super) struct Unsent {
    key: Digest,
    /// The place that has it.
    came_from: Option<CachePlace>,
}

impl Stage<'_, '_> {
    /// What the image of a step depends on.
    pub(super) fn inputs(&self, next: &Next<'_>, instruction: &Instruction, is_last: bool) -> Result<Inputs, StepError> {
        let mut inputs = Inputs::of_step(&self.below, &next.written_text());
        inputs.add("the instruction", format!("{instruction:?}").as_bytes());
        finish::inputs(self.build.options, is_last, &mut inputs);
        step::inputs(self, instruction, &mut inputs)?;
        Ok(inputs)
    }

    /// The image of an earlier build for the same inputs.
    pub(super) fn find(
        &mut self,
        next: &Next<'_>,
        (instruction, inputs): (&Instruction, &Inputs),
        is_last: bool,
        tell: Tell<'_>,
    ) -> Result<Option<Known>, StepError> {
        let Some(cache) = &self.build.cache else { return Ok(None) };
        let missed = match self.build.options.layering.reuse {
            Reuse::Never => Missed::NotWanted,
            _ if is_last && !finish::may_be_cached(&self.build.options.image) => Missed::NotWanted,
            _ if self.missed => Missed::AfterMiss,
            _ if self.build.is_built_anew(self.index) => Missed::NotWanted,
            reuse => match cache.find(self.build.store, inputs, reuse)? {
                Ok(found) => return Ok(Some(found)),
                Err(missed) => match self.find_elsewhere(next, (instruction, inputs), is_last, tell) {
                    Some(found) => return Ok(Some(Known::of(found))),
                    None => missed,
                },
            },
        };
        tell(Event::Missed { stage: self.build.place(self.index), reason: missed });
        Ok(None)
    }

    /// The same at the places of `--cache-from`.
    fn find_elsewhere(
        &self,
        next: &Next<'_>,
        (instruction, inputs): (&Instruction, &Inputs),
        is_last: bool,
        tell: Tell<'_>,
    ) -> Option<Obtained> {
        let places = &self.build.options.layering.cache_from;
        let key = inputs.key().filter(|_| !places.is_empty())?;
        let expected = step::expected(self, next, instruction, is_last).ok()?;
        let (found, place) = self.build.fetch_step((self.build.place(self.index), &key), &expected, tell)?;
        if let Some(cache) = &self.build.cache {
            cache.put(inputs, &found.found.id, None);
        }
        self.unsent.replace(Some(Unsent { key, came_from: Some(place.clone()) }));
        Some(found)
    }

    /// The image of a step with these inputs is to be sent.
    pub(super) fn note_unsent(&self, inputs: &Inputs) {
        self.unsent.replace(inputs.key().map(|key| Unsent { key, came_from: None }));
    }

    /// The image of the step goes to the places of `--cache-to`, once.
    pub(in crate::build) fn send(&self, image: &ImageId, tell: Tell<'_>) {
        if let Some(Unsent { key, came_from }) = self.unsent.take() {
            self.build.send_step((self.build.place(self.index), &key), image, came_from.as_ref(), tell);
        }
    }

    /// Takes an image for what was built so far; `false`: it is not there any more.
    fn go_on_from(&mut self, found: Known, is_last: bool) -> Result<bool, StepError> {
        let Known { image: found, identity } = found;
        let (store, id) = (self.build.store, &found.found.id);
        let read = match identity {
            // What gets a name must be whole; of the others only the configuration counts.
            _ if is_last => {
                let past = |(_, mut config)| Past::take(&mut config);
                let read = from::read_base(store, &found.found).map(past).map_err(|error| Box::new(error).into());
                read.and_then(|past| self.identity(|| Ok(past)))
            }
            Some(identity) => Ok(identity),
            None => self.identity(|| self.past_of(id)),
        };
        let below = match read {
            Ok(below) => below,
            Err(_) if !self.build.has(id)? => return Ok(false),
            Err(error) => return Err(error),
        };
        if !self.move_holder(id)? {
            return Ok(false);
        }
        self.drop_container()?;
        self.take_ground(found, below);
        Ok(true)
    }

    /// Goes on from the image of an earlier build; `false`: it was removed since it was found.
    pub(super) fn take_found(&mut self, found: Known, is_last: bool, tell: Tell<'_>) -> Result<bool, StepError> {
        let image = found.image.found.id.to_string();
        if !self.go_on_from(found, is_last)? {
            tell(Event::Missed { stage: self.build.place(self.index), reason: Missed::ImageGone });
            return Ok(false);
        }
        tell(Event::Cached { stage: self.build.place(self.index), image });
        if is_last {
            finish::tag_cached(self, tell)?;
        } else {
            if let Some(ground) = &self.ground {
                self.send(&ground.found.id, tell);
            }
            self.tell_made(tell);
        }
        Ok(true)
    }
}
