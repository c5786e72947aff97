//! The state file itself: reading, editing and replacing it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use containers_storage::selinux::Labels;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::value::RawValue;

use super::id_maps::IdMappingOptions;
use super::linked::{self, LinkedLayer};
use super::{Error, Members, RunEnvironment};
use crate::image::config::History;
use crate::image::{Draft, Format, ImageConfig, manifest};

/// Name of the file below `userdata`.
pub(super) const NAME: &str = "buildah.json";
/// The value of `type`: every version of Buildah so far checks it.
pub(in crate::container) const TYPE: &str = "buildah 0.0.1";
const PROCESS_LABEL: &str = "process-label";
const MOUNT_LABEL: &str = "mount-label";
/// More than this is no state file of anyone (a large image config is 100 kB).
const MAX_BYTES: u64 = 64 << 20;

/// The image that a working container was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// Its name; empty for an unnamed one and for scratch.
    pub name: String,
    /// Its ID in hexadecimal digits; empty for scratch.
    pub id: String,
    /// The digest of its manifest; empty for scratch.
    pub digest: String,
    /// The bytes of its config.
    pub config: Vec<u8>,
    /// The bytes of its manifest.
    pub manifest: Vec<u8>,
    /// Its top layer; empty for scratch.
    pub top_layer: String,
}

/// The content of a state file.
#[derive(Debug, Clone)]
pub struct State {
    members: Members,
    /// The image that the next commit would write.
    pub draft: Draft,
    /// The container's name as the file has it.
    pub name: String,
    /// History entries of steps without a layer that come before the next layer's entry.
    pub history_before: Vec<History>,
    /// The same, after the next layer's entry.
    pub history_after: Vec<History>,
    /// Layers of their own that come after the container's (`copy --link`).
    pub linked: Vec<LinkedLayer>,
}

/// `{}`: what Buildah writes for what a container has none of.
#[derive(serde::Serialize)]
struct NoMembers {}

/// The few members that a list shows.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct Summary {
    r#type: String,
    /// The base image's name.
    #[serde(default)]
    pub image: String,
    /// The base image's ID.
    #[serde(default, rename = "image-id")]
    pub image_id: String,
    /// The container's name.
    #[serde(default, rename = "container-name")]
    pub name: String,
}

impl Summary {
    /// The summary of the state file below `directory`; `None` if there is none that can be read.
    pub fn read(directory: &Path) -> Option<Self> {
        let bytes = read_limited(&directory.join(NAME)).ok()?;
        serde_json::from_slice::<Self>(&bytes).ok().filter(|summary| summary.r#type == TYPE)
    }
}

impl State {
    /// The state of a new working container `id` called `name`.
    pub fn new(id: &str, name: &str, base: &Base, draft: Draft, environment: &RunEnvironment) -> Self {
        let mut members = Members::default();
        // Each value is a string, a number, or a list of such: serialising cannot fail.
        let written = (|| {
            members.set("type", TYPE)?;
            members.set("image", &base.name)?;
            members.set("image-id", &base.id)?;
            members.set("image-digest", &base.digest)?;
            members.set("config", &STANDARD.encode(&base.config))?;
            members.set("manifest", &STANDARD.encode(&base.manifest))?;
            members.set("container-name", name)?;
            members.set("container-id", id)?;
            members.set("TopLayer", &base.top_layer)?;
            members.set("Args", &NoMembers {})?;
            members.set("IDMappingOptions", &IdMappingOptions::of(&environment.id_maps))?;
            members.set("TempVolumes", &NoMembers {})?;
            members.set("ContentDigester", &NoMembers {})?;
            members.set("Devices", &[(); 0])?;
            environment.write(&mut members)
        })();
        debug_assert!(written.is_ok(), "{written:?}");
        Self {
            members,
            draft,
            name: name.to_owned(),
            history_before: Vec::new(),
            history_after: Vec::new(),
            linked: Vec::new(),
        }
    }

