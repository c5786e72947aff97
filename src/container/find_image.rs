//! From what a user typed to an image of the store: IDs, names, short names, ID prefixes and digests, in Buildah's order.

use std::io;
use std::path::PathBuf;

use containers_storage::images::{Image, Images};
use containers_storage::store::{self, Store};
use containers_storage::{Digest, ImageId};

use crate::conf::registries::ShortNameMode;
use crate::conf::{self, Registries};
use crate::image::manifest::index::{Index, Platform};
use crate::image::manifest::{self, Document};
use crate::image::reference::{self, Lookup, Operand, Reference};
use crate::transport::Silence;

/// The name that is reserved for nothing: no store and no registry is asked for it.
pub const SCRATCH: &str = "scratch";
/// With fewer digits a text is not said to be an ID of several images.
const FEWEST_DIGITS: usize = 4;

/// An image that an operand names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The image.
    pub id: ImageId,
    /// The stored name that was meant: the one that matched, or for an ID the first of its names; none for an unnamed image.
    pub name: Option<String>,
    /// Its record.
    pub image: Image,
}

impl Found {
    /// The name by which a registry is asked for the image that `operand` named: the stored one, but with the digest that was typed. A
    /// tag may have moved there, and policy.json may say something of the digest alone.
    pub fn name_at_registry(&self, operand: &str) -> Option<String> {
        let stored = self.name.as_deref()?;
        Some(match operand.split_once('@') {
            Some((_, digest)) => format!("{}@{digest}", repository_of(stored)),
            None => stored.to_owned(),
        })
    }
}

/// Why an operand names no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image matches. Scripts look for this phrase.
    #[error("{operand}: image not known")]
    NotKnown {
        /// What was typed.
        operand: String,
    },
    /// What was typed names an image outside the store.
    #[error("unsupported transport {transport:?} for looking up local images")]
    Elsewhere {
        /// What was typed.
        operand: String,
        /// The name before the colon.
        transport: &'static str,
    },
    /// What was typed is no reference. The words are the rule's alone, as with the other tools.
    #[error("{source}")]
    Invalid {
        /// What was typed.
        operand: String,
        /// Which rule it breaks.
        source: reference::Error,
    },
    /// The settings about short names cannot be read.
    #[error("completing the name {operand:?}")]
    Registries {
        /// What was typed.
        operand: String,
        /// What failed.
        source: Box<conf::Error>,
    },
    /// An alias or a registry in the settings is none.
    #[error("completing the name {operand:?} by registries.conf")]
    Completion {
        /// What was typed.
        operand: String,
        /// Which rule the result breaks.
        source: reference::Error,
    },
    /// Nobody said which of several names is meant.
    #[error("completing the name {operand:?}: no image was selected")]
    NotChosen {
        /// What was typed.
        operand: String,
        /// Why.
        source: io::Error,
    },
    /// A short name that a person must complete. The words are the other tools'.
    #[error("short-name resolution enforced but cannot prompt without a TTY: {operand:?} could be in any of {registries}")]
    Ambiguous {
        /// What was typed.
        operand: String,
        /// The registries that are searched.
        registries: String,
    },
    /// There is an explicit list of registries, and it is empty. The words are the other tools'.
    #[error(
        "{operand}: image not known: short-name {operand:?} did not resolve to an alias and no unqualified-search registries are \
         defined in {file:?}"
    )]
    NoSearch {
        /// What was typed.
        operand: String,
        /// The file that has the list.
        file: PathBuf,
    },
    /// A list has no image for the platform. Scripts look for the words.
    #[error("{operand}: no image found in manifest list for architecture {architecture:?}, variant {variant:?}, OS {os:?}")]
    NoInstance {
        /// What was typed.
        operand: String,
        /// What was looked for.
        architecture: String,
        /// What was looked for.
        variant: String,
        /// What was looked for.
        os: String,
    },
    /// The image of a list lies elsewhere.
    #[error("{operand}: the image {digest} of the manifest list is not in the store")]
    InstanceElsewhere {
        /// What was typed.
        operand: String,
        /// Its manifest.
        digest: Digest,
    },
    /// The manifest of a list is none.
    #[error("reading manifest list {operand:?}")]
    List {
        /// What was typed.
        operand: String,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// The store could not be read, or the ID prefix is ambiguous.
    #[error("looking for image {operand:?}")]
    Store {
        /// What was typed.
        operand: String,
        /// What failed.
        source: store::Error,
    },
}

