//! `--userns auto` and `keep-id`: maps that are made from the ids there are, those that other containers have, and what the image needs.
//! As containers/storage does it (`userns.go`), since its containers and ours share the ids.
//!
//! ```text
//!  wanted inside    0 .. size           minus what `uidmapping=` maps
//!  free outside     all subordinate ids minus those of other containers, minus those of `uidmapping=`
//!  map              the first free ones, in order, then `uidmapping=`
//! ```
//!
//! Must not: lock; the caller holds `userns.lock` from before the look at the other containers until its own is recorded.

use std::path::Path;

use containers_storage::Root;
use containers_storage::conf::AutoUserNamespace;
use containers_storage::id_map::{IdMap, IdMaps, IdRange};
use containers_storage::images::Image;
use containers_storage::store::Store;

use super::{AutomaticMaps, Error, KeptId};
use crate::container::mounted::Mounted;
use crate::userns::{self, Ids, subid};

/// More of an image's `/etc/passwd` is not read (known attack A12).
const FILE_LIMIT: u64 = 1 << 20;
/// The id of nobody, which would make every namespace 65,535 ids large.
const NOBODY: u32 = 65534;

/// Ids as ranges, first and end, in their order and without overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct IdSet(Vec<(u64, u64)>);

impl IdSet {
    fn new(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let ends = |(first, size): (u32, u32)| (u64::from(first), u64::from(first) + u64::from(size));
        let mut all: Vec<(u64, u64)> = ranges.into_iter().map(ends).filter(|(first, end)| first < end).collect();
        all.sort_unstable();
        let mut set: Vec<(u64, u64)> = Vec::new();
        for (first, end) in all {
            match set.last_mut() {
                Some(last) if first <= last.1 => last.1 = last.1.max(end),
                _ => set.push((first, end)),
            }
        }
        Self(set)
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|(first, end)| end - first).sum()
    }

    fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &(start, end) in &self.0 {
            let mut first = start;
            for &(taken, free) in other.0.iter().filter(|(taken, free)| *taken < end && *free > start) {
                if taken > first {
                    left.push((first, taken));
                }
                first = first.max(free);
            }
            if first < end {
                left.push((first, end));
            }
        }
        Self(left)
    }

    /// The first of these ids, in order, as the ones outside for those of `inside`; `None` if there are too few.
    fn serve(&self, inside: &Self) -> Option<Vec<IdRange>> {
        let (mut map, mut ours) = (Vec::new(), self.0.iter().copied());
        let mut have = (0, 0);
        for &(mut first, end) in &inside.0 {
            while first < end {
                if have.0 == have.1 {
                    have = ours.next()?;
                }
                let size = (end - first).min(have.1 - have.0);
                let range = (u32::try_from(first), u32::try_from(have.0), u32::try_from(size));
                let (Ok(container_id), Ok(host_id), Ok(size_of_range)) = range else { return None };
                map.push(IdRange { container_id, host_id, size: size_of_range });
                first += size;
                have.0 += size;
            }
        }
        Some(map)
    }
}

/// The ids that `wanted` comes to. Inside the user namespace of the store.
pub(super) fn maps(store: &Store, image: Option<&Image>, wanted: &AutomaticMaps) -> Result<IdMaps, Error> {
    let settings = &store.conf().auto_userns;
    let size = match wanted.size {
        0 => needed(store, image, settings)?,
        size => size,
    };
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for container in store.containers().map_err(Error::Create)?.all().map_err(Error::Create)? {
        users.extend(container.uid_map);
        groups.extend(container.gid_map);
    }
    let one = |available: IdSet, taken: &[IdRange], more: &[IdRange]| -> Result<IdMap, Error> {
        let inside = IdSet::new([(0, size)]).without(&IdSet::new(more.iter().map(|range| (range.container_id, range.size))));
        let taken = IdSet::new(taken.iter().chain(more).map(|range| (range.host_id, range.size)));
        let free = available.without(&taken);
        let missing = Error::NoFreeIds { size, free: free.len() };
        let mut map = free.serve(&inside).ok_or(missing)?;
        map.extend_from_slice(more);
        Ok(IdMap(map))
    };
    let (all_users, all_groups) = available(settings)?;
    Ok(IdMaps { uid: one(all_users, &users, &wanted.uid_map)?, gid: one(all_groups, &groups, &wanted.gid_map)? })
}

/// The ids that containers can be given: for real root those of a user that is there for it, else all of the namespace but the caller's.
fn available(settings: &AutoUserNamespace) -> Result<(IdSet, IdSet), Error> {
    if userns::current() != userns::State::RealRoot {
        let rest =
            |map: IdMap| IdSet::new(map.0.iter().map(|range| (range.host_id, range.size))).without(&IdSet::new([(0, 1)]));
        let all = IdMaps::of_this_process().map_err(Error::CopyRoot)?;
        return Ok((rest(all.uid), rest(all.gid)));
    }
    let user = &settings.root_user;
    let ranges = |path: &'static str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let ranges = subid::ranges_of(&text, user);
        let missing = || Error::NoAutomaticIds { user: user.clone(), path };
        if ranges.is_empty() { Err(missing()) } else { Ok(IdSet::new(ranges.iter().map(|range| (range.start, range.length)))) }
    };
    Ok((ranges("/etc/subuid")?, ranges("/etc/subgid")?))
}

