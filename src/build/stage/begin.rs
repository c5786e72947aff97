//! The beginning of a stage: what it is made on, what the caller wants of its image from the start, and which other stages the triggers of its
//! base turn out to need.

use std::cell::RefCell;

use containers_storage::Digest;

use super::{Build, Built, Lineage, Stage, Tree};
use crate::build::args::Scope;
use crate::build::cache::identity::identity;
use crate::build::docker_only;
use crate::build::error::StepError;
use crate::build::event::{Event, Tell};
use crate::build::options::Stages;
use crate::build::plan::{self, Base};
use crate::build::step;
use crate::container::from;
use crate::container::pull::{self, Obtained};
use crate::dockerfile;
use crate::image::{Change, Draft, Format, ImageConfig};
use crate::run::environment::DEFAULT_PATH;

/// Prefix of the annotations that name the base (OCI image specification, annotations).
const LINEAGE: &str = "org.opencontainers.image.base.";
/// Labels of `--stage-labels`: the stage's name or number, and what it was made on. Other tools look for them.
pub(super) const STAGE_NAME: &str = "io.buildah.stage.name";
pub(super) const STAGE_BASE: &str = "io.buildah.stage.base";

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
            lineage: Lineage::new(),
            container: None,
            pending: Vec::new(),
            told: Vec::new(),
            ahead: None,
            entries: Vec::new(),
            changed_files: false,
            has_cmd: false,
            missed: false,
            below: Digest::of(b""),
            unsent: RefCell::default(),
        };
        let base = match &build.plan.stages[index].base {
            Base::Scratch => {
                let config = from::nothing(build.options.fetch.platform);
                stage.draft = from::draft(build.options.image.format, &Default::default(), config);
                "scratch".to_owned()
            }
            Base::Stage(base) => stage.on_stage(*base)?,
            Base::Other(name) => stage.on_image(name, tell)?,
        };
        stage.below = identity(&stage.draft);
        stage.apply_options(&base);
        Ok(stage)
    }

    /// Goes on from an earlier stage. Answers with the ID of its image.
    fn on_stage(&mut self, base: usize) -> Result<String, StepError> {
        let base = self.earlier.get(base).and_then(Option::as_ref);
        let base = base.ok_or_else(|| StepError::Word("the stage it is made on was not built".to_owned()))?;
        let Tree::Image(ground) = &base.tree else {
            return Err(StepError::Word("the stage it is made on has no image".to_owned()));
        };
        (self.scope, self.draft, self.lineage) = (base.scope.clone(), base.draft.clone(), base.lineage.clone());
        (self.ground, self.is_own) = (ground.as_deref().cloned(), true);
        Ok(self.ground.as_ref().map_or_else(|| "scratch".to_owned(), |ground| ground.found.id.to_string()))
    }

    /// Goes on from an image. Answers with its name.
    fn on_image(&mut self, name: &str, tell: Tell<'_>) -> Result<String, StepError> {
        let build = self.build;
        let platform = build.plan.stages[self.index].platform.as_deref().map(step::platform);
        let name = match build.image_context(name) {
            Some(image) => image,
            None => build.named_by_the_file(name)?,
        };
        let permitted = build.options.source_policy.image(name)?;
        let name = permitted.source.as_str();
        let obtained = pull::obtain(build.store, name, &build.fetch(platform.as_ref())).map_err(Box::new)?;
        obtained.warnings.iter().for_each(|warning| tell(Event::Warning(warning.clone())));
        let (base, config) = from::read_base(build.store, &obtained.found).map_err(Box::new)?;
        self.warn_of_losses(name, &config, tell);
        self.draft = from::draft(build.options.image.format, &base, config);
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
                "warning: the image gets no {lost} of {name}, for which the OCI format has no place (--format docker keeps what there is)"
            )));
        }
    }

    /// What the caller wants of the image from the start.
    fn apply_options(&mut self, base: &str) {
        let image = &self.build.options.image;
        let mut changes = Vec::new();
        if matches!(self.build.plan.stages[self.index].base, Base::Other(_)) {
            changes.extend(image.unset.base_labels.then_some(Change::ClearLabels));
            changes.extend(image.unset.base_annotations.then_some(Change::ClearAnnotations));
            if image.unset.base_annotations {
                changes.extend(self.lineage.iter().cloned());
            }
        }
        let has_path = self.draft.config.config.env("PATH").is_some();
        if !has_path && !matches!(self.build.plan.stages[self.index].base, Base::Stage(_)) {
            // As every builder does, so that commands are found, and by those who read the image, too.
            changes.push(Change::SetEnv { name: "PATH".to_owned(), value: DEFAULT_PATH.to_owned() });
        }
        changes.extend(image.env.iter().map(|(name, value)| Change::SetEnv { name: name.clone(), value: value.clone() }));
        changes.extend(self.labels(base));
        for change in changes {
            self.draft.apply(&change);
            self.pending.push(change);
        }
    }

    /// The labels of `--stage-labels`. A stage that does nothing is its base, which stays as it is.
    fn labels(&self, base: &str) -> Vec<Change> {
        let build = self.build;
        let written = &build.file.stages[self.index];
        let options = build.options;
        let is_labelled = build.is_target(self.index) && !options.image.labels.is_empty();
        let does_nothing = written.steps.is_empty() && self.draft.config.config.on_build.is_empty() && !is_labelled;
        if options.layering.stages != Stages::Label || does_nothing {
            return Vec::new();
        }
        let name = written.from.name.clone().unwrap_or_else(|| self.index.to_string());
        let label = |key: &str, value: String| Change::SetLabel { key: key.to_owned(), value };
        vec![label(STAGE_NAME, name), label(STAGE_BASE, base.to_owned())]
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
