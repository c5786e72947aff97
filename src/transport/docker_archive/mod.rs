//! `docker-archive:`: what `docker save` writes and `docker load` reads.
//!
//! ```text
//! manifest.json             [{"Config":"<hex>.json","RepoTags":["name:tag"],"Layers":["<hex>.tar",…]},…]
//! <hex>.json, <hex>.tar     configs, and layers as plain tar files (read: compressed ones too)
//! repositories, <id>/{VERSION,json,layer.tar}       the same for Docker before 1.10
//! ```
//!
//! The format has no manifest of an image; one in Docker's v2s2 form is made up, whose layers are the uncompressed ones, with the
//! media type that the other tools give them, so that its digest is the same.

mod read;
mod write;

use serde::{Deserialize, Serialize};

pub(super) use self::read::DockerArchiveSource;
pub(super) use self::write::DockerArchive;

const MANIFEST_FILE: &str = "manifest.json";
const REPOSITORIES_FILE: &str = "repositories";

/// One image of `manifest.json`.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct Item {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", deserialize_with = "nullable")]
    repo_tags: Vec<String>,
    #[serde(rename = "Layers", deserialize_with = "nullable")]
    layers: Vec<String>,
}

/// Go writes an empty list as null.
fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
