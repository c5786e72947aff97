//! Transports: images between the store, directories and archives.
//!
//! ```text
//! Location ── open_source ──────▶ Source ───────┐
//!                                               ├─ copy ─▶ Outcome
//! Location ── open_destination ─▶ Destination ──┘
//!
//! storage/         containers-storage:, the store      dir             dir:
//! registry/        docker://
//! oci_layout/      oci:, oci-archive:                   docker_archive/ docker-archive:
//! tarball          tarball:, read only                 tar_file, tar_writer   members of a tar, by name
//! copy/            one image or all of an index         blob            streams that are verified as they pass
//! compression/     gzip and zstd                        trust/         signatures, and what the policy asks of them
//! encryption/    layers under keys     error     stop            what ends all threads of a copy
//! ```
//!
//! Invariants: documents are bytes first; what was not changed is copied byte for byte. Each blob is verified against the digest and
//! the size that named it while it streams, and nothing is visible at the destination before all of it was verified (known attacks,
//! invariant 8). Whatever comes from a source has a limit.
//!
//! Must not: print; enter a namespace. The caller is in the store's user namespace (`container::mounted::enter`) before a source or
//! destination in the store is opened, because owners in layers mean those of that namespace, and threads are started here.

pub mod blob;
pub mod compression;
pub mod copy;
mod dir;
mod docker_archive;
pub mod encryption;
mod error;
mod files;
mod interrupts;
mod oci;
mod pipe;
pub mod registry;
mod scopes;
mod staging;
mod stop;
pub mod storage;
mod tar_file;
mod tar_writer;
mod tarball;
mod trust;

use std::path::Path;

use containers_storage::store::Store;
use containers_storage::{Digest, ImageId};

pub use self::blob::{BlobId, BlobStream};
pub use self::copy::{
    CopyOptions, Instances, LayerCompression, Moving, Outcome, Platform, Progress, Recompress, Uncompressed, copy,
};
pub use self::error::Error;
use self::registry::Network;
pub use self::trust::Refusal;
use crate::conf::Registries;
use crate::http::Retry;
use crate::image::manifest::{Descriptor, LayerType};
use crate::image::signature::Kind;
use crate::image::{Format, Location, Manifest, Reference};

/// A manifest or index as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// Its bytes; at most `image::manifest::MAX_BYTES`.
    pub bytes: Vec<u8>,
    /// What named it says it is, if anything does.
    pub media_type: Option<String>,
}

/// Where an image is read from. Blobs may be read by several threads at once.
pub trait Source: Send + Sync {
    /// What a person calls it, `transport:rest`.
    fn name(&self) -> String;

    /// Scopes of policy.json(5) that the image is in, the narrowest first, without the transport's own (`""`).
    fn policy_scopes(&self) -> Vec<String>;

    /// The name of the transport, as policy.json has it.
    fn transport(&self) -> &'static str;

    /// Whether the policy has nothing to say, because the image is in the store in use: it was asked when the image came there.
    fn is_trusted(&self) -> bool {
        false
    }

    /// What the image is called where names are those of registries; signatures name images so.
    fn reference(&self) -> Option<Reference> {
        None
    }

    /// The signatures of the image, or with `instance` of the image of that digest of the index; unverified.
    fn signatures(&self, instance: Option<&Digest>) -> Result<Vec<Vec<u8>>, Error> {
        let _ = instance;
        Ok(Vec::new())
    }

    /// The names that the image gets in a store when it is pulled from here, as Buildah gives them; none for an unnamed one.
    fn names(&self) -> Vec<String>;

    /// The manifest or index; with `instance` the manifest of that digest, which the index names.
    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, Error>;

