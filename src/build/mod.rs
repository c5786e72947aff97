//! `build`: Dockerfiles to images, by calling the verbs of `container`; never a second implementation of one.
//!
//! ```text
//! texts ──dockerfile::parse──▶ stages ──plan──▶ what the target needs, and in which order      (args: what variables stand for)
//!                                                │ workers: each stage in a process, several at a time
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
pub mod options;
mod plan;
mod platforms;
mod remains;
pub mod source_policy;
mod stage;
mod step;
mod wire;
mod workers;

use std::cell::RefCell;
use std::ffi::OsString;

use containers_storage::images::Image;
use containers_storage::store::Store;
use containers_storage::{Digest, ImageId};

pub use self::cache::tidy;
pub use self::error::{Error, StepError};
pub use self::event::{Event, Missed, OutputStream, StagePlace, Tell};
pub use self::options::Options;
pub use self::plan::Error as PlanError;
pub use self::platforms::bases;
pub use self::remains::collect;

use self::args::{BuiltIn, Heading};
use self::cache::Cache;
use self::options::{CachePlace, FormatChoice, ImageOptions, Leftovers};
use self::plan::Plan;
use self::remains::Remains;
use self::stage::{Build, Tree};
use crate::container::add::{self, Selection};
use crate::container::commit::Clock;
use crate::container::{contents, remove};
use crate::dockerfile::instruction::Instruction;
use crate::dockerfile::{self, Dockerfile};
use crate::image::Format;
use crate::transport::copy::Platform;

/// What was built.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The image that was asked for.
    pub image: ImageId,
    /// Its names, completed.
    pub names: Vec<String>,
}

/// Builds. `tell` is told what happens.
pub fn build(store: &Store, options: &Options<'_>, tell: Tell<'_>) -> Result<Outcome, Error> {
    let file = dockerfile::parse_all(options.texts.iter().map(|text| text.text.as_str()))?;
    let names = finish::names(&options.image.tags)?;
    let heading = heading(&file, options)?;
    let is_context = |name: &str| options.named_contexts.iter().any(|(known, _)| known == name);
    let plan = plan::plan(&file, &heading, &options.selection, &is_context)?;
    let in_docker_format = in_docker_format(&file, &plan, options, tell);
    let options = in_docker_format.as_ref().unwrap_or(options);
    let cache = (options.layering.layers == options::Layers::Step).then(|| Cache::of(store));
    let streams = RefCell::new(options.run.streams.clone());
    collect(store);
    let remains = match options.layering.containers {
        Leftovers::Remove => Remains::begin(store).inspect_err(|error| log::debug!("no note of the containers: {error}")).ok(),
        Leftovers::Keep | Leftovers::KeepFailed => None,
    };
    let more_bases = RefCell::default();
    let build = Build { store, options, file: &file, plan: &plan, heading: &heading, cache, streams, remains, more_bases };
    let image = stages(&build, tell)?;
    if build.cache.is_some() {
        tidy::tidy(store, tidy::When::Due);
    }
    let unused = heading.unused();
    if !unused.is_empty() {
        tell(Event::UnusedArguments(unused));
    }
    names.iter().for_each(|name| tell(Event::Tagged(name.clone())));
    Ok(Outcome { image, names })
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
    let mut heading = Heading::new(&selection.args, &built_in);
    for step in &file.args {
        let read = step.instruction(&|name: &str| heading.lookup(name))?;
        if let Instruction::Arg(arguments) = read {
            arguments.into_iter().for_each(|(name, default)| heading.declare(&name, default));
        }
    }
    Ok(heading)
}

/// Builds the stages, and takes away what only they needed.
fn stages(build: &Build<'_>, tell: Tell<'_>) -> Result<ImageId, Error> {
    let (mut done, outcome) = workers::build_all(build, tell);
    let target = done.pop().flatten();
    let is_result = |id: &ImageId| matches!(target.as_ref().map(|built| &built.tree), Some(Tree::Image(Some(image))) if image.found.id == *id);
    let keeps = build.options.layering.containers == Leftovers::Keep;
    // Containers first: an image that one of them stands on stays.
    for built in done.iter().flatten() {
        if let Tree::Container(id) = &built.tree
            && !keeps
            && let Err(error) = remove::remove(build.store, id.as_str())
        {
            tell(Event::Warning(error.to_string()));
        }
    }
    for built in done.iter().flatten().filter(|built| built.is_passing) {
        let Tree::Image(Some(image)) = &built.tree else { continue };
        let id = &image.found.id;
        if is_result(id) {
            continue;
        }
        // What is made on it keeps its layers.
        let deleted = build.store.delete_image(id).and_then(|mut deleted| deleted.finish());
        if let Err(error) = deleted {
            tell(Event::Warning(format!("removing the image {} of a stage: {error}", id.short())));
        }
    }
    outcome?;
    match target.map(|built| built.tree) {
        Some(Tree::Image(Some(image))) => Ok(image.found.id),
        _ => Err(Error::Commit(Box::new(StepError::Word("the stage has no image".to_owned())))),
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
        let digest = contents::contents(self.store, image, operands, selection).map_err(|error| match error {
            // As the copy itself would say it.
            contents::Error::Look(source) => StepError::Look(Box::new(source)),
            error => StepError::Contents(Box::new(error)),
        })?;
        cache.put_tree(&image.id, (operands, selection), &digest);
        Ok(digest)
    }

    /// What a copy would bring, as one digest.
    pub(in crate::build) fn fingerprint(
        &self,
        source: &add::Source<'_>,
        operands: &[OsString],
        selection: &Selection,
    ) -> Result<Digest, StepError> {
        let Some(cache) = &self.cache else { return Ok(Digest::of(b"")) };
        let digest = add::fingerprint(source, operands, selection, &mut *cache.files().borrow_mut());
        Ok(digest.map_err(Box::new)?)
    }
}
