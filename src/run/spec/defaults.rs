//! What every container gets: mounts, hidden paths, limits (as Buildah's, `run` environment).

use std::path::Path;

use oci_spec::runtime::{Mount, MountBuilder};

use crate::run::namespaces::Namespace;
use crate::run::network::Connection;
use crate::run::spec::Facts;
use crate::run::{Error, Request};

/// Open files and processes, where the caller's own hard limits allow it.
pub(super) const PROCESS_LIMIT: u64 = 1_048_576;

/// Hidden from the process: what tells about, or reaches, the machine (CVE-2018-10892, CVE-2017-16539, GHSA-6fw5-f8r9-fgfm).
pub(super) const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/interrupts",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/devices/virtual/powercap",
];

/// Readable, never writable.
pub(super) const READ_ONLY: &[&str] =
    &["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn mount(destination: &Path, typ: &str, source: &Path, options: &[&str]) -> Result<Mount, Error> {
    Ok(MountBuilder::default()
        .destination(destination)
        .typ(typ)
        .source(source)
        .options(options.iter().map(|option| (*option).to_string()).collect::<Vec<_>>())
        .build()?)
}

pub(super) fn mounts(request: &Request, facts: &Facts) -> Result<Vec<Mount>, Error> {
    let options = &request.namespaces;
    let size = format!("size={}", request.limits.shm_size);
    let mut mounts = Vec::with_capacity(8);
    let mut add = |to: &str, typ: &str, from: &str, options: &[&str]| -> Result<(), Error> {
        mounts.push(mount(Path::new(to), typ, Path::new(from), options)?);
        Ok(())
    };
    let shared = ["rbind", "rprivate", "nosuid", "noexec", "nodev"];
    if options.pid == Namespace::Host {
        // A new procfs cannot be mounted for a pid namespace that is not ours.
        add("/proc", "bind", "/proc", &shared)?;
    } else {
        add("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?;
    }
    add("/dev", "tmpfs", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"])?;
    add("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])?;
    if options.ipc == Namespace::Host {
        add("/dev/shm", "bind", "/dev/shm", &shared)?;
        if facts.message_queues {
            add("/dev/mqueue", "bind", "/dev/mqueue", &shared)?;
        }
    } else {
        add("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size])?;
        add("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?;
    }
    match facts.connection {
        // sysfs belongs to a network namespace: only the owner of it may mount one.
        Connection::Host | Connection::Fallback(_) | Connection::Path(_) => {
            add("/sys", "bind", "/sys", &["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"])?;
        }
        Connection::None | Connection::Helper(_) => {
            add("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?;
            add("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])?;
        }
    }
    Ok(mounts)
}

/// Whether the kernel parameter `name` belongs to a namespace of the container's own. One of a namespace that is shared is left
/// as it is: it would change the machine. One of no namespace is an error.
pub(super) fn takes_sysctl(name: &str, request: &Request, connection: &Connection) -> Result<bool, String> {
    let ipc =
        ["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni"];
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if plain && !name.contains("..") {
        if ipc.contains(&name) || name == "kernel.shm_rmid_forced" || name.starts_with("fs.mqueue.") {
            return Ok(request.namespaces.ipc == Namespace::Private);
        }
        if name.starts_with("net.") {
            return Ok(matches!(connection, Connection::None | Connection::Helper(_)));
        }
    }
    Err(format!("sysctl {name:?} is not of a namespace that a container can have"))
}
