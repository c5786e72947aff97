//! One `run::Request` from the image config (environment, user, directory), what `from` keeps for later runs, containers.conf, and what
//! this run asks for. The later source wins, and lists add up.
//!
//! Reads files only for hooks; nothing is mounted yet. An error is a word that means nothing.

use std::path::{Path, PathBuf};

use rustix::mount::MountAttrFlags;

use super::words::{parse_host, parse_size};
use super::{Options, TerminalChoice, mounts, words};
use crate::conf::ContainersConf;
use crate::container::WorkingContainer;
use crate::container::state::{self, CommonOptions, Namespace as KeptNamespace, RunEnvironment};
use crate::image::config::Settings;
use crate::run::cgroups;
use crate::run::devices::DeviceRequest;
use crate::run::etc_files::{self, BaseHosts, HostAddress, Hostname, Hosts};
use crate::run::hooks;
use crate::run::limits::{self, Rlimit};
use crate::run::lsm;
use crate::run::namespaces::{self, Namespace, User};
use crate::run::oci;
use crate::run::{self, Isolation, MountOptions, ProcessOptions, Request, Terminal, security, users};

/// Seccomp profiles that are the machine's default: Buildah notes the path at `from`.
const DEFAULT_PROFILES: [&str; 2] = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];

/// Everything that a request is made of.
pub(super) struct Plan<'a> {
    pub(super) container: &'a WorkingContainer,
    pub(super) kept: &'a RunEnvironment,
    pub(super) options: &'a Options,
    pub(super) conf: &'a ContainersConf,
    pub(super) rootless: bool,
}

