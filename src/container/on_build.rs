//! ONBUILD triggers: instructions that a base image leaves to whoever builds on it, executed by `from` in the new container.
//!
//! RUN goes through the image's shell, COPY and ADD take files of the working directory, and the rest only changes the config.
//! (Buildah splits all of them at blanks and runs RUN without a shell; that is a defect, and not repeated.)

use std::ffi::OsString;
use std::path::PathBuf;

use containers_storage::store::Store;

use super::add::{Appearance, Selection, Verb};
use super::run::{self, HistoryChoice};
use super::{WorkingContainer, copy, fetch, instruction, state};
use crate::conf::ContainersConf;
use crate::dockerfile::ParseError;
use crate::image::Change;

/// Why a trigger failed. The container stays as it was before it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read or changed.
    #[error("{0}")]
    State(#[from] state::Error),
    /// The trigger is no instruction.
    #[error("ONBUILD {trigger:?}")]
    Parse {
        /// The trigger.
        trigger: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The trigger has flags, which only a build understands.
    #[error("ONBUILD {trigger:?}: flags are not supported here")]
    Flags {
        /// The trigger.
        trigger: String,
    },
    /// Its command could not be run.
    #[error("ONBUILD {trigger:?}")]
    Run {
        /// The trigger.
        trigger: String,
        /// What failed.
        source: Box<run::Error>,
    },
    /// Its command failed.
    #[error("ONBUILD {trigger:?}: exit status {status}")]
    Status {
        /// The trigger.
        trigger: String,
        /// The command's status.
        status: u8,
    },
    /// Its files could not be copied.
    #[error("ONBUILD {trigger:?}")]
    Copy {
        /// The trigger.
        trigger: String,
        /// What failed.
        source: Box<copy::Error>,
    },
}

/// What triggers need.
#[derive(Debug)]
pub struct Means<'a> {
    /// For `RUN`.
    pub conf: &'a ContainersConf,
    /// For `ADD` of an address.
    pub fetch: fetch::Options<'a>,
}

/// Executes one `trigger` in the container `name`. `note` is given lines for the person.
pub fn execute(store: &Store, name: &str, trigger: &str, means: &Means<'_>, note: &mut dyn FnMut(String)) -> Result<(), Error> {
    let conf = means.conf;
    let (keyword, rest) = trigger.trim().split_once(char::is_whitespace).unwrap_or((trigger.trim(), ""));
    match keyword.to_ascii_uppercase().as_str() {
        "RUN" => execute_run(store, name, trigger, rest.trim(), conf, note),
        "COPY" => execute_copy(store, name, trigger, (Verb::Copy, rest), means, note),
        "ADD" => execute_copy(store, name, trigger, (Verb::Add, rest), means, note),
        _ => WorkingContainer::edit(store, name, |container| {
            let changed = instruction::apply(&mut container.state_mut().draft, trigger);
            let warnings = changed.map_err(|source| Error::Parse { trigger: trigger.to_owned(), source })?;
            warnings.iter().for_each(|warning| note(format!("warning: {warning}")));
            Ok(())
        }),
    }
}

/// Takes the triggers out of the new container's config: they were for it, not for what is built on it.
pub fn clear(store: &Store, name: &str) -> Result<(), state::Error> {
    WorkingContainer::edit(store, name, |container| {
        container.state_mut().draft.apply(&Change::ClearOnBuild);
        Ok(())
    })
}

fn execute_run(
    store: &Store,
    name: &str,
    trigger: &str,
    text: &str,
    conf: &ContainersConf,
    note: &mut dyn FnMut(String),
) -> Result<(), Error> {
    refuse_flags(trigger, text)?;
    let container = WorkingContainer::open(store, name)?;
    let command = match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) if !words.is_empty() => words,
        _ => match container.state().draft.config.config.shell.as_slice() {
            [] => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()],
            shell => shell.iter().cloned().chain([text.to_owned()]).collect(),
        },
    };
    let options = run::Options { command, ..run::Options::default() };
    let failed = |source| Error::Run { trigger: trigger.to_owned(), source: Box::new(source) };
    match run::run(store, name, &options, conf, note).map_err(failed)?.status.code() {
        0 => Ok(()),
        status => Err(Error::Status { trigger: trigger.to_owned(), status }),
    }
}

fn execute_copy(
    store: &Store,
    name: &str,
    trigger: &str,
    (verb, rest): (Verb, &str),
    means: &Means<'_>,
    note: &mut dyn FnMut(String),
) -> Result<(), Error> {
    refuse_flags(trigger, rest)?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (sources, destination) = match words.as_slice() {
        [sources @ .., destination] if !sources.is_empty() => (sources, Some(PathBuf::from(destination))),
        sources => (sources, None),
    };
    let options = copy::Options {
        verb,
        sources: sources.iter().map(OsString::from).collect(),
        destination,
        origin: copy::Origin::Host(None),
        selection: Selection::default(),
        appearance: Appearance::default(),
        layering: copy::Layering::Container,
        history: HistoryChoice::Silent,
        fetch: means.fetch.clone(),
        inline: Vec::new(),
    };
    let failed = |source| Error::Copy { trigger: trigger.to_owned(), source: Box::new(source) };
    let outcome = copy::copy(store, name, &options, note).map_err(failed)?;
    outcome.warnings.iter().for_each(|warning| note(format!("warning: {warning}")));
    Ok(())
}

fn refuse_flags(trigger: &str, rest: &str) -> Result<(), Error> {
    match rest.trim_start().starts_with("--") {
        true => Err(Error::Flags { trigger: trigger.to_owned() }),
        false => Ok(()),
    }
}
