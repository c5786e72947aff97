//! `ImageConfig`: the JSON document that is an image's ID, in one type for both families.
//!
//! It holds every member of the OCI image configuration and of Docker's image JSON; members of neither are kept in `extra`.
//! `config_read` reads it, `config_write` writes it in the member order and with the omissions of the other tools' Go structs, so that
//! equal input gives equal bytes, hence equal IDs.
//!
//! Invariant: serialising is deterministic (sorted maps) and never fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use containers_storage::Digest;

use super::{Time, config_read, config_write};

/// Why a config could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or a member of the wrong type.
    #[error("parsing image configuration")]
    Json(#[from] serde_json::Error),
    /// A document above [`MAX_BYTES`].
    #[error("image configuration of {0} bytes is too large (limit {MAX_BYTES})")]
    TooLarge(usize),
    /// A member whose name differs from a known one only in case: the other tools would read it as that one.
    #[error("image configuration has the ambiguous member {0:?}")]
    Ambiguous(String),
    /// `rootfs.type` is not `layers`.
    #[error("image configuration has the unsupported rootfs type {0:?}")]
    RootfsType(String),
    /// More than [`super::manifest::MAX_LAYERS`].
    #[error("image configuration has {0} layers (limit {limit})", limit = super::manifest::MAX_LAYERS)]
    TooManyLayers(usize),
}

/// The largest config that is read: 4 MiB, the limit that registries put on manifests and configs.
pub const MAX_BYTES: usize = 4 << 20;

/// An image's configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageConfig {
    /// When the image was made.
    pub created: Option<Time>,
    /// Who made it.
    pub author: String,
    /// The commit's comment (Docker only).
    pub comment: String,
    /// GOARCH of the binaries inside.
    pub architecture: String,
    /// Variant of the architecture (`v7`).
    pub variant: String,
    /// GOOS of the binaries inside.
    pub os: String,
    /// Version of a Windows base.
    pub os_version: String,
    /// Features that the operating system must have.
    pub os_features: Vec<String>,
    /// Defaults for containers made from the image.
    pub config: Settings,
    /// Digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// How each layer came to be, oldest first.
    pub history: Vec<History>,
    /// What only Docker's image JSON has.
    pub docker: DockerOnly,
    /// Top-level members that neither format defines.
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// Defaults for containers (`config` in both formats).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// `port[/protocol]`.
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// First words of the command line.
    pub entrypoint: Vec<String>,
    /// The rest of the command line, or all of it without an entrypoint.
    pub cmd: Vec<String>,
    /// Paths whose content is not part of the image.
    pub volumes: BTreeSet<String>,
    /// Where commands start.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks a container to stop.
    pub stop_signal: String,
    /// `cmd` is one Windows command line and not words; kept, never used.
    pub args_escaped: bool,
    /// The host name (Docker only).
    pub hostname: String,
    /// The NIS domain name (Docker only).
    pub domainname: String,
    /// How to ask whether the container is well (Docker only).
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on top of this image (Docker only).
    pub on_build: Vec<String>,
    /// The words before a shell-form command (Docker only).
    pub shell: Vec<String>,
    /// What Docker has and no image uses (Docker only).
    pub legacy: Legacy,
    /// Members of this object that neither format defines.
    pub extra: BTreeMap<String, serde_json::Value>,
    /// Which empty members are written as `[]` or `{}` and not as `null` (Docker only; see [`Empty`]).
    pub empty: Empty,
}

/// Members of Docker's `Config` about a running container rather than an image. Kept as they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Legacy {
    /// `AttachStdin`
    pub attach_stdin: bool,
    /// `AttachStdout`
    pub attach_stdout: bool,
    /// `AttachStderr`
    pub attach_stderr: bool,
    /// `Tty`
    pub tty: bool,
    /// `OpenStdin`
    pub open_stdin: bool,
    /// `StdinOnce`
    pub stdin_once: bool,
    /// `Image`
    pub image: String,
    /// `NetworkDisabled`
    pub network_disabled: bool,
    /// `MacAddress`
    pub mac_address: String,
    /// `StopTimeout`, seconds.
    pub stop_timeout: Option<i64>,
}

/// Go tells an empty list from none, and Docker's image JSON shows it: a setting that was never made is `null`, one that was
/// cleared `[]`. Kept because it changes the bytes, hence the ID.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Empty {
    /// `Env`
    pub env: bool,
    /// `Cmd`
    pub cmd: bool,
    /// `Entrypoint`
    pub entrypoint: bool,
    /// `Volumes`
    pub volumes: bool,
    /// `Labels`
    pub labels: bool,
}

