//! The table of containers: `<driver>-containers/containers.json` and `volatile-containers.json`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::layers::IdMapEntry;
use crate::store::Error;
use crate::{ContainerId, Digest, ImageId, LayerId};

/// The record of one container. Members that are not listed here survive in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its ID.
    pub id: ContainerId,
    /// Names, unique among containers.
    pub names: Vec<String>,
    /// The image it was made from; none when made from scratch.
    pub image: Option<ImageId>,
    /// Its writable layer.
    pub layer: LayerId,
    /// Opaque text of the tool that made it.
    pub metadata: String,
    /// Keys of the big data.
    pub big_data_names: Vec<String>,
    /// Length in bytes by key.
    pub big_data_sizes: BTreeMap<String, i64>,
    /// Digest by key.
    pub big_data_digests: BTreeMap<String, Digest>,
    /// When the record was made, RFC 3339.
    pub created: String,
    /// The user namespace's map.
    pub uid_map: Vec<IdMapEntry>,
    /// The user namespace's map of groups.
    pub gid_map: Vec<IdMapEntry>,
    /// `MountLabel`, `ProcessLabel`, `MountOpts`, `Volatile` and what else tools put there.
    pub flags: Map<String, Value>,
}

/// The containers as they were when the table was read: the stable file's first, then the volatile ones.
#[derive(Debug)]
pub struct Containers {}

impl Containers {
    /// Every container, in the order of the tables.
    pub fn all(&self) -> Result<Vec<Container>, Error> {
        Ok(Vec::new())
    }

    /// The container with this ID.
    pub fn find(&self, _id: &ContainerId) -> Result<Option<Container>, Error> {
        Ok(None)
    }

    /// The container that `text` stands for: ID, then name, then layer ID, then unique prefix of an ID. Several that start so:
    /// `Error::Ambiguous`.
    pub fn resolve(&self, _text: &str) -> Result<Option<Container>, Error> {
        Ok(None)
    }
}
