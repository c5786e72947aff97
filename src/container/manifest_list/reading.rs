//! What an operand names, in the store or elsewhere, and what a list says of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use containers_storage::Digest;
use containers_storage::store::Store;

use super::source::ListSource;
use super::{Error, Stored, is_list, place};
use crate::conf::{Policy, PolicyFile, Registries};
use crate::container::find_image::{self, Choose, Found, find_image};
use crate::image::list::{Entry, List, Platform};
use crate::image::manifest::index::{self, Index};
use crate::image::manifest::{Document, Manifest};
use crate::image::{ImageConfig, Location};
use crate::transport::copy::Platform as CopyPlatform;
use crate::transport::registry::{self, Network, Relevance};
use crate::transport::storage::StoreSource;
use crate::transport::{self, Means, Silence, Source};

/// How images are reached.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// How short names are completed.
    pub registries: &'a Registries,
    /// What may be read.
    pub trust: &'a PolicyFile,
    /// For temporary files.
    pub temp_dir: &'a Path,
    /// How registries are reached.
    pub network: &'a Network,
    /// Asks the person which of several registries is meant; none where nobody can be asked.
    pub choose: Option<Choose<'a>>,
}

impl fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("temp_dir", &self.temp_dir).finish_non_exhaustive()
    }
}

impl<'a> Access<'a> {
    /// What the opening of a place needs.
    pub(super) fn means(&self, store: &'a Store) -> Means<'a> {
        let (registries, network, silence) = (self.registries, self.network, Silence::Awaited);
        Means { store, temp_dir: self.temp_dir, registries, network, silence }
    }
}

/// Which images of a list are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// All of them (`--all`).
    All,
    /// The one for a platform.
    Platform(index::Platform),
}

/// An image, or a list of them, that can be read.
pub(super) struct Opened<'s> {
    operand: String,
    source: Box<dyn Source + 's>,
    /// Its place, as `instances.json` has it.
    place: String,
    /// The list of the store that it is.
    list: Option<Stored>,
    policy: Policy,
}

/// Opens what `operand` means: a place, or else an image of the store.
pub(super) fn open<'s>(store: &'s Store, operand: &str, access: &Access<'s>) -> Result<Opened<'s>, Error> {
    let location = Location::parse(operand).map_err(|source| Error::Location { operand: operand.to_owned(), source })?;
    match location {
        None => match find_image(store, access.registries, operand) {
            Err(unknown @ find_image::Error::NotKnown { .. }) => at_registry(store, operand, access, unknown),
            found => stored(store, found?, operand, access),
        },
        Some(Location::Storage(name)) if name.store.is_none() => {
            stored(store, find_image(store, access.registries, &name.name)?, operand, access)
        }
        Some(location) => place_of(access.means(store), operand, absolute(location), access),
    }
}

/// Opens the image of a name at the first registry that has it. Who does not say "not here" ends the search: the next one's image may
/// be a stranger's (known attacks A108).
fn at_registry<'s>(
    store: &'s Store,
    operand: &str,
    access: &Access<'s>,
    unknown: find_image::Error,
) -> Result<Opened<'s>, Error> {
    let mut found = find_image::at_registries(access.registries, operand)?;
    found.choose(access.registries, operand, access.choose)?;
    let short = found.short.is_some();
    let means = Means { silence: found.silence(), ..access.means(store) };
    let mut last = Error::Find(unknown);
    for name in &found.names {
        let (relevance, error) = match place_of(means, operand, Location::Registry(name.clone()), access) {
            Ok(opened) => {
                if let Some(problem) = found.remember(access.registries) {
                    log::warn!("{problem}");
                }
                return Ok(opened);
            }
            Err(Error::Read { operand, source }) => {
                let relevance = source.registry().map_or(Relevance::NotThere, registry::Error::relevance);
                let nowhere = short && relevance <= Relevance::NotAsked;
                (relevance, if nowhere { Error::Nowhere { operand, source } } else { Error::Read { operand, source } })
            }
            Err(error) => return Err(error),
        };
        last = error;
        if relevance > Relevance::NotThere {
            break;
        }
    }
    Err(last)
}

/// Opens a place outside of the store in use.
fn place_of<'s>(means: Means<'s>, operand: &str, location: Location, access: &Access<'s>) -> Result<Opened<'s>, Error> {
    let failed = |source| Error::Read { operand: operand.to_owned(), source: Box::new(source) };
    let source = transport::open_source(&location, means).map_err(failed)?;
    let trust = access.trust.load();
    let trust = trust.map_err(|source| Error::Policy { operand: operand.to_owned(), source: Box::new(source) })?;
    transport::copy::require_policy(source.as_ref(), &trust).map_err(failed)?;
    Ok(Opened { operand: operand.to_owned(), source, place: location.to_string(), list: None, policy: trust })
}

