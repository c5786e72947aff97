//! `copy` and `add` on a working container: mounts it, finds what `--from` names, lets `add` do the work, notes the history.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use containers_storage::id_map::IdMaps;
use containers_storage::store::Store;
use containers_storage::{ContainerId, LayerId, Root};
use jiff::Timestamp;

pub use super::add::Inline;
use super::add::{self, Appearance, Archives, ContextIgnore, Landing, Outcome, RootOwner, Selection, Source, Unhashed, Verb};
use super::config::empty_step;
use super::find_image;
use super::pull::{self, Fetch, PullPolicy};
use super::run::HistoryChoice;
use super::state::StagedTree;
use super::{Mounted, WorkingContainer, fetch, mounted, state};
use crate::copier::tree::Maps;
use crate::image::Time;
use crate::image::config::History;

/// What to copy, and how.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Which of the two verbs.
    pub verb: Verb,
    /// Which archives `Verb::Add` unpacks.
    pub archives: Archives,
    /// What to copy.
    pub sources: Vec<OsString>,
    /// Where to; without it the working directory.
    pub destination: Option<PathBuf>,
    /// Where the sources are.
    pub origin: Origin<'a>,
    /// Which files.
    pub selection: Selection,
    /// How they look afterwards.
    pub appearance: Appearance,
    /// Whether they become a layer of their own.
    pub layering: Layering,
    /// Add the step to the history.
    pub history: HistoryChoice,
    /// How sources that are addresses are fetched.
    pub fetch: fetch::Options<'a>,
    /// Sources whose content is given.
    pub inline: Vec<Inline>,
}

/// `--link`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layering {
    /// The copies are made in the container and are part of its layer.
    #[default]
    Container,
    /// The copies are kept beside the container; the next commits add them as a layer that does not depend on what is below.
    Linked,
}

/// Where the sources are.
#[derive(Debug, Clone)]
pub enum Origin<'a> {
    /// On the host; with a context directory, below that.
    Host(Option<PathBuf>),
    /// Of a build: below a directory that the caller has opened.
    Context {
        /// The directory.
        root: &'a Root,
        /// Its name, for messages.
        shown: &'a Path,
        /// What is left out.
        ignore: &'a ContextIgnore,
    },
    /// Of a build: in an image of the store.
    Layer {
        /// The image's name, for messages.
        name: String,
        /// Its top layer; none for one without files, and for a stage that has no image.
        layer: Option<LayerId>,
    },
    /// Of a build: in a working container, which stands for a stage.
    Container(ContainerId),
    /// `--from`: in a container or an image.
    Named {
        /// What was typed.
        name: String,
        /// How an image is obtained.
        fetch: Fetch<'a>,
    },
}

/// Why nothing, or not all, was copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// `--from` names neither a container nor an image that can be had.
    #[error("{0}")]
    Image(#[from] Box<pull::Error>),
    /// A file system could not be mounted.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// A source at another machine could not be had.
    #[error("adding content to container {container:?}")]
    Fetch {
        /// The container.
        container: String,
        /// What failed.
        source: fetch::Error,
    },
    /// Copying failed.
    #[error("adding content to container {container:?}")]
    Add {
        /// The container.
        container: String,
        /// What failed.
        source: add::Error,
    },
}

/// What was done.
#[derive(Debug)]
pub enum Copied {
    /// With its digest.
    Hashed(Outcome),
    /// The digest may still be in the making.
    Unhashed(Unhashed),
}

impl Copied {
    /// What was left out: a line each.
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Hashed(outcome) => &outcome.warnings,
            Self::Unhashed(copied) => &copied.warnings,
        }
    }
}

/// What `--from` stands for.
enum Other {
    Container(Box<WorkingContainer>),
    Image { name: String, layer: Option<LayerId> },
}

/// Where the sources are, once it is known what has them.
enum Place<'o> {
    /// With the caller.
    Here(Source<'o>),
    /// In what has to be mounted.
    There(Other),
}

