//! The bundle: a directory that only the caller can enter, on a file system of its own that ends with this mount namespace.
//!
//! Invariant: sources of binds are attached here with their attributes set, so that the runtime only binds them; nothing but an
//! empty directory can be left behind, whatever ends this process.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use containers_storage::id_map::IdMaps;
use nix::mount::MntFlags;
use oci_spec::runtime::{Mount, MountBuilder, RootBuilder, Spec};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::OpenTreeFlags;

use crate::run::Error;
use crate::run::etc_files::FileAccess;
use crate::run::mount_args::Place;
use crate::run::native::{self, Plan, PlannedMount, Shape, Source};
use crate::sys::mount_attr::Reach;
use crate::userns;

/// The bundle; dropping it removes it.
#[derive(Debug)]
pub(super) struct Bundle {
    path: PathBuf,
    handle: OwnedFd,
    /// Those of the container: the runtime's own child is root there when it mounts what lies in the bundle.
    maps: IdMaps,
    terminal: bool,
}

impl Bundle {
    /// Makes the bundle of `spec` in `parent`. This process has a mount namespace of its own from here on.
    pub(super) fn create(parent: &Path, id: &str, mut spec: Spec, plan: &Plan) -> Result<Self, Error> {
        let maps = native::id_maps_of(&spec);
        let path = place(parent, &maps).join(id);
        let failed = |source: io::Error| Error::prepare(format!("the bundle {path:?}"), source);
        if path.to_str().is_none() {
            return Err(failed(io::Error::other("its path is not UTF-8, which a specification cannot carry")));
        }
        rustix::fs::mkdir(&path, Mode::RWXU).map_err(|errno| failed(errno.into()))?;
        let mounted = userns::unshare_mounts()
            .map_err(|error| failed(io::Error::other(error)))
            .and_then(|()| mount_private(&path, plan.label.as_deref()).map_err(failed));
        let handle = match mounted {
            Ok(handle) => handle,
            Err(error) => {
                // Empty, and ours.
                let _ = rustix::fs::rmdir(&path);
                return Err(error);
            }
        };
        let terminal = spec.process().as_ref().and_then(oci_spec::runtime::Process::terminal).unwrap_or(false);
        let bundle = Self { path: path.clone(), handle, maps, terminal };
        bundle.open_to_container().map_err(failed)?;
        bundle.fill(&mut spec, plan)?;
        Ok(bundle)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory.
    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Whether the process gets a terminal.
    pub(super) fn wants_terminal(&self) -> bool {
        self.terminal
    }

    /// Unmounts and removes it.
    pub(super) fn remove(&self) {
        // Both fail only if somebody else did it.
        let _ = nix::mount::umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = rustix::fs::rmdir(&self.path);
    }

    fn fill(&self, spec: &mut Spec, plan: &Plan) -> Result<(), Error> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source: io::Error| Error::prepare(what, source)
        };
        for name in ["rootfs", "mounts", "state"] {
            rustix::fs::mkdirat(&self.handle, name, Mode::RWXU).map_err(|errno| failed("the bundle")(errno.into()))?;
        }
        self.give_to_container("mounts").map_err(failed("the bundle"))?;
        native::attach(plan.rootfs.as_fd(), self.handle(), "rootfs").map_err(failed("the root file system"))?;
        let mut mounts = Vec::new();
        for (number, planned) in plan.mounts.iter().enumerate() {
            let original = spec.mounts().iter().flatten().find(|mount| *mount.destination() == planned.target);
            let source = self.ready(plan, planned, number);
            let source = source.map_err(failed(&format!("a mount at {:?}", planned.target)))?;
            match (source, original) {
                (Some(source), original) => {
                    let access = if is_locked(plan, planned) { &["ro", "nosuid", "nodev"][..] } else { &[] };
                    mounts.push(bind(&planned.target, source, original, access)?);
                }
                (None, Some(original)) => mounts.push(original.clone()),
                (None, None) => {}
            }
        }
        spec.set_mounts(Some(mounts));
        spec.set_root(Some(RootBuilder::default().path(self.path.join("rootfs")).readonly(false).build()?));
        let text = serde_json::to_vec(spec).map_err(|error| failed("config.json")(error.into()))?;
        self.write("config.json", &text, 0o600).map_err(failed("config.json"))
    }

    /// Where the source of a mount lies ready; `None` for a file system that the runtime mounts.
    fn ready(&self, plan: &Plan, planned: &PlannedMount, number: usize) -> io::Result<Option<PathBuf>> {
        let name = format!("mounts/{number}");
        match &planned.source {
            Source::FileSystem(_) => return Ok(None),
            Source::File(index) => {
                let file = plan.files.get(*index).ok_or(rustix::io::Errno::NOENT)?;
                let Place { mode, uid, gid } = file.place;
                self.write(&name, &file.content, mode)?;
                self.give(self.handle(), &name, (uid, gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Source::Socket(index) => {
                let socket = plan.sockets.get(*index).ok_or(rustix::io::Errno::NOENT)?;
                socket.bind(&format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd()))?;
                let Place { uid, gid, .. } = socket.place;
                self.give(self.handle(), &name, (uid, gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Source::Tree(tree) => {
                self.attach(&name, planned.shape, tree.as_fd())?;
                if planned.options.reach == Reach::Tree {
                    self.renew(&name)?;
                }
            }
            Source::Discarding(lower, label) => {
                let base = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
                let overlay = native::discarding((self.handle(), &base), lower.as_fd(), label.as_deref(), number)?;
                // Its top belongs to whom the directory for writes does.
                self.give(overlay.as_fd(), "", (0, 0), AtFlags::EMPTY_PATH)?;
                self.attach(&name, planned.shape, overlay.as_fd())?;
            }
        }
        Ok(Some(self.path.join(name)))
    }

    /// Lets the container's root pass through the bundle, which nobody sees who is not in this mount namespace.
    fn open_to_container(&self) -> io::Result<()> {
        if self.maps.is_identity() {
            return Ok(());
        }
        Ok(rustix::fs::fchmod(&self.handle, Mode::RWXU | Mode::XGRP | Mode::XOTH)?)
    }

    fn give_to_container(&self, name: &str) -> io::Result<()> {
        self.give(self.handle(), name, (0, 0), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Gives it to `owner`, as ids of the container.
    fn give(&self, directory: BorrowedFd<'_>, name: &str, owner: (u32, u32), flags: AtFlags) -> io::Result<()> {
        if self.maps.is_identity() && owner == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = self.maps.owner_on_disk(owner.0, owner.1)?;
        Ok(rustix::fs::chownat(directory, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?)
    }

    fn attach(&self, name: &str, shape: Shape, mount: BorrowedFd<'_>) -> io::Result<()> {
        match shape {
            Shape::Directory => rustix::fs::mkdirat(&self.handle, name, Mode::RWXU)?,
            Shape::File => self.write(name, b"", 0o600)?,
        }
        native::attach(mount, self.handle(), name)
    }

    /// Replaces a tree by a newer copy. The first one is older than this mount namespace and stands before the machine's own mounts
    /// in its table, in which runtimes look for control groups and take the first that they find.
    fn renew(&self, name: &str) -> io::Result<()> {
        let reach = OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let newer = rustix::mount::open_tree(&self.handle, name, reach)?;
        let path = format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd());
        nix::mount::umount2(path.as_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
        native::attach(newer.as_fd(), self.handle(), name)
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        std::fs::File::from(file).write_all(content)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The directory that the bundle is made in: `wanted`, unless it is closed to the container's root, who is somebody else there.
fn place<'p>(wanted: &'p Path, maps: &IdMaps) -> &'p Path {
    let usual = Path::new("/var/tmp");
    let is_open = |path: &Path| std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
    let reachable = || std::path::absolute(wanted).is_ok_and(|path| path.ancestors().all(is_open));
    if wanted.as_os_str().is_empty() || !(maps.is_identity() || reachable()) { usual } else { wanted }
}

/// A file system of its own on `path`, and its top.
fn mount_private(path: &Path, label: Option<&str>) -> io::Result<OwnedFd> {
    let mount = native::private_tmpfs(label)?;
    native::attach(mount.as_fd(), CWD, path)?;
    Ok(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether it is a file of ours that the command must not change.
fn is_locked(plan: &Plan, planned: &PlannedMount) -> bool {
    let Source::File(index) = planned.source else { return false };
    plan.files.get(index).is_some_and(|file| file.access == FileAccess::ReadOnly)
}

/// The source has its attributes already. The runtime is told how far the bind reaches, and the restrictions once more: crun takes away
/// those that are not in the specification, and a read-only volume could be written.
fn bind(target: &Path, source: PathBuf, original: Option<&Mount>, access: &[&str]) -> Result<Mount, Error> {
    let words = || original.and_then(|mount| mount.options().as_ref()).into_iter().flatten();
    let propagation = words().filter(|word| matches!(word.as_str(), "rslave" | "rshared" | "slave" | "shared"));
    let mut options = vec!["rbind".to_owned()];
    options.extend(propagation.cloned());
    if options.len() == 1 {
        options.push("rprivate".to_owned());
    }
    options.extend(words().filter(|word| matches!(word.as_str(), "ro" | "nosuid" | "nodev" | "noexec")).cloned());
    options.extend(access.iter().map(|word| (*word).to_owned()));
    Ok(MountBuilder::default().destination(target).typ("bind").source(source).options(options).build()?)
}

/// The path of the directory `found` as seen from `root`, by what the kernel calls both.
pub(super) fn path_below(root: BorrowedFd<'_>, found: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let name = |handle: BorrowedFd<'_>| std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let (root, found) = (name(root)?, name(found)?);
    let below = found.strip_prefix(&root).map_err(|_| io::Error::from_raw_os_error(libc::EXDEV))?;
    Ok(Path::new("/").join(below))
}
