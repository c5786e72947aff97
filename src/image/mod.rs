//! Images as documents: names, configs, manifests, and the one list of edits that a config can take.
//!
//! Everything here is pure: no I/O, no clock, no randomness. A document that was read is kept as its bytes and only parsed
//! beside; what was not changed is never serialised again, because a digest is over bytes.
//!
//! ```text
//! reference   what a person typed      → names to look up, or an ID
//! config      OCI or Docker JSON       ↔ ImageConfig (one type, two serialisers)
//! lineage     config JSON              → whether one image was made on another
//! change      config / --change / ENV… → Change, applied to a Draft
//! manifest    OCI or Docker v2s2 JSON  ↔ Manifest
//! ```

pub mod change;
pub mod config;
mod config_read;
mod config_write;
pub mod draft;
mod env;
pub mod lineage;
pub mod list;
pub mod location;
pub mod manifest;
pub mod merge;
pub mod reference;
pub mod setting;
pub mod signature;
pub mod time;

pub use change::{Change, Warning};
pub use config::ImageConfig;
pub use draft::Draft;
pub use lineage::Lineage;
pub use location::Location;
pub use manifest::Manifest;
pub use reference::Reference;
pub use time::Time;

/// The two families of image documents that are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// OCI image specification 1.1.
    #[default]
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}

/// A format name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized image type {0:?}")]
pub struct ParseFormatError(pub String);

impl std::str::FromStr for Format {
    type Err = ParseFormatError;

    /// Reads the value of `--format`: `oci` or `docker`, or one of the two manifest media types.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "oci" | manifest::OCI_MANIFEST => Ok(Self::Oci),
            "docker" | manifest::DOCKER_MANIFEST => Ok(Self::Docker),
            _ => Err(ParseFormatError(text.chars().take(200).collect())),
        }
    }
}