/// The bytes of the list at the place that `operand` names; none for a list of the store. What the store lacks, or has as one image of
/// a list, is looked for at its registry.
pub fn elsewhere(store: &Store, operand: &str, access: &Access<'_>) -> Result<Option<Vec<u8>>, Error> {
    let location = Location::parse(operand).map_err(|source| Error::Location { operand: operand.to_owned(), source })?;
    let opened = match location {
        None => match find_image(store, access.registries, operand) {
            Ok(found) if is_list(store, &found.image)? => return Ok(None),
            // What has no name has no registry, and neither has what was made here.
            Ok(found) => match found.name_at_registry(operand).filter(|name| !name.starts_with("localhost/")) {
                Some(name) => at_registry(store, &name, access, find_image::Error::NotKnown { operand: operand.to_owned() })?,
                None => return Ok(None),
            },
            Err(unknown @ find_image::Error::NotKnown { .. }) => at_registry(store, operand, access, unknown)?,
            Err(error) => return Err(error.into()),
        },
        Some(Location::Storage(name)) if name.store.is_none() => return Ok(None),
        Some(_) => open(store, operand, access)?,
    };
    let raw = opened.source.manifest(None).map_err(|error| opened.failed(error))?;
    let wrong = |source| Error::Document { operand: operand.to_owned(), source };
    match Document::parse(&raw.bytes, raw.media_type.as_deref()).map_err(wrong)? {
        Document::Index(bytes) => Ok(Some(bytes)),
        Document::Image(manifest) => {
            Err(Error::NotAListAt { place: opened.source.name(), media_type: manifest.media_type().to_owned() })
        }
    }
}

/// Where a list is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// In the store, and at the registry of what it has one image of, or none.
    Registries,
    /// In the store alone.
    Store,
}

/// The platforms that what `operand` names is there for: those of a list, or that of one image.
pub fn platforms(store: &Store, operand: &str, access: &Access<'_>, ask: Ask) -> Result<Vec<CopyPlatform>, Error> {
    let opened = widest(store, operand, access, ask)?;
    let raw = opened.source.manifest(None).map_err(|error| opened.failed(error))?;
    let wrong = |source| Error::Document { operand: operand.to_owned(), source };
    let platforms = match Document::parse(&raw.bytes, raw.media_type.as_deref()).map_err(wrong)? {
        Document::Image(manifest) => vec![opened.platform(&manifest)?],
        Document::Index(bytes) => List::parse(&bytes).map_err(wrong)?.entries.into_iter().map(|entry| entry.platform).collect(),
    };
    let named = |word: &str| !word.is_empty() && word != "unknown";
    let platforms = platforms.into_iter().filter(|platform| named(&platform.os) && named(&platform.architecture));
    Ok(platforms.map(|Platform { os, architecture, variant, .. }| CopyPlatform { os, architecture, variant }).collect())
}

/// The list of which the store may have taken one image.
fn widest<'s>(store: &'s Store, operand: &str, access: &Access<'s>, ask: Ask) -> Result<Opened<'s>, Error> {
    let location = Location::parse(operand).map_err(|source| Error::Location { operand: operand.to_owned(), source })?;
    if location.is_some() {
        return open(store, operand, access);
    }
    let found = match (find_image(store, access.registries, operand), ask) {
        (Err(unknown @ find_image::Error::NotKnown { .. }), Ask::Registries) => {
            return at_registry(store, operand, access, unknown);
        }
        (found, _) => found?,
    };
    // What has no name has no registry, and neither has what was made here.
    let name = found.name_at_registry(operand).filter(|name| !name.starts_with("localhost/"));
    match name.filter(|_| ask == Ask::Registries) {
        Some(name) if !is_list(store, &found.image)? => {
            at_registry(store, &name, access, find_image::Error::NotKnown { operand: operand.to_owned() })
        }
        _ => stored(store, found, operand, access),
    }
}

fn stored<'s>(store: &'s Store, found: Found, operand: &str, access: &Access<'s>) -> Result<Opened<'s>, Error> {
    let (operand, place) = (operand.to_owned(), place(store, &found.id));
    if !is_list(store, &found.image)? {
        let source = Box::new(StoreSource::of_image(store, found.image, found.id.as_str()));
        return Ok(Opened { operand, source, place, list: None, policy: Policy::default() });
    }
    let list = Stored::read(store, found.image)?;
    let source = Box::new(ListSource::new(store, list.clone(), access)?);
    Ok(Opened { operand, source, place, list: Some(list), policy: Policy::default() })
}

/// A place that means the same in every working directory.
fn absolute(location: Location) -> Location {
    let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    match location {
        Location::OciLayout { dir, image } => Location::OciLayout { dir: whole(dir), image },
        Location::OciArchive { file, image } => Location::OciArchive { file: whole(file), image },
        Location::DockerArchive { file, image } => Location::DockerArchive { file: whole(file), image },
        Location::Dir(dir) => Location::Dir(whole(dir)),
        Location::Tarball(files) => Location::Tarball(files.into_iter().map(whole).collect()),
        other @ (Location::Storage(_) | Location::Registry(_)) => other,
    }
}

