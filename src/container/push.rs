//! `push`: an image of the store to another place.
//!
//! Must not change the store, but for a list that is removed after it was pushed (`--rm`).

use std::path::Path;

use containers_storage::images::Image;
use containers_storage::store::{self, NameChange, Store};
use containers_storage::{Digest, ImageId};

use super::find_image::{self, Found, find_image};
use super::manifest_list::{self, ListSource};
use super::mounted;
use super::pull::Fetch;
use crate::conf::{self, PolicyFile, Registries};
use crate::image::manifest::Document;
use crate::image::{Format, Location, Manifest, Reference, location, reference};
use crate::transport::compression::Layout;
use crate::transport::copy::{CopyOptions, Existing, Instances, LayerCompression, Platform, Signatures};
use crate::transport::encryption::{Encryption, Sealing};
use crate::transport::registry::Network;
use crate::transport::storage::StoreSource;
use crate::transport::{self, Means, Progress, Silence, Source};
use crate::userns;

/// What to push, and how.
pub struct Options<'a> {
    /// The image, as typed.
    pub image: &'a str,
    /// Where to, as typed; none for the registry that the image's name says.
    pub destination: Option<&'a str>,
    /// How short names are completed.
    pub registries: &'a Registries,
    /// What may be read.
    pub trust: &'a PolicyFile,
    /// For temporary files.
    pub temp_dir: &'a Path,
    /// How registries are reached.
    pub network: &'a Network,
    /// Which images of a list.
    pub instances: Instances,
    /// The manifest's format; none keeps it where the destination can.
    pub format: Option<Format>,
    /// How layers are compressed.
    pub compression: LayerCompression,
    /// What becomes of signatures.
    pub signatures: Signatures<'a>,
    /// For whom layers are encrypted.
    pub encrypt: Option<&'a Encryption>,
    /// What becomes of a list.
    pub list: Afterwards,
    /// What the members of an OCI archive say about when they were changed: seconds since 1970.
    pub archive_time: u64,
}

/// What becomes of a list after it was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It stays in the store.
    Keep,
    /// It goes; an image stays in any case.
    Remove,
}

/// What was pushed.
#[derive(Debug)]
pub struct Outcome {
    /// The manifest as it is at the destination, unless the image only got another name.
    pub manifest: Option<Pushed>,
    /// What the person should know.
    pub warnings: Vec<String>,
}

/// A manifest at its destination.
#[derive(Debug)]
pub struct Pushed {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
}

/// Why nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image is not in the store.
    #[error("pushing image {image:?} to {destination:?}")]
    Image {
        /// What was typed.
        image: String,
        /// Where it should go.
        destination: String,
        /// What failed.
        source: Box<find_image::Error>,
    },
    /// The destination is no place.
    #[error("pushing image {image:?}")]
    Location {
        /// What was typed.
        image: String,
        /// What is wrong with it.
        source: location::Error,
    },
    /// The name for the store is none.
    #[error("pushing image {image:?} to {destination:?}")]
    Name {
        /// What was typed.
        image: String,
        /// Where it should go.
        destination: String,
        /// What is wrong with it.
        source: reference::Error,
    },
    /// The namespace could not be entered.
    #[error("reading and writing files of other owners")]
    Namespace(#[from] userns::Error),
    /// policy.json cannot be read.
    #[error("pushing image {image:?}")]
    Policy {
        /// What was typed.
        image: String,
        /// What failed.
        source: Box<conf::Error>,
    },
    /// The list cannot be read.
    #[error("pushing image {image:?}")]
    List {
        /// What was typed.
        image: String,
        /// What failed.
        source: Box<manifest_list::Error>,
    },
    /// The copy failed.
    #[error("pushing image {image:?} to {destination:?}")]
    Copy {
        /// What was typed.
        image: String,
        /// Where it should go.
        destination: String,
        /// What failed.
        source: Box<transport::Error>,
    },
    /// The store refused.
    #[error("pushing image {image:?} to {destination:?}")]
    Store {
        /// What was typed.
        image: String,
        /// Where it should go.
        destination: String,
        /// What failed.
        source: Box<store::Error>,
    },
}

