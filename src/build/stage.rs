//! A stage: one instruction after the other, each either found as the image of an earlier build or taken now.
//!
//! ```text
//!            ┌─ instruction read with the variables of the moment ─ what it changes of the settings
//!  each step ┤
//!            └─ layers: an image for the same inputs? ─ yes ─▶ go on from there        (no container, no namespace)
//!                                                      └ no ─▶ working container on the image so far ─ work ─▶ commit
//!               (a large one's image is made while the next step runs: `ahead`; settings alone need no container: `unmade`)
//!               no layers: work in the one working container, which is committed at the end
//! ```
//!
//! Where only looking is permitted (`reach`), a stage stops before it needs more. It goes on from there in another process, which has a copy
//! of it.
//!
//! Invariant: `draft` is what the image would be now, in memory, but for its layers and its history, which are those of `ground` (`past`); the
//! container, where there is one, has been told all of it but `pending`.

mod begin;
mod catch_up;
mod container;
mod found;
mod hold;
mod unmade;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;

use containers_storage::store::Store;
use containers_storage::{ContainerId, Digest, ImageId};

use self::found::Unsent;
use self::unmade::Unmade;
use super::ahead::Ahead;
use super::args::{Heading, Scope};
use super::cache::identity::{Past, identity};
use super::cache::{Cache, Inputs};
use super::docker_only;
use super::error::{Error, Place, StepError};
use super::event::{Event, StagePlace, Tell};
use super::finish::{self, Subject};
use super::late::{self, Entries, Entry};
use super::options::{FormatChoice, Layers, Options, Stages};
use super::plan::{Base, Plan};
use super::reach::Reach;
use super::remains::Remains;
use super::step::{self, Done, Next};
use crate::container::commit::{Afterwards, LayerPolicy};
use crate::container::config;
use crate::container::pull::{Fetch, Obtained};
use crate::container::{commit, from, instruction, remove};
use crate::dockerfile::Dockerfile;
use crate::dockerfile::instruction::{Instruction, Metadata};
use crate::image::{Change, Draft};
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
    /// The note of the containers that go with the build.
    pub(super) remains: Option<Remains>,
    /// How often stages may begin again since an image that they stand on was removed meanwhile.
    pub(super) patience: Cell<usize>,
    /// Stages that others are made on, which the plan did not know of.
    pub(super) more_bases: RefCell<BTreeSet<usize>>,
    /// How far this process may go.
    pub(super) reach: Cell<Reach>,
}

/// How far a stage has come.
pub(super) enum Progress<'b, 'h> {
    /// It is built.
    Built(Box<Built<'h>>),
    /// Triggers of its base name stages that nothing else needed: it can begin when these are built.
    Lacks(Vec<usize>),
    /// Somebody removed an image that it stands on: it begins again when these are built again.
    Lost(Vec<usize>),
    /// It takes more than a look. None: from its very beginning.
    Stopped(Option<Box<Stage<'b, 'h>>>),
}

/// A stage that was built.
#[derive(Debug, Clone)]
pub(super) struct Built<'h> {
    pub(super) tree: Tree,
    /// What keeps the image there, unless it came from the cache or has a name.
    pub(super) holder: Option<ContainerId>,
    /// Whether the image is only for this build.
    pub(super) is_passing: bool,
    /// Whether it is what FROM names, to which nothing was done. What the caller wants from the start is in `draft` alone.
    pub(super) is_bare: bool,
    pub(super) scope: Scope<'h>,
    /// Without layers and history.
    pub(super) draft: Draft,
    /// What the image is to the first step of a stage that is made on it.
    pub(super) below: Digest,
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
    /// Whether nothing was done to it, in the stages that this one is made on neither.
    is_bare: bool,
    /// What it is made on: the name of an image, or the ID of that of a stage.
    base: String,
    lineage: Lineage,
    container: Option<ContainerId>,
    /// What stands for the container as long as only settings change (`unmade`).
    unmade: Option<Unmade>,
    /// What the container has not been told.
    pending: Vec<Change>,
    /// What it has been told.
    told: Vec<Change>,
    /// What keeps the newest image that was made here (`hold`).
    holder: OnceCell<ContainerId>,
    /// Whether that came from the stage that this one is made on, and goes with that.
    is_heir: bool,
    /// What keeps images of other stages.
    source_holders: Vec<ContainerId>,
    /// Whether these were held.
    holds_sources: bool,
    /// The image of the step before, which is being made; `container` is on the one below it.
    ahead: Option<Ahead>,
    /// History of the steps that no image has yet.
    entries: Vec<Entry>,
    changed_files: bool,
    has_cmd: bool,
    /// Whether a layer is new, so that no step above it can have been taken.
    missed: bool,
    /// What comes after FROM, and which of that is next.
    steps: Vec<Next<'b>>,
    at: usize,
    /// How far the next step has come already.
    reached: Option<Reached>,
    /// What the image so far is to the next step.
    below: Digest,
    /// The image of the step, until it was sent to other places.
    unsent: RefCell<Option<Unsent>>,
}

