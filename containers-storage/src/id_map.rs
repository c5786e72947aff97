//! Id maps of a user namespace or a layer, and the test whether this process counts as rootless.
//!
//! Invariant: a look-up outside every range has no answer; it is never passed through unchanged. "Host" means the ids of the
//! namespace this process runs in (format section 9.1).
//!
//! Must not: write maps or enter a namespace; that is the program's part.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// One range of a map, as layers.json and containers.json spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// Number of ids.
    pub size: u32,
}

/// A list of ranges. An empty map means: no shift at all, ids are the same on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdMap(pub Vec<IdRange>);

impl IdMap {
    /// No shift.
    pub fn identity() -> Self {
        Self(Vec::new())
    }

    /// Whether ids are the same on both sides.
    pub fn is_identity(&self) -> bool {
        self.0.iter().all(|range| range.container_id == range.host_id)
    }

    /// The id outside that stands for `id` inside; `None` if no range covers it.
    pub fn to_host(&self, id: u32) -> Option<u32> {
        if self.0.is_empty() {
            return Some(id);
        }
        self.0.iter().find_map(|range| shift(id, range.container_id, range.host_id, range.size))
    }

    /// The id inside that `id` outside stands for; `None` if no range covers it.
    pub fn to_container(&self, id: u32) -> Option<u32> {
        if self.0.is_empty() {
            return Some(id);
        }
        self.0.iter().find_map(|range| shift(id, range.host_id, range.container_id, range.size))
    }

    /// The owner of a layer's directories: the host id of 0, or the only id if the map is one range of size 1 (format 9.1).
    pub fn root(&self) -> Option<u32> {
        match self.0.as_slice() {
            [only] if only.size == 1 => Some(only.host_id),
            _ => self.to_host(0),
        }
    }

    /// Parses `/proc/<pid>/uid_map`: three decimal columns a line. Lines that are not so are left out.
    pub fn parse_proc(text: &str) -> Self {
        let range = |line: &str| {
            let mut columns = line.split_ascii_whitespace().map(|word| word.parse().ok());
            Some(IdRange { container_id: columns.next()??, host_id: columns.next()??, size: columns.next()?? })
        };
        Self(text.lines().filter_map(range).collect())
    }
}

/// The maps of users and of groups together: from ids inside to those on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMaps {
    /// Users.
    pub uid: IdMap,
    /// Groups.
    pub gid: IdMap,
}

impl IdMaps {
    /// All ids of this process's namespace, each onto itself. Reads two small files of `/proc`.
    pub fn of_this_process() -> io::Result<Self> {
        let own = |path: &str| -> io::Result<IdMap> {
            let map = IdMap::parse_proc(&fs::read_to_string(path)?);
            let range = |range: &IdRange| IdRange { host_id: range.container_id, ..*range };
            Ok(IdMap(map.0.iter().map(range).collect()))
        };
        Ok(Self { uid: own("/proc/self/uid_map")?, gid: own("/proc/self/gid_map")? })
    }

    /// Whether ids are the same on both sides.
    pub fn is_identity(&self) -> bool {
        self.uid.is_identity() && self.gid.is_identity()
    }

    /// The ids on disk that stand for these inside, if there are any.
    pub fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((self.uid.to_host(uid)?, self.gid.to_host(gid)?))
    }

    /// The same, for making a file: ids that stand for none are an error that names them.
    pub fn owner_on_disk(&self, uid: u32, gid: u32) -> io::Result<(u32, u32)> {
        let missing = || {
            let text = format!("the owner {uid}:{gid} is not among the ids of the container");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        self.outside(uid, gid).ok_or_else(missing)
    }

    /// The ids inside that these on disk stand for. What belongs to root on disk, as all that the tools themselves make, belongs to
    /// root inside, whatever the maps say.
    pub fn inside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let inside = |map: &IdMap, id: u32| map.to_container(id).or((id == 0).then_some(0));
        Some((inside(&self.uid, uid)?, inside(&self.gid, gid)?))
    }
}

fn shift(id: u32, from: u32, to: u32, size: u32) -> Option<u32> {
    let offset = id.checked_sub(from)?;
    if offset < size { to.checked_add(offset) } else { None }
}

/// Whether this process counts as rootless by the rule that all tools share (format section 10.1). It decides between
/// `user.overlay.*` and `trusted.overlay.*`: root inside any child user namespace counts as rootless.
///
/// Looks at three small files of `/proc`; one that cannot be read counts as "rootless", the weaker privilege.
pub fn is_rootless() -> bool {
    if !rustix::process::geteuid().is_root() || outer_uid_from_env().is_some_and(|uid| uid != 0) {
        return true;
    }
    if std::env::var_os("_CONTAINERS_USERNS_CONFIGURED").is_some_and(|value| !value.is_empty()) {
        return true;
    }
    !in_initial_namespace() || !has_sys_admin()
}

/// Whether this process is in no user namespace but the machine's own.
///
/// That one maps everything onto itself (user_namespaces(7)), but so does the one that root of an ordinary container makes for itself;
/// the number tells them apart. A map that cannot be read proves nothing; without a number the map is all there is.
pub fn in_initial_namespace() -> bool {
    /// `PROC_USER_INIT_INO` of the kernel's linux/proc_ns.h, the same since Linux 3.8.
    const INITIAL: u64 = 0xEFFF_FFFD;
    let whole = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    whole && fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == INITIAL)
}

/// The uid outside of the namespace that a tool of this family entered (`_CONTAINERS_ROOTLESS_UID`).
pub fn outer_uid_from_env() -> Option<u32> {
    std::env::var("_CONTAINERS_ROOTLESS_UID").ok()?.parse().ok()
}

/// CAP_SYS_ADMIN (bit 21) in the effective set.
fn has_sys_admin() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return false;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|caps| caps & (1 << 21) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootless_map() -> IdMap {
        IdMap::parse_proc("         0       1001          1\n         1     100000      65536\n")
    }

    #[test]
    fn maps_both_ways_and_refuses_what_no_range_covers() {
        let map = rootless_map();
        for (inside, outside) in [(0, 1001), (1, 100000), (33, 100032), (65536, 165535)] {
            assert_eq!(map.to_host(inside), Some(outside));
            assert_eq!(map.to_container(outside), Some(inside));
        }
        assert_eq!(map.to_host(65537), None);
        assert_eq!(map.to_container(1000), None);
        assert_eq!(map.to_container(0), None);
    }

    #[test]
    fn a_range_at_the_end_of_the_numbers_does_not_wrap() {
        let map = IdMap(vec![IdRange { container_id: 0, host_id: u32::MAX - 1, size: 10 }]);
        assert_eq!(map.to_host(1), Some(u32::MAX));
        assert_eq!(map.to_host(2), None);
    }

    #[test]
    fn the_root_of_a_single_id_map_is_that_id() {
        assert_eq!(IdMap(vec![IdRange { container_id: 5, host_id: 1000, size: 1 }]).root(), Some(1000));
        assert_eq!(rootless_map().root(), Some(1001));
        assert_eq!(IdMap::identity().root(), Some(0));
    }

    #[test]
    fn empty_map_is_the_identity() {
        assert!(IdMap::identity().is_identity());
        assert_eq!(IdMap::identity().to_host(7), Some(7));
        assert!(!rootless_map().is_identity());
    }
}
