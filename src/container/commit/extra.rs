//! Layers after the container's own: the files of `--add-file`, and what `copy --link` keeps beside the container.
//!
//! ```text
//! --add-file   staged now: the files, and the directories that lead to them as the container has them ─┐
//! copy --link  staged by `copy`, in the container's directory                                         ─┴▶ pack → layer on layer
//!                                                                          with --squash: laid over the merged tree instead
//! ```
//!
//! Invariant: the container and what is beside it stay as they are; each tree is packed without a look at what is below it, so
//! that its digest does not depend on the base.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use containers_storage::archive::pack::{self, OnDisk, Output, Times, Tree};
use containers_storage::archive::unpack::{self, Devices, TreeOptions, Unmapped, Verdict};
use containers_storage::archive::{self, Entry, OverlayXattrs};
use containers_storage::id_map::IdMaps;
use containers_storage::layers::Layer;
use containers_storage::store::{LayerContent, Store};
use containers_storage::{LayerId, Root, id_map};
use rustix::fs::{FileType, Timespec};

use super::layer::{create_private, io_failed};
use super::{Error, Options};
use crate::container::add::{self, Appearance, Landing, Selection, Source, Verb};
use crate::container::state::StagedTree;
use crate::container::{Mounted, WorkingContainer};
use crate::copier::make::{self, Metadata};
use crate::copier::tree::Maps;
use crate::copier::{tree, xattr};
use crate::image::Time;
use crate::image::config::History;

/// Permissions of the files of `--add-file`, as Buildah's manual has them.
const MODE: &str = "0644";

/// One tree that becomes a layer.
pub(super) struct Extra {
    /// Its name, for messages.
    path: PathBuf,
    root: Root,
    /// The layer's history entry; for `--add-file` its text is known when the layer is.
    history: Option<History>,
    /// Deletes what was staged for this commit only.
    _staged: Option<StagedTree>,
}

/// One layer that was made of an extra tree.
pub(super) struct ExtraLayer {
    pub(super) layer: Layer,
    pub(super) history: History,
}

/// Whether a commit has any.
pub(super) fn any(container: &WorkingContainer, options: &Options) -> bool {
    !options.add_files.is_empty() || !container.state().linked.is_empty()
}

/// Refuses files of `--add-file` that are not there, or are directories, before anything is done.
pub(super) fn check(options: &Options) -> Result<(), Error> {
    for (source, _) in &options.add_files {
        let meta = std::fs::metadata(source).map_err(io_failed("parsing add-file argument: source", source))?;
        if meta.is_dir() {
            return Err(Error::AddDirectory { path: source.clone() });
        }
    }
    Ok(())
}

/// The trees, lowest first. `merged` gives the container's root file system, and is asked only if it is needed; the namespace has
/// been entered.
pub(super) fn stage(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    created: &Time,
    merged: &dyn Fn() -> Result<Root, Error>,
) -> Result<Vec<Extra>, Error> {
    let mut extras = Vec::new();
    if !options.add_files.is_empty() {
        extras.push(added_files(store, container, options, created, &merged()?)?);
    }
    for linked in &container.state().linked {
        // Other tools write the whole path; the tree is in the container's own directory, wherever the store is now.
        let path = container.directory().join(linked.tree.file_name().unwrap_or_default());
        let root = Root::open(&path).map_err(io_failed("opening", &path))?;
        extras.push(Extra { path, root, history: Some(linked.history.clone()), _staged: None });
    }
    Ok(extras)
}

/// The root of a container that is not mounted here, to be looked at only.
pub(super) fn look_at(store: &Store, container: &WorkingContainer) -> Result<Root, Error> {
    let mounted = Mounted::read_container(store, container)?;
    mounted.root().try_clone().map_err(io_failed("opening", mounted.path()))
}

/// Puts a layer on `below` for each tree.
pub(super) fn append(
    store: &Store,
    container: &WorkingContainer,
    below: Option<&LayerId>,
    extras: Vec<Extra>,
    times: Times,
) -> Result<Vec<ExtraLayer>, Error> {
    let store_failed = |source| Error::Store { name: container.name(), source };
    let mut layers: Vec<ExtraLayer> = Vec::new();
    for extra in extras {
        let below = layers.last().map(|last| last.layer.id.clone()).or_else(|| below.cloned());
        let staged = store.stage_layer().map_err(store_failed)?;
        let mut tar_split = create_private(staged.tar_split())?;
        let copy = Root::open(staged.tree()).map_err(io_failed("opening", staged.tree()))?;
        let output = Output { tar: None, tar_split: Some(&mut tar_split), copy: Some(&copy), ownership: store.ownership() };
        let packed = pack_tree(&extra, times, output)
            .map_err(|source| Error::Extra { path: extra.path.clone(), source: Box::new(source) })?;
        let (uids, gids) = (packed.uids.into_iter().collect(), packed.gids.into_iter().collect());
        let content = LayerContent::of_tar(packed.diff_digest, packed.diff_size, uids, gids);
        let layer = store.put_layer(staged, below.as_ref(), &content).map_err(store_failed)?;
        let history = extra.history.unwrap_or_else(|| History {
            created_by: format!("/bin/sh -c #(nop) ADD dir:{} in /", content.diff_digest.hex()),
            ..History::default()
        });
        layers.push(ExtraLayer { layer, history });
    }
    Ok(layers)
}

