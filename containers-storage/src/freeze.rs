//! Making an image layer of a container's writable layer: in place, or as a copy.
//!
//! ```text
//! in place   seal (placeholders go, the root gets its look), then pack (one walk: tar headers, SHA-256, tar-split; data is read once,
//!              written never); others may read the directory meanwhile
//!            → publish under all locks: tar-split → second record with digests, flag coracle-freeze → directory renamed to the
//!              layer's ID → image → container record goes → first record and flag go
//! copy       pack while each file is reflinked or copied into a temp dir → rename in as layer <chain id>
//! ```
//! mounted    (another tool's redirect and metacopy marks) compare what a mount of the layer shows with one of its parent, and pack that
//!
//! A process that dies in between leaves the flag. The next one that changes the store looks whether an image has the layer:
//! then the container's record goes, else the second record and the tar-split do; either way the flag goes last.
//!
//! Invariant: the only copy of data is never under an `incomplete` record or in a temporary directory: other tools delete those
//! on sight. An unchanged container gives an empty layer (the tar of 1,024 zero bytes), in both ways.
//!
//! Must not: hold a lock while packing; freeze a layer that is mounted anywhere (the caller holds the lease's gate).

mod publish;
#[cfg(test)]
mod tests;
mod through_mount;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};

use crate::archive::pack::{self, OnDisk, Outcome, Output, Selection, Times, Tree};
use crate::archive::{self, Marks};
use crate::changes::{self, stack::Stack};
use crate::containers::Container;
use crate::driver::{self, GraphDriver, Shape};
use crate::layers::Layer;
use crate::store::{self, LayerContent, StagedLayer, Store};
use crate::temp_dir::TempDir;
use crate::{ContainerId, LayerId, Root, id_map};

pub(crate) use publish::recover;

/// Flag of a layer whose freeze has begun and not ended.
pub const FLAG: &str = "coracle-freeze";

/// Why a layer could not be frozen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layer's directory could not be used.
    #[error(transparent)]
    Driver(#[from] driver::Error),
    /// The store's records could not be read or changed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Reading or copying the layer's files failed.
    #[error("packing layer {layer}")]
    Pack {
        /// The layer.
        layer: LayerId,
        /// What went wrong.
        source: archive::Error,
    },
    /// A file beside the layer's directory could not be written.
    #[error("{action} {path:?}")]
    Io {
        /// The operation, as a participle.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The layer is no plain writable layer of one container any more.
    #[error("layer {layer} of container {container} cannot become an image's layer: {reason}")]
    Unfit {
        /// The layer.
        layer: LayerId,
        /// Its container.
        container: ContainerId,
        /// What is in the way.
        reason: &'static str,
    },
}

/// How a layer is packed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Times of modification in the tar, and on disk in the new layer.
    pub times: Times,
    /// Who owns what the layer changes. Only for `copy`.
    pub owner: pack::Owners,
    /// The layer that the new one is put on, instead of the container's own parent. Only for `copy`.
    pub onto: Option<LayerId>,
    /// Paths below the root, without a leading slash, of placeholders of mounts: each is no part of the layer if it is an empty file or
    /// directory. Freezing in place removes them from disk.
    pub exclude: HashSet<PathBuf>,
}

/// A container's layer, packed and ready to be published where it lies. Dropped, it leaves the container as it was, but for
/// times cut to whole seconds.
#[derive(Debug)]
pub struct InPlace {
    container: ContainerId,
    /// The container's own layer.
    own: LayerId,
    parent: Option<LayerId>,
    /// The ID that the content gives it.
    target: LayerId,
    /// `target`, or an equal layer on the same parent.
    layer: LayerId,
    content: LayerContent,
    diff: Root,
    /// What lies in the directory and is no part of the layer.
    sockets: Vec<PathBuf>,
    /// The same, with all below it.
    placeholders: Vec<PathBuf>,
    tar_split: PathBuf,
    /// Holds the tar-split until it is published.
    _temporary: TempDir,
}

impl InPlace {
    /// The layer that the image is to name as its top.
    pub fn layer(&self) -> &LayerId {
        &self.layer
    }

    /// Digests and sizes for the image's config and manifest.
    pub fn content(&self) -> &LayerContent {
        &self.content
    }

    /// Removes from the directory what is no part of the layer.
    fn sweep(&self) -> Result<(), Error> {
        self.sockets.iter().try_for_each(|socket| remove_entry(&self.diff, socket))?;
        let remove = |path: &PathBuf| self.diff.remove_all(path).map_err(Error::io("removing", path));
        self.placeholders.iter().try_for_each(remove)
    }
}

