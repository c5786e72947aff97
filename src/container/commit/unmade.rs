//! A working container that was never made: an image that differs from the one below it in its settings alone needs no record, no layer and
//! no state file of a container. It is told what a container would be told, and committed as that would be.
//!
//! Invariant: the image is, byte for byte, the one that a container on the same image that was told the same would have become, but for
//! the container's ID.
//!
//! Must not: be used for anything that files are read or changed for.

use containers_storage::store::Store;
use containers_storage::{ContainerId, LayerId};

use super::document::LayerInfo;
use super::writer::{Subject, Writer};
use super::{Error, LayerPolicy, Options, Outcome, add_to_list, created, destination, edited, info, manifest_list, outcome};
use crate::container::find_image::Found;
use crate::container::state::Base;
use crate::container::{config, from};
use crate::image::config::History;
use crate::image::{Draft, Format, ImageConfig};

/// What a working container would be.
#[derive(Debug, Clone)]
pub struct Unmade {
    /// Nobody has it.
    id: ContainerId,
    /// ID and name of the image that it would stand on; empty for none.
    base: (String, String),
    /// The layers of that, lowest first.
    lower: Vec<LayerInfo>,
    /// The top one.
    top: Option<LayerId>,
    draft: Draft,
    history: Vec<History>,
}

impl Unmade {
    /// On an image.
    pub fn on(store: &Store, format: Format, found: &Found) -> Result<Self, from::Error> {
        let (base, config) = from::read_base(store, found)?;
        Ok(Self { top: found.image.layer.clone(), ..Self::new(format, &base, config) })
    }

    /// On nothing. `config` is what it begins with (`from::nothing`).
    pub fn on_nothing(format: Format, config: ImageConfig) -> Self {
        Self::new(format, &Base::default(), config)
    }

    fn new(format: Format, base: &Base, config: ImageConfig) -> Self {
        Self {
            id: ContainerId::random(),
            base: (base.id.clone(), base.name.clone()),
            lower: Vec::new(),
            top: None,
            draft: from::draft(format, base, config),
            history: Vec::new(),
        }
    }

    /// Tells it what `config::config` would tell a container. What cannot be done in full has been said when it was told to somebody else.
    pub fn tell(&mut self, told: &config::Options) {
        for change in &told.changes {
            self.draft.apply(change);
        }
        self.history.extend(told.history.iter().cloned());
    }

    /// The history entries that it was told.
    pub fn history(&self) -> &[History] {
        &self.history
    }

    /// Makes an image of it, which has the files of the image below: `LayerPolicy::Omit`. It goes on.
    pub fn commit(&mut self, store: &Store, options: &Options) -> Result<Outcome, Error> {
        debug_assert!(options.layer == LayerPolicy::Omit && options.add_files.is_empty());
        let destination = options.destination.as_deref().map(destination).transpose()?;
        if let Some(list) = &options.manifest_list {
            manifest_list::check(store, list)?;
        }
        self.read_layers(store)?;
        let (draft, warnings) = edited(self.draft.clone(), options)?;
        let (id, name) = (self.base.0.as_str(), self.base.1.as_str());
        let subject = Subject {
            id: &self.id,
            name: if name.is_empty() { id.get(..12).unwrap_or("scratch").to_owned() } else { name.to_owned() },
            base: (id, name),
            before: self.history.clone(),
            after: &[],
        };
        let created = created(options.documents.clock)?;
        let writer = Writer { subject, draft, created, options, name: destination.as_ref() };
        writer.check_key()?;
        let written = writer.write(&self.lower, None, &[])?;
        writer.check_digest(&written)?;
        let mut image = writer.record(&written, self.top.clone());
        writer.sign(store, &mut image)?;
        store.put_image(&image).map_err(Error::Record)?;
        add_to_list(store, options, &image.id, &written)?;
        Ok(outcome(image.id, &written, destination.as_ref(), &warnings))
    }

    fn read_layers(&mut self, store: &Store) -> Result<(), Error> {
        if let Some(top) = self.top.as_ref().filter(|_| self.lower.is_empty()) {
            let chain = store.layers().and_then(|layers| layers.chain(top)).map_err(Error::Record)?;
            self.lower = chain.into_iter().rev().map(info).collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}
