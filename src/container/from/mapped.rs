//! A container with owners of its own (`--userns-uid-map`, `--userns auto`): which ids it gets, and the copy of its image's files that
//! belongs to them (format, section 9.3).

use std::path::Path;
use std::sync::Arc;

use containers_storage::archive::pack::{self, OnDisk, Output, Owners, Times, Tree};
use containers_storage::driver::Shift;
use containers_storage::id_map::{IdMap, IdRange};
use containers_storage::images::Image;
use containers_storage::store::Store;
use containers_storage::{LayerId, Root};

use super::{AutomaticMaps, Error, IdMaps};
use crate::container::mounted::{self, Mounted};
use crate::userns::Shifter;

/// Ids of a container that asks for no number of them, at least.
const USUAL_SIZE: u32 = 1024;

/// The first ids that no container has.
pub(super) fn automatic_maps(store: &Store, image: Option<&Image>, wanted: AutomaticMaps) -> Result<IdMaps, Error> {
    let size = match wanted.size {
        Some(size) => size,
        None => needed(store, image)?.max(USUAL_SIZE),
    };
    let mut taken = Vec::new();
    for container in store.containers().map_err(Error::Create)?.all().map_err(Error::Create)? {
        taken.extend(container.uid_map.iter().chain(&container.gid_map).map(|range| (range.host_id, range.size)));
    }
    let start = first_free(&mut taken, size).ok_or(Error::NoFreeIds { size })?;
    let map = IdMap(vec![IdRange { container_id: 0, host_id: start, size }]);
    Ok(IdMaps { uid: map.clone(), gid: map })
}

/// The ids that the image's files need: the largest that its layers list, and one more.
fn needed(store: &Store, image: Option<&Image>) -> Result<u32, Error> {
    let Some(top) = image.and_then(|image| image.layer.as_ref()) else { return Ok(0) };
    let layers = store.layers().map_err(Error::Create)?;
    let chain = layers.chain(top).map_err(Error::Create)?;
    let largest = chain.iter().flat_map(|layer| layer.uids.iter().chain(&layer.gids)).max();
    Ok(largest.map_or(0, |id| id.saturating_add(1)))
}

/// The first `size` ids above the caller's own that `taken` (start, length) leaves.
fn first_free(taken: &mut [(u32, u32)], size: u32) -> Option<u32> {
    taken.sort_unstable();
    let mut start = 1u32;
    for (first, length) in taken.iter() {
        if *first >= start.checked_add(size)? {
            break;
        }
        start = start.max(first.checked_add(*length)?);
    }
    start.checked_add(size).map(|_| start)
}

/// The layer that a container with these maps is put upon: the image's top layer, where mounts can show it with other owners, else a copy
/// of it that belongs to them, made if it is missing. Inside the user namespace of the store.
pub(super) fn layer_below(store: &Store, image: &Image, name: &str, maps: &IdMaps) -> Result<LayerId, Error> {
    let entered = |error: mounted::Error| Error::Namespace(Box::new(error));
    let Some(top) = &image.layer else { return Err(Error::NoLayers(name.to_owned())) };
    let driver = store.driver().map_err(|source| Error::Create(source.into()))?;
    let shift: Arc<dyn Shift> = Arc::new(Shifter::new(maps.clone()));
    if driver.can_shift(top, &shift) {
        return Ok(top.clone());
    }
    if let Some(layer) = store.mapped_layer(image, &maps.uid, &maps.gid).map_err(Error::Create)? {
        return Ok(layer);
    }
    let source = Mounted::read_only(store, top, name).map_err(entered)?;
    let mode = source.root().metadata(Path::new(".")).map_err(Error::CopyRoot)?.st_mode & 0o7777;
    let staged = store.stage_layer().map_err(Error::Create)?;
    let tree = Root::open(staged.tree()).map_err(Error::CopyRoot)?;
    let how = pack::Options {
        tree: Tree::Merged,
        times: Times::Keep,
        on_disk: OnDisk::Untouched,
        owner: Owners::Outside(maps.clone()),
        exclude: std::collections::HashSet::new(),
    };
    let output = Output { copy: Some(&tree), ..Output::default() };
    pack::pack(source.root(), &how, &mut |_| Ok(false), output).map_err(|source| Error::Copy { source: Box::new(source) })?;
    store.put_mapped_layer(&image.id, staged, (&maps.uid, &maps.gid), mode).map_err(Error::Create)
}

/// Refuses maps that reach ids which the namespace lacks: half of the files would be nobody's.
pub(super) fn require_ids(maps: &IdMaps) -> Result<(), Error> {
    for (map, path) in [(&maps.uid, "/proc/self/uid_map"), (&maps.gid, "/proc/self/gid_map")] {
        let own = IdMap::parse_proc(&std::fs::read_to_string(path).map_err(Error::CopyRoot)?);
        let has = |id: u32| own.to_host(id).is_some();
        for range in &map.0 {
            let last = range.host_id.saturating_add(range.size.saturating_sub(1));
            if !has(range.host_id) || !has(last) {
                return Err(Error::InsufficientIds { first: range.host_id, last });
            }
        }
        if map.to_host(0).is_none() {
            return Err(Error::NoRoot);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::first_free;

    #[test]
    fn the_first_gap_that_is_large_enough_is_taken() {
        assert_eq!(first_free(&mut [], 100), Some(1));
        assert_eq!(first_free(&mut [(1, 10)], 100), Some(11));
        assert_eq!(first_free(&mut [(200, 10), (1, 10)], 100), Some(11));
        assert_eq!(first_free(&mut [(50, 10), (1, 10)], 100), Some(60));
        assert_eq!(first_free(&mut [(1, 10), (5, 2)], 3), Some(11));
        assert_eq!(first_free(&mut [(1, u32::MAX)], 1), None);
    }
}
