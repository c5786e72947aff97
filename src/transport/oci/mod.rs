//! `oci:` and `oci-archive:`: the OCI image layout, as a directory and in a tar.
//!
//! ```text
//! oci-layout                {"imageLayoutVersion": "1.0.0"}
//! index.json                descriptors of manifests and indexes; their names are annotations
//! blobs/sha256/<hex>        manifests, configs, layers
//! ```
//!
//! Invariant: members of `index.json` that are not known here survive when an image is added.

mod archive;
mod index_json;
mod layout;
mod named;
mod source;

pub(super) use self::archive::OciArchive;
pub(super) use self::layout::OciLayout;
pub(super) use self::source::{OciSource, blob_of};

/// The file that says what the directory is.
const LAYOUT_FILE: &str = "oci-layout";
/// Its content, as the other tools write it.
const LAYOUT: &[u8] = br#"{"imageLayoutVersion": "1.0.0"}"#;
/// The table of images.
const INDEX_FILE: &str = "index.json";
