//! The beginning of a stage: what it is made on, what the caller wants of its image from the start, and which other stages the triggers of its
//! base turn out to need.

use std::cell::{OnceCell, RefCell};

use containers_storage::Digest;

use super::{Build, Built, Lineage, Stage, Tree};
use crate::build::args::Scope;
use crate::build::cache::identity::{Past, identity};
use crate::build::docker_only;
use crate::build::error::{Error, StepError};
use crate::build::event::{Event, Tell};
use crate::build::options::Stages;
use crate::build::plan::{self, Base};
use crate::build::step::{self, Next};
use crate::container::find_image::SCRATCH;
use crate::container::from;
use crate::container::pull::Obtained;
use crate::dockerfile;
use crate::dockerfile::instruction::Metadata;
use crate::image::{Change, Draft, Format, ImageConfig};
use crate::run::environment::DEFAULT_PATH;

/// Prefix of the annotations that name the base (OCI image specification, annotations).
const LINEAGE: &str = "org.opencontainers.image.base.";
/// Labels of `--stage-labels`: the stage's name or number, and what it was made on. Other tools look for them.
const STAGE_NAME: &str = "io.buildah.stage.name";
const STAGE_BASE: &str = "io.buildah.stage.base";

impl Build<'_> {
    /// Whether the stage gets the labels of `--stage-labels`. One that does nothing is its base, which stays as it is.
    fn is_labelled(&self, index: usize) -> bool {
        let has_steps = self.file.stages.get(index).is_some_and(|written| !written.steps.is_empty());
        let has_labels = self.is_target(index) && !self.options.image.labels.is_empty();
        self.options.layering.stages == Stages::Label && (has_steps || has_labels)
    }

    /// How many steps flags of the build and triggers of the base add to the stage.
    pub(super) fn count_added(&self, index: usize, earlier: &[Option<Built<'_>>]) -> usize {
        let options = self.options;
        let labels = step::labels(options).filter(|_| self.is_target(index));
        let is_on_files = self.plan.stages.get(index).is_some_and(|planned| matches!(planned.base, Base::Files(_)));
        let added = [is_on_files, self.is_labelled(index), step::variables(options).is_some(), labels.is_some()];
        added.into_iter().filter(|is_there| *is_there).count() + self.count_triggers(index, earlier)
    }

    /// How many triggers the base leaves to the stage. What has to be copied into the store first keeps them to itself until then.
    fn count_triggers(&self, index: usize, earlier: &[Option<Built<'_>>]) -> usize {
        let planned = &self.plan.stages[index];
        match &planned.base {
            Base::Scratch | Base::Files(_) => 0,
            Base::Stage(base) => {
                earlier.get(*base).and_then(Option::as_ref).map_or(0, |built| built.draft.config.config.on_build.len())
            }
            Base::Other(name) => {
                let platform = planned.platform.as_deref().map(step::platform);
                let found = self.permitted_base(name).ok().and_then(|name| self.find_here(&name, platform.as_ref()));
                let read = found.and_then(|obtained| from::read_base(self.store, &obtained.found).ok());
                read.map_or(0, |(_, config)| config.config.on_build.len())
            }
        }
    }

    /// The image to use for the one that a FROM names.
    fn permitted_base(&self, name: &str) -> Result<String, StepError> {
        let name = match self.image_context(name) {
            Some(image) => image,
            None => self.named_by_the_file(name)?,
        };
        Ok(self.options.source_policy.image(name)?.source)
    }
}

impl<'b, 'h> Stage<'b, 'h> {
    /// The stage before its first step. No container is made.
    pub(super) fn begin(
        build: &'b Build<'h>,
        index: usize,
        earlier: &'b [Option<Built<'h>>],
        tell: Tell<'_>,
    ) -> Result<Self, StepError> {
        let mut stage = Self {
            build,
            earlier,
            index,
            scope: Scope::new(build.heading),
            draft: Draft::default(),
            ground: None,
            is_own: false,
            is_bare: true,
            base: String::new(),
            lineage: Lineage::new(),
            container: None,
            unmade: None,
            pending: Vec::new(),
            told: Vec::new(),
            holder: OnceCell::new(),
            is_heir: false,
            source_holders: Vec::new(),
            holds_sources: false,
            ahead: None,
            entries: Vec::new(),
            changed_files: false,
            has_cmd: false,
            missed: false,
            steps: Vec::new(),
            at: 0,
            reached: None,
            below: Digest::of(b""),
            unsent: RefCell::default(),
        };
        stage.base = match &build.plan.stages[index].base {
            base @ (Base::Scratch | Base::Files(_)) => {
                let config = from::nothing(build.options.fetch.platform);
                stage.draft = from::draft(build.options.image.format, &Default::default(), config);
                stage.below = identity(&stage.draft, &Past::default());
                match base {
                    Base::Files(name) => name.clone(),
                    _ => SCRATCH.to_owned(),
                }
            }
            Base::Stage(base) => stage.on_stage(*base)?,
            Base::Other(name) => stage.on_image(name, tell)?,
        };
        stage.apply_options()?;
        Ok(stage)
    }

    /// What comes after FROM: triggers of the base, and what is written, between what the caller wants.
    pub(super) fn list_steps(&mut self) -> Result<(), Error> {
        let triggers = std::mem::take(&mut self.draft.config.config.on_build);
        if !triggers.is_empty() {
            self.pending.push(Change::ClearOnBuild);
        }
        let build = self.build;
        let from = build.file.stages[self.index].span();
        let mut steps = triggers.iter().map(|trigger| Next::trigger(trigger, from)).collect::<Result<Vec<_>, _>>()?;
        if let Base::Files(name) = &build.plan.stages[self.index].base {
            steps.push(step::everything_of(name));
        }
        steps.extend(self.labels_of_stage());
        steps.extend(step::variables(build.options));
        steps.extend(build.file.stages[self.index].steps.iter().map(Next::written));
        steps.extend(step::labels(build.options).filter(|_| build.is_target(self.index)));
        self.steps = steps;
        Ok(())
    }

    /// Goes on from an earlier stage. Answers with the ID of its image.
    fn on_stage(&mut self, number: usize) -> Result<String, StepError> {
        let base = self.earlier.get(number).and_then(Option::as_ref);
        let base = base.ok_or_else(|| StepError::Word("the stage it is made on was not built".to_owned()))?;
        let Tree::Image(ground) = &base.tree else {
            return Err(StepError::Word("the stage it is made on has no image".to_owned()));
        };
        (self.scope, self.draft, self.lineage) = (base.scope.clone(), base.draft.clone(), base.lineage.clone());
        self.below = base.below.clone();
        (self.ground, self.is_own, self.is_bare) = (ground.as_deref().cloned(), true, base.is_bare);
        if self.build.plan.stages[number].heir == Some(self.index) {
            self.inherit(base.holder.as_ref())?;
        }
        Ok(self.ground.as_ref().map_or_else(|| "scratch".to_owned(), |ground| ground.found.id.to_string()))
    }

    /// Goes on from an image. Answers with its name.
    fn on_image(&mut self, name: &str, tell: Tell<'_>) -> Result<String, StepError> {
        let build = self.build;
        let platform = build.plan.stages[self.index].platform.as_deref().map(step::platform);
        let permitted = build.permitted_base(name)?;
        let name = permitted.as_str();
        let obtained = build.obtain(name, platform.as_ref())?;
        obtained.warnings.iter().for_each(|warning| tell(Event::Warning(warning.clone())));
        let (base, config) = from::read_base(build.store, &obtained.found).map_err(Box::new)?;
        self.warn_of_losses(name, &config, tell);
        self.draft = from::draft(build.options.image.format, &base, config);
        let past = Past::take(&mut self.draft.config);
        self.below = identity(&self.draft, &past);
        let set = |(key, value): (&String, &String)| Change::SetAnnotation { key: key.clone(), value: value.clone() };
        self.lineage = self.draft.annotations.iter().filter(|(key, _)| key.starts_with(LINEAGE)).map(set).collect();
        let full = obtained.found.name.clone().unwrap_or_else(|| name.to_owned());
        self.ground = Some(Obtained { warnings: Vec::new(), ..obtained });
        Ok(full)
    }

    fn warn_of_losses(&self, name: &str, config: &ImageConfig, tell: Tell<'_>) {
        let lost = docker_only::lost(config);
        if self.build.options.image.format == Format::Oci && !lost.is_empty() && self.build.is_shaping(self.index) {
            let lost = lost.join(" and ");
            tell(Event::Warning(format!(
                "the image gets no {lost} of {name}, for which the OCI format has no place (--format docker keeps what there is)"
            )));
        }
    }

    /// What the caller wants of the image from the start.
    fn apply_options(&mut self) -> Result<(), StepError> {
        if !self.is_bare {
            return Ok(());
        }
        let image = &self.build.options.image;
        let mut changes = Vec::new();
        if self.ground.is_some() {
            changes.extend(image.unset.base_labels.then_some(Change::ClearLabels));
            changes.extend(image.unset.base_annotations.then_some(Change::ClearAnnotations));
            if image.unset.base_annotations {
                changes.extend(self.lineage.iter().cloned());
            }
        }
        let path = self.draft.config.config.env("PATH");
        let lacks_path = match &self.ground {
            // What a stage before this one was to have is known in memory alone.
            Some(ground) if self.is_own => {
                from::read_config(self.build.store, &ground.found.id).map_err(Box::new)?.config.env("PATH").is_none()
            }
            _ => path.is_none() || self.is_own,
        };
        if lacks_path {
            // As every builder does, so that commands are found, and by those who read the image, too.
            changes.push(Change::SetEnv { name: "PATH".to_owned(), value: path.unwrap_or(DEFAULT_PATH).to_owned() });
        }
        for change in changes {
            self.draft.apply(&change);
            self.pending.push(change);
        }
        Ok(())
    }

    /// The step that `--stage-labels` adds.
    pub(super) fn labels_of_stage(&self) -> Option<Next<'b>> {
        let planned = self.build.plan.stages.get(self.index).filter(|_| self.build.is_labelled(self.index))?;
        let name = planned.name.clone().unwrap_or_else(|| self.index.to_string());
        let labels = [(STAGE_NAME.to_owned(), name), (STAGE_BASE.to_owned(), self.base.clone())];
        step::added("LABEL", &labels, Metadata::Label)
    }

    /// The stages that triggers of the base name and that were not built.
    pub(super) fn lacking(&self) -> Vec<usize> {
        let mut lacking = Vec::new();
        for trigger in &self.draft.config.config.on_build {
            // What is wrong with it is said when it is taken.
            let Ok(step) = dockerfile::parse_trigger(trigger) else { continue };
            let Ok(instruction) = step.instruction(&|name: &str| self.variable(name)) else { continue };
            for name in plan::taken_from(&instruction) {
                let stage = self.build.plan.stage(&name, self.index).filter(|_| self.build.named_context(&name).is_none());
                lacking.extend(stage.filter(|stage| self.earlier.get(*stage).is_some_and(Option::is_none)));
            }
        }
        lacking
    }
}
