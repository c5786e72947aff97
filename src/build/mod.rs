//! `build`: Dockerfiles to images, by calling the verbs of `container`; never a second implementation of one.
//!
//! ```text
//! texts ──dockerfile::parse──▶ stages ──plan──▶ what the target needs, and in which order      (args: what variables stand for)
//!                                                │ workers: each stage that takes work in a process, several at a time
//!                            stage: one step after the other ──step/<instruction>──▶ container::{from, run, copy, config, commit}
//!                                                │
//!                            cache: has a step with the same inputs been taken already? ──▶ the image it left
//!                            remains: which containers are to be removed if the build is killed?
//! ```
//!
//! Invariant: a stage touches files only through a working container, which exists only while the stage is built (unless a failed
//! one is to be kept); what a step leaves is visible to others only when all of it is there.
//!
//! Must not: know flags, print (`Event`s are told to the caller), or resolve a path of the build context but below its handle.

mod ahead;
mod args;
mod cache;
pub mod context;
mod docker_only;
mod error;
mod event;
mod finish;
mod late;
pub mod options;
mod plan;
mod platforms;
mod reach;
mod remains;
pub mod source_policy;
mod stage;
mod step;
mod wire;
mod workers;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::OsString;

use containers_storage::images::Image;
use containers_storage::store::{self, Store};
use containers_storage::{ContainerId, Digest, ImageId};

pub use self::cache::tidy;
pub use self::error::{Error, StepError};
pub use self::event::{Event, Missed, OutputStream, StagePlace, Tell};
pub use self::options::Options;
pub use self::plan::Error as PlanError;
pub use self::platforms::bases;
pub use self::remains::collect;

use self::args::{BuiltIn, Heading};
use self::cache::Cache;
use self::options::{CachePlace, FormatChoice, ImageOptions};
use self::plan::Plan;
use self::reach::Reach;
use self::remains::Remains;
use self::stage::{Build, Tree};
use crate::container::add::Selection;
use crate::container::commit::Clock;
use crate::container::{contents, remove};
use crate::dockerfile::{self, Dockerfile};
use crate::image::Format;
use crate::transport::copy::Platform;

/// How often the stages of a build may begin again.
const PATIENCE: usize = 16;

/// How many images are removed in one step.
const AT_ONCE: usize = 500;

/// What was built.
#[derive(Debug)]
pub struct Outcome<'s> {
    /// The image that was asked for.
    pub image: ImageId,
    /// Its names, completed.
    pub names: Vec<String>,
    /// What keeps an image without a name there that is to be copied elsewhere.
    pub held: Option<Held<'s>>,
}

/// Until it is dropped, no tool's prune takes the image that was built.
#[derive(Debug)]
pub struct Held<'s> {
    store: &'s Store,
    container: ContainerId,
    /// Should this process be killed.
    _note: Option<Remains>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove::remove(self.store, self.container.as_str()) {
            log::debug!("the container {} stays: {error}", self.container.short());
        }
    }
}

/// Builds. `tell` is told what happens.
pub fn build<'s>(store: &'s Store, options: &Options<'_>, tell: Tell<'_>) -> Result<Outcome<'s>, Error> {
    let file = dockerfile::parse_all(options.texts.iter().map(|text| text.text.as_str()))?;
    let names = finish::names(&options.image.tags)?;
    finish::check(store, &options.image)?;
    let heading = heading(&file, options)?;
    let plan = plan::plan(&file, &heading, &options.selection, &options.image.env, &|name| options.further(name))?;
    warn_of_no_stages(&plan, &options.layering.anew, tell);
    let in_docker_format = in_docker_format(&file, &plan, options, tell);
    let options = in_docker_format.as_ref().unwrap_or(options);
    let cache = (options.layering.layers == options::Layers::Step).then(|| Cache::of(store));
    let streams = RefCell::new(options.run.streams.clone());
    collect(store);
    let remains = Remains::begin(store).inspect_err(|error| log::debug!("no note of the containers: {error}")).ok();
    let mut build = Build {
        store,
        options,
        file: &file,
        plan: &plan,
        heading: &heading,
        cache,
        streams,
        remains,
        patience: Cell::new(PATIENCE),
        more_bases: RefCell::default(),
        reach: Cell::new(Reach::Work),
    };
    let (image, holder) = stages(&build, tell)?;
    let held = holder.map(|container| Held { store, container, _note: build.remains.take() });
    if build.cache.is_some() {
        tidy::tidy(store, tidy::When::Due);
    }
    let unused = heading.unused();
    if !unused.is_empty() {
        tell(Event::UnusedArguments(unused));
    }
    let all = if names.is_empty() { Vec::new() } else { with_others(store, &image, &names) };
    all.into_iter().for_each(|name| tell(Event::Tagged(name)));
    Ok(Outcome { image, names, held })
}

/// The names, and then those that the image has besides: from builds that made the same.
fn with_others(store: &Store, image: &ImageId, names: &[String]) -> Vec<String> {
    let found = store.images().and_then(|images| images.get(image));
    let others = found.map(|image| image.names).unwrap_or_default();
    names.iter().cloned().chain(others.into_iter().filter(|name| !names.contains(name))).collect()
}

/// Says which words of `--no-cache-filter` mean no stage.
fn warn_of_no_stages(plan: &Plan, words: &[String], tell: Tell<'_>) {
    for word in words.iter().filter(|word| !plan.has_stage(word)) {
        tell(Event::Warning(format!("--no-cache-filter={word}: there is no such stage")));
    }
}

