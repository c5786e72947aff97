//! `idmap`: whose the files of a volume look. Pure.
//!
//! ```text
//! idmap                                          as on disk, inside: the container's own maps
//! idmap=uids=FROM-TO-LENGTH[#…];gids=…           an id on disk, and the one outside of the container that it looks like
//! idmap=uids=@FROM-TO-LENGTH[#…]                 … and the one inside
//! ```

use containers_storage::id_map::{IdMap, IdMaps, IdRange};

/// The value of the option.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeMaps {
    users: Option<Vec<Range>>,
    groups: Option<Vec<Range>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    ids: IdRange,
    /// Whether `host_id` is an id inside the container.
    is_relative: bool,
}

impl VolumeMaps {
    /// Parses what follows `idmap`: nothing, or `=…`.
    pub(super) fn parse(value: Option<&str>) -> Result<Self, String> {
        let mut maps = Self::default();
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(maps) };
        for part in value.split(';') {
            let (list, words) = match part.split_once('=') {
                Some(("uids", words)) => (&mut maps.users, words),
                Some(("gids", words)) => (&mut maps.groups, words),
                _ => return Err(format!("idmap: unknown option {part:?}: there are uids= and gids=")),
            };
            if list.is_some() {
                return Err(format!("idmap: {part:?}: this list is given twice"));
            }
            *list = Some(words.split('#').map(range).collect::<Result<_, _>>()?);
        }
        Ok(maps)
    }

    /// The maps for a mount: from ids on disk to those that they look like outside of a container with these maps; `None` is one without
    /// ids of its own.
    pub(in crate::run) fn resolve(&self, container: Option<&IdMaps>) -> Result<IdMaps, String> {
        if container.is_none() && self.users.is_none() && self.groups.is_none() {
            let text = "idmap: the container has no ids of its own that the files could get";
            return Err(format!("{text}: make it with --userns, or say which ones, as in idmap=uids=0-1000-1;gids=0-1000-1"));
        }
        let same = IdMaps::default();
        let container = container.unwrap_or(&same);
        Ok(IdMaps { uid: one(self.users.as_deref(), &container.uid)?, gid: one(self.groups.as_deref(), &container.gid)? })
    }
}

/// A list that is not given is the container's own; in one that has none, ids stay what they are.
fn one(ranges: Option<&[Range]>, container: &IdMap) -> Result<IdMap, String> {
    let Some(ranges) = ranges else {
        // The largest id is none (user_namespaces(7)).
        let all = IdRange { container_id: 0, host_id: 0, size: u32::MAX };
        return Ok(if container.0.is_empty() { IdMap(vec![all]) } else { container.clone() });
    };
    let outside = |range: &Range| {
        let IdRange { host_id, size, .. } = range.ids;
        if !range.is_relative {
            return Ok(range.ids);
        }
        let missing = || format!("idmap: the ids from {host_id} on, {size} of them, are not one range of the container's");
        let first = container.to_host(host_id).ok_or_else(missing)?;
        let last = container.to_host(host_id.saturating_add(size - 1)).ok_or_else(missing)?;
        if last.checked_sub(first) != Some(size - 1) {
            return Err(missing());
        }
        Ok(IdRange { host_id: first, ..range.ids })
    };
    ranges.iter().map(outside).collect::<Result<_, _>>().map(IdMap)
}

/// `[@]FROM-TO-LENGTH`
fn range(word: &str) -> Result<Range, String> {
    let malformed = || format!("idmap: {word:?} is not FROM-TO-LENGTH");
    let is_relative = word.starts_with('@');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let numbers: Vec<Option<u32>> = word.trim_start_matches('@').split('-').map(digits).collect();
    let &[Some(container_id), Some(host_id), Some(size)] = numbers.as_slice() else { return Err(malformed()) };
    if size == 0 || container_id.checked_add(size).is_none() || host_id.checked_add(size).is_none() {
        return Err(malformed());
    }
    Ok(Range { ids: IdRange { container_id, host_id, size }, is_relative })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(container_id: u32, host_id: u32, size: u32) -> IdRange {
        IdRange { container_id, host_id, size }
    }

    fn resolved(value: &str, container: Option<&IdMaps>) -> Result<IdMaps, String> {
        VolumeMaps::parse(Some(value)).and_then(|maps| maps.resolve(container))
    }

    #[test]
    fn lists_become_maps() {
        let maps = resolved("uids=0-1-10#10-11-10;gids=0-100-10", None).unwrap();
        assert_eq!(maps.uid.0, [ids(0, 1, 10), ids(10, 11, 10)]);
        assert_eq!(maps.gid.0, [ids(0, 100, 10)]);
        assert_eq!(resolved("uids=0-5-1", None).unwrap().gid.0, [ids(0, 0, u32::MAX)], "groups stay");
    }

    #[test]
    fn the_containers_own_maps_are_the_default_and_what_relative_ids_are_in() {
        let map = IdMap(vec![ids(0, 1000, 1), ids(1, 2000, 100)]);
        let container = IdMaps { uid: map.clone(), gid: map.clone() };
        assert_eq!(resolved("", Some(&container)).unwrap(), container);
        assert_eq!(resolved("uids=@1000-0-1#@5-3-10", Some(&container)).unwrap().uid.0, [ids(1000, 1000, 1), ids(5, 2002, 10)]);
        for across in ["uids=@0-0-2", "uids=@0-100-2", "uids=@0-200-1"] {
            assert!(resolved(across, Some(&container)).is_err(), "{across}");
        }
        assert!(resolved("", None).unwrap_err().contains("no ids of its own"));
    }

    #[test]
    fn wrong_lists_are_refused() {
        let wrong = ["x", "uids", "uids=", "uids=1-2", "uids=0-1-0", "uids=0--1-1", "uids=0-1-1-1", "uids=0-1-1;uids=0-1-1"];
        for text in wrong.into_iter().chain(["uids=0-4294967295-2", "gids=a-b-c", "uids=+0-1-1", "uids=0-1-1;foo=1"]) {
            assert!(VolumeMaps::parse(Some(text)).is_err(), "{text}");
        }
    }
}
