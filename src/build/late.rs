//! History entries whose words are known late: those of what was copied name its digest, which may still be in the making when the next
//! thing is begun.
//!
//! Invariant: whoever changes files of the container asks for the words before, since the digest is read from these files.

use super::error::StepError;
use crate::container::commit;
use crate::container::config::empty_step;
use crate::container::copy::{self, Copied};
use crate::image::config::History;

/// The words of a step's history entry.
#[derive(Debug)]
pub(super) enum CreatedBy {
    Known(String),
    /// Around the digest of what was copied into the container of that name.
    Copied {
        before: String,
        copied: Box<Copied>,
        container: String,
        after: String,
    },
}

impl CreatedBy {
    /// The words, for which the digest is waited for.
    pub(super) fn known(self) -> Result<String, copy::Error> {
        Ok(match self {
            Self::Known(words) => words,
            Self::Copied { before, copied, container, after } => {
                let outcome = copy::hashed(*copied, &container)?;
                format!("{before}{}{after}", copy::summary(&outcome))
            }
        })
    }
}

impl Default for CreatedBy {
    fn default() -> Self {
        Self::Known(String::new())
    }
}

/// The entry of a step that no image has yet.
#[derive(Debug)]
pub(super) struct Entry {
    /// But for the words.
    pub(super) history: History,
    pub(super) words: CreatedBy,
}

impl Entry {
    pub(super) fn new(words: CreatedBy) -> Self {
        Self { history: empty_step(""), words }
    }

    fn known(self) -> Result<History, copy::Error> {
        Ok(History { created_by: self.words.known()?, ..self.history })
    }
}

/// Waits for the words of all of them.
pub(super) fn settle(entries: &mut [Entry]) -> Result<(), StepError> {
    for entry in entries {
        entry.words = CreatedBy::Known(std::mem::take(&mut entry.words).known().map_err(Box::new)?);
    }
    Ok(())
}

/// The entries that an image gets beside those of its base.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Of steps before that of the layer.
    pub(super) before: Vec<Entry>,
    /// The words of the layer's, if the steps say them.
    pub(super) own: Option<CreatedBy>,
}

impl Entries {
    pub(super) fn of_layer(words: CreatedBy) -> Self {
        Self { before: Vec::new(), own: Some(words) }
    }

    /// All of them, for a commit that has packed its layer.
    pub(super) fn known(self) -> Result<commit::LateHistory, copy::Error> {
        let before = self.before.into_iter().map(Entry::known).collect::<Result<_, _>>()?;
        Ok(commit::LateHistory { before, created_by: self.own.map(CreatedBy::known).transpose()? })
    }

    /// Waits for all words.
    pub(super) fn settle(&mut self) -> Result<(), StepError> {
        settle(&mut self.before)?;
        if let Some(words) = self.own.take() {
            self.own = Some(CreatedBy::Known(words.known().map_err(Box::new)?));
        }
        Ok(())
    }
}
