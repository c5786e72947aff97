//! Writing an OCI image layout as a tar. A file that is there is replaced when the new one is whole.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use containers_storage::{Digest, ImageId};

use super::layout::ACCEPTS;
use super::named::Named;
use super::{INDEX_FILE, LAYOUT, LAYOUT_FILE};
use crate::image::location::Selector;
use crate::image::manifest::Descriptor;
use crate::image::{Location, Manifest};
use crate::transport::files::blob_name;
use crate::transport::tar_writer::{Member, TarWriter};
use crate::transport::{Accepts, BlobId, BlobStream, Destination, Error, InIndex, LayerRequest};

const MODE: u32 = 0o644;

/// An archive that gets an image.
pub(in crate::transport) struct OciArchive {
    location: Location,
    state: Mutex<State>,
}

struct State {
    tar: TarWriter,
    /// What is in the archive, and how long.
    blobs: HashMap<Digest, u64>,
    named: Named,
}

impl OciArchive {
    /// Begins the archive beside its place. Its members say that they are of the second `time` since 1970.
    pub(in crate::transport) fn open(
        location: &Location,
        file: &Path,
        selector: &Selector,
        temp_dir: &Path,
        time: u64,
    ) -> Result<Self, Error> {
        let named = Named::new(location, selector)?;
        let mut tar = TarWriter::create(file, temp_dir)?.dated(time);
        tar.put_member("blobs/", Member::Directory)?;
        tar.put_member("blobs/sha256/", Member::Directory)?;
        let state = State { tar, blobs: HashMap::new(), named };
        Ok(Self { location: location.clone(), state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        if state.blobs.insert(digest.clone(), bytes.len() as u64).is_none() {
            state.tar.put_bytes(&blob_name(digest), MODE, bytes)?;
        }
        Ok(())
    }
}

impl Destination for OciArchive {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn accepts(&self) -> Accepts {
        ACCEPTS
    }

    fn has_layer(&self, layer: &LayerRequest<'_>) -> Result<Option<Descriptor>, Error> {
        let written = self.state().blobs.get(&layer.blob.digest) == Some(&layer.blob.size);
        Ok(written.then(|| layer.blob.clone()))
    }

    fn put_layer(&self, _: &LayerRequest<'_>, mut stream: BlobStream<'_>) -> Result<BlobId, Error> {
        let mut state = self.state();
        let id = state.tar.put_stream(&mut stream, MODE, |id| blob_name(&id.digest))?;
        state.blobs.insert(id.digest.clone(), id.size);
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
        let Self { location, state } = *self;
        let State { mut tar, named, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !named.is_written() {
            return Ok(None);
        }
        let index = named.add_to(None, &location.to_string())?;
        tar.put_bytes(INDEX_FILE, MODE, &index)?;
        tar.put_bytes(LAYOUT_FILE, MODE, LAYOUT)?;
        tar.finish()?;
        Ok(None)
    }
}
