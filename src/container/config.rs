//! `config`: changes to the image config that the next commit writes.

use containers_storage::store::Store;
use jiff::Timestamp;

use super::WorkingContainer;
use super::state;
use crate::image::config::History;
use crate::image::{Change, Time, Warning};

/// What to change.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// History entries to add: steps without a layer.
    pub history: Vec<History>,
}

/// Applies `options` to the container `name`. Returns what could not be done in full.
pub fn config(store: &Store, name: &str, options: &Options) -> Result<Vec<Warning>, state::Error> {
    if options.changes.is_empty() && options.history.is_empty() {
        return WorkingContainer::open(store, name).map(|_| Vec::new());
    }
    WorkingContainer::edit(store, name, |container| {
        let state = container.state_mut();
        let mut warnings: Vec<Warning> = options.changes.iter().flat_map(|change| state.draft.apply(change)).collect();
        // The command of a health check and its times are two changes.
        warnings.dedup();
        state.history_before.extend(options.history.iter().cloned());
        Ok(warnings)
    })
}

/// The history entry of a step that is done now and makes no layer of its own, in the words of an instruction.
pub fn empty_step(created_by: &str) -> History {
    History {
        created: Some(Time::from_timestamp(Timestamp::now())),
        created_by: created_by.to_owned(),
        empty_layer: true,
        ..History::default()
    }
}
