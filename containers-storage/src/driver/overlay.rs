//! The overlay driver: layers as upper and lower directories of overlayfs (format sections 2.1 to 2.3 and 6).
//!
//! ```text
//! <home>/l/<LINK> -> ../<id>/diff         short names, for option strings that must fit a page
//! <home>/<id>/diff                        the layer's own tree: upper when written, lower for its children
//! <home>/<id>/{link,lower,lower-layers}   its short name; its chain by link; its chain by id
//! <home>/<id>/{work,merged}               overlayfs' work directory; the mount point
//! <home>/<id>/empty                       only without a parent: overlayfs wants one lower at least
//! ```
//!
//! Invariant: every layer written here has both chains, of equal length, so that tools of every version can read it.
//!
//! With `mount_program` that program (fuse-overlayfs) mounts in the kernel's place. The store is marked then (`.has-mount-program`), and what
//! containers deleted is read as such programs write it; a marked store is never mounted by the kernel again. With `force_mask` files keep owner and mode in attributes (`archive::Ownership`).
//!
//! Must not: serve stores with another format on disk (composefs, a mount program without being told of it): whiteouts and
//! owners would be misread there.

mod chain;
mod mount;
mod program;
mod shifted;
mod tree;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::MountAttrFlags;

use super::{Access, Error, GraphDriver, MountOptions, Shape, Shift, Side};
use crate::archive::{Marks, OverlayXattrs, Whiteouts};
use crate::{LayerId, id_map};

/// What the driver needs to know from storage.conf and the command line.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `<graph root>/overlay`. Created by the first `create`.
    pub home: PathBuf,
    /// `<image store>/overlay`: where images' layers lie apart from containers' (`imagestore`).
    pub image_home: Option<PathBuf>,
    /// Homes of additional image stores (`<store>/overlay`), in order; read only.
    pub additional: Vec<PathBuf>,
    /// `mountopt` of the configuration, split at commas.
    pub mount_options: Vec<String>,
    /// `disable-volatile`.
    pub disable_volatile: bool,
    /// `mount_program`, if one is configured: it mounts in the kernel's place.
    pub mount_program: Option<PathBuf>,
    /// Where fuse-overlayfs is looked for, if the store was written through a mount program and none is configured.
    pub program_directories: &'static [&'static str],
    /// `use_composefs`: refused.
    pub composefs: bool,
    /// `force_mask`: the mode of every file and directory; owners and modes are kept in attributes.
    pub force_mask: Option<u32>,
    /// `skip_mount_home`: real root does not make the home a private mount.
    pub skip_mount_home: bool,
}

/// The driver. Opening reads nothing but one small file.
#[derive(Debug)]
pub struct Overlay {
    config: Config,
    /// The process that serves the last mount; 0: none.
    server: AtomicU32,
}

impl Overlay {
    /// Checks that the store is one that this driver can serve. A home that does not exist yet is served. One that a mount program
    /// wrote goes on with fuse-overlayfs, as with the other tools, whether or not it is still configured.
    pub fn open(mut config: Config) -> Result<Self, Error> {
        let refuse =
            |home: &Path, feature: &str| Err(Error::Unsupported { home: home.to_owned(), feature: feature.to_owned() });
        if config.composefs {
            return refuse(&config.home, "is configured for composefs (use_composefs)");
        }
        let marker = config.home.join(tree::MOUNT_PROGRAM_MARKER);
        match fs::read(&marker) {
            Ok(text) if text.starts_with(b"true") && config.mount_program.is_none() => {
                config.mount_program = program::installed(config.program_directories);
                if config.mount_program.is_none() {
                    return refuse(&config.home, "was written through a mount program such as fuse-overlayfs (mount_program)");
                }
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(Error::io("reading", &marker)(error)),
        }
        Ok(Self { config, server: AtomicU32::new(0) })
    }

    /// The directory of the layer: in a home, else in the first additional store that has it.
    fn layer_dir(&self, id: &LayerId) -> Result<PathBuf, Error> {
        self.homes().map(|home| home.join(id)).find(|dir| dir.is_dir()).ok_or_else(|| Error::NoLayer(id.clone()))
    }
}

impl Overlay {
    /// Everywhere that a layer or a link is looked for, in order.
    fn homes(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.config.home).chain(&self.config.image_home).chain(&self.config.additional)
    }

