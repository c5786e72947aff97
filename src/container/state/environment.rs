//! What `from` was told for later runs, as `buildah.json` keeps it.

use serde::{Deserialize, Serialize};

use super::Members;
use crate::run::namespaces::IdMaps;

/// How processes of a container are kept apart from the machine (`Isolation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The built-in runtime. Buildah takes it for what is right for the caller.
    #[default]
    Default,
    /// An external runtime. Buildah notes it for root whether it was asked for or not.
    Oci,
    /// User, mount and host name namespace only.
    Chroot,
    /// The built-in runtime, noted for a caller without privilege.
    Rootless,
}

impl Isolation {
    /// Parses `--isolation` and `BUILDAH_ISOLATION`; `None` for a word that is none: never a weaker isolation
    /// (GHSA-7236-3392-c5c6).
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "default" => Some(Self::Default),
            "oci" => Some(Self::Oci),
            "chroot" => Some(Self::Chroot),
            "rootless" => Some(Self::Rootless),
            _ => None,
        }
    }

    /// The number in the file.
    pub fn number(self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Oci => 1,
            Self::Chroot => 2,
            Self::Rootless => 3,
        }
    }

    /// The isolation with this number; an unknown one is the default.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Oci,
            2 => Self::Chroot,
            3 => Self::Rootless,
            _ => Self::Default,
        }
    }
}

/// Whether the processes have a network (`ConfigureNetwork`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkPolicy {
    /// As the tool sees fit.
    #[default]
    Default,
    /// None but loopback.
    Disabled,
    /// One was asked for.
    Enabled,
}

impl NetworkPolicy {
    fn number(self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Disabled => 1,
            Self::Enabled => 2,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Disabled,
            2 => Self::Enabled,
            _ => Self::Default,
        }
    }
}

/// One entry of `NamespaceOptions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Namespace {
    /// `cgroup`, `ipc`, `mount`, `network`, `pid`, `user`, `uts`.
    pub name: String,
    /// The host's namespace is used.
    #[serde(default)]
    pub host: bool,
    /// The namespace to join, or for the network its mode; empty for a new one.
    #[serde(default)]
    pub path: String,
}

/// `CommonBuildOpts`: the members that we honour. The others are written with Buildah's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CommonOptions {
    /// `name:address`.
    #[serde(deserialize_with = "null_is_empty")]
    pub add_host: Vec<String>,
    /// Leave out the history on commit.
    pub omit_history: bool,
    /// Empty: the caller's.
    pub cgroup_parent: String,
    /// Length of a period of processor time, in microseconds; 0 for the kernel's default.
    #[serde(rename = "CPUPeriod")]
    pub cpu_period: u64,
    /// Processor time in a period, in microseconds; 0 for no limit.
    #[serde(rename = "CPUQuota")]
    pub cpu_quota: i64,
    /// Relative weight, 1,024 being the usual one; 0 for the default.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: u64,
    /// Processors that may be used, as `0-3,5`; empty for all.
    #[serde(rename = "CPUSetCPUs")]
    pub cpuset_cpus: String,
    /// Memory nodes that may be used; empty for all.
    #[serde(rename = "CPUSetMems")]
    pub cpuset_mems: String,
    /// Pass the proxy variables.
    #[serde(rename = "HTTPProxy")]
    pub http_proxy: bool,
    /// 0 undefined, 1 yes, 2 no: Go's `types.OptionalBool`.
    pub identity_label: u8,
    /// Bytes of memory; 0 for no limit.
    pub memory: i64,
    /// Search domains.
    #[serde(rename = "DNSSearch", deserialize_with = "null_is_empty")]
    pub dns_search: Vec<String>,
    /// Name servers; the single word `none` leaves resolv.conf alone.
    #[serde(rename = "DNSServers", deserialize_with = "null_is_empty")]
    pub dns_servers: Vec<String>,
    /// resolv.conf options.
    #[serde(rename = "DNSOptions", deserialize_with = "null_is_empty")]
    pub dns_options: Vec<String>,
    /// SELinux label options.
    #[serde(deserialize_with = "null_is_empty")]
    pub label_opts: Vec<String>,
    /// Bytes of memory and swap together; 0 for no limit of its own, -1 for unlimited swap.
    pub memory_swap: i64,
    /// Paths to mask beside the default ones (since Buildah 1.32).
    #[serde(deserialize_with = "null_is_empty")]
    pub masks: Vec<String>,
    /// Paths not to mask (since Buildah 1.32).
    #[serde(deserialize_with = "null_is_empty")]
    pub unmasks: Vec<String>,
    /// No new privileges for the processes (since Buildah 1.31).
    pub no_new_privileges: bool,
    /// No `/etc/hosts`.
    pub no_hosts: bool,
    /// No `/etc/hostname` (since Buildah 1.31).
    pub no_hostname: bool,
    /// A profile file, or `unconfined`; empty for the default.
    pub seccomp_profile_path: String,
    /// An AppArmor profile.
    pub apparmor_profile: String,
    /// Size of `/dev/shm` with a unit.
    pub shm_size: String,
    /// `name=soft:hard`.
    #[serde(deserialize_with = "null_is_empty")]
    pub ulimit: Vec<String>,
    /// `host:container:options`.
    #[serde(deserialize_with = "null_is_empty")]
    pub volumes: Vec<String>,
    /// Directories of hooks.
    #[serde(rename = "OCIHooksDir", deserialize_with = "null_is_empty")]
    pub hooks_dirs: Vec<String>,
}

