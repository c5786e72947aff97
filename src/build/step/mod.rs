//! The work of an instruction, one file for each that does some: a call of the verb's function in `container`.
//!
//! ```text
//! Next: what stands in the file ─ instruction ─▶ run | copy (COPY, ADD) | WORKDIR's directory | nothing but settings ─▶ Done
//! ```
//!
//! `inputs` answers, for the same instruction and without doing it, what its result depends on.

mod copy;
mod flags;
mod run;
mod source;

use std::fmt::Write as _;

pub(super) use self::source::by_the_file;

use super::cache::Inputs;
use super::cache::identity::{Expected, Words};
use super::error::{Error, Place, StepError};
use super::event::{Event, Tell};
use super::finish;
use super::late::CreatedBy;
use super::options::Options;
use super::stage::Stage;
use crate::container::commit::HistoryPolicy;
use crate::container::workdir;
use crate::dockerfile::instruction::{Instruction, Metadata, copy as copying};
use crate::dockerfile::{self, Keyword, Lookup, Span, Step};
use crate::transport::copy::Platform;

/// What comes next in a stage.
pub(super) enum Next<'a> {
    /// An instruction of the file.
    Written(&'a Step),
    /// A trigger of the base, and where the FROM stands that names that.
    Trigger(Box<Step>, Span),
    /// What a flag of the build says, as an instruction.
    Added {
        /// Its line.
        text: String,
        /// What it does.
        instruction: Instruction,
    },
}

/// What a step has done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The words of its history entry.
    pub(super) created_by: CreatedBy,
    /// Whether its files are a layer.
    pub(super) files: bool,
    /// Whether that layer is kept beside the container, with an entry of its own (`--link`).
    pub(super) linked: bool,
}

/// Before the words of an instruction that runs nothing.
const NO_OPERATION: &str = "/bin/sh -c #(nop) ";

impl<'a> Next<'a> {
    pub(super) fn written(step: &'a Step) -> Self {
        Self::Written(step)
    }

    pub(super) fn trigger(text: &str, from: Span) -> Result<Self, Error> {
        match dockerfile::parse_trigger(text) {
            Ok(step) => Ok(Self::Trigger(Box::new(step), from)),
            Err(error) => {
                let (text, place) = (format!("ONBUILD {text}"), Place::Trigger(from));
                Err(Error::Step { text, place, source: Box::new(error.into()) })
            }
        }
    }

    fn step(&self) -> Option<&Step> {
        match self {
            Self::Written(step) => Some(step),
            Self::Trigger(step, _) => Some(step),
            Self::Added { .. } => None,
        }
    }

    pub(super) fn instruction(&self, lookup: Lookup<'_>) -> Result<Instruction, StepError> {
        match self {
            Self::Added { instruction, .. } => Ok(instruction.clone()),
            Self::Written(step) => Ok(step.instruction(lookup)?),
            Self::Trigger(step, _) => Ok(step.instruction(lookup)?),
        }
    }

    /// Whether it changes files of the container, and nothing beside it.
    pub(super) fn is_work(&self) -> bool {
        match self.step().map(|step| step.keyword) {
            Some(Keyword::Run) => true,
            // Whether `--link` is meant is known when variables are; until then every such word counts.
            Some(Keyword::Copy | Keyword::Add) => !self.source().contains("--link"),
            _ => false,
        }
    }

    /// Its line in the file.
    fn source(&self) -> String {
        match self {
            Self::Added { text, .. } => text.clone(),
            Self::Written(step) => step.source().to_owned(),
            Self::Trigger(step, _) => step.source().to_owned(),
        }
    }

    /// The same for a person: with the first line of each here-document.
    pub(super) fn shown(&self) -> String {
        let mut text = self.source();
        for heredoc in self.step().map(|step| step.heredocs.as_slice()).unwrap_or_default() {
            let content = heredoc.content();
            let mut lines = content.trim().lines();
            let (first, dots) = (lines.next().unwrap_or_default(), if lines.next().is_some() { "..." } else { "" });
            // Writing to a String cannot fail.
            let _ = write!(text, " ({first}{dots})");
        }
        text
    }