impl Other {
    /// What it shows, for reading.
    fn mount(&self, store: &Store) -> Result<Mounted, mounted::Error> {
        match self {
            Self::Container(container) => Mounted::read_container(store, container),
            Self::Image { name, layer } => Mounted::of_image(store, layer.as_ref(), name),
        }
    }

    /// The id maps of its owners on disk, where they are others than inside.
    fn shift(&self) -> Option<IdMaps> {
        match self {
            Self::Container(container) => container.shift(),
            Self::Image { .. } => None,
        }
    }
}

/// Copies into the container `name`. `note` is given lines for the person.
pub fn copy(store: &Store, name: &str, options: &Options<'_>, note: &mut dyn FnMut(String)) -> Result<Outcome, Error> {
    hashed(copy_unhashed(store, name, options, note)?, name)
}

/// What was done, when the digest of it is there.
pub fn hashed(copied: Copied, name: &str) -> Result<Outcome, Error> {
    match copied {
        Copied::Hashed(outcome) => Ok(outcome),
        Copied::Unhashed(copied) => copied.hashed().map_err(|source| Error::Add { container: name.to_owned(), source }),
    }
}

/// The same, but for the digest where nothing here needs it (`add::add_unhashed`).
pub fn copy_unhashed(store: &Store, name: &str, options: &Options<'_>, note: &mut dyn FnMut(String)) -> Result<Copied, Error> {
    let container = WorkingContainer::open(store, name)?;
    // Before anything is mounted, so that a wrong name costs nothing; but what is pulled comes after: from the namespace that is
    // entered for that, the mount of another process could not be joined any more.
    let stored = match &options.origin {
        Origin::Named { name, fetch } if !pull::is_elsewhere(name) => stored(store, name, fetch)?,
        _ => None,
    };
    let fetched = fetch::fetch(&options.sources, &options.fetch);
    let fetched = fetched.map_err(|source| Error::Fetch { container: name.to_owned(), source })?;
    let mounted = Mounted::new(store, &container)?;
    mounted.notices().iter().for_each(|notice| note(notice.to_string()));
    let other_root;
    let (source, theirs) = match place(store, &options.origin, stored)? {
        Place::Here(source) => (source, None),
        Place::There(other) => {
            other_root = other.mount(store)?;
            (Source::Root { root: other_root.root(), owner: owner_of(&other, &container) }, other.shift())
        }
    };
    let ours = container.shift();
    let staged = match options.layering {
        Layering::Container => None,
        Layering::Linked => Some(StagedTree::create(store, name)?),
    };
    let how = add::Options {
        verb: options.verb,
        archives: options.archives,
        source,
        landing: staged.as_ref().map_or(Landing::Container, |staged| Landing::Layer(staged.root())),
        workdir: workdir(&container),
        selection: options.selection.clone(),
        appearance: options.appearance.clone(),
        fetched: &fetched,
        inline: &options.inline,
        maps: Maps { sources: theirs.as_ref(), copies: ours.as_ref() },
        layer: store.driver().ok().and_then(|driver| driver.diff_dir(container.layer()).ok()),
    };
    let failed = |source| Error::Add { container: name.to_owned(), source };
    let copied = add::add_unhashed(mounted.root(), &options.sources, options.destination.as_deref(), &how).map_err(failed)?;
    if staged.is_none() && options.history == HistoryChoice::Silent {
        return Ok(Copied::Unhashed(copied));
    }
    let outcome = copied.hashed().map_err(failed)?;
    if let Some(staged) = staged {
        link(store, &container, options, &outcome, staged)?;
    }
    if options.history == HistoryChoice::Note {
        note_history(store, &container, options.verb, &outcome)?;
    }
    Ok(Copied::Hashed(outcome))
}

