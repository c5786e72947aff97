//! `pull`: an image of the store, read from another place first if need be.
//!
//! ```text
//! name or ID          → the store; what is not there, or may be newer, is copied from its registry
//! docker://name       → the same, without completing the name
//! transport:rest      → copied into the store, whatever is there already, under the names that it has at its place
//! ```
//!
//! Invariant: what cannot be had leaves the store as it was. The name of an image moves to it only when all of it is there.

use std::fmt;
use std::path::Path;

use containers_storage::store::{self, NameChange, Store};
use containers_storage::{Digest, ImageId};

use super::find_image::{self, Found};
use super::{from, mounted};
use crate::conf::registries::ShortNameMode;
use crate::conf::{self, PolicyFile, Registries};
use crate::golang::goarch;
use crate::image::{Location, Reference, location};
use crate::transport::copy::{CopyOptions, Instances, LayerCompression, Platform, Signatures};
use crate::transport::registry::{Network, Relevance};
use crate::transport::{self, Means, Progress, Source};
use crate::userns;

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
    /// What becomes of signatures.
    pub signatures: Signatures<'a>,
    /// For temporary files.
    pub temp_dir: &'a Path,
    /// How registries are reached.
    pub network: &'a Network,
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
    /// It is in the store, for another platform, and nowhere else.
    #[error("{operand}: image not known for {wished}: the one in the store is for {found}")]
    OtherPlatform {
        /// What was typed.
        operand: String,
        /// The wished platform.
        wished: String,
        /// The image's.
        found: String,
        /// What the registry said, if one was asked.
        source: Option<Box<Error>>,
    },
    /// A short name that is neither in the store nor at a registry. Scripts look for the phrase.
    #[error("{operand}: image not known")]
    Nowhere {
        /// What was typed.
        operand: String,
        /// What the registry said.
        source: Box<transport::Error>,
    },
    /// A short name that a person must complete. The words are the other tools'.
    #[error("short-name resolution enforced but cannot prompt without a TTY: {operand:?} could be in any of {registries}")]
    Ambiguous {
        /// What was typed.
        operand: String,
        /// The registries that are searched.
        registries: String,
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

/// Whether `operand` names another place than the store in use for certain; what a name stands for may be at a registry.
pub(super) fn is_elsewhere(operand: &str) -> bool {
    !matches!(elsewhere(operand), Ok(None))
}

/// The place that `operand` names; none for the store in use.
fn elsewhere(operand: &str) -> Result<Option<Location>, location::Error> {
    Ok(Location::parse(operand)?.filter(|location| !matches!(location, Location::Storage(name) if name.store.is_none())))
}

fn means<'m>(store: &'m Store, fetch: &Fetch<'m>) -> Means<'m> {
    Means { store, temp_dir: fetch.temp_dir, registries: fetch.registries, network: fetch.network }
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
    let of_store = |found: Found| Obtained { found, transport: None, warnings: Vec::new() };
    let unknown = || Error::Image(find_image::Error::NotKnown { operand: operand.to_owned() });
    // What is asked for again is what was found, not what a short name could mean besides.
    let asked = here.as_ref().and_then(|found| found.name.clone()).filter(|_| !is_id(operand));
    let asked = asked.as_deref().unwrap_or(name);
    let misfit = match &here {
        Some(found) => misfit(store, operand, found, fetch)?,
        None => None,
    };
    let usable = match (fetch.policy, here.filter(|_| misfit.is_none())) {
        (PullPolicy::Missing | PullPolicy::Never, Some(found)) => return Ok(of_store(found)),
        (PullPolicy::Never, None) => return Err(misfit.unwrap_or_else(unknown)),
        (_, usable) => usable,
    };
    // An ID is of the store alone, and so is what was named with its transport.
    match (fetch.policy, usable, candidates(operand, asked, fetch)?) {
        (_, Some(found), None) => Ok(of_store(found)),
        (_, None, None) => Err(misfit.unwrap_or_else(unknown)),
        (PullPolicy::Newer, Some(found), Some(candidates)) => newer(store, operand, found, &candidates, fetch),
        (_, _, Some(candidates)) => {
            let source = ask(store, operand, &candidates, fetch);
            let source = source.map_err(|error| match misfit {
                Some(Error::OtherPlatform { operand, wished, found, .. }) => {
                    Error::OtherPlatform { operand, wished, found, source: Some(Box::new(error)) }
                }
                _ => error,
            })?;
            pull(store, operand, source.as_ref(), fetch)
        }
    }
}

/// Whether an operand is an ID, or the beginning of one.
fn is_id(operand: &str) -> bool {
    let digits = operand.strip_prefix("sha256:").unwrap_or(operand);
    digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The image in the store is taken unless the registry has another one, and is reached.
fn newer(store: &Store, operand: &str, found: Found, candidates: &Candidates, fetch: &Fetch<'_>) -> Result<Obtained, Error> {
    let same = |source: &dyn Source| source.manifest(None).is_ok_and(|raw| has_digest(&found, &Digest::of(&raw.bytes)));
    match ask(store, operand, candidates, fetch) {
        Ok(source) if same(source.as_ref()) => Ok(Obtained { found, transport: None, warnings: Vec::new() }),
        Ok(source) => pull(store, operand, source.as_ref(), fetch),
        Err(error) => {
            log::debug!("{operand}: nothing newer than what the store has: {error}");
            Ok(Obtained { found, transport: None, warnings: Vec::new() })
        }
    }
}

/// Whether an image of the store has this manifest, or came by this index.
fn has_digest(found: &Found, digest: &Digest) -> bool {
    let key = format!("manifest-{digest}");
    found.image.digest.as_ref() == Some(digest) || found.image.big_data_names.contains(&key)
}

/// The names under which registries may have an image, and whether the name that was typed was short.
struct Candidates {
    names: Vec<Reference>,
    short: bool,
}

/// Where the image of a name may be; none for an ID.
fn candidates(operand: &str, name: &str, fetch: &Fetch<'_>) -> Result<Option<Candidates>, Error> {
    if name.starts_with("containers-storage:") {
        return Ok(None);
    }
    let names = find_image::candidates_at_registries(fetch.registries, name)?;
    let short = Reference::parse_qualified(name).is_err();
    if names.is_empty() {
        return Ok(None);
    }
    if short && names.len() > 1 {
        let settings = fetch.registries.short_names();
        let settings = settings
            .map_err(|source| find_image::Error::Registries { operand: operand.to_owned(), source: Box::new(source) })?;
        if settings.mode == ShortNameMode::Enforcing {
            return Err(Error::Ambiguous { operand: operand.to_owned(), registries: settings.search.join(", ") });
        }
    }
    Ok(Some(Candidates { names, short }))
}

/// Opens the image at the first registry that has it. Whoever refuses or cannot be reached ends the search: the next registry's image of
/// that name may be a stranger's (known attacks A108).
fn ask<'m>(store: &'m Store, operand: &str, candidates: &Candidates, fetch: &Fetch<'m>) -> Result<Box<dyn Source + 'm>, Error> {
    say_how(operand, candidates, fetch);
    let mut last = None;
    for name in &candidates.names {
        (fetch.progress)(Progress::Trying(&name.to_string()));
        match transport::open_source(&Location::Registry(name.clone()), means(store, fetch)) {
            Ok(source) => return Ok(source),
            Err(error) => {
                let not_there = error.registry().is_none_or(|error| error.relevance() == Relevance::NotThere);
                last = Some(error);
                if !not_there {
                    break;
                }
            }
        }
    }
    let unknown = || Error::Image(find_image::Error::NotKnown { operand: operand.to_owned() });
    let Some(source) = last.map(Box::new) else { return Err(unknown()) };
    let told = source.registry().is_some_and(|error| error.relevance() > Relevance::NotAsked);
    let operand = operand.to_owned();
    Err(if candidates.short && !told { Error::Nowhere { operand, source } } else { Error::Copy { operand, source } })
}

/// What a short name stands for, as the other tools say it.
fn say_how(operand: &str, candidates: &Candidates, fetch: &Fetch<'_>) {
    if !candidates.short {
        return;
    }
    let Ok(settings) = fetch.registries.short_names() else { return };
    let repository = operand.split(['@', ':']).next().unwrap_or(operand);
    let words = match (settings.alias_file(repository), &settings.search_file) {
        (Some(file), _) => format!("Resolved {repository:?} as an alias ({})", file.display()),
        (None, Some(file)) if !settings.search.is_empty() => {
            format!("Resolving {repository:?} using unqualified-search registries ({})", file.display())
        }
        _ => return,
    };
    (fetch.progress)(Progress::Resolved(&words));
}

/// Why an image of the store will not do, if another platform was wished for.
fn misfit(store: &Store, operand: &str, found: &Found, fetch: &Fetch<'_>) -> Result<Option<Error>, Error> {
    let Some(wished) = fetch.platform else { return Ok(None) };
    // Many images do not say truly what they are for, so that the machine's own platform is not insisted on.
    let own = Platform::of_this_machine();
    let of_image = platform(store, found)?;
    let fits = |wished: &str, own: &str, found: &str| wished == own || wished == found;
    if fits(&wished.os, &own.os, &of_image.os)
        && fits(&wished.architecture, &own.architecture, &of_image.architecture)
        && fits(&wished.variant, "", &of_image.variant)
    {
        return Ok(None);
    }
    let (wished, found) = (shown(wished), shown(&of_image));
    Ok(Some(Error::OtherPlatform { operand: operand.to_owned(), wished, found, source: None }))
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
    mut warnings: Vec<String>,
) -> Result<Obtained, Error> {
    let failed = |source| Error::Copy { operand: operand.to_owned(), source: Box::new(source) };
    let store_failed = |source| Error::Store { operand: operand.to_owned(), source };
    let trust = fetch.trust.load().map_err(|source| Error::Policy { operand: operand.to_owned(), source })?;
    let names = source.names();
    let first = Location::stored(names.first().map_or("", String::as_str));
    let destination = transport::open_destination(&first, means(store, fetch)).map_err(failed)?;
    let options = CopyOptions {
        instances: Instances::Platform(fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine)),
        format: None,
        compression: LayerCompression::default(),
        policy: &trust,
        signatures: fetch.signatures,
    };
    let outcome = transport::copy(source, destination, &options, fetch.progress).map_err(failed)?;
    let id: ImageId = outcome.image.ok_or_else(|| Error::Nothing { operand: operand.to_owned() })?;
    let image = store.change_image_names(&id, NameChange::Add, names.get(1..).unwrap_or_default()).map_err(store_failed)?;

    let mut found = find_image::by_id(image, source.transport());
    if let Some(name) = names.first().filter(|name| found.image.names.contains(name)) {
        found.name = Some(name.clone());
    }
    let (wished, of_image) = (fetch.platform.cloned().unwrap_or_else(Platform::of_this_machine), platform(store, &found)?);
    if (&wished.os, &wished.architecture) != (&of_image.os, &of_image.architecture) {
        let (wished, found) = (shown(&wished), shown(&of_image));
        warnings.push(format!("image platform ({found}) does not match the expected platform ({wished})"));
    }
    Ok(Obtained { found, transport: Some(source.transport()), warnings })
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
