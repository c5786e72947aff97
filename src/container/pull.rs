//! `pull`: an image of the store, read from another place first if need be.
//!
//! ```text
//! name or ID          → the store; what is not there, or may be newer, is copied from its registry
//! docker://name       → the same, without completing the name
//! transport:rest      → copied into the store, whatever is there already, under the names that it has at its place
//! ```
//!
//! `candidates` has the registries that are asked, `platform` what an image is for, `policy` when another place is asked at all.
//!
//! Invariant: what cannot be had leaves the store as it was. The name of an image moves to it only when all of it is there.

mod candidates;
mod error;
mod platform;
mod policy;

use std::fmt;
use std::path::Path;

use containers_storage::store::{NameChange, Store};
use containers_storage::{Digest, ImageId};

use self::candidates::Candidates;
pub use self::error::{Error, Missed};
pub use self::policy::{PullPolicy, UnknownPullPolicy};
use super::find_image::{self, Choose, Found};
use super::mounted;
use crate::conf::{PolicyFile, Registries};
use crate::image::{Location, Manifest, location};
use crate::transport::copy::{CopyOptions, Existing, Instances, LayerCompression, Platform, Signatures};
use crate::transport::encryption::{Decryption, Sealing};
use crate::transport::registry::Network;
use crate::transport::{self, Means, Progress, Silence, Source};

/// How an image is obtained.
#[derive(Clone, Copy)]
pub struct Fetch<'a> {
    /// How short names are completed.
    pub registries: &'a Registries,
    /// When another place is asked. A transport is always asked.
    pub policy: PullPolicy,
    /// What it must run on; none for this machine, with what the store has taken as it is.
    pub platform: Option<&'a Platform>,
    /// What may be read.
    pub trust: &'a PolicyFile,
    /// What becomes of signatures.
    pub signatures: Signatures<'a>,
    /// Keys for layers that are encrypted.
    pub decrypt: Option<&'a Decryption>,
    /// For temporary files.
    pub temp_dir: &'a Path,
    /// How registries are reached.
    pub network: &'a Network,
    /// Asks the person which of several registries is meant; none where nobody can be asked.
    pub choose: Option<Choose<'a>>,
    /// Told what is happening, from several threads.
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

impl fmt::Debug for Fetch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("policy", &self.policy).field("platform", &self.platform).finish_non_exhaustive()
    }
}

/// An image that is in the store now.
#[derive(Debug, Clone)]
pub struct Obtained {
    /// The image. Its name is the one that was meant.
    pub found: Found,
    /// The transport that it came by; none for one that was in the store.
    pub transport: Option<&'static str>,
    /// What the person should know.
    pub warnings: Vec<String>,
}

/// The image that `operand`, a name, an ID or `transport:rest`, means.
pub fn obtain(store: &Store, operand: &str, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    match elsewhere(operand)? {
        None => named(store, operand, operand, fetch),
        Some(Location::Registry(name)) => named(store, operand, &name.to_string(), fetch),
        Some(location) => {
            let means = means(store, fetch);
            let notices = mounted::enter_for_transfer(store)?;
            let failed = |source| Error::Copy { operand: operand.to_owned(), source: Box::new(source) };
            let source = transport::open_source(&location, means).map_err(failed)?;
            let warnings = notices.iter().map(ToString::to_string).collect();
            copy(store, operand, source.as_ref(), fetch, warnings)
        }
    }
}

/// The same of an image that the caller lends to a build: one of a directory or an archive gets no name in the store, where another image
/// may have it, and is copied only if the store lacks it.
pub fn obtain_lent(store: &Store, operand: &str, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    let Some(location) = elsewhere(operand)?.filter(|location| !matches!(location, Location::Registry(_))) else {
        return obtain(store, operand, fetch);
    };
    let notices = mounted::enter_for_transfer(store)?;
    let failed = |source| Error::Copy { operand: operand.to_owned(), source: Box::new(source) };
    let source = transport::open_source(&location, means(store, fetch)).map_err(failed)?;
    if let Some(found) = copied_before(store, operand, source.as_ref(), fetch)? {
        let wished = fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine);
        let warnings = platform::difference(&wished, &platform::of_image(store, &found)?).into_iter().collect();
        return Ok(Obtained { found, transport: Some(source.transport()), warnings });
    }
    let warnings = notices.iter().map(ToString::to_string).collect();
    copy_as(store, operand, (source.as_ref(), &[]), fetch, warnings)
}

/// The image of the store that the source has, by the same manifest. None as well where the policy has to look at the source's first.
fn copied_before(store: &Store, operand: &str, source: &dyn Source, fetch: &Fetch<'_>) -> Result<Option<Found>, Error> {
    let failed = |source| Error::Copy { operand: operand.to_owned(), source: Box::new(source) };
    let store_failed = |source| Error::Store { operand: operand.to_owned(), source };
    let trust = fetch.trust.load().map_err(|source| Error::Policy { operand: operand.to_owned(), source })?;
    if !transport::copy::accepts_anything(source, &trust) {
        return Ok(None);
    }
    let platform = fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine);
    let (manifest, config) = transport::copy::read_image(source, &platform).map_err(failed)?;
    let id = ImageId::of_config(&Digest::of(&config));
    let image = store.images().and_then(|images| images.find(&id)).map_err(store_failed)?;
    let found = image.map(|image| Found { id, name: None, image });
    Ok(found.filter(|found| has_digest(found, &manifest.digest())))
}

