//! The images of a store with what relates them: sizes, parents and children, the containers made from each.
//!
//! An image is the parent of another if it lies one layer below it, or on the same layer, and the other's history goes on
//! where its own ends. Configs are read only when such a question is asked, so that a plain list reads no file but the tables.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use containers_storage::containers::Container;
use containers_storage::images::{Images, Listed};
use containers_storage::layers::Stack;
use containers_storage::store::Store;
use containers_storage::{ContainerId, ImageId, LayerId};
use jiff::Timestamp;

use crate::image::ImageConfig;

use super::CommandError;

/// All images of a store, in the order of its table.
#[derive(Debug)]
pub(super) struct ImageSet<'a> {
    store: &'a Store,
    table: Images,
    images: Vec<Listed>,
    stacks: OnceCell<HashMap<LayerId, Stack>>,
    /// Images by their top layer, and by the layer below that.
    near: OnceCell<HashMap<LayerId, Vec<ImageId>>>,
    containers: OnceCell<Vec<Container>>,
    configs: RefCell<HashMap<ImageId, Rc<ImageConfig>>>,
}

impl<'a> ImageSet<'a> {
    /// Reads the table of images.
    pub(super) fn read(store: &'a Store) -> Result<Self, CommandError> {
        let table = store.images()?;
        Ok(Self {
            store,
            images: table.listed()?,
            table,
            stacks: OnceCell::new(),
            near: OnceCell::new(),
            containers: OnceCell::new(),
            configs: RefCell::default(),
        })
    }

    /// Every image.
    pub(super) fn all(&self) -> &[Listed] {
        &self.images
    }

    /// The image with this ID.
    pub(super) fn get(&self, id: &ImageId) -> Option<&Listed> {
        self.images.iter().find(|image| image.id == *id)
    }

    /// Takes up the names that an image has now.
    pub(super) fn rename(&mut self, id: &ImageId, names: Vec<String>) {
        if let Some(known) = self.images.iter_mut().find(|known| known.id == *id) {
            known.names = names;
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

    /// What lies below the images. Looked up for all at once: that is one look at each layer, however many images share it.
    fn stacks(&self) -> Result<&HashMap<LayerId, Stack>, CommandError> {
        if let Some(stacks) = self.stacks.get() {
            return Ok(stacks);
        }
        let stacks = self.store.stacks(self.images.iter().flat_map(tops))?;
        Ok(self.stacks.get_or_init(|| stacks))
    }

    /// Bytes of the image: its layers' tars, shared or not, and its documents. A layer of unknown size counts as nothing.
    pub(super) fn size(&self, image: &Listed) -> Result<i64, CommandError> {
        let stacks = self.stacks()?;
        Ok(tops(image).fold(image.data_size, |sum, top| sum.saturating_add(stacks.get(top).map_or(0, |stack| stack.bytes))))
    }

    /// When the image was made. An unreadable time counts as 1970.
    pub(super) fn created(image: &Listed) -> Timestamp {
        image.created.parse().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The names that the image ever had, newest first.
    pub(super) fn names_history(&self, image: &Listed) -> Result<Vec<String>, CommandError> {
        Ok(self.table.whole(image)?.names_history)
    }

    /// The image's configuration; empty where it is missing or damaged, as for a manifest list.
    pub(super) fn config(&self, image: &Listed) -> Rc<ImageConfig> {
        if let Some(config) = self.configs.borrow().get(&image.id) {
            return Rc::clone(config);
        }
        let key = format!("sha256:{}", image.id);
        let whole = self.table.whole(image).ok();
        let bytes = whole.and_then(|whole| self.store.image_data(&whole, &key).ok());
        let config: Rc<ImageConfig> = bytes.and_then(|bytes| ImageConfig::parse(&bytes).ok()).unwrap_or_default().into();
        self.configs.borrow_mut().insert(image.id.clone(), Rc::clone(&config));
        config
    }

    /// Whether the record holds a manifest list and no image.
    pub(super) fn is_list(&self, image: &Listed) -> Result<bool, CommandError> {
        if image.layer.is_some() {
            return Ok(false);
        }
        let keys = self.table.whole(image)?.big_data_names;
        Ok(keys.iter().any(|key| key == "manifest") && !keys.iter().any(|key| *key == format!("sha256:{}", image.id)))
    }

    /// The images that were made on top of `image`.
    pub(super) fn children(&self, image: &Listed) -> Result<Vec<&Listed>, CommandError> {
        let Some(top) = &image.layer else { return Ok(Vec::new()) };
        let stacks = self.stacks()?;
        let near = self.near.get_or_init(|| near(&self.images, stacks));
        let ids = near.get(top).into_iter().flatten().filter(|id| **id != image.id);
        let others = ids.filter_map(|id| self.get(id));
        Ok(others.filter(|other| continues(&self.config(image), &self.config(other))).collect())
    }

    /// The image that `image` was made from, if it is in the store.
    pub(super) fn parent(&self, image: &Listed) -> Result<Option<&Listed>, CommandError> {
        let mut best: Option<&Listed> = None;
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
    fn is_one_above(&self, image: &Listed, below: &LayerId) -> Result<bool, CommandError> {
        let Some(top) = &image.layer else { return Ok(false) };
        Ok(top == below || self.stacks()?.get(top).is_some_and(|stack| stack.parent.as_ref() == Some(below)))
    }

    /// Unnamed and nothing made on top of it: of use to nobody.
    pub(super) fn is_dangling(&self, image: &Listed) -> Result<bool, CommandError> {
        Ok(image.names.is_empty() && self.children(image)?.is_empty())
    }

    /// Unnamed, but others were made on top of it.
    pub(super) fn is_intermediate(&self, image: &Listed) -> Result<bool, CommandError> {
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

/// For each layer the images that end with it or with one directly upon it.
fn near(images: &[Listed], stacks: &HashMap<LayerId, Stack>) -> HashMap<LayerId, Vec<ImageId>> {
    let mut near: HashMap<LayerId, Vec<ImageId>> = HashMap::new();
    for image in images {
        let below = image.layer.as_ref().and_then(|top| stacks.get(top)?.parent.as_ref());
        for layer in image.layer.iter().chain(below) {
            near.entry(layer.clone()).or_default().push(image.id.clone());
        }
    }
    near
}

/// The layers on top of an image: its own, and copies of it with other owners.
fn tops(image: &Listed) -> impl Iterator<Item = &LayerId> + Clone {
    image.layer.iter().chain(&image.mapped_layers)
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