    /// The same with all of the here-documents.
    pub(super) fn written_text(&self) -> String {
        let mut text = self.source();
        for heredoc in self.step().map(|step| step.heredocs.as_slice()).unwrap_or_default() {
            text.push('\n');
            text.push_str(heredoc.content().trim());
        }
        text
    }

    /// What follows the keyword and the space after it, flags included, with here-documents.
    fn arguments(&self) -> String {
        let text = self.written_text();
        text.split_once([' ', '\t']).map_or(String::new(), |(_, arguments)| arguments.to_owned())
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Written(step) => Place::Written(step.span()),
            Self::Trigger(_, from) => Place::Trigger(*from),
            Self::Added { .. } => Place::Nowhere,
        }
    }
}

/// The step that `--label` adds to the last stage.
pub(super) fn labels<'a>(options: &Options<'_>) -> Option<Next<'a>> {
    added("LABEL", &options.image.labels, Metadata::Label)
}

/// The step that `--env` adds to each stage, before its own: what the file says of a variable holds.
pub(super) fn variables<'a>(options: &Options<'_>) -> Option<Next<'a>> {
    added("ENV", &options.image.env, Metadata::Env)
}

/// The step that sets these; none if there are none. Values are taken as they are, whatever they look like.
pub(super) fn added<'a>(
    keyword: &str,
    pairs: &[(String, String)],
    metadata: fn(Vec<(String, String)>) -> Metadata,
) -> Option<Next<'a>> {
    let words: Vec<String> = pairs.iter().map(|(key, value)| format!(" {key:?}={value:?}")).collect();
    (!pairs.is_empty()).then(|| Next::Added {
        text: format!("{keyword}{}", words.concat()),
        instruction: Instruction::Metadata(metadata(pairs.to_vec())),
    })
}

/// The step by which a stage begins with the files of a further context.
pub(super) fn everything_of<'a>(name: &str) -> Next<'a> {
    let root = || "/".to_owned();
    let files = copying::Files {
        sources: vec![copying::Source::Path(root())],
        destination: root(),
        owner: None,
        mode: None,
        link: None,
        exclude: Vec::new(),
    };
    let instruction = Instruction::Copy(copying::Copy { from: Some(name.to_owned()), parents: false, files });
    Next::Added { text: format!("COPY --from={name} / /"), instruction }
}

/// `linux/arm64/v8`; a word alone is an architecture of Linux, or an operating system.
pub(super) fn platform(text: &str) -> Platform {
    let mut words = text.split('/').map(str::to_owned);
    match (words.next().unwrap_or_default(), words.next()) {
        (os, Some(architecture)) => Platform { os, architecture, variant: words.next().unwrap_or_default() },
        (word, None) if matches!(word.as_str(), "linux" | "windows" | "darwin" | "freebsd") => {
            Platform { os: word, ..Platform::of_this_machine() }
        }
        (word, None) => Platform { architecture: word, ..Platform::of_this_machine() },
    }
}

/// Does the work.
pub(super) fn work(
    stage: &mut Stage<'_, '_>,
    next: &Next<'_>,
    instruction: &Instruction,
    tell: Tell<'_>,
) -> Result<Done, StepError> {
    let settings = || Done { created_by: CreatedBy::Known(format!("{NO_OPERATION}{}", next.source())), ..Done::default() };
    match instruction {
        Instruction::Run(run) => run::take(stage, next, run, tell),
        Instruction::Copy(copy) => copy::take(stage, next, copy::Files::of_copy(copy), tell),
        Instruction::Add(add) => {
            let files = copy::Files::of_add(add, &stage.build.options.run.ssh)?;
            copy::take(stage, next, files, tell)
        }
        Instruction::Arg(_) => Ok(Done { created_by: CreatedBy::Known(arguments(stage)), ..Done::default() }),
        Instruction::Metadata(Metadata::Workdir(_)) => {
            let name = stage.container(tell)?;
            let made = workdir::make(stage.build.store, &name, &mut |line| tell(Event::Notice(line)));
            let made = made.map_err(Box::new)?;
            Ok(Done { files: made == workdir::Outcome::Made, ..settings() })
        }
        Instruction::Metadata(_) => Ok(settings()),
    }
}

