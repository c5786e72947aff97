//! `manifest add --artifact`: files become an artifact of a list. The files stay where they are; push reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use containers_storage::store::Store;
use containers_storage::{Digest, ImageId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::reading::{self, Access};
use super::{Error, Overrides, change};
use crate::golang::json;
use crate::image::list::Entry;
use crate::image::manifest::artifact::{Artifact, Blob, EMPTY_TYPE, TITLE, UNKNOWN_TYPE, media_type};
use crate::image::manifest::{Descriptor, OCI_CONFIG, OCI_MANIFEST};
use crate::transport::{self, BlobId, BlobStream};

/// How much of a file tells what it is.
const START: u64 = 512;

/// `artifacts.json`: what artifacts of a list are made of, by digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Artifacts {
    /// Manifests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) manifests: BTreeMap<String, String>,
    /// By manifest: absolute paths.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) files: BTreeMap<String, Vec<String>>,
    /// By manifest: the digest of the config.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    /// By manifest: the digests of the layers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layers: BTreeMap<String, Vec<String>>,
    /// By the digest of a config or layer: the file's absolute path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    detached: BTreeMap<String, String>,
    /// By the digest of a config or layer: its bytes in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    blobs: BTreeMap<String, String>,
}

impl Artifacts {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self).unwrap_or_default()
    }

    /// The manifest of the artifact that was made of this file.
    pub(super) fn by_file(&self, path: &str) -> Option<Digest> {
        let path = std::path::absolute(path).ok()?.display().to_string();
        let made = self.files.iter().find(|(_, files)| files.contains(&path));
        made.and_then(|(digest, _)| digest.parse().ok())
    }

    /// Forgets the artifact with this manifest, and what no other needs.
    pub(super) fn remove(&mut self, manifest: &str) {
        if self.manifests.remove(manifest).is_none() {
            return;
        }
        self.files.remove(manifest);
        let config = self.config.remove(manifest);
        let gone = self.layers.remove(manifest).unwrap_or_default().into_iter().chain(config);
        for digest in gone {
            let used = self.config.values().chain(self.layers.values().flatten()).any(|other| *other == digest);
            if !used {
                self.detached.remove(&digest);
                self.blobs.remove(&digest);
            }
        }
    }

    /// Takes over the artifact with this manifest from another list.
    pub(super) fn take(&mut self, other: &Self, manifest: &str) {
        let copy = |from: &BTreeMap<String, String>, to: &mut BTreeMap<String, String>, key: &str| {
            if let Some(value) = from.get(key) {
                to.insert(key.to_owned(), value.clone());
            }
        };
        copy(&other.manifests, &mut self.manifests, manifest);
        copy(&other.config, &mut self.config, manifest);
        let layers = other.layers.get(manifest).cloned().unwrap_or_default();
        for digest in other.config.get(manifest).into_iter().chain(&layers) {
            copy(&other.detached, &mut self.detached, digest);
            copy(&other.blobs, &mut self.blobs, digest);
        }
        self.layers.insert(manifest.to_owned(), layers);
        if let Some(files) = other.files.get(manifest) {
            self.files.insert(manifest.to_owned(), files.clone());
        }
    }
}

/// Where the config of an artifact comes from.
#[derive(Debug, Clone, Default)]
pub struct ConfigFrom<'a> {
    /// `--artifact-config`: a file; none for an empty config.
    pub file: Option<&'a Path>,
    /// `--artifact-config-type`; empty for that of an image's config if there is a file.
    pub media_type: &'a str,
}

/// What an artifact is.
#[derive(Debug, Clone)]
pub struct ArtifactOptions<'a> {
    /// `--artifact-type`
    pub artifact_type: Option<&'a str>,
    /// Its config.
    pub config: ConfigFrom<'a>,
    /// `--artifact-layer-type`; none: by the file's name or content.
    pub layer_type: Option<&'a str>,
    /// Whether layers tell the names of the files.
    pub titles: bool,
    /// `--artifact-subject`: an image.
    pub subject: Option<&'a str>,
    /// `--artifact-annotation`
    pub annotations: &'a BTreeMap<String, String>,
}

/// A file and what it is.
struct ReadFile {
    path: PathBuf,
    digest: Digest,
    size: u64,
    start: Vec<u8>,
}