/// What came of looking for an image that nobody named.
#[derive(Debug)]
pub enum Looked {
    /// It is not at that place.
    NotThere,
    /// It is not the one that was meant, and why.
    Unfit(&'static str),
    /// It is in the store now.
    Here(Box<Obtained>),
}

/// Copies the image at `location` into the store without a name, unless `misfit`, which is given its manifest and config before any layer is
/// read, has something against it.
pub fn unnamed(
    store: &Store,
    location: &Location,
    fetch: &Fetch<'_>,
    misfit: &dyn Fn(&Manifest, &[u8]) -> Option<&'static str>,
) -> Result<Looked, Error> {
    let operand = location.to_string();
    let failed = |source| Error::Copy { operand: operand.clone(), source: Box::new(source) };
    let trust = fetch.trust.load().map_err(|source| Error::Policy { operand: operand.clone(), source })?;
    let source = match transport::open_source(location, means(store, fetch)) {
        Err(error) if error.is_not_there() => return Ok(Looked::NotThere),
        opened => opened.map_err(failed)?,
    };
    transport::copy::require_policy(source.as_ref(), &trust).map_err(failed)?;
    let platform = fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine);
    let (manifest, config) = transport::copy::read_image(source.as_ref(), &platform).map_err(failed)?;
    if let Some(why) = misfit(&manifest, &config) {
        return Ok(Looked::Unfit(why));
    }
    let notices = mounted::enter_for_transfer(store)?;
    let destination = transport::open_destination(&Location::stored(""), means(store, fetch)).map_err(failed)?;
    let options = CopyOptions {
        instances: Instances::Platform(platform),
        format: None,
        compression: LayerCompression::default(),
        policy: &trust,
        signatures: Signatures { existing: Existing::Remove, sign_by: None },
        sealing: Sealing { encrypt: None, decrypt: fetch.decrypt },
    };
    let outcome = transport::copy(source.as_ref(), destination, &options, &|_| {}).map_err(failed)?;
    // What the name stands for may have changed in between.
    let Some(id) = outcome.image.filter(|id| *id == ImageId::of_config(&Digest::of(&config))) else {
        return Ok(Looked::Unfit("it was replaced while it was read"));
    };
    let image = store.images().and_then(|images| images.get(&id));
    let image = image.map_err(|source| Error::Store { operand: operand.clone(), source })?;
    let warnings = notices.iter().map(ToString::to_string).collect();
    Ok(Looked::Here(Box::new(Obtained { found: Found { id, name: None, image }, transport: None, warnings })))
}

/// Whether `operand` names another place than the store in use for certain; what a name stands for may be at a registry.
pub fn is_elsewhere(operand: &str) -> bool {
    !matches!(elsewhere(operand), Ok(None))
}

/// The place that `operand` names; none for the store in use.
fn elsewhere(operand: &str) -> Result<Option<Location>, location::Error> {
    Ok(Location::parse(operand)?.filter(|location| !matches!(location, Location::Storage(name) if name.store.is_none())))
}

fn means<'m>(store: &'m Store, fetch: &Fetch<'m>) -> Means<'m> {
    Means { store, temp_dir: fetch.temp_dir, registries: fetch.registries, network: fetch.network, silence: Silence::Told }
}