/// Makes a new layer with the changes of `container` on its layer's parent; the container goes on as it is. The layer has the id
/// that its content gives it; one that exists already is reused.
///
/// The container may be mounted (its files are read as they are). Must run inside the user namespace of the store.
pub fn copy(store: &Store, driver: &dyn GraphDriver, container: &Container, options: &Options) -> Result<Layer, Error> {
    let layer = store.layers()?.get(&container.layer)?;
    let mut staged = store.stage_layer()?;
    let diff = open(&driver.diff_dir(&layer.id)?)?;
    let copy = open(staged.tree())?;
    let (tree, marks) = tree(driver, &layer)?;
    staged.set_marks(marks);
    let exclude = placeholders(&diff, &options.exclude);
    let mut tar_split = create(staged.tar_split())?;
    let owner = options.owner.clone();
    let how = pack::Options { tree, times: options.times, on_disk: OnDisk::Untouched, owner, exclude };
    let output = Output { tar: None, tar_split: Some(&mut tar_split), copy: Some(&copy), ownership: store.ownership() };
    match run(driver, &layer.id, &diff, &how, output) {
        Err(error) if error.wants_a_mount() => {
            // What was copied so far goes with its stage.
            staged = store.stage_layer()?;
            let content = through_mount::pack(driver, &layer, &staged, options)?;
            put(store, &layer, staged, &content, options.onto.as_ref())
        }
        packed => put(store, &layer, staged, &content(packed?), options.onto.as_ref()),
    }
}

fn put(
    store: &Store,
    layer: &Layer,
    staged: StagedLayer,
    content: &LayerContent,
    onto: Option<&LayerId>,
) -> Result<Layer, Error> {
    // Equal images have equal IDs and must have one top layer, also where another tool gave that layer an ID of its own.
    let layers = store.layers()?;
    let parent = onto.or(layer.parent.as_ref());
    match publish::equal_layer(&layers, &layer.id, parent, content)? {
        Some(equal) => Ok(layers.get(&equal)?),
        None => Ok(store.put_layer(staged, parent, content)?),
    }
}

/// A container's layer that is ready to be packed where it lies, and that nobody changes meanwhile.
#[derive(Debug)]
pub struct Sealed {
    container: ContainerId,
    layer: Layer,
    diff: Root,
}

/// Packs the layer of `container` where it lies. If an equal layer on the same parent exists, that one will be used.
///
/// The caller holds the lease's gate and has proved the layer unmounted. Must run inside the user namespace of the store. An error that
/// `Error::wants_a_mount` leaves `copy`.
pub fn in_place(store: &Store, driver: &dyn GraphDriver, container: &Container, options: &Options) -> Result<InPlace, Error> {
    seal(store, driver, container, options)?.pack(store, driver, options)
}

/// The first half of `in_place`: all that it changes in the layer's directory but times. The conditions are the same.
pub fn seal(store: &Store, driver: &dyn GraphDriver, container: &Container, options: &Options) -> Result<Sealed, Error> {
    let layers = store.layers()?;
    let layer = layers.get(&container.layer)?;
    publish::require_fit(&layers, &layer, &container.id)?;
    if !driver.can_move_to_images() {
        let reason = "images lie on another file system";
        return Err(Error::Unfit { layer: layer.id, container: container.id.clone(), reason });
    }
    let diff = open(&driver.diff_dir(&layer.id)?)?;
    for path in placeholders(&diff, &options.exclude) {
        remove_entry(&diff, &path)?;
    }
    driver.settle(&layer.id, layer.parent.as_ref())?;
    Ok(Sealed { container: container.id.clone(), layer, diff })
}

impl Sealed {
    /// Gives the files the times that they will have, so that `pack` changes nothing more that a mount of the directory shows.
    pub fn settle_times(&self, options: &Options) -> Result<(), Error> {
        pack::settle_times(&self.diff, options.times).map_err(Error::io("setting times in", Path::new(self.layer.id.as_str())))
    }