    /// What stands here for the layers of `manifest`, lowest first: the same descriptors, or others for the same diffs (a store
    /// has most layers uncompressed). `diff_ids` are those of the config.
    fn layers(&self, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<Descriptor>, Error> {
        let _ = diff_ids;
        Ok(manifest.layers.clone())
    }

    /// The bytes of a config or layer. Nothing was verified yet: that is `BlobStream`'s.
    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error>;

    /// Compressed blobs with the content of an uncompressed layer that may be at a destination already, though they are not here.
    fn known_as(&self, layer: &LayerRequest<'_>) -> Result<Vec<Descriptor>, Error> {
        let _ = layer;
        Ok(Vec::new())
    }

    /// Told what the layer was compressed into on its way from here.
    fn learned(&self, layer: &LayerRequest<'_>, blob: &Descriptor, kind: LayerType) {
        let _ = (layer, blob, kind);
    }

    /// Told that the copy has failed: whoever still waits for something from here need not wait any longer.
    fn give_up(&self) {}
}

/// A place that does not break off.
const NO_RETRY: Retry = Retry { count: 0, delay: None };

/// How a destination wants layers when nothing was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerForm {
    /// As they are.
    Preserve,
    /// Compressed: an uncompressed one is compressed on the way.
    Compress,
    /// Uncompressed tar files.
    Decompress,
}

/// What a destination can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// The formats of manifests; the first is preferred when the image's own is not among them.
    pub formats: &'static [Format],
    /// Layers.
    pub layers: LayerForm,
    /// Whether it can hold an index with several instances.
    pub indexes: bool,
    /// How many layers may be written at once.
    pub parallel: usize,
}

/// A layer on its way.
#[derive(Debug, Clone, Copy)]
pub struct LayerRequest<'a> {
    /// Its place in the image, 0 for the lowest.
    pub index: usize,
    /// What the source calls it.
    pub blob: &'a Descriptor,
    /// The diff IDs of all layers of the image, lowest first.
    pub diff_ids: &'a [Digest],
}

impl LayerRequest<'_> {
    /// The diff ID of this layer.
    pub fn diff_id(&self) -> Option<&Digest> {
        self.diff_ids.get(self.index)
    }
}

/// Where an image is written to. Layers come first, in any order and from several threads; then the config, then the manifest, once
/// for each instance; then the index, if there is one; then `complete`. Dropped without, it leaves nothing.
pub trait Destination: Send + Sync {
    /// What a person calls it, `transport:rest`.
    fn name(&self) -> String;

    /// What the image will be called where names are those of registries; a new signature names it so.
    fn reference(&self) -> Option<Reference> {
        None
    }

    /// More names for the image, where a place keeps several (`docker-archive:`); elsewhere nothing.
    fn add_names(&mut self, names: &[String]) {
        let _ = names;
    }

    /// What it takes.
    fn accepts(&self) -> Accepts;

    /// Whether layers may stay encrypted there. Where they are unpacked they cannot.
    fn keeps_encrypted(&self) -> bool {
        true
    }