impl Plan<'_> {
    /// The request, but for what only the mounted root file system can tell: `run` adds that.
    pub(super) fn request(&self) -> Result<Request, String> {
        let namespaces = self.namespaces()?;
        Ok(Request {
            process: self.process(&namespaces),
            security: self.security()?,
            limits: self.limits()?,
            mounts: self.mounts()?,
            files: self.files(&namespaces)?,
            namespaces,
            isolation: self.isolation(),
            cgroups: self.cgroups(),
            hooks: self.hooks()?,
            root_change: self.options.confinement.root_change,
            emulation: self.options.confinement.emulation,
            // The mount says that, once it is there.
            guards: MountAttrFlags::empty(),
        })
    }

    fn settings(&self) -> &Settings {
        &self.container.state().draft.config.config
    }

    fn common(&self) -> &CommonOptions {
        &self.kept.common
    }

    fn process(&self, namespaces: &namespaces::Options) -> ProcessOptions {
        let proxy: &[(String, String)] = if self.common().http_proxy { &self.options.proxy } else { &[] };
        ProcessOptions {
            args: self.options.command.clone(),
            env: run::environment::compose(proxy, &self.settings().env, &self.options.env),
            cwd: self.workdir(),
            umask: self.options.umask.unwrap_or(run::DEFAULT_UMASK),
            user: users::ProcessUser { uid: 0, gid: 0, groups: Vec::new(), home: "/".to_owned(), keep_groups: false },
            terminal: match self.options.terminal {
                TerminalChoice::Always => Terminal::Allocate,
                TerminalChoice::Automatic if all_are_terminals() => Terminal::Allocate,
                TerminalChoice::Automatic | TerminalChoice::Never => Terminal::Inherit,
            },
            streams: self.options.streams.clone(),
            hostname: (namespaces.uts != Namespace::Host).then(|| self.hostname()),
        }
    }

    fn hostname(&self) -> String {
        match self.options.names.hostname.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None if !self.settings().hostname.is_empty() => self.settings().hostname.clone(),
            None if self.conf.containers.container_name_as_hostname == Some(true) => words::host_label(&self.container.name()),
            None => self.container.id().short().to_owned(),
        }
    }

    fn security(&self) -> Result<security::Options, String> {
        let common = self.common();
        let mut security = security::Options {
            capabilities: run::capabilities::Options {
                defaults: self.kept.capabilities.clone(),
                add: self.options.confinement.cap_add.clone(),
                drop: self.options.confinement.cap_drop.clone(),
            },
            seccomp: match common.seccomp_profile_path.as_str() {
                "" => security::SeccompChoice::Default,
                "unconfined" => security::SeccompChoice::Unconfined,
                path if DEFAULT_PROFILES.contains(&path) => security::SeccompChoice::Default,
                path => security::SeccompChoice::File(PathBuf::from(path)),
            },
            no_new_privileges: common.no_new_privileges,
            mask: common.masks.clone(),
            unmask: common.unmasks.clone(),
            lsm: lsm::Options {
                profile: Some(common.apparmor_profile.clone()).filter(|profile| !profile.is_empty()),
                // Those that `from` was given are in the labels.
                words: Vec::new(),
                labels: self.container.labels(),
            },
        };
        for word in &self.options.confinement.security {
            security.apply(word)?;
        }
        Ok(security)
    }

    /// What the flags and variables say, else what `from` kept.
    fn isolation(&self) -> Isolation {
        let confinement = &self.options.confinement;
        let runtime = self.runtime();
        match confinement.isolation.unwrap_or(self.kept.isolation) {
            state::Isolation::Chroot => Isolation::Chroot,
            state::Isolation::Oci if confinement.isolation.is_some() || runtime.find().is_ok() => Isolation::Oci(runtime),
            _ if confinement.runtime.program.is_some() => Isolation::Oci(runtime),
            state::Isolation::Rootless if confinement.isolation.is_some() => Isolation::Native,
            // Buildah notes "oci" for root whether it was asked for or not: where no runtime is installed it was not.
            _ => Isolation::Automatic,
        }
    }

    fn runtime(&self) -> oci::Options {
        let (choice, engine) = (&self.options.confinement.runtime, &self.conf.engine);
        let configured = || engine.cgroup_manager.as_deref().and_then(cgroups::Manager::parse);
        oci::Options {
            program: choice.program.clone().or_else(|| engine.runtime.clone()),
            known: engine.runtimes.clone(),
            flags: choice.flags.clone(),
            annotations: self.conf.containers.annotations.clone().unwrap_or_default(),
            cgroup_manager: choice.cgroup_manager.or_else(configured),
            temp_dir: choice.temp_dir.clone(),
        }
    }

    /// The hooks for this command in the directories that `from` was given.
    fn hooks(&self) -> Result<hooks::Options, String> {
        let directories: Vec<PathBuf> = self.common().hooks_dirs.iter().map(PathBuf::from).collect();
        if directories.is_empty() {
            return Ok(hooks::Options::default());
        }
        let call = crate::conf::hooks::Call {
            command: self.options.command.first().map_or("", String::as_str),
            annotations: self.container.state().draft.annotations.clone().into_iter().collect(),
            has_bind_mounts: !self.options.mounts.requests.is_empty() || !self.common().volumes.is_empty(),
        };
        let hooks = crate::conf::hooks::load(&directories, &call).map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })?;
        Ok(hooks::Options { hooks, temp_dir: self.options.confinement.runtime.temp_dir.clone() })
    }

    fn cgroups(&self) -> cgroups::Options {
        let common = self.common();
        cgroups::Options {
            parent: common.cgroup_parent.clone(),
            limits: cgroups::Limits {
                memory: common.memory,
                memory_swap: common.memory_swap,
                cpu_shares: common.cpu_shares,
                cpu_period: common.cpu_period,
                cpu_quota: common.cpu_quota,
                cpuset_cpus: common.cpuset_cpus.clone(),
                cpuset_mems: common.cpuset_mems.clone(),
            },
        }
    }

    fn namespaces(&self) -> Result<namespaces::Options, String> {
        let words = &self.options.confinement.namespaces;
        let one = |flag: &str, kind: &str, given: &Option<String>, default: Namespace| match (given, self.kept_namespace(kind))
        {
            (Some(word), _) => Namespace::parse(flag, word),
            (None, Some(kept)) if kept.host => Ok(Namespace::Host),
            (None, Some(kept)) => Namespace::parse(flag, &kept.path),
            (None, None) => Ok(default),
        };
        Ok(namespaces::Options {
            ipc: one("ipc", "ipc", &words.ipc, Namespace::Private)?,
            pid: one("pid", "pid", &words.pid, Namespace::Private)?,
            uts: one("uts", "uts", &words.uts, Namespace::Private)?,
            cgroup: one("cgroupns", "cgroup", &words.cgroup, Namespace::Host)?,
            user: self.user(),
            network: self.network()?,
            network_programs: self.network_programs()?,
        })
    }

    fn user(&self) -> User {
        let maps = self.container.id_maps();
        match self.kept_namespace("user") {
            Some(kept) if !kept.host && !kept.path.is_empty() => User::Joined(PathBuf::from(&kept.path), maps),
            _ if !maps.uid.0.is_empty() || !maps.gid.0.is_empty() => User::Mapped(maps),
            Some(kept) if !kept.host => User::New,
            _ => User::Same,
        }
    }

    fn network(&self) -> Result<run::network::Mode, String> {
        use run::network::{Helper, Mode};
        if let Some(word) = &self.options.confinement.namespaces.network {
            return Mode::parse(word);
        }
        match (self.kept.network_policy, self.kept_namespace("network")) {
            (state::NetworkPolicy::Disabled, _) => Ok(Mode::None),
            (_, Some(kept)) if kept.host => Ok(Mode::Host),
            (_, Some(kept)) if !kept.path.is_empty() => Mode::parse(&kept.path),
            (state::NetworkPolicy::Enabled, _) => Ok(Mode::Private(Helper::Any, Vec::new())),
            (state::NetworkPolicy::Default, _) => self
                .conf
                .containers
                .netns
                .as_deref()
                .map_or(Ok(Mode::Automatic), |word| if word == "private" { Ok(Mode::Automatic) } else { Mode::parse(word) }),
        }
    }

    fn network_programs(&self) -> Result<run::network::Settings, String> {
        let (engine, network) = (&self.conf.engine, &self.conf.network);
        let preferred = match network.default_rootless_network_cmd.as_deref() {
            None | Some("") => run::network::Helper::Any,
            Some(name) => run::network::Helper::named(name)
                .ok_or_else(|| format!("invalid default_rootless_network_cmd option {name:?}"))?,
        };
        Ok(run::network::Settings {
            directories: engine.helper_binaries_dir.clone().unwrap_or_default(),
            slirp_path: engine.network_cmd_path.clone().filter(|path| !path.as_os_str().is_empty()),
            slirp_options: engine.network_cmd_options.clone().unwrap_or_default(),
            pasta_options: network.pasta_options.clone().unwrap_or_default(),
            preferred,
        })
    }

    fn kept_namespace(&self, kind: &str) -> Option<&KeptNamespace> {
        self.kept.namespaces.iter().find(|namespace| namespace.name == kind)
    }

    fn limits(&self) -> Result<limits::Options, String> {
        let mut limits = limits::Options::default();
        for word in &self.common().ulimit {
            limits.rlimits.push(Rlimit::parse(word)?);
        }
        if !self.common().shm_size.is_empty() {
            limits.shm_size = parse_size(&self.common().shm_size)?;
        }
        for sysctl in self.conf.containers.default_sysctls.iter().flatten() {
            let (name, value) =
                sysctl.split_once('=').ok_or_else(|| format!("invalid sysctl {sysctl:?} in containers.conf"))?;
            limits.sysctls.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(limits)
    }

    fn mounts(&self) -> Result<MountOptions, String> {
        let given = &self.options.mounts;
        let mut devices = Vec::new();
        for word in &self.kept.devices {
            devices.push(DeviceRequest::parse(word)?);
        }
        devices.extend(given.devices.iter().cloned());
        let requests = mounts::requests(&self.common().volumes, &given.requests, &self.workdir())?;
        Ok(MountOptions { requests, devices, ..given.clone() })
    }

    fn workdir(&self) -> PathBuf {
        match self.options.workdir.as_deref().unwrap_or(&self.settings().working_dir) {
            "" => PathBuf::from("/"),
            dir => Path::new("/").join(dir),
        }
    }

    fn files(&self, namespaces: &namespaces::Options) -> Result<etc_files::Options, String> {
        let common = self.common();
        let names = &self.options.names;
        let no_network = namespaces.network == run::network::Mode::None;
        let hosts = if names.no_hosts || common.no_hosts || self.conf.containers.no_hosts == Some(true) || no_network {
            None
        } else {
            Some(self.hosts()?)
        };
        let conf = &self.conf.containers;
        let servers = first(&common.dns_servers, conf.dns_servers.as_ref());
        let dns = etc_files::Dns {
            leave_alone: no_network || servers.iter().any(|server| server.eq_ignore_ascii_case("none")),
            servers,
            search: first(&common.dns_search, conf.dns_searches.as_ref()),
            options: first(&common.dns_options, conf.dns_options.as_ref()),
        };
        let base = self.container.state().base_names();
        Ok(etc_files::Options {
            hosts,
            dns,
            hostname: if names.no_hostname || common.no_hostname { Hostname::LeaveAlone } else { Hostname::Provide },
            container: etc_files::ContainerLabel {
                name: self.container.name(),
                id: self.container.id().to_string(),
                image: base.0,
                image_id: base.1,
                rootless: self.rootless,
            },
        })
    }

    fn hosts(&self) -> Result<Hosts, String> {
        let mut extra = Vec::new();
        for word in &self.common().add_host {
            extra.push(parse_host(word)?);
        }
        let base = match self.conf.containers.base_hosts_file.as_deref() {
            None | Some("") => BaseHosts::Host,
            Some("none") => BaseHosts::None,
            // Read when the container is mounted.
            Some("image") => BaseHosts::Text(String::new()),
            Some(path) => BaseHosts::File(PathBuf::from(path)),
        };
        let internal = match self.conf.containers.host_containers_internal_ip.as_deref() {
            None | Some("") => HostAddress::Automatic,
            Some("none") => HostAddress::None,
            Some(word) => {
                let bad = |_| format!("invalid host_containers_internal_ip {word:?} in containers.conf: not an IP address");
                HostAddress::Address(word.parse().map_err(bad)?)
            }
        };
        Ok(Hosts { extra, base, internal })
    }
}

/// What `from` was told, else what containers.conf says now.
fn first(kept: &[String], conf: Option<&Vec<String>>) -> Vec<String> {
    if kept.is_empty() { conf.cloned().unwrap_or_default() } else { kept.to_vec() }
}

fn all_are_terminals() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}