/// Whether its work may change files of the container.
pub(super) fn changes_files(instruction: &Instruction) -> bool {
    match instruction {
        Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) => true,
        Instruction::Metadata(metadata) => matches!(metadata, Metadata::Workdir(_) | Metadata::Volume(_)),
        Instruction::Arg(_) => false,
    }
}

/// What the last step of a stage that is one layer does besides: as with Buildah, volumes are in the layer if nothing but RUN could
/// follow that would make them.
pub(super) fn end(stage: &mut Stage<'_, '_>, instruction: &Instruction, tell: Tell<'_>) -> Result<(), StepError> {
    if let Instruction::Metadata(Metadata::Volume(_)) = instruction {
        let name = stage.container(tell)?;
        workdir::make_volumes(stage.build.store, &name, &mut |line| tell(Event::Notice(line))).map_err(Box::new)?;
    }
    Ok(())
}

/// Adds what the result depends on, beside the image so far and the words of the instruction.
pub(super) fn inputs(stage: &Stage<'_, '_>, instruction: &Instruction, inputs: &mut Inputs) -> Result<(), StepError> {
    match instruction {
        Instruction::Run(run) => run::inputs(stage, run, inputs),
        Instruction::Copy(copy) => copy::inputs(stage, copy::Files::of_copy(copy), inputs),
        Instruction::Add(add) => copy::inputs(stage, copy::Files::of_add(add, &stage.build.options.run.ssh)?, inputs),
        Instruction::Arg(_) => {
            for value in stage.scope.values(&|_| None) {
                let (name, value) = value.split_once('=').unwrap_or((&value, ""));
                inputs.add(format!("argument {name}"), value.as_bytes());
            }
            Ok(())
        }
        Instruction::Metadata(_) => Ok(()),
    }
}

/// What the image after the step is, as far as that is known without taking it.
pub(super) fn expected(
    stage: &Stage<'_, '_>,
    next: &Next<'_>,
    instruction: &Instruction,
    is_last: bool,
) -> Result<Expected, StepError> {
    let image = &stage.build.options.image;
    let settings = || Words::Exactly(format!("{NO_OPERATION}{}", next.source()));
    let (words, layers) = match instruction {
        Instruction::Run(_) => (Words::Exactly(run::created_by(stage, next)), 1..=1),
        Instruction::Copy(files) => (copy::words(stage, next, "COPY", &files.files), 1..=1),
        Instruction::Add(files) => (copy::words(stage, next, "ADD", &files.files), 1..=1),
        Instruction::Arg(_) => (Words::Exactly(arguments(stage)), 0..=0),
        Instruction::Metadata(Metadata::Workdir(_)) => (settings(), 0..=1),
        Instruction::Metadata(_) => (settings(), 0..=0),
    };
    let below = stage.past()?.with(&stage.draft);
    // As `commit` does: where nothing is said of the layers below, nothing is said of the new one.
    let has_none = below.config.history.is_empty() && !below.config.diff_ids.is_empty();
    let is_silent = has_none || image.history == HistoryPolicy::Omit;
    let draft = if is_last { finish::edited(&below, image) } else { below };
    let labels = if is_last { Vec::new() } else { image.layer_labels.clone() };
    Ok(Expected { draft, labels, entry: (!is_silent).then_some(words), layers })
}

/// The history entry of an ARG.
fn arguments(stage: &Stage<'_, '_>) -> String {
    format!("{NO_OPERATION}ARG {}", stage.scope.names().join(" "))
}
