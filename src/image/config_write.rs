//! Writing the JSON of an `ImageConfig`, once for each family.
//!
//! The structs here have the members in the order in which Go's structs declare them (image-spec `specs-go/v1`, and Docker's
//! image JSON as containers tools write it), and leave out what those leave out. Changing an order changes every image ID.

use std::collections::{BTreeMap, BTreeSet};

use containers_storage::Digest;
use serde::Serialize;

use super::Time;
use super::config::{ImageConfig, Settings};
use crate::golang::json;

type Extra = BTreeMap<String, serde_json::Value>;

/// A set, written as a JSON object with empty objects for values.
struct KeySet<'a>(&'a BTreeSet<String>);

impl KeySet<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for KeySet<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|key| (key, BTreeMap::<(), ()>::new())))
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Rootfs<'a> {
    r#type: &'static str,
    diff_ids: &'a [Digest],
}

impl<'a> Rootfs<'a> {
    fn of(image: &'a ImageConfig) -> Self {
        Self { r#type: "layers", diff_ids: &image.diff_ids }
    }
}

#[derive(Serialize)]
struct OciImage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a Time>,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    architecture: &'a str,
    os: &'a str,
    #[serde(rename = "os.version", skip_serializing_if = "str::is_empty")]
    os_version: &'a str,
    #[serde(rename = "os.features", skip_serializing_if = "<[_]>::is_empty")]
    os_features: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    config: OciSettings<'a>,
    rootfs: Rootfs<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<OciHistory<'a>>,
    #[serde(flatten)]
    extra: &'a Extra,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OciSettings<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "KeySet::is_empty")]
    exposed_ports: KeySet<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "KeySet::is_empty")]
    volumes: KeySet<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    working_dir: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    args_escaped: bool,
    #[serde(flatten)]
    extra: &'a Extra,
}

#[derive(Serialize)]
struct OciHistory<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a Time>,
    #[serde(skip_serializing_if = "str::is_empty")]
    created_by: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

/// Writes the OCI image configuration.
pub(super) fn oci(image: &ImageConfig) -> Vec<u8> {
    let settings = &image.config;
    let history = image.history.iter().map(|entry| OciHistory {
        created: entry.created.as_ref(),
        created_by: &entry.created_by,
        author: &entry.author,
        comment: &entry.comment,
        empty_layer: entry.empty_layer,
    });
    write(&OciImage {
        created: image.created.as_ref(),
        author: &image.author,
        architecture: &image.architecture,
        os: &image.os,
        os_version: &image.os_version,
        os_features: &image.os_features,
        variant: &image.variant,
        config: OciSettings {
            user: &settings.user,
            exposed_ports: KeySet(&settings.exposed_ports),
            env: &settings.env,
            entrypoint: &settings.entrypoint,
            cmd: &settings.cmd,
            volumes: KeySet(&settings.volumes),
            working_dir: &settings.working_dir,
            labels: &settings.labels,
            stop_signal: &settings.stop_signal,
            args_escaped: settings.args_escaped,
            extra: &settings.extra,
        },
        rootfs: Rootfs::of(image),
        history: history.collect(),
        extra: &image.extra,
    })
}

#[derive(Serialize)]
struct DockerImage<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    created: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    container: &'a str,
    container_config: DockerSettings<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    docker_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    config: DockerSettings<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    architecture: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    os: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    parent: &'a str,
    /// Left out where there are no layers yet: a working container's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    rootfs: Option<Rootfs<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<DockerHistory<'a>>,
    #[serde(rename = "os.version", skip_serializing_if = "str::is_empty")]
    os_version: &'a str,
    #[serde(rename = "os.features", skip_serializing_if = "<[_]>::is_empty")]
    os_features: &'a [String],
    #[serde(flatten)]
    extra: &'a Extra,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerSettings<'a> {
    hostname: &'a str,
    domainname: &'a str,
    user: &'a str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "KeySet::is_empty")]
    exposed_ports: KeySet<'a>,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Option<&'a [String]>,
    cmd: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<DockerHealthcheck<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    args_escaped: bool,
    image: &'a str,
    volumes: Option<KeySet<'a>>,
    working_dir: &'a str,
    entrypoint: Option<&'a [String]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    network_disabled: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac_address: &'a str,
    on_build: &'a [String],
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shell: &'a [String],
    #[serde(flatten)]
    extra: &'a Extra,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerHealthcheck<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    test: &'a [String],
    #[serde(skip_serializing_if = "is_zero")]
    interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    retries: i64,
}

#[derive(Serialize)]
struct DockerHistory<'a> {
    created: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    created_by: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

impl<'a> DockerSettings<'a> {
    fn of(settings: &'a Settings) -> Self {
        let list = |items: &'a [String], empty: bool| (empty || !items.is_empty()).then_some(items);
        let Settings { legacy, empty, .. } = settings;
        Self {
            hostname: &settings.hostname,
            domainname: &settings.domainname,
            user: &settings.user,
            attach_stdin: legacy.attach_stdin,
            attach_stdout: legacy.attach_stdout,
            attach_stderr: legacy.attach_stderr,
            exposed_ports: KeySet(&settings.exposed_ports),
            tty: legacy.tty,
            open_stdin: legacy.open_stdin,
            stdin_once: legacy.stdin_once,
            env: list(&settings.env, empty.env),
            cmd: list(&settings.cmd, empty.cmd),
            healthcheck: settings.healthcheck.as_ref().map(|check| DockerHealthcheck {
                test: &check.test,
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            }),
            args_escaped: settings.args_escaped,
            image: &legacy.image,
            volumes: (empty.volumes || !settings.volumes.is_empty()).then_some(KeySet(&settings.volumes)),
            working_dir: &settings.working_dir,
            entrypoint: list(&settings.entrypoint, empty.entrypoint),
            network_disabled: legacy.network_disabled,
            mac_address: &legacy.mac_address,
            on_build: &settings.on_build,
            labels: (empty.labels || !settings.labels.is_empty()).then_some(&settings.labels),
            stop_signal: &settings.stop_signal,
            stop_timeout: legacy.stop_timeout,
            shell: &settings.shell,
            extra: &settings.extra,
        }
    }
}

/// Writes Docker's image JSON.
pub(super) fn docker(image: &ImageConfig) -> Vec<u8> {
    let time = |time: Option<&'_ Time>| time.map_or(Time::zero_text(), |time| time.as_str()).to_owned();
    let created = time(image.created.as_ref());
    let times: Vec<String> = image.history.iter().map(|entry| time(entry.created.as_ref())).collect();
    let history = image.history.iter().zip(&times).map(|(entry, created)| DockerHistory {
        created,
        author: &entry.author,
        created_by: &entry.created_by,
        comment: &entry.comment,
        empty_layer: entry.empty_layer,
    });
    write(&DockerImage {
        comment: &image.comment,
        created: &created,
        container: &image.docker.container,
        container_config: DockerSettings::of(image.docker.container_config.as_deref().unwrap_or(&image.config)),
        docker_version: &image.docker.docker_version,
        author: &image.author,
        config: DockerSettings::of(&image.config),
        architecture: &image.architecture,
        variant: &image.variant,
        os: &image.os,
        parent: &image.docker.parent,
        rootfs: (!image.diff_ids.is_empty()).then(|| Rootfs::of(image)),
        history: history.collect(),
        os_version: &image.os_version,
        os_features: &image.os_features,
        extra: &image.extra,
    })
}

fn write<T: Serialize>(document: &T) -> Vec<u8> {
    // The only failures are map keys that are no strings and errors of the writer; there are neither.
    json::to_vec(document).unwrap_or_default()
}
