//! Graph drivers: where a layer's tree lies, how it is created, stacked, mounted and taken away.
//!
//! `GraphDriver` is object-safe: a store holds one as `Box<dyn GraphDriver>`, chosen at run time by name.
//!
//! ```text
//! overlay   a layer's directory holds what it changes; what it shows is mounted      (Shape::Diffs)
//! vfs       a layer's directory holds all that it shows; nothing is ever mounted     (Shape::Trees)
//! ```
//!
//! Invariant: a driver knows layers by validated id only, and touches nothing but its own home. It keeps no records: the caller
//! holds layers.lock (exclusively for `create`, `adopt` and `detach`) and writes layers.json.
//!
//! Must not: write into the tree of a layer that may be mounted or is complete.

mod directory;
pub mod overlay;
pub mod vfs;

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, UnmountFlags};

use crate::LayerId;
use crate::archive::{Marks, OverlayXattrs, Whiteouts};
use crate::conf::{Conf, DriverKind};
use crate::id_map::IdMaps;

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a path failed.
    #[error("{action} {path:?}")]
    Io {
        /// The operation, as a participle: "creating", "mounting".
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a mount.
    #[error("mounting {target:?}{detail}")]
    Mount {
        /// The mount point.
        target: PathBuf,
        /// Empty, or what the kernel logged about it, in parentheses.
        detail: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The layer has no directory in this driver's home or in an additional store.
    #[error("layer {0} has no directory in the graph driver's home")]
    NoLayer(LayerId),
    /// A file of the layer says something that cannot be.
    #[error("layer {layer} is damaged: {reason}")]
    Damaged {
        /// The layer.
        layer: LayerId,
        /// What is wrong with it.
        reason: String,
    },
    /// More lowers than overlayfs takes.
    #[error("layer {layer} has {depth} layers below it, more than {max}")]
    TooDeep {
        /// The layer.
        layer: LayerId,
        /// How many lowers it has.
        depth: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The store uses a feature that this driver does not have.
    #[error("the store at {home:?} {feature}, which is not supported")]
    Unsupported {
        /// The driver's home.
        home: PathBuf,
        /// The feature, as a verb phrase: "uses composefs".
        feature: String,
    },
    /// The kernel's overlay shows a container its files as they are, behind the mask.
    #[error("overlay: force_mask option for writeable layers is only supported with a mount_program")]
    MaskWithoutProgram,
    /// The writable directory is part of an overlay mount of some process, so a second mount would break both.
    #[error("layer {0} is mounted by another process")]
    InUse(LayerId),
}

impl Error {
    /// An `Io` error, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source: source.into() }
    }

    /// The kernel's answer, if the error is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } | Self::Mount { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Whether a mount takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Writes go to the layer's own directory.
    #[default]
    Write,
    /// The layer and everything below it, unchangeable. Needs no exclusive use.
    Read,
}

/// What a layer's directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// What the layer changes against those below. A container's is written through a mount, one at a time.
    Diffs,
    /// Everything that the layer shows. Making a layer copies its parent, which takes the owners' user namespace; using one takes no mount,
    /// and any number of processes may at once.
    Trees,
}

/// Other owners for the files of a mount.
pub trait Shift: fmt::Debug + Send + Sync {
    /// From the ids on disk to those that are shown.
    fn maps(&self) -> &IdMaps;

    /// Makes `mount`, which is attached nowhere, show them (`MOUNT_ATTR_IDMAP`, mount_setattr(2)).
    fn apply(&self, mount: BorrowedFd<'_>) -> io::Result<()>;
}

/// What a mount should be like.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// Read or write.
    pub access: Access,
    /// Skip syncing of the upper directory (`volatile`): for working containers, whose content a power cut may take.
    pub volatile: bool,
    /// The container's own `MountOpts`; `None` takes the store's configured `mountopt`.
    pub options: Option<Vec<String>>,
    /// SELinux context of the mount (`context=`); empty or `None` sets nothing.
    pub label: Option<String>,
    /// What lies below the layer's own directory gets other owners (format, section 6.5).
    pub shift: Option<Arc<dyn Shift>>,
    /// Directories of changes that lie between the layer's own and those of its chain, nearest first. Only for `Shape::Diffs`.
    pub between: Vec<PathBuf>,
}

/// For what a layer is made. With a separate image store (`imagestore`, format 2.5) the two lie in homes of their own; without one
/// it is one home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A working container's layer, which changes.
    Containers,
    /// An image's layer, which does not.
    Images,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Containers, Self::Images];
}

