//! `from`: a new working container, on an image or on nothing.
//!
//! Creates a container record, its writable layer and its state file. Nothing is mounted and no namespace is entered: the
//! directories belong to the caller, who is root inside.

mod automatic;
mod mapped;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

use containers_storage::driver::Shape;
use containers_storage::id_map::IdRange;
use containers_storage::images::Image;
use containers_storage::selinux::LabelChoice;
use containers_storage::store::{self, NewContainer, Store};
use containers_storage::{ContainerId, Digest, ImageId, LayerId};
use jiff::Timestamp;

use super::find_image::{self, Found};
use super::mounted;
use super::name::{self, InvalidName};
use super::pull::{self, Fetch, Obtained};
use super::state::{self, Base, RunEnvironment, State};
use crate::golang::goarch;
use crate::image::reference::working_container_prefix;
use crate::image::{Draft, Format, ImageConfig, Time, config, manifest};
pub use crate::run::namespaces::IdMaps;
use crate::transport::copy::Platform;
use crate::userns::{self, Notice};

/// Annotation with the digest of the base image's manifest (OCI image specification, annotations).
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// Annotation with the name of the base image.
const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// How many names are tried before a random one.
const NUMBERED_NAMES: u32 = 1000;

/// What to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// The image, or `scratch`.
    pub image: String,
    /// The wanted name; without one it is made from the image's.
    pub name: Option<String>,
    /// The format that the state notes; a commit has its own.
    pub format: Format,
    /// Who owns the container's files.
    pub user_namespace: UserNamespace,
    /// What a container on nothing is for.
    pub platform: Option<Platform>,
    /// What later runs get.
    pub environment: RunEnvironment,
    /// How its SELinux labels are made; none where SELinux is off.
    pub labels: Option<LabelChoice>,
}

/// `--userns` and the id maps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UserNamespace {
    /// The one that the container's files are written in.
    #[default]
    Host,
    /// A new one for each run, with the same ids.
    Private,
    /// A new one for each run; the container's files belong to these ids.
    Mapped(IdMaps),
    /// The same, with ids that no other container has.
    Automatic(AutomaticMaps),
    /// The same, with all ids of the caller's, who has a certain one inside.
    KeepId(KeptId),
    /// The one that this file stands for, for each run. The container's files belong to these ids, or, if there are none, to those of the
    /// namespace.
    Joined(PathBuf, IdMaps),
}

/// `--userns auto`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AutomaticMaps {
    /// How many ids; 0: as many as the image needs, and as storage.conf says at least (`auto-userns-min-size`, 1,024).
    pub size: u32,
    /// Users that are mapped so, whatever the others are (`uidmapping=`).
    pub uid_map: Vec<IdRange>,
    /// The same for groups (`gidmapping=`).
    pub gid_map: Vec<IdRange>,
}

/// `--userns keep-id`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptId {
    /// The caller inside; without it, the same id as outside.
    pub uid: Option<u32>,
    /// The caller's group inside.
    pub gid: Option<u32>,
}

/// The new container.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its ID.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// The base image's triggers, to be executed by the caller now.
    pub on_build: Vec<String>,
    /// What the person should know of the user namespace, if it had to be entered: one line of standard error each.
    pub notices: Vec<Notice>,
    /// What the person should know.
    pub warnings: Vec<String>,
}

