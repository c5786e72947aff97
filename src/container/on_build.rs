//! ONBUILD triggers: instructions that a base image leaves to whoever builds on it, executed by `from` in the new container.
//!
//! RUN goes through the image's shell, COPY and ADD take files of the working directory, and the rest only changes the config.
//! (Buildah splits all of them at blanks and runs RUN without a shell; that is a defect, and not repeated.)

use std::ffi::OsString;
use std::path::PathBuf;

use containers_storage::store::Store;

use super::add::{Appearance, Archives, Selection, Verb};
use super::run::{self, HistoryChoice};
use super::{WorkingContainer, copy, fetch, instruction, state};
use crate::conf::ContainersConf;
use crate::dockerfile::instruction::copy::{Files, Source};
use crate::dockerfile::instruction::run::{Network, Run, RunForm};
use crate::dockerfile::{Instruction, ParseError, parse_trigger};
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
    /// The trigger needs what only a build has.
    #[error("ONBUILD {trigger:?}: {what} needs a build; `from` can not follow it")]
    OnlyBuild {
        /// The trigger.
        trigger: String,
        /// What of it.
        what: &'static str,
    },
    /// Its `--checksum` is none.
    #[error("ONBUILD {trigger:?}")]
    Checksum {
        /// The trigger.
        trigger: String,
        /// What is wrong with it.
        source: fetch::Invalid,
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
    let wrong = |source| Error::Parse { trigger: trigger.to_owned(), source };
    let step = parse_trigger(trigger).map_err(wrong)?;
    let (instruction, shell) = {
        let container = WorkingContainer::open(store, name)?;
        let config = &container.state().draft.config.config;
        let instruction = step.instruction(&|name| config.env(name).map(str::to_owned)).map_err(wrong)?;
        (instruction, config.shell.clone())
    };
    let task = Task { store, name, trigger };
    match instruction {
        Instruction::Run(run) => task.run(run, &shell, means.conf, note),
        Instruction::Copy(copy) => {
            task.refuse(copy.from.is_some(), "--from")?;
            task.copy(Verb::Copy, copy.files, copy.parents, means.fetch.clone(), note)
        }
        Instruction::Add(add) => {
            task.refuse(add.unpack.is_some(), "--unpack")?;
            task.refuse(add.keep_git_dir.is_some(), "--keep-git-dir")?;
            let checksum = add.checksum.map(|text| text.parse()).transpose();
            let checksum = checksum.map_err(|source| Error::Checksum { trigger: trigger.to_owned(), source })?;
            let fetch = fetch::Options { checksum, ..means.fetch.clone() };
            task.copy(Verb::Add, add.files, false, fetch, note)
        }
        Instruction::Arg(_) => {
            // As Buildah: the triggers that follow may do without.
            log::warn!("ONBUILD {trigger:?} is of use in a build only; it is passed over");
            Ok(())
        }
        Instruction::Metadata(metadata) => WorkingContainer::edit(store, name, |container| {
            for change in instruction::changes(&metadata, &shell) {
                let warnings = container.state_mut().draft.apply(&change);
                warnings.into_iter().for_each(|warning| log::warn!("{warning}"));
            }
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

/// A trigger at work.
struct Task<'a> {
    store: &'a Store,
    name: &'a str,
    trigger: &'a str,
}

impl Task<'_> {
    fn run(&self, run: Run, shell: &[String], conf: &ContainersConf, note: &mut dyn FnMut(String)) -> Result<(), Error> {
        self.refuse(!run.mounts.is_empty(), "--mount")?;
        self.refuse(run.security.is_some(), "--security")?;
        self.refuse(!run.devices.is_empty(), "--device")?;
        let RunForm::Command(command) = run.form else { return Err(self.only_build("a here-document that is a program")) };
        let network = match run.network {
            Some(Network::None) => Some("none".to_owned()),
            Some(Network::Host) => Some("host".to_owned()),
            Some(Network::Default) | None => None,
        };
        let namespaces = run::NamespaceWords { network, ..run::NamespaceWords::default() };
        let options = run::Options {
            command: instruction::words(&command, shell),
            confinement: run::Confinement { namespaces, ..run::Confinement::default() },
            ..run::Options::default()
        };
        let failed = |source| Error::Run { trigger: self.trigger.to_owned(), source: Box::new(source) };
        match run::run(self.store, self.name, &options, conf, note).map_err(failed)?.status.code() {
            0 => Ok(()),
            status => Err(Error::Status { trigger: self.trigger.to_owned(), status }),
        }
    }

    fn copy(
        &self,
        verb: Verb,
        files: Files,
        parents: bool,
        fetch: fetch::Options<'_>,
        note: &mut dyn FnMut(String),
    ) -> Result<(), Error> {
        let mut inline = Vec::new();
        let source = |source| match source {
            Source::Path(path) => OsString::from(path),
            Source::File(file) => {
                // What stands where a path would: no path is like it.
                let operand = OsString::from(format!("<<{}\0", inline.len()));
                let content = file.content.into_bytes();
                inline.push(copy::Inline { operand: operand.clone(), name: file.name, content });
                operand
            }
        };
        let sources = files.sources.into_iter().map(source).collect();
        let options = copy::Options {
            verb,
            archives: Archives::default(),
            sources,
            destination: Some(PathBuf::from(files.destination)),
            origin: copy::Origin::Host(None),
            selection: Selection { exclude: files.exclude, parents, ..Selection::default() },
            appearance: Appearance { chown: files.owner, chmod: files.mode, timestamp: None },
            layering: if files.link == Some(true) { copy::Layering::Linked } else { copy::Layering::Container },
            history: HistoryChoice::Silent,
            fetch,
            inline,
        };
        let failed = |source| Error::Copy { trigger: self.trigger.to_owned(), source: Box::new(source) };
        let outcome = copy::copy(self.store, self.name, &options, note).map_err(failed)?;
        outcome.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        Ok(())
    }

    fn refuse(&self, is_given: bool, what: &'static str) -> Result<(), Error> {
        if is_given { Err(self.only_build(what)) } else { Ok(()) }
    }

    fn only_build(&self, what: &'static str) -> Error {
        Error::OnlyBuild { trigger: self.trigger.to_owned(), what }
    }
}