/// Where layers lie and how they are stacked. All ids are the driver's; the parent chain is the driver's own (format 2.3).
pub trait GraphDriver: fmt::Debug + Send + Sync {
    /// `overlay`, `vfs`.
    fn name(&self) -> &'static str;

    /// What a layer's directory holds.
    fn shape(&self) -> Shape;

    /// How a layer's own tree keeps what it deletes of those below.
    fn whiteouts(&self) -> Whiteouts;

    /// How a container's directory, written through the driver's mounts, tells what it deletes.
    fn upper_marks(&self) -> OverlayXattrs {
        OverlayXattrs::of_process()
    }

    /// Whether a process serves each mount in the kernel's place. It keeps the mount namespace alive, so the last user ends it (`end_served`).
    fn is_served(&self) -> bool {
        false
    }

    /// The process that serves the mount which `mount` made last.
    fn server(&self) -> Option<u32> {
        None
    }

    /// Whether mounts can show the layer `sample` with other owners (`MountOptions::shift`), so that a container with id maps needs no copy
    /// of its image. Tried, where only a trial tells; the process must be inside the user namespace of the store.
    fn can_shift(&self, _sample: &LayerId, _shift: &Arc<dyn Shift>) -> bool {
        false
    }

    /// Attributes that `mount` gives each mount, though no setting asks for them: outside of a container nobody runs a setuid program of
    /// its layers or opens their devices (known attack A63). A container's own copy of the mount goes without.
    fn guards(&self) -> MountAttrFlags {
        MountAttrFlags::empty()
    }

    /// The driver's home for one kind of layers, `<graph root>/<name>` or `<image store>/<name>`.
    fn home(&self, side: Side) -> &Path;

    /// The directory in that home that holds each layer under its ID.
    fn layer_dirs(&self, side: Side) -> PathBuf;

    /// The home that the layer lies in; none if it has no directory in either.
    fn side_of(&self, id: &LayerId) -> Option<Side> {
        Side::ALL.into_iter().find(|side| self.layer_dirs(*side).join(id).symlink_metadata().is_ok())
    }

    /// Whether one rename can make an image's layer of a container's: both homes are in one mount (rename(2), EXDEV).
    fn can_move_to_images(&self) -> bool {
        let mount = |side| mount_id(self.home(side));
        self.home(Side::Containers) == self.home(Side::Images)
            || mount(Side::Containers).is_some_and(|id| Some(id) == mount(Side::Images))
    }

    /// Whether the layer has a directory in a home or in an additional store.
    fn exists(&self, id: &LayerId) -> bool;

