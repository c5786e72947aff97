//! Why there is no image, and where in the file the reason stands.

use std::path::{Component, Path, PathBuf};

use containers_storage::ImageId;
use containers_storage::store;

use super::plan;
use super::source_policy;
use crate::container::commit::sbom;
use crate::container::{add, adopt, commit, contents, copy, fetch, from, pull, remove, run, state, workdir};
use crate::dockerfile::render::visible;
use crate::dockerfile::{ParseError, Span};
use crate::image::reference;
use crate::transport;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no Dockerfile.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// Its stages cannot be built.
    #[error("{0}")]
    Plan(#[from] plan::Error),
    /// The image is to become what none can.
    #[error("{0}")]
    Wish(#[from] Box<commit::Error>),
    /// There is no key to sign it with.
    #[error("{0}")]
    Key(#[from] Box<transport::Error>),
    /// The name for the image is none. Scripts look for the words.
    #[error("tag {text}: {}", named(.reason))]
    Tag {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        reason: reference::Error,
    },
    /// An instruction failed. Scripts look for the first words, and for the instruction with its quotes as they are.
    #[error("building at STEP \"{}\"", visible(.text))]
    Step {
        /// As written.
        text: String,
        /// Where it stands.
        place: Place,
        /// What failed.
        source: Box<StepError>,
    },
    /// The base of a stage cannot be had.
    #[error("creating build container")]
    Base {
        /// Where it stands.
        span: Span,
        /// The stage that was probably meant.
        nearest: Option<String>,
        /// What failed.
        source: Box<StepError>,
    },
    /// A stage cannot become an image.
    #[error("committing the stage")]
    Commit(#[source] Box<StepError>),
    /// The store could not be read or changed.
    #[error("naming the image {image}")]
    Name {
        /// The image.
        image: ImageId,
        /// What failed.
        source: store::Error,
    },
    /// A stage that another process built failed.
    #[error("{}", .error.text)]
    Remote {
        /// What it told.
        error: Box<Remote>,
        /// The kernel's answer at the root of it, whose words the text ends with.
        #[source]
        cause: Option<std::io::Error>,
    },
    /// A signal asked for the end.
    #[error("the build was interrupted by signal {0}")]
    Interrupted(i32),
    /// Triggers of an image name a stage that nothing else needs, and that is made on one of which there is no image.
    #[error("triggers of an image name stage {stage}, which is made on stage {base}: that one was built before this was known")]
    LateBase {
        /// Its number, from 1.
        stage: usize,
        /// That of its base.
        base: usize,
    },
    /// A process that builds a stage came to an end without saying why.
    #[error("the process that builds stage {stage} ended: {how}")]
    Process {
        /// Its number, from 1.
        stage: usize,
        /// How.
        how: String,
    },
}

/// Where an instruction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    Written(Span),
    /// In an image: it is a trigger of the one that this FROM names.
    Trigger(Span),
    /// On the command line.
    Nowhere,
}

/// Why a stage failed, as another process told it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Remote {
    /// The error and its causes.
    pub text: String,
    /// What may help.
    pub hints: Vec<String>,
    /// File, start and end of the place.
    pub span: Option<(usize, usize, usize)>,
    /// As `Error::exit_status`.
    pub status: Option<u8>,
    /// The kernel's answer at the root of it.
    pub errno: Option<i32>,
}

/// Why an instruction failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It cannot be read with the variables as they are.
    #[error("{0}")]
    Parse(#[from] Box<ParseError>),
    /// The command ended with another status than 0. Scripts look for the words.
    #[error("while running runtime: exit status {0}")]
    Status(u8),
    /// The command could not be run.
    #[error("{0}")]
    Run(#[from] Box<run::Error>),
    /// Files could not be copied.
    #[error("{0}")]
    Copy(#[from] Box<copy::Error>),
    /// A source at another machine could not be had.
    #[error("{0}")]
    Fetch(#[from] Box<fetch::Error>),
    /// Files could not be looked at.
    #[error("{0}")]
    Look(#[from] Box<add::Error>),
    /// An image of an earlier build could not be signed or listed.
    #[error("{0}")]
    Adopt(#[from] Box<adopt::Error>),
    /// Files of an image could not be looked at.
    #[error("{0}")]
    Contents(#[from] Box<contents::Error>),
    /// The working directory could not be made.
    #[error("{0}")]
    Workdir(#[from] Box<workdir::Error>),
    /// An image cannot be had.
    #[error("{0}")]
    Pull(#[from] Box<pull::Error>),
    /// What `--from` or `from=` names is no stage, and no image can be had for it. Scripts look for the words.
    #[error("from={name}: no stage or image found with that name")]
    NoSource {
        /// The name.
        name: String,
        /// The stage that was probably meant.
        nearest: Option<String>,
        /// Why there is no image.
        source: Box<StepError>,
    },
    /// There is no container.
    #[error("{0}")]
    From(#[from] Box<from::Error>),
    /// The container's settings could not be changed.
    #[error("{0}")]
    State(#[from] Box<state::Error>),
    /// There is no image of the step.
    #[error("{0}")]
    Commit(#[from] Box<commit::Error>),
    /// The list of contents could not be made.
    #[error("{0}")]
    Sbom(#[from] Box<sbom::Error>),
    /// The source policy is against it.
    #[error("{0}")]
    Refused(#[from] source_policy::Refused),
    /// A container could not be removed.
    #[error("{0}")]
    Remove(#[from] Box<remove::Error>),
    /// The store could not be read or changed.
    #[error("{0}")]
    Store(#[from] Box<store::Error>),
    /// Something of the host, for the step.
    #[error("{action}")]
    Io {
        /// The operation, as a participle, and its object.
        action: String,
        /// What failed.
        source: std::io::Error,
    },
    /// A word that means nothing here, or that is not allowed.
    #[error("{0}")]
    Word(String),
    /// Who takes the step may only look. Nobody is told: another process goes on with it.
    #[error("this takes more than a look")]
    Beyond,
}

impl Error {
    /// Where in the file the reason stands.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Parse(error) => Some(error.span),
            Self::Plan(error) => error.span(),
            Self::Step { place, source, .. } => match (*place, source.as_ref()) {
                (Place::Written(_), StepError::Parse(error)) => Some(error.span),
                (Place::Written(span) | Place::Trigger(span), _) => Some(span),
                (Place::Nowhere, _) => None,
            },
            Self::Base { span, .. } => Some(*span),
            Self::Remote { error, .. } => error.span.map(|(file, start, end)| Span { file, start, end }),
            _ => None,
        }
    }

    /// The status of the command that failed, or that stands for one that could not be started.
    pub fn exit_status(&self) -> Option<u8> {
        match self {
            Self::Step { source, .. } => match source.as_ref() {
                StepError::Status(status) => Some(*status),
                StepError::Run(error) => match error.as_ref() {
                    run::Error::Run(error) => Some(error.exit_code()),
                    _ => None,
                },
                _ => None,
            },
            Self::Remote { error, .. } => error.status,
            // What the shell shows for a process that the signal ended.
            Self::Interrupted(signal) => u8::try_from(128 + signal).ok(),
            _ => None,
        }
    }

    /// What may help, a line each.
    pub fn hints(&self) -> Vec<String> {
        let step = match self {
            Self::Remote { error, .. } => return error.hints.clone(),
            Self::Plan(plan::Error::Forward { name, .. } | plan::Error::Circle { name, .. }) => {
                return vec![format!("an image of that name is meant by its whole name, as docker.io/library/{name}")];
            }
            Self::Plan(plan::Error::Target { nearest, .. }) => return nearest.iter().map(|name| meant(name)).collect(),
            Self::LateBase { .. } => return vec!["--skip-unused-stages=false builds all stages from the start".to_owned()],
            Self::Parse(error) | Self::Plan(plan::Error::Parse(error)) => return error.hint().into_iter().collect(),
            Self::Base { nearest: Some(nearest), .. } => return vec![meant(nearest)],
            Self::Step { source, .. } | Self::Base { source, .. } => source.as_ref(),
            _ => return Vec::new(),
        };
        let hint = match step {
            StepError::Parse(error) => error.hint(),
            StepError::Look(error) if error.leads_upwards() => Some(OUTSIDE.to_owned()),
            StepError::Look(_) | StepError::Contents(_) => step.look().and_then(add::Error::hint),
            StepError::Fetch(error) => return error.hints(),
            StepError::NoSource { nearest, .. } => nearest.as_deref().map(meant),
            StepError::Run(error) => match error.as_ref() {
                run::Error::Run(error) => error.hint(),
                _ => None,
            },
            _ => None,
        };
        let origin = match self {
            Self::Step { place: Place::Trigger(_), .. } => Some(OF_A_TRIGGER.to_owned()),
            _ => None,
        };
        hint.into_iter().chain(origin).collect()
    }
}

impl StepError {
    /// What was wrong with a source of files.
    fn look(&self) -> Option<&add::Error> {
        match self {
            Self::Look(error) => Some(error),
            Self::Contents(error) => match error.as_ref() {
                contents::Error::Look(error) => Some(error),
                contents::Error::Mount(_) => None,
            },
            _ => None,
        }
    }

    /// The place in `text`, which `span` is of, of the word that it is about; `span` if it is about all of the instruction.
    pub(super) fn word_in(&self, span: Span, text: &str) -> Span {
        let Some(operand) = self.look().and_then(add::Error::operand) else { return span };
        let relative = |word: &str| -> PathBuf {
            let parts = Path::new(word).components();
            parts.filter(|part| !matches!(part, Component::RootDir | Component::CurDir)).collect()
        };
        let (wanted, instruction) = (relative(&operand.to_string_lossy()), text.get(span.start..span.end).unwrap_or_default());
        // A word as it stands there, or without what an array or quotes add to it.
        let is_it = |word: &&str| relative(word) == wanted;
        let bare = |word: &'_ str| word.trim_start_matches(['[', '"', '\'']).len();
        let is_array = instruction.contains("[\"");
        let mut words = instruction.split(|letter: char| letter.is_whitespace() || is_array && letter == ',').skip(1);
        let found = words.find_map(|word| {
            let inner = word.get(word.len() - bare(word)..)?.trim_end_matches(']').trim_end_matches(['"', '\'']);
            [word, inner].into_iter().find(is_it)
        });
        let Some(word) = found else { return span };
        let at = word.as_ptr() as usize - instruction.as_ptr() as usize;
        Span { start: span.start + at, end: span.start + at + word.len(), ..span }
    }
}

impl From<store::Error> for StepError {
    fn from(error: store::Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<state::Error> for StepError {
    fn from(error: state::Error) -> Self {
        Self::State(Box::new(error))
    }
}

impl From<ParseError> for StepError {
    fn from(error: ParseError) -> Self {
        Self::Parse(Box::new(error))
    }
}

/// What to do about a source that is meant to be outside of the context.
const OUTSIDE: &str = "\"..\" does not lead out of the context; --build-context NAME=DIR lets \"COPY --from=NAME\" take files of another directory";

/// Who wrote an instruction that is not in the file.
const OF_A_TRIGGER: &str = "the instruction is a trigger (ONBUILD) of what this FROM names";

fn meant(stage: &str) -> String {
    format!("did you mean the stage {stage:?}?")
}

/// `build` has more words for this rule than the other verbs, as Buildah.
fn named(reason: &reference::Error) -> String {
    let before = if *reason == reference::Error::UpperCase { "invalid reference format: " } else { "" };
    format!("{before}{reason}")
}
