//! A container with owners of its own (`--userns-uid-map`, `--userns auto`): whether it may have them, and what it is put upon (format,
//! section 9.3).

use std::path::Path;
use std::sync::Arc;

use containers_storage::archive::pack::{self, OnDisk, Output, Owners, Times, Tree};
use containers_storage::driver::Shift;
use containers_storage::id_map::{IdMap, IdRange};
use containers_storage::images::Image;
use containers_storage::store::Store;
use containers_storage::{LayerId, Root};

use super::{Error, IdMaps};
use crate::container::mounted::{self, Mounted};
use crate::userns::Shifter;

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
    let output = Output { copy: Some(&tree), ownership: store.ownership(), ..Output::default() };
    pack::pack(source.root(), &how, &mut |_| Ok(false), output).map_err(|source| Error::Copy { source: Box::new(source) })?;
    store.put_mapped_layer(&image.id, staged, (&maps.uid, &maps.gid), mode).map_err(Error::Create)
}

/// Refuses maps that reach ids which the namespace lacks: half of the files would be nobody's.
pub(super) fn require_ids(maps: &IdMaps) -> Result<(), Error> {
    for (map, path) in [(&maps.uid, "/proc/self/uid_map"), (&maps.gid, "/proc/self/gid_map")] {
        refuse_overlaps(map)?;
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

/// The kernel takes no map in which an id stands for two, or two for one.
fn refuse_overlaps(map: &IdMap) -> Result<(), Error> {
    let overlap = |(a, b): (u32, u32), size_a: u32, size_b: u32| {
        u64::from(a) < u64::from(b) + u64::from(size_b) && u64::from(b) < u64::from(a) + u64::from(size_a)
    };
    for (number, range) in map.0.iter().enumerate() {
        let clashes = |other: &IdRange| {
            overlap((range.container_id, other.container_id), range.size, other.size)
                || overlap((range.host_id, other.host_id), range.size, other.size)
        };
        if map.0.iter().take(number).any(clashes) {
            return Err(Error::Conflict(*range));
        }
    }
    Ok(())
}
