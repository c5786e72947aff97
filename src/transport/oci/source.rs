//! Reading from an OCI image layout.

use std::path::{Path, PathBuf};

use containers_storage::Digest;

use super::INDEX_FILE;
use super::index_json::{self, Entry};
use crate::image::location::Selector;
use crate::image::manifest::{self, Descriptor};
use crate::image::{Location, Reference};
use crate::transport::files::{DirFiles, Files, blob_name};
use crate::transport::tar_file::TarFile;
use crate::transport::{BlobId, BlobStream, Error, RawManifest, Source, blob, scopes};

/// An image of a layout.
pub(in crate::transport) struct OciSource {
    location: Location,
    path: PathBuf,
    selector: Selector,
    files: Box<dyn Files>,
    entry: Entry,
}

impl OciSource {
    /// Finds the image in the directory or archive at `path`.
    pub(in crate::transport) fn open(
        location: &Location,
        path: &Path,
        selector: &Selector,
        temp_dir: &Path,
    ) -> Result<Self, Error> {
        let (files, entry) = match location {
            Location::OciArchive { .. } => {
                let files: Box<dyn Files> = Box::new(TarFile::open(path, temp_dir)?);
                let place = |reason| Error::NoImage { place: files.place(INDEX_FILE), reason };
                let entry = chosen(files.as_ref(), selector)?.map_err(place)?;
                (files, entry)
            }
            _ => in_directory(path, selector).map_err(|source| {
                let colon = if *selector == Selector::Only { ":" } else { "" };
                Error::Initializing { location: format!("{location}{colon}"), source: Box::new(source) }
            })?,
        };
        Ok(Self { location: location.clone(), path: path.to_owned(), selector: selector.clone(), files, entry })
    }
}

fn in_directory(path: &Path, selector: &Selector) -> Result<(Box<dyn Files>, Entry), Error> {
    let files = DirFiles::of_image(path, INDEX_FILE)?;
    let entry = chosen(&files, selector)?.map_err(|reason| Error::NotThere { reason })?;
    Ok((Box::new(files), entry))
}

/// The image that `selector` means, or why there is none.
fn chosen(files: &dyn Files, selector: &Selector) -> Result<Result<Entry, String>, Error> {
    let index = files.read(INDEX_FILE, manifest::MAX_BYTES)?;
    Ok(index_json::choose(&index, selector))
}

impl Source for OciSource {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn transport(&self) -> &'static str {
        self.location.transport()
    }

    fn policy_scopes(&self) -> Vec<String> {
        let mut all = scopes::of_path(&self.path);
        if let (Selector::Name(name), Some(path)) = (&self.selector, all.first()) {
            all.insert(0, format!("{path}:{name}"));
        }
        all
    }

    fn names(&self) -> Vec<String> {
        let name = match (&self.location, &self.selector) {
            // Buildah completes the two in different ways.
            (Location::OciLayout { .. }, Selector::Name(name)) => Reference::normalized(name),
            (Location::OciArchive { .. }, _) if self.entry.name().is_some() => {
                Reference::for_new_image(self.entry.name().unwrap_or_default())
            }
            _ => return Vec::new(),
        };
        // Not every name of a layout is one of a store; the image has none then.
        name.iter().map(ToString::to_string).collect()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, Error> {
        let name = blob_name(instance.unwrap_or(&self.entry.digest));
        let bytes = self.files.read(&name, manifest::MAX_BYTES)?;
        if instance.is_some() {
            return Ok(RawManifest { bytes, media_type: None });
        }
        let found = BlobId { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        let expected = BlobId { digest: self.entry.digest.clone(), size: self.entry.size };
        let wrong = |source| Error::Stream { action: "reading", place: self.files.place(&name), source };
        blob::verify(&expected, &found).map_err(wrong)?;
        Ok(RawManifest { bytes, media_type: Some(self.entry.media_type.clone()) })
    }

    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
        blob_of(self.files.as_ref(), &blob_name(&blob.digest), blob)
    }
}

/// The blob in the file `name`, whose length is compared before anything is read.
pub(in crate::transport) fn blob_of(files: &dyn Files, name: &str, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
    let (file, size) = files.open(name)?;
    if size != blob.size {
        let problem = format!("has {size} bytes instead of {}", blob.size);
        return Err(Error::Blob { place: files.place(name), digest: blob.digest.clone(), problem });
    }
    Ok(BlobStream::new(file, BlobId { digest: blob.digest.clone(), size: blob.size }))
}