impl Default for CommonOptions {
    fn default() -> Self {
        Self {
            add_host: Vec::new(),
            omit_history: false,
            cgroup_parent: String::new(),
            cpu_period: 0,
            cpu_quota: 0,
            cpu_shares: 0,
            cpuset_cpus: String::new(),
            cpuset_mems: String::new(),
            http_proxy: true,
            identity_label: 2,
            memory: 0,
            dns_search: Vec::new(),
            dns_servers: Vec::new(),
            dns_options: Vec::new(),
            label_opts: Vec::new(),
            memory_swap: 0,
            masks: Vec::new(),
            unmasks: Vec::new(),
            no_new_privileges: false,
            no_hosts: false,
            no_hostname: false,
            seccomp_profile_path: String::new(),
            apparmor_profile: String::new(),
            shm_size: "65536k".to_owned(),
            ulimit: Vec::new(),
            volumes: Vec::new(),
            hooks_dirs: Vec::new(),
        }
    }
}

/// Go writes an empty slice as `null`.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Everything that `from` keeps for later runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunEnvironment {
    /// How processes are kept apart.
    pub isolation: Isolation,
    /// Which namespaces are new, and which are the host's; those not listed are new.
    pub namespaces: Vec<Namespace>,
    /// Whether there is a network.
    pub network_policy: NetworkPolicy,
    /// The capabilities of a root process, `CAP_X` each, sorted.
    pub capabilities: Vec<String>,
    /// Supplementary groups; the word `keep-groups` keeps the caller's.
    pub group_add: Vec<String>,
    /// `HOST[:CONTAINER[:rwm]]` (since Buildah 1.33; older ones keep resolved devices, which we do not read).
    pub devices: Vec<String>,
    /// Who owns the files of a new container; what was kept is in its record in the store, and not read from here.
    pub id_maps: IdMaps,
    /// The rest.
    pub common: CommonOptions,
}

impl RunEnvironment {
    /// Reads it from the members of `buildah.json`.
    pub(super) fn read(members: &Members) -> serde_json::Result<Self> {
        Ok(Self {
            isolation: Isolation::from_number(members.get("Isolation")?),
            namespaces: members.get("NamespaceOptions")?,
            network_policy: NetworkPolicy::from_number(members.get("ConfigureNetwork")?),
            capabilities: members.get("Capabilities")?,
            group_add: members.get("GroupAdd")?,
            devices: members.get("DeviceSpecs")?,
            id_maps: IdMaps::default(),
            common: members.get("CommonBuildOpts")?,
        })
    }

    /// Writes it into the members of a new `buildah.json`.
    pub(super) fn write(&self, members: &mut Members) -> serde_json::Result<()> {
        members.set("Isolation", &self.isolation.number())?;
        members.set("NamespaceOptions", &self.namespaces)?;
        members.set("ConfigureNetwork", &self.network_policy.number())?;
        members.set("Capabilities", &self.capabilities)?;
        members.set("GroupAdd", &(!self.group_add.is_empty()).then_some(&self.group_add))?;
        members.set("DeviceSpecs", &self.devices)?;
        members.set("CommonBuildOpts", &self.common)
    }
}
