//! The images of a store with what relates them: sizes, parents and children, the containers made from each.
//!
//! An image is the parent of another if it lies one layer below it, or on the same layer, and the other's history goes on
//! where its own ends. Such a question is answered from what is kept of configs (`lineages`), so that a list reads no file but the tables and
//! two memos.
//!
//! Invariant: an image keeps its place in the set when others are forgotten.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use containers_storage::containers::Container;
use containers_storage::images::{Images, Listed};
use containers_storage::layers::Stack;
use containers_storage::store::Store;
use containers_storage::{ContainerId, ImageId, LayerId};
use jiff::Timestamp;

use crate::image::{ImageConfig, Lineage};

use super::CommandError;
use super::lineages::Lineages;

/// All images of a store, in the order of its table.
#[derive(Debug)]
pub(super) struct ImageSet<'a> {
    store: &'a Store,
    table: Images,
    places: Vec<Place>,
    by_id: OnceCell<HashMap<ImageId, usize>>,
    stacks: OnceCell<HashMap<LayerId, Stack>>,
    /// Places of images by their top layer, and by the layer below that.
    near: OnceCell<HashMap<LayerId, Vec<usize>>>,
    containers: OnceCell<Vec<Container>>,
    configs: RefCell<HashMap<ImageId, Rc<ImageConfig>>>,
    lineages: OnceCell<RefCell<Lineages<'a>>>,
}

/// An image, and what is known of it.
#[derive(Debug)]
struct Place {
    image: Listed,
    is_gone: bool,
    lineage: OnceCell<Lineage>,
}

impl<'a> ImageSet<'a> {
    /// Reads the table of images.
    pub(super) fn read(store: &'a Store) -> Result<Self, CommandError> {
        let table = store.images()?;
        let place = |image| Place { image, is_gone: false, lineage: OnceCell::new() };
        Ok(Self {
            store,
            places: table.listed()?.into_iter().map(place).collect(),
            table,
            by_id: OnceCell::new(),
            stacks: OnceCell::new(),
            near: OnceCell::new(),
            containers: OnceCell::new(),
            configs: RefCell::default(),
            lineages: OnceCell::new(),
        })
    }

    /// Every image.
    pub(super) fn all(&self) -> impl Iterator<Item = &Listed> {
        self.places.iter().filter(|place| !place.is_gone).map(|place| &place.image)
    }

    /// The image with this ID.
    pub(super) fn get(&self, id: &ImageId) -> Option<&Listed> {
        self.place(id).and_then(|at| self.at(at))
    }

    fn place(&self, id: &ImageId) -> Option<usize> {
        let all = || self.places.iter().enumerate().rev().map(|(at, place)| (place.image.id.clone(), at)).collect();
        self.by_id.get_or_init(all).get(id).copied()
    }

    fn at(&self, at: usize) -> Option<&Listed> {
        self.places.get(at).filter(|place| !place.is_gone).map(|place| &place.image)
    }

    fn known(&mut self, id: &ImageId) -> Option<&mut Place> {
        let at = self.place(id)?;
        self.places.get_mut(at)
    }

    /// Takes up the names that an image has now.
    pub(super) fn rename(&mut self, id: &ImageId, names: Vec<String>) {
        if let Some(known) = self.known(id) {
            known.image.names = names;
        }
    }

    /// Forgets an image that was deleted.
    pub(super) fn forget(&mut self, id: &ImageId) {
        if let Some(known) = self.known(id) {
            known.is_gone = true;
        }
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
        let stacks = self.store.stacks(self.places.iter().map(|place| &place.image).flat_map(tops))?;
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
        let near = self.near(image)?.filter(|at| self.lineage_at(*at).continues(self.lineage(image)));
        Ok(near.filter_map(|at| self.at(at)).collect())
    }