    /// Whether the layer is there already and need not be sent. The answer describes the blob that is there, which may be another
    /// one than was asked for where the destination does not keep the form (`LayerForm::Decompress`).
    fn has_layer(&self, layer: &LayerRequest<'_>) -> Result<Option<Descriptor>, Error>;

    /// Takes a layer and says what it was. The stream is read to its end.
    fn put_layer(&self, layer: &LayerRequest<'_>, stream: BlobStream<'_>) -> Result<BlobId, Error>;

    /// Takes a config.
    fn put_config(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error>;

    /// Takes the manifest of an image; `instance` says that an index will name it.
    fn put_manifest(&self, manifest: &Manifest, instance: InIndex) -> Result<(), Error>;

    /// Told that the image that is put alone is one of this index, where a place keeps what it was named by.
    fn note_index(&self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// Takes an index, whose instances were put before. Where `accepts` says that there are none, it is refused.
    fn put_index(&self, bytes: &[u8], media_type: &str) -> Result<(), Error> {
        let _ = (bytes, media_type);
        Err(Error::OneImageOnly { place: self.name() })
    }

    /// Refuses signatures of this kind (`None` for a form that is not known) if they have no place here. Otherwise there may be some
    /// to take.
    fn accepts_signature(&self, kind: Option<Kind>) -> Result<(), Error> {
        let _ = kind;
        Err(Error::NoPlaceForSignatures { place: self.name() })
    }

    /// Takes the signatures of a manifest or index that was put: those of `instance`, or of the whole.
    fn put_signatures(&self, signatures: &[Vec<u8>], instance: Option<&Digest>) -> Result<(), Error> {
        let _ = (signatures, instance);
        Err(Error::NoPlaceForSignatures { place: self.name() })
    }

    /// Makes everything visible. The ID is that of the image in a store.
    fn complete(self: Box<Self>) -> Result<Option<ImageId>, Error>;

    /// How often a layer that broke off on its way there is copied again from its beginning.
    fn retry(&self) -> Retry {
        NO_RETRY
    }

    /// Told that the copy has failed: whoever still waits for an answer from here need not wait any longer.
    fn give_up(&self) {}
}

/// Config and manifest of the one image that a destination keeps until it is complete.
#[derive(Debug, Default)]
struct Documents {
    config: Option<(Digest, Vec<u8>)>,
    manifest: Option<Manifest>,
}

impl Documents {
    fn put_config(&mut self, digest: &Digest, bytes: &[u8]) {
        self.config = Some((digest.clone(), bytes.to_vec()));
    }

    fn put_manifest(&mut self, manifest: &Manifest) {
        self.manifest = Some(manifest.clone());
    }

    /// Digest and bytes of the config, and the manifest; `None` if one of them never came.
    fn both(self) -> Option<(Digest, Vec<u8>, Manifest)> {
        let (digest, config) = self.config?;
        Some((digest, config, self.manifest?))
    }
}

/// Whether a manifest is what the destination is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InIndex {
    /// It is the image.
    Alone,
    /// It is one of the images of an index that follows.
    Instance,
}

/// The text of an error and of its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What the opening of a place may need.
#[derive(Debug, Clone, Copy)]
pub struct Means<'s> {
    /// The store in use, for `containers-storage:` names without brackets.
    pub store: &'s Store,
    /// For temporary files (containers.conf `image_copy_tmp_dir`, `TMPDIR`, else /var/tmp).
    pub temp_dir: &'s Path,
    /// What is said of registries in registries.conf. Read only for one.
    pub registries: &'s Registries,
    /// How registries are reached.
    pub network: &'s Network,
    /// What a registry means where nobody listens.
    pub silence: Silence,
}

/// What becomes of reading from a registry at whose address nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// There is no other place for what is wanted: the registry may be about to start, as beside a job of CI, and is asked again as if
    /// it were busy.
    Awaited,
    /// There is: the answer is known at once.
    Told,
}

/// Opens the image at `location` for reading.
pub fn open_source<'s>(location: &Location, means: Means<'s>) -> Result<Box<dyn Source + 's>, Error> {
    let Means { store, temp_dir, .. } = means;
    Ok(match location {
        Location::Registry(reference) => Box::new(registry::RegistrySource::open(reference, means)?),
        Location::Storage(_) => Box::new(storage::open_source(location, store)?),
        Location::OciLayout { dir: path, image } | Location::OciArchive { file: path, image } => {
            Box::new(oci::OciSource::open(location, path, image, temp_dir)?)
        }
        Location::DockerArchive { file, image } => {
            Box::new(docker_archive::DockerArchiveSource::open(location, file, image, temp_dir)?)
        }
        Location::Dir(dir) => Box::new(dir::DirSource::open(dir)?),
        Location::Tarball(files) => Box::new(tarball::TarballSource::open(location, files)?),
    })
}

/// Opens `location` for a new image. Nothing is visible there before `Destination::complete`.
pub fn open_destination<'s>(location: &Location, means: Means<'s>) -> Result<Box<dyn Destination + 's>, Error> {
    open_dated(location, means, 0)
}

/// The same, where an OCI archive says of all that is in it that it was changed `time` seconds after the beginning of 1970. Nothing
/// else at any place depends on `time`.
pub fn open_dated<'s>(location: &Location, means: Means<'s>, time: u64) -> Result<Box<dyn Destination + 's>, Error> {
    let temp_dir = means.temp_dir;
    Ok(match location {
        Location::Registry(reference) => Box::new(registry::RegistryDestination::open(reference, means)?),
        Location::Storage(_) => Box::new(storage::open_destination(location, means)?),
        Location::OciLayout { dir, image } => Box::new(oci::OciLayout::open(location, dir, image)?),
        Location::OciArchive { file, image } => Box::new(oci::OciArchive::open(location, file, image, temp_dir, time)?),
        Location::DockerArchive { file, image } => {
            Box::new(docker_archive::DockerArchive::open(location, file, image, temp_dir)?)
        }
        Location::Dir(dir) => Box::new(dir::DirDestination::open(dir)?),
        Location::Tarball(_) => return Err(Error::WriteUnsupported { location: location.to_string() }),
    })
}
