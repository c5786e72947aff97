//! The vfs driver: each layer is a whole tree (format section 2.4). It needs no mount, so it works where nothing may be mounted.
//!
//! ```text
//! <home>/dir/<id>        everything that the layer shows: a copy of the parent's tree, changed
//! <home>/tempdirs        where such copies are made; what a killed process leaves there is dead with it
//! ```
//!
//! Invariant: a directory that stands under a layer's id is whole: trees are assembled in a temporary directory and renamed. The files of
//! two layers never share an inode, since a container writes to its own; they share data where the file system can (`FICLONE`).
//!
//! Must not: look at anything but a layer's own tree: which layer is the parent of which, the records say.

mod complete;
mod copy;

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags};

use super::directory::{self, Look};
use super::{Access, Error, GraphDriver, MountOptions, Shape, Side};
use crate::archive::{Marks, Whiteouts};
use crate::temp_dir::TempDir;
use crate::{LayerId, Root, selinux};

/// What the driver needs to know from storage.conf and the command line.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `<graph root>/vfs`. Created by the first layer.
    pub home: PathBuf,
    /// `<image store>/vfs`: where images' layers lie apart from containers' (`imagestore`).
    pub image_home: Option<PathBuf>,
    /// Homes of additional image stores (`<store>/vfs`), in order; read only.
    pub additional: Vec<PathBuf>,
    /// `ignore_chown_errors`: files whose owner this user namespace lacks become ours.
    pub ignore_chown_errors: bool,
}

/// The driver.
#[derive(Debug)]
pub struct Vfs {
    config: Config,
}

impl Vfs {
    /// A driver for the home, which need not exist. No I/O.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Where the layer lies: in the home, else in the first additional store that has it.
    fn tree(&self, id: &LayerId) -> Result<PathBuf, Error> {
        let homes = std::iter::once(&self.config.home).chain(&self.config.image_home).chain(&self.config.additional);
        homes.map(|home| home.join("dir").join(id)).find(|dir| dir.is_dir()).ok_or_else(|| Error::NoLayer(id.clone()))
    }

    /// The directory of a layer of ours, whether it is there or not.
    fn own(&self, id: &LayerId) -> PathBuf {
        self.layer_dirs(self.side_of(id).unwrap_or(Side::Containers)).join(id)
    }

    fn home_of(&self, side: Side) -> &Path {
        let apart = self.config.image_home.as_deref().filter(|_| side == Side::Images);
        apart.unwrap_or(&self.config.home)
    }

    fn parent_tree(&self, parent: Option<&LayerId>) -> Result<Option<PathBuf>, Error> {
        parent.map(|parent| self.tree(parent)).transpose()
    }

    /// The directory of layers, made if missing, without what a killed process left under `id`.
    fn make_room(&self, id: &LayerId, side: Side) -> Result<PathBuf, Error> {
        let dir = self.layer_dirs(side);
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Error::io("creating", &dir))?;
        }
        let own = dir.join(id);
        if own.symlink_metadata().is_ok() {
            let root = Root::open(&dir).map_err(Error::io("opening", &dir))?;
            root.remove_all(Path::new(id.as_str())).map_err(Error::io("removing the remains of", &own))?;
        }
        Ok(own)
    }
}

