//! `pull`: an image of the store, read from another place first if need be.
//!
//! ```text
//! name or ID          → the store (a registry later)
//! transport:rest      → copied into the store, whatever is there already, under the names that it has at its place
//! ```
//!
//! Invariant: what cannot be had leaves the store as it was. The name of an image moves to it only when all of it is there.

use std::fmt;
use std::path::Path;

use containers_storage::ImageId;
use containers_storage::store::{self, NameChange, Store};

use super::find_image::{self, Found};
use super::from;
use crate::conf::{self, PolicyFile, Registries};
use crate::golang::goarch;
use crate::image::{Location, location};
use crate::transport::copy::{CopyOptions, Instances, LayerCompression, Platform};
use crate::transport::{self, Progress};
use crate::userns::{self, MountNamespace};

/// When an image should be looked for elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// What is in the store is taken; what is not would be pulled.
    #[default]
    Missing,
    /// Only the store counts.
    Never,
    /// The registry is always asked.
    Always,
    /// The registry is asked whether it has a newer one; what is in the store will do if it cannot be reached.
    Newer,
}

/// A word that is no pull policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized pull policy {0:?}")]
pub struct UnknownPullPolicy(pub String);

impl std::str::FromStr for PullPolicy {
    type Err = UnknownPullPolicy;

