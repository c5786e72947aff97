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

use super::{Error, Fetch, Missed, means};
use crate::conf::registries::ShortNameMode;
use crate::container::find_image::{self, ShortName};
use crate::image::{Location, Reference};
use crate::transport::registry::Relevance;
use crate::transport::{self, Progress, Source};

/// Asks a person which of several names is meant; the answer is its place in the list.
pub type Choose<'a> = &'a dyn Fn(&[String]) -> std::io::Result<usize>;

/// The names under which registries may have an image.
pub(super) struct Candidates {
    names: Vec<Reference>,
    short: Option<ShortName>,
    /// One name was chosen of several.
    chosen: bool,
}

/// Where the image of a name may be; none for an ID.
pub(super) fn find(operand: &str, name: &str, fetch: &Fetch<'_>) -> Result<Option<Candidates>, Error> {
    if name.starts_with("containers-storage:") {
        return Ok(None);
    }
    let found = find_image::at_registries(fetch.registries, name)?;
    let mut candidates = Candidates { names: found.names, short: found.short, chosen: false };
    if candidates.names.is_empty() {
        return Ok(None);
    }
    if candidates.short.is_some() && candidates.names.len() > 1 {
        candidates.choose(operand, fetch)?;
    }
    Ok(Some(candidates))
}

impl Candidates {
    /// Leaves the name that a person wants.
    fn choose(&mut self, operand: &str, fetch: &Fetch<'_>) -> Result<(), Error> {
        let settings = fetch.registries.short_names();
        let settings = settings
            .map_err(|source| find_image::Error::Registries { operand: operand.to_owned(), source: Box::new(source) })?;
        let choose = match (settings.mode, fetch.choose) {
            (ShortNameMode::Disabled, _) | (ShortNameMode::Permissive, None) => return Ok(()),
            (ShortNameMode::Enforcing, None) => {
                return Err(Error::Ambiguous { operand: operand.to_owned(), registries: settings.search.join(", ") });
            }
            (_, Some(choose)) => choose,
        };
        let shown: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let index = choose(&shown).map_err(|source| Error::NotChosen { operand: operand.to_owned(), source })?;
        let at = index.min(self.names.len().saturating_sub(1));
        self.names = vec![self.names.swap_remove(at)];
        self.chosen = true;
        Ok(())
    }

    /// Opens the image at the first registry that has it.
    pub(super) fn ask<'m>(&self, store: &'m Store, operand: &str, fetch: &Fetch<'m>) -> Result<Box<dyn Source + 'm>, Error> {
        self.say_how(fetch);
        let mut missed = Vec::new();
        for name in &self.names {
            (fetch.progress)(Progress::Trying(&name.to_string()));
            match transport::open_source(&Location::Registry(name.clone()), means(store, fetch)) {
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
        let left = self.names.len() - missed.len();
        let operand = operand.to_owned();
        Err(match (missed.pop(), missed.is_empty()) {
            (None, _) => Error::Image(find_image::Error::NotKnown { operand }),
            (Some(last), true) if left == 0 => {
                let source = Box::new(last);
                if self.short.is_some() && !told { Error::Nowhere { operand, source } } else { Error::Copy { operand, source } }
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
        let (Some(short), [name], true) = (&self.short, self.names.as_slice(), self.chosen) else { return None };
        let failed = fetch.registries.remember_alias(&short.repository, &name.repository()).err()?;
        let causes = std::iter::successors(Some(&failed as &dyn std::error::Error), |error| error.source());
        let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Some(format!("recording the short-name alias {:?} = {:?}: {causes}", short.repository, name.repository()))
    }

    /// What a short name stands for, as the other tools say it.
    fn say_how(&self, fetch: &Fetch<'_>) {
        let Some(ShortName { repository, .. }) = self.short.as_ref().filter(|_| !self.chosen) else { return };
        let Ok(settings) = fetch.registries.short_names() else { return };
        let words = match (settings.alias_file(repository), &settings.search_file) {
            (Some(file), _) => format!("Resolved {repository:?} as an alias ({})", file.display()),
            (None, Some(file)) => format!("Resolving {repository:?} using unqualified-search registries ({})", file.display()),
            _ => return,
        };
        (fetch.progress)(Progress::Resolved(&words));
    }
}
