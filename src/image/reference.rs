//! Image names: what a person may type, what a store holds, and the way from one to the other.
//!
//! Invariant: a `Reference` is fully qualified and canonical (domain, path, and a tag or a digest), so that formatting and
//! parsing it again gives the same value. Nothing here looks into a store or a configuration file.

use std::fmt;

use containers_storage::{Digest, ImageId};

/// Why a text is not an image name. The words are the other tools', since scripts look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// It has an upper-case repository name.
    #[error("invalid reference format: repository name must be lowercase")]
    UpperCase,
    /// It has a name of more than 255 bytes.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// An unknown or malformed digest follows `@`.
    #[error("invalid checksum digest format")]
    Digest,
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
        let _ = text;
        Err(Error::Format)
    }

    /// The name under which a new image is stored (`commit`, `tag`): a short name becomes `localhost/…`, no tag becomes
    /// `latest`, and of tag and digest together the digest stays. A `containers-storage:` prefix is taken off.
    pub fn for_new_image(text: &str) -> Result<Self, Error> {
        let _ = text;
        Err(Error::Format)
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

    /// Domain and path: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
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

/// Kinds of places that an image name can point to (containers-transports(5)).
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
    /// `ostree:`
    Ostree,
    /// `atomic:`
    Atomic,
}

impl Transport {
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
            Self::Ostree => "ostree",
            Self::Atomic => "atomic",
        }
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

/// In which order a store is asked for an image. The first that is found wins: `id`, each of `names`, then an ID that begins
/// with `id_prefix` (it must be the only one).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// A full ID (`sha256:…` or 64 digits). If it is set, `names` and `id_prefix` are empty.
    pub id: Option<ImageId>,
    /// Fully qualified candidates, the likeliest first. With a digest the tag has been dropped.
    pub names: Vec<Reference>,
    /// The text as typed, if it could be the beginning of an ID.
    pub id_prefix: Option<String>,
}

/// Reads an operand that names an existing image.
///
/// `search` are the unqualified-search registries in order (may be empty). Candidates for a short name `N` are
/// `localhost/N`, each `search` registry, `docker.io/library/N`.
pub fn parse_operand(text: &str, search: &[&str]) -> Result<Operand, Error> {
    let _ = (text, search);
    Err(Error::Format)
}

/// The prefix of a new working container's name: the last path component without tag and digest; of an ID the first 12 digits.
pub fn working_container_prefix(image: &str) -> &str {
    image
}
