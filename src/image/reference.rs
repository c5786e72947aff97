//! Image names: what a person may type, what a store holds, and the way from one to the other.
//!
//! The grammar is the distribution project's (`reference` package): `domain/path[:tag][@digest]`.
//!
//! Invariant: a `Reference` is fully qualified and canonical, so that formatting and parsing it again gives the same value.
//! Nothing here looks into a store or a configuration file.

use std::fmt;

use containers_storage::{Digest, ImageId};

/// The most bytes of domain and path together.
const MAX_NAME: usize = 255;
/// The most bytes of a tag.
const MAX_TAG: usize = 128;
const DEFAULT_TAG: &str = "latest";
const DOCKER_HUB: &str = "docker.io";
const LOCALHOST: &str = "localhost";
const STORAGE_PREFIX: &str = "containers-storage:";

/// Why a text is not an image name. The words are the other tools', since scripts look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// It is empty.
    #[error("repository name must have at least one component")]
    Empty,
    /// It has an upper-case repository name.
    #[error("repository name must be lowercase")]
    UpperCase,
    /// Its domain and path have more than 255 bytes.
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    /// `sha256:` is followed by something else than 64 hex digits.
    #[error("{0}: invalid format: no 64-byte hexadecimal value")]
    ShortId(String),
    /// The name of a repository may not be 64 hex digits, which mean an ID.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    IdAsName(String),
}

/// A fully qualified image name with a tag, a digest, or neither.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses a name that must carry a domain (`docker.io/library/x:1`, `localhost/x`), as a store's records hold it. Tag and
    /// digest may both be present.
    pub fn parse_qualified(text: &str) -> Result<Self, Error> {
        let parts = Parts::split(text)?;
        let domain = parts.domain.ok_or(Error::Format)?;
        parts.in_domain(domain)
    }

    /// The name under which a new image is stored (`commit`, `tag`): a short name becomes `localhost/…`, no tag becomes
    /// `latest`, and of tag and digest together the digest stays. A `containers-storage:` prefix is taken off.
    pub fn for_new_image(text: &str) -> Result<Self, Error> {
        let text = text.strip_prefix(STORAGE_PREFIX).unwrap_or(text);
        if is_full_id(text) {
            return Err(Error::IdAsName(text.to_owned()));
        }
        let parts = Parts::split(text)?;
        Ok(parts.in_domain(parts.domain.unwrap_or(LOCALHOST))?.with_one_selector())
    }

    /// A name as Docker completes it: a short one becomes `docker.io/library/…`, no tag becomes `latest`; of tag and digest together
    /// the digest stays.
    pub fn normalized(text: &str) -> Result<Self, Error> {
        if is_full_id(text) {
            return Err(Error::IdAsName(text.to_owned()));
        }
        let parts = Parts::split(text)?;
        Ok(parts.in_domain(parts.domain.unwrap_or(DOCKER_HUB))?.with_one_selector())
    }

    /// A name in which a missing domain is Docker's, and nothing else is added.
    pub fn named(text: &str) -> Result<Self, Error> {
        let parts = Parts::split(text)?;
        parts.in_domain(parts.domain.unwrap_or(DOCKER_HUB))
    }

    /// The domain: `docker.io`, `localhost`, `registry.example:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path below the domain: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if any.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if any.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The image of the same repository with this tag, which must be one: letters, digits, `_`, `.` and `-`, 128 at most.
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// Domain and path: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name with exactly one of tag and digest: the digest if it has one, else the tag, else `latest`.
    fn with_one_selector(mut self) -> Self {
        match (&self.digest, &self.tag) {
            (Some(_), _) => self.tag = None,
            (None, None) => self.tag = Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => {}
        }
        self
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Kinds of places that an image name can point to (containers-transports(5)), but for the local store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `docker://`: a registry.
    Docker,
    /// `docker-archive:`
    DockerArchive,
    /// `docker-daemon:`
    DockerDaemon,
    /// `oci:`
    Oci,
    /// `oci-archive:`
    OciArchive,
    /// `dir:`
    Dir,
    /// `sif:`
    Sif,
    /// `tarball:`
    Tarball,
}

