//! Writing a Docker archive with one image, with the entries for old Dockers as containers/image writes them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use containers_storage::{Digest, ImageId};
use serde_json::value::RawValue;

use super::{Item, MANIFEST_FILE, REPOSITORIES_FILE};
use crate::golang::json;
use crate::image::location::Selector;
use crate::image::manifest::{DOCKER_LAYER, Descriptor};
use crate::image::{Format, Location, Manifest, Reference};
use crate::transport::tar_writer::{Member, TarWriter};
use crate::transport::{Accepts, BlobId, BlobStream, Destination, Documents, Error, InIndex, LayerForm, LayerRequest};

const MODE: u32 = 0o444;
/// What the `json` of the top layer has from the config.
const INHERITED: [&str; 7] = ["architecture", "config", "container", "container_config", "created", "docker_version", "os"];

/// An archive that gets an image.
pub(in crate::transport) struct DockerArchive {
    location: Location,
    names: Vec<Reference>,
    state: Mutex<State>,
}

struct State {
    tar: TarWriter,
    /// Layers in the archive, and how long.
    layers: HashMap<Digest, u64>,
    documents: Documents,
}

impl DockerArchive {
    /// Begins the archive beside its place. One that has an image is left alone, as by the other tools.
    pub(in crate::transport) fn open(
        location: &Location,
        file: &Path,
        image: &Selector,
        temp_dir: &Path,
    ) -> Result<Self, Error> {
        if std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
            let reason = "docker-archive doesn't support modifying existing images".to_owned();
            return Err(Error::Occupied { place: location.to_string(), reason });
        }
        let names = match image {
            Selector::Only => Vec::new(),
            Selector::Name(name) => Reference::parse_qualified(name).into_iter().collect(),
            Selector::Index(_) => {
                return Err(Error::Impossible(format!("{location}: an image is written under a name, not at a place (@)")));
            }
        };
        let tar = TarWriter::create(file, temp_dir)?;
        let state = State { tar, layers: HashMap::new(), documents: Documents::default() };
        Ok(Self { location: location.clone(), names, state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layer_file(digest: &Digest) -> String {
    format!("{}.tar", digest.hex())
}

impl Destination for DockerArchive {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn add_names(&mut self, names: &[String]) {
        for name in names.iter().filter_map(|name| Reference::parse_qualified(name).ok()) {
            if name.tag().is_some() && !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    fn accepts(&self) -> Accepts {
        Accepts { formats: &[Format::Docker], layers: LayerForm::Decompress, indexes: false, parallel: 1 }
    }

    fn keeps_encrypted(&self) -> bool {
        false
    }

    fn has_layer(&self, layer: &LayerRequest<'_>) -> Result<Option<Descriptor>, Error> {
        let state = self.state();
        let there = layer.diff_id().and_then(|diff_id| Some((diff_id, state.layers.get(diff_id)?)));
        Ok(there.map(|(diff_id, size)| Descriptor {
            media_type: DOCKER_LAYER.to_owned(),
            digest: diff_id.clone(),
            size: *size,
            annotations: BTreeMap::new(),
        }))
    }

    fn put_layer(&self, _: &LayerRequest<'_>, mut stream: BlobStream<'_>) -> Result<BlobId, Error> {
        let mut state = self.state();
        let id = state.tar.put_stream(&mut stream, MODE, |id| layer_file(&id.digest))?;
        state.layers.insert(id.digest.clone(), id.size);
        Ok(id)
    }

    fn put_config(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        state.tar.put_bytes(&format!("{}.json", digest.hex()), MODE, bytes)?;
        state.documents.put_config(digest, bytes);
        Ok(())
    }

    fn put_manifest(&self, manifest: &Manifest, _: InIndex) -> Result<(), Error> {
        self.state().documents.put_manifest(manifest);
        Ok(())
    }

    fn complete(self: Box<Self>) -> Result<Option<ImageId>, Error> {
        let Self { location, names, state } = *self;
        let State { mut tar, documents, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some((digest, config, manifest)) = documents.both() else { return Ok(None) };
        let wrong = |error: serde_json::Error| Error::Document { place: location.to_string(), problem: error.to_string() };
        let legacy = legacy(&manifest, &config).map_err(wrong)?;
        for layer in &legacy {
            tar.put_member(&format!("{}/layer.tar", layer.id), Member::Link(&format!("../{}", layer_file(&layer.digest))))?;
            tar.put_bytes(&format!("{}/VERSION", layer.id), MODE, b"1.0")?;
            tar.put_bytes(&format!("{}/json", layer.id), MODE, &layer.json)?;
        }
        let item = Item {
            config: format!("{}.json", digest.hex()),
            repo_tags: names.iter().map(ToString::to_string).collect(),
            layers: manifest.layers.iter().map(|layer| layer_file(&layer.digest)).collect(),
        };
        tar.put_bytes(MANIFEST_FILE, MODE, &json::to_vec(&[item]).map_err(wrong)?)?;
        let mut repositories: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
        for (name, layer) in names.iter().filter_map(|name| Some((name, legacy.last()?))) {
            repositories.entry(name.repository()).or_default().insert(name.tag().unwrap_or("latest"), &layer.id);
        }
        tar.put_bytes(REPOSITORIES_FILE, MODE, &json::to_vec(&repositories).map_err(wrong)?)?;
        tar.finish()?;
        Ok(None)
    }
}

/// The directory of a layer as Docker before 1.10 had it.
struct LegacyLayer {
    id: String,
    digest: Digest,
    json: Vec<u8>,
}

/// The legacy layers, lowest first. An ID depends on the layer, what is below it and, for the top one, on the config.
fn legacy(manifest: &Manifest, config: &[u8]) -> Result<Vec<LegacyLayer>, serde_json::Error> {
    let config: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(config)?;
    let null = RawValue::from_string("null".to_owned())?;
    let mut layers: Vec<LegacyLayer> = Vec::with_capacity(manifest.layers.len());
    let mut chain = String::new();
    for (at, layer) in manifest.layers.iter().enumerate() {
        let mut document: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
        if let Some(parent) = layers.last() {
            document.insert("parent", RawValue::from_string(format!("\"{}\"", parent.id))?);
        }
        if at + 1 == manifest.layers.len() {
            document.extend(INHERITED.map(|key| (key, config.get(key).unwrap_or(&null).clone())));
        }
        chain = if chain.is_empty() {
            layer.digest.to_string()
        } else {
            Digest::of(format!("{chain} {}", layer.digest).as_bytes()).to_string()
        };
        let own = [chain.as_bytes(), b" ", &json::to_vec(&document)?].concat();
        let id = Digest::of(&own).hex().to_owned();
        document.insert("id", RawValue::from_string(format!("\"{id}\""))?);
        layers.push(LegacyLayer { id, digest: layer.digest.clone(), json: json::to_vec(&document)? });
    }
    Ok(layers)
}
