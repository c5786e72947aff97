//! Why an image cannot be had, in words that scripts look for.

use containers_storage::store;

use crate::container::{find_image, from};
use crate::image::location;
use crate::{conf, transport, userns};

/// What several registries said instead of giving an image, in the order in which they were asked.
#[derive(Debug)]
pub struct Missed {
    /// Each one's answer.
    pub errors: Vec<transport::Error>,
    /// How many more there were, who were not asked because the last one did not say "not here".
    pub left: usize,
}

impl std::error::Error for Missed {}

impl std::fmt::Display for Missed {
    /// In one line; who prints for people makes a list of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not in the store.
    #[error("{0}")]
    Image(#[from] find_image::Error),
    /// It is in the store, for another platform, and nowhere else.
    #[error("{operand}: image not known for {wished}: the one in the store is for {found}")]
    OtherPlatform {
        /// What was typed.
        operand: String,
        /// The wished platform.
        wished: String,
        /// The image's.
        found: String,
        /// What the registry said, if one was asked.
        source: Option<Box<Error>>,
    },
    /// A short name that is neither in the store nor at a registry. Scripts look for the phrase.
    #[error("{operand}: image not known")]
    Nowhere {
        /// What was typed.
        operand: String,
        /// What the registry said.
        source: Box<transport::Error>,
    },
    /// The same at several registries.
    #[error("{operand}: image not known")]
    NowhereOf {
        /// What was typed.
        operand: String,
        /// What they said.
        #[source]
        missed: Missed,
    },
    /// One of several registries refused.
    #[error("pulling {operand:?}")]
    Refused {
        /// What was typed.
        operand: String,
        /// What they said.
        #[source]
        missed: Missed,
    },
    /// An ID says nothing of where to ask. The words are the other tools'.
    #[error("pull policy is always but image has been referred to by ID ({operand})")]
    AlwaysById {
        /// What was typed.
        operand: String,
    },
    /// What was typed is no place.
    #[error("{0}")]
    Location(#[from] location::Error),
    /// The namespace could not be entered.
    #[error("reading and writing files of other owners")]
    Namespace(#[from] userns::Error),
    /// policy.json cannot be read.
    #[error("pulling {operand:?}")]
    Policy {
        /// What was typed.
        operand: String,
        /// What failed.
        source: conf::Error,
    },
    /// The copy failed.
    #[error("pulling {operand:?}")]
    Copy {
        /// What was typed.
        operand: String,
        /// What failed.
        source: Box<transport::Error>,
    },
    /// The copy says that it put nothing into the store.
    #[error("pulling {operand:?}: no image came into the store")]
    Nothing {
        /// What was typed.
        operand: String,
    },
    /// The new image cannot be read.
    #[error("{0}")]
    Read(#[from] Box<from::Error>),
    /// The store refused.
    #[error("pulling {operand:?}")]
    Store {
        /// What was typed.
        operand: String,
        /// What failed.
        source: store::Error,
    },
}
