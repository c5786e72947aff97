//! A container that podman or CRI-O made, as a working container: its state is made up from its image.
//!
//! Nothing is written here; the first verb that edits the state writes it, as Buildah does.

use containers_storage::containers::Container;
use containers_storage::store::Store;

use super::find_image::{self, Found};
use super::from;
use super::state::{Isolation, Namespace, RunEnvironment, State};
use crate::conf::Registries;
use crate::image::Format;
use crate::run::capabilities;

/// The names of `NamespaceOptions`, and whether the host's namespace is the default.
pub(super) const NAMESPACES: [(&str, bool); 7] =
    [("cgroup", true), ("ipc", false), ("mount", false), ("network", false), ("pid", false), ("user", true), ("uts", false)];

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not made from an image.
    #[error("it was not made by a build tool, and it has no image to take a configuration from")]
    NoImage,
    /// Its image cannot be found.
    #[error("{0}")]
    Image(#[from] find_image::Error),
    /// Its image cannot be read.
    #[error("{0}")]
    ReadImage(#[from] Box<from::Error>),
}

/// The state that `record` would have if `from` had made it.
pub(super) fn state(store: &Store, record: &Container) -> Result<State, Error> {
    let image = record.image.as_ref().ok_or(Error::NoImage)?;
    let found: Found = find_image::find_image(store, &Registries::default(), image.as_str())?;
    let (base, config) = from::read_base(store, &found).map_err(Box::new)?;
    let draft = from::draft(Format::Oci, &base, config);
    let name = record.names.first().map_or("", String::as_str);
    let environment = RunEnvironment {
        isolation: if store.conf().rootless { Isolation::Rootless } else { Isolation::Default },
        namespaces: default_namespaces(),
        capabilities: capabilities::DEFAULT.iter().map(ToString::to_string).collect(),
        ..RunEnvironment::default()
    };
    Ok(State::new(record.id.as_str(), name, &base, draft, &environment))
}

/// What every container gets that was told nothing else.
pub(super) fn default_namespaces() -> Vec<Namespace> {
    NAMESPACES.iter().map(|(name, host)| Namespace { name: (*name).to_owned(), host: *host, path: String::new() }).collect()
}