    /// The second half: reads it all.
    pub fn pack(self, store: &Store, driver: &dyn GraphDriver, options: &Options) -> Result<InPlace, Error> {
        let Self { container, layer, diff } = self;
        let temp_dirs = store.temp_dirs_outside_home();
        let temporary = TempDir::create(&temp_dirs).map_err(Error::io("making a temporary directory in", &temp_dirs))?;
        let path = temporary.path().join("0-addition");
        let mut tar_split = create(&path)?;
        let exclude = HashSet::new();
        let (tree, _) = tree(driver, &layer)?;
        let how =
            pack::Options { tree, times: options.times, on_disk: OnDisk::SetTimes, owner: pack::Owners::AsOnDisk, exclude };
        let output = Output { tar_split: Some(&mut tar_split), ..Output::default() };
        let mut packed = run(driver, &layer.id, &diff, &how, output)?;
        let (sockets, placeholders) = (std::mem::take(&mut packed.skipped_sockets), std::mem::take(&mut packed.placeholders));
        let content = content(packed);
        let equal = publish::equal_layer(&store.layers()?, &layer.id, layer.parent.as_ref(), &content)?;
        let target = LayerId::of_image_layer(layer.parent.as_ref(), &content.diff_digest);
        Ok(InPlace {
            container,
            layer: equal.unwrap_or_else(|| target.clone()),
            target,
            own: layer.id,
            parent: layer.parent,
            content,
            diff,
            sockets,
            placeholders,
            tar_split: path,
            _temporary: temporary,
        })
    }
}

fn run(driver: &dyn GraphDriver, id: &LayerId, diff: &Root, how: &pack::Options, output: Output<'_>) -> Result<Outcome, Error> {
    // Opaque directories are rare; without one the layers below are not opened.
    let stack: OnceCell<Stack> = OnceCell::new();
    let mut lower_has = |path: &Path| {
        if stack.get().is_none() {
            let opened = driver.diff_dir(id).and_then(|own| Stack::open(&own, &driver.lower_dirs(id)?, driver.upper_marks()));
            let _ = stack.set(opened.map_err(io::Error::other)?);
        }
        stack.get().map_or(Ok(false), |stack| stack.lowers_have_directory(path))
    };
    pack::pack(diff, how, &mut lower_has, output).map_err(|source| Error::Pack { layer: id.clone(), source })
}

/// What of the layer's directory is packed, and what a tree that holds only that cannot say.
fn tree(driver: &dyn GraphDriver, layer: &Layer) -> Result<(Tree, Marks), Error> {
    if driver.shape() == Shape::Diffs {
        return Ok((Tree::Layer(driver.upper_marks()), Marks::default()));
    }
    let (mut selection, mut marks) = (Selection::default(), Marks::default());
    for change in changes::of_layer(driver, layer)? {
        let path = change.path.strip_prefix("/").unwrap_or(&change.path);
        if change.kind == changes::Kind::Deleted {
            selection.add_gone(path);
            marks.whiteouts.insert(path.to_path_buf());
        } else {
            selection.add(path);
        }
    }
    Ok((Tree::Changes(selection), marks))
}

fn content(packed: Outcome) -> LayerContent {
    let (uids, gids) = (packed.uids.into_iter().collect(), packed.gids.into_iter().collect());
    LayerContent::of_tar(packed.diff_digest, packed.diff_size, uids, gids)
}

/// Those of the paths that are empty files or directories, and nobody's data.
fn placeholders(diff: &Root, paths: &HashSet<PathBuf>) -> HashSet<PathBuf> {
    let is_empty = |path: &PathBuf| {
        let stat = diff.symlink_metadata(path).ok()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(stat.st_size == 0),
            FileType::Directory => Some(diff.read_dir(path).ok()?.is_empty()),
            _ => Some(false),
        }
    };
    paths.iter().filter(|path| is_empty(path).unwrap_or(false)).cloned().collect()
}

/// Removes one file or empty directory.
fn remove_entry(diff: &Root, path: &Path) -> Result<(), Error> {
    let removed = diff.parent(path).and_then(|(parent, name)| {
        match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR) => rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR)?,
            other => other?,
        }
        Ok(())
    });
    removed.map_err(Error::io("removing", path))
}

fn open(path: &Path) -> Result<Root, Error> {
    Root::open(path).map_err(Error::io("opening", path))
}

fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(Error::io("creating", path))
}

impl Error {
    /// Whether the layer cannot be packed as it lies, but through a mount: `copy` does that. Rootless mounts follow no such mark
    /// (overlayfs documentation, `userxattr`).
    pub fn wants_a_mount(&self) -> bool {
        !id_map::is_rootless() && matches!(self, Self::Pack { source, .. } if source.is_mark_of_overlayfs())
    }

    /// An `Io` error, for `map_err`.
    fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source: source.into() }
    }
}