/// Docker's `Healthcheck`. Durations are nanoseconds, 0 is "inherit".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", text]`; empty inherits.
    pub test: Vec<String>,
    /// Time between two checks, ns.
    pub interval: i64,
    /// Time after which a check has failed, ns.
    pub timeout: i64,
    /// Time in which failures do not count, ns.
    pub start_period: i64,
    /// Time between checks in the start period, ns.
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    pub retries: i64,
}

/// One step of how an image came to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// When.
    pub created: Option<Time>,
    /// By which command.
    pub created_by: String,
    /// By whom.
    pub author: String,
    /// Free text.
    pub comment: String,
    /// The step has no layer.
    pub empty_layer: bool,
}

/// Members of Docker's image JSON without a place in OCI.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DockerOnly {
    /// ID of the parent image, if it was built there.
    pub parent: String,
    /// ID of the container that was committed.
    pub container: String,
    /// The settings of that container. `None` is written as a copy of `config`, which is what a commit writes.
    pub container_config: Option<Box<Settings>>,
    /// Version of the tool.
    pub docker_version: String,
}

impl ImageConfig {
    /// Reads a config of either family; the shape decides, not the media type.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        config_read::parse(bytes)
    }

    /// Joins the two halves that a working container's state file keeps (`ociv1`, `docker`). Where both have a member the OCI
    /// half wins, because it is what the default format is committed from; Docker-only members come from the other.
    pub fn from_halves(oci: &[u8], docker: &[u8]) -> Result<Self, Error> {
        let mut joined = Self::parse(oci)?;
        let docker = Self::parse(docker)?;
        joined.comment = docker.comment;
        joined.docker = docker.docker;
        let (settings, other) = (&mut joined.config, docker.config);
        settings.hostname = other.hostname;
        settings.domainname = other.domainname;
        settings.healthcheck = other.healthcheck;
        settings.on_build = other.on_build;
        settings.shell = other.shell;
        settings.legacy = other.legacy;
        settings.empty = other.empty;
        for (own, theirs) in [(&mut joined.extra, docker.extra), (&mut settings.extra, other.extra)] {
            for (name, value) in theirs {
                own.entry(name).or_insert(value);
            }
        }
        Ok(joined)
    }

    /// The OCI image configuration, compact, without a final newline.
    pub fn to_oci(&self) -> Vec<u8> {
        config_write::oci(self)
    }

    /// Docker's image JSON, compact, without a final newline.
    pub fn to_docker(&self) -> Vec<u8> {
        config_write::docker(self)
    }
}

impl Settings {
    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Sets a variable, which goes to the end, wherever an older value stood.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.unset_env(name);
        self.env.push(format!("{name}={value}"));
    }

    /// The same for each of these in its turn, in one pass over all: an instruction may have tens of thousands.
    pub fn set_envs(&mut self, pairs: &[(String, String)]) {
        let last: HashMap<&str, usize> = pairs.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
        self.env.retain(|entry| !last.contains_key(name_of(entry)));
        let holds = pairs.iter().enumerate().filter(|(at, (name, _))| last.get(name.as_str()) == Some(at));
        self.env.extend(holds.map(|(_, (name, value))| format!("{name}={value}")));
        self.empty.env = true;
    }

    /// Removes a variable.
    pub fn unset_env(&mut self, name: &str) {
        self.env.retain(|entry| name_of(entry) != name);
        self.empty.env = true;
    }
}

