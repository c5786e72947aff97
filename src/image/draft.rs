//! `Draft`: the image that the next commit of a working container would write, and the effect of each `Change` on it.

use std::collections::BTreeMap;

use super::{Change, Format, ImageConfig, Warning};

/// A config with what goes beside it into a manifest or a history entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// The format of the next commit; decides which settings have a place and warn otherwise.
    pub format: Format,
    /// The config.
    pub config: ImageConfig,
    /// Annotations of the manifest (OCI only).
    pub annotations: BTreeMap<String, String>,
    /// `created_by` of the next history entry.
    pub created_by: String,
    /// `comment` of the next history entry.
    pub history_comment: String,
}

impl Draft {
    /// Makes one edit. Never fails; what could not be honoured in full is in the warnings.
    pub fn apply(&mut self, change: &Change) -> Vec<Warning> {
        let _ = change;
        Vec::new()
    }
}
