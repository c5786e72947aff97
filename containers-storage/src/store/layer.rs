//! Putting image layers (format, section 8.1, staged): the tree is assembled where no other tool looks, and moved in under the lock.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::blobs::Keeping;
use super::pending::Note;
use super::{Error, LayerContent, LayersMut, Store};
use crate::archive::unpack::{self, Devices, LayerOptions, Unmapped};
use crate::archive::{self, Marks, Ownership, Whiteouts};
use crate::driver::{Shape, Side, vfs};
use crate::layers::Layer;
use crate::temp_dir::TempDir;
use crate::{Digest, LayerId, Root, id_map};

/// A tree that is being assembled on the file system of the layers. Dropped, it is deleted.
#[derive(Debug)]
pub(super) struct StagedTree {
    in_home: TempDir,
    tree: PathBuf,
}

impl StagedTree {
    /// The tree; others can't reach it: the directory around it is 0700.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }
}

/// A layer that is being assembled: a tree and its tar-split. Dropped, it is deleted.
#[derive(Debug)]
pub struct StagedLayer {
    staged: StagedTree,
    beside_table: TempDir,
    tar_split: PathBuf,
    whiteouts: Whiteouts,
    ownership: Ownership,
    unmapped: Unmapped,
    marks: Marks,
    /// The input as it came, if it was kept.
    blob: Option<PathBuf>,
}

/// A layer that was assembled, and what is recorded of it.
pub type StagedContent = (StagedLayer, LayerContent);

impl StagedLayer {
    /// The directory for what the layer changes; it exists, empty. Others can't reach it: the directory around it is 0700.
    pub fn tree(&self) -> &Path {
        self.staged.tree()
    }

    /// Says what the layer deletes of the layers below, where that is listed (`GraphDriver::whiteouts`). `unpack` does it by itself.
    pub fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
    }

    /// Where the tar-split (gzip'd) is to be written; does not exist yet.
    pub fn tar_split(&self) -> &Path {
        &self.tar_split
    }

    /// Unpacks the tar `input`, compressed or not, as the content of the layer: tree, tar-split, and what is to be recorded of it.
    /// `unmapped` says what becomes of owners that this user namespace lacks, unless the settings say that already.
    ///
    /// Starts threads, so that namespaces must be entered before. After an error nothing but dropping makes sense.
    pub fn unpack(&mut self, input: &mut (dyn Read + Send), unmapped: Unmapped) -> Result<LayerContent, archive::Error> {
        let devices = if id_map::is_rootless() { Devices::Skip } else { Devices::Create };
        let unmapped = if self.unmapped == Unmapped::Ignore { Unmapped::Ignore } else { unmapped };
        let options = LayerOptions { whiteouts: self.whiteouts, devices, unmapped, ownership: self.ownership };
        let mut tar_split =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.tar_split).map_err(archive::Error::Write)?;
        let tree = Root::open(self.tree()).map_err(archive::Error::Write)?;
        let unpacked = unpack::layer(input, &tree, options, Some(&mut tar_split))?;
        self.marks = unpacked.marks;
        Ok(LayerContent {
            diff_digest: unpacked.diff_digest,
            diff_size: unpacked.diff_size,
            compressed_digest: unpacked.blob_digest,
            compressed_size: unpacked.blob_size,
            compression: unpacked.compression.into(),
            uids: unpacked.uids.into_iter().collect(),
            gids: unpacked.gids.into_iter().collect(),
        })
    }

    /// As `unpack`, and keeps the input as it came, if it is compressed, for the next push (`Store::kept_blob`).
    pub fn unpack_and_keep(
        &mut self,
        input: &mut (dyn Read + Send),
        unmapped: Unmapped,
    ) -> Result<LayerContent, archive::Error> {
        let mut first = Vec::new();
        let magic = archive::Compression::MAGIC_LENGTH as u64;
        input.take(magic).read_to_end(&mut first).map_err(archive::Error::Read)?;
        let compression = archive::Compression::detect(&first);
        let mut input = std::io::Cursor::new(first).chain(input);
        if !matches!(compression, archive::Compression::Gzip | archive::Compression::Zstd) {
            return self.unpack(&mut input, unmapped);
        }
        let blob = self.beside_table.path().join("1-blob");
        let mut keeping = Keeping::new(&mut input, &blob);
        let content = self.unpack(&mut keeping, unmapped)?;
        self.blob = keeping.is_whole().then_some(blob);
        Ok(content)
    }

    /// Deletes it now. `Err` if that needs another user namespace: it is collected later.
    pub fn discard(mut self) -> std::io::Result<()> {
        self.beside_table.remove()?;
        self.staged.in_home.remove()
    }
}

