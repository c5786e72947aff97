//! `userdata/buildah.json`: the state of a working container, shared with Buildah in both directions.
//!
//! The file is one JSON object (format, section 3.8). What we do not know in it survives every rewrite (newer Buildah versions
//! add members), what we change is replaced member by member. `ociv1` and `docker` hold the same image config in two formats;
//! both are always written from one `ImageConfig`, since Buildah 1.28 fails to commit when they disagree. The file is
//! replaced atomically, and read-modify-write happens under a lock of ours (`edit`), so that two verbs that change one container
//! do not lose each other's work. Buildah takes no such lock: against it the last writer wins, as between two Buildahs.
//!
//! Must not: touch the container's files; know what a verb does.

mod environment;
mod file;
mod id_maps;
mod linked;
mod members;

use std::path::{Path, PathBuf};

use containers_storage::containers::Container;
use containers_storage::id_map::{IdMap, IdMaps};
use containers_storage::selinux::Labels;
use containers_storage::store::{self, Store};
use containers_storage::{ContainerId, LayerId};

pub use environment::{CommonOptions, Isolation, Namespace, NetworkPolicy, RunEnvironment};
pub(super) use file::TYPE;
pub use file::{Base, State, Summary};
pub use linked::{LinkedLayer, StagedTree};
pub use members::Members;

use super::import;

/// Why a working container could not be found, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container has this name or ID. Scripts look for this phrase.
    #[error("reading build container {name:?}: {}", not_known(name))]
    NotKnown {
        /// What was typed.
        name: String,
    },
    /// The container belongs to another tool and its image cannot stand in for a state.
    #[error("reading build container {name:?}")]
    Import {
        /// What was typed.
        name: String,
        /// Why not.
        source: import::Error,
    },
    /// The state file could not be read or written.
    #[error("{action} {path:?}")]
    File {
        /// The operation, as a participle.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// The state file is no JSON, or a member has the wrong type.
    #[error("{path:?} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        source: serde_json::Error,
    },
    /// What `from` wrote down of the container has the wrong type.
    #[error("the state of container {name:?} is damaged")]
    Member {
        /// The container.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The image config in the state file is no image config.
    #[error("{path:?} holds a damaged image configuration")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: crate::image::config::Error,
    },
    /// The store could not be read.
    #[error("reading build container {name:?}")]
    Store {
        /// What was typed.
        name: String,
        /// What failed.
        source: store::Error,
    },
}

/// A working container: its record and its state as they were when it was opened.
#[derive(Debug)]
pub struct WorkingContainer {
    record: Container,
    directory: PathBuf,
    state: State,
}

/// The trees that `copy --link` left beside the container, lowest first. One of another tool has none.
pub fn linked_trees(store: &Store, id: &ContainerId) -> Result<Vec<PathBuf>, Error> {
    let state = State::read(&store.container_dir(id).join(file::NAME))?;
    Ok(state.map(|state| state.linked.into_iter().map(|layer| layer.tree).collect()).unwrap_or_default())
}

impl WorkingContainer {
    /// The container that `name` (a name, an ID, or a unique prefix of one) stands for, with its state. One that podman made
    /// gets a state from its image, in memory.
    pub fn open(store: &Store, name: &str) -> Result<Self, Error> {
        let record = find(store, name)?;
        Self::of_record(store, record, name)
    }

    fn of_record(store: &Store, record: Container, name: &str) -> Result<Self, Error> {
        let directory = store.container_dir(&record.id);
        let state = match State::read(&directory.join(file::NAME))? {
            Some(state) => state,
            None => import::state(store, &record).map_err(|source| Error::Import { name: name.to_owned(), source })?,
        };
        Ok(Self { record, directory, state })
    }

    /// Opens the container as `open`, holding its lock, lets `change` edit the state, and writes it if it succeeds.
    pub fn edit<T, E: From<Error>>(
        store: &Store,
        name: &str,
        change: impl FnOnce(&mut WorkingContainer) -> Result<T, E>,
    ) -> Result<T, E> {
        let record = find(store, name)?;
        let directory = store.container_dir(&record.id);
        let _lock = match file::lock(&directory)? {
            Some(lock) => lock,
            None => {
                // Removed meanwhile, or another tool's, which need not have a directory yet.
                find(store, record.id.as_str())?;
                file::create_and_lock(&directory)?
            }
        };
        let mut container = Self::of_record(store, record, name)?;
        let answer = change(&mut container)?;
        container.state.write(&container.directory.join(file::NAME))?;
        Ok(answer)
    }

    /// Its ID.
    pub fn id(&self) -> &ContainerId {
        &self.record.id
    }

    /// Its record in the store.
    pub fn record(&self) -> &Container {
        &self.record
    }

    /// Its writable layer.
    pub fn layer(&self) -> &LayerId {
        &self.record.layer
    }

    /// Its name: the record's first, or its ID if it has none.
    pub fn name(&self) -> String {
        self.record.names.first().cloned().unwrap_or_else(|| self.record.id.to_string())
    }

    /// Its id maps, if owners of its files are others on disk than inside.
    pub(super) fn shift(&self) -> Option<IdMaps> {
        shift(&self.record)
    }

    /// Its id maps; empty ones if it has none.
    pub(super) fn id_maps(&self) -> IdMaps {
        id_maps(&self.record)
    }

    /// Its SELinux labels: those of the state, or, where another tool made the container and none is there, those of its record.
    pub fn labels(&self) -> Labels {
        let labels = self.state.labels();
        if labels == Labels::default() { self.record.labels() } else { labels }
    }

    /// The directory `userdata` of the graph root, which holds the state file.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the state file says.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The image that it was made from.
    pub fn base(&self) -> Result<Base, Error> {
        self.state.base().map_err(|source| Error::Member { name: self.name(), source })
    }

    /// What `from` keeps for later runs.
    pub fn environment(&self) -> Result<RunEnvironment, Error> {
        self.state.environment().map_err(|source| Error::Member { name: self.name(), source })
    }

    /// The state, to be edited: only what `edit` is given is written.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

/// Why no container has this name, in the words of the other tools: where none was given they look for none.
pub(super) fn not_known(name: &str) -> &'static str {
    if name.is_empty() { "finding build container" } else { "container not known" }
}

/// The record of the container that `name` stands for.
pub fn find(store: &Store, name: &str) -> Result<Container, Error> {
    let failed = |source| Error::Store { name: name.to_owned(), source };
    let found = store.containers().map_err(failed)?.resolve(name).map_err(failed)?;
    found.ok_or_else(|| Error::NotKnown { name: name.to_owned() })
}

fn id_maps(record: &Container) -> IdMaps {
    IdMaps { uid: IdMap(record.uid_map.clone()), gid: IdMap(record.gid_map.clone()) }
}

/// As `WorkingContainer::shift`.
pub(super) fn shift(record: &Container) -> Option<IdMaps> {
    is_shifted(record).then(|| id_maps(record))
}

/// Whether owners of the container's files are others on disk than inside.
pub(super) fn is_shifted(record: &Container) -> bool {
    record.uid_map.iter().chain(&record.gid_map).any(|entry| entry.container_id != entry.host_id)
}