/// Lays the trees over `merged`, a whole root file system that nobody else uses, as mounting their layers over it would.
pub(super) fn lay_over(merged: &Root, extras: &[Extra], times: Times) -> Result<(), Error> {
    for extra in extras {
        let failed = |source| Error::Extra { path: extra.path.clone(), source: Box::new(source) };
        let (mut reader, mut writer) = io::pipe().map_err(|source| failed(archive::Error::Thread(source)))?;
        std::thread::scope(|scope| {
            let packing = scope.spawn(move || {
                let output = Output { tar: Some(&mut writer), ..Output::default() };
                pack_tree(extra, times, output)
            });
            let unpacked = unpack_over(merged, &mut reader);
            // Ends the other thread, should it still write.
            drop(reader);
            let gone = || archive::Error::Thread(io::Error::other("the thread that packs has failed"));
            let packed = packing.join().unwrap_or_else(|_| Err(gone()));
            unpacked.and(packed).map(drop).map_err(failed)
        })?;
    }
    Ok(())
}

fn unpack_over(merged: &Root, input: &mut (dyn io::Read + Send)) -> Result<(), archive::Error> {
    // In a layer a directory takes the place of a link; an archive that is unpacked would follow it.
    let mut replace_links = |entry: &mut Entry| {
        let path = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&entry.path));
        let is_link = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if matches!(entry.kind, archive::Kind::Directory) && merged.symlink_metadata(path).is_ok_and(is_link) {
            // Should it fail, making the directory does too, and says why.
            let _ = merged.remove_all(path);
        }
        Verdict::Take
    };
    let mut options = TreeOptions {
        devices: if id_map::is_rootless() { Devices::Skip } else { Devices::Create },
        unmapped: if crate::userns::has_single_id() { Unmapped::Ignore } else { Unmapped::Refuse },
        owner: None,
        mode: None,
        implied_owner: (0, 0),
        maps: None,
        filter: Some(&mut replace_links),
    };
    unpack::tree(input, merged, Path::new("/"), &mut options).map(drop)
}

fn pack_tree(extra: &Extra, times: Times, output: Output<'_>) -> Result<pack::Outcome, archive::Error> {
    let marks = if id_map::is_rootless() { OverlayXattrs::User } else { OverlayXattrs::Trusted };
    // As a layer, so that a name that would delete files is refused.
    let how = pack::Options {
        tree: Tree::Layer(marks),
        times,
        on_disk: OnDisk::Untouched,
        owner: pack::Owners::AsOnDisk,
        exclude: HashSet::new(),
    };
    pack::pack(&extra.root, &how, &mut |_| Ok(false), output)
}

/// `--add-file`: the files in a tree of their own, at the places that their names lead to in `merged`.
fn added_files(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    created: &Time,
    merged: &Root,
) -> Result<Extra, Error> {
    let staged = StagedTree::create(store, &container.name())?;
    for (source, path) in &options.add_files {
        let place = real_place(merged, path).map_err(io_failed("looking up", path))?;
        let how = add::Options {
            verb: Verb::Copy,
            archives: add::Archives::None,
            source: Source::Host { context: None },
            landing: Landing::Layer(staged.root()),
            workdir: PathBuf::from("/"),
            fetched: &[],
            inline: &[],
            maps: Maps::default(),
            layer: None,
            selection: Selection { wildcards: add::Wildcards::Literal, ..Selection::default() },
            appearance: Appearance {
                chmod: Some(MODE.to_owned()),
                timestamp: Some(created.timestamp().as_second()),
                ..Appearance::default()
            },
        };
        let added = add::add(merged, &[source.into()], Some(&place), &how);
        let failed = |error| Error::AddFile { name: container.name(), path: source.clone(), source: Box::new(error) };
        added.map_err(failed)?;
    }
    // The layer has their directories too, and must not change those that are there.
    for (_, path) in &options.add_files {
        let place = real_place(merged, path).map_err(io_failed("looking up", path))?;
        take_after(merged, staged.root(), &place, container.shift().as_ref()).map_err(io_failed("describing", &place))?;
    }
    let root = staged.root().try_clone().map_err(io_failed("opening", container.directory()))?;
    Ok(Extra { path: PathBuf::from("--add-file"), root, history: None, _staged: Some(staged) })
}

/// Where `path` really is below `root`: links on the way are followed, the last component is followed if it is a directory.
fn real_place(root: &Root, path: &Path) -> io::Result<PathBuf> {
    let path = Path::new("/").join(path);
    for (depth, ancestor) in path.ancestors().enumerate() {
        let handle = match root.subdir(ancestor) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound || depth == 0 => continue,
            Err(error) => return Err(error),
        };
        let real = root.name_of(handle.as_fd())?;
        let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
        return Ok(Path::new("/").join(real).join(rest));
    }
    Ok(path)
}

/// Gives each directory on the way to `place` in `tree` the owner, mode, attributes and time that it has in `merged`.
fn take_after(merged: &Root, tree: &Root, place: &Path, maps: Option<&IdMaps>) -> io::Result<()> {
    for path in place.ancestors().filter(|path| path.file_name().is_some()) {
        let (Ok(original), Ok(copy)) = (merged.subdir(path), tree.subdir(path)) else { continue };
        let stat = rustix::fs::fstat(&original)?;
        let xattrs = xattr::read(tree::open_directory(original.as_fd())?.as_fd())?;
        let metadata = Metadata {
            owner: Maps { sources: maps, copies: None }.inside(&stat)?,
            mode: stat.st_mode & 0o7777,
            modified: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() },
            xattrs: &xattrs,
        };
        make::finish(tree::open_directory(copy.as_fd())?.as_fd(), &metadata)?;
    }
    Ok(())
}
