//! `COPY` and `ADD`

use std::ffi::OsString;
use std::path::PathBuf;

use super::source::Source;
use super::{Done, NO_OPERATION, Next};
use crate::build::cache::Inputs;
use crate::build::cache::identity::Words;
use crate::build::error::StepError;
use crate::build::event::{Event, Tell};
use crate::build::late::CreatedBy;
use crate::build::source_policy::SourcePolicy;
use crate::build::stage::Stage;
use crate::container::add::{self, Appearance, Archives, Selection, Verb};
use crate::container::copy::{self, Inline, Layering, Origin};
use crate::container::fetch::{self, Commit, GitDirectory, Repository, Ssh, Submodules};
use crate::container::run::HistoryChoice;
use crate::dockerfile::instruction::{File, add as adding, copy as copying};
use crate::run::ssh::Agent;

/// Either instruction.
pub(super) struct Files<'a> {
    verb: Verb,
    from: Option<&'a str>,
    parents: bool,
    archives: Archives,
    checksum: Option<fetch::Checksum>,
    repository: Repository,
    files: &'a copying::Files,
}

impl<'a> Files<'a> {
    pub(super) fn of_copy(copy: &'a copying::Copy) -> Self {
        let (from, parents) = (copy.from.as_deref(), copy.parents);
        let (archives, repository) = (Archives::None, Repository::default());
        Self { verb: Verb::Copy, from, parents, archives, checksum: None, repository, files: &copy.files }
    }

    /// `agents` are those that the build lends to commands.
    pub(super) fn of_add(add: &'a adding::Add, agents: &[Agent]) -> Result<Self, StepError> {
        let archives = match add.unpack {
            None => Archives::Here,
            Some(true) => Archives::All,
            Some(false) => Archives::None,
        };
        // What a repository is checked by is its commit.
        let commit = add.checksum.as_deref().and_then(|text| Commit::read(text).ok());
        let checksum = add.checksum.as_deref().filter(|_| commit.is_none()).map(str::parse).transpose();
        let checksum = checksum.map_err(|error: fetch::Invalid| StepError::Word(error.to_string()))?;
        let keeps = add.keep_git_dir == Some(true);
        let git_directory = if keeps { GitDirectory::Keep } else { GitDirectory::Remove };
        let lent = agents.iter().find(|agent| agent.id == "default");
        let ssh = lent.map_or(Ssh::Nobody, |agent| Ssh::Keys(agent.paths.clone()));
        let repository = Repository { git_directory, commit, submodules: Submodules::Fetch, ssh };
        Ok(Self { verb: Verb::Add, from: None, parents: false, archives, checksum, repository, files: &add.files })
    }

    fn keyword(&self) -> &'static str {
        match self.verb {
            Verb::Add => "ADD",
            Verb::Copy => "COPY",
        }
    }

    /// What stands for each source, here-documents by a number that no file has as its name. The policy may put another address in the
    /// place of one, and say what must be there.
    fn operands(&mut self, policy: &SourcePolicy) -> Result<Vec<(OsString, Option<&'a File>)>, StepError> {
        let mut operands = Vec::with_capacity(self.files.sources.len());
        for (at, source) in self.files.sources.iter().enumerate() {
            operands.push(match source {
                copying::Source::File(file) => (OsString::from(format!("<<{at}\n")), Some(file)),
                copying::Source::Path(path) if fetch::is_address(path.as_ref()) => {
                    let permitted = policy.address(path)?;
                    self.take_checksum(permitted.checksum.as_deref())?;
                    (OsString::from(permitted.source), None)
                }
                copying::Source::Path(path) => (OsString::from(path), None),
            });
        }
        self.check(&operands)?;
        Ok(operands)
    }

    fn take_checksum(&mut self, text: Option<&str>) -> Result<(), StepError> {
        let Some(text) = text else { return Ok(()) };
        if self.files.sources.len() > 1 {
            return Err(StepError::Word(
                "the source policy has a checksum for one of several sources: add each on its own".to_owned(),
            ));
        }
        let checksum = text.parse().map_err(|error: fetch::Invalid| StepError::Word(format!("the source policy: {error}")))?;
        if self.checksum.as_ref().is_some_and(|own| *own != checksum) {
            return Err(StepError::Word("--checksum and the source policy want different files".to_owned()));
        }
        self.checksum = Some(checksum);
        Ok(())
    }

    /// Owner and mode; a flag whose variables are empty asks for nothing.
    fn appearance(&self) -> Appearance {
        let given = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
        Appearance { chown: given(&self.files.owner), chmod: given(&self.files.mode), ..Appearance::default() }
    }

    fn selection(&self) -> Selection {
        Selection { exclude: self.files.exclude.clone(), parents: self.parents, ..Selection::default() }
    }

    /// Refuses what only the other one takes.
    fn check(&self, operands: &[(OsString, Option<&File>)]) -> Result<(), StepError> {
        let is_address = |(operand, file): &(OsString, Option<&File>)| file.is_none() && fetch::is_address(operand);
        match operands.iter().find(|operand| self.verb == Verb::Copy && is_address(operand)) {
            Some((operand, _)) => {
                Err(StepError::Word(format!("{:?}: source can't be a URL for COPY", operand.to_string_lossy())))
            }
            None => Ok(()),
        }
    }
}

