//! Where policy.json is, for those who may or may not have to ask it.

use std::path::PathBuf;

use super::{Environment, Error, Policy};

/// The place of a signature policy. Nothing is read before [`PolicyFile::load`].
#[derive(Debug, Clone, Default)]
pub struct PolicyFile {
    environment: Environment,
    explicit: Option<PathBuf>,
}

impl PolicyFile {
    /// The usual places, or the file of `--signature-policy`. No I/O.
    pub fn new(environment: Environment, explicit: Option<PathBuf>) -> Self {
        Self { environment, explicit }
    }

    /// Reads the policy.
    pub fn load(&self) -> Result<Policy, Error> {
        Policy::load(&self.environment, self.explicit.as_deref())
    }
}
