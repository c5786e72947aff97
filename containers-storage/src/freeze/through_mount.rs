//! A layer that another tool wrote with `redirect_dir=on` or `metacopy=on`: directories that were renamed without their content, files
//! whose content is in a layer below. Only overlayfs puts such a layer together, so what it shows is compared with what it shows of
//! the parent, and the difference becomes a plain layer.
//!
//! Invariant: nothing is mounted where anybody sees it, and nothing is written to the layer.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use super::{Error, Options, content, create, open, placeholders};
use crate::archive::pack::{self, OnDisk, Output, Selection, Tree};
use crate::changes::{self, Kind};
use crate::driver::{Access, GraphDriver, MountOptions};
use crate::layers::Layer;
use crate::store::{LayerContent, StagedLayer};
use crate::{LayerId, Root};

/// Fills `staged` with what `layer` changes.
pub(super) fn pack(
    driver: &dyn GraphDriver,
    layer: &Layer,
    staged: &StagedLayer,
    options: &Options,
) -> Result<LayerContent, Error> {
    let (own, _mounted) = view(driver, &layer.id)?;
    let parent = layer.parent.as_ref().map(|parent| view(driver, parent)).transpose()?;
    let changes = changes::between(&own, parent.as_ref().map(|(root, _)| root));
    let mut selection = Selection::default();
    let mut gone = Vec::new();
    for change in changes.map_err(Error::io("comparing what is mounted of", &driver.diff_dir(&layer.id)?))? {
        let path = change.path.strip_prefix("/").unwrap_or(&change.path);
        if change.kind == Kind::Deleted {
            selection.add_gone(path);
            gone.push(path.to_path_buf());
        } else {
            selection.add(path);
        }
    }
    let exclude = placeholders(&own, &options.exclude);
    let tree = Tree::Changes(selection);
    let how = pack::Options { tree, times: options.times, on_disk: OnDisk::Untouched, owner: options.owner.clone(), exclude };
    let copy = open(staged.tree())?;
    let mut tar_split: File = create(staged.tar_split())?;
    let output = Output { tar_split: Some(&mut tar_split), copy: Some(&copy), ..Output::default() };
    let packed = pack::pack(&own, &how, &mut |_| Ok(false), output);
    let packed = packed.map_err(|source| Error::Pack { layer: layer.id.clone(), source })?;
    for path in &gone {
        make_whiteout(&copy, path).map_err(Error::io("making a whiteout for", path))?;
    }
    Ok(content(packed))
}

/// What a mount of the layer shows, and the mount.
fn view(driver: &dyn GraphDriver, id: &LayerId) -> Result<(Root, OwnedFd), Error> {
    let options = MountOptions { access: Access::Read, ..MountOptions::default() };
    let mount = driver.mount_detached(id, &options)?;
    // The link in /proc is one of the kernel's own, and its last component is the mount itself.
    let root = open(Path::new(&format!("/proc/self/fd/{}/.", mount.as_raw_fd())))?;
    Ok((root, mount))
}

/// As overlayfs makes them (format, section 7.1). The directory around it keeps its time, which the tar has already.
fn make_whiteout(tree: &Root, path: &Path) -> std::io::Result<()> {
    let (parent, name) = tree.parent(path)?;
    let stat = rustix::fs::fstat(&parent)?;
    rustix::fs::mknodat(&parent, &name, FileType::CharacterDevice, Mode::empty(), 0)?;
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, format!("/proc/self/fd/{}", parent.as_raw_fd()), &times, AtFlags::empty())?)
}
