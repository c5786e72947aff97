//! A stage: one instruction after the other, each either found as the image of an earlier build or taken now.
//!
//! ```text
//!            ┌─ instruction read with the variables of the moment ─ what it changes of the settings
//!  each step ┤
//!            └─ layers: an image for the same inputs? ─ yes ─▶ go on from there        (no container, no namespace)
//!                                                      └ no ─▶ working container on the image so far ─ work ─▶ commit
//!               (a large one's image is made while the next step runs: `ahead`)
//!               no layers: work in the one working container, which is committed at the end
//! ```
//!
//! Invariant: `draft` is what the image would be now, in memory; the container, where there is one, has been told all of it but `pending`.

mod begin;
mod catch_up;

use std::cell::RefCell;
use std::collections::BTreeSet;

use containers_storage::store::Store;
use containers_storage::{ContainerId, Digest, ImageId};

use self::begin::{STAGE_BASE, STAGE_NAME};
use super::ahead::Ahead;
use super::args::{Heading, Scope};
use super::cache::identity::identity;
use super::cache::{Cache, Inputs};
use super::docker_only;
use super::error::{Error, StepError};
use super::event::{Event, Missed, StagePlace, Tell};
use super::finish;
use super::options::{CachePlace, FormatChoice, Layers, Options, Reuse, Stages};
use super::plan::Plan;
use super::remains::Remains;
use super::step::{self, Done, Next};
use crate::container::commit::{Afterwards, LayerPolicy};
use crate::container::config::{self, empty_step};
use crate::container::pull::{Fetch, Obtained};
use crate::container::{commit, from, instruction, remove};
use crate::dockerfile::instruction::{Instruction, Metadata};
use crate::dockerfile::{Dockerfile, Stage as Written};
use crate::image::config::History;
use crate::image::{Change, Draft, ImageConfig};
use crate::run::Streams;

/// What all stages of a build have in common.
pub(super) struct Build<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a Options<'a>,
    pub(super) file: &'a Dockerfile,
    pub(super) plan: &'a Plan,
    pub(super) heading: &'a Heading,
    pub(super) cache: Option<Cache>,
    /// Where standard descriptors of commands lead: in a process of a stage elsewhere than in others.
    pub(super) streams: RefCell<Streams>,
    /// The note of the containers; none where they are to be kept.
    pub(super) remains: Option<Remains>,
    /// Stages that others are made on, which the plan did not know of.
    pub(super) more_bases: RefCell<BTreeSet<usize>>,
}

/// How far a stage has come.
#[derive(Debug)]
pub(super) enum Progress<'h> {
    /// It is built.
    Built(Box<Built<'h>>),
    /// Triggers of its base name stages that nothing else needed: it can begin when these are built.
    Lacks(Vec<usize>),
}

/// A stage that was built.
#[derive(Debug, Clone)]
pub(super) struct Built<'h> {
    pub(super) tree: Tree,
    /// Whether the image is only for this build.
    pub(super) is_passing: bool,
    pub(super) scope: Scope<'h>,
    pub(super) draft: Draft,
    /// The variables of the annotations that name the base.
    pub(super) lineage: Lineage,
}

/// Where the files of a stage are.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    /// In an image; none for nothing.
    Image(Option<Box<Obtained>>),
    /// In a working container.
    Container(ContainerId),
}

/// Name and digest of the image that a stage was made on first, as annotations.
pub(super) type Lineage = Vec<Change>;

/// A stage that is being built.
pub(super) struct Stage<'b, 'h> {
    pub(super) build: &'b Build<'h>,
    pub(super) earlier: &'b [Option<Built<'h>>],
    pub(super) index: usize,
    pub(super) scope: Scope<'h>,
    pub(super) draft: Draft,
    /// What the next container is made on.
    ground: Option<Obtained>,
    /// Whether that is an image of a step or a stage, and not what FROM names.
    is_own: bool,
    lineage: Lineage,
    container: Option<ContainerId>,
    /// What the container has not been told.
    pending: Vec<Change>,
    /// What it has been told.
    told: Vec<Change>,
    /// The image of the step before, which is being made; `container` is on the one below it.
    ahead: Option<Ahead>,
    /// History of the steps that no image has yet.
    entries: Vec<History>,
    changed_files: bool,
    has_cmd: bool,
    /// Whether a layer is new, so that no step above it can have been taken.
    missed: bool,
    /// What the image so far is to the next step.
    below: Digest,
    /// The image of the step, until it was sent to other places.
    unsent: RefCell<Option<Unsent>>,
}

