//! `dir:`: an image as files of a directory, named by digest.
//!
//! ```text
//! version                "Directory Transport Version: 1.1"
//! manifest.json          the manifest or index; <hex>.manifest.json are the instances of an index
//! <hex>                  configs and layers
//! signature-1            signatures, with <hex>. before it those of an instance
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use containers_storage::{Digest, ImageId};

use super::files::{DirFiles, Files};
use super::oci::blob_of;
use super::registry::Network;
use super::staging::{MadeDir, Staging};
use super::{Accepts, BlobId, BlobStream, Destination, Error, InIndex, LayerForm, LayerRequest, RawManifest, Source, scopes};
use crate::image::manifest::{self, Descriptor};
use crate::image::signature::{self, Kind, MAX_COUNT};
use crate::image::{Format, Location, Manifest};

const VERSION_FILE: &str = "version";
const VERSION: &[u8] = b"Directory Transport Version: 1.1\n";
/// How the files of every version begin.
const VERSION_START: &[u8] = b"Directory Transport Version: 1.";
const MANIFEST_FILE: &str = "manifest.json";

/// An image in a directory.
pub(super) struct DirSource {
    path: PathBuf,
    files: DirFiles,
}

impl DirSource {
    /// Opens the directory.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), files: DirFiles::of_image(path, MANIFEST_FILE)? })
    }
}

fn instance_file(digest: &Digest) -> String {
    format!("{}.manifest.json", digest.hex())
}

/// Signatures are counted from 1.
fn signature_file(instance: Option<&Digest>, number: usize) -> String {
    match instance {
        Some(digest) => format!("{}.signature-{number}", digest.hex()),
        None => format!("signature-{number}"),
    }
}

impl Source for DirSource {
    fn name(&self) -> String {
        Location::Dir(self.path.clone()).to_string()
    }

    fn transport(&self) -> &'static str {
        "dir"
    }

    fn policy_scopes(&self) -> Vec<String> {
        scopes::of_path(&self.path)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, Error> {
        let name = instance.map_or_else(|| MANIFEST_FILE.to_owned(), instance_file);
        Ok(RawManifest { bytes: self.files.read(&name, manifest::MAX_BYTES)?, media_type: None })
    }

    fn signatures(&self, instance: Option<&Digest>) -> Result<Vec<Vec<u8>>, Error> {
        let names = (1..=MAX_COUNT).map(|number| signature_file(instance, number));
        let names = names.take_while(|name| self.files.contains(name));
        names.map(|name| self.files.read(&name, signature::MAX_BYTES)).collect()
    }

    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
        blob_of(&self.files, blob.digest.hex(), blob)
    }
}

/// A directory that gets an image.
pub(super) struct DirDestination {
    path: PathBuf,
    // Dropped in this order: the directory must be empty to go.
    staging: Staging,
    _made: MadeDir,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Names of the files, each also that in the staging directory.
    files: Vec<String>,
    layers: HashMap<Digest, u64>,
}

impl DirDestination {
    /// Makes the directory if need be. One that holds something else than an image is left alone, as by the other tools.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let made = MadeDir::create(path)?;
        if !made.is_new() && !is_ours(path)? {
            let reason = "not a containers image directory, don't want to overwrite important data".to_owned();
            return Err(Error::Occupied { place: Location::Dir(path.to_owned()).to_string(), reason });
        }
        Ok(Self { path: path.to_owned(), staging: Staging::create(path)?, _made: made, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        if !state.files.iter().any(|known| known == name) {
            self.staging.put_bytes(name, bytes)?;
            state.files.push(name.to_owned());
        }
        Ok(())
    }

    /// Deletes what an older image left: everything but directories and what is being written.
    fn clear(&self) -> Result<(), Error> {
        let entries = std::fs::read_dir(&self.path).map_err(Error::io("reading", &self.path))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("reading", &self.path))?;
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                std::fs::remove_file(entry.path()).map_err(Error::io("deleting", &entry.path()))?;
            }
        }
        Ok(())
    }
}

/// Whether the directory is empty or holds an image.
fn is_ours(path: &Path) -> Result<bool, Error> {
    let mut entries = std::fs::read_dir(path).map_err(Error::io("reading", path))?;
    if entries.next().is_none() {
        return Ok(true);
    }
    let files = DirFiles::open(path)?;
    Ok(files.contains(VERSION_FILE) && files.read(VERSION_FILE, 100)?.starts_with(VERSION_START))
}

impl Destination for DirDestination {
    fn name(&self) -> String {
        Location::Dir(self.path.clone()).to_string()
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            formats: &[Format::Oci, Format::Docker],
            layers: LayerForm::Preserve,
            indexes: true,
            parallel: Network::PARALLEL_OUT,
        }
    }

    fn has_layer(&self, layer: &LayerRequest<'_>) -> Result<Option<Descriptor>, Error> {
        let same = self.state().layers.get(&layer.blob.digest) == Some(&layer.blob.size);
        Ok(same.then(|| layer.blob.clone()))
    }

    fn put_layer(&self, layer: &LayerRequest<'_>, mut stream: BlobStream<'_>) -> Result<BlobId, Error> {
        let temporary = format!("layer-{}", layer.index);
        let id = self.staging.put(&temporary, &mut stream)?;
        self.staging.rename(&temporary, id.digest.hex())?;
        let mut state = self.state();
        state.files.push(id.digest.hex().to_owned());
        state.layers.insert(id.digest.clone(), id.size);
        Ok(id)
    }

    fn put_config(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.put_bytes(digest.hex(), bytes)
    }

    fn put_manifest(&self, manifest: &Manifest, in_index: InIndex) -> Result<(), Error> {
        match in_index {
            InIndex::Alone => self.put_bytes(MANIFEST_FILE, manifest.bytes()),
            InIndex::Instance => self.put_bytes(&instance_file(&manifest.digest()), manifest.bytes()),
        }
    }

    fn put_index(&self, bytes: &[u8], _: &str) -> Result<(), Error> {
        self.put_bytes(MANIFEST_FILE, bytes)
    }

    fn accepts_signature(&self, _: Option<Kind>) -> Result<(), Error> {
        Ok(())
    }

    fn put_signatures(&self, signatures: &[Vec<u8>], instance: Option<&Digest>) -> Result<(), Error> {
        let mut numbered = signatures.iter().zip(1..);
        numbered.try_for_each(|(bytes, number)| self.put_bytes(&signature_file(instance, number), bytes))
    }

    fn complete(self: Box<Self>) -> Result<Option<ImageId>, Error> {
        let mut files = std::mem::take(&mut self.state().files);
        self.clear()?;
        self.staging.put_bytes(VERSION_FILE, VERSION)?;
        files.sort();
        files.dedup();
        // The manifest comes last: what it names is there.
        files.sort_by_key(|name| name == MANIFEST_FILE);
        for name in std::iter::once(VERSION_FILE).chain(files.iter().map(String::as_str)) {
            self.staging.publish(name, name)?;
        }
        Ok(None)
    }
}