/// Pushes an image. `progress` is told what is happening, from several threads.
pub fn push<'s>(store: &'s Store, options: &Options<'s>, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Outcome, Error> {
    let image = options.image.to_owned();
    let typed = options.destination.map_or_else(|| format!("docker://{image}"), str::to_owned);
    let location = match Location::parse(&typed) {
        Ok(Some(location)) => Ok(location),
        Ok(None) => {
            Location::parse(&format!("docker://{typed}")).map(|location| location.unwrap_or_else(|| Location::stored("")))
        }
        Err(error) => Err(error),
    };
    let location = location.map_err(|source| Error::Location { image: image.clone(), source })?;
    let typed = if matches!(location, Location::Registry(_)) { with_transport(&typed) } else { typed };
    let found = find_image(store, options.registries, options.image);
    let found =
        found.map_err(|source| Error::Image { image: image.clone(), destination: typed.clone(), source: Box::new(source) })?;
    if let Location::Storage(name) = &location
        && name.store.is_none()
    {
        return name_again(store, options, &found, &name.name);
    }
    let trust = options.trust.load().map_err(|source| Error::Policy { image: image.clone(), source: Box::new(source) })?;
    let notices = mounted::enter_for_transfer(store)?;

    let failed = |source| Error::Copy { image: image.clone(), destination: typed.clone(), source: Box::new(source) };
    let source = source(store, options, &found)?;
    let means = Means {
        store,
        temp_dir: options.temp_dir,
        registries: options.registries,
        network: options.network,
        silence: Silence::Awaited,
    };
    let mut destination = transport::open_dated(&location, means, options.archive_time).map_err(failed)?;
    destination.add_names(typed_name(options.image, &found).as_slice());
    let mut warnings: Vec<String> = notices.iter().map(ToString::to_string).collect();
    let copy_options = CopyOptions {
        instances: options.instances.clone(),
        format: options.format,
        compression: readable(options, &mut warnings),
        policy: &trust,
        signatures: options.signatures,
        sealing: Sealing { encrypt: options.encrypt, decrypt: None },
    };
    let outcome = transport::copy(source.as_ref(), destination, &copy_options, progress).map_err(failed)?;
    if options.list == Afterwards::Remove && is_list(&found.image) {
        let deleted = store.delete_image(&found.id).and_then(|mut deleted| deleted.finish());
        deleted.map_err(|source| Error::Store {
            image: image.clone(),
            destination: typed.clone(),
            source: Box::new(source),
        })?;
    }
    let pushed = Pushed { digest: outcome.digest, size: outcome.size, media_type: outcome.media_type };
    Ok(Outcome { manifest: Some(pushed), warnings })
}

/// How layers are compressed so that somebody can read them: nobody fetches parts of an encrypted one, and the annotations about its parts
/// would tell in the clear what is in it.
fn readable(options: &Options<'_>, warnings: &mut Vec<String>) -> LayerCompression {
    let compression = options.compression;
    match compression.method.filter(|method| method.layout() == Layout::Chunked && options.encrypt.is_some()) {
        Some(method) => {
            warnings.push("zstd:chunked is of no use for encrypted layers: they are compressed as plain zstd".to_owned());
            LayerCompression { method: Some(method.whole()), ..compression }
        }
        None => compression,
    }
}

/// What became of an image that a place was to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was pushed.
    Now,
    /// The place had it.
    Before,
}

