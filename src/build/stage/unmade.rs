//! A stage whose container is not made: as long as steps change settings alone, their images are made from what it would have been told.
//!
//! ```text
//! image below ─ ENV ──▶ image ─ LABEL ──▶ image ─ RUN: the container is made on the image below, and told ENV and LABEL
//!                 no container     no container
//! ```
//!
//! Invariant: every image is what it would be with a container from the start.

use super::Stage;
use crate::build::error::StepError;
use crate::build::event::Tell;
use crate::build::finish::{self, Subject};
use crate::build::late::CreatedBy;
use crate::build::step::Done;
use crate::container::commit::{self, LayerPolicy};
use crate::container::config::{self, empty_step};
use crate::container::from;
use crate::container::pull::Obtained;
use crate::image::config::History;

/// What the stage has in place of a container.
pub(super) struct Unmade {
    container: Box<commit::Unmade>,
    /// What the container is to be made on.
    ground: Option<Obtained>,
}

impl Unmade {
    /// What the container is to be made on, and the history that it is to be told.
    pub(super) fn into_parts(self) -> (Option<Obtained>, Vec<History>) {
        (self.ground, self.container.history().to_vec())
    }
}

impl Stage<'_, '_> {
    /// Whether what the next image has can be had without a container. One that is to stay is made for every step, and one that is there is used.
    pub(in crate::build) fn needs_no_container(&self) -> bool {
        let options = self.build.options;
        let is_looked_at = options.image.sbom.is_some() || options.image.squash;
        self.container.is_none() && self.ahead.is_none() && !options.layering.containers.keeps_done() && !is_looked_at
    }

    /// What is committed in place of a container, which has been told everything and `entries`.
    pub(in crate::build) fn unmade(&mut self, entries: Vec<History>) -> Result<Subject, StepError> {
        Ok(Subject::Unmade(self.told_unmade(entries)?.container))
    }

    fn told_unmade(&mut self, history: Vec<History>) -> Result<Unmade, StepError> {
        let mut unmade = match self.unmade.take() {
            Some(unmade) => unmade,
            None => self.imagine()?,
        };
        let changes = std::mem::take(&mut self.pending);
        self.told.extend(changes.iter().cloned());
        unmade.container.tell(&config::Options { changes, history });
        Ok(unmade)
    }

    fn imagine(&mut self) -> Result<Unmade, StepError> {
        let options = self.build.options;
        let format = options.image.format;
        let container = match &self.ground {
            None => commit::Unmade::on_nothing(format, from::nothing(options.fetch.platform)),
            Some(ground) => commit::Unmade::on(self.build.store, format, &ground.found).map_err(Box::new)?,
        };
        self.prepare_for_new();
        Ok(Unmade { container: Box::new(container), ground: self.ground.clone() })
    }

    /// Makes the image of a step that changes settings alone.
    pub(super) fn commit_settings(&mut self, done: Done, is_last: bool, tell: Tell<'_>) -> Result<(), StepError> {
        let entry = self.entry(done.created_by)?;
        let unmade = self.told_unmade(vec![entry])?;
        let options = commit::Options { layer: LayerPolicy::Omit, ..self.commit_options() };
        let mut subject = Subject::Unmade(unmade.container);
        let outcome = finish::commit_step(self, &mut subject, (options, Vec::new()), is_last, tell)?;
        if let Subject::Unmade(container) = subject {
            self.unmade = Some(Unmade { container, ground: unmade.ground });
        }
        self.go_on_upon(&outcome.id)
    }

    /// The history entry of a step without a layer.
    pub(super) fn entry(&self, created_by: CreatedBy) -> Result<History, StepError> {
        let author = self.draft.config.author.clone();
        let words = created_by.known().map_err(Box::new)?;
        Ok(History { author, comment: self.comment(), ..empty_step(&words) })
    }
}
