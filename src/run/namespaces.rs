//! `--ipc --pid --uts --cgroupns --network`: which namespaces the process is in.

use std::path::PathBuf;

pub use containers_storage::id_map::IdMaps;

use super::network;

/// The choice per kind. The mount namespace is always new.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// System V and POSIX queues, `/dev/shm`.
    pub ipc: Namespace,
    /// Processes. With `Host` (or `Path`) the caller must expect to see and be seen by others.
    pub pid: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// Control groups.
    pub cgroup: Namespace,
    /// Users and groups.
    pub user: User,
    /// Network devices, addresses, abstract sockets.
    pub network: network::Mode,
    /// Which programs serve a private network, and how.
    pub network_programs: network::Settings,
}

/// The user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum User {
    /// The caller's.
    #[default]
    Same,
    /// A new one with all ids of the caller's, as they are.
    New,
    /// A new one with these ids, which own the container's files.
    Mapped(IdMaps),
    /// The one that this file stands for; it has these ids, which own the container's files.
    Joined(PathBuf, IdMaps),
}

impl User {
    /// The ids outside that own what `uid` and `gid` own inside.
    pub fn owner(&self, uid: u32, gid: u32) -> Result<(u32, u32), String> {
        match self {
            Self::Same | Self::New => Ok((uid, gid)),
            Self::Mapped(maps) | Self::Joined(_, maps) => {
                maps.outside(uid, gid).ok_or_else(|| format!("{uid}:{gid} is not among the ids of the container"))
            }
        }
    }
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Namespace {
    /// A new one.
    #[default]
    Private,
    /// The caller's.
    Host,
    /// The one that this file stands for (`/proc/PID/ns/X`, a bind mount of it).
    Path(PathBuf),
}

impl Namespace {
    /// Parses the value of `--ipc`, `--pid`, `--uts`, `--cgroupns`: empty, `private` or `container`, `host`, `ns:PATH`, or an
    /// absolute path. `flag` is named in errors.
    pub fn parse(flag: &str, value: &str) -> Result<Self, String> {
        match value {
            "" | "private" | "container" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            other => {
                let path = other.strip_prefix("ns:").unwrap_or(other);
                if path.starts_with('/') && !path.contains('\0') {
                    Ok(Self::Path(PathBuf::from(path)))
                } else {
                    let kind = flag.strip_suffix("ns").unwrap_or(flag);
                    Err(format!("checking {kind} namespace: stat {other}: no such file or directory"))
                }
            }
        }
    }
}