/// As many ids as the image needs by the owners that its layers list and the users that it has.
fn needed(store: &Store, image: Option<&Image>, settings: &AutoUserNamespace) -> Result<u32, Error> {
    let mut size = settings.min_size.max(1);
    if let Some(top) = image.and_then(|image| image.layer.as_ref()) {
        let chain = store.layers().and_then(|layers| layers.chain(top)).map_err(Error::Create)?;
        let owners = chain.iter().flat_map(|layer| layer.uids.iter().chain(&layer.gids));
        size = size.max(owners.max().map_or(0, |id| id.saturating_add(1)));
        let mounted = Mounted::read_only(store, top, "").map_err(|error| Error::Namespace(Box::new(error)))?;
        size = size.max(of_names(mounted.root()));
    }
    if settings.max_size > 0 && size > settings.max_size {
        return Err(Error::TooManyIds { size, most: settings.max_size });
    }
    Ok(size)
}

/// What `/etc/passwd` and `/etc/group` need. What cannot be read needs nothing.
fn of_names(root: &Root) -> u32 {
    let read = |path: &str| root.read_file(Path::new(path), FILE_LIMIT).unwrap_or_default();
    let users = largest(&read("/etc/passwd"), &[2, 3]);
    let groups = largest(&read("/etc/group"), &[2]);
    users.max(groups).map_or(0, |id| id.saturating_add(1))
}

fn largest(file: &[u8], columns: &[usize]) -> Option<u32> {
    let text = String::from_utf8_lossy(file);
    let lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = lines.filter(|fields| !matches!(fields.first(), Some(&"nobody" | &"nogroup")));
    let ids = named.flat_map(|fields| columns.iter().filter_map(|at| fields.get(*at)?.parse::<u32>().ok()).collect::<Vec<_>>());
    ids.filter(|id| *id != NOBODY).max()
}

/// The maps of `keep-id`: the caller, who is 0 in the namespace of the store, is `kept` inside, and everybody else is in order.
pub(super) fn keep(kept: KeptId, outer: Ids) -> Result<IdMaps, Error> {
    if userns::current() == userns::State::RealRoot {
        return Err(Error::KeepIdOfRoot);
    }
    let all = IdMaps::of_this_process().map_err(Error::CopyRoot)?;
    let size = |map: &IdMap| map.0.iter().map(|range| range.size).fold(0, u32::saturating_add);
    Ok(IdMaps {
        uid: keeping(kept.uid.unwrap_or(outer.uid), size(&all.uid)),
        gid: keeping(kept.gid.unwrap_or(outer.gid), size(&all.gid)),
    })
}

/// `id` for 0 of `size` ids; those before and after it for the others.
fn keeping(id: u32, size: u32) -> IdMap {
    let others = size.saturating_sub(1);
    let before = id.min(others);
    let after = others - before;
    let ranges = [(0, 1, before), (id, 0, 1), (id.saturating_add(1), before.saturating_add(1), after)];
    let ranges = ranges.into_iter().filter(|(_, _, size)| *size > 0);
    IdMap(ranges.map(|(container_id, host_id, size)| IdRange { container_id, host_id, size }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u32, u32)]) -> IdSet {
        IdSet::new(ranges.iter().copied())
    }

    fn ids(container_id: u32, host_id: u32, size: u32) -> IdRange {
        IdRange { container_id, host_id, size }
    }

    #[test]
    fn sets_are_merged_and_taken_from_each_other() {
        assert_eq!(set(&[(5, 5), (0, 2), (7, 10), (3, 0)]).0, [(0, 2), (5, 17)]);
        assert_eq!(set(&[(0, 100)]).without(&set(&[(0, 10), (20, 5), (90, 50)])).0, [(10, 20), (25, 90)]);
        assert_eq!(set(&[(0, 10)]).without(&set(&[(0, 10)])), IdSet::default());
        assert_eq!(set(&[(u32::MAX, u32::MAX)]).len(), u64::from(u32::MAX));
    }

    #[test]
    fn free_ids_are_given_out_in_order_across_gaps() {
        let free = set(&[(1, 10), (100, 5)]);
        assert_eq!(free.serve(&set(&[(0, 4)])), Some(vec![ids(0, 1, 4)]));
        assert_eq!(free.serve(&set(&[(0, 12)])), Some(vec![ids(0, 1, 10), ids(10, 100, 2)]));
        assert_eq!(free.serve(&set(&[(0, 2), (7, 3)])), Some(vec![ids(0, 1, 2), ids(7, 3, 3)]));
        assert_eq!(free.serve(&set(&[(0, 16)])), None);
        assert_eq!(set(&[(u32::MAX, u32::MAX)]).serve(&set(&[(0, 5)])).map(|map| map.len()), Some(1));
    }

    #[test]
    fn names_need_their_ids_and_nobody_none() {
        let passwd =
            b"root:x:0:0::/:\nnobody:x:65534:65534::/:\nann:x:1000:1001::/:\nodd:x:70000\nbad:x:-1:x\n\xff:x:65534:3\n";
        assert_eq!(largest(passwd, &[2, 3]), Some(70_000));
        assert_eq!(largest(b"", &[2]), None);
        assert_eq!(largest(b"nogroup:x:90000:\nusers:x:100:\n", &[2]), Some(100));
    }

    #[test]
    fn the_kept_id_is_the_callers_and_the_others_are_around_it() {
        assert_eq!(keeping(1000, 65_537).0, [ids(0, 1, 1000), ids(1000, 0, 1), ids(1001, 1001, 64_536)]);
        assert_eq!(keeping(0, 10).0, [ids(0, 0, 1), ids(1, 1, 9)]);
        assert_eq!(keeping(5000, 10).0, [ids(0, 1, 9), ids(5000, 0, 1)]);
        assert_eq!(keeping(7, 1).0, [ids(7, 0, 1)]);
    }
}