/// Makes an artifact of `files` and adds it to the list `name`. Answers with the list's ID and the digest of the artifact's manifest.
pub fn add_artifact(
    store: &Store,
    name: &str,
    files: &[String],
    options: &ArtifactOptions<'_>,
    overrides: &Overrides,
    access: &Access<'_>,
) -> Result<(ImageId, Digest), Error> {
    super::find(store, access.registries, name)?;
    let subject = options.subject.map(|operand| reading::open(store, operand, access)?.descriptor()).transpose()?;
    let layers = files.iter().map(|file| read(Path::new(file))).collect::<Result<Vec<_>, _>>()?;
    let config_file = options.config.file.map(read).transpose()?;
    let artifact = Artifact {
        artifact_type: options.artifact_type.unwrap_or(UNKNOWN_TYPE),
        config: config(&options.config, config_file.as_ref()),
        layers: layers.iter().map(|layer| blob_of(layer, options)).collect(),
        subject: subject.map(|entry| {
            let Entry { media_type, digest, size, artifact_type, .. } = entry;
            (Descriptor { media_type, digest, size, annotations: BTreeMap::new() }, artifact_type)
        }),
        annotations: options.annotations,
    };
    let bytes = artifact.to_bytes();
    let made = parts(&artifact, &bytes, &layers, config_file.as_ref());
    let digest = Digest::of(&bytes);
    let mut entry = Entry::new(OCI_MANIFEST, digest.clone(), bytes.len() as u64);
    artifact.artifact_type.clone_into(&mut entry.artifact_type);
    overrides.apply(&mut entry);
    change(store, access.registries, name, |stored| {
        stored.artifacts.take(&made, digest.as_str());
        super::add::put_entry(stored, entry)?;
        Ok(digest)
    })
}

fn config(from: &ConfigFrom<'_>, file: Option<&ReadFile>) -> Blob {
    let typed = |default: &str| if from.media_type.is_empty() { default.to_owned() } else { from.media_type.to_owned() };
    match file {
        None => Blob::empty(&typed(EMPTY_TYPE)),
        Some(file) => Blob { descriptor: descriptor(file, typed(OCI_CONFIG)), data: String::new() },
    }
}

fn descriptor(file: &ReadFile, media_type: String) -> Descriptor {
    Descriptor { media_type, digest: file.digest.clone(), size: file.size, annotations: BTreeMap::new() }
}

fn blob_of(file: &ReadFile, options: &ArtifactOptions<'_>) -> Blob {
    let title = file.path.file_name().unwrap_or_default().to_string_lossy();
    let kind = options.layer_type.unwrap_or_else(|| media_type(&title, &file.start));
    let mut descriptor = descriptor(file, kind.to_owned());
    if options.titles {
        descriptor.annotations.insert(TITLE.to_owned(), title.into_owned());
    }
    Blob { descriptor, data: String::new() }
}

/// What the list notes of an artifact.
fn parts(artifact: &Artifact<'_>, bytes: &[u8], layers: &[ReadFile], config_file: Option<&ReadFile>) -> Artifacts {
    let manifest = Digest::of(bytes).to_string();
    let mut made = Artifacts::default();
    made.manifests.insert(manifest.clone(), String::from_utf8_lossy(bytes).into_owned());
    let config = artifact.config.descriptor.digest.to_string();
    if config_file.is_none() {
        made.blobs.insert(config.clone(), artifact.config.data.clone());
    }
    made.config.insert(manifest.clone(), config);
    let all = || config_file.into_iter().chain(layers);
    made.detached.extend(all().map(|file| (file.digest.to_string(), file.path.display().to_string())));
    made.files.insert(manifest.clone(), all().map(|file| file.path.display().to_string()).collect());
    made.layers.insert(manifest, layers.iter().map(|layer| layer.digest.to_string()).collect());
    made
}

/// Reads a file to its end.
fn read(path: &Path) -> Result<ReadFile, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let whole = std::path::absolute(path).map_err(failed)?;
    let mut file = File::open(&whole).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut start = Vec::new();
    (&mut file).take(START).read_to_end(&mut start).map_err(failed)?;
    let mut sha = Sha256::new();
    sha.update(&start);
    let (mut size, mut buffer) = (start.len() as u64, vec![0; 256 << 10]);
    loop {
        let length = file.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            break;
        }
        sha.update(&buffer[..length]);
        size = size.saturating_add(length as u64);
    }
    Ok(ReadFile { path: whole, digest: Digest::from_sha256(sha.finalize().into()), size, start })
}

/// The bytes of a config or layer of an artifact.
pub(super) fn blob(artifacts: &Artifacts, blob: &Descriptor) -> Result<BlobStream<'static>, transport::Error> {
    let expected = BlobId { digest: blob.digest.clone(), size: blob.size };
    let wrong = |problem: String| transport::Error::Blob {
        place: "the artifacts of the list".to_owned(),
        digest: blob.digest.clone(),
        problem,
    };
    if let Some(path) = artifacts.detached.get(blob.digest.as_str()) {
        let file = File::open(path).map_err(|error| wrong(format!("cannot be read from {path:?}: {error}")))?;
        return Ok(BlobStream::new(Box::new(file), expected));
    }
    let Some(text) = artifacts.blobs.get(blob.digest.as_str()) else {
        return Err(wrong("is of no artifact of the list".to_owned()));
    };
    let bytes = STANDARD.decode(text).map_err(|error| wrong(format!("is not base64: {error}")))?;
    Ok(BlobStream::new(Box::new(Cursor::new(bytes)), expected))
}