/// Why there is no new container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be had.
    #[error("{0}")]
    Pull(#[from] Box<pull::Error>),
    /// The image's documents cannot be read.
    #[error("reading image {id}")]
    ReadImage {
        /// The image.
        id: ImageId,
        /// What failed.
        source: store::Error,
    },
    /// The image has no manifest that we understand.
    #[error("image {id} cannot be a base")]
    Manifest {
        /// The image.
        id: ImageId,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// A manifest list without an image in the store.
    #[error("image {id} is a list of images: name one of its images instead")]
    List {
        /// The image.
        id: ImageId,
    },
    /// The image's config is damaged.
    #[error("image {id} cannot be a base")]
    Config {
        /// The image.
        id: ImageId,
        /// What is wrong with it.
        source: config::Error,
    },
    /// The wanted name is none.
    #[error("{0}")]
    Name(#[from] InvalidName),
    /// The wanted name is taken. Scripts look for this phrase.
    #[error(
        "creating container: the container name {name:?} is already in use by {holder}. You have to remove that container to be \
         able to reuse that name: that name is already in use"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// The container that has it.
        holder: ContainerId,
    },
    /// There are not that many ids left. Scripts look for the words.
    #[error("creating container: could not find enough available IDs")]
    NoFreeIds {
        /// How many were wanted.
        size: u32,
        /// How many there are.
        free: u64,
    },
    /// Nobody's ids are there for the containers of real root.
    #[error("creating container: could not find enough available IDs: no subordinate ids found for user {user:?} in {path}")]
    NoAutomaticIds {
        /// The user whose ids they would be.
        user: String,
        /// The file that gives none.
        path: &'static str,
    },
    /// The image needs more ids than the settings allow.
    #[error(
        "creating container: the container needs a user namespace with size {size} that is bigger than the maximum value allowed with \
         userns=auto {most}"
    )]
    TooManyIds {
        /// How many it needs.
        size: u32,
        /// `auto-userns-max-size`.
        most: u32,
    },
    /// The user namespace cannot be joined.
    #[error("joining the user namespace {path:?}")]
    Join {
        /// Its file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The user namespace is the one that the container's files are written in anyway.
    #[error("the user namespace {0:?} is the one that containers are in: --userns host says that")]
    OwnNamespace(PathBuf),
    /// The user namespace has other ids than the maps say.
    #[error("the user namespace {0:?} has other ids than the ID mappings say")]
    OtherIds(PathBuf),
    /// Real root has no ids that it could keep.
    #[error("keep-id is only supported in rootless mode")]
    KeepIdOfRoot,
    /// The ids of the other containers cannot be kept as they are meanwhile.
    #[error("creating container")]
    Lock(#[source] containers_storage::lock::Error),
    /// Ranges of a map overlap.
    #[error(
        "creating container: the specified UID and/or GID mapping {}:{}:{} conflicts with other mappings: invalid mappings specified",
        .0.container_id, .0.host_id, .0.size
    )]
    Conflict(IdRange),
    /// A map reaches ids that the caller does not have.
    #[error(
        "potentially insufficient UIDs or GIDs available in user namespace (requested {first}-{last}): Check /etc/subuid and \
         /etc/subgid"
    )]
    InsufficientIds {
        /// The first id of the range.
        first: u32,
        /// The last one.
        last: u32,
    },
    /// A map without an id for root.
    #[error("container ID 0 cannot be mapped to a host ID")]
    NoRoot,
    /// The image has no files.
    #[error("{0:?} has no layers")]
    NoLayers(String),
    /// The root of the image or of its copy cannot be used.
    #[error("creating an ID-mapped copy of the image's files")]
    CopyRoot(#[source] std::io::Error),
    /// The image's files could not be copied for other owners.
    #[error("creating an ID-mapped copy of the image's files")]
    Copy {
        /// What failed.
        source: Box<containers_storage::archive::Error>,
    },
    /// The image's files must be copied, and the user namespace that they belong to could not be entered.
    #[error("creating container")]
    Namespace(#[source] Box<mounted::Error>),
    /// The state could not be written.
    #[error("creating container")]
    State(#[from] state::Error),
    /// The store refused.
    #[error("creating container")]
    Create(#[source] store::Error),
}

impl Error {
    /// What the user can do about it, one line each.
    pub fn hints(&self) -> Vec<String> {
        let line = match self {
            Self::NoAutomaticIds { user, path } => {
                format!(
                    "as root: echo {user}:2147483647:2147483648 >> {path}; another user is named by root-auto-userns-user in storage.conf"
                )
            }
            Self::NoFreeIds { free: 0, .. } => {
                "the caller's subordinate ids (/etc/subuid, /etc/subgid) are what is given out, and there are none, or containers have them all"
                    .to_owned()
            }
            Self::NoFreeIds { size, free } => format!(
                "{size} are needed, and no container has {free}: remove containers, or ask for fewer ids with --userns auto:size=N"
            ),
            Self::TooManyIds { .. } => {
                "raise auto-userns-max-size in storage.conf, or say the number: --userns auto:size=N".to_owned()
            }
            Self::Join { .. } => crate::run::JOIN_HINT.to_owned(),
            Self::OtherIds(_) => "leave the maps out: those of the namespace are taken then".to_owned(),
            Self::KeepIdOfRoot => "real root keeps every id without it; --userns-uid-map gives other ones".to_owned(),
            _ => return Vec::new(),
        };
        vec![line]
    }
}

/// Makes a working container. An image of another place than the store is pulled first.
pub fn from(store: &Store, options: &Options, fetch: &Fetch<'_>) -> Result<Outcome, Error> {
    if let Some(name) = &options.name {
        name::check(name)?;
    }
    if options.image == find_image::SCRATCH {
        return on_nothing(store, options, &mut |_| Ok(()));
    }
    let obtained = pull::obtain(store, &options.image, fetch).map_err(Box::new)?;
    on(store, options, obtained, &mut |_| Ok(()))
}

/// Is told the ID of a container before anybody can see it; an error keeps it from being made. Called under locks: nothing slow.
pub type Announce<'a> = &'a mut dyn FnMut(&ContainerId) -> std::io::Result<()>;

/// The same without an image.
pub fn on_nothing(store: &Store, options: &Options, announce: Announce<'_>) -> Result<Outcome, Error> {
    create(store, options, Start { config: nothing(options.platform.as_ref()), ..Start::default() }, announce)
}

/// The same on an image that was obtained before.
pub fn on(store: &Store, options: &Options, obtained: Obtained, announce: Announce<'_>) -> Result<Outcome, Error> {
    let (base, config) = read_base(store, &obtained.found)?;
    // An image without a name that came from elsewhere lends its transport's.
    let lent = obtained.transport.unwrap_or(&options.image);
    let prefix = working_container_prefix(if base.name.is_empty() { lent } else { &base.name }).to_owned();
    let mut outcome = create(store, options, Start { prefix, base, config, image: Some(obtained.found.image) }, announce)?;
    outcome.warnings.splice(0..0, obtained.warnings);
    Ok(outcome)
}

/// The config that a container on nothing begins with, for `platform`.
pub fn nothing(platform: Option<&Platform>) -> ImageConfig {
    let mut config = ImageConfig::default();
    if let Some(Platform { os, architecture, variant }) = platform.cloned() {
        (config.os, config.architecture, config.variant) = (os, architecture, variant);
    }
    config
}

/// What a container starts from.
#[derive(Default)]
struct Start {
    /// Of an automatic name; empty without an image.
    prefix: String,
    base: Base,
    config: ImageConfig,
    image: Option<Image>,
}

/// The documents of an image, as a working container keeps them.
pub fn read_base(store: &Store, found: &Found) -> Result<(Base, ImageConfig), Error> {
    let image = &found.image;
    let id = || image.id.clone();
    let read = |key: &str| store.image_data(image, key).map_err(|source| Error::ReadImage { id: id(), source });
    let raw = read("manifest")?;
    match manifest::Document::parse(&raw, None).map_err(|source| Error::Manifest { id: id(), source })? {
        manifest::Document::Image(_) => {}
        manifest::Document::Index(_) => return Err(Error::List { id: id() }),
    }
    let config = read(&format!("sha256:{}", image.id))?;
    let parsed = ImageConfig::parse(&config).map_err(|source| Error::Config { id: id(), source })?;
    Ok((base_of(image, found.name.clone(), config, raw), parsed))
}

/// The configuration alone of an image that is known to be no list.
pub fn read_config(store: &Store, id: &ImageId) -> Result<ImageConfig, Error> {
    let bytes = store.image_config(id).map_err(|source| Error::ReadImage { id: id.clone(), source })?;
    ImageConfig::parse(&bytes).map_err(|source| Error::Config { id: id.clone(), source })
}

fn base_of(image: &Image, name: Option<String>, config: Vec<u8>, manifest: Vec<u8>) -> Base {
    Base {
        name: name.unwrap_or_default(),
        id: image.id.to_string(),
        // Not the record's: that is the digest of the index which the image came by.
        digest: Digest::of(&manifest).to_string(),
        config,
        manifest,
        top_layer: image.layer.as_ref().map(LayerId::to_string).unwrap_or_default(),
    }
}

/// The new container's place in the store.
struct Place {
    new: NewContainer,
    /// What entering a user namespace for it has to say.
    notices: Vec<Notice>,
    /// Nobody else chooses ids before the container is recorded.
    _ids: Option<File>,
}

fn place(store: &Store, options: &Options, image: Option<&Image>) -> Result<Place, Error> {
    let mut new = NewContainer {
        image: image.map(|image| image.id.clone()),
        parent: image.and_then(|image| image.layer.clone()),
        labels: options.labels.clone(),
        ..NewContainer::default()
    };
    let enter = || mounted::enter_files(store, &options.image).map_err(|error| Error::Namespace(Box::new(error)));
    let mut ids = None;
    let (maps, notices) = match &options.user_namespace {
        UserNamespace::Host | UserNamespace::Private => {
            let notices = match new.parent {
                Some(_) if copies(store)? => enter()?,
                _ => Vec::new(),
            };
            return Ok(Place { new, notices, _ids: None });
        }
        UserNamespace::Mapped(maps) => (maps.clone(), enter()?),
        UserNamespace::Automatic(wanted) => {
            let notices = enter()?;
            let lock = containers_storage::lock::exclusive(&store.conf().graph_root.join("userns.lock"));
            ids = Some(lock.map_err(Error::Lock)?);
            (automatic::maps(store, image, wanted)?, notices)
        }
        UserNamespace::Joined(path, maps) => {
            let failed = |source: std::io::Error| Error::Join { path: path.clone(), source };
            let namespace = File::open(path).map_err(failed)?;
            let notices = enter()?;
            let own = userns::maps_of(namespace.as_fd()).map_err(failed)?.ok_or_else(|| Error::OwnNamespace(path.clone()))?;
            if !maps.uid.0.is_empty() && *maps != own {
                return Err(Error::OtherIds(path.clone()));
            }
            (own, notices)
        }
        UserNamespace::KeepId(kept) => {
            let outer = userns::outer_ids().map_err(|source| mounted::Error::Namespace { name: options.image.clone(), source });
            let outer = outer.map_err(|error| Error::Namespace(Box::new(error)))?;
            let notices = enter()?;
            (automatic::keep(*kept, outer)?, notices)
        }
    };
    mounted::require_root(&options.image).map_err(|error| Error::Namespace(Box::new(error)))?;
    mapped::require_ids(&maps)?;
    if let Some(image) = image {
        new.parent = Some(mapped::layer_below(store, image, &options.image, &maps)?);
    }
    (new.uid_map, new.gid_map) = (maps.uid, maps.gid);
    Ok(Place { new, notices, _ids: ids })
}

fn create(store: &Store, options: &Options, start: Start, announce: Announce<'_>) -> Result<Outcome, Error> {
    let Start { prefix, base, config, image } = start;
    let draft = draft(options.format, &base, config);
    let on_build = draft.config.config.on_build.clone();
    let mut naming = |attempt: u32| match &options.name {
        Some(name) => (attempt == 0).then(|| name.clone()),
        None => Some(automatic_name(&prefix, attempt)),
    };
    let place = place(store, options, image.as_ref())?;
    let new = &place.new;
    let id_maps = IdMaps { uid: new.uid_map.clone(), gid: new.gid_map.clone() };
    let environment = RunEnvironment { id_maps, ..options.environment.clone() };
    let mut failure = None;
    let mut write_state = |record: &containers_storage::containers::Container, directory: &std::path::Path| {
        announce(&record.id)?;
        let name = record.names.first().map_or("", String::as_str);
        let mut state = State::new(&record.id.to_string(), name, &base, draft.clone(), &environment);
        state.set_labels(&record.labels());
        state.create(directory).map_err(|error| {
            failure = Some(error);
            std::io::Error::other("the state file could not be written")
        })
    };
    let record = match store.create_container(new, &mut naming, &mut write_state) {
        Ok(record) => record,
        Err(store::Error::NameInUse { name, id }) => return Err(Error::NameInUse { name, holder: id }),
        Err(source) => return Err(failure.map_or(Error::Create(source), Error::State)),
    };
    let name = record.names.first().cloned().unwrap_or_default();
    Ok(Outcome {
        id: record.id,
        name,
        on_build,
        notices: place.notices,
        warnings: forgetful_program(store).into_iter().collect(),
    })
}

/// What is known of the program that mounts, where it keeps owners and modes in attributes: fuse-overlayfs writes the attribute anew with
/// what a chown or chmod says, and takes the other half from the file, not from the attribute.
fn forgetful_program(store: &Store) -> Option<String> {
    let options = &store.conf().options;
    let program = options.mount_program.as_ref().filter(|_| options.force_mask.is_some())?;
    let program = program.display();
    Some(format!("force_mask: with {program} a chmod in this container may forget the file's owner, and a chown its mode"))
}

/// Whether a new container starts with a copy of its image's files.
fn copies(store: &Store) -> Result<bool, Error> {
    let driver = store.driver().map_err(|source| Error::Create(source.into()))?;
    Ok(driver.shape() == Shape::Trees)
}

/// The image that an unchanged commit of the new container would write.
pub fn draft(format: Format, base: &Base, mut config: ImageConfig) -> Draft {
    config.docker.docker_version.clear();
    if config.created.is_none() {
        config.created = Some(Time::from_timestamp(Timestamp::now()));
    }
    if config.os.is_empty() {
        config.os = "linux".to_owned();
    }
    if config.architecture.is_empty() {
        config.architecture = goarch().to_owned();
    }
    if format == Format::Docker && config.config.hostname.is_empty() {
        // Docker gives every container the beginning of a random ID as its host name, and its format keeps it.
        config.config.hostname = ContainerId::random().to_string()[..12].to_owned();
    }
    let (mut annotations, layer_annotations) = match manifest::Document::parse(&base.manifest, None) {
        Ok(manifest::Document::Image(manifest)) => {
            let layers = manifest.layers.into_iter().map(|layer| layer.annotations).zip(&config.diff_ids);
            let annotated = layers.filter(|(annotations, _)| !annotations.is_empty());
            let by_layer = annotated.map(|(annotations, diff_id)| (diff_id.to_string(), annotations)).collect();
            (manifest.annotations, by_layer)
        }
        _ => Default::default(),
    };
    if !base.id.is_empty() {
        annotations.insert(BASE_DIGEST.to_owned(), base.digest.clone());
        annotations.insert(BASE_NAME.to_owned(), base.name.clone());
    }
    Draft { format, config, annotations, layer_annotations, ..Draft::default() }
}

/// `<prefix>-working-container`, then with `-1`, `-2`…, and when that many are taken with random digits.
fn automatic_name(prefix: &str, attempt: u32) -> String {
    let stem = if prefix.is_empty() { "working-container".to_owned() } else { format!("{prefix}-working-container") };
    match attempt {
        0 => stem,
        1..NUMBERED_NAMES => format!("{stem}-{attempt}"),
        _ => format!("{stem}-{}", getrandom::u32().unwrap_or(attempt)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_names_count_up() {
        assert_eq!(automatic_name("", 0), "working-container");
        assert_eq!(automatic_name("app", 0), "app-working-container");
        assert_eq!(automatic_name("app", 3), "app-working-container-3");
        assert_ne!(automatic_name("app", NUMBERED_NAMES), automatic_name("app", NUMBERED_NAMES));
    }

    #[test]
    fn a_draft_on_an_image_names_its_base() {
        let base = Base { name: "localhost/a:latest".into(), id: "ab".into(), digest: "sha256:cd".into(), ..Base::default() };
        let draft = draft(Format::Oci, &base, ImageConfig::default());
        assert_eq!(draft.annotations.get(BASE_NAME).map(String::as_str), Some("localhost/a:latest"));
        assert_eq!(draft.config.architecture, goarch());
        assert_eq!(draft.config.config.hostname, "");
    }

    #[test]
    fn a_docker_draft_has_a_host_name_and_scratch_no_base() {
        let draft = draft(Format::Docker, &Base::default(), ImageConfig::default());
        assert_eq!(draft.config.config.hostname.len(), 12);
        assert!(draft.annotations.is_empty());
    }
}