/// An image of a step that other places do not have yet.
struct Unsent {
    key: Digest,
    /// The place that has it.
    came_from: Option<CachePlace>,
}

impl<'h> Build<'h> {
    pub(super) fn place(&self, index: usize) -> StagePlace {
        StagePlace { number: index + 1, of: self.plan.stages.len() }
    }

    fn is_target(&self, index: usize) -> bool {
        index + 1 == self.plan.stages.len()
    }

    pub(super) fn with_layers(&self) -> bool {
        self.options.layering.layers == Layers::Step
    }

    /// Builds the stage `index`; those that it needs are in `earlier`.
    pub(super) fn stage(&self, index: usize, earlier: &[Option<Built<'h>>], tell: Tell<'_>) -> Result<Progress<'h>, Error> {
        let written = &self.file.stages[index];
        let place = self.place(index);
        let labels = step::labels(self.options).filter(|_| self.is_target(index));
        let own = 1 + written.steps.len() + usize::from(labels.is_some());
        tell(Event::Step { stage: place, number: 1, of: own, text: written.from.step.source().to_owned() });
        let mut stage = Stage::begin(self, index, earlier, tell)
            .map_err(|source| Error::Base { span: written.span(), source: Box::new(source) })?;
        let lacking = stage.lacking();
        if !lacking.is_empty() {
            return Ok(Progress::Lacks(lacking));
        }
        let outcome = stage.steps(written, labels, tell);
        match outcome {
            Ok(built) => Ok(Progress::Built(Box::new(built))),
            Err(error) => {
                stage.give_up(tell);
                Err(error)
            }
        }
    }

    /// Whether settings of the stage reach an image that stays.
    fn is_shaping(&self, index: usize) -> bool {
        docker_only::shaping(self.plan, self.options.layering.stages).contains(&index)
    }

    /// Whether the stage becomes an image of its own, even without layers.
    fn becomes_image(&self, index: usize) -> bool {
        let is_base = self.plan.stages.get(index).is_some_and(|stage| stage.is_base);
        is_base || self.options.layering.stages != Stages::Remove || self.more_bases.borrow().contains(&index)
    }

    /// How images are obtained for a stage of that platform.
    pub(super) fn fetch<'f>(&'f self, platform: Option<&'f crate::transport::copy::Platform>) -> Fetch<'f> {
        Fetch { platform: platform.or(self.options.fetch.platform), ..self.options.fetch }
    }
}

impl<'b, 'h> Stage<'b, 'h> {
    fn steps(&mut self, written: &'b Written, labels: Option<Next<'b>>, tell: Tell<'_>) -> Result<Built<'h>, Error> {
        let triggers = std::mem::take(&mut self.draft.config.config.on_build);
        if !triggers.is_empty() {
            self.pending.push(Change::ClearOnBuild);
        }
        let mut steps = Vec::with_capacity(triggers.len() + written.steps.len() + 1);
        for trigger in &triggers {
            steps.push(Next::trigger(trigger)?);
        }
        steps.extend(written.steps.iter().map(Next::written));
        steps.extend(labels);
        let of = 1 + steps.len();
        let count = steps.len();
        for (at, next) in steps.iter().enumerate() {
            let text = next.shown();
            tell(Event::Step { stage: self.build.place(self.index), number: at + 2, of, text });
            let is_last = at + 1 == count && self.build.is_target(self.index);
            let upcoming = steps.get(at + 1);
            self.step(next, upcoming, is_last, tell).map_err(|source| Error::Step {
                text: next.shown(),
                span: next.span(),
                source: Box::new(source),
            })?;
        }
        self.end(count, tell).map_err(|source| Error::Commit(Box::new(source)))
    }

    /// What a name stands for in a word of the stage now: the image's variables win over arguments.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.draft.config.config.env(name).map(str::to_owned).or_else(|| self.scope.lookup(name))
    }