impl GraphDriver for Vfs {
    fn name(&self) -> &'static str {
        "vfs"
    }

    fn shape(&self) -> Shape {
        Shape::Trees
    }

    fn whiteouts(&self) -> Whiteouts {
        Whiteouts::Listed
    }

    fn home(&self, side: Side) -> &Path {
        self.home_of(side)
    }

    fn layer_dirs(&self, side: Side) -> PathBuf {
        self.home_of(side).join("dir")
    }

    fn exists(&self, id: &LayerId) -> bool {
        self.tree(id).is_ok()
    }

    fn create(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(), Error> {
        let temp_dirs = self.config.home.join("tempdirs");
        let mut temporary = TempDir::create(&temp_dirs).map_err(Error::io("making a temporary directory in", &temp_dirs))?;
        let tree = temporary.path().join("0-addition");
        DirBuilder::new().mode(0o700).create(&tree).map_err(Error::io("creating", &tree))?;
        label(&tree);
        self.complete(&tree, parent, &Marks::default())?;
        self.adopt(id, parent, &tree, Side::Containers)?;
        temporary.remove().map_err(Error::io("removing", temporary.path()))
    }

    fn complete(&self, tree: &Path, parent: Option<&LayerId>, marks: &Marks) -> Result<(), Error> {
        let Some(parent) = self.parent_tree(parent)? else { return Ok(()) };
        complete::complete(tree, &parent, marks, self.config.ignore_chown_errors)
    }

    fn adopt(&self, id: &LayerId, parent: Option<&LayerId>, tree: &Path, side: Side) -> Result<(), Error> {
        let look = Look::of(self.parent_tree(parent)?.as_deref())?.usable();
        let own = self.make_room(id, side)?;
        // A directory that its owner may not write to cannot be moved to another parent (rename(2), EACCES), so its look comes last.
        rustix::fs::renameat(CWD, tree, CWD, &own).map_err(Error::io("moving the layer to", &own))?;
        look.put_on(&own)
    }

    fn settle(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(), Error> {
        Look::of(self.parent_tree(parent)?.as_deref())?.put_on(&self.own(id))
    }

    fn detach(&self, id: &LayerId, into: &Path) -> Result<(), Error> {
        let own = self.own(id);
        let mut next = directory::first_free(into)?;
        match directory::move_away(&own, into, &mut next) {
            // To move a directory to another parent is to write to it (rename(2)), and a root file system's mode is mostly 0555.
            Err(error) if error.io_kind() == Some(io::ErrorKind::PermissionDenied) => {
                rustix::fs::chmod(&own, Mode::RWXU).map_err(Error::io("changing the mode of", &own))?;
                directory::move_away(&own, into, &mut next)
            }
            other => other,
        }
    }

    fn rename(&self, from: &LayerId, to: &LayerId, side: Side) -> Result<(), Error> {
        let own = self.own(from);
        if from == to || own.symlink_metadata().is_err() {
            return Ok(());
        }
        let new = self.make_room(to, side)?;
        move_tree(&own, &new)
    }

    fn diff_dir(&self, id: &LayerId) -> Result<PathBuf, Error> {
        self.tree(id)
    }

    /// None: the layer's own tree has everything.
    fn lower_dirs(&self, id: &LayerId) -> Result<Vec<PathBuf>, Error> {
        self.tree(id).map(|_| Vec::new())
    }

    /// Empty: the driver keeps no chain.
    fn chain(&self, id: &LayerId) -> Result<Vec<LayerId>, Error> {
        self.tree(id).map(|_| Vec::new())
    }

    fn mount_point(&self, id: &LayerId) -> PathBuf {
        self.own(id)
    }

    fn mount_detached(&self, id: &LayerId, options: &MountOptions) -> Result<OwnedFd, Error> {
        let tree = self.tree(id)?;
        let mount = match options.access {
            Access::Write => clone_mount(&tree),
            Access::Read => clone_read_only(&tree),
        };
        mount.map_err(|source| Error::Mount { target: tree, detail: String::new(), source: source.into() })
    }

    fn open_to_read(&self, id: &LayerId) -> Result<OwnedFd, Error> {
        let tree = self.tree(id)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &tree, flags, Mode::empty()).map_err(Error::io("opening", &tree))
    }

    /// Nothing is mounted: the layer's directory is what a mount would show. Mount options have no say here, as with the other tools.
    fn mount(&self, id: &LayerId, _options: &MountOptions) -> Result<PathBuf, Error> {
        self.tree(id)
    }

    fn unmount(&self, _id: &LayerId) -> Result<(), Error> {
        Ok(())
    }

    /// Never: any number of processes may use a plain directory.
    fn in_use(&self, _id: &LayerId) -> Result<bool, Error> {
        Ok(false)
    }
}

/// Gives the empty directory of a new layer the SELinux label of files that all containers may use: what is made in it gets the same, and no
/// mount gives it another one. As with the other tools, a refusal is none of the layer's business.
pub(crate) fn label(tree: &Path) {
    let Some(system) = selinux::machine() else { return };
    let labelled = system.contexts().map(|contexts| match contexts.file.map(|file| file.with_level("s0").to_string()) {
        Some(label) => rustix::fs::setxattr(tree, selinux::ATTRIBUTE, label.as_bytes(), XattrFlags::empty()),
        None => Ok(()),
    });
    if !matches!(labelled, Ok(Ok(()))) {
        log::debug!("{tree:?} gets no label: {labelled:?}");
    }
}

/// Renames a layer's directory. To move a directory to another parent is to write to it (rename(2)), and a root file system's mode is
/// mostly 0555, so that its owner gets leave for a moment.
fn move_tree(from: &Path, to: &Path) -> Result<(), Error> {
    match rustix::fs::renameat(CWD, from, CWD, to) {
        Err(Errno::ACCESS) if from.parent() != to.parent() => {
            let mode = rustix::fs::stat(from).map_err(Error::io("reading", from))?.st_mode;
            rustix::fs::chmod(from, Mode::RWXU).map_err(Error::io("changing the mode of", from))?;
            rustix::fs::renameat(CWD, from, CWD, to).map_err(Error::io("renaming", from))?;
            rustix::fs::chmod(to, Mode::from_raw_mode(mode)).map_err(Error::io("changing the mode of", to))
        }
        renamed => renamed.map_err(Error::io("renaming", from)),
    }
}

/// A detached mount of the directory `tree`.
fn clone_mount(tree: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, tree, flags)
}

/// The same, unchangeable. Only a mount that is attached can be remounted with mount(2), so it stands on the directory itself for a moment.
fn clone_read_only(tree: &Path) -> Result<OwnedFd, Errno> {
    rustix::mount::mount_bind(tree, tree)?;
    let mount = make_read_only(tree).and_then(|()| clone_mount(tree));
    rustix::mount::unmount(tree, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    mount
}

/// In a user namespace, what the mount below refuses must stay refused (mount_namespaces(7), "Restrictions").
fn make_read_only(tree: &Path) -> Result<(), Errno> {
    let below = rustix::fs::statvfs(tree)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = pairs.into_iter().filter(|(below_has, _)| below.contains(*below_has)).map(|(_, flag)| flag);
    let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |all, flag| all | flag);
    rustix::mount::mount_remount(tree, flags, c"")
}
