//! The parent's part: everything that names the host is opened and verified before the new process exists.
//!
//! Invariant: sources are pinned as detached mounts with their attributes already set (`open_tree`, `mount_setattr`); device
//! nodes are checked to be what they claim (CVE-2025-31133). The child gets descriptors, never a path of the host.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::id_map::{IdMap, IdMaps};
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::id_maps;
use super::options::{self, Parsed};
use super::targets::Shape;
use crate::run::Error;
use crate::run::etc_files::ExtraFile;
use crate::run::ssh::Socket;
use crate::sys::mount_attr::{self, Attributes, Reach};
use crate::userns::Shifter;

/// Device nodes that every container has: name, major, minor (`Documentation/admin-guide/devices.txt`).
pub(in crate::run) const DEVICES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What the child carries out.
#[derive(Debug)]
pub(in crate::run) struct Plan {
    /// New namespaces.
    pub new: CloneFlags,
    /// Namespaces to join in the child.
    pub join: Vec<(OwnedFd, CloneFlags)>,
    /// A user namespace to create the child in.
    pub user: Option<OwnedFd>,
    /// A pid namespace to create the child in.
    pub pid: Option<OwnedFd>,
    /// The root file system, as a detached mount; a bare handle where nothing can be mounted.
    pub rootfs: OwnedFd,
    /// In the order of attaching.
    pub mounts: Vec<PlannedMount>,
    /// The nodes for `/dev`, as detached mounts.
    pub devices: Vec<(&'static str, OwnedFd)>,
    /// Generated files: content and where it goes.
    pub files: Vec<ExtraFile>,
    /// Sockets of agents.
    pub sockets: Vec<Socket>,
    /// The SELinux label of what is mounted anew.
    pub label: Option<String>,
}

/// One mount.
#[derive(Debug)]
pub(in crate::run) struct PlannedMount {
    pub target: PathBuf,
    pub shape: Shape,
    pub source: Source,
    pub options: Parsed,
}

/// Where a mount comes from.
#[derive(Debug)]
pub(in crate::run) enum Source {
    /// A new instance of this file system.
    FileSystem(String),
    /// A detached mount with its attributes set.
    Tree(OwnedFd),
    /// An overlay that discards writes, on this detached mount, and its SELinux label.
    Discarding(OwnedFd, Option<String>),
    /// The generated file of this index.
    File(usize),
    /// The socket of this index.
    Socket(usize),
}

impl Plan {
    /// Whether something is mounted at `path` or above it, the root itself aside.
    pub(in crate::run) fn mounts_at_or_above(&self, path: &Path) -> bool {
        self.mounts.iter().any(|mount| path.starts_with(&mount.target))
    }
}

/// Whether this process may make mounts: tried with the root file system, a copy of which is attached nowhere.
pub(in crate::run) fn can_mount(rootfs: BorrowedFd<'_>) -> bool {
    detached(rootfs, Reach::Mount, Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() }).is_ok()
        && can_make_file_systems()
}

/// Whether the calls for new file systems are there: they come together, but filters of system calls may refuse each.
fn can_make_file_systems() -> bool {
    let Ok(context) = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC) else { return false };
    let is_there = |answer: Result<(), Errno>| !matches!(answer, Err(Errno::NOSYS | Errno::PERM));
    // Nothing is configured and nothing mounted: these say EINVAL.
    is_there(rustix::mount::fsconfig_set_flag(&context, "no-such-flag"))
        && is_there(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map(drop))
        && is_there(rustix::mount::move_mount(&context, "", &context, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH))
}

/// For a process that gets no mounts.
pub(super) fn bare(rootfs: BorrowedFd<'_>) -> Result<Plan, Error> {
    let rootfs = rootfs.try_clone_to_owned().map_err(|source| Error::prepare("the root file system", source))?;
    let (join, mounts, devices, files, sockets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Ok(Plan { new: CloneFlags::empty(), join, user: None, pid: None, rootfs, mounts, devices, files, sockets, label: None })
}

/// Pins what `spec` names. The copy of the root file system's mount goes without its guards.
pub(in crate::run) fn plan(
    (rootfs, guards): (BorrowedFd<'_>, MountAttrFlags),
    spec: &Spec,
    sources: &[(PathBuf, OwnedFd)],
    files: Vec<ExtraFile>,
    sockets: Vec<Socket>,
) -> Result<Plan, Error> {
    let attributes = Attributes { clear: guards.bits().into(), propagation: libc::MS_PRIVATE, ..Attributes::default() };
    let rootfs = detached(rootfs, Reach::Mount, attributes).map_err(|source| Error::prepare("the root file system", source))?;
    let mut mounts = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        mounts.push(planned(mount, sources)?);
    }
    for (index, file) in files.iter().enumerate() {
        // A volume of the user's at the place of a generated file wins.
        if !mounts.iter().any(|mount| mount.target == file.target) {
            let options = Parsed::default();
            mounts.push(PlannedMount { target: file.target.clone(), shape: Shape::File, source: Source::File(index), options });
        }
    }
    for (index, socket) in sockets.iter().enumerate() {
        let (target, options) = (socket.target.clone(), Parsed::default());
        mounts.push(PlannedMount { target, shape: Shape::File, source: Source::Socket(index), options });
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    let (mut new, mut join, mut user, mut pid) = (CloneFlags::empty(), Vec::new(), None, None);
    for namespace in spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten()) {
        let flag = clone_flag(namespace.typ())?;
        match namespace.path() {
            None => new |= flag,
            Some(path) => {
                let handle = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|source| Error::prepare(format!("the namespace {path:?}"), source.into()))?;
                match namespace.typ() {
                    LinuxNamespaceType::User => user = Some(handle),
                    LinuxNamespaceType::Pid => pid = Some(handle),
                    _ => join.push((handle, flag)),
                }
            }
        }
    }
    if user.is_some() && pid.is_some() {
        return Err(Error::Request("a user namespace and a pid namespace of others are not joined both at once".into()));
    }
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().clone()).filter(|label| !label.is_empty());
    Ok(Plan { new, join, user, pid, rootfs, mounts, devices: devices()?, files, sockets, label })
}

