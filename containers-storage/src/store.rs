//! A store: read snapshots of its tables, and the operations that change it. Each operation is safe against a kill at any
//! point (format, section 8).
//!
//! Invariant: what a record names exists before the record is visible, and is removed after it.

use std::path::{Path, PathBuf};

use crate::conf::Conf;
use crate::containers::{Container, Containers};
use crate::images::{Image, Images};
use crate::layers::{Compression, Layer, Layers};
use crate::{ContainerId, Digest, ImageId, LayerId};

/// Why a store cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the store cannot be used.
    #[error("{action} {path:?}")]
    Io {
        /// What was tried, as "reading".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A table is no JSON of the expected form. It is left as it is.
    #[error("{path:?} is damaged at byte {offset}: {problem}")]
    Corrupt {
        /// The table.
        path: PathBuf,
        /// Where.
        offset: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] crate::lock::Error),
    /// The store lies on a read-only file system, or belongs to someone else.
    #[error("the store at {path:?} cannot be changed: it is read-only")]
    ReadOnly {
        /// The graph root.
        path: PathBuf,
    },
    /// More than one object has an ID that starts so.
    #[error("{text:?} is ambiguous: {}", .candidates.join(", "))]
    Ambiguous {
        /// The prefix.
        text: String,
        /// Full IDs.
        candidates: Vec<String>,
    },
    /// No such layer.
    #[error("layer {0} not known")]
    NoLayer(LayerId),
    /// No such image.
    #[error("image {0} not known")]
    NoImage(ImageId),
    /// No such container.
    #[error("container {0} not known")]
    NoContainer(ContainerId),
    /// The name is taken by another container.
    #[error("the container name {name:?} is already in use by {id}")]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        id: ContainerId,
    },
    /// An image that a container was made from, or a layer with children, cannot be deleted.
    #[error("{what} is in use by {}", .users.join(", "))]
    InUse {
        /// What should have been deleted, with its kind.
        what: String,
        /// IDs of the users.
        users: Vec<String>,
    },
}

/// An open store. Cheap to open: nothing is read or made until it is needed.
#[derive(Debug)]
pub struct Store {
    conf: Conf,
}

/// What a new container is.
#[derive(Debug, Clone, Default)]
pub struct NewContainer {
    /// The image it is made from; none for scratch.
    pub image: Option<ImageId>,
    /// The layer below its writable one: the image's top layer; none for scratch.
    pub parent: Option<LayerId>,
    /// Opaque text for the record.
    pub metadata: String,
    /// Options for mounts of the container.
    pub mount_options: Vec<String>,
}

/// What is known of a layer's content, for its record.
#[derive(Debug, Clone)]
pub struct LayerContent {
    /// Diff ID.
    pub diff_digest: Digest,
    /// Length of the uncompressed tar in bytes.
    pub diff_size: u64,
    /// Digest of the blob as it was received; the diff ID for a plain tar.
    pub compressed_digest: Digest,
    /// Length of that blob in bytes.
    pub compressed_size: u64,
    /// Compression of the blob received.
    pub compression: Compression,
    /// Distinct owners in the tar headers, sorted.
    pub uids: Vec<u32>,
    /// Distinct groups in the tar headers, sorted.
    pub gids: Vec<u32>,
}

/// A layer that is being assembled where no other tool looks: a tree and its tar-split. Dropped, it is deleted.
#[derive(Debug)]
pub struct StagedLayer {
    tree: PathBuf,
    tar_split: PathBuf,
}

impl StagedLayer {
    /// The directory that becomes the layer's `diff`; it exists, empty, 0700 until the layer is put.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// Where `<id>.tar-split.gz` is to be written; does not exist yet.
    pub fn tar_split(&self) -> &Path {
        &self.tar_split
    }
}

/// What a new image is.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Its ID.
    pub id: ImageId,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its top layer.
    pub layer: Option<LayerId>,
    /// Names to give it; each is taken from whoever has it.
    pub names: Vec<String>,
    /// JSON text; `{}` is fine.
    pub metadata: String,
    /// When the image was made, RFC 3339.
    pub created: String,
    /// Key and bytes, in the order of format 8.2: config, `manifest-<digest>`, `manifest`.
    pub big_data: Vec<(String, Vec<u8>)>,
}

