//! `commit`: an image from a working container.
//!
//! ```text
//! plain    copy the writable layer while it is hashed → layer <chain id> → image              (the container goes on)
//! --rm     hash the writable layer where it lies → image names it → container record goes     (nothing is copied)
//! --squash pack the merged tree into one layer without parent → image
//! ```
//!
//! `sbom` has containers scanned before they are committed. `unmade` makes an image of other settings without a container.
//! `--add-file` and what `copy --link` left are layers on top of that (`extra`).
//!
//! Invariant: base layers are not opened; of them only the records are read. The image is visible only when all of it is there.

mod document;
mod export;
mod extra;
mod layer;
pub mod sbom;
mod unmade;
mod writer;

use std::path::PathBuf;

use containers_storage::driver;
use containers_storage::freeze;
use containers_storage::lease;
use containers_storage::store::{self, Store};
use containers_storage::{ContainerId, Digest, ImageId, LayerId};
use jiff::Timestamp;

use self::document::{LayerInfo, Written};
pub use self::export::{Export, export};
use self::extra::ExtraLayer;
use self::layer::Packed;
pub use self::unmade::Unmade;
use self::writer::{Subject, Writer};
use super::instruction;
use super::state;
use super::{WorkingContainer, copy, manifest_list, mounted, push, remove};
use crate::dockerfile;
use crate::image::config::History;
use crate::image::reference;
use crate::image::{Change, Draft, Format, ImageConfig, Reference, Time, Warning};
use crate::transport;

/// What to commit.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The new image's name; none for an unnamed image.
    pub destination: Option<String>,
    /// `--manifest`: the list that the image is added to, and that is made if there is none.
    pub manifest_list: Option<String>,
    /// The new image's format.
    pub format: Format,
    /// One layer more than the base, or one in all.
    pub layer: LayerPolicy,
    /// What becomes of the container.
    pub container: Afterwards,
    /// Whether the image is only to be copied elsewhere, and then taken away (`store::NewImage`).
    pub passing: bool,
    /// A container that stands on the image from the moment that it is there, so that it stays (`store::NewImage`).
    pub holder: Option<ContainerId>,
    /// Edits of the image that the container itself does not get, in their order.
    pub edits: Vec<Edit>,
    /// How config and manifest are written.
    pub documents: Documents,
    /// Host files that the layer gets beside what the container has: source, path in the image.
    pub add_files: Vec<(PathBuf, PathBuf)>,
    /// The key of gpg that signs the image under its name.
    pub sign_by: Option<String>,
}

/// `--squash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerPolicy {
    /// The container's changes become one layer on the base's.
    #[default]
    Append,
    /// Base and changes become one layer.
    Squash,
    /// The container's files are no part of the image, which has the base's layers: it differs in its config alone, and only the history
    /// entries that the container has are added.
    Omit,
}

/// `--rm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Afterwards {
    /// The container goes on.
    #[default]
    Keep,
    /// The container is removed once the image is there.
    Remove,
}

/// One edit of the image.
#[derive(Debug, Clone)]
pub enum Edit {
    /// `--change`: a Dockerfile instruction that only changes the config.
    Instruction(String),
    /// A flag.
    Change(Change),
}

/// How config and manifest are written.
#[derive(Debug, Clone)]
pub struct Documents {
    /// Which time they bear.
    pub clock: Clock,
    /// `--omit-history`.
    pub history: HistoryPolicy,
    /// `--identity-label`: the label that says what made the image; unless asked for, not with a fixed time.
    pub identity_label: Option<bool>,
    /// The annotation with the time of creation.
    pub created_annotation: bool,
}

impl Default for Documents {
    fn default() -> Self {
        Self { clock: Clock::Now, history: HistoryPolicy::Write, identity_label: None, created_annotation: true }
    }
}

/// `--omit-history`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryPolicy {
    /// The base's history and ours.
    #[default]
    Write,
    /// None at all.
    Omit,
}

/// Which time an image bears; seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The present.
    #[default]
    Now,
    /// `--timestamp`: this one, in the documents and for every file of the new layer.
    Timestamp(i64),
    /// `--source-date-epoch`: this one in the documents; files keep their times.
    Epoch(i64),
    /// `--source-date-epoch --rewrite-timestamp`: and files have no later one.
    EpochForFiles(i64),
}

/// The new image.
#[derive(Debug)]
pub struct Outcome {
    /// Its ID.
    pub id: ImageId,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Length of the manifest in bytes.
    pub manifest_size: u64,
    /// The manifest's media type.
    pub media_type: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What could not be done in full.
    pub warnings: Vec<String>,
}

