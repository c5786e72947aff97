//! What the tables say, against each other and against the directories.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::{Report, Tables};
use crate::containers::Container;
use crate::driver::{GraphDriver, Shape, Side};
use crate::freeze;
use crate::images::{Image, big_data_file};
use crate::layers::Layer;
use crate::store::{Error, Store};
use crate::{Digest, LayerId};

/// overlayfs takes no more lowers (format, section 2.3).
const MAX_DEPTH: usize = 500;
/// A layer that nothing refers to is a pull in progress for so long (as with the other tools).
const UNREFERENCED: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

pub(super) fn check(store: &Store, tables: &Tables, report: &mut Report) -> Result<(), Error> {
    let layers = tables.layers.all()?;
    let images = tables.images.all()?;
    let containers = tables.containers.all()?;
    let graph = Graph::new(store.driver()?, &layers);
    let referenced: HashSet<&LayerId> = images
        .iter()
        .flat_map(|image| image.layer.iter().chain(&image.mapped_layers))
        .chain(containers.iter().map(|container| &container.layer))
        .chain(layers.iter().filter_map(|layer| layer.parent.as_ref()))
        .collect();
    let moving = half_frozen(&graph, &layers, report);
    for layer in &layers {
        if layer.is_incomplete() {
            report.garbage(format!("layer {} is incomplete", layer.id));
            continue;
        }
        if moving.contains(&layer.id) {
            continue;
        }
        if !tables.layers.is_read_only(&layer.id) {
            check_layer(store, &graph, layer, report);
            if !referenced.contains(&layer.id) && is_old(&layer.created) {
                report.notice(format!("layer {} is used by nothing", layer.id));
            }
        }
    }
    for image in images.iter().filter(|image| !image.read_only) {
        let dir = store.image_dir(&tables.images, &image.id);
        check_image(&dir, &graph, image, report);
    }
    check_image_names(&images, report);
    check_containers(tables, &graph, &containers, report)
}

/// The layers whose freeze was interrupted, under both their IDs: one directory for the two records, which the next command that
/// changes the store gives to one of them.
fn half_frozen(graph: &Graph<'_>, layers: &[Layer], report: &mut Report) -> HashSet<LayerId> {
    let mut moving = HashSet::new();
    for layer in layers {
        let Some(own) = layer.flags.get(freeze::FLAG).and_then(|own| own.as_str()?.parse::<LayerId>().ok()) else { continue };
        if graph.driver.exists(&own) || graph.driver.exists(&layer.id) {
            report.garbage(format!("commit --rm of layer {own} was interrupted"));
            moving.extend([own, layer.id.clone()]);
        }
    }
    moving
}

/// Parents by layer.
struct Graph<'a> {
    driver: &'a dyn GraphDriver,
    layers: HashMap<&'a LayerId, &'a Layer>,
}

impl<'a> Graph<'a> {
    fn new(driver: &'a dyn GraphDriver, layers: &'a [Layer]) -> Self {
        Self { driver, layers: layers.iter().map(|layer| (&layer.id, layer)).collect() }
    }

    /// The layers below `layer`, nearest first; `Err` names the parent that is missing, or the layer that is its own ancestor.
    fn parents(&self, layer: &Layer) -> Result<Vec<&'a Layer>, String> {
        let mut chain = Vec::new();
        let mut next = layer.parent.as_ref();
        while let Some(id) = next {
            let parent = *self.layers.get(id).ok_or_else(|| format!("its parent {id} is missing"))?;
            if chain.len() >= self.layers.len() {
                return Err("it is its own ancestor".to_owned());
            }
            chain.push(parent);
            next = parent.parent.as_ref();
        }
        Ok(chain)
    }
}

fn check_layer(store: &Store, graph: &Graph<'_>, layer: &Layer, report: &mut Report) {
    let id = &layer.id;
    let parents = match graph.parents(layer) {
        Ok(parents) => parents,
        Err(problem) => return report.layer_damage(id, format_args!(": {problem}")),
    };
    if parents.len() > MAX_DEPTH {
        report.layer_damage(id, format_args!(" has {} layers below it, more than {MAX_DEPTH}", parents.len()));
    }
    let looked = graph.driver.diff_dir(id).map_err(std::io::Error::other).and_then(std::fs::metadata);
    match looked {
        // It belongs to other ids, and only their user namespace can look into it.
        Err(error) if !layer.uid_map.is_empty() && error.kind() == std::io::ErrorKind::PermissionDenied => return,
        _ => {}
    }
    if !looked.is_ok_and(|meta| meta.is_dir()) {
        return report.layer_damage(id, format_args!(" has no directory"));
    }
    if graph.driver.shape() == Shape::Diffs {
        check_stacking(graph, layer, &parents, report);
    }
    if layer.diff_digest.is_some() && !store.tar_split(id).is_file() {
        report.layer_damage(id, format_args!(" has no tar-split: it can't be copied out"));
    }
}

