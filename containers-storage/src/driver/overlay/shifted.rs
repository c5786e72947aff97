//! Id-mapped lowers (format, section 6.5): the layers below a container's own, shown with the container's owners.
//!
//! ```text
//! <home>/<id>/mapped/<pid>-<n>   one mount of each lower's tree, id-mapped, for as long as the overlay is made of them
//! ```
//!
//! Invariant: the upper directory is not mapped, so that what is written belongs to the ids outside; the mounts are gone when the value is
//! dropped: overlayfs keeps private copies of them.

use std::fs::DirBuilder;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, UnmountFlags};

use crate::driver::{Error, Shift, attach};

/// The mounts of the lowers of one overlay.
#[derive(Debug)]
pub(super) struct Shifted {
    parent: PathBuf,
    mounts: Vec<PathBuf>,
}

impl Shifted {
    /// Mounts `lowers` with other owners below `dir`, the directory of the layer that is stacked upon them.
    pub(super) fn mount(dir: &Path, lowers: &[PathBuf], shift: &dyn Shift) -> Result<Self, Error> {
        let parent = dir.join("mapped");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&parent);
        made.map_err(Error::io("creating", &parent))?;
        let mut shifted = Self { parent: parent.clone(), mounts: Vec::with_capacity(lowers.len()) };
        for (number, lower) in lowers.iter().enumerate() {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = rustix::mount::open_tree(CWD, lower, flags).map_err(Error::io("cloning the mount of", lower))?;
            shift.apply(tree.as_fd()).map_err(Error::io("id-mapping", lower))?;
            let target = parent.join(format!("{}-{number}", std::process::id()));
            DirBuilder::new().recursive(true).mode(0o700).create(&target).map_err(Error::io("creating", &target))?;
            shifted.mounts.push(target.clone());
            attach(&tree, &target)?;
        }
        Ok(shifted)
    }

    /// Where they are, in the order of the lowers.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.mounts.clone()
    }
}

impl Drop for Shifted {
    fn drop(&mut self) {
        for mount in &self.mounts {
            // What cannot be taken away now ends with the mount namespace, or with the layer's directory.
            let _ = rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
            let _ = std::fs::remove_dir(mount);
        }
        // Not while another process has mounts in it.
        let _ = std::fs::remove_dir(&self.parent);
    }
}