/// Why there is no new image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// Another tool put layers below the container's own.
    #[error(
        "container {name:?} has layers of another tool between the image's and its own, which cannot be committed here: use that tool"
    )]
    PrependedLayers {
        /// The container.
        name: String,
    },
    /// The name for the image is none. Scripts look for the words.
    #[error("cannot parse input: {text:?}: {reason}")]
    Destination {
        /// What was typed.
        text: String,
        /// Which rule it breaks.
        reason: reference::Error,
    },
    /// The image could not be brought to its place.
    #[error("committing container {name:?}")]
    Export {
        /// The container.
        name: String,
        /// What failed.
        source: Box<push::Error>,
    },
    /// The name for the image has another digest than its manifest.
    #[error(
        "committing container {container:?} to {name}: the manifest's digest is {digest}, which does not match the destination reference"
    )]
    OtherDigest {
        /// The container.
        container: String,
        /// The name.
        name: Box<Reference>,
        /// The digest of the manifest.
        digest: Box<Digest>,
    },
    /// `--change` with something that is no config instruction.
    #[error("--change {text:?}")]
    Change {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: dockerfile::ParseError,
    },
    /// A time that no image can bear.
    #[error("{0} seconds since 1970 is no time that an image can bear")]
    Time(i64),
    /// The namespace could not be entered, or the container not be mounted.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// The layer could not be packed.
    #[error("committing container {name:?}")]
    Freeze {
        /// The container.
        name: String,
        /// What failed.
        source: Box<freeze::Error>,
    },
    /// The driver could not be used.
    #[error("committing container {name:?}")]
    Driver {
        /// The container.
        name: String,
        /// What failed.
        source: driver::Error,
    },
    /// The merged tree could not be packed.
    #[error("committing container {name:?}: squashing it")]
    Squash {
        /// The container.
        name: String,
        /// What failed.
        source: Box<containers_storage::archive::Error>,
    },
    /// A file of `--add-file` could not be added.
    #[error("committing container {name:?}: adding {path:?}")]
    AddFile {
        /// The container.
        name: String,
        /// The file on the host.
        path: PathBuf,
        /// What failed.
        source: Box<super::add::Error>,
    },
    /// `--add-file` with a directory.
    #[error("parsing add-file argument: source {path:?} is not a regular file")]
    AddDirectory {
        /// The directory on the host.
        path: PathBuf,
    },
    /// What is to be a layer of its own could not be packed.
    #[error("making a layer of {path:?}")]
    Extra {
        /// Its directory.
        path: PathBuf,
        /// What failed.
        source: Box<containers_storage::archive::Error>,
    },
    /// A file of the new layer could not be used.
    #[error("{action} {path:?}")]
    Io {
        /// The operation, as a participle.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// A layer of the base has no digest: it was not made by an image.
    #[error("layer {0} of the base image has no digest")]
    NoDigest(LayerId),
    /// `--manifest` names no list.
    #[error("{0}")]
    List(#[from] manifest_list::Error),
    /// The image is there, but not in its list.
    #[error("the image {id} was made, but not added to its manifest list")]
    NotInList {
        /// The new image.
        id: ImageId,
        /// What failed.
        source: Box<manifest_list::Error>,
    },
    /// The image could not be signed, and so was not made.
    #[error("committing container {name:?}")]
    Sign {
        /// The container.
        name: String,
        /// Why not.
        source: Box<transport::Error>,
    },
    /// The store could not be read or changed.
    #[error("committing container {name:?}")]
    Store {
        /// The container.
        name: String,
        /// What failed.
        source: store::Error,
    },
    /// What was copied before could not be hashed.
    #[error("committing container {name:?}")]
    Copied {
        /// The container.
        name: String,
        /// What failed.
        source: Box<copy::Error>,
    },
    /// The image that no container was made for could not be recorded.
    #[error("recording an image")]
    Record(#[source] store::Error),
    /// Whoever looked on did not want it to go on.
    #[error("committing container {name:?} was given up")]
    GivenUp {
        /// The container.
        name: String,
    },
    /// The image is there, but the container could not be removed.
    #[error("the image {id} was made, but its container remains")]
    Remove {
        /// The new image.
        id: ImageId,
        /// What failed.
        source: Box<remove::Error>,
    },
}

/// How far a commit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// It changes nothing more of what the container has changed before its image is recorded, and nobody else does: others may read it.
    Sealed,
    /// The layer is packed. What comes next are records, and the end of the container, if that was asked for.
    Packed,
}

/// History that is asked for when the layer is packed: words that name the digest of what was copied need not be known before.
#[derive(Debug, Default)]
pub struct LateHistory {
    /// Entries after those that the container was told, and before that of the layer.
    pub before: Vec<History>,
    /// The words of the layer's entry, whatever the edits say.
    pub created_by: Option<String>,
}

/// Where that comes from.
pub type AskHistory<'a> = Box<dyn FnOnce() -> Result<LateHistory, copy::Error> + 'a>;

/// Who looks on while a container is committed: may give it up, and may have more to say of it.
#[derive(Default)]
pub struct Watch<'a> {
    reached: Option<&'a mut dyn FnMut(Point) -> bool>,
    history: Option<AskHistory<'a>>,
}

