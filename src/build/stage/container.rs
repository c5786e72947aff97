//! The working container of a stage: made when it is first needed, told what it has to know, and let go.
//!
//! Invariant: it stands on the stage's ground, or shows what that will be (`ahead`), or has been told what was added to it since (`unmade`); it
//! is told each change once.

use containers_storage::ContainerId;

use super::Stage;
use crate::build::error::StepError;
use crate::build::event::{Event, Tell};
use crate::build::options::Leftovers;
use crate::container::pull::Obtained;
use crate::container::{config, from, remove};
use crate::image::Change;
use crate::image::config::History;

impl Stage<'_, '_> {
    /// The working container, which has been told everything.
    pub(in crate::build) fn container(&mut self, tell: Tell<'_>) -> Result<String, StepError> {
        self.build.require_work()?;
        let mut history = Vec::new();
        let id = match &self.container {
            Some(id) => id.clone(),
            None => {
                let made;
                (made, history) = self.make_container(tell)?;
                made
            }
        };
        if !self.pending.is_empty() || !history.is_empty() {
            let changes = std::mem::take(&mut self.pending);
            self.told.extend(changes.iter().cloned());
            // What could not be done in full was said when it was done in memory.
            config::config(self.build.store, id.as_str(), &config::Options { changes, history })?;
        }
        Ok(id.to_string())
    }

    /// A container on what the stage stands on, and the history that it is to be told.
    fn make_container(&mut self, tell: Tell<'_>) -> Result<(ContainerId, Vec<History>), StepError> {
        if let Some(unmade) = self.unmade.take() {
            let (ground, history) = unmade.into_parts();
            match self.make_container_on(ground.as_ref()) {
                Ok(made) => {
                    let made = self.has_container(made, tell);
                    let since = std::mem::take(&mut self.pending);
                    self.pending = std::mem::take(&mut self.told);
                    self.pending.extend(since);
                    return Ok((made, history));
                }
                // Nothing held it any more: on the image of the last step it is the same, but for what it says of its base.
                Err(_) if ground.as_ref().is_some_and(|ground| !self.build.has(&ground.found.id).unwrap_or(true)) => {}
                Err(error) => return Err(error),
            }
        }
        let made = self.make_container_on(self.ground.as_ref())?;
        let made = self.has_container(made, tell);
        if let Some(ahead) = &mut self.ahead {
            self.told.clear();
            ahead.show_to(self.build.store, &made)?;
            ahead.since.append(&mut self.pending);
            self.pending = ahead.told.iter().chain(&ahead.since).cloned().collect();
        } else {
            self.prepare_for_new();
        }
        Ok((made, Vec::new()))
    }

    fn has_container(&mut self, made: from::Outcome, tell: Tell<'_>) -> ContainerId {
        made.notices.iter().for_each(|notice| tell(Event::Notice(notice.to_string())));
        tell(Event::ContainerMade(made.id.to_string()));
        self.container = Some(made.id.clone());
        made.id
    }

    /// A container on the ground has been told nothing: what the ground's own record does not say comes before the rest.
    pub(super) fn prepare_for_new(&mut self) {
        self.told.clear();
        if self.is_own {
            let pending = std::mem::take(&mut self.pending);
            let lineage = self.lineage.iter().cloned();
            self.pending = self.without_layer_labels().chain(lineage).chain(pending).collect();
        }
    }

    /// Labels of `--layer-label` are those of one image, and not of what is made on it.
    fn without_layer_labels(&self) -> impl Iterator<Item = Change> {
        self.build.options.image.layer_labels.iter().map(|(key, _)| match self.draft.config.config.labels.get(key) {
            Some(value) => Change::SetLabel { key: key.clone(), value: value.clone() },
            None => Change::UnsetLabel(key.clone()),
        })
    }

    fn make_container_on(&self, ground: Option<&Obtained>) -> Result<from::Outcome, StepError> {
        let options = self.build.options;
        let how = from::Options {
            image: ground.map_or_else(|| "scratch".to_owned(), |ground| ground.found.id.short().to_owned()),
            name: None,
            format: options.image.format,
            user_namespace: options.run.user_namespace.clone(),
            platform: options.fetch.platform.cloned(),
            environment: options.run.environment.clone(),
            labels: options.run.labels.clone(),
        };
        let is_passing = options.layering.containers == Leftovers::Remove;
        let mut announce = |id: &ContainerId| match self.build.remains.as_ref().filter(|_| is_passing) {
            Some(remains) => remains.note(id),
            None => Ok(()),
        };
        let made = match ground {
            None => from::on_nothing(self.build.store, &how, &mut announce),
            Some(ground) => from::on(self.build.store, &how, ground.clone(), &mut announce),
        };
        Ok(made.map_err(Box::new)?)
    }

    /// The stage goes on without its container, which is removed unless it is to be kept.
    pub(in crate::build) fn drop_container(&mut self) -> Result<(), StepError> {
        self.unmade = None;
        let keeps = self.build.options.layering.containers.keeps_done();
        if let Some(id) = self.container.take().filter(|_| !keeps) {
            remove::remove(self.build.store, id.as_str()).map_err(Box::new)?;
        }
        Ok(())
    }
}