    /// Reads a state file. `None`: there is none, or it is of another kind.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = match read_limited(path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(Error::File { action: "reading", path: path.to_owned(), source }),
        };
        let members = Members::parse(&bytes).map_err(damaged(path))?;
        if members.get::<String>("type").map_err(damaged(path))? != TYPE {
            return Ok(None);
        }
        Self::from_members(members, path).map(Some)
    }

    fn from_members(members: Members, path: &Path) -> Result<Self, Error> {
        let half = |key: &str| members.raw(key).map_or(b"{}".as_slice(), |raw| raw.get().as_bytes());
        let config = ImageConfig::from_halves(half("ociv1"), half("docker")).map_err(config_damaged(path))?;
        let draft = Draft {
            format: members.get::<String>("Format").map_err(damaged(path))?.parse().unwrap_or_default(),
            config,
            annotations: members.get("annotations").map_err(damaged(path))?,
            layer_annotations: members.get("layer-annotations").map_err(damaged(path))?,
            top_layer_annotations: members.get("top-layer-annotations").map_err(damaged(path))?,
            created_by: members.get("created-by").map_err(damaged(path))?,
            history_comment: members.get("history-comment").map_err(damaged(path))?,
        };
        Ok(Self {
            name: members.get("container-name").map_err(damaged(path))?,
            history_before: history(members.raw("PrependedEmptyLayers"), path)?,
            history_after: history(members.raw("AppendedEmptyLayers"), path)?,
            linked: linked::read(members.raw(linked::MEMBER), path)?,
            members,
            draft,
        })
    }

    /// The same state for the container `id` called `name`.
    #[must_use]
    pub fn as_of(mut self, id: &str, name: &str) -> Self {
        name.clone_into(&mut self.name);
        // A string always serialises.
        let _ = self.members.set("container-id", id);
        self.members.remove("mountpoint");
        self
    }

    /// Writes the state file of a new container, whose directory nobody else knows yet. It is not synced, as little as the
    /// container's layer is: a power cut now costs a container in which nothing was done.
    pub fn create(&mut self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(NAME);
        let bytes = self.serialise().map_err(damaged(&path))?;
        let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = created.and_then(|mut file| file.write_all(&bytes));
        written.map_err(|source| Error::File { action: "writing", path, source })
    }

    /// Replaces the state file at `path`.
    pub fn write(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = self.serialise().map_err(damaged(path))?;
        replace(path, &bytes).map_err(|source| Error::File { action: "writing", path: path.to_owned(), source })
    }

    fn serialise(&mut self) -> serde_json::Result<Vec<u8>> {
        let format = match self.draft.format {
            Format::Oci => manifest::OCI_MANIFEST,
            Format::Docker => manifest::DOCKER_MANIFEST,
        };
        self.members.set("container-name", &self.name)?;
        self.members.set("annotations", &self.draft.annotations)?;
        set_unless_empty(&mut self.members, "layer-annotations", &self.draft.layer_annotations)?;
        set_unless_empty(&mut self.members, "top-layer-annotations", &self.draft.top_layer_annotations)?;
        self.members.set("created-by", &self.draft.created_by)?;
        self.members.set("history-comment", &self.draft.history_comment)?;
        self.members.set("ociv1", &raw(self.draft.config.to_oci())?)?;
        let mut docker = self.draft.config.clone();
        docker.docker.container_config = Some(Box::new(docker.config.clone()));
        self.members.set("docker", &raw(docker.to_docker())?)?;
        self.members.set("PrependedEmptyLayers", &history_member(&self.history_before)?)?;
        self.members.set("AppendedEmptyLayers", &history_member(&self.history_after)?)?;
        linked::write(&mut self.members, &self.linked)?;
        self.members.set("Format", format)?;
        self.members.to_bytes()
    }

    /// The members as they were read or last written.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The container's SELinux labels; empty ones for none.
    pub fn labels(&self) -> Labels {
        let label = |member: &str| self.members.get(member).unwrap_or_default();
        Labels { process: label(PROCESS_LABEL), mount: label(MOUNT_LABEL) }
    }

    /// Notes them, for Buildah too. An empty one is left out.
    pub fn set_labels(&mut self, labels: &Labels) {
        for (member, label) in [(PROCESS_LABEL, &labels.process), (MOUNT_LABEL, &labels.mount)] {
            match label.as_str() {
                "" => self.members.remove(member),
                // A string always serialises.
                label => drop(self.members.set(member, label)),
            }
        }
    }

    /// What `from` keeps for later runs.
    pub fn environment(&self) -> serde_json::Result<RunEnvironment> {
        RunEnvironment::read(&self.members)
    }

    /// The image that the container was made from.
    pub fn base(&self) -> serde_json::Result<Base> {
        Ok(Base {
            name: self.members.get("image")?,
            id: self.members.get("image-id")?,
            digest: self.members.get("image-digest")?,
            config: self.base64("config")?,
            manifest: self.base64("manifest")?,
            top_layer: self.members.get("TopLayer")?,
        })
    }

    /// Name and ID of the image that the container was made from; both empty for scratch.
    pub fn base_names(&self) -> (String, String) {
        (self.members.get("image").unwrap_or_default(), self.members.get("image-id").unwrap_or_default())
    }

    /// Where the state file says that the container is mounted; empty when it is not.
    pub fn mount_point(&self) -> String {
        self.members.get("mountpoint").unwrap_or_default()
    }

    /// Notes where the container is mounted, for Buildah; `None` when it is not any more.
    pub fn set_mount_point(&mut self, path: Option<&str>) {
        match path {
            // A string always serialises.
            Some(path) => drop(self.members.set("mountpoint", path)),
            None => self.members.remove("mountpoint"),
        }
    }

    fn base64(&self, key: &str) -> serde_json::Result<Vec<u8>> {
        let text: String = self.members.get(key)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

/// Takes the container's lock, which is one on its directory: nothing is left behind, and `rm` needs no step for it. `None`: there
/// is no such directory.
pub(super) fn lock(directory: &Path) -> Result<Option<OwnedFd>, Error> {
    let failed = |source: Errno| Error::File { action: "locking", path: directory.to_owned(), source: source.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(CWD, directory, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.map_err(failed)?,
    };
    loop {
        match rustix::fs::flock(&fd, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return other.map(|()| Some(fd)).map_err(failed),
        }
    }
}

/// The same where the directory is still to be made.
pub(super) fn create_and_lock(directory: &Path) -> Result<OwnedFd, Error> {
    let failed = |source| Error::File { action: "creating", path: directory.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    lock(directory)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// Writes a map that older tools do not know; an empty one is left out, as Buildah does.
fn set_unless_empty<V: Serialize>(members: &mut Members, key: &str, map: &BTreeMap<String, V>) -> serde_json::Result<()> {
    if map.is_empty() {
        members.remove(key);
        return Ok(());
    }
    members.set(key, map)
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(MAX_BYTES) as usize + 1);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Beside, then renamed: a reader sees the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_file_name(format!(".tmp-{NAME}{}", std::process::id()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn raw(bytes: Vec<u8>) -> serde_json::Result<Box<RawValue>> {
    let text = String::from_utf8(bytes).map_err(serde::de::Error::custom)?;
    RawValue::from_string(text)
}

/// History entries have one serialiser, that of the image config: a config with nothing else carries them here.
fn history(entries: Option<&RawValue>, path: &Path) -> Result<Vec<History>, Error> {
    let Some(entries) = entries else { return Ok(Vec::new()) };
    let carrier = format!("{{\"history\":{}}}", entries.get());
    Ok(ImageConfig::parse(carrier.as_bytes()).map_err(config_damaged(path))?.history)
}

/// One history entry.
pub(super) fn one_entry(entry: &RawValue, path: &Path) -> Result<History, Error> {
    let carrier = format!("{{\"history\":[{}]}}", entry.get());
    let mut entries = ImageConfig::parse(carrier.as_bytes()).map_err(config_damaged(path))?.history;
    Ok(entries.pop().unwrap_or_default())
}

/// The JSON of one history entry.
pub(super) fn entry_member(entry: &History) -> serde_json::Result<Box<RawValue>> {
    let member = history_member(std::slice::from_ref(entry))?;
    let mut entries: Vec<Box<RawValue>> = member.map_or_else(|| Ok(Vec::new()), |list| serde_json::from_str(list.get()))?;
    entries.pop().map_or_else(|| RawValue::from_string("{}".to_owned()), Ok)
}

fn history_member(entries: &[History]) -> serde_json::Result<Option<Box<RawValue>>> {
    if entries.is_empty() {
        return Ok(None);
    }
    let carrier = ImageConfig { history: entries.to_vec(), ..ImageConfig::default() };
    Members::parse(&carrier.to_oci())?.raw("history").map(|raw| RawValue::from_string(raw.get().to_owned())).transpose()
}

fn damaged(path: &Path) -> impl FnOnce(serde_json::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Damaged { path, source }
}

fn config_damaged(path: &Path) -> impl FnOnce(crate::image::config::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Config { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Change;

    fn base() -> Base {
        Base {
            name: "localhost/base:latest".into(),
            id: "ab".repeat(32),
            digest: format!("sha256:{}", "cd".repeat(32)),
            config: b"{\"os\":\"linux\"}".to_vec(),
            manifest: b"{\"schemaVersion\":2}".to_vec(),
            top_layer: "ef".repeat(32),
        }
    }

    fn written(directory: &Path) -> State {
        let mut draft = Draft { format: Format::Docker, created_by: "hand".into(), ..Draft::default() };
        draft.apply(&Change::SetEnv { name: "A".into(), value: "1".into() });
        draft.apply(&Change::SetAnnotation { key: "k".into(), value: "v".into() });
        let environment = RunEnvironment { capabilities: vec!["CAP_KILL".into()], ..RunEnvironment::default() };
        let mut state = State::new("c1", "name", &base(), draft, &environment);
        state.history_before.push(History { created_by: "step".into(), empty_layer: true, ..History::default() });
        state.create(directory).unwrap();
        State::read(&directory.join(NAME)).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let state = written(directory.path());
        assert_eq!(state.base().unwrap(), base());
        assert_eq!(
            (state.name.as_str(), state.draft.format, state.draft.created_by.as_str()),
            ("name", Format::Docker, "hand")
        );
        assert_eq!(state.draft.config.config.env, ["A=1"]);
        assert_eq!(state.draft.annotations.get("k").map(String::as_str), Some("v"));
        assert_eq!(state.history_before[0].created_by, "step");
        assert_eq!(state.environment().unwrap().capabilities, ["CAP_KILL"]);
    }

    #[test]
    fn labels_are_kept_in_the_members_that_buildah_reads() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = written(directory.path());
        assert_eq!(state.labels(), Labels::default());
        let labels = Labels { process: "u:r:t:s0".into(), mount: "u:o:f:s0".into() };
        state.set_labels(&labels);
        let path = directory.path().join(NAME);
        state.write(&path).unwrap();
        let read = State::read(&path).unwrap().unwrap();
        assert_eq!(read.labels(), labels);
        let member = |name: &str| read.members().get::<String>(name).unwrap();
        assert_eq!((member("process-label"), member("mount-label")), (labels.process.clone(), labels.mount.clone()));
        state.set_labels(&Labels { process: String::new(), ..labels });
        assert!(state.members().raw("process-label").is_none(), "Buildah leaves an empty one out");
    }

    #[test]
    fn both_formats_hold_the_same_settings() {
        let directory = tempfile::tempdir().unwrap();
        let state = written(directory.path());
        let settings = |key: &str| -> serde_json::Value {
            state.members().get::<serde_json::Value>(key).unwrap()["config"]["Env"].clone()
        };
        assert_eq!(settings("ociv1"), serde_json::json!(["A=1"]));
        assert_eq!(settings("docker"), settings("ociv1"));
        let docker: serde_json::Value = state.members().get("docker").unwrap();
        assert_eq!(docker["container_config"], docker["config"]);
    }

    #[test]
    fn a_file_of_another_kind_is_no_state_and_a_damaged_one_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        assert!(State::read(&path).unwrap().is_none());
        std::fs::write(&path, "{\"type\":\"something else\"}").unwrap();
        assert!(State::read(&path).unwrap().is_none());
        for text in ["", "[]", "{\"type\":1}", "{\"type\":\"buildah 0.0.1\",\"ociv1\":7}"] {
            std::fs::write(&path, text).unwrap();
            assert!(State::read(&path).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_of_the_first_buildahs_gets_the_defaults_of_later_members() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let text = r#"{"type":"buildah 0.0.1","container-name":"old","CommonBuildOpts":{"AddHost":null,"HTTPProxy":false}}"#;
        std::fs::write(&path, text).unwrap();
        let state = State::read(&path).unwrap().unwrap();
        let environment = state.environment().unwrap();
        assert!(!environment.common.http_proxy);
        assert_eq!((environment.common.add_host.len(), environment.common.shm_size.as_str()), (0, "65536k"));
        assert_eq!(state.draft.format, Format::Oci);
    }
}
