//! Reading the JSON of an `ImageConfig`, of either family, in one pass.
//!
//! Must not lose a member: what the structs here don't name lands in `extra`. What Go would read differently (names that
//! differ in case only) is refused.

use std::collections::{BTreeMap, BTreeSet};

use containers_storage::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::Time;
use super::config::{DockerOnly, Empty, Error, Healthcheck, History, ImageConfig, Legacy, MAX_BYTES, Settings};
use super::manifest::MAX_LAYERS;

type Extra = BTreeMap<String, serde_json::Value>;

/// Go reads `null` as the zero of any type; so do we.
fn nullable<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A JSON object that is used as a set: the values are empty objects.
type Keys = BTreeMap<String, serde::de::IgnoredAny>;

#[derive(Deserialize)]
struct ReadImage {
    created: Option<Time>,
    #[serde(default, deserialize_with = "nullable")]
    author: String,
    #[serde(default, deserialize_with = "nullable")]
    comment: String,
    #[serde(default, deserialize_with = "nullable")]
    architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    variant: String,
    #[serde(default, deserialize_with = "nullable")]
    os: String,
    #[serde(default, deserialize_with = "nullable", rename = "os.version")]
    os_version: String,
    #[serde(default, deserialize_with = "nullable", rename = "os.features")]
    os_features: Vec<String>,
    config: Option<ReadSettings>,
    rootfs: Option<ReadRootfs>,
    history: Option<Vec<ReadHistory>>,
    #[serde(default, deserialize_with = "nullable")]
    parent: String,
    #[serde(default, deserialize_with = "nullable")]
    container: String,
    container_config: Option<ReadSettings>,
    #[serde(default, deserialize_with = "nullable")]
    docker_version: String,
    // Docker's own ID and size of an image: they describe the document that was read, so they must not outlive it.
    #[serde(rename = "id")]
    _id: Option<serde::de::IgnoredAny>,
    #[serde(rename = "size", alias = "Size")]
    _size: Option<serde::de::IgnoredAny>,
    #[serde(flatten)]
    extra: Extra,
}

/// The members of [`ReadImage`] by name, to find those that differ in case only.
const IMAGE_MEMBERS: [&str; 17] = [
    "created",
    "author",
    "comment",
    "architecture",
    "variant",
    "os",
    "os.version",
    "os.features",
    "config",
    "rootfs",
    "history",
    "parent",
    "container",
    "container_config",
    "docker_version",
    "id",
    "size",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReadSettings {
    #[serde(default, deserialize_with = "nullable")]
    user: String,
    exposed_ports: Option<Keys>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<Keys>,
    #[serde(default, deserialize_with = "nullable")]
    working_dir: String,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "nullable")]
    stop_signal: String,
    #[serde(default, deserialize_with = "nullable")]
    args_escaped: bool,
    #[serde(default, deserialize_with = "nullable")]
    hostname: String,
    #[serde(default, deserialize_with = "nullable")]
    domainname: String,
    healthcheck: Option<ReadHealthcheck>,
    #[serde(default, deserialize_with = "nullable")]
    on_build: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    shell: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    attach_stdin: bool,
    #[serde(default, deserialize_with = "nullable")]
    attach_stdout: bool,
    #[serde(default, deserialize_with = "nullable")]
    attach_stderr: bool,
    #[serde(default, deserialize_with = "nullable")]
    tty: bool,
    #[serde(default, deserialize_with = "nullable")]
    open_stdin: bool,
    #[serde(default, deserialize_with = "nullable")]
    stdin_once: bool,
    #[serde(default, deserialize_with = "nullable")]
    image: String,
    #[serde(default, deserialize_with = "nullable")]
    network_disabled: bool,
    #[serde(default, deserialize_with = "nullable")]
    mac_address: String,
    stop_timeout: Option<i64>,
    #[serde(flatten)]
    extra: Extra,
}

/// The members of [`ReadSettings`] by name.
const SETTINGS_MEMBERS: [&str; 25] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Hostname",
    "Domainname",
    "Healthcheck",
    "OnBuild",
    "Shell",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Image",
    "NetworkDisabled",
    "MacAddress",
    "StopTimeout",
];

#[derive(Deserialize)]
struct ReadRootfs {
    #[serde(rename = "type", default, deserialize_with = "nullable")]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReadHealthcheck {
    #[serde(default, deserialize_with = "nullable")]
    test: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    interval: i64,
    #[serde(default, deserialize_with = "nullable")]
    timeout: i64,
    #[serde(default, deserialize_with = "nullable")]
    start_period: i64,
    #[serde(default, deserialize_with = "nullable")]
    start_interval: i64,
    #[serde(default, deserialize_with = "nullable")]
    retries: i64,
}

