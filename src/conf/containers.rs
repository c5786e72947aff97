//! containers.conf: the defaults for containers, as containers.conf(5) describes the file, its places and its drop-ins.
//!
//! ```text
//! CONTAINERS_CONF, or else     /usr/share/containers/containers.conf ─▶ /etc/containers/containers.conf
//!                              ─▶ in both: containers.conf.d, containers.rootless.conf.d, containers.rootless.conf.d/UID, by name
//!    (rootless)                ─▶ ~/.config/containers/containers.conf ─▶ containers.conf.d there
//! and at last                  CONTAINERS_CONF_OVERRIDE
//! ```
//!
//! The newest tools read one of the three main files alone, and all drop-ins after it; Debian 12's read all main files, the user's after the
//! system's drop-ins. Where the two disagree on files that both read, it is Debian's way here; `system_drop_ins` has the newer one.
//!
//! Invariant: files are merged key by key, the later one wins; a list that holds `{append=true}` adds to what was there, and so
//! do the lists of the files after it. Keys that we do not read are ignored: other tools own them, and some of them (`env`,
//! `umask`, `tz`, `mounts`, `seccomp_profile`) have no effect on a builder's containers, Buildah's included.

mod setting;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use setting::{Merger, Setting};

use super::{Environment, Error, Presence, read_drop_ins, system_drop_ins};

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
    /// `annotations`: `key=value`, for the runtime.
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
    /// `host_containers_internal_ip`: an address, or `none`.
    pub host_containers_internal_ip: Option<String>,
    /// `http_proxy`: hand the proxy variables on.
    pub http_proxy: Option<bool>,
    /// `ipcns`
    pub ipcns: Option<String>,
    /// `label`: whether containers get SELinux labels.
    pub label: Option<bool>,
    /// `netns`
    pub netns: Option<String>,
    /// `no_hosts`
    pub no_hosts: Option<bool>,
    /// `pidns`
    pub pidns: Option<String>,
    /// `shm_size`: bytes, with a unit.
    pub shm_size: Option<String>,
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
    /// `add_compression`: as `compression_format`.
    pub add_compression: Option<Vec<String>>,
    /// `cgroup_manager`: `systemd` or `cgroupfs`.
    pub cgroup_manager: Option<String>,
    /// `compression_format`: `gzip`, `zstd`, `zstd:chunked`.
    pub compression_format: Option<String>,
    /// `compression_level`
    pub compression_level: Option<i32>,
    /// `env`: `name=value`, exported where unset.
    pub env: Option<Vec<String>>,
    /// `helper_binaries_dir`
    pub helper_binaries_dir: Option<Vec<PathBuf>>,
    /// `hooks_dir`
    pub hooks_dir: Option<Vec<PathBuf>>,
    /// `image_copy_tmp_dir`: a directory, or `storage`.
    pub image_copy_tmp_dir: Option<String>,
    /// `image_parallel_copies`: layers at a time; 0 for as many as usual.
    pub image_parallel_copies: Option<u32>,
    /// `network_cmd_options`: for slirp4netns.
    pub network_cmd_options: Option<Vec<String>>,
    /// `network_cmd_path`: slirp4netns itself.
    pub network_cmd_path: Option<PathBuf>,
    /// `retry`
    pub retry: Option<u32>,
    /// `retry_delay`: a Go duration.
    pub retry_delay: Option<String>,
    /// `runtime`: a name in `runtimes`, or a path.
    pub runtime: Option<String>,
    /// `runtimes`: name to paths.
    pub runtimes: BTreeMap<String, Vec<PathBuf>>,
}

/// `[network]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// `default_rootless_network_cmd`: `pasta` or `slirp4netns`.
    pub default_rootless_network_cmd: Option<String>,
    /// `pasta_options`
    pub pasta_options: Option<Vec<String>>,
}

const FILE: &str = "containers/containers.conf";