impl Transport {
    const ALL: [Self; 8] = [
        Self::Docker,
        Self::DockerArchive,
        Self::DockerDaemon,
        Self::Oci,
        Self::OciArchive,
        Self::Dir,
        Self::Sif,
        Self::Tarball,
    ];

    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerArchive => "docker-archive",
            Self::DockerDaemon => "docker-daemon",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::Dir => "dir",
            Self::Sif => "sif",
            Self::Tarball => "tarball",
        }
    }

    /// The transport that a text names, and what follows the colon. `docker:` counts only with the slashes, so that it can be
    /// an image with a tag.
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let (name, rest) = text.split_once(':')?;
        let transport = Self::ALL.into_iter().find(|transport| transport.name() == name)?;
        (transport != Self::Docker || rest.starts_with("//")).then_some((transport, rest))
    }
}

/// Where a new image goes (`commit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into the store, under this name.
    Stored(Reference),
    /// To another place; `rest` is what follows the colon.
    Elsewhere {
        /// The kind of place.
        transport: Transport,
        /// The text after `transport:`.
        rest: String,
    },
}

/// Reads the operand that says where a new image goes.
pub fn parse_destination(text: &str) -> Result<Destination, Error> {
    match Transport::split(text) {
        Some((transport, rest)) => Ok(Destination::Elsewhere { transport, rest: rest.to_owned() }),
        None => Reference::for_new_image(text).map(Destination::Stored),
    }
}

/// An operand that names an existing image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// Somewhere in the store.
    Stored(Lookup),
    /// In another place; `rest` is what follows the colon.
    Elsewhere {
        /// The kind of place.
        transport: Transport,
        /// The text after `transport:`.
        rest: String,
    },
}

/// In which order a store is asked for an image. The first that is found wins: `id`, `name` or the
/// [candidates](ShortName::candidates) for a `short` one, an ID that begins with `id_prefix` (it must be the only one).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// A full ID (`sha256:…` or 64 digits). If it is set, the rest is empty.
    pub id: Option<ImageId>,
    /// A name with its domain. With a digest the tag has been dropped.
    pub name: Option<Reference>,
    /// A name without one.
    pub short: Option<ShortName>,
    /// The text as typed, if it could be the beginning of an ID.
    pub id_prefix: Option<String>,
}

/// A name without a domain: it can be in any registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortName {
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ShortName {
    /// The name without tag and digest, which is the key of a table of aliases (containers-registries.conf(5)).
    pub fn repository(&self) -> &str {
        &self.path
    }

    /// Where the image can be, the likeliest first: at its alias, in `localhost`, in each of the registries that are searched, at
    /// Docker Hub.
    pub fn candidates(&self, alias: Option<&str>, search: &[String]) -> Result<Vec<Reference>, Error> {
        let mut found = Vec::with_capacity(search.len() + 3);
        if let Some(alias) = alias {
            let parts = Parts::split(alias)?;
            let target = Self { path: parts.path.to_owned(), ..self.clone() };
            found.push(target.in_registry(parts.domain.ok_or(Error::Format)?)?);
        }
        for registry in [LOCALHOST].into_iter().chain(search.iter().map(String::as_str)).chain([DOCKER_HUB]) {
            let candidate = self.in_registry(registry)?;
            if !found.contains(&candidate) {
                found.push(candidate);
            }
        }
        Ok(found)
    }

    /// Where a registry may have the image: at its alias; else in each of the registries that are searched, or at Docker Hub where there
    /// are none.
    pub fn at_registries(&self, alias: Option<&str>, search: &[String]) -> Result<Vec<Reference>, Error> {
        let all = self.candidates(alias, search)?;
        if alias.is_some() {
            return Ok(all.into_iter().take(1).collect());
        }
        let wanted = |candidate: &Reference| match search {
            [] => candidate.domain == DOCKER_HUB,
            search => search.contains(&candidate.domain),
        };
        Ok(all.into_iter().filter(wanted).collect())
    }

    fn in_registry(&self, registry: &str) -> Result<Reference, Error> {
        if !is_domain(registry) {
            return Err(Error::Format);
        }
        let parts = Parts { domain: None, path: &self.path, tag: self.tag.as_deref(), digest: self.digest.clone() };
        Ok(parts.in_domain(registry)?.with_one_selector())
    }
}

