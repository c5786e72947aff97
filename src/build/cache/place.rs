//! Where steps are kept beside the store: a repository of a registry, or a directory in the OCI image layout. Each step is an image there,
//! whose tag or name is the step's key.
//!
//! Pure: a text becomes a place, and a place with a key the location of an image.

use std::fmt;
use std::path::PathBuf;

use containers_storage::Digest;

use crate::image::location::Selector;
use crate::image::{Location, Reference, reference};

/// A place for steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A repository: a name with neither tag nor digest.
    Repository(Reference),
    /// A directory.
    Directory(PathBuf),
}

/// Why a text names no place for steps. The words are Buildah's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A repository with a tag or digest.
    #[error("repository must contain neither a tag nor digest: {0}")]
    Selected(String),
    /// No repository at all.
    #[error("invalid repo {text:?}: must contain registry and repository: {source}")]
    Name {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        source: reference::Error,
    },
    /// No directory.
    #[error("the directory is missing")]
    NoDirectory,
    /// A directory with a colon, after which locations have the name of an image.
    #[error("{0:?}: a directory whose name has a colon cannot hold a cache")]
    Colon(PathBuf),
}

impl Place {
    /// The repository of that name; a name without a registry is Docker's.
    pub fn repository(text: &str) -> Result<Self, Unfit> {
        let name = Reference::named(text).map_err(|source| Unfit::Name { text: text.to_owned(), source })?;
        match (name.tag(), name.digest()) {
            (None, None) => Ok(Self::Repository(name)),
            _ => Err(Unfit::Selected(text.to_owned())),
        }
    }

    /// The directory of that name.
    pub fn directory(text: &str) -> Result<Self, Unfit> {
        match text {
            "" => Err(Unfit::NoDirectory),
            text if text.contains(':') => Err(Unfit::Colon(text.into())),
            text => Ok(Self::Directory(text.into())),
        }
    }

    /// The image of the step with that key.
    pub(in crate::build) fn image(&self, key: &Digest) -> Location {
        match self {
            Self::Repository(name) => Location::Registry(name.with_tag(key.hex())),
            Self::Directory(dir) => Location::OciLayout { dir: dir.clone(), image: Selector::Name(key.hex().to_owned()) },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(name) => write!(f, "{name}"),
            Self::Directory(dir) => write!(f, "oci:{}", dir.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_a_key_are_a_location() {
        let key = Digest::of(b"x");
        let shown = |place: Result<Place, Unfit>| place.map(|place| place.image(&key).to_string()).map_err(|e| e.to_string());
        let repository = |text: &str| shown(Place::repository(text));
        assert_eq!(repository("h:5000/a/b"), Ok(format!("docker://h:5000/a/b:{}", key.hex())));
        assert_eq!(repository("a"), Ok(format!("docker://docker.io/library/a:{}", key.hex())));
        for text in ["h/a:1", "h/a@sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"] {
            assert_eq!(repository(text), Err(format!("repository must contain neither a tag nor digest: {text}")));
        }
        for text in ["", "UPPER/x", "h/", "-"] {
            assert!(repository(text).unwrap_err().starts_with("invalid repo "), "{text}");
        }
        assert_eq!(shown(Place::directory("/a/b")), Ok(format!("oci:/a/b:{}", key.hex())));
        assert!(shown(Place::directory("")).is_err() && shown(Place::directory("a:b")).is_err());
    }
}