/// Does it.
pub(super) fn take(
    stage: &mut Stage<'_, '_>,
    next: &Next<'_>,
    mut files: Files<'_>,
    tell: Tell<'_>,
) -> Result<Done, StepError> {
    let operands = files.operands(&stage.build.options.source_policy)?;
    let name = stage.container(tell)?;
    let options = stage.build.options;
    let origin = match stage.source(files.from)? {
        Source::Context(context) => Origin::Context { root: &context.root, shown: &context.path, ignore: &context.ignore },
        Source::Image(image) => Origin::Layer { name: image.found.id.to_string(), layer: image.found.image.layer.clone() },
        Source::Container(id) => Origin::Container(id),
        Source::Nothing => Origin::Layer { name: files.from.unwrap_or_default().to_owned(), layer: None },
    };
    let inline = operands.iter().filter_map(|(operand, file)| {
        let file = (*file)?;
        // A name with directories before it is that of the last one.
        let name = file.name.rsplit('/').next().unwrap_or_default().to_owned();
        Some(Inline { operand: operand.clone(), name, content: file.content.clone().into_bytes() })
    });
    let is_linked = is_linked(stage, files.files);
    let how = copy::Options {
        verb: files.verb,
        archives: files.archives,
        inline: inline.collect(),
        sources: operands.iter().map(|(operand, _)| operand.clone()).collect(),
        destination: Some(PathBuf::from(&files.files.destination)),
        origin,
        selection: files.selection(),
        appearance: files.appearance(),
        layering: if is_linked { Layering::Linked } else { Layering::Container },
        history: HistoryChoice::Silent,
        fetch: fetch::Options {
            network: options.fetch.network,
            checksum: files.checksum.clone(),
            temp_dir: options.fetch.temp_dir,
            repository: files.repository.clone(),
            secrets: &options.run.secrets,
        },
    };
    let copied = copy::copy_unhashed(stage.build.store, &name, &how, &mut |line| tell(Event::Notice(line)));
    // The container is nobody's business.
    let copied = copied.map_err(|error| match error {
        copy::Error::Add { source, .. } => StepError::Look(Box::new(source)),
        copy::Error::Fetch { source, .. } => StepError::Fetch(Box::new(source)),
        error => StepError::Copy(Box::new(error)),
    })?;
    copied.warnings().iter().for_each(|warning| tell(Event::Warning(warning.clone())));
    let created_by = CreatedBy::Copied {
        before: format!("{NO_OPERATION}{} ", files.keyword()),
        copied: Box::new(copied),
        container: name,
        after: format!(" in {} ", last_word(&next.source())),
    };
    Ok(Done { created_by, files: true, linked: is_linked })
}

fn is_linked(stage: &Stage<'_, '_>, files: &copying::Files) -> bool {
    files.link == Some(true) && stage.build.with_layers()
}

/// The words of its history entry, but for the digest of what is copied.
pub(super) fn words(stage: &Stage<'_, '_>, next: &Next<'_>, keyword: &str, files: &copying::Files) -> Words {
    match is_linked(stage, files) {
        true => Words::Around(format!("{NO_OPERATION}{keyword} --link "), " ".to_owned()),
        false => Words::Around(format!("{NO_OPERATION}{keyword} "), format!(" in {} ", last_word(&next.source()))),
    }
}

/// The destination as written.
fn last_word(source: &str) -> String {
    let list = source.find('[').and_then(|at| serde_json::from_str::<Vec<String>>(source.get(at..)?).ok());
    let last = list.and_then(|words| words.into_iter().next_back());
    last.unwrap_or_else(|| source.split_whitespace().next_back().unwrap_or_default().to_owned())
}

/// What it depends on: what is copied, file by file.
pub(super) fn inputs(stage: &Stage<'_, '_>, mut files: Files<'_>, inputs: &mut Inputs) -> Result<(), StepError> {
    let operands = files.operands(&stage.build.options.source_policy)?;
    let source = stage.source(files.from)?;
    for (operand, file) in &operands {
        // Here-documents are among the words of the instruction.
        if file.is_some() {
            continue;
        }
        if fetch::is_address(operand) {
            if files.checksum.is_none() && files.repository.commit.is_none() {
                inputs.distrust(format!("what is at {}", operand.to_string_lossy()));
            }
            if !stage.build.options.source_policy.is_empty() {
                let checksum = files.checksum.as_ref().map(ToString::to_string).unwrap_or_default();
                inputs.add("what the source policy makes of an address", format!("{operand:?} {checksum}").as_bytes());
            }
            continue;
        }
        match &source {
            Source::Context(context) => {
                let from = add::Source::Context { root: &context.root, shown: &context.path, ignore: &context.ignore };
                let digest = stage.build.fingerprint(&from, std::slice::from_ref(operand), &files.selection())?;
                inputs.add_files(format!("{:?} of the context", operand.to_string_lossy()), &digest);
            }
            Source::Image(image) => {
                let digest = stage.build.contents(&image.found.image, std::slice::from_ref(operand), &files.selection())?;
                let name = format!("{:?} of {}", operand.to_string_lossy(), files.from.unwrap_or_default());
                inputs.add(name, digest.hex().as_bytes());
            }
            Source::Container(id) => inputs.distrust(format!("the container {id}")),
            Source::Nothing => inputs.add(format!("{:?} of an empty stage", operand.to_string_lossy()), b""),
        }
    }
    Ok(())
}