    /// Creates a container's layer: a directory with an empty `diff`, owned as the parent's and with its mode (0555 without a parent).
    /// What an earlier, killed creation left under that id is removed first. Needs layers.lock exclusively.
    fn create(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(), Error>;

    /// Makes of `tree`, which holds what a layer changes against `parent`, and of `marks`, which say what it deletes, the tree that `adopt`
    /// takes. Slow where layers are whole trees, and starts threads: no lock may be held, and namespaces must be entered before.
    fn complete(&self, tree: &Path, parent: Option<&LayerId>, marks: &Marks) -> Result<(), Error>;

    /// As `create`, but in the home of `side`, and `tree`, a directory on the same file system, becomes the layer's `diff` by one
    /// rename. Owner and mode of `tree` are set to what `create` would give. Needs layers.lock exclusively.
    fn adopt(&self, id: &LayerId, parent: Option<&LayerId>, tree: &Path, side: Side) -> Result<(), Error>;

    /// Prepares a layer that was written through a mount for life as an image's layer: its root gets the owner and mode that `create`
    /// gave it, since no tar carries those, and what the mount left beside it goes. It must not be mounted.
    fn settle(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(), Error>;

    /// Moves all that its home (`side_of`) has of the layer into the directory `into` (a temp dir of format 5.6), under names that start with
    /// `<n>-` for the first free n. Nothing there is no error. Needs layers.lock exclusively; the caller deletes later.
    fn detach(&self, id: &LayerId, into: &Path) -> Result<(), Error>;

    /// Gives the layer's directory the id `to`, in the home of `side`. The layer `from` has no children. What stands under `to` while `from` exists is the
    /// remains of a killed process and is removed; called again after a kill, it ends what was begun. Needs layers.lock exclusively.
    fn rename(&self, from: &LayerId, to: &LayerId, side: Side) -> Result<(), Error>;

    /// The directory with the layer's own changes. Exists, unless the layer is damaged.
    fn diff_dir(&self, id: &LayerId) -> Result<PathBuf, Error>;

    /// The directories below `diff_dir`, nearest first, that the layer's content is looked up in (push through tar-split).
    fn lower_dirs(&self, id: &LayerId) -> Result<Vec<PathBuf>, Error>;

    /// The driver's chain of parents, nearest first; empty for one that keeps none (`Shape::Trees`).
    fn chain(&self, id: &LayerId) -> Result<Vec<LayerId>, Error>;

    /// Where the layer appears when it is mounted. Need not exist. Where layers are whole trees it is the layer's directory, and no mount.
    fn mount_point(&self, id: &LayerId) -> PathBuf;

    /// Mounts the layer without attaching it anywhere: the descriptor of a detached mount, for `attach` or `openat`. Needs
    /// CAP_SYS_ADMIN in the current user namespace. For `Access::Write` the caller holds the lease's gate.
    fn mount_detached(&self, id: &LayerId, options: &MountOptions) -> Result<OwnedFd, Error>;

    /// A handle on all that the layer shows, for a caller that does not write. Excludes nobody.
    fn open_to_read(&self, id: &LayerId) -> Result<OwnedFd, Error>;

    /// Mounts the layer at `mount_point` in this process's mount namespace, and returns that path.
    fn mount(&self, id: &LayerId, options: &MountOptions) -> Result<PathBuf, Error>;

    /// Takes the mount at `mount_point` away (lazily), if there is one in this mount namespace. Format 6.6.
    fn unmount(&self, id: &LayerId) -> Result<(), Error>;

    /// Whether the layer's writable directory is part of a mount in *any* mount namespace. Leaves no trace in the layer.
    /// Needs the same privilege as `mount_detached`. Takes half a second to say yes: a mount may be about to end with its last process.
    fn in_use(&self, id: &LayerId) -> Result<bool, Error>;
}

/// Where an administrator installs programs. `PATH` is not asked: its first entry may be a directory that a build wrote to.
const PROGRAM_DIRECTORIES: &[&str] = &["/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin"];

/// Opens the driver that the settings name. Reads next to nothing and makes nothing.
pub fn open(conf: &Conf) -> Result<Box<dyn GraphDriver>, Error> {
    let home = |root: &Path| root.join(conf.driver.name());
    let additional = conf.additional_image_stores.iter().map(|root| home(root)).collect();
    let image_home = conf.image_store.as_deref().map(home);
    match conf.driver {
        DriverKind::Vfs => Ok(Box::new(vfs::Vfs::new(vfs::Config {
            home: home(&conf.graph_root),
            image_home,
            additional,
            ignore_chown_errors: conf.options.ignore_chown_errors,
        }))),
        DriverKind::Overlay => Ok(Box::new(overlay::Overlay::open(overlay::Config {
            home: home(&conf.graph_root),
            image_home,
            additional,
            mount_options: conf.options.mount_options.clone(),
            mount_program: conf.options.mount_program.clone(),
            program_directories: PROGRAM_DIRECTORIES,
            force_mask: conf.options.force_mask,
            disable_volatile: conf.options.disable_volatile,
            skip_mount_home: conf.options.skip_mount_home,
            ..overlay::Config::default()
        })?)),
    }
}

/// Attaches a detached mount on the directory `target`.
pub fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Error> {
    use rustix::fs::CWD;
    use rustix::mount::MoveMountFlags;
    rustix::mount::move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(Error::io("attaching the mount to", target))
}

/// Ends a mount that a process serves: what was written to it is handed over, then it is taken away, and the process with it.
pub fn end_served(mount_point: &Path) -> Result<(), Error> {
    let failed = |action| Error::io::<rustix::io::Errno>(action, mount_point);
    let root = rustix::fs::open(mount_point, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    rustix::fs::syncfs(root.map_err(failed("opening"))?).map_err(failed("syncing"))?;
    rustix::mount::unmount(mount_point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(failed("unmounting"))
}

/// The mount that `path` is in, or the nearest directory above it that exists.
fn mount_id(path: &Path) -> Option<u64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    let there = path.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statx(CWD, there, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// Whether `path` is a mount point in this process's mount namespace. A path that does not exist is none.
pub fn is_mount_point(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE);
    stat.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