impl Store {
    /// Room for a new layer.
    pub fn stage_layer(&self) -> Result<StagedLayer, Error> {
        let staged = self.stage_tree(Side::Images)?;
        let beside_table = temporary(self.temp_dirs_outside_home())?;
        let tar_split = beside_table.path().join("0-addition");
        let unmapped = if self.conf.options.ignore_chown_errors { Unmapped::Ignore } else { Unmapped::Refuse };
        let (whiteouts, marks) = (self.driver()?.whiteouts(), Marks::default());
        let ownership = self.ownership();
        Ok(StagedLayer { staged, beside_table, tar_split, whiteouts, ownership, unmapped, marks, blob: None })
    }

    /// Where files of layers keep their owners and modes.
    pub fn ownership(&self) -> Ownership {
        self.conf.options.force_mask.map_or(Ownership::OnInode, |mask| Ownership::InAttribute { mask })
    }

    /// Room for a tree.
    pub(super) fn stage_tree(&self, side: Side) -> Result<StagedTree, Error> {
        let in_home = temporary(self.temp_dirs(side))?;
        let tree = in_home.path().join("0-addition");
        std::fs::create_dir(&tree).map_err(Error::io("creating", &tree))?;
        if self.driver()?.shape() == Shape::Trees {
            vfs::label(&tree);
        }
        Ok(StagedTree { in_home, tree })
    }

    /// Makes a staged tree the layer over `parent`, under the ID of `LayerId::of_image_layer`. If that layer exists it is used,
    /// and the staged one deleted. Should this process die before an image on the layer is recorded, `check::repair` collects it.
    /// Where layers are whole trees this copies the parent's, and must run inside the user namespace of the store.
    pub fn put_layer(&self, staged: StagedLayer, parent: Option<&LayerId>, content: &LayerContent) -> Result<Layer, Error> {
        self.put_each((&(staged, content.clone()), &[]), parent)
    }

    /// As `put_layer` for each of `staged`, the lowest first and directly over `parent`; answers with the top one. All of them become
    /// visible at once, unless layers are whole trees.
    pub fn put_layers(&self, staged: &[StagedContent], parent: Option<&LayerId>) -> Result<Option<LayerId>, Error> {
        // A whole tree is made from that of the layer below, which must be in its place for that.
        let at_once = if self.driver()?.shape() == Shape::Trees { 1 } else { staged.len().max(1) };
        let mut below = parent.cloned();
        for some in staged.chunks(at_once).filter_map(<[StagedContent]>::split_first) {
            below = Some(self.put_each(some, below.as_ref())?.id);
        }
        Ok(below)
    }

    /// The top one of the first and the rest of some layers.
    fn put_each(&self, staged: (&StagedContent, &[StagedContent]), parent: Option<&LayerId>) -> Result<Layer, Error> {
        let put = self.try_put_each(staged, parent);
        if put.is_err() {
            // As in `create_container`: undoes what was noted.
            let _ = self.lock_layers();
        }
        put
    }

