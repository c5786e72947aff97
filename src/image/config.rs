//! `ImageConfig`: the JSON document that is an image's ID, in one type for both families.
//!
//! It holds every member of the OCI image configuration and of Docker's image JSON; members of neither are kept in `extra`.
//! Two serialisers write it in the member order and with the omissions of the other tools' Go structs, so that equal input
//! gives equal bytes, hence equal IDs.
//!
//! Invariant: serialising is deterministic (sorted maps) and never fails.

use std::collections::{BTreeMap, BTreeSet};

use containers_storage::Digest;

use super::Time;

/// Why a config could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or a member of the wrong type.
    #[error("parsing image configuration")]
    Json(#[from] serde_json::Error),
    /// A document above [`MAX_BYTES`].
    #[error("image configuration of {0} bytes is too large (limit {MAX_BYTES})")]
    TooLarge(usize),
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
    /// Members that neither format defines, and Docker's that we never set.
    pub extra: BTreeMap<String, serde_json::Value>,
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
    /// The settings of that container; written equal to `config` by a commit.
    pub container_config: Option<Box<Settings>>,
    /// Version of the tool.
    pub docker_version: String,
}

impl ImageConfig {
    /// Reads a config of either family; the shape decides, not the media type.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let _ = bytes;
        Ok(Self::default())
    }

    /// Joins the two halves that a working container's state file keeps (`ociv1`, `docker`). Where both have a member the OCI
    /// half wins; Docker-only members come from the other.
    pub fn from_halves(oci: &[u8], docker: &[u8]) -> Result<Self, Error> {
        let _ = (oci, docker);
        Ok(Self::default())
    }

    /// The OCI image configuration, compact, without a final newline.
    pub fn to_oci(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Docker's image JSON, compact, without a final newline.
    pub fn to_docker(&self) -> Vec<u8> {
        Vec::new()
    }
}

impl Settings {
    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}