impl Opened<'_> {
    fn failed(&self, source: transport::Error) -> Error {
        Error::Read { operand: self.operand.clone(), source: Box::new(source) }
    }

    /// The descriptor of the image or list itself, without a platform.
    pub(super) fn descriptor(&self) -> Result<Entry, Error> {
        let raw = self.source.manifest(None).map_err(|error| self.failed(error))?;
        let wrong = |source| Error::Document { operand: self.operand.clone(), source };
        let document = Document::parse(&raw.bytes, raw.media_type.as_deref()).map_err(wrong)?;
        let (media_type, artifact_type) = match document {
            Document::Image(manifest) => (manifest.media_type(), manifest.artifact_type),
            Document::Index(bytes) => {
                (Index::parse(&bytes, raw.media_type.as_deref()).map_err(wrong)?.media_type, String::new())
            }
        };
        let mut entry = Entry::new(media_type, Digest::of(&raw.bytes), raw.bytes.len() as u64);
        entry.artifact_type = artifact_type;
        Ok(entry)
    }

    /// What a list says of the image, or of those images of the list that are meant.
    pub(super) fn entries(&self, which: &Entries) -> Result<Vec<Entry>, Error> {
        let raw = self.source.manifest(None).map_err(|error| self.failed(error))?;
        let wrong = |source| Error::Document { operand: self.operand.clone(), source };
        let bytes = match Document::parse(&raw.bytes, raw.media_type.as_deref()).map_err(wrong)? {
            Document::Image(manifest) => {
                self.require(&manifest, None)?;
                return Ok(vec![self.entry(&manifest)?]);
            }
            Document::Index(bytes) => bytes,
        };
        let index = Index::parse(&bytes, raw.media_type.as_deref()).map_err(wrong)?;
        let mut entries = List::parse(&bytes).map_err(wrong)?.entries;
        if let Entries::Platform(platform) = which {
            let chosen = index.choose(platform).ok_or_else(|| Error::NoInstance {
                operand: self.operand.clone(),
                architecture: platform.architecture.clone(),
                os: platform.os.clone(),
            })?;
            entries.retain(|entry| entry.digest == chosen.digest);
            entries.truncate(1);
        }
        entries.into_iter().map(|entry| self.completed(entry)).collect()
    }

    /// An entry of another list, whose manifest can be read and is what that list says.
    fn completed(&self, mut entry: Entry) -> Result<Entry, Error> {
        let failed = |error| self.failed(error);
        let document = transport::copy::read_instance(
            self.source.as_ref(),
            &index::Instance {
                digest: entry.digest.clone(),
                size: entry.size,
                media_type: entry.media_type.clone(),
                platform: None,
                details: index::Details::default(),
            },
        )
        .map_err(failed)?;
        let Document::Image(manifest) = document else {
            return Err(Error::Nested { operand: self.operand.clone(), digest: entry.digest });
        };
        self.require(&manifest, Some(&entry.digest))?;
        if (entry.platform.os.is_empty() || entry.platform.architecture.is_empty()) && !manifest.is_artifact() {
            let told = self.platform(&manifest)?;
            if entry.platform.os.is_empty() {
                (entry.platform.os, entry.platform.os_version) = (told.os, told.os_version);
                entry.platform.os_features = told.os_features;
            }
            if entry.platform.architecture.is_empty() {
                (entry.platform.architecture, entry.platform.variant) = (told.architecture, told.variant);
            }
        }
        Ok(entry)
    }

    /// Refuses an image that the policy does not accept.
    fn require(&self, manifest: &Manifest, instance: Option<&Digest>) -> Result<(), Error> {
        let required = transport::copy::require_image(self.source.as_ref(), &self.policy, manifest.bytes(), instance);
        required.map_err(|error| self.failed(error))
    }

    fn entry(&self, manifest: &Manifest) -> Result<Entry, Error> {
        let mut entry = Entry::new(manifest.media_type(), manifest.digest(), manifest.bytes().len() as u64);
        if manifest.is_artifact() {
            entry.artifact_type.clone_from(&manifest.artifact_type);
        } else {
            entry.platform = self.platform(manifest)?;
        }
        Ok(entry)
    }

    fn platform(&self, manifest: &Manifest) -> Result<Platform, Error> {
        let config = transport::copy::read_config(self.source.as_ref(), manifest).map_err(|error| self.failed(error))?;
        let config = ImageConfig::parse(&config);
        let config = config.map_err(|source| Error::Config { operand: self.operand.clone(), source })?;
        Ok(Platform::of_config(&config))
    }

    /// Notes in `stored` where the images with these manifests are.
    pub(super) fn note_places(&self, stored: &mut Stored, entries: &[Entry]) {
        let none = BTreeMap::new();
        let known = self.list.as_ref().map_or(&none, |list| &list.places);
        for entry in entries {
            let digest = entry.digest.as_str();
            if let Some(list) = &self.list
                && list.artifacts.manifests.contains_key(digest)
            {
                stored.artifacts.take(&list.artifacts, digest);
            } else {
                // A place that is known still holds.
                let place = known.get(digest).unwrap_or(&self.place).clone();
                stored.places.entry(digest.to_owned()).or_insert(place);
            }
        }
    }
}