/// The variable that an entry of `env` is about. An entry without `=` counts as a name alone.
fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents made by Buildah 1.28.2 (`config` with every flag, then `commit --timestamp 0`).
    const EVERY_OCI: &[u8] = include_bytes!("testdata/every-oci.config.json");
    const EVERY_DOCKER: &[u8] = include_bytes!("testdata/every-docker.config.json");
    const CLEARED_DOCKER: &[u8] = include_bytes!("testdata/cleared-docker.config.json");
    const EMPTY_OCI: &[u8] = include_bytes!("testdata/empty-oci.config.json");
    const EMPTY_DOCKER: &[u8] = include_bytes!("testdata/empty-docker.config.json");
    const VARIANT_OCI: &[u8] = include_bytes!("testdata/variant-oci.config.json");
    const STATE_OCI: &[u8] = include_bytes!("testdata/state-ociv1.json");
    const STATE_DOCKER: &[u8] = include_bytes!("testdata/state-docker.json");

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn reads_and_writes_the_same_bytes_as_buildah() {
        for document in [EVERY_OCI, EMPTY_OCI] {
            assert_eq!(text(&ImageConfig::parse(document).unwrap().to_oci()), text(document));
        }
        for document in [EVERY_DOCKER, EMPTY_DOCKER, CLEARED_DOCKER] {
            assert_eq!(text(&ImageConfig::parse(document).unwrap().to_docker()), text(document));
        }
    }

    #[test]
    fn converts_between_the_families_as_buildah() {
        let mut oci = ImageConfig::parse(EVERY_DOCKER).unwrap();
        assert_eq!(text(&oci.to_oci()), text(EVERY_OCI));
        // The other way what only Docker has must come from elsewhere.
        let docker = std::mem::take(&mut oci.docker);
        let mut back = ImageConfig::parse(EVERY_OCI).unwrap();
        let lost = oci.config;
        back.comment = oci.comment;
        back.docker = docker;
        back.config.hostname = lost.hostname;
        back.config.domainname = lost.domainname;
        back.config.healthcheck = lost.healthcheck;
        back.config.on_build = lost.on_build;
        back.config.shell = lost.shell;
        assert_eq!(text(&back.to_docker()), text(EVERY_DOCKER));
    }

    #[test]
    fn the_variant_is_where_image_spec_1_1_has_it() {
        let ours = ImageConfig::parse(VARIANT_OCI).unwrap().to_oci();
        let values = [ours.as_slice(), VARIANT_OCI].map(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap());
        assert_eq!(values[0], values[1]);
        assert!(text(&ours).contains(r#""os.features":["f1"],"variant":"v8","config""#));
    }

    #[test]
    fn joins_the_halves_of_a_working_container() {
        let joined = ImageConfig::from_halves(STATE_OCI, STATE_DOCKER).unwrap();
        let expected = ImageConfig::parse(EVERY_DOCKER).unwrap();
        assert_eq!(joined.config.healthcheck, expected.config.healthcheck);
        assert_eq!(joined.config.hostname, "h");
        assert_eq!(joined.comment, "hi");
        assert_eq!(joined.config.env, expected.config.env);
        let again = ImageConfig::from_halves(&joined.to_oci(), &joined.to_docker()).unwrap();
        assert_eq!((again.config, again.created), (joined.config, joined.created));
    }

    #[test]
    fn unknown_members_survive() {
        let document = br#"{"architecture":"amd64","os":"linux","config":{"X-Y":{"a":[null],"b":1}},"rootfs":{"type":"layers","diff_ids":[]},"moby.buildkit.buildinfo.v1":"e30="}"#;
        assert_eq!(text(&ImageConfig::parse(document).unwrap().to_oci()), text(document));
        let docker = ImageConfig::parse(document).unwrap().to_docker();
        assert_eq!(ImageConfig::parse(&docker).unwrap().to_oci(), document);
    }

    #[test]
    fn null_is_a_zero() {
        let document = br#"{"created":null,"author":null,"os.features":null,"config":{"Env":null,"Cmd":null,"Volumes":null,"Labels":null,"User":null,"Healthcheck":null,"OnBuild":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        assert_eq!(ImageConfig::parse(document).unwrap(), ImageConfig::default());
        assert_eq!(ImageConfig::parse(b"{}").unwrap(), ImageConfig::default());
    }

    #[test]
    fn refuses_what_tools_would_read_differently() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let many = format!("[{}]", vec![format!("{digest:?}"); 501].join(","));
        let cases = [
            "".to_owned(),
            "[]".to_owned(),
            r#"{"Config":{}}"#.to_owned(),
            r#"{"config":{"env":[]}}"#.to_owned(),
            r#"{"config":{},"config":{}}"#.to_owned(),
            r#"{"config":{}} {}"#.to_owned(),
            r#"{"created":"yesterday"}"#.to_owned(),
            r#"{"rootfs":{"type":"layers+base","diff_ids":[]}}"#.to_owned(),
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#.to_owned(),
            format!(r#"{{"rootfs":{{"type":"layers","diff_ids":{many}}}}}"#),
            format!(r#"{{"config":{{"x":{}1{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
            " ".repeat(MAX_BYTES + 1),
        ];
        for document in cases {
            assert!(ImageConfig::parse(document.as_bytes()).is_err(), "{}", &document[..document.len().min(80)]);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_of_any_config_is_read_as_the_same(
            user in "\\PC{0,8}",
            env in proptest::collection::vec("[A-Z=é\"\n]{0,6}", 0..4),
            extra in "[a-zA-Z]{0,8}",
            number in proptest::prelude::any::<i64>(),
            created in "(\"20[0-9]{2}-0[1-9]-[0-3][0-9]T[0-2][0-9]:00:00(\\.[0-9]{1,9})?Z\"|null|\"\"|1)",
        ) {
            let (user, env) = (serde_json::to_string(&user).unwrap(), serde_json::to_string(&env).unwrap());
            let text = format!(
                r#"{{"created":{created},"config":{{"User":{user},"Env":{env},"x{extra}":{number}}},"y{extra}":[{number},{{}}],"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
            );
            if let Ok(config) = ImageConfig::parse(text.as_bytes()) {
                for write in [ImageConfig::to_oci, ImageConfig::to_docker] {
                    let written = write(&config);
                    proptest::prop_assert_eq!(write(&ImageConfig::parse(&written).unwrap()), written);
                }
            }
        }
    }
}
