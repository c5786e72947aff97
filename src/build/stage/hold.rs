//! What keeps the images of a build from those who clear away what nobody uses: a container without files of its own whose record names
//! the image.
//!
//! ```text
//! stage    no container   ─ image of step 1 ─ image of step 2 ─ … ─ image of the stage     the holder's record names the newest one from
//! holder   made before it ────────▲───────────────▲─────────────────────▲                 the moment that it is there
//! ```
//!
//! A stage that is made on another one, for which alone that was built, goes on with its holder: a chain of stages has one.
//!
//! An image of a step has no name, and not always a container on it; a prune of any tool takes such images, unless a container's record names
//! them. What comes from the cache is held by the first container that is made on it; should it be gone by then, the stage begins again.
//!
//! Invariant: what a step that is taken stands on or reads is held, by the working container, by the holder of this stage, or by that of
//! the stage which made it; a holder goes with its build.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use containers_storage::{ContainerId, ImageId};

use super::{Build, Built, Stage, Tree};
use crate::build::error::StepError;
use crate::build::event::{Event, Tell};
use crate::build::options::Stay;
use crate::container::from::{self, UserNamespace};
use crate::container::{commit, remove};

/// The holder's name, before random digits.
const NAME: &str = "coracle-build-";

impl Build<'_> {
    /// A container that can hold an image.
    fn make_holder(&self, tell: Tell<'_>) -> Result<ContainerId, StepError> {
        let options = self.options;
        let how = from::Options {
            image: "scratch".to_owned(),
            name: Some(format!("{NAME}{:08x}", getrandom::u32().unwrap_or_default())),
            format: options.image.format,
            user_namespace: UserNamespace::Host,
            platform: None,
            environment: Default::default(),
            labels: options.run.labels.clone(),
        };
        let mut announce = |id: &ContainerId| self.remains.as_ref().map_or(Ok(()), |remains| remains.note(id));
        let made = from::on_nothing(self.store, &how, &mut announce).map_err(Box::new)?;
        tell(Event::HolderMade(made.id.to_string()));
        Ok(made.id)
    }

    /// Removes a holder. What cannot be removed now is found by `containers`.
    pub(in crate::build) fn remove_holder(&self, id: &ContainerId, tell: Tell<'_>) {
        match remove::remove(self.store, id.as_str()) {
            Ok(_) | Err(remove::Error::NotKnown { .. }) => {}
            Err(error) => tell(Event::Warning(error.to_string())),
        }
    }

    /// Whether the image that was asked for is read after the build, and nothing but a holder keeps it until then.
    pub(in crate::build) fn is_result_held(&self) -> bool {
        let image = &self.options.image;
        image.tags.is_empty() && (image.stay != Stay::Stays || image.manifest_list.is_some())
    }

    pub(super) fn has(&self, image: &ImageId) -> Result<bool, StepError> {
        Ok(self.store.images()?.find(image)?.is_some())
    }
}

impl Stage<'_, '_> {
    /// The container whose record is to name the next image of this stage.
    pub(in crate::build) fn holder(&self, tell: Tell<'_>) -> Result<ContainerId, StepError> {
        match self.holder.get() {
            Some(id) => Ok(id.clone()),
            None => {
                let id = self.build.make_holder(tell)?;
                Ok(self.holder.get_or_init(|| id).clone())
            }
        }
    }

    /// Goes on with the holder of the stage that this one is made on, unless somebody has removed it.
    pub(super) fn inherit(&mut self, holder: Option<&ContainerId>) -> Result<(), StepError> {
        let (Some(holder), Some(ground)) = (holder, &self.ground) else { return Ok(()) };
        let Some(record) = self.build.store.containers()?.find(holder)? else { return Ok(()) };
        if record.image.as_ref() != Some(&ground.found.id) {
            // Another attempt at this stage had it.
            self.build.store.hold_image(holder, &ground.found.id)?;
        }
        (self.holder, self.is_heir) = (OnceCell::from(holder.clone()), true);
        Ok(())
    }

    /// Has the image that was asked for held, if that is necessary.
    pub(in crate::build) fn hold_result(&self, options: &mut commit::Options, tell: Tell<'_>) -> Result<(), StepError> {
        if self.build.is_result_held() {
            options.holder = Some(self.holder(tell)?);
        }
        Ok(())
    }

    /// The same of one that is there already.
    pub(in crate::build) fn hold_found(&self, image: &ImageId, tell: Tell<'_>) -> Result<(), StepError> {
        if self.build.is_result_held() {
            self.build.store.hold_image(&self.holder(tell)?, image)?;
        }
        Ok(())
    }

    /// Has the holder, if there is one, name an image of the cache. `false`: the image is not there any more.
    pub(super) fn move_holder(&self, image: &ImageId) -> Result<bool, StepError> {
        let held = self.holder.get().map_or(Ok(()), |holder| self.build.store.hold_image(holder, image));
        match held {
            Err(_) if !self.build.has(image)? => Ok(false),
            held => Ok(held.map(|()| true)?),
        }
    }

    /// Before the first step that is taken: images of the stages that are read, and that came from the cache, are held to the end of this one.
    pub(super) fn hold_sources(&mut self, tell: Tell<'_>) -> Result<(), StepError> {
        if std::mem::replace(&mut self.holds_sources, true) {
            return Ok(());
        }
        for need in &self.build.plan.stages[self.index].needs {
            let Some(Built { tree: Tree::Image(Some(image)), holder: None, .. }) =
                self.earlier.get(*need).and_then(Option::as_ref)
            else {
                continue;
            };
            let id = &image.found.id;
            if image.found.image.names.is_empty() && self.ground.as_ref().is_none_or(|ground| ground.found.id != *id) {
                let holder = self.build.make_holder(tell)?;
                self.source_holders.push(holder.clone());
                self.build.store.hold_image(&holder, id)?;
            }
        }
        Ok(())
    }

    pub(super) fn release_sources(&mut self, tell: Tell<'_>) {
        for holder in std::mem::take(&mut self.source_holders) {
            self.build.remove_holder(&holder, tell);
        }
    }

    /// After a failure: whether that may be because an image which the stage stands on was removed meanwhile, and the stages whose images are
    /// gone. Images that are held cannot be. What was only a base is not, once another stage has an image on it: it counts if that has none any
    /// more.
    pub(super) fn lost(&self) -> Option<Vec<usize>> {
        let is_gone = |id: &ImageId| !self.build.has(id).unwrap_or(true);
        let is_ground = |id: &ImageId| self.ground.as_ref().is_some_and(|ground| ground.found.id == *id);
        let mut lost = BTreeSet::new();
        for (index, built) in self.earlier.iter().enumerate().rev() {
            let Some(Built { tree: Tree::Image(Some(image)), .. }) = built else { continue };
            let id = &image.found.id;
            let is_wanted = match self.build.plan.stages.get(index).and_then(|planned| planned.heir) {
                Some(heir) if heir == self.index => is_ground(id),
                Some(heir) => lost.contains(&heir) || self.earlier.get(heir).is_some_and(Option::is_none),
                None => true,
            };
            if is_wanted && is_gone(id) {
                lost.insert(index);
            }
        }
        let has_lost_ground = self.ground.as_ref().is_some_and(|ground| is_gone(&ground.found.id));
        (has_lost_ground || !lost.is_empty()).then(|| lost.into_iter().collect())
    }
}