fn clone_flag(typ: LinuxNamespaceType) -> Result<CloneFlags, Error> {
    Ok(match typ {
        LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
        LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
        LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
        LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
        LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
        LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        LinuxNamespaceType::User => CloneFlags::CLONE_NEWUSER,
        LinuxNamespaceType::Time => {
            return Err(Error::Request(format!("a {typ:?} namespace is not supported here")));
        }
    })
}

fn planned(mount: &Mount, sources: &[(PathBuf, OwnedFd)]) -> Result<PlannedMount, Error> {
    let target = mount.destination().clone();
    let words = mount.options().as_deref().unwrap_or_default();
    let typ = mount.typ().as_deref().unwrap_or("bind");
    // The directories of an overlay are for the one who mounts it, which was done when they were looked up.
    let (labels, words): (Vec<_>, Vec<_>) =
        words.iter().cloned().partition(|word| typ == "overlay" && word.starts_with("context="));
    let label = labels.first().and_then(|word| word.strip_prefix("context=")).map(str::to_owned);
    let (directories, words): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| typ == "overlay" && (word.starts_with("upperdir=") || word.starts_with("workdir=")));
    let options = options::parse(&words).map_err(Error::Request)?;
    if typ != "bind" && typ != "overlay" {
        return Ok(PlannedMount { target, shape: Shape::Directory, source: Source::FileSystem(typ.to_string()), options });
    }
    let name = mount.source().as_deref().unwrap_or(Path::new(""));
    let failed = |source: io::Error| Error::prepare(format!("{name:?} for a mount at {target:?}"), source);
    let handle = match sources.iter().find(|(known, _)| *known == target) {
        Some((_, handle)) => handle.try_clone().map_err(failed)?,
        None => rustix::fs::openat(CWD, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?,
    };
    let stat = rustix::fs::fstat(&handle).map_err(|errno| failed(errno.into()))?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let shape = if directory { Shape::Directory } else { Shape::File };
    if !directories.is_empty() {
        mount_attr::set_attributes(handle.as_fd(), Reach::Mount, options.attributes).map_err(failed)?;
        return Ok(PlannedMount { target, shape, source: Source::Tree(handle), options });
    }
    let shift = |tree: &OwnedFd, reach: Reach| match shifter(mount) {
        Some(shifter) => shifter.shift(tree.as_fd(), reach).map_err(|source| Error::IdMap { source_path: name.into(), source }),
        None => Ok(()),
    };
    if typ == "overlay" {
        let lower = detached(handle.as_fd(), Reach::Mount, Attributes::default()).map_err(failed)?;
        shift(&lower, Reach::Mount)?;
        return Ok(PlannedMount { target, shape, source: Source::Discarding(lower, label), options });
    }
    let tree = detached(handle.as_fd(), options.reach, options.attributes).map_err(failed)?;
    shift(&tree, options.reach)?;
    Ok(PlannedMount { target, shape, source: Source::Tree(tree), options })
}

/// The owners that the specification gives a mount.
fn shifter(mount: &Mount) -> Option<Shifter> {
    let map = |mappings: &Option<Vec<_>>| mappings.as_ref().map(|all| IdMap(all.iter().map(id_maps::range).collect()));
    let (uid, gid) = (map(mount.uid_mappings())?, map(mount.gid_mappings())?);
    Some(Shifter::new(IdMaps { uid, gid }))
}

/// A copy of the mount at `handle` that is attached nowhere, changed before anybody can see it.
pub(super) fn detached(handle: BorrowedFd<'_>, reach: Reach, attributes: Attributes) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if reach == Reach::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = rustix::mount::open_tree(handle, "", flags)?;
    if attributes != Attributes::default() {
        mount_attr::set_attributes(tree.as_fd(), reach, attributes)?;
    }
    Ok(tree)
}

fn devices() -> Result<Vec<(&'static str, OwnedFd)>, Error> {
    let mut devices = Vec::with_capacity(DEVICES.len());
    for (name, major, minor) in DEVICES {
        let path = format!("/dev/{name}");
        let failed = |source: io::Error| Error::prepare(format!("the device {path}"), source);
        let handle = rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        let stat = rustix::fs::fstat(&handle).map_err(|errno| failed(errno.into()))?;
        let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || number != (*major, *minor) {
            return Err(failed(io::Error::other(format!("it is not the character device {major}:{minor}"))));
        }
        let attributes =
            Attributes { set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC, clear: 0, propagation: libc::MS_PRIVATE };
        devices.push((*name, detached(handle.as_fd(), Reach::Mount, attributes).map_err(failed)?));
    }
    Ok(devices)
}
