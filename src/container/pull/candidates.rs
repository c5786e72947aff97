//! Which registries may have the image of a name, and who of them has it.
//!
//! ```text
//! whole name   → itself
//! short name   → its alias; else each of the registries that are searched: one is chosen where a person can be asked and the mode
//!                lets them be, and is remembered as an alias once its image is there
//! ```
//!
//! Invariant: only a registry that says "not here" leads to the next one. Who refuses or cannot be reached ends the search: the next
//! registry's image of that name may be a stranger's (known attacks A108).

use containers_storage::store::Store;

use super::{Error, Fetch, Missed, PullPolicy, means};
use crate::container::find_image::{self, AtRegistries, ShortName};
use crate::image::Location;
use crate::transport::registry::Relevance;
use crate::transport::{self, Means, Progress, Silence, Source};

/// The names under which registries may have an image.
pub(super) struct Candidates(AtRegistries);

/// Where the image of a name may be; none for an ID.
pub(super) fn find(operand: &str, name: &str, fetch: &Fetch<'_>) -> Result<Option<Candidates>, Error> {
    if name.starts_with("containers-storage:") {
        return Ok(None);
    }
    let mut found = find_image::at_registries(fetch.registries, name)?;
    if found.names.is_empty() {
        return Ok(None);
    }
    found.choose(fetch.registries, operand, fetch.choose)?;
    Ok(Some(Candidates(found)))
}

impl Candidates {
    /// Opens the image at the first registry that has it.
    pub(super) fn ask<'m>(&self, store: &'m Store, operand: &str, fetch: &Fetch<'m>) -> Result<Box<dyn Source + 'm>, Error> {
        self.say_how(fetch);
        // What the store has will do where only something newer is looked for.
        let silence = if fetch.policy == PullPolicy::Newer { Silence::Told } else { self.0.silence() };
        let means = Means { silence, ..means(store, fetch) };
        let mut missed = Vec::new();
        for name in &self.0.names {
            log::debug!("looking for {name} at its registry");
            (fetch.progress)(Progress::Trying(&name.to_string()));
            match transport::open_source(&Location::Registry(name.clone()), means) {
                Ok(source) => return Ok(source),
                Err(error) => {
                    let there = error.registry().is_some_and(|error| error.relevance() > Relevance::NotThere);
                    missed.push(error);
                    if there {
                        break;
                    }
                }
            }
        }
        let told = missed.iter().filter_map(transport::Error::registry).any(|error| error.relevance() > Relevance::NotAsked);
        let left = self.0.names.len() - missed.len();
        let operand = operand.to_owned();
        Err(match (missed.pop(), missed.is_empty()) {
            (None, _) => Error::Image(find_image::Error::NotKnown { operand }),
            (Some(last), true) if left == 0 => {
                let source = Box::new(last);
                if self.0.short.is_some() && !told {
                    Error::Nowhere { operand, source }
                } else {
                    Error::Copy { operand, source }
                }
            }
            (Some(last), _) => {
                missed.push(last);
                let missed = Missed { errors: missed, left };
                if told { Error::Refused { operand, missed } } else { Error::NowhereOf { operand, missed } }
            }
        })
    }

    /// Remembers what was chosen. It is no failure of the pull that this cannot be done; the answer says why.
    pub(super) fn remember(&self, fetch: &Fetch<'_>) -> Option<String> {
        self.0.remember(fetch.registries)
    }

    /// What a short name stands for, as the other tools say it.
    fn say_how(&self, fetch: &Fetch<'_>) {
        let Some(ShortName { repository, .. }) = self.0.short.as_ref().filter(|_| !self.0.chosen) else { return };
        let Ok(settings) = fetch.registries.short_names() else { return };
        let words = match (settings.alias_file(repository), &settings.search_file) {
            (Some(file), _) => format!("Resolved {repository:?} as an alias ({})", file.display()),
            (None, Some(file)) => format!("Resolving {repository:?} using unqualified-search registries ({})", file.display()),
            _ => return,
        };
        (fetch.progress)(Progress::Resolved(&words));
    }
}