    fn step(&mut self, next: &Next<'_>, upcoming: Option<&Next<'_>>, is_last: bool, tell: Tell<'_>) -> Result<(), StepError> {
        let instruction = next.instruction(&|name: &str| self.variable(name))?;
        self.change_settings(&instruction, tell);
        if !self.build.with_layers() {
            let done = step::work(self, next, &instruction, tell)?;
            self.changed_files |= done.files;
            self.entries.push(empty_step(&done.created_by));
            return Ok(());
        }
        let mut inputs = self.inputs(next, &instruction, is_last)?;
        self.note_unsent(&inputs);
        if let Some(found) = self.find(next, (&instruction, &inputs), is_last, tell)? {
            tell(Event::Cached { stage: self.build.place(self.index), image: found.found.id.to_string() });
            self.go_on_from(found)?;
            if is_last {
                finish::tag_cached(self, tell)?;
            } else {
                if let Some(ground) = &self.ground {
                    self.send(&ground.found.id, tell);
                }
                self.tell_made(tell);
            }
            return Ok(());
        }
        let done = step::work(self, next, &instruction, tell)?;
        if self.ahead.is_some() {
            self.catch_up(tell)?;
            inputs.set_below(&self.below);
        }
        // Files that are made anew have other times; settings alone leave what another step may have left.
        self.missed |= done.files;
        let may_wait = !is_last && done.files && !done.linked && upcoming.is_some_and(Next::is_work);
        if may_wait && self.commit_ahead(&done, &inputs, tell)? {
            return Ok(());
        }
        self.note_unsent(&inputs);
        self.commit_step(&done, is_last, tell)?;
        self.note_made(&inputs, is_last, tell);
        Ok(())
    }

    /// There is an image for a step now.
    fn note_made(&self, inputs: &Inputs, is_last: bool, tell: Tell<'_>) {
        if let (Some(cache), Some(ground)) = (&self.build.cache, &self.ground) {
            cache.put(inputs, &ground.found.id);
        }
        if !is_last {
            self.tell_made(tell);
        }
    }

    pub(super) fn tell_made(&self, tell: Tell<'_>) {
        if let Some(ground) = &self.ground {
            tell(Event::Made { image: ground.found.id.to_string() });
        }
    }

