//! Writing into a directory in the OCI image layout. Images that are there stay.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use containers_storage::{Digest, ImageId};
use rustix::fs::FlockOperation;

use super::named::Named;
use super::{INDEX_FILE, LAYOUT, LAYOUT_FILE};
use crate::image::location::Selector;
use crate::image::manifest::{self, Descriptor};
use crate::image::{Format, Location, Manifest};
use crate::transport::files::{DirFiles, Files, blob_name};
use crate::transport::registry::Network;
use crate::transport::staging::{MadeDir, Staging};
use crate::transport::{Accepts, BlobId, BlobStream, Destination, Error, InIndex, LayerForm, LayerRequest};

/// What every writer of the layout takes. An archive has one layer after the other.
pub(super) const ACCEPTS: Accepts =
    Accepts { formats: &[Format::Oci], layers: LayerForm::Compress, indexes: true, parallel: 1 };

/// A layout that gets an image.
pub(in crate::transport) struct OciLayout {
    location: Location,
    dir: PathBuf,
    // Dropped in this order: the directory must be empty to go.
    staging: Staging,
    _made: MadeDir,
    state: Mutex<State>,
}

struct State {
    /// Blobs that were written, and the file of each in the staging directory.
    blobs: HashMap<Digest, (String, u64)>,
    count: usize,
    named: Named,
}

impl OciLayout {
    /// Makes the directory, if need be. Nothing else changes yet.
    pub(in crate::transport) fn open(location: &Location, dir: &Path, selector: &Selector) -> Result<Self, Error> {
        let state = State { blobs: HashMap::new(), count: 0, named: Named::new(location, selector)? };
        let made = MadeDir::create(dir)?;
        let staging = Staging::create(dir)?;
        Ok(Self { location: location.clone(), dir: dir.to_owned(), staging, _made: made, state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_name(&self) -> String {
        let mut state = self.state();
        state.count += 1;
        format!("blob-{}", state.count)
    }

    fn put_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let name = self.new_name();
        self.staging.put_bytes(&name, bytes)?;
        self.state().blobs.insert(digest.clone(), (name, bytes.len() as u64));
        Ok(())
    }

    /// The table of images as it is now, with ours.
    fn new_index(&self, named: &Named) -> Result<Vec<u8>, Error> {
        let path = self.dir.join(INDEX_FILE);
        let old = match DirFiles::open(&self.dir)? {
            files if path.symlink_metadata().is_ok() => Some(files.read(INDEX_FILE, manifest::MAX_BYTES)?),
            _ => None,
        };
        named.add_to(old.as_deref(), &path.display().to_string())
    }
}

impl Destination for OciLayout {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn accepts(&self) -> Accepts {
        Accepts { parallel: Network::PARALLEL_OUT, ..ACCEPTS }
    }

    fn has_layer(&self, layer: &LayerRequest<'_>) -> Result<Option<Descriptor>, Error> {
        let digest = &layer.blob.digest;
        let written = self.state().blobs.get(digest).map(|(_, size)| *size);
        let there = || {
            let metadata = std::fs::symlink_metadata(self.dir.join(blob_name(digest))).ok();
            metadata.filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
        };
        // A file of another length was cut short by something; it is written anew.
        let same = written.or_else(there) == Some(layer.blob.size);
        Ok(same.then(|| layer.blob.clone()))
    }

    fn put_layer(&self, _: &LayerRequest<'_>, mut stream: BlobStream<'_>) -> Result<BlobId, Error> {
        let name = self.new_name();
        let id = self.staging.put(&name, &mut stream)?;
        self.state().blobs.insert(id.digest.clone(), (name, id.size));
        Ok(id)
    }

    fn put_config(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.put_bytes(digest, bytes)
    }

    fn put_manifest(&self, manifest: &Manifest, in_index: InIndex) -> Result<(), Error> {
        self.put_bytes(&manifest.digest(), manifest.bytes())?;
        self.state().named.note_manifest(manifest, in_index);
        Ok(())
    }

    fn put_index(&self, bytes: &[u8], media_type: &str) -> Result<(), Error> {
        self.put_bytes(&Digest::of(bytes), bytes)?;
        self.state().named.note_index(bytes, media_type);
        Ok(())
    }

    fn complete(self: Box<Self>) -> Result<Option<ImageId>, Error> {
        let state = self.state();
        let State { blobs, named, .. } = &*state;
        if !named.is_written() {
            return Ok(None);
        }
        for (digest, (name, _)) in blobs {
            self.staging.publish(name, &blob_name(digest))?;
        }
        self.staging.put_bytes("layout", LAYOUT)?;
        self.staging.publish("layout", LAYOUT_FILE)?;
        // Two writers at once would lose an image of one of them. The lock ends with the file.
        let dir = std::fs::File::open(&self.dir).map_err(Error::io("opening", &self.dir))?;
        rustix::fs::flock(&dir, FlockOperation::LockExclusive).map_err(Error::io("locking", &self.dir))?;
        // Last: what it names is there.
        let index = self.new_index(named)?;
        self.staging.put_bytes("index", &index)?;
        self.staging.publish("index", INDEX_FILE)?;
        Ok(None)
    }
}