/// How names are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameChange {
    /// Exactly these.
    Set,
    /// These as well.
    Add,
    /// All but these.
    Remove,
}

/// What a deletion did.
#[derive(Debug)]
#[must_use]
pub struct Deleted {
    /// The layers that went.
    pub layers: Vec<LayerId>,
}

impl Deleted {
    /// Deletes the files of what was removed. `false`: some belong to other owners; call it again in the store's user namespace.
    /// Never called or killed in between: the next collection does it.
    pub fn finish(&mut self) -> Result<bool, Error> {
        Ok(true)
    }
}

impl Store {
    /// Opens the store. Makes the graph root (0700) if it is missing; refuses one that others own or may write.
    pub fn open(conf: Conf) -> Result<Self, Error> {
        Ok(Self { conf })
    }

    /// Its settings.
    pub fn conf(&self) -> &Conf {
        &self.conf
    }

    /// The layers, read now.
    pub fn layers(&self) -> Result<Layers, Error> {
        Ok(Layers {})
    }

    /// The images, read now.
    pub fn images(&self) -> Result<Images, Error> {
        Ok(Images {})
    }

    /// The containers, read now.
    pub fn containers(&self) -> Result<Containers, Error> {
        Ok(Containers {})
    }

    /// The driver's home, `<graph root>/overlay`.
    pub fn driver_home(&self) -> PathBuf {
        self.conf.graph_root.join("overlay")
    }

    /// Where a container's own files are: `<graph root>/overlay-containers/<id>/userdata`.
    pub fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.conf.graph_root.join("overlay-containers").join(id).join("userdata")
    }

    /// The same below the run root.
    pub fn container_run_dir(&self, id: &ContainerId) -> PathBuf {
        self.conf.run_root.join("overlay-containers").join(id).join("userdata")
    }

    /// The bytes stored for an image under `key`.
    pub fn image_data(&self, image: &Image, _key: &str) -> Result<Vec<u8>, Error> {
        Err(Error::NoImage(image.id.clone()))
    }

    /// Makes a container with a fresh writable layer. `name` is asked with 0, 1, 2… until it gives a name that no container
    /// has; it may answer `None` when the caller insists on a name that is taken. `state` is given the new record before it is visible, to
    /// write files below `container_dir`, which exists then.
    pub fn create_container(
        &self,
        _new: &NewContainer,
        _name: &mut dyn FnMut(u32) -> Option<String>,
        _state: &mut dyn FnMut(&Container, &Path) -> std::io::Result<()>,
    ) -> Result<Container, Error> {
        Err(Error::ReadOnly { path: self.conf.graph_root.clone() })
    }

    /// Deletes a container and its writable layer.
    pub fn delete_container(&self, id: &ContainerId) -> Result<Deleted, Error> {
        Err(Error::NoContainer(id.clone()))
    }

    /// Gives a container another name.
    pub fn rename_container(&self, id: &ContainerId, _name: &str) -> Result<(), Error> {
        Err(Error::NoContainer(id.clone()))
    }

    /// Room for a new layer.
    pub fn stage_layer(&self) -> Result<StagedLayer, Error> {
        Err(Error::ReadOnly { path: self.conf.graph_root.clone() })
    }

    /// Makes a staged tree the layer over `parent`, under the ID of `LayerId::of_image_layer`. If that layer exists it is used,
    /// and the staged one deleted.
    pub fn put_layer(&self, _staged: StagedLayer, parent: Option<&LayerId>, content: &LayerContent) -> Result<Layer, Error> {
        Err(Error::NoLayer(LayerId::of_image_layer(parent, &content.diff_digest)))
    }

    /// Records an image and stores its big data. An image that exists under this ID gets the names and the data.
    pub fn put_image(&self, new: &NewImage) -> Result<Image, Error> {
        Err(Error::NoImage(new.id.clone()))
    }

    /// Changes an image's names. A name that another image has moves from it.
    pub fn change_image_names(&self, id: &ImageId, _change: NameChange, _names: &[String]) -> Result<Image, Error> {
        Err(Error::NoImage(id.clone()))
    }

    /// Deletes an image and those of its layers that nothing else uses. An image with containers is refused.
    pub fn delete_image(&self, id: &ImageId) -> Result<Deleted, Error> {
        Err(Error::NoImage(id.clone()))
    }
}