/// The same in Docker's format, if nobody chose one and only that has a place for what the file says.
fn in_docker_format<'o>(file: &Dockerfile, plan: &Plan, options: &Options<'o>, tell: Tell<'_>) -> Option<Options<'o>> {
    let image = &options.image;
    if image.format == Format::Docker || image.format_choice == FormatChoice::Given {
        return None;
    }
    let step = docker_only::first(file, plan, options.layering.stages)?;
    let text = format!(
        "building in the docker format, since that of OCI has no place for {} (--format oci builds without)",
        step.keyword
    );
    tell(Event::Notice(text));
    let mut layering = options.layering.clone();
    if layering.names_directories() {
        tell(Event::Notice(
            "a directory keeps steps in the OCI format only: those of --cache-from and --cache-to are not used".to_owned(),
        ));
        let is_repository = |place: &CachePlace| !matches!(place, CachePlace::Directory(_));
        layering.cache_from.retain(is_repository);
        layering.cache_to.retain(is_repository);
    }
    Some(Options { image: ImageOptions { format: Format::Docker, ..image.clone() }, layering, ..options.clone() })
}

/// The ARGs before the first FROM.
fn heading(file: &Dockerfile, options: &Options<'_>) -> Result<Heading, Error> {
    let machine = Platform::of_this_machine();
    let epoch = match options.image.clock {
        Clock::Epoch(seconds) | Clock::EpochForFiles(seconds) => Some(seconds),
        Clock::Now | Clock::Timestamp(_) => None,
    };
    let selection = &options.selection;
    let built_in = BuiltIn {
        target: selection.platform.as_ref().unwrap_or(&machine),
        machine: &machine,
        stage: selection.target.as_deref(),
        epoch,
    };
    let heading = RefCell::new(Heading::new(&selection.args, &built_in));
    for step in &file.args {
        let lookup = |name: &str| heading.borrow().lookup(name);
        step.arguments_in_turn(&lookup, &mut |name, default| heading.borrow_mut().declare(&name, default))?;
    }
    Ok(heading.into_inner())
}

/// Builds the stages, and takes away what only they needed. Answers with the image that was asked for, and with what holds it, if it needs that.
fn stages(build: &Build<'_>, tell: Tell<'_>) -> Result<(ImageId, Option<ContainerId>), Error> {
    let (mut done, outcome) = workers::build_all(build, tell);
    let mut target = done.pop().flatten();
    let mut holder = target.as_mut().and_then(|target| target.holder.take());
    if let Some(unneeded) = holder.take_if(|_| !build.is_result_held()) {
        build.remove_holder(&unneeded, tell);
    }
    // Several stages may have had one after the other.
    let holders: BTreeSet<&ContainerId> = done.iter().flatten().filter_map(|built| built.holder.as_ref()).collect();
    let unneeded = holders.into_iter().filter(|other| holder.as_ref() != Some(other));
    unneeded.for_each(|holder| build.remove_holder(holder, tell));
    let is_result = |id: &ImageId| matches!(target.as_ref().map(|built| &built.tree), Some(Tree::Image(Some(image))) if image.found.id == *id);
    // Containers first: an image that one of them stands on stays.
    for built in done.iter().flatten() {
        if let Tree::Container(id) = &built.tree
            && let Err(error) = remove::remove(build.store, id.as_str())
        {
            tell(Event::Warning(error.to_string()));
        }
    }
    let passing = done.iter().flatten().filter(|built| built.is_passing).filter_map(|built| match &built.tree {
        Tree::Image(Some(image)) if !is_result(&image.found.id) => Some(image.found.id.clone()),
        _ => None,
    });
    remove_images(build.store, &passing.collect::<Vec<ImageId>>(), tell);
    outcome?;
    match target.map(|built| built.tree) {
        Some(Tree::Image(Some(image))) => Ok((image.found.id, holder)),
        _ => Err(Error::Commit(Box::new(StepError::Word("the stage has no image".to_owned())))),
    }
}

/// Removes images of stages. What is made on them keeps their layers.
fn remove_images(store: &Store, images: &[ImageId], tell: Tell<'_>) {
    for some in images.chunks(AT_ONCE) {
        if store.delete_images(some).and_then(|mut deleted| deleted.finish()).is_ok() {
            continue;
        }
        // One that somebody uses keeps no other.
        for id in some {
            match store.delete_image(id).and_then(|mut deleted| deleted.finish()) {
                // A prune was sooner.
                Ok(_) | Err(store::Error::NoImage(_)) => {}
                Err(error) => tell(Event::Warning(format!("removing the image {} of a stage: {error}", id.short()))),
            }
        }
    }
}

impl Build<'_> {
    /// Keeps the digests of files that were read.
    fn save_digests(&self) {
        if let Some(cache) = &self.cache
            && let Err(error) = cache.files().borrow_mut().save()
        {
            log::debug!("digests of files are not kept: {error}");
        }
    }

    /// What a copy of an image's files would bring, as one digest.
    pub(in crate::build) fn contents(
        &self,
        image: &Image,
        operands: &[OsString],
        selection: &Selection,
    ) -> Result<Digest, StepError> {
        let Some(cache) = &self.cache else { return Ok(Digest::of(b"")) };
        if let Some(known) = cache.tree(&image.id, operands, selection) {
            return Ok(known);
        }
        self.require_work()?;
        let digest = contents::contents(self.store, image, operands, selection).map_err(|error| match error {
            // As the copy itself would say it.
            contents::Error::Look(source) => StepError::Look(Box::new(source)),
            error => StepError::Contents(Box::new(error)),
        })?;
        cache.put_tree(&image.id, (operands, selection), &digest);
        Ok(digest)
    }
}
