//! What `inspect` shows of a working container or of an image, member by member in Buildah's order.

use containers_storage::store::Store;
use serde::Serialize;

use super::{find_image, state};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The image could not be found.
    #[error(transparent)]
    Image(#[from] find_image::Error),
}

/// The document, in Buildah's member order; serialise it with four spaces.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// `buildah 0.0.1`.
    pub r#type: String,
    /// The base image's name.
    pub from_image: String,
}

/// What is known of the working container `name`.
pub fn container(store: &Store, name: &str) -> Result<Report, Error> {
    let _ = store;
    Err(state::Error::NotKnown { name: name.to_owned() }.into())
}

/// What is known of the image `name`, in the same form.
pub fn image(store: &Store, name: &str) -> Result<Report, Error> {
    Err(find_image::find_image(store, name).err().unwrap_or(find_image::Error::NotKnown { operand: name.to_owned() }).into())
}
