//! Steps of other machines: asked for at the places of `--cache-from`, sent to those of `--cache-to`.
//!
//! ```text
//! not in the store ─▶ each place: is there an image of that key? does it fit (identity::misfit)? ─▶ pulled, without a name
//! made, or found in the store ─▶ each place that has not that very image gets it
//! ```
//!
//! Invariant: an image of another place is taken only if it stands on our layers and has the settings and the history that the step leaves;
//! what its own layer holds is what the caller trusts the place with. A place that cannot be asked, or does not take an image, costs a
//! warning and no build, and is left alone by this process from then on.

use std::cell::RefCell;
use std::collections::BTreeSet;

use containers_storage::{Digest, ImageId};
use jiff::Timestamp;

use super::identity::{self, Expected};
use super::place::Place;
use crate::build::event::{Event, StagePlace, Tell};
use crate::build::options::Reuse;
use crate::build::stage::Build;
use crate::container::pull::{self, Looked, Obtained};
use crate::container::push;
use crate::image::ImageConfig;

/// Places that failed, by their names.
#[derive(Debug, Default)]
pub(super) struct Failed {
    reading: RefCell<BTreeSet<String>>,
    writing: RefCell<BTreeSet<String>>,
}

impl Build<'_> {
    /// The image of the step with that key at one of the places, and which that is.
    pub(in crate::build) fn fetch_step(
        &self,
        (stage, key): (StagePlace, &Digest),
        expected: &Expected,
        tell: Tell<'_>,
    ) -> Option<(Obtained, &Place)> {
        let failed = &self.cache.as_ref()?.failed.reading;
        for place in &self.options.layering.cache_from {
            if failed.borrow().contains(&place.to_string()) {
                continue;
            }
            let shown = shown(place, key);
            let misfit = |manifest: &_, config: &[u8]| {
                let is_old = || too_old(config, self.options.layering.reuse).then_some("it is too old");
                identity::misfit(expected, manifest, config).or_else(is_old)
            };
            match pull::unnamed(self.store, &place.image(key), &self.options.fetch, &misfit) {
                Ok(Looked::NotThere) => {}
                Ok(Looked::Unfit(why)) => tell(Event::Warning(format!("the image {shown} of the cache is not used: {why}"))),
                Ok(Looked::Here(obtained)) => {
                    obtained.warnings.iter().for_each(|warning| tell(Event::Notice(warning.clone())));
                    tell(Event::Pulled { stage, from: shown });
                    return Some((Obtained { warnings: Vec::new(), ..*obtained }, place));
                }
                Err(error) => {
                    let text = (self.options.explain)(&error).text;
                    tell(Event::Warning(format!("the cache {place} is not used from here on: {text}")));
                    failed.borrow_mut().insert(place.to_string());
                }
            }
        }
        None
    }

    /// Sends the image of the step with that key to all places but the one that it came from.
    pub(in crate::build) fn send_step(
        &self,
        (stage, key): (StagePlace, &Digest),
        image: &ImageId,
        came_from: Option<&Place>,
        tell: Tell<'_>,
    ) {
        let Some(cache) = &self.cache else { return };
        let failed = &cache.failed.writing;
        for place in self.options.layering.cache_to.iter().filter(|place| came_from != Some(*place)) {
            if failed.borrow().contains(&place.to_string()) {
                continue;
            }
            tell(Event::Sending { stage, to: shown(place, key) });
            let compression = self.options.layering.compression;
            if let Err(error) = push::push_missing(self.store, image, &place.image(key), &self.options.fetch, compression) {
                let text = (self.options.explain)(&error).text;
                tell(Event::Warning(format!("the cache {place} gets no more steps: {text}")));
                failed.borrow_mut().insert(place.to_string());
            }
        }
    }
}

fn shown(place: &Place, key: &Digest) -> String {
    format!("{place}:{}", key.hex())
}

fn too_old(config: &[u8], reuse: Reuse) -> bool {
    match reuse {
        Reuse::Always => false,
        Reuse::Never => true,
        Reuse::Younger(nanoseconds) => {
            let created = ImageConfig::parse(config).ok().and_then(|config| config.created?.as_str().parse::<Timestamp>().ok());
            let age = created.map(|created| Timestamp::now().as_nanosecond() - created.as_nanosecond());
            age.is_none_or(|age| age > i128::from(nanoseconds))
        }
    }
}
