//! The images of a store with what relates them: sizes, parents and children, the containers made from each.
//!
//! An image is the parent of another if it lies one layer below it, or on the same layer, and the other's history goes on
//! where its own ends. Configs are read only when such a question is asked, so that a plain list reads no file but the tables.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use containers_storage::containers::Container;
use containers_storage::images::Image;
use containers_storage::layers::Layers;
use containers_storage::store::Store;
use containers_storage::{ContainerId, ImageId, LayerId};
use jiff::Timestamp;

use crate::image::ImageConfig;

use super::CommandError;

/// All images of a store, in the order of its table.
#[derive(Debug)]
pub(super) struct ImageSet<'a> {
    store: &'a Store,
    images: Vec<Image>,
    layers: OnceCell<Layers>,
    layers_above: OnceCell<HashMap<LayerId, Vec<LayerId>>>,
    containers: OnceCell<Vec<Container>>,
    configs: RefCell<HashMap<ImageId, ImageConfig>>,
    sizes: RefCell<HashMap<LayerId, i64>>,
}

impl<'a> ImageSet<'a> {
    /// Reads the table of images.
    pub(super) fn read(store: &'a Store) -> Result<Self, CommandError> {
        let images = store.images()?.all()?;
        Ok(Self {
            store,
            images,
            layers: OnceCell::new(),
            layers_above: OnceCell::new(),
            containers: OnceCell::new(),
            configs: RefCell::default(),
            sizes: RefCell::default(),
        })
    }

    /// Every image.
    pub(super) fn all(&self) -> &[Image] {
        &self.images
    }

    /// The image with this ID.
    pub(super) fn get(&self, id: &ImageId) -> Option<&Image> {
        self.images.iter().find(|image| image.id == *id)
    }

    /// Takes up an image whose names changed.
    pub(super) fn replace(&mut self, image: Image) {
        if let Some(known) = self.images.iter_mut().find(|known| known.id == image.id) {
            *known = image;
        }
    }

    /// Forgets an image that was deleted.
    pub(super) fn forget(&mut self, id: &ImageId) {
        self.images.retain(|image| image.id != *id);
    }

    /// Forgets a container that was deleted.
    pub(super) fn forget_container(&mut self, id: &ContainerId) {
        if let Some(containers) = self.containers.get_mut() {
            containers.retain(|container| container.id != *id);
        }
    }

    fn layers(&self) -> Result<&Layers, CommandError> {
        if self.layers.get().is_none() {
            let layers = self.store.layers()?;
            return Ok(self.layers.get_or_init(|| layers));
        }
        self.layers.get().ok_or_else(|| CommandError::usage("the layers are not read"))
    }

    /// Bytes of the image: its layers' tars, shared or not, and its documents. A layer of unknown size counts as nothing.
    pub(super) fn size(&self, image: &Image) -> Result<i64, CommandError> {
        let mut total: i64 = image.big_data_sizes.values().fold(0, |sum, size| sum.saturating_add(*size));
        for top in image.layer.iter().chain(&image.mapped_layers) {
            total = total.saturating_add(self.size_of_stack(top)?);
        }
        Ok(total)
    }

    /// Bytes of a layer and those below it; each stack is summed once.
    fn size_of_stack(&self, top: &LayerId) -> Result<i64, CommandError> {
        let layers = self.layers()?;
        let mut sizes = self.sizes.borrow_mut();
        let mut pending: Vec<(LayerId, i64)> = Vec::new();
        let mut below = 0;
        let mut next = Some(top.clone());
        while let Some(id) = next {
            if let Some(known) = sizes.get(&id) {
                below = *known;
                break;
            }
            // A loop would be damage that `check` reports; do not hang on it.
            let looped = pending.iter().any(|(seen, _)| *seen == id);
            let Some(layer) = layers.brief(&id).filter(|_| !looped) else { break };
            pending.push((id, i64::try_from(layer.diff_size).unwrap_or(i64::MAX)));
            next = layer.parent;
        }
        for (id, size) in pending.into_iter().rev() {
            below = below.saturating_add(size);
            sizes.insert(id, below);
        }
        Ok(below)
    }

