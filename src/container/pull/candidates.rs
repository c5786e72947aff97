//! Which registries may have the image of a name, and who of them has it.
//!
//! Invariant: only a registry that says "not here" leads to the next one. Who refuses or cannot be reached ends the search: the next
//! registry's image of that name may be a stranger's (known attacks A108).

use containers_storage::store::Store;

use super::{Error, Fetch, means};
use crate::conf::registries::ShortNameMode;
use crate::container::find_image;
use crate::image::{Location, Reference};
use crate::transport::registry::Relevance;
use crate::transport::{self, Progress, Source};

/// The names under which registries may have an image, and whether the name that was typed was short.
pub(super) struct Candidates {
    names: Vec<Reference>,
    short: bool,
}

/// Where the image of a name may be; none for an ID.
pub(super) fn find(operand: &str, name: &str, fetch: &Fetch<'_>) -> Result<Option<Candidates>, Error> {
    if name.starts_with("containers-storage:") {
        return Ok(None);
    }
    let names = find_image::candidates_at_registries(fetch.registries, name)?;
    let short = Reference::parse_qualified(name).is_err();
    if names.is_empty() {
        return Ok(None);
    }
    if short && names.len() > 1 {
        let settings = fetch.registries.short_names();
        let settings = settings
            .map_err(|source| find_image::Error::Registries { operand: operand.to_owned(), source: Box::new(source) })?;
        if settings.mode == ShortNameMode::Enforcing {
            return Err(Error::Ambiguous { operand: operand.to_owned(), registries: settings.search.join(", ") });
        }
    }
    Ok(Some(Candidates { names, short }))
}

impl Candidates {
    /// Opens the image at the first registry that has it.
    pub(super) fn ask<'m>(&self, store: &'m Store, operand: &str, fetch: &Fetch<'m>) -> Result<Box<dyn Source + 'm>, Error> {
        self.say_how(operand, fetch);
        let mut last = None;
        for name in &self.names {
            (fetch.progress)(Progress::Trying(&name.to_string()));
            match transport::open_source(&Location::Registry(name.clone()), means(store, fetch)) {
                Ok(source) => return Ok(source),
                Err(error) => {
                    let not_there = error.registry().is_none_or(|error| error.relevance() == Relevance::NotThere);
                    last = Some(error);
                    if !not_there {
                        break;
                    }
                }
            }
        }
        let unknown = || Error::Image(find_image::Error::NotKnown { operand: operand.to_owned() });
        let Some(source) = last.map(Box::new) else { return Err(unknown()) };
        let told = source.registry().is_some_and(|error| error.relevance() > Relevance::NotAsked);
        let operand = operand.to_owned();
        Err(if self.short && !told { Error::Nowhere { operand, source } } else { Error::Copy { operand, source } })
    }

    /// What a short name stands for, as the other tools say it.
    fn say_how(&self, operand: &str, fetch: &Fetch<'_>) {
        if !self.short {
            return;
        }
        let Ok(settings) = fetch.registries.short_names() else { return };
        let repository = operand.split(['@', ':']).next().unwrap_or(operand);
        let words = match (settings.alias_file(repository), &settings.search_file) {
            (Some(file), _) => format!("Resolved {repository:?} as an alias ({})", file.display()),
            (None, Some(file)) if !settings.search.is_empty() => {
                format!("Resolving {repository:?} using unqualified-search registries ({})", file.display())
            }
            _ => return,
        };
        (fetch.progress)(Progress::Resolved(&words));
    }
}