/// What is known of a step that was begun.
enum Reached {
    /// What it is; the settings are changed.
    Instruction(Instruction),
    /// It is to be taken: there is no image for these inputs.
    Miss(Instruction, Inputs),
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
    pub(super) fn stage<'b>(
        &'b self,
        index: usize,
        earlier: &'b [Option<Built<'h>>],
        tell: Tell<'_>,
    ) -> Result<Progress<'b, 'h>, Error> {
        let written = &self.file.stages[index];
        let place = self.place(index);
        let of = 1 + written.steps.len() + self.count_added(index, earlier);
        tell(Event::Step { stage: place, number: 1, of, text: self.shown_from(index) });
        let mut stage = match Stage::begin(self, index, earlier, tell) {
            Ok(stage) => stage,
            Err(_) if self.is_stopped() => return Ok(Progress::Stopped(None)),
            Err(source) => {
                return Err(Error::Base { span: written.span(), nearest: self.stage_near_base(index), source: source.into() });
            }
        };
        let lacking = stage.lacking();
        if !lacking.is_empty() {
            return Ok(Progress::Lacks(lacking));
        }
        stage.list_steps()?;
        Box::new(stage).go_on(tell)
    }

    /// The stage that was probably meant by the name of an image that could not be had.
    fn stage_near_base(&self, index: usize) -> Option<String> {
        match &self.plan.stages[index].base {
            Base::Other(name) => self.plan.stage_near(name, index).map(str::to_owned),
            Base::Scratch | Base::Files(_) | Base::Stage(_) => None,
        }
    }

    /// Whether `--no-cache-filter` means the stage: by its name in any case, or by its number.
    fn is_built_anew(&self, index: usize) -> bool {
        let name = self.plan.stages.get(index).and_then(|planned| planned.name.as_deref());
        let is_number = |word: &String| word.parse() == Ok(index);
        let is_meant = |word: &String| is_number(word) || name.is_some_and(|name| name.eq_ignore_ascii_case(word));
        self.options.layering.anew.iter().any(is_meant)
    }

    /// The FROM of a stage, with what variables stand for.
    fn shown_from(&self, index: usize) -> String {
        let (planned, written) = (&self.plan.stages[index], &self.file.stages[index].from);
        let image = match &planned.base {
            Base::Other(name) => self.image_context(name).unwrap_or(name),
            Base::Scratch => "scratch",
            Base::Files(name) => name,
            Base::Stage(_) => &written.image,
        };
        let platform = planned.platform.as_ref().map(|platform| format!("--platform={platform} ")).unwrap_or_default();
        let name = planned.name.as_ref().map(|name| format!(" AS {name}")).unwrap_or_default();
        format!("FROM {platform}{image}{name}")
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
    /// Takes the steps that are left, from where it stands.
    pub(super) fn go_on(mut self: Box<Self>, tell: Tell<'_>) -> Result<Progress<'b, 'h>, Error> {
        let steps = std::mem::take(&mut self.steps);
        let outcome = self.take_all(&steps, tell);
        match outcome {
            Ok(built) => Ok(Progress::Built(Box::new(built))),
            Err(_) if self.build.is_stopped() => {
                self.steps = steps;
                Ok(Progress::Stopped(Some(self)))
            }
            Err(error) => {
                self.give_up(tell);
                match self.lost().filter(|_| self.build.patience.get() > 0) {
                    Some(stages) => Ok(Progress::Lost(stages)),
                    None => Err(error),
                }
            }
        }
    }

    fn take_all(&mut self, steps: &[Next<'b>], tell: Tell<'_>) -> Result<Built<'h>, Error> {
        let count = steps.len();
        while let Some(next) = steps.get(self.at) {
            if self.reached.is_none() {
                let stage = self.build.place(self.index);
                tell(Event::Step { stage, number: self.at + 2, of: 1 + count, text: next.shown() });
            }
            let is_last = self.at + 1 == count && self.build.is_target(self.index);
            let upcoming = steps.get(self.at + 1);
            self.step(next, upcoming, is_last, tell).map_err(|source| Error::Step {
                text: next.shown(),
                place: match next.place() {
                    Place::Written(span) => {
                        let text = self.build.options.texts.get(span.file);
                        Place::Written(text.map_or(span, |text| source.word_in(span, &text.text)))
                    }
                    place => place,
                },
                source: Box::new(source),
            })?;
            self.at += 1;
        }
        self.end(count, tell).map_err(|source| Error::Commit(Box::new(source)))
    }

    /// What a name stands for in a word of the stage now: the image's variables win over arguments.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.draft.config.config.env(name).map(str::to_owned).or_else(|| self.scope.lookup(name))
    }

    fn step(&mut self, next: &Next<'_>, upcoming: Option<&Next<'_>>, is_last: bool, tell: Tell<'_>) -> Result<(), StepError> {
        if self.build.is_stopped() {
            return Err(StepError::Beyond);
        }
        let instruction = match self.reached.take() {
            None => {
                let instruction = next.instruction(&|name: &str| self.variable(name))?;
                self.change_settings(&instruction, tell);
                instruction
            }
            Some(Reached::Instruction(instruction)) => instruction,
            Some(Reached::Miss(instruction, inputs)) => {
                return self.work(next, upcoming, (&instruction, inputs), is_last, tell);
            }
        };
        if !self.build.with_layers() {
            self.hold_sources(tell)?;
            if step::changes_files(&instruction) {
                late::settle(&mut self.entries)?;
            }
            let done = step::work(self, next, &instruction, tell)?;
            self.changed_files |= done.files;
            if upcoming.is_none() && self.changed_files {
                step::end(self, &instruction, tell)?;
            }
            self.entries.push(Entry::new(done.created_by));
            return Ok(());
        }
        let inputs = match self.inputs(next, &instruction, is_last) {
            Err(error) if self.build.is_stopped() => {
                self.reached = Some(Reached::Instruction(instruction));
                return Err(error);
            }
            inputs => inputs?,
        };
        self.note_unsent(&inputs);
        if let Some(found) = self.find(next, (&instruction, &inputs), is_last, tell)?
            && self.take_found(found, is_last, tell)?
        {
            return Ok(());
        }
        if let Err(error) = self.build.require_work() {
            self.reached = Some(Reached::Miss(instruction, inputs));
            return Err(error);
        }
        self.work(next, upcoming, (&instruction, inputs), is_last, tell)
    }

    /// Does the work of a step, and makes its image.
    fn work(
        &mut self,
        next: &Next<'_>,
        upcoming: Option<&Next<'_>>,
        (instruction, mut inputs): (&Instruction, Inputs),
        is_last: bool,
        tell: Tell<'_>,
    ) -> Result<(), StepError> {
        self.hold_sources(tell)?;
        let mut done = step::work(self, next, instruction, tell)?;
        if self.build.cache.is_some() && inputs.has_files() && self.inputs(next, instruction, is_last)?.key() != inputs.key() {
            // What was read for the key is not what was taken.
            inputs.distrust("what changed while the step was taken".to_owned());
            tell(Event::Warning(
                "files of the context changed while the step was taken: nobody gets it from the cache".to_owned(),
            ));
        }
        if self.ahead.is_some() {
            self.catch_up(tell)?;
            inputs.set_below(&self.below);
        }
        // Files that are made anew have other times; settings alone leave what another step may have left.
        self.missed |= done.files;
        let may_wait = !is_last && done.files && !done.linked && upcoming.is_some_and(Next::is_work);
        if may_wait && self.commit_ahead(&mut done, &inputs, tell)? {
            return Ok(());
        }
        self.note_unsent(&inputs);
        self.commit_step(done, is_last, tell)?;
        self.note_made(&inputs, is_last, tell);
        Ok(())
    }

    /// There is an image for a step now.
    fn note_made(&self, inputs: &Inputs, is_last: bool, tell: Tell<'_>) {
        if let (Some(cache), Some(ground)) = (&self.build.cache, &self.ground) {
            cache.put(inputs, &ground.found.id, Some(&self.below));
        }
        if !is_last {
            self.tell_made(tell);
        }
    }

    pub(super) fn tell_made(&self, tell: Tell<'_>) {
        if let Some(ground) = &self.ground {
            tell(Event::Made { stage: self.build.place(self.index), image: ground.found.id.to_string() });
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
            if !warnings.is_empty() && self.is_worth_a_warning(&change) {
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

    /// `below` is what the image is to the next step.
    fn take_ground(&mut self, ground: Obtained, below: Digest) {
        (self.ground, self.is_own, self.is_bare, self.below) = (Some(ground), true, false, below);
        self.pending.clear();
    }

    /// Layers and history of the image so far.
    pub(super) fn past(&self) -> Result<Past, StepError> {
        self.ground.as_ref().map_or_else(|| Ok(Past::default()), |ground| self.past_of(&ground.found.id))
    }

    fn past_of(&self, image: &ImageId) -> Result<Past, StepError> {
        // Settings are known in memory, also those that the image's format has no place for.
        let mut config = from::read_config(self.build.store, image).map_err(Box::new)?;
        Ok(Past::take(&mut config))
    }

    /// What the image with that past is to the next step. Without a cache nobody asks.
    fn identity(&self, past: impl FnOnce() -> Result<Past, StepError>) -> Result<Digest, StepError> {
        match &self.build.cache {
            Some(_) => Ok(identity(&self.draft, &past()?)),
            None => Ok(self.below.clone()),
        }
    }

    /// Makes the image of a step.
    fn commit_step(&mut self, done: Done, is_last: bool, tell: Tell<'_>) -> Result<(), StepError> {
        if !done.files && !done.linked && self.needs_no_container() {
            return self.commit_settings(done, is_last, tell);
        }
        let name = self.container(tell)?;
        let Done { created_by, files, linked } = done;
        let (options, edits, entries) = if files && !linked {
            let (options, edits) = self.commit_files();
            (options, edits, Entries::of_layer(created_by))
        } else {
            if !linked {
                let told = config::Options { changes: Vec::new(), history: vec![self.entry(created_by)?] };
                config::config(self.build.store, &name, &told)?;
            }
            (commit::Options { layer: LayerPolicy::Omit, ..self.commit_options() }, Vec::new(), Entries::default())
        };
        let is_removed = options.container == Afterwards::Remove;
        let mut subject = Subject::Container(name, entries);
        let outcome = finish::commit_step(self, &mut subject, (options, edits), is_last, tell)?;
        if is_removed {
            self.container = None;
        } else if files || self.build.options.layering.containers.keeps_done() {
            self.drop_container()?;
        }
        self.go_on_upon(&outcome.id)
    }

    /// The next step is taken on an image that was just made.
    fn go_on_upon(&mut self, image: &ImageId) -> Result<(), StepError> {
        let found = self.build.found(image)?;
        let below = self.identity(|| self.past_of(image))?;
        self.take_ground(found, below);
        Ok(())
    }

    fn commit_options(&self) -> commit::Options {
        let image = &self.build.options.image;
        commit::Options { format: image.format, documents: finish::documents(image), ..commit::Options::default() }
    }

    /// How the container is committed whose files are a step's layer; the words of its history entry are not among the edits.
    fn commit_files(&self) -> (commit::Options, Vec<commit::Edit>) {
        let options = commit::Options {
            layer: LayerPolicy::Append,
            container: finish::leftover(self.build.options),
            ..self.commit_options()
        };
        (options, vec![commit::Edit::Change(Change::HistoryComment(self.comment()))])
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
        if steps == 0 && self.build.with_layers() {
            // What the caller wants from the start is in no image yet.
            self.below = self.identity(|| self.past())?;
        }
        self.release_sources(tell);
        let holder = self.holder.take();
        Ok(Built {
            tree,
            holder,
            is_passing,
            is_bare: self.is_bare,
            scope: self.scope.clone(),
            draft: self.draft.clone(),
            below: self.below.clone(),
            lineage: self.lineage.clone(),
        })
    }

    /// After a failure. What cannot be removed now is found by `containers`.
    fn give_up(&mut self, tell: Tell<'_>) {
        // The steps before it are done, and need not be taken again.
        if let Err(error) = self.catch_up(tell) {
            tell(Event::Warning(error.to_string()));
        }
        self.release_sources(tell);
        if let Some(holder) = self.holder.take().filter(|_| !self.is_heir) {
            self.build.remove_holder(&holder, tell);
        }
        let Some(id) = self.container.take() else { return };
        if self.build.options.layering.containers.keeps_failed() {
            return tell(Event::ContainerLeft(id.to_string()));
        }
        if let Err(error) = remove::remove(self.build.store, id.as_str()) {
            tell(Event::Warning(error.to_string()));
        }
    }

    /// Whether the caller wants something else from the start than what FROM alone gives.
    pub(super) fn loses_of_its_base(&self) -> bool {
        let unset = &self.build.options.image.unset;
        self.is_bare && (unset.base_labels || unset.base_annotations)
    }

    pub(super) fn ground(&self) -> Option<&Obtained> {
        self.ground.as_ref()
    }

    pub(super) fn entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    pub(super) fn has_changed_files(&self) -> bool {
        self.changed_files
    }

    /// The stage is an image now, and has no container any more.
    pub(super) fn becomes(&mut self, image: &ImageId) -> Result<(), StepError> {
        (self.container, self.unmade) = (None, None);
        self.go_on_upon(image)
    }
}