/// The image that `operand` names. `registries` is asked only about a short name.
pub fn find_image(store: &Store, registries: &Registries, operand: &str) -> Result<Found, Error> {
    let images = store.images().map_err(|source| Error::Store { operand: operand.to_owned(), source })?;
    let parsed = reference::parse_operand(operand);
    let lookup = match parsed.map_err(|source| Error::Invalid { operand: operand.to_owned(), source })? {
        Operand::Stored(lookup) => lookup,
        Operand::Elsewhere { transport, .. } => {
            return Err(Error::Elsewhere { operand: operand.to_owned(), transport: transport.name() });
        }
    };
    let failed = |source| Error::Store { operand: operand.to_owned(), source };
    let mut found = match &lookup.id {
        Some(id) => images.find(id).map_err(failed)?.map(|image| by_id(image, operand)),
        None => by_name(&images, &candidates(registries, &lookup, operand)?).map_err(failed)?,
    };
    if found.is_none() && lookup.id.is_none() {
        found = vaguely(&images, &lookup, operand).map_err(failed)?;
    }
    match &found {
        Some(found) => log::debug!("{operand} is the image {}", found.id),
        None => log::debug!("{operand} is no image of the store"),
    }
    found.ok_or_else(|| Error::NotKnown { operand: operand.to_owned() })
}

/// The image that `operand` names; of a list, its image for the platform.
pub fn find_one(store: &Store, registries: &Registries, operand: &str, platform: &Platform) -> Result<Found, Error> {
    let found = find_image(store, registries, operand)?;
    if found.image.layer.is_some() {
        return Ok(found);
    }
    let failed = |source| Error::Store { operand: operand.to_owned(), source };
    let wrong = |source| Error::List { operand: operand.to_owned(), source };
    let bytes = match store.image_data(&found.image, "manifest") {
        Err(store::Error::NoData { .. }) => return Ok(found),
        read => read.map_err(failed)?,
    };
    let Document::Index(bytes) = Document::parse(&bytes, None).map_err(wrong)? else { return Ok(found) };
    let index = Index::parse(&bytes, None).map_err(wrong)?;
    let instance = index.choose(platform).ok_or_else(|| Error::NoInstance {
        operand: operand.to_owned(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        os: platform.os.clone(),
    })?;
    let here = store.images().and_then(|images| images.by_digest(&instance.digest)).map_err(failed)?;
    let one = here.into_iter().find(|image| image.id != found.id);
    let one = one.ok_or_else(|| Error::InstanceElsewhere { operand: operand.to_owned(), digest: instance.digest.clone() })?;
    Ok(by_id(one, operand))
}

/// The names to look for.
fn candidates(registries: &Registries, lookup: &Lookup, operand: &str) -> Result<Vec<Reference>, Error> {
    let Some(short) = &lookup.short else { return Ok(lookup.name.iter().cloned().collect()) };
    let settings = registries
        .short_names()
        .map_err(|source| Error::Registries { operand: operand.to_owned(), source: Box::new(source) })?;
    short
        .candidates(settings.alias(short.repository()), &settings.search)
        .map_err(|source| Error::Completion { operand: operand.to_owned(), source })
}

/// The name of a new image that was called `text`: a short one may stand for another (containers/image, `ResolveLocally`, whose first answer
/// `commit` takes). What cannot be read stays as it is, for whoever wants a name to complain of.
pub fn unaliased(registries: &Registries, text: String) -> Result<String, Error> {
    let Ok(Operand::Stored(Lookup { id: None, short: Some(short), .. })) = reference::parse_operand(&text) else {
        return Ok(text);
    };
    let failed = |source| Error::Registries { operand: text.clone(), source: Box::new(source) };
    let alias = registries.short_names().map_err(failed)?.alias(short.repository());
    let Some(alias) = alias.filter(|_| !text.starts_with("containers-storage:")) else { return Ok(text) };
    let names = short.candidates(Some(alias), &[]).map_err(|source| Error::Completion { operand: text.clone(), source })?;
    Ok(names.first().map_or(text, Reference::to_string))
}

/// Where registries may have an image.
#[derive(Debug, Default)]
pub struct AtRegistries {
    /// The names to ask for; none for an ID.
    pub names: Vec<Reference>,
    /// What was completed, if the name was short.
    pub short: Option<ShortName>,
    /// One name was chosen of several.
    pub chosen: bool,
}

/// Asks a person which of several names is meant; the answer is its place in the list.
pub type Choose<'a> = &'a (dyn Fn(&[String]) -> io::Result<usize> + Sync);

impl AtRegistries {
    /// Leaves the name that a person wants, where a short name may be at several registries. `choose` is none where nobody can be
    /// asked.
    pub fn choose(&mut self, registries: &Registries, operand: &str, choose: Option<Choose<'_>>) -> Result<(), Error> {
        if self.short.is_none() || self.names.len() < 2 {
            return Ok(());
        }
        let settings = registries
            .short_names()
            .map_err(|source| Error::Registries { operand: operand.to_owned(), source: Box::new(source) })?;
        let choose = match (settings.mode, choose) {
            (ShortNameMode::Disabled, _) | (ShortNameMode::Permissive, None) => return Ok(()),
            (ShortNameMode::Enforcing, None) => {
                return Err(Error::Ambiguous { operand: operand.to_owned(), registries: settings.search.join(", ") });
            }
            (_, Some(choose)) => choose,
        };
        let shown: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let index = choose(&shown).map_err(|source| Error::NotChosen { operand: operand.to_owned(), source })?;
        let at = index.min(self.names.len().saturating_sub(1));
        self.names = vec![self.names.swap_remove(at)];
        self.chosen = true;
        Ok(())
    }

    /// Whether a registry is waited for that does not answer: only if its name was said, by whoever typed it or chose it.
    pub fn silence(&self) -> Silence {
        if self.short.is_none() || self.chosen { Silence::Awaited } else { Silence::Told }
    }

    /// Remembers what was chosen, once its image is known to be there. That this cannot be done is no failure of anything; the answer
    /// says why.
    pub fn remember(&self, registries: &Registries) -> Option<String> {
        let (Some(short), [name], true) = (&self.short, self.names.as_slice(), self.chosen) else { return None };
        let failed = registries.remember_alias(&short.repository, &name.repository()).err()?;
        let causes = std::iter::successors(Some(&failed as &dyn std::error::Error), |error| error.source());
        let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Some(format!("recording the short-name alias {:?} = {:?}: {causes}", short.repository, name.repository()))
    }
}

/// A short name without tag and digest, as aliases have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortName {
    /// The text.
    pub repository: String,
}

