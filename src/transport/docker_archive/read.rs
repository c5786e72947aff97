//! Reading an image of a Docker archive.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use containers_storage::Digest;
use containers_storage::archive::Compression;
use containers_storage::archive::decompress::Decompressor;

use super::{Item, MANIFEST_FILE, REPOSITORIES_FILE};
use crate::image::location::Selector;
use crate::image::manifest::{self, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Descriptor, MAX_LAYERS};
use crate::image::{Format, ImageConfig, Location, Manifest, Reference, config};
use crate::transport::files::Files;
use crate::transport::tar_file::TarFile;
use crate::transport::{BlobId, BlobStream, Error, RawManifest, Source, pipe};

/// An image of the archive.
pub(in crate::transport) struct DockerArchiveSource {
    location: Location,
    tar: TarFile,
    names: Vec<String>,
    config: Vec<u8>,
    /// Member and compression of each layer, lowest first.
    members: Vec<(String, Compression)>,
    manifest: Manifest,
}

impl DockerArchiveSource {
    /// Finds the image and makes up its manifest. Compressed layers are read once for that: their uncompressed length is in it.
    pub(in crate::transport) fn open(
        location: &Location,
        file: &Path,
        image: &Selector,
        temp_dir: &Path,
    ) -> Result<Self, Error> {
        let tar = TarFile::open(file, temp_dir)?;
        let place = || location.to_string();
        if !tar.contains(MANIFEST_FILE) && tar.contains(REPOSITORIES_FILE) {
            let reason = "it was written by Docker before 1.10, whose images have no config: load and save it with a newer one";
            return Err(Error::NoImage { place: place(), reason: reason.to_owned() });
        }
        let bytes = tar.read(MANIFEST_FILE, manifest::MAX_BYTES)?;
        let items = serde_json::from_slice::<Vec<Item>>(&bytes);
        let items = items.map_err(|error| Error::Document { place: tar.place(MANIFEST_FILE), problem: error.to_string() })?;
        let item = choose(items, image).map_err(|reason| Error::NoImage { place: place(), reason })?;
        let config = tar.read(&item.config, config::MAX_BYTES)?;
        let parsed = ImageConfig::parse(&config).map_err(|source| Error::Config { place: tar.place(&item.config), source })?;
        let (layers, diff_ids) = (item.layers.len(), parsed.diff_ids.len());
        if layers != diff_ids || layers > MAX_LAYERS {
            return Err(Error::LayerCount { place: place(), layers, diff_ids });
        }
        let (mut members, mut descriptors) = (Vec::new(), Vec::new());
        for (name, diff_id) in item.layers.iter().zip(&parsed.diff_ids) {
            let (compression, size) = measure(&tar, name)?;
            members.push((name.clone(), compression));
            descriptors.push(described(DOCKER_LAYER_GZIP, diff_id.clone(), size));
        }
        let named = described(DOCKER_CONFIG, Digest::of(&config), config.len() as u64);
        let manifest = Manifest::new(Format::Docker, named, descriptors, BTreeMap::new());
        Ok(Self { location: location.clone(), tar, names: names(&item, image), config, members, manifest })
    }

    fn layer(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, Error> {
        let at = self.manifest.layers.iter().position(|layer| layer.digest == blob.digest);
        let member = at.and_then(|at| self.members.get(at));
        let Some((name, compression)) = member else {
            let problem = "is not in the archive".to_owned();
            return Err(Error::Blob { place: self.name(), digest: blob.digest.clone(), problem });
        };
        let (mut file, _) = self.tar.open(name)?;
        if *compression == Compression::None {
            return Ok(file);
        }
        let inflated = pipe::stream("inflate", move |to| {
            let mut plain = Decompressor::new(&mut file)?;
            io::copy(&mut plain, to).map(drop)
        });
        inflated.map_err(|source| Error::Stream { action: "reading", place: self.tar.place(name), source })
    }
}

fn described(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new() }
}

/// How a layer is compressed, and its uncompressed length.
fn measure(tar: &TarFile, name: &str) -> Result<(Compression, u64), Error> {
    let (mut file, size) = tar.open(name)?;
    let failed = |source| Error::Stream { action: "reading", place: tar.place(name), source };
    let mut plain = Decompressor::new(&mut file).map_err(failed)?;
    match plain.compression() {
        Compression::None => Ok((Compression::None, size)),
        compression => Ok((compression, io::copy(&mut plain, &mut io::sink()).map_err(failed)?)),
    }
}

/// The item that `selector` means, in the other tools' words where there is none.
fn choose(mut items: Vec<Item>, selector: &Selector) -> Result<Item, String> {
    let count = items.len();
    match selector {
        Selector::Only if count == 1 => items.pop().ok_or_else(String::new),
        Selector::Only => {
            let tags: Vec<String> = items.iter().flat_map(|item| &item.repo_tags).map(|tag| format!("{tag:?}")).collect();
            let choice = if tags.is_empty() { String::new() } else { format!(": name one of {}", tags.join(", ")) };
            Err(format!("Unexpected tar manifest.json: expected 1 item, got {count}{choice}"))
        }
        Selector::Index(index) if *index < count => Ok(items.swap_remove(*index)),
        Selector::Index(index) => Err(format!("Invalid source index @{index}, only {count} manifest items available")),
        Selector::Name(name) => {
            let is_it = |tag: &String| Reference::normalized(tag).is_ok_and(|tag| tag.to_string() == *name);
            let found = items.into_iter().find(|item| item.repo_tags.iter().any(is_it));
            found.ok_or_else(|| format!("Tag {name:?} not found"))
        }
    }
}

fn names(item: &Item, selector: &Selector) -> Vec<String> {
    match selector {
        Selector::Name(name) => vec![name.clone()],
        _ => {
            let names = item.repo_tags.iter().filter_map(|tag| Reference::for_new_image(tag).ok());
            names.map(|name| name.to_string()).collect()
        }
    }
}

impl Source for DockerArchiveSource {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn transport(&self) -> &'static str {
        self.location.transport()
    }

    /// The other tools know the whole transport only.
    fn policy_scopes(&self) -> Vec<String> {
        Vec::new()
    }

    fn reference(&self) -> Option<Reference> {
        Reference::parse_qualified(self.names.first()?).ok()
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, Error> {
        if let Some(digest) = instance {
            let problem = "is an instance of an index, which a Docker archive cannot have".to_owned();
            return Err(Error::Blob { place: self.name(), digest: digest.clone(), problem });
        }
        Ok(RawManifest { bytes: self.manifest.bytes().to_vec(), media_type: Some(DOCKER_MANIFEST.to_owned()) })
    }

    /// The layers as they are given out: uncompressed.
    fn layers(&self, manifest: &Manifest, _: &[Digest]) -> Result<Vec<Descriptor>, Error> {
        let plain = manifest.layers.iter().map(|layer| Descriptor { media_type: DOCKER_LAYER.to_owned(), ..layer.clone() });
        Ok(plain.collect())
    }

    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
        let expected = BlobId { digest: blob.digest.clone(), size: blob.size };
        if blob.digest == self.manifest.config.digest {
            return Ok(BlobStream::new(Box::new(io::Cursor::new(self.config.clone())), expected));
        }
        Ok(BlobStream::new(self.layer(blob)?, expected))
    }
}