    /// ARG, and what changes the configuration: in memory.
    fn change_settings(&mut self, instruction: &Instruction, tell: Tell<'_>) {
        let changes = match instruction {
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    if self.scope.declare(name, default.clone()).is_none() && self.variable(name).is_none() {
                        tell(Event::Warning(format!(
                            "missing {name:?} build argument. Try adding \"--build-arg {name}=<VALUE>\" to the command line"
                        )));
                    }
                }
                return;
            }
            Instruction::Metadata(metadata) => self.changes(metadata),
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) => return,
        };
        for change in changes {
            let warnings = self.draft.apply(&change);
            if self.is_worth_a_warning(&change) {
                warnings.iter().for_each(|warning| tell(Event::Warning(warning.to_string())));
            }
            self.pending.push(change);
        }
    }

    /// A command beside an entrypoint is what Dockerfiles are written for. All else that is warned of is what the format has no place for:
    /// where nobody chose it, it is known to be that of an image that stays without it, but for triggers of images.
    fn is_worth_a_warning(&self, change: &Change) -> bool {
        match change {
            Change::Entrypoint(_) => false,
            _ if self.build.options.image.format_choice == FormatChoice::Given => true,
            Change::OnBuild(_) => false,
            _ => self.build.is_shaping(self.index),
        }
    }

    fn changes(&mut self, metadata: &Metadata) -> Vec<Change> {
        let mut changes = instruction::changes(metadata, &self.draft.config.config.shell);
        match metadata {
            Metadata::Cmd(_) => self.has_cmd = true,
            // The base's command was for the base's entrypoint.
            Metadata::Entrypoint(_) if !self.has_cmd => changes.insert(0, Change::Cmd(Vec::new())),
            _ => {}
        }
        changes
    }

    /// The image of an earlier build for the same inputs.
    fn find(
        &mut self,
        next: &Next<'_>,
        (instruction, inputs): (&Instruction, &Inputs),
        is_last: bool,
        tell: Tell<'_>,
    ) -> Result<Option<Obtained>, StepError> {
        let Some(cache) = &self.build.cache else { return Ok(None) };
        let missed = match self.build.options.layering.reuse {
            Reuse::Never => Missed::NotWanted,
            _ if is_last && !finish::may_be_cached(&self.build.options.image) => Missed::NotWanted,
            _ if self.missed => Missed::AfterMiss,
            reuse => match cache.find(self.build.store, inputs, reuse)? {
                Ok(found) => return Ok(Some(found)),
                Err(missed) => match self.find_elsewhere(next, (instruction, inputs), is_last, tell) {
                    Some(found) => return Ok(Some(found)),
                    None => missed,
                },
            },
        };
        tell(Event::Missed(missed));
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
        let expected = step::expected(self, next, instruction, is_last);
        let (found, place) = self.build.fetch_step(&key, &expected, tell)?;
        if let Some(cache) = &self.build.cache {
            cache.put(inputs, &found.found.id);
        }
        self.unsent.replace(Some(Unsent { key, came_from: Some(place.clone()) }));
        Some(found)
    }

    /// The image of a step with these inputs is to be sent.
    fn note_unsent(&self, inputs: &Inputs) {
        self.unsent.replace(inputs.key().map(|key| Unsent { key, came_from: None }));
    }

    /// The image of the step goes to the places of `--cache-to`, once.
    pub(super) fn send(&self, image: &ImageId, tell: Tell<'_>) {
        if let Some(Unsent { key, came_from }) = self.unsent.take() {
            self.build.send_step(&key, image, came_from.as_ref(), tell);
        }
    }

    /// Takes an image for what was built so far.
    fn go_on_from(&mut self, found: Obtained) -> Result<(), StepError> {
        self.drop_container()?;
        let (_, config) = from::read_base(self.build.store, &found.found).map_err(Box::new)?;
        self.take_ground(found, config);
        Ok(())
    }

    fn take_ground(&mut self, ground: Obtained, config: ImageConfig) {
        // Settings are known in memory, also those that the image's format has no place for.
        self.draft.config.history = config.history;
        self.draft.config.diff_ids = config.diff_ids;
        self.below = identity(&self.draft);
        (self.ground, self.is_own) = (Some(ground), true);
        self.pending.clear();
    }

    /// The working container, which has been told everything.
    pub(super) fn container(&mut self, tell: Tell<'_>) -> Result<String, StepError> {
        let id = match &self.container {
            Some(id) => id.clone(),
            None => {
                let made = self.make_container()?;
                made.notices.iter().for_each(|notice| tell(Event::Notice(notice.to_string())));
                tell(Event::ContainerMade(made.id.to_string()));
                self.container = Some(made.id.clone());
                self.told.clear();
                if let Some(ahead) = &mut self.ahead {
                    ahead.show_to(self.build.store, &made.id)?;
                    ahead.since.append(&mut self.pending);
                    self.pending = ahead.told.iter().chain(&ahead.since).cloned().collect();
                } else if self.is_own {
                    self.pending.splice(0..0, self.lineage.iter().cloned());
                }
                made.id
            }
        };
        if !self.pending.is_empty() {
            let changes = std::mem::take(&mut self.pending);
            self.told.extend(changes.iter().cloned());
            // What could not be done in full was said when it was done in memory.
            config::config(self.build.store, id.as_str(), &config::Options { changes, history: Vec::new() })?;
        }
        Ok(id.to_string())
    }

    fn make_container(&self) -> Result<from::Outcome, StepError> {
        let options = self.build.options;
        let how = from::Options {
            image: self.ground.as_ref().map_or_else(|| "scratch".to_owned(), |ground| ground.found.id.to_string()),
            name: None,
            format: options.image.format,
            user_namespace: options.run.user_namespace.clone(),
            platform: options.fetch.platform.cloned(),
            environment: options.run.environment.clone(),
            labels: options.run.labels.clone(),
        };
        let mut announce = |id: &ContainerId| match &self.build.remains {
            Some(remains) => remains.note(id),
            None => Ok(()),
        };
        let made = match &self.ground {
            None => from::on_nothing(self.build.store, &how, &mut announce),
            Some(ground) => from::on(self.build.store, &how, ground.clone(), &mut announce),
        };
        Ok(made.map_err(Box::new)?)
    }

    /// Makes the image of a step.
    fn commit_step(&mut self, done: &Done, is_last: bool, tell: Tell<'_>) -> Result<(), StepError> {
        let name = self.container(tell)?;
        let (options, edits) = if done.files && !done.linked {
            self.commit_files(done)
        } else {
            if !done.linked {
                let author = self.draft.config.author.clone();
                let entry = History { author, comment: self.comment(), ..empty_step(&done.created_by) };
                let told = config::Options { changes: Vec::new(), history: vec![entry] };
                config::config(self.build.store, &name, &told)?;
            }
            (commit::Options { layer: LayerPolicy::Omit, ..self.commit_options() }, Vec::new())
        };
        let is_removed = options.container == Afterwards::Remove;
        let outcome = finish::commit_step(self, &name, (options, edits), is_last, tell)?;
        if is_removed {
            self.container = None;
        } else if done.linked {
            self.drop_container()?;
        }
        let found = self.build.found(&outcome.id)?;
        let (_, config) = from::read_base(self.build.store, &found.found).map_err(Box::new)?;
        self.take_ground(found, config);
        Ok(())
    }

    fn commit_options(&self) -> commit::Options {
        let image = &self.build.options.image;
        commit::Options { format: image.format, documents: finish::documents(image), ..commit::Options::default() }
    }

    /// How the container is committed whose files are a step's layer.
    fn commit_files(&self, done: &Done) -> (commit::Options, Vec<commit::Edit>) {
        let changes = [Change::CreatedBy(done.created_by.clone()), Change::HistoryComment(self.comment())];
        let options = commit::Options { layer: LayerPolicy::Append, container: Afterwards::Remove, ..self.commit_options() };
        (options, changes.map(commit::Edit::Change).into())
    }

    /// That of a step's history entry.
    fn comment(&self) -> String {
        match &self.ground {
            Some(ground) if self.is_own => format!("FROM {}", ground.found.id.short()),
            _ => String::new(),
        }
    }

    /// The stage's result, after its last step.
    fn end(&mut self, steps: usize, tell: Tell<'_>) -> Result<Built<'h>, StepError> {
        let is_target = self.build.is_target(self.index);
        let mut is_passing = false;
        if is_target {
            finish::target(self, steps, tell)?;
        } else if self.build.with_layers() {
            self.drop_container()?;
        } else if self.build.becomes_image(self.index) && steps > 0 {
            is_passing = finish::passing(self, tell)? && self.build.options.layering.stages == Stages::Remove;
        }
        let tree = match &self.container {
            Some(id) => Tree::Container(id.clone()),
            None => Tree::Image(self.ground.clone().map(Box::new)),
        };
        Ok(Built { tree, is_passing, scope: self.scope.clone(), draft: self.draft.clone(), lineage: self.lineage.clone() })
    }

    /// After a failure. What cannot be removed now is found by `containers`.
    fn give_up(&mut self, tell: Tell<'_>) {
        use super::options::Leftovers;
        // The steps before it are done, and need not be taken again.
        if let Err(error) = self.catch_up(tell) {
            tell(Event::Warning(error.to_string()));
        }
        let Some(id) = &self.container else { return };
        if self.build.options.layering.containers == Leftovers::KeepFailed {
            tell(Event::Notice(format!("the container {} is kept as the failed step left it", id.short())));
            return;
        }
        if let Err(error) = self.drop_container() {
            tell(Event::Warning(error.to_string()));
        }
    }

    pub(super) fn drop_container(&mut self) -> Result<(), StepError> {
        if let Some(id) = self.container.take() {
            remove::remove(self.build.store, id.as_str()).map_err(Box::new)?;
        }
        Ok(())
    }

    pub(super) fn ground(&self) -> Option<&Obtained> {
        self.ground.as_ref()
    }

    pub(super) fn entries(&mut self) -> Vec<History> {
        std::mem::take(&mut self.entries)
    }

    pub(super) fn has_changed_files(&self) -> bool {
        self.changed_files
    }

    /// The stage is an image now, and has no container any more.
    pub(super) fn becomes(&mut self, image: Obtained) -> Result<(), StepError> {
        self.container = None;
        let (_, config) = from::read_base(self.build.store, &image.found).map_err(Box::new)?;
        self.take_ground(image, config);
        Ok(())
    }

    /// What the image of a step depends on.
    fn inputs(&self, next: &Next<'_>, instruction: &Instruction, is_last: bool) -> Result<Inputs, StepError> {
        let mut inputs = Inputs::of_step(&self.below, &next.written_text());
        inputs.add("instruction", format!("{instruction:?}").as_bytes());
        inputs.add("options of the build", finish::fingerprint(self.build.options, is_last).as_bytes());
        if self.build.options.layering.stages == Stages::Label {
            let labels = &self.draft.config.config.labels;
            inputs.add("labels of the stage", format!("{:?} {:?}", labels.get(STAGE_NAME), labels.get(STAGE_BASE)).as_bytes());
        }
        step::inputs(self, instruction, &mut inputs)?;
        Ok(inputs)
    }
}