fn place<'o>(store: &Store, origin: &'o Origin<'o>, stored: Option<Other>) -> Result<Place<'o>, Error> {
    Ok(match origin {
        Origin::Host(context) => Place::Here(Source::Host { context: context.clone() }),
        Origin::Context { root, shown, ignore } => Place::Here(Source::Context { root, shown, ignore }),
        Origin::Layer { name, layer } => Place::There(Other::Image { name: name.clone(), layer: layer.clone() }),
        Origin::Container(id) => Place::There(Other::Container(Box::new(WorkingContainer::open(store, id.as_str())?))),
        Origin::Named { name, fetch } => Place::There(match stored {
            Some(other) => other,
            None => other(store, name, fetch)?,
        }),
    })
}

fn owner_of(other: &Other, container: &WorkingContainer) -> RootOwner {
    match other {
        Other::Container(other) if other.id() == container.id() => RootOwner::Itself,
        _ => RootOwner::Another,
    }
}

/// The same, but only what needs not be pulled.
fn stored(store: &Store, name: &str, fetch: &Fetch<'_>) -> Result<Option<Other>, Error> {
    let never = Fetch { policy: PullPolicy::Never, ..*fetch };
    match other(store, name, &never) {
        Err(Error::Image(error)) if matches!(*error, pull::Error::Image(find_image::Error::NotKnown { .. })) => Ok(None),
        found => found.map(Some),
    }
}

fn other(store: &Store, name: &str, fetch: &Fetch<'_>) -> Result<Other, Error> {
    match WorkingContainer::open(store, name) {
        Ok(container) => Ok(Other::Container(Box::new(container))),
        Err(state::Error::NotKnown { .. }) if name == find_image::SCRATCH => {
            Ok(Other::Image { name: name.to_owned(), layer: None })
        }
        Err(state::Error::NotKnown { .. }) => {
            let found = pull::obtain(store, name, fetch).map_err(Box::new)?.found;
            Ok(Other::Image { name: name.to_owned(), layer: found.image.layer })
        }
        Err(error) => Err(error.into()),
    }
}

fn workdir(container: &WorkingContainer) -> PathBuf {
    PathBuf::from("/").join(&container.state().draft.config.config.working_dir)
}

/// Makes the tree a layer to come. Its history entry is written whether history was asked for or not: without one, history and
/// layers would not agree.
fn link(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    outcome: &Outcome,
    staged: StagedTree,
) -> Result<(), state::Error> {
    let place = add::destination_in_history(options.destination.as_deref(), &workdir(container), options.sources.len());
    let asked = options.appearance.timestamp.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let created = asked.or(outcome.latest).unwrap_or(Timestamp::UNIX_EPOCH);
    let history = History {
        created: Some(Time::from_timestamp(created)),
        // Buildah has a blank at the end, before what a build would add.
        created_by: format!("/bin/sh -c #(nop) {} --link {} in {} ", keyword(options.verb), summary(outcome), place.display()),
        comment: container.state().draft.history_comment.clone(),
        ..History::default()
    };
    WorkingContainer::edit(store, container.id().as_str(), |container| staged.attach(container, history))
}

fn note_history(store: &Store, container: &WorkingContainer, verb: Verb, outcome: &Outcome) -> Result<(), state::Error> {
    let created_by = format!("/bin/sh -c #(nop) {} {}", keyword(verb), summary(outcome));
    WorkingContainer::edit(store, container.id().as_str(), |container| {
        container.state_mut().history_before.push(empty_step(&created_by));
        Ok(())
    })
}

fn keyword(verb: Verb) -> &'static str {
    match verb {
        Verb::Add => "ADD",
        Verb::Copy => "COPY",
    }
}

/// The digest of what was copied, after its kind.
pub fn summary(outcome: &Outcome) -> String {
    let digest = outcome.digest.as_ref().map(|digest| digest.hex()).unwrap_or_default();
    let separator = if outcome.kind.word().is_empty() { "" } else { ":" };
    format!("{}{separator}{digest}", outcome.kind.word())
}