    /// Whether there are any. The youngest are asked first: of a line of images on one layer they go on where all others end.
    fn has_children(&self, image: &Listed) -> Result<bool, CommandError> {
        Ok(self.near(image)?.rev().any(|at| self.lineage_at(at).continues(self.lineage(image))))
    }

    /// The places of the other images on the top layer of `image`, or one above it.
    fn near(&self, image: &Listed) -> Result<impl DoubleEndedIterator<Item = usize>, CommandError> {
        let near = match &image.layer {
            None => None,
            Some(top) => {
                let stacks = self.stacks()?;
                self.near.get_or_init(|| near(self.places.iter().map(|place| &place.image), stacks)).get(top)
            }
        };
        Ok(near.into_iter().flatten().copied().filter(|at| self.at(*at).is_some_and(|other| other.id != image.id)))
    }

    /// The image that `image` was made from, if it is in the store.
    pub(super) fn parent(&self, image: &Listed) -> Result<Option<&Listed>, CommandError> {
        let mut best: Option<&Listed> = None;
        for other in self.all().filter(|other| other.id != image.id) {
            let Some(top) = &other.layer else { continue };
            if !self.is_one_above(image, top)? || !self.lineage(image).continues(self.lineage(other)) {
                continue;
            }
            // On one layer a whole line of images may lie: the parent is the one with the longest history.
            if best.is_none_or(|best| self.lineage(best).steps() < self.lineage(other).steps()) {
                best = Some(other);
            }
        }
        Ok(best)
    }

    fn lineage(&self, image: &Listed) -> &Lineage {
        const UNKNOWN: &Lineage = &Lineage::new();
        self.place(&image.id).map_or(UNKNOWN, |at| self.lineage_at(at))
    }

    /// Where the image at a place comes from: nowhere if its config is missing or damaged.
    fn lineage_at(&self, at: usize) -> &Lineage {
        let place = &self.places[at];
        place.lineage.get_or_init(|| {
            let lineages = self.lineages.get_or_init(|| Lineages::read(self.store).into());
            lineages.borrow_mut().of(&place.image.id).unwrap_or_default()
        })
    }

    /// Whether the top layer of `image` is `below` or lies directly on it.
    fn is_one_above(&self, image: &Listed, below: &LayerId) -> Result<bool, CommandError> {
        let Some(top) = &image.layer else { return Ok(false) };
        Ok(top == below || self.stacks()?.get(top).is_some_and(|stack| stack.parent.as_ref() == Some(below)))
    }

    /// Unnamed and nothing made on top of it: of use to nobody.
    pub(super) fn is_dangling(&self, image: &Listed) -> Result<bool, CommandError> {
        Ok(image.names.is_empty() && !self.has_children(image)?)
    }

    /// Unnamed, but others were made on top of it.
    pub(super) fn is_intermediate(&self, image: &Listed) -> Result<bool, CommandError> {
        Ok(image.names.is_empty() && self.has_children(image)?)
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

impl Drop for ImageSet<'_> {
    fn drop(&mut self) {
        if let Some(lineages) = self.lineages.take() {
            lineages.into_inner().keep(|id| self.get(id).is_some());
        }
    }
}

/// For each layer the places of the images that end with it or with one directly upon it.
fn near<'i>(images: impl Iterator<Item = &'i Listed>, stacks: &HashMap<LayerId, Stack>) -> HashMap<LayerId, Vec<usize>> {
    let mut near: HashMap<LayerId, Vec<usize>> = HashMap::new();
    for (at, image) in images.enumerate() {
        let below = image.layer.as_ref().and_then(|top| stacks.get(top)?.parent.as_ref());
        for layer in image.layer.iter().chain(below) {
            near.entry(layer.clone()).or_default().push(at);
        }
    }
    near
}

/// The layers on top of an image: its own, and copies of it with other owners.
fn tops(image: &Listed) -> impl Iterator<Item = &LayerId> + Clone {
    image.layer.iter().chain(&image.mapped_layers)
}