/// The names under which registries may have the image that `operand` names.
pub fn at_registries(registries: &Registries, operand: &str) -> Result<AtRegistries, Error> {
    let parsed = reference::parse_operand(operand);
    let lookup = match parsed.map_err(|source| Error::Invalid { operand: operand.to_owned(), source })? {
        Operand::Stored(lookup) => lookup,
        Operand::Elsewhere { .. } => return Ok(AtRegistries::default()),
    };
    let Some(short) = &lookup.short else {
        return Ok(AtRegistries { names: lookup.name.into_iter().collect(), ..AtRegistries::default() });
    };
    let settings = registries
        .short_names()
        .map_err(|source| Error::Registries { operand: operand.to_owned(), source: Box::new(source) })?;
    let alias = settings.alias(short.repository());
    if let (None, [], Some(file)) = (alias, settings.search.as_slice(), &settings.search_file) {
        return Err(Error::NoSearch { operand: operand.to_owned(), file: file.clone() });
    }
    let names = short
        .at_registries(alias, &settings.search)
        .map_err(|source| Error::Completion { operand: operand.to_owned(), source })?;
    Ok(AtRegistries { names, short: Some(ShortName { repository: short.repository().to_owned() }), chosen: false })
}

fn by_name(images: &Images, names: &[Reference]) -> Result<Option<Found>, store::Error> {
    for name in names {
        log::debug!("looking for {name} in the store");
        if let Some(image) = images.by_name(&name.to_string())? {
            return Ok(Some(Found { id: image.id.clone(), name: Some(name.to_string()), image }));
        }
        if let Some(digest) = name.digest() {
            // `repo@digest` also means an image with that digest that has some name in the same repository (format, 8.4).
            let repository = name.repository();
            for image in images.by_digest(digest)? {
                if let Some(stored) = image.names.iter().find(|stored| repository_of(stored) == repository).cloned() {
                    return Ok(Some(Found { id: image.id.clone(), name: Some(stored), image }));
                }
            }
        }
    }
    Ok(None)
}

/// By the beginning of an ID, or by the end of a name.
fn vaguely(images: &Images, lookup: &Lookup, operand: &str) -> Result<Option<Found>, store::Error> {
    if let Some(prefix) = &lookup.id_prefix {
        match images.by_prefix(prefix) {
            // A few letters are rather a name.
            Err(store::Error::Ambiguous { .. }) if prefix.len() < FEWEST_DIGITS => {}
            found => {
                if let Some(image) = found? {
                    return Ok(Some(by_id(image, operand)));
                }
            }
        }
    }
    loosely(images, operand)
}

/// An image named by ID: of several names the one that contains what was typed is meant, else the first.
pub(super) fn by_id(image: Image, operand: &str) -> Found {
    let named = image.names.iter().find(|name| name.contains(operand)).or(image.names.first()).cloned();
    Found { id: image.id.clone(), name: named, image }
}

/// `app:1` also means `registry.example/team/app:1` if nothing was closer.
fn loosely(images: &Images, operand: &str) -> Result<Option<Found>, store::Error> {
    if operand.contains('@') {
        return Ok(None);
    }
    let (name, tag) = match operand.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (operand, "latest"),
    };
    let ending = format!("/{name}:{tag}");
    for listed in images.listed()? {
        if let Some(stored) = listed.names.iter().find(|stored| stored.ends_with(&ending)).cloned() {
            let image = images.whole(&listed)?;
            return Ok(Some(Found { id: image.id.clone(), name: Some(stored), image }));
        }
    }
    Ok(None)
}

fn repository_of(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::repository_of;

    #[test]
    fn repository_of_drops_tag_and_digest_but_no_port() {
        for (name, want) in [
            ("localhost/a:1", "localhost/a"),
            ("h:5000/a", "h:5000/a"),
            ("h:5000/a:2", "h:5000/a"),
            ("q.io/a@sha256:00", "q.io/a"),
            ("q.io/a:3@sha256:00", "q.io/a"),
        ] {
            assert_eq!(repository_of(name), want);
        }
    }
}