    /// When the image was made. An unreadable time counts as 1970.
    pub(super) fn created(image: &Image) -> Timestamp {
        image.created.parse().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The image's configuration; empty where it is missing or damaged, as for a manifest list.
    pub(super) fn config(&self, image: &Image) -> ImageConfig {
        if let Some(config) = self.configs.borrow().get(&image.id) {
            return config.clone();
        }
        let key = format!("sha256:{}", image.id);
        let config =
            self.store.image_data(image, &key).ok().and_then(|bytes| ImageConfig::parse(&bytes).ok()).unwrap_or_default();
        self.configs.borrow_mut().insert(image.id.clone(), config.clone());
        config
    }

    /// Whether the record holds a manifest list and no image.
    pub(super) fn is_list(&self, image: &Image) -> bool {
        image.layer.is_none()
            && !image.big_data_names.iter().any(|key| *key == format!("sha256:{}", image.id))
            && image.big_data_names.iter().any(|key| key == "manifest")
    }

    /// The images that were made on top of `image`.
    pub(super) fn children(&self, image: &Image) -> Result<Vec<&Image>, CommandError> {
        let Some(top) = &image.layer else { return Ok(Vec::new()) };
        let layers = self.layers()?;
        let above = self.layers_above.get_or_init(|| layers.children_by_parent());
        let above = above.get(top).map_or(&[][..], Vec::as_slice);
        let is_near = |other: &&Image| other.layer.as_ref().is_some_and(|layer| layer == top || above.contains(layer));
        let near = self.images.iter().filter(|other| other.id != image.id).filter(is_near);
        Ok(near.filter(|other| continues(&self.config(image), &self.config(other))).collect())
    }

    /// The image that `image` was made from, if it is in the store.
    pub(super) fn parent(&self, image: &Image) -> Result<Option<&Image>, CommandError> {
        let mut best: Option<&Image> = None;
        for other in self.images.iter().filter(|other| other.id != image.id) {
            let Some(top) = &other.layer else { continue };
            if !self.is_one_above(image, top)? || !continues(&self.config(other), &self.config(image)) {
                continue;
            }
            // On one layer a whole line of images may lie: the parent is the one with the longest history.
            if best.is_none_or(|best| self.config(best).history.len() < self.config(other).history.len()) {
                best = Some(other);
            }
        }
        Ok(best)
    }

    /// Whether the top layer of `image` is `below` or lies directly on it.
    fn is_one_above(&self, image: &Image, below: &LayerId) -> Result<bool, CommandError> {
        let Some(top) = &image.layer else { return Ok(false) };
        Ok(top == below || self.layers()?.brief(top).and_then(|layer| layer.parent).as_ref() == Some(below))
    }

    /// Unnamed and nothing made on top of it: of use to nobody.
    pub(super) fn is_dangling(&self, image: &Image) -> Result<bool, CommandError> {
        Ok(image.names.is_empty() && self.children(image)?.is_empty())
    }

    /// Unnamed, but others were made on top of it.
    pub(super) fn is_intermediate(&self, image: &Image) -> Result<bool, CommandError> {
        Ok(image.names.is_empty() && !self.children(image)?.is_empty())
    }

    /// Every container of the store.
    pub(super) fn containers(&self) -> Result<&[Container], CommandError> {
        if self.containers.get().is_none() {
            let containers = self.store.containers()?.all()?;
            return Ok(self.containers.get_or_init(|| containers));
        }
        Ok(self.containers.get().map_or(&[], Vec::as_slice))
    }

    /// The containers made from this image.
    pub(super) fn containers_of(&self, id: &ImageId) -> Result<Vec<ContainerId>, CommandError> {
        Ok(self.containers()?.iter().filter(|container| container.image.as_ref() == Some(id)).map(|c| c.id.clone()).collect())
    }
}

/// Whether `child` goes on where `parent` ends: the same layers and history first, then at least one entry more.
fn continues(parent: &ImageConfig, child: &ImageConfig) -> bool {
    child.history.len() > parent.history.len()
        && child.diff_ids.starts_with(&parent.diff_ids)
        && child.history.starts_with(&parent.history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::History;

    fn config(steps: &[&str]) -> ImageConfig {
        let history = steps.iter().map(|step| History { created_by: (*step).to_owned(), ..History::default() }).collect();
        ImageConfig { history, ..ImageConfig::default() }
    }

    #[test]
    fn a_child_has_more_history() {
        let cases: [(&[&str], &[&str], bool); 4] =
            [(&["a"], &["a", "b"], true), (&["a"], &["a"], false), (&["a", "b"], &["a"], false), (&["x"], &["a", "b"], false)];
        for (parent, child, want) in cases {
            assert_eq!(continues(&config(parent), &config(child)), want, "{parent:?} {child:?}");
        }
    }
}