/// The image called `name` of the store, or of its registry, as the policy says.
fn named(store: &Store, operand: &str, name: &str, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    let own = Platform::of_this_machine();
    // Of a list, its image for the platform.
    let here = match find_image::find_one(store, fetch.registries, name, fetch.platform.unwrap_or(&own)) {
        Ok(found) => Some(found),
        Err(find_image::Error::NotKnown { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let of_store = |found: Found| of_store(store, operand, found, fetch);
    let unknown = || Error::Image(find_image::Error::NotKnown { operand: operand.to_owned() });
    // What is asked for again is what was found, not what a short name could mean besides.
    let asked = here.as_ref().and_then(|found| found.name_at_registry(name)).filter(|_| !is_id(operand));
    let asked = asked.as_deref().unwrap_or(name);
    let misfit = match &here {
        Some(found) => platform::misfit(store, operand, found, fetch)?,
        None => None,
    };
    let usable = match (fetch.policy, here.filter(|_| misfit.is_none())) {
        (PullPolicy::Missing | PullPolicy::Never, Some(found)) => return Ok(of_store(found)),
        (PullPolicy::Never, None) => return Err(misfit.unwrap_or_else(unknown)),
        (_, usable) => usable,
    };
    // What was named by its ID has no other place.
    if let Some(found) = usable.as_ref().filter(|found| found.id.as_str().starts_with(operand)) {
        return match fetch.policy {
            PullPolicy::Always => Err(Error::AlwaysById { operand: operand.to_owned() }),
            _ => Ok(of_store(found.clone())),
        };
    }
    // A whole ID is of the store alone, and so is what was named with its transport.
    match (fetch.policy, usable, candidates::find(operand, asked, fetch)?) {
        (_, Some(found), None) => Ok(of_store(found)),
        (_, None, None) => Err(misfit.unwrap_or_else(unknown)),
        (PullPolicy::Newer, Some(found), Some(candidates)) => newer(store, operand, found, &candidates, fetch),
        (_, _, Some(candidates)) => {
            let source = candidates.ask(store, operand, fetch);
            let source = source.map_err(|error| match misfit {
                Some(Error::OtherPlatform { operand, wished, found, .. }) => {
                    Error::OtherPlatform { operand, wished, found, source: Some(Box::new(error)) }
                }
                _ => error,
            })?;
            let mut obtained = pull(store, operand, source.as_ref(), fetch)?;
            obtained.warnings.extend(candidates.remember(fetch));
            Ok(obtained)
        }
    }
}

/// An image that was there.
fn of_store(store: &Store, operand: &str, found: Found, fetch: &Fetch<'_>) -> Obtained {
    let warnings = platform::unlike_this_machine(store, operand, &found, fetch).into_iter().collect();
    Obtained { found, transport: None, warnings }
}

/// Whether an operand is an ID, or the beginning of one.
fn is_id(operand: &str) -> bool {
    let digits = operand.strip_prefix("sha256:").unwrap_or(operand);
    digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The image in the store is taken unless the registry has another one, and is reached.
fn newer(store: &Store, operand: &str, found: Found, candidates: &Candidates, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    let trust = fetch.trust.load().map_err(|source| Error::Policy { operand: operand.to_owned(), source })?;
    // What the policy asks something of is looked at again: it may have become stricter since the image came.
    let same = |source: &dyn Source| {
        transport::copy::accepts_anything(source, &trust)
            && source.manifest(None).is_ok_and(|raw| has_digest(&found, &Digest::of(&raw.bytes)))
    };
    match candidates.ask(store, operand, fetch) {
        Ok(source) if same(source.as_ref()) => Ok(of_store(store, operand, found, fetch)),
        Ok(source) => pull(store, operand, source.as_ref(), fetch),
        Err(error) => {
            log::debug!("{operand}: nothing newer than what the store has: {error}");
            Ok(of_store(store, operand, found, fetch))
        }
    }
}

/// Whether an image of the store has this manifest, or came by this index.
fn has_digest(found: &Found, digest: &Digest) -> bool {
    let key = format!("manifest-{digest}");
    found.image.digest.as_ref() == Some(digest) || found.image.big_data_names.contains(&key)
}

/// Copies an image of a registry into the store.
fn pull(store: &Store, operand: &str, source: &dyn Source, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    let notices = mounted::enter_for_transfer(store)?;
    copy(store, operand, source, fetch, notices.iter().map(ToString::to_string).collect())
}

/// Copies the image into the store, under the names that it has at its place.
fn copy(
    store: &Store,
    operand: &str,
    source: &dyn Source,
    fetch: &Fetch<'_>,
    warnings: Vec<String>,
) -> Result<Obtained, Error> {
    copy_as(store, operand, (source, &source.names()), fetch, warnings)
}

/// The same, under these names.
fn copy_as(
    store: &Store,
    operand: &str,
    (source, names): (&dyn Source, &[String]),
    fetch: &Fetch<'_>,
    mut warnings: Vec<String>,
) -> Result<Obtained, Error> {
    let failed = |source| Error::Copy { operand: operand.to_owned(), source: Box::new(source) };
    let store_failed = |source| Error::Store { operand: operand.to_owned(), source };
    let trust = fetch.trust.load().map_err(|source| Error::Policy { operand: operand.to_owned(), source })?;
    let first = Location::stored(names.first().map_or("", String::as_str));
    let destination = transport::open_destination(&first, means(store, fetch)).map_err(failed)?;
    let options = CopyOptions {
        instances: Instances::Platform(fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine)),
        format: None,
        compression: LayerCompression::default(),
        policy: &trust,
        signatures: fetch.signatures,
        sealing: Sealing { encrypt: None, decrypt: fetch.decrypt },
    };
    let outcome = transport::copy(source, destination, &options, fetch.progress).map_err(failed)?;
    let id: ImageId = outcome.image.ok_or_else(|| Error::Nothing { operand: operand.to_owned() })?;
    let image = store.change_image_names(&id, NameChange::Add, names.get(1..).unwrap_or_default()).map_err(store_failed)?;

    let mut found = find_image::by_id(image, source.transport());
    if let Some(name) = names.first().filter(|name| found.image.names.contains(name)) {
        found.name = Some(name.clone());
    }
    let (wished, of_image) =
        (fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine), platform::of_image(store, &found)?);
    warnings.extend(platform::difference(&wished, &of_image));
    Ok(Obtained { found, transport: Some(source.transport()), warnings })
}