/// What the driver keeps of the layers below, against what the records say.
fn check_stacking(graph: &Graph<'_>, layer: &Layer, parents: &[&Layer], report: &mut Report) {
    let id = &layer.id;
    let side = graph.driver.side_of(id).unwrap_or(Side::Containers);
    if let Some(problem) = wrong_link(graph.driver.home(side), id) {
        report.layer_damage(id, format_args!(": {problem}"));
    }
    // A mapped copy lies upon its template, which its record does not say (format, section 9.3).
    let mapped = std::iter::once(layer).chain(parents.iter().copied()).any(|layer| !layer.uid_map.is_empty());
    match graph.driver.chain(id) {
        Err(error) => report.layer_damage(id, format_args!(": {error}")),
        Ok(chain) if !mapped && !chain.iter().eq(parents.iter().map(|parent| &parent.id)) => {
            report.layer_damage(id, format_args!(": its directory is stacked on other layers than its record says"));
        }
        Ok(_) => {}
    }
}

fn wrong_link(home: &Path, id: &LayerId) -> Option<String> {
    let Ok(link) = std::fs::read_to_string(home.join(id).join("link")) else {
        return Some("its link file is missing".to_owned());
    };
    if link.is_empty() || !link.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Some("its link file holds no link name".to_owned());
    }
    match std::fs::read_link(home.join("l").join(&link)) {
        Ok(target) if target == Path::new("..").join(id).join("diff") => None,
        Ok(_) => Some(format!("the link l/{link} leads to another layer")),
        Err(_) => Some(format!("the link l/{link} is missing")),
    }
}

fn is_old(created: &str) -> bool {
    let created = created.parse::<jiff::Timestamp>();
    created.is_ok_and(|created| jiff::Timestamp::now().duration_since(created) > UNREFERENCED)
}

fn check_image(dir: &Path, graph: &Graph<'_>, image: &Image, report: &mut Report) {
    let id = &image.id;
    for layer in image.layer.iter().chain(&image.mapped_layers) {
        if !graph.layers.contains_key(layer) {
            report.damage(format!("image {id}: its layer {layer} is missing"));
        }
    }
    for key in &image.big_data_names {
        if let Some(problem) = wrong_big_data(dir, image, key) {
            report.damage(format!("image {id}: {key}: {problem}"));
        }
    }
}

fn wrong_big_data(dir: &Path, image: &Image, key: &str) -> Option<String> {
    let Some(file) = big_data_file(key) else { return Some("this key can't be stored".to_owned()) };
    let bytes = match crate::table::read_limited(&dir.join(file), 1 << 30) {
        Ok(bytes) => bytes,
        Err(error) => return Some(error.to_string()),
    };
    let size = image.big_data_sizes.get(key).copied();
    if size != i64::try_from(bytes.len()).ok() {
        return Some(format!("it has {} bytes, not {}", bytes.len(), size.unwrap_or_default()));
    }
    let digest = image.big_data_digests.get(key)?;
    // The digest of a signed schema 1 manifest is over a part of the file (format, section 3.4).
    let signed = key.starts_with("manifest") && bytes.windows(12).any(|window| window == b"\"signatures\"");
    (digest.algorithm() == "sha256" && !signed && Digest::of(&bytes) != *digest).then(|| "its digest is another one".to_owned())
}

fn check_image_names(images: &[Image], report: &mut Report) {
    let mut owners = HashMap::new();
    for image in images.iter().filter(|image| !image.read_only) {
        for name in &image.names {
            if let Some(other) = owners.insert(name, &image.id) {
                report.damage(format!("the images {other} and {} have the same name {name:?}", image.id));
            }
        }
    }
}

fn check_containers(tables: &Tables, graph: &Graph<'_>, containers: &[Container], report: &mut Report) -> Result<(), Error> {
    let mut owners = HashMap::new();
    for container in containers {
        let id = &container.id;
        match graph.layers.get(&container.layer) {
            None => report.damage(format!("container {id}: its layer {} is missing", container.layer)),
            Some(layer) if layer.is_incomplete() => report.damage(format!("container {id}: its layer is incomplete")),
            Some(_) => {}
        }
        if let Some(image) = &container.image
            && tables.images.find(image)?.is_none()
        {
            report.damage(format!("container {id}: its image {image} is missing"));
        }
        for name in &container.names {
            if let Some(other) = owners.insert(name, id) {
                report.damage(format!("the containers {other} and {id} have the same name {name:?}"));
            }
        }
    }
    Ok(())
}
