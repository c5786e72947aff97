//! `tarball:`: tar files that become the layers of an image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use containers_storage::Digest;
use containers_storage::archive::Compression;
use containers_storage::archive::decompress::Decompressor;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{BlobId, BlobStream, Error, RawManifest, Source};
use crate::image::config::History;
use crate::image::manifest::{Descriptor, MAX_LAYERS, OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST};
use crate::image::{Format, ImageConfig, Location, Manifest, Time};

/// An image made of files.
pub(super) struct TarballSource {
    location: Location,
    files: Vec<(PathBuf, Descriptor)>,
    config: Vec<u8>,
    manifest: Manifest,
}

/// A file, read once.
struct Layer {
    blob: Descriptor,
    diff_id: Digest,
    changed: Timestamp,
}

impl TarballSource {
    /// Reads the files once, for their digests.
    pub(super) fn open(location: &Location, paths: &[PathBuf]) -> Result<Self, Error> {
        if paths.len() > MAX_LAYERS {
            let reason = format!("{} files (limit {MAX_LAYERS})", paths.len());
            return Err(Error::NoImage { place: location.to_string(), reason });
        }
        let layers = paths.iter().map(|path| read(path)).collect::<Result<Vec<Layer>, _>>()?;
        // As old as its newest file, so that the same files make the same image.
        let created = layers.iter().map(|layer| layer.changed).max().map(Time::from_timestamp);
        let entry = |layer: &Layer| History {
            created: Some(Time::from_timestamp(layer.changed)),
            created_by: format!("/bin/sh -c #(nop) ADD file:{} in /", layer.diff_id.hex()),
            comment: "imported from tarball".to_owned(),
            ..History::default()
        };
        let config = ImageConfig {
            created,
            architecture: crate::golang::goarch().to_owned(),
            os: "linux".to_owned(),
            diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
            history: layers.iter().map(entry).collect(),
            ..ImageConfig::default()
        };
        let config = config.to_oci();
        let named = described(OCI_CONFIG, Digest::of(&config), config.len() as u64);
        let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
        let manifest = Manifest::new(Format::Oci, named, blobs, BTreeMap::new());
        let files = paths.iter().cloned().zip(layers.into_iter().map(|layer| layer.blob)).collect();
        Ok(Self { location: location.clone(), files, config, manifest })
    }
}

fn described(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new() }
}

fn read(path: &Path) -> Result<Layer, Error> {
    let failed = |source: io::Error| Error::Io { action: "reading", path: path.to_owned(), source };
    let mut file = open(path)?;
    let changed = file.metadata().and_then(|metadata| metadata.modified()).map_err(failed)?;
    let changed = Timestamp::try_from(changed).map_err(|error| failed(io::Error::other(error)))?;
    let mut plain = Decompressor::new(&mut file).map_err(failed)?;
    let media_type = match plain.compression() {
        Compression::None => OCI_LAYER,
        Compression::Gzip => OCI_LAYER_GZIP,
        Compression::Zstd => OCI_LAYER_ZSTD,
        other @ (Compression::Bzip2 | Compression::Xz) => {
            let problem = format!("is compressed with {other}, which no layer of an image is: use gzip, zstd or nothing");
            return Err(Error::Document { place: path.display().to_string(), problem });
        }
    };
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = plain.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            break;
        }
        sha.update(&buffer[..length]);
    }
    let blob = plain.finish().map_err(failed)?;
    Ok(Layer {
        blob: described(media_type, blob.digest, blob.size),
        diff_id: Digest::from_sha256(sha.finalize().into()),
        changed,
    })
}

/// Opens a regular file: anything else could not be read twice.
fn open(path: &Path) -> Result<File, Error> {
    let is_file = std::fs::metadata(path).map_err(Error::io("reading", path))?.is_file();
    if !is_file {
        return Err(Error::Document { place: path.display().to_string(), problem: "is no regular file".to_owned() });
    }
    File::open(path).map_err(Error::io("opening", path))
}

impl Source for TarballSource {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn transport(&self) -> &'static str {
        "tarball"
    }

    fn policy_scopes(&self) -> Vec<String> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, Error> {
        if let Some(digest) = instance {
            let problem = "is an instance of an index, which tar files are not".to_owned();
            return Err(Error::Blob { place: self.name(), digest: digest.clone(), problem });
        }
        Ok(RawManifest { bytes: self.manifest.bytes().to_vec(), media_type: Some(OCI_MANIFEST.to_owned()) })
    }

    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
        let expected = BlobId { digest: blob.digest.clone(), size: blob.size };
        if blob.digest == self.manifest.config.digest {
            return Ok(BlobStream::new(Box::new(io::Cursor::new(self.config.clone())), expected));
        }
        match self.files.iter().find(|(_, layer)| layer.digest == blob.digest) {
            // The file may have changed since: then the digest is wrong at the end.
            Some((path, _)) => Ok(BlobStream::new(Box::new(open(path)?), expected)),
            None => {
                let problem = "is not one of the files".to_owned();
                Err(Error::Blob { place: self.name(), digest: blob.digest.clone(), problem })
            }
        }
    }
}