    fn from_str(word: &str) -> Result<Self, UnknownPullPolicy> {
        match word.to_ascii_lowercase().as_str() {
            "missing" | "ifmissing" | "notpresent" => Ok(Self::Missing),
            "never" | "false" => Ok(Self::Never),
            "always" | "true" => Ok(Self::Always),
            "newer" | "ifnewer" => Ok(Self::Newer),
            _ => Err(UnknownPullPolicy(word.to_owned())),
        }
    }
}

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
    /// For temporary files.
    pub temp_dir: &'a Path,
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

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not in the store.
    #[error("{0}")]
    Image(#[from] find_image::Error),
    /// It is in the store, for another platform.
    #[error("{operand}: image not known for {wished}: the one in the store is for {found}")]
    OtherPlatform {
        /// What was typed.
        operand: String,
        /// The wished platform.
        wished: String,
        /// The image's.
        found: String,
    },
    /// A policy that needs a registry.
    #[error(
        "pull policy \"always\" needs a registry for {operand:?}, and it speaks to no registry yet: use \"missing\" or \"never\""
    )]
    NeedsRegistry {
        /// What was typed.
        operand: String,
    },
    /// What was typed is no place.
    #[error("{0}")]
    Location(#[from] location::Error),
    /// The namespace could not be entered.
    #[error("reading and writing files of other owners")]
    Namespace(#[from] userns::Error),
    /// policy.json cannot be read.
    #[error("pulling {operand:?}")]
    Policy {
        /// What was typed.
        operand: String,
        /// What failed.
        source: conf::Error,
    },
    /// The copy failed.
    #[error("pulling {operand:?}")]
    Copy {
        /// What was typed.
        operand: String,
        /// What failed.
        source: Box<transport::Error>,
    },
    /// The copy says that it put nothing into the store.
    #[error("pulling {operand:?}: no image came into the store")]
    Nothing {
        /// What was typed.
        operand: String,
    },
    /// The new image cannot be read.
    #[error("{0}")]
    Read(#[from] Box<from::Error>),
    /// The store refused.
    #[error("pulling {operand:?}")]
    Store {
        /// What was typed.
        operand: String,
        /// What failed.
        source: store::Error,
    },
}

/// The image that `operand`, a name, an ID or `transport:rest`, means.
pub fn obtain(store: &Store, operand: &str, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    match elsewhere(operand)? {
        None => stored(store, operand, fetch),
        Some(location) => pull(store, operand, &location, fetch),
    }
}

/// Whether `operand` names another place than the store in use.
pub(super) fn is_elsewhere(operand: &str) -> bool {
    !matches!(elsewhere(operand), Ok(None))
}

/// The place that `operand` names; none for the store in use.
fn elsewhere(operand: &str) -> Result<Option<Location>, location::Error> {
    Ok(Location::parse(operand)?.filter(|location| !matches!(location, Location::Storage(name) if name.store.is_none())))
}

fn stored(store: &Store, operand: &str, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    if fetch.policy == PullPolicy::Always {
        return Err(Error::NeedsRegistry { operand: operand.to_owned() });
    }
    let own = Platform::of_this_machine();
    let found = find_image::find_one(store, fetch.registries, operand, fetch.platform.unwrap_or(&own))?;
    if let Some(wished) = fetch.platform {
        // Many images do not say truly what they are for, so that the machine's own platform is not insisted on.
        let of_image = platform(store, &found)?;
        let fits = |wished: &str, own: &str, found: &str| wished == own || wished == found;
        if !(fits(&wished.os, &own.os, &of_image.os)
            && fits(&wished.architecture, &own.architecture, &of_image.architecture)
            && fits(&wished.variant, "", &of_image.variant))
        {
            let (wished, found) = (shown(wished), shown(&of_image));
            return Err(Error::OtherPlatform { operand: operand.to_owned(), wished, found });
        }
    }
    Ok(Obtained { found, transport: None, warnings: Vec::new() })
}

/// Copies the image at `location` into the store.
fn pull(store: &Store, operand: &str, location: &Location, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    let failed = |source| Error::Copy { operand: operand.to_owned(), source: Box::new(source) };
    let store_failed = |source| Error::Store { operand: operand.to_owned(), source };
    let trust = fetch.trust.load().map_err(|source| Error::Policy { operand: operand.to_owned(), source })?;
    let entered = userns::enter(MountNamespace::Keep)?;
    let mut warnings: Vec<String> = entered.notices.iter().map(ToString::to_string).collect();

    let source = transport::open_source(location, store, fetch.temp_dir).map_err(failed)?;
    let names = source.names();
    let first = Location::stored(names.first().map_or("", String::as_str));
    let destination = transport::open_destination(&first, store, fetch.temp_dir).map_err(failed)?;
    let options = CopyOptions {
        instances: Instances::Platform(fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine)),
        format: None,
        compression: LayerCompression::default(),
        policy: &trust,
    };
    let outcome = transport::copy(source.as_ref(), destination, &options, fetch.progress).map_err(failed)?;
    let id: ImageId = outcome.image.ok_or_else(|| Error::Nothing { operand: operand.to_owned() })?;
    let image = store.change_image_names(&id, NameChange::Add, names.get(1..).unwrap_or_default()).map_err(store_failed)?;

    let found = find_image::by_id(image, location.transport());
    let (wished, of_image) = (fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine), platform(store, &found)?);
    if (&wished.os, &wished.architecture) != (&of_image.os, &of_image.architecture) {
        let (wished, found) = (shown(&wished), shown(&of_image));
        warnings.push(format!("image platform ({found}) does not match the expected platform ({wished})"));
    }
    Ok(Obtained { found, transport: Some(location.transport()), warnings })
}

/// What the image's config says that it is for.
fn platform(store: &Store, found: &Found) -> Result<Platform, Error> {
    let (_, config) = from::read_base(store, found).map_err(Box::new)?;
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    Ok(Platform {
        os: or(&config.os, "linux"),
        architecture: or(&config.architecture, goarch()),
        variant: config.variant.clone(),
    })
}

fn shown(platform: &Platform) -> String {
    let Platform { os, architecture, variant } = platform;
    if variant.is_empty() { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_words_are_buildahs() {
        for (word, want) in [
            ("missing", PullPolicy::Missing),
            ("ifmissing", PullPolicy::Missing),
            ("NotPresent", PullPolicy::Missing),
            ("true", PullPolicy::Always),
            ("always", PullPolicy::Always),
            ("false", PullPolicy::Never),
            ("newer", PullPolicy::Newer),
        ] {
            assert_eq!(word.parse::<PullPolicy>().unwrap(), want, "{word}");
        }
        for word in ["", "sometimes"] {
            assert!(word.parse::<PullPolicy>().is_err(), "{word:?}");
        }
    }
}
