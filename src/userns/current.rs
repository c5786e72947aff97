//! What the process is: real root, an ordinary user, or root of somebody's user namespace.

use std::path::PathBuf;

use caps::{CapSet, Capability};
use containers_storage::id_map::in_initial_namespace;

use super::error::Error;

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What the process is, before `enter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Root of the initial user namespace, with all it needs.
    RealRoot,
    /// Root of a user namespace that was made before, by us or by somebody else, with CAP_SYS_ADMIN in it.
    Inside,
    /// An ordinary user, or root that lacks CAP_SYS_ADMIN (an ordinary container): a namespace is needed for mounts and owners.
    Outside,
}

/// What the process is now.
pub fn current() -> State {
    // Capabilities are those of the process's own namespace, so this answers for real root and for root inside alike.
    let admin = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false);
    if !admin || !rustix::process::geteuid().is_root() {
        return State::Outside;
    }
    let configured = std::env::var_os("_CONTAINERS_USERNS_CONFIGURED").is_some_and(|value| !value.is_empty());
    if configured || !in_initial_namespace() { State::Inside } else { State::RealRoot }
}

/// Whether the store is that of an unprivileged user in the sense of the shared format: overlay uses `userxattr` and
/// `user.overlay.*` then (containers/storage `unshare`, format reference 10.1). Root of any child namespace counts.
pub fn is_rootless() -> bool {
    !matches!(current(), State::RealRoot) || outer_variable("_CONTAINERS_ROOTLESS_UID").is_some_and(|uid| uid != 0)
}

/// Whether the process can give files one owner only: its namespace maps one user id, or it could enter none and is not root.
pub fn has_single_id() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().count() == 1 && map.split_whitespace().nth(2) == Some("1")
}

/// The ids of the person for whom the store is chosen: what `_CONTAINERS_ROOTLESS_UID` and `_GID` say, else the real ids. Root of
/// somebody's container is root here, whoever that is outside.
pub(super) fn declared_ids() -> Ids {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Ids {
        uid: outer_variable("_CONTAINERS_ROOTLESS_UID").unwrap_or(uid),
        gid: outer_variable("_CONTAINERS_ROOTLESS_GID").unwrap_or(gid),
    }
}

/// The ids of the person who runs us, as seen outside: what `_CONTAINERS_ROOTLESS_UID` and `_GID` say, else what the maps of
/// the namespace say about 0, else the real ids.
pub fn outer_ids() -> Result<Ids, Error> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let uid = match outer_variable("_CONTAINERS_ROOTLESS_UID") {
        Some(outer) => outer,
        None => outside_of(uid, "/proc/self/uid_map")?,
    };
    let gid = match outer_variable("_CONTAINERS_ROOTLESS_GID") {
        Some(outer) => outer,
        None => outside_of(gid, "/proc/self/gid_map")?,
    };
    Ok(Ids { uid, gid })
}

/// What a child that is started inside must find in its environment, so that it and its children know where they are.
pub fn child_environment(outer: Ids) -> [(&'static str, String); 3] {
    [
        ("_CONTAINERS_USERNS_CONFIGURED", "done".to_owned()),
        ("_CONTAINERS_ROOTLESS_UID", outer.uid.to_string()),
        ("_CONTAINERS_ROOTLESS_GID", outer.gid.to_string()),
    ]
}

fn outer_variable(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

fn outside_of(id: u32, path: &'static str) -> Result<u32, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: PathBuf::from(path), source })?;
    Ok(map_to_outside(id, &text).unwrap_or(id))
}

fn map_to_outside(id: u32, map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, outside, length) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = id.checked_sub(inside)?;
        if offset < length { outside.checked_add(offset) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::map_to_outside;

    #[test]
    fn ids_are_mapped_by_the_line_that_holds_them() {
        let map = "         0       1001          1\n         1     100000      65536\n";
        let cases = [(0, Some(1001)), (1, Some(100_000)), (65_536, Some(165_535)), (65_537, None)];
        for (inside, outside) in cases {
            assert_eq!(map_to_outside(inside, map), outside, "{inside}");
        }
        assert_eq!(map_to_outside(5, "0 0 4294967295\n"), Some(5));
        assert_eq!(map_to_outside(5, "x y\n\n"), None);
    }
}