impl ContainersConf {
    /// Reads and merges all files that `environment` points to.
    ///
    /// # Errors
    ///
    /// A file named by `CONTAINERS_CONF` or `CONTAINERS_CONF_OVERRIDE` must exist. Any file that exists must be TOML with the
    /// right types.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        Self::load_below(environment, Path::new("/"))
    }

    /// As [`Self::load`], with another directory for the system's `usr/share` and `etc`.
    fn load_below(environment: &Environment, root: &Path) -> Result<Self, Error> {
        let mut merger = Merger::default();
        if let Some(path) = &environment.containers_conf {
            merger.add(path, Presence::Required)?;
        } else {
            for directory in ["usr/share", "etc"] {
                merger.add(&root.join(directory).join(FILE), Presence::Optional)?;
            }
            let home = environment.config_home().filter(|_| environment.rootless).map(|home| home.join(FILE));
            let own = home.as_deref().map(read_drop_ins).transpose()?.unwrap_or_default();
            for drop_in in system_drop_ins(environment, root, "containers", &own)? {
                merger.add(&drop_in, Presence::Optional)?;
            }
            for path in home.iter().chain(&own) {
                merger.add(path, Presence::Readable)?;
            }
        }
        if let Some(path) = &environment.containers_conf_override {
            merger.add(path, Presence::Required)?;
        }
        Ok(merger.conf)
    }
}

impl Containers {
    fn set(&mut self, key: &str, setting: &mut Setting<'_>) -> Result<(), Error> {
        match key {
            "annotations" => setting.list(&mut self.annotations),
            "base_hosts_file" => setting.text(&mut self.base_hosts_file),
            "cgroupns" => setting.text(&mut self.cgroupns),
            "container_name_as_hostname" => setting.flag(&mut self.container_name_as_hostname),
            "default_capabilities" => setting.list(&mut self.default_capabilities),
            "default_sysctls" => setting.list(&mut self.default_sysctls),
            "default_ulimits" => setting.list(&mut self.default_ulimits),
            "devices" => setting.list(&mut self.devices),
            "dns_options" => setting.list(&mut self.dns_options),
            "dns_searches" => setting.list(&mut self.dns_searches),
            "dns_servers" => setting.list(&mut self.dns_servers),
            "host_containers_internal_ip" => setting.text(&mut self.host_containers_internal_ip),
            "http_proxy" => setting.flag(&mut self.http_proxy),
            "ipcns" => setting.text(&mut self.ipcns),
            "label" => setting.flag(&mut self.label),
            "netns" => setting.text(&mut self.netns),
            "no_hosts" => setting.flag(&mut self.no_hosts),
            "pidns" => setting.text(&mut self.pidns),
            "shm_size" => setting.text(&mut self.shm_size),
            "userns" => setting.text(&mut self.userns),
            "utsns" => setting.text(&mut self.utsns),
            "volumes" => setting.list(&mut self.volumes),
            _ => Ok(()),
        }
    }
}

impl Engine {
    fn set(&mut self, key: &str, setting: &mut Setting<'_>) -> Result<(), Error> {
        match key {
            "add_compression" => setting.list(&mut self.add_compression),
            "cgroup_manager" => setting.text(&mut self.cgroup_manager),
            "compression_format" => setting.text(&mut self.compression_format),
            "compression_level" => setting.number(&mut self.compression_level),
            "env" => setting.list(&mut self.env),
            "helper_binaries_dir" => setting.paths(&mut self.helper_binaries_dir),
            "hooks_dir" => setting.paths(&mut self.hooks_dir),
            "image_copy_tmp_dir" => setting.text(&mut self.image_copy_tmp_dir),
            "network_cmd_options" => setting.list(&mut self.network_cmd_options),
            "network_cmd_path" => setting.path(&mut self.network_cmd_path),
            "image_parallel_copies" => setting.number(&mut self.image_parallel_copies),
            "retry" => setting.number(&mut self.retry),
            "retry_delay" => setting.text(&mut self.retry_delay),
            "runtime" => setting.text(&mut self.runtime),
            "runtimes" => setting.table_of_paths(&mut self.runtimes),
            _ => Ok(()),
        }
    }
}

impl Network {
    fn set(&mut self, key: &str, setting: &mut Setting<'_>) -> Result<(), Error> {
        match key {
            "default_rootless_network_cmd" => setting.text(&mut self.default_rootless_network_cmd),
            "pasta_options" => setting.list(&mut self.pasta_options),
            _ => Ok(()),
        }
    }
}