#[derive(Deserialize)]
struct ReadHistory {
    created: Option<Time>,
    #[serde(default, deserialize_with = "nullable")]
    created_by: String,
    #[serde(default, deserialize_with = "nullable")]
    author: String,
    #[serde(default, deserialize_with = "nullable")]
    comment: String,
    #[serde(default, deserialize_with = "nullable")]
    empty_layer: bool,
}

/// Reads a config of either family.
pub(super) fn parse(bytes: &[u8]) -> Result<ImageConfig, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge(bytes.len()));
    }
    let read: ReadImage = serde_json::from_slice(bytes)?;
    refuse_case_variants(&read.extra, &IMAGE_MEMBERS)?;
    let diff_ids = match read.rootfs {
        // An empty type is what a working container from scratch has.
        Some(rootfs) if matches!(rootfs.kind.as_str(), "layers" | "") => rootfs.diff_ids,
        Some(rootfs) => return Err(Error::RootfsType(rootfs.kind)),
        None => Vec::new(),
    };
    if diff_ids.len() > MAX_LAYERS {
        return Err(Error::TooManyLayers(diff_ids.len()));
    }
    Ok(ImageConfig {
        created: read.created.filter(|time| time.as_str() != Time::zero_text()),
        author: read.author,
        comment: read.comment,
        architecture: read.architecture,
        variant: read.variant,
        os: read.os,
        os_version: read.os_version,
        os_features: read.os_features,
        config: read.config.map(ReadSettings::into_settings).transpose()?.unwrap_or_default(),
        diff_ids,
        history: read.history.unwrap_or_default().into_iter().map(ReadHistory::into_history).collect(),
        docker: DockerOnly {
            parent: read.parent,
            container: read.container,
            container_config: read.container_config.map(ReadSettings::into_settings).transpose()?.map(Box::new),
            docker_version: read.docker_version,
        },
        extra: read.extra,
    })
}

/// Reads the settings alone.
pub(super) fn parse_settings(bytes: &[u8]) -> Result<Settings, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge(bytes.len()));
    }
    serde_json::from_slice::<ReadSettings>(bytes)?.into_settings()
}

/// Go matches member names without regard to case, so that `Config` would override `config` there and be unknown here.
fn refuse_case_variants(extra: &Extra, known: &[&str]) -> Result<(), Error> {
    match extra.keys().find(|name| known.iter().any(|member| member.eq_ignore_ascii_case(name))) {
        Some(name) => Err(Error::Ambiguous(name.chars().take(100).collect())),
        None => Ok(()),
    }
}

impl ReadSettings {
    fn into_settings(self) -> Result<Settings, Error> {
        refuse_case_variants(&self.extra, &SETTINGS_MEMBERS)?;
        let keys = |keys: Option<Keys>| keys.map(|keys| keys.into_keys().collect::<BTreeSet<_>>());
        let volumes = keys(self.volumes);
        let empty = Empty {
            env: self.env.is_some(),
            cmd: self.cmd.is_some(),
            entrypoint: self.entrypoint.is_some(),
            volumes: volumes.is_some(),
            labels: self.labels.is_some(),
        };
        Ok(Settings {
            user: self.user,
            exposed_ports: keys(self.exposed_ports).unwrap_or_default(),
            env: self.env.unwrap_or_default(),
            entrypoint: self.entrypoint.unwrap_or_default(),
            cmd: self.cmd.unwrap_or_default(),
            volumes: volumes.unwrap_or_default(),
            working_dir: self.working_dir,
            labels: self.labels.unwrap_or_default(),
            stop_signal: self.stop_signal,
            args_escaped: self.args_escaped,
            hostname: self.hostname,
            domainname: self.domainname,
            healthcheck: self.healthcheck.map(ReadHealthcheck::into_healthcheck),
            on_build: self.on_build,
            shell: self.shell,
            legacy: Legacy {
                attach_stdin: self.attach_stdin,
                attach_stdout: self.attach_stdout,
                attach_stderr: self.attach_stderr,
                tty: self.tty,
                open_stdin: self.open_stdin,
                stdin_once: self.stdin_once,
                image: self.image,
                network_disabled: self.network_disabled,
                mac_address: self.mac_address,
                stop_timeout: self.stop_timeout,
            },
            extra: self.extra,
            empty,
        })
    }
}

impl ReadHealthcheck {
    fn into_healthcheck(self) -> Healthcheck {
        Healthcheck {
            test: self.test,
            interval: self.interval,
            timeout: self.timeout,
            start_period: self.start_period,
            start_interval: self.start_interval,
            retries: self.retries,
        }
    }
}

impl ReadHistory {
    fn into_history(self) -> History {
        History {
            created: self.created,
            created_by: self.created_by,
            author: self.author,
            comment: self.comment,
            empty_layer: self.empty_layer,
        }
    }
}