/// Reads an operand that names an existing image.
pub fn parse_operand(text: &str) -> Result<Operand, Error> {
    if let Some((transport, rest)) = Transport::split(text) {
        return Ok(Operand::Elsewhere { transport, rest: rest.to_owned() });
    }
    let text = text.strip_prefix(STORAGE_PREFIX).unwrap_or(text);
    let hex = text.strip_prefix("sha256:");
    if let Ok(id) = hex.unwrap_or(text).parse() {
        return Ok(Operand::Stored(Lookup { id: Some(id), ..Lookup::default() }));
    }
    if hex.is_some() {
        return Err(Error::ShortId(text.chars().take(100).collect()));
    }
    let parts = Parts::split(text)?;
    let short = || ShortName { path: parts.path.to_owned(), tag: parts.tag.map(str::to_owned), digest: parts.digest.clone() };
    Ok(Operand::Stored(Lookup {
        id: None,
        name: parts.domain.map(|domain| parts.in_domain(domain)).transpose()?.map(Reference::with_one_selector),
        short: parts.domain.is_none().then(short),
        id_prefix: (text.len() < 64 && is_lower_hex(text)).then(|| text.to_owned()),
    }))
}

/// The prefix of a new working container's name: the last path component without tag and digest; of an ID the first 12 digits.
pub fn working_container_prefix(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    if let Some(id) = [name.strip_prefix("sha256:").unwrap_or(name)].into_iter().find(|id| is_full_id(id)) {
        return id.get(..12).unwrap_or(id);
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

fn is_full_id(text: &str) -> bool {
    text.len() == 64 && is_lower_hex(text)
}

fn is_lower_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name cut into its parts, each checked but for the path, which depends on the domain.
struct Parts<'a> {
    domain: Option<&'a str>,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<Digest>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(|_| Error::Format)?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(Error::Format);
        }
        let (domain, path) = match name.split_once('/') {
            Some((domain, path)) if domain.contains(['.', ':']) || domain == LOCALHOST => (Some(domain), path),
            _ => (None, name),
        };
        if domain.is_some_and(|domain| !is_domain(domain)) {
            return Err(Error::Format);
        }
        if !path.split('/').all(is_path_component) {
            let lower = path.to_lowercase();
            return Err(if lower.split('/').all(is_path_component) { Error::UpperCase } else { Error::Format });
        }
        Ok(Self { domain, path, tag, digest })
    }

    /// The whole name in `domain`, with Docker Hub's rules: one name for it, and `library/` for what has no owner.
    fn in_domain(&self, domain: &str) -> Result<Reference, Error> {
        let domain = if domain == "index.docker.io" { DOCKER_HUB } else { domain };
        let path = match self.path {
            short if domain == DOCKER_HUB && !short.contains('/') => format!("library/{short}"),
            path => path.to_owned(),
        };
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(Error::TooLong);
        }
        let (tag, digest) = (self.tag.map(str::to_owned), self.digest.clone());
        Ok(Reference { domain: domain.to_owned(), path, tag, digest })
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG && text.bytes().next().is_some_and(word) && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// A host name, IPv4 address or bracketed IPv6 address, with an optional port.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Runs of lower-case letters and digits with `.`, `_`, `__` or dashes between them.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| alphanumeric(b)).count();
        rest = &rest[word..];
        let (separator, after) = rest.split_at(rest.iter().take_while(|b| !alphanumeric(b)).count());
        match (word, separator) {
            (0, _) => return false,
            (_, b"") => return true,
            (_, b"." | b"_" | b"__") => {}
            _ if separator.iter().all(|b| *b == b'-') => {}
            _ => return false,
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests;