    fn try_put_each(
        &self,
        (first, rest): (&StagedContent, &[StagedContent]),
        parent: Option<&LayerId>,
    ) -> Result<Layer, Error> {
        let staged = || std::iter::once(first).chain(rest);
        let (ids, top) = chain_ids(&first.1.diff_digest, rest.iter().map(|(_, content)| &content.diff_digest), parent);
        if self.driver()?.shape() == Shape::Trees && !self.layers()?.contains(&top) {
            self.driver()?.complete(first.0.tree(), parent, &first.0.marks)?;
        }
        let mut layers = self.lock_layers()?;
        let mut missing = Vec::new();
        for id in &ids {
            if layers.contains(id) {
                self.join_announcement(id)?;
            } else {
                missing.push(id.clone());
            }
        }
        if missing.is_empty() {
            return layers.get(&top);
        }
        let noted = self.note(&Note { layers: missing.clone(), ..Note::default() })?;
        let mut below = parent;
        for (id, (staged, content)) in ids.iter().zip(staged()) {
            if missing.contains(id) {
                if let Some(below) = below.filter(|below| !missing.contains(below)) {
                    self.refuse_parent(&layers, below)?;
                }
                self.place_layer(&mut layers, staged, (id, below), content)?;
            }
            below = Some(id);
        }
        self.sync_layers()?;
        layers.prepare()?.finish()?;
        for (_, (staged, content)) in ids.iter().zip(staged()).filter(|(id, _)| missing.contains(id)) {
            if let Some(blob) = &staged.blob {
                // A push has more to do without it; nothing else.
                let _ = self.keep_blob(blob, &content.compressed_digest);
            }
        }
        noted.done();
        layers.get(&top)
    }

    /// Moves a staged layer to its place, and puts its record into the table that is not written yet.
    fn place_layer(
        &self,
        layers: &mut LayersMut,
        staged: &StagedLayer,
        (id, parent): (&LayerId, Option<&LayerId>),
        content: &LayerContent,
    ) -> Result<(), Error> {
        self.driver()?.adopt(id, parent, staged.tree(), Side::Images)?;
        private_file(&staged.tar_split).map_err(Error::io("reading", &staged.tar_split))?;
        self.place_tar_split(&staged.tar_split, id)?;
        self.announce_layer(id)?;
        let mut layer = Layer::new(id.clone(), parent.cloned());
        layer.set_content(Some(content));
        layers.push(self.table_of_image_layers(), &layer)
    }

    fn refuse_parent(&self, layers: &crate::layers::Layers, parent: &LayerId) -> Result<(), Error> {
        if !layers.contains(parent) {
            return Err(Error::NoLayer(parent.clone()));
        }
        // A container's layer still changes; nothing may be built upon it.
        let users = self.containers()?.of_layer(parent);
        if users.is_empty() {
            return Ok(());
        }
        Err(Error::InUse { what: format!("layer {parent}"), users: users.iter().map(ToString::to_string).collect() })
    }

    /// With `sync = "filesystem"`: waits until the data of layers is on the disk.
    pub(crate) fn sync_layers(&self) -> Result<(), Error> {
        if self.conf.options.sync_filesystem {
            let home = self.home_of(Side::Images);
            let synced = std::fs::File::open(&home).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
            synced.map_err(Error::io("syncing", &home))?;
        }
        Ok(())
    }
}

/// The IDs of layers with these diffs, the first one directly over `parent`, and once more that of the top one.
fn chain_ids<'d>(first: &Digest, rest: impl Iterator<Item = &'d Digest>, parent: Option<&LayerId>) -> (Vec<LayerId>, LayerId) {
    let mut top = LayerId::of_image_layer(parent, first);
    let mut ids = vec![top.clone()];
    for diff in rest {
        top = LayerId::of_image_layer(Some(&top), diff);
        ids.push(top.clone());
    }
    (ids, top)
}

fn temporary(parent: PathBuf) -> Result<TempDir, Error> {
    TempDir::create(&parent).map_err(|source| match source.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            Error::ReadOnly { path: parent, source }
        }
        _ => Error::io("making a temporary directory in", &parent)(source),
    })
}

/// Mode 0600, whatever the umask was when the file was written.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}