impl<'a> Watch<'a> {
    /// `reached` is told of each point, and answers whether to go on; after `Point::Sealed` that does not matter.
    pub fn new(reached: &'a mut dyn FnMut(Point) -> bool) -> Self {
        Self { reached: Some(reached), history: None }
    }

    /// Nobody looks on, but `history` is asked.
    pub fn for_history(history: AskHistory<'a>) -> Self {
        Self { reached: None, history: Some(history) }
    }

    fn is_somebody(&self) -> bool {
        self.reached.is_some()
    }

    fn reached(&mut self, point: Point) -> bool {
        self.reached.as_mut().is_none_or(|reached| reached(point))
    }

    fn history(&mut self) -> Result<LateHistory, copy::Error> {
        self.history.take().map_or_else(|| Ok(LateHistory::default()), |ask| ask())
    }
}

/// Makes an image of the container `name`. `note` is given lines for the person.
pub fn commit(store: &Store, name: &str, options: &Options, note: &mut dyn FnMut(String)) -> Result<Outcome, Error> {
    commit_watched(store, name, options, note, &mut Watch::default())
}

/// The same, with somebody who looks on.
pub fn commit_watched(
    store: &Store,
    name: &str,
    options: &Options,
    note: &mut dyn FnMut(String),
    watch: &mut Watch<'_>,
) -> Result<Outcome, Error> {
    let destination = options.destination.as_deref().map(destination).transpose()?;
    let container = WorkingContainer::open(store, name)?;
    refuse_prepended_layers(&container)?;
    extra::check(options)?;
    check(store, options)?;
    let base = container.base()?;
    let state = container.state();
    let (draft, warnings) = edited(state.draft.clone(), options)?;
    let created = created(options.documents.clock)?;
    let subject = Subject {
        id: container.id(),
        name: container.name(),
        base: (&base.id, &base.name),
        before: state.history_before.clone(),
        after: &state.history_after,
    };
    let mut writer = Writer { subject, draft, created, options, name: destination.as_ref() };
    writer.check_key()?;
    let lower = lower_layers(store, &container, options)?;
    let packed = match options.layer {
        LayerPolicy::Omit => None,
        _ => Some(layer::pack(store, &container, options, &writer.created, note, watch)?),
    };
    let below = match &packed {
        Some(packed) => Some(packed.layer().clone()),
        None => below(store, &container)?,
    };
    let late = watch.history().map_err(|source| Error::Copied { name: container.name(), source: Box::new(source) })?;
    writer.subject.before.extend(late.before);
    writer.draft.created_by = late.created_by.unwrap_or(writer.draft.created_by);
    let extra = extra_layers(store, &container, options, &writer.created, below.as_ref())?;
    let written = writer.write(&lower, packed.as_ref(), &extra)?;
    writer.check_digest(&written)?;
    let mut image = writer.record(&written, extra.last().map(|top| top.layer.id.clone()).or(below));
    // The layer stays if this fails, for another attempt (`store::unclaimed`).
    writer.sign(store, &mut image)?;
    if !watch.reached(Point::Packed) {
        return Err(Error::GivenUp { name: container.name() });
    }
    let id = image.id.clone();
    let failed = |source| Error::Store { name: container.name(), source };
    match packed {
        Some(Packed::InPlace(frozen, gate)) => {
            frozen
                .publish(store, &image)
                .map_err(|source| Error::Freeze { name: container.name(), source: Box::new(source) })?;
            drop(gate);
            // Nobody mounts an image's layer for writing; a lease that stays is collected by `check`.
            let _ = lease::forget(&store.conf().graph_root, container.layer());
            add_to_list(store, options, &id, &written)?;
        }
        Some(Packed::Copied(_)) | None => {
            store.put_image(&image).map_err(failed)?;
            add_to_list(store, options, &id, &written)?;
            if options.container == Afterwards::Remove {
                let removed = remove::remove(store, &container.id().to_string());
                removed.map_err(|source| Error::Remove { id: id.clone(), source: Box::new(source) })?;
            }
        }
    }
    Ok(outcome(id, &written, destination.as_ref(), &warnings))
}