    /// The directory of a layer of ours, whether it is there or not.
    fn own_dir(&self, id: &LayerId) -> PathBuf {
        self.home_of(self.side_of(id).unwrap_or(Side::Containers)).join(id)
    }

    fn home_of(&self, side: Side) -> &Path {
        let apart = self.config.image_home.as_deref().filter(|_| side == Side::Images);
        apart.unwrap_or(&self.config.home)
    }
}

impl GraphDriver for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn shape(&self) -> Shape {
        Shape::Diffs
    }

    fn whiteouts(&self) -> Whiteouts {
        // A mount program reads the marks of users in the layers that it stacks, whoever runs it.
        Whiteouts::OnDisk(if self.config.mount_program.is_some() { OverlayXattrs::User } else { OverlayXattrs::of_process() })
    }

    fn upper_marks(&self) -> OverlayXattrs {
        if self.config.mount_program.is_some() { OverlayXattrs::Program } else { OverlayXattrs::of_process() }
    }

    fn is_served(&self) -> bool {
        self.config.mount_program.is_some()
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    fn guards(&self) -> MountAttrFlags {
        mount::guards(self)
    }

    fn can_shift(&self, sample: &LayerId, shift: &Arc<dyn Shift>) -> bool {
        if self.config.mount_program.is_some() {
            return true;
        }
        // The variable is the other tools' (format, section 6.5). The kernel lets nobody but the owner of the file system do it.
        if id_map::is_rootless() || std::env::var_os("_CONTAINERS_OVERLAY_DISABLE_IDMAP").is_some_and(|word| word == "yes") {
            return false;
        }
        let options = MountOptions { access: Access::Read, shift: Some(Arc::clone(shift)), ..MountOptions::default() };
        // Of a layer alone nothing lies below: two are needed for a trial.
        mount::shows_shifted(self, sample, &options)
    }

    fn home(&self, side: Side) -> &Path {
        self.home_of(side)
    }

    fn layer_dirs(&self, side: Side) -> PathBuf {
        self.home_of(side).to_path_buf()
    }

    fn exists(&self, id: &LayerId) -> bool {
        self.layer_dir(id).is_ok()
    }

    fn create(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(), Error> {
        tree::create(self, id, parent, None, Side::Containers)
    }

    /// Nothing to do: the layers below are stacked, not copied.
    fn complete(&self, _tree: &Path, _parent: Option<&LayerId>, _marks: &Marks) -> Result<(), Error> {
        Ok(())
    }

    fn adopt(&self, id: &LayerId, parent: Option<&LayerId>, tree: &Path, side: Side) -> Result<(), Error> {
        tree::create(self, id, parent, Some(tree), side)
    }

    fn settle(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(), Error> {
        tree::settle(self, id, parent)
    }

    fn detach(&self, id: &LayerId, into: &Path) -> Result<(), Error> {
        tree::detach(self, id, into)
    }

    fn rename(&self, from: &LayerId, to: &LayerId, side: Side) -> Result<(), Error> {
        tree::rename(self, from, to, side)
    }

    fn diff_dir(&self, id: &LayerId) -> Result<PathBuf, Error> {
        Ok(self.layer_dir(id)?.join("diff"))
    }

    fn lower_dirs(&self, id: &LayerId) -> Result<Vec<PathBuf>, Error> {
        chain::lower_dirs(self, id)
    }

    fn chain(&self, id: &LayerId) -> Result<Vec<LayerId>, Error> {
        chain::ids(self, id)
    }

    fn mount_point(&self, id: &LayerId) -> PathBuf {
        self.config.home.join(id).join("merged")
    }

    fn mount_detached(&self, id: &LayerId, options: &MountOptions) -> Result<OwnedFd, Error> {
        mount::detached(self, id, options)
    }

    fn open_to_read(&self, id: &LayerId) -> Result<OwnedFd, Error> {
        mount::detached(self, id, &MountOptions { access: Access::Read, ..MountOptions::default() })
    }

    fn mount(&self, id: &LayerId, options: &MountOptions) -> Result<PathBuf, Error> {
        mount::attached(self, id, options)
    }

    fn unmount(&self, id: &LayerId) -> Result<(), Error> {
        mount::unmount(self, id)
    }

    fn in_use(&self, id: &LayerId) -> Result<bool, Error> {
        mount::in_use(self, id)
    }
}