/// Pushes the image `id` of the store to `location`, unless that very image is there.
pub fn push_missing(
    store: &Store,
    id: &ImageId,
    location: &Location,
    access: &Fetch<'_>,
    compression: LayerCompression,
) -> Result<Sent, Error> {
    let (image, destination) = (id.to_string(), location.to_string());
    let means = Means {
        store,
        temp_dir: access.temp_dir,
        registries: access.registries,
        network: access.network,
        silence: Silence::Told,
    };
    let there = transport::open_source(location, means).and_then(|source| source.manifest(None));
    match there {
        Ok(raw) => {
            let has = |manifest: &Manifest| ImageId::of_config(&manifest.config.digest) == *id;
            if matches!(Document::parse(&raw.bytes, raw.media_type.as_deref()), Ok(Document::Image(manifest)) if has(&manifest))
            {
                return Ok(Sent::Before);
            }
        }
        Err(error) if error.is_not_there() => {}
        Err(source) => return Err(Error::Copy { image, destination, source: Box::new(source) }),
    }
    let options = Options {
        image: &image,
        destination: Some(&destination),
        registries: access.registries,
        trust: access.trust,
        temp_dir: access.temp_dir,
        network: access.network,
        instances: Instances::Platform(Platform::of_this_machine()),
        format: None,
        compression,
        signatures: Signatures { existing: Existing::Remove, sign_by: None },
        encrypt: None,
        list: Afterwards::Keep,
        archive_time: 0,
    };
    push(store, &options, &|_| {}).map(|_| Sent::Now)
}

/// The image, or the list with images that may be elsewhere.
fn source<'s>(store: &'s Store, options: &Options<'s>, found: &Found) -> Result<Box<dyn Source + 's>, Error> {
    let image = found.image.clone();
    if !is_list(&image) {
        let name = found.name.as_deref().unwrap_or(found.id.as_str());
        return Ok(Box::new(StoreSource::of_image(store, image, name)));
    }
    let access = manifest_list::Access {
        registries: options.registries,
        trust: options.trust,
        temp_dir: options.temp_dir,
        network: options.network,
        choose: None,
    };
    let list = manifest_list::Stored::read(store, image).and_then(|list| ListSource::new(store, list, &access));
    let list = list.map_err(|source| Error::List { image: options.image.to_owned(), source: Box::new(source) })?;
    Ok(Box::new(list))
}

/// The name that was meant by `text`, unless that is an ID: an archive gets it beside the name of its own.
fn typed_name(text: &str, found: &Found) -> Option<String> {
    let name = found.name.clone()?;
    let is_id = found.id.as_str().starts_with(text.strip_prefix("sha256:").unwrap_or(text)) && !name.contains(text);
    (!is_id).then_some(name)
}

/// Whether an image of the store is a list: it has a manifest, but neither layers nor a config.
fn is_list(image: &Image) -> bool {
    let has = |wanted: &str| image.big_data_names.iter().any(|key| key == wanted);
    image.layer.is_none() && has("manifest") && !has(&format!("sha256:{}", image.id))
}

fn with_transport(text: &str) -> String {
    if text.starts_with("docker://") { text.to_owned() } else { format!("docker://{text}") }
}

/// Signs an image of the store under a name (`--sign-by`).
fn sign(store: &Store, id: &ImageId, name: &str, key: &str) -> Result<(), Error> {
    let destination = format!("containers-storage:{name}");
    let image = || id.to_string();
    let name = Reference::for_new_image(name);
    let name = name.map_err(|source| Error::Name { image: image(), destination: destination.clone(), source })?;
    transport::storage::sign(store, id, &name, key).map_err(|source| Error::Copy {
        image: image(),
        destination,
        source: Box::new(source),
    })
}

/// To push into the store that the image is in gives it another name; no byte needs to be copied for that.
fn name_again(store: &Store, options: &Options<'_>, found: &Found, name: &str) -> Result<Outcome, Error> {
    let (image, destination) = (options.image.to_owned(), format!("containers-storage:{name}"));
    let reference = match Reference::normalized(name) {
        Ok(reference) => reference.to_string(),
        Err(source) => return Err(Error::Name { image, destination, source }),
    };
    // Before it has the name: one that says that the image is signed would be wrong.
    if let Some(key) = options.signatures.sign_by {
        sign(store, &found.id, &reference, key)?;
    }
    store.change_image_names(&found.id, NameChange::Add, std::slice::from_ref(&reference)).map_err(|source| Error::Store {
        image,
        destination,
        source: Box::new(source),
    })?;
    Ok(Outcome { manifest: None, warnings: Vec::new() })
}