fn outcome(id: ImageId, written: &Written, name: Option<&Reference>, warnings: &[Warning]) -> Outcome {
    Outcome {
        id,
        digest: written.manifest.digest(),
        manifest_size: written.manifest.bytes().len() as u64,
        media_type: written.manifest.media_type().to_owned(),
        name: name.map(ToString::to_string),
        warnings: warnings.iter().map(ToString::to_string).collect(),
    }
}

/// Newer Buildahs can put layers below the container's own, though none of their verbs does.
fn refuse_prepended_layers(container: &WorkingContainer) -> Result<(), Error> {
    let members = container.state().members();
    match members.raw("PrependedLinkedLayers") {
        Some(layers) if layers.get() != "[]" => Err(Error::PrependedLayers { name: container.name() }),
        _ => Ok(()),
    }
}

/// The layers above the container's. A squashed layer has their content already.
fn extra_layers(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    created: &Time,
    below: Option<&LayerId>,
) -> Result<Vec<ExtraLayer>, Error> {
    if options.layer == LayerPolicy::Squash || !extra::any(container, options) {
        return Ok(Vec::new());
    }
    let merged = || extra::look_at(store, container);
    let extras = extra::stage(store, container, options, created, &merged)?;
    extra::append(store, container, below, extras, layer::times(options.documents.clock))
}

/// The base's top layer, as the image has it.
fn below(store: &Store, container: &WorkingContainer) -> Result<Option<LayerId>, Error> {
    match layer::top_layer(store, container)? {
        Some(layer) => Ok(Some(layer)),
        None => {
            let failed = |source| Error::Store { name: container.name(), source };
            Ok(store.layers().and_then(|layers| layers.get(container.layer())).map_err(failed)?.parent)
        }
    }
}

fn add_to_list(store: &Store, options: &Options, id: &ImageId, written: &Written) -> Result<(), Error> {
    let Some(name) = &options.manifest_list else { return Ok(()) };
    // What was just written can be read; nothing of it but the platform is wanted.
    let config = ImageConfig::parse(&written.config).unwrap_or_default();
    let built = manifest_list::Built { id, manifest: &written.manifest, config: &config };
    let added = manifest_list::add_built(store, name, &built);
    added.map(drop).map_err(|source| Error::NotInList { id: id.clone(), source: Box::new(source) })
}

/// The name that the new image gets. With the transport's name before it, it is completed as for every transport.
fn destination(text: &str) -> Result<Reference, Error> {
    let name = match text.strip_prefix("containers-storage:") {
        Some(name) => Reference::normalized(name),
        None => Reference::for_new_image(text),
    };
    name.map_err(|reason| Error::Destination { text: text.to_owned(), reason })
}

/// A container's draft with the edits of this commit.
fn edited(mut draft: Draft, options: &Options) -> Result<(Draft, Vec<Warning>), Error> {
    draft.format = options.format;
    let mut warnings = Vec::new();
    for edit in &options.edits {
        match edit {
            Edit::Change(change) => warnings.extend(draft.apply(change)),
            Edit::Instruction(text) => {
                let changed = instruction::apply(&mut draft, text);
                warnings.extend(changed.map_err(|source| Error::Change { text: text.clone(), source })?);
            }
        }
    }
    Ok((draft, warnings))
}

/// Refuses what no image can become, whatever it is made of.
pub fn check(store: &Store, options: &Options) -> Result<(), Error> {
    created(options.documents.clock)?;
    match &options.manifest_list {
        Some(list) => Ok(manifest_list::check(store, list)?),
        None => Ok(()),
    }
}

fn created(clock: Clock) -> Result<Time, Error> {
    let seconds = match clock {
        Clock::Now => return Ok(Time::from_timestamp(Timestamp::now())),
        Clock::Timestamp(seconds) | Clock::Epoch(seconds) | Clock::EpochForFiles(seconds) => seconds,
    };
    Ok(Time::from_timestamp(Timestamp::from_second(seconds).map_err(|_| Error::Time(seconds))?))
}

/// The layers below the new one, lowest first.
fn lower_layers(store: &Store, container: &WorkingContainer, options: &Options) -> Result<Vec<LayerInfo>, Error> {
    let failed = |source| Error::Store { name: container.name(), source };
    if options.layer == LayerPolicy::Squash {
        return Ok(Vec::new());
    }
    let layers = store.layers().map_err(failed)?;
    let chain = layers.chain(container.layer()).map_err(failed)?;
    chain.into_iter().skip(1).rev().map(info).collect()
}

fn info(layer: containers_storage::layers::Layer) -> Result<LayerInfo, Error> {
    match (layer.diff_digest, u64::try_from(layer.diff_size)) {
        (Some(digest), Ok(size)) => Ok(LayerInfo { digest, size }),
        _ => Err(Error::NoDigest(layer.id)),
    }
}
