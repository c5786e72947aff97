//! The flags of `from` that later runs of the container obey, and what containers.conf says where they are silent.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{CapabilityArgs, NamespaceArgs};
use super::limits::LimitArgs;
use super::{CommandError, Context, isolation};
use crate::conf::{self, ContainersConf};
use crate::container::run::{parse_host, parse_size};
use crate::container::state::{CommonOptions, Isolation, Namespace, NetworkPolicy, RunEnvironment};
use crate::run::devices::DeviceRequest;
use crate::run::limits::Rlimit;
use crate::run::mount_args::MountRequest;
use crate::run::namespaces::Namespace as Choice;
use crate::run::network::Mode;
use crate::run::{capabilities, security};

/// What later runs of the container get.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Flags for later runs")]
pub(super) struct RunEnvironmentArgs {
    #[command(flatten)]
    capabilities: CapabilityArgs,

    #[command(flatten)]
    namespaces: NamespaceArgs,

    #[command(flatten)]
    limits: LimitArgs,

    /// Line for /etc/hosts: NAME:ADDRESS (can be repeated)
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    add_host: Vec<String>,

    /// Device of the host: SOURCE[:TARGET[:rwm]] (can be repeated)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,

    /// Name server, or none to leave /etc/resolv.conf alone (can be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    dns: Vec<String>,

    /// Option for /etc/resolv.conf (can be repeated)
    #[arg(long, value_name = "OPTION", value_delimiter = ',')]
    dns_option: Vec<String>,

    /// Search domain (can be repeated)
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    dns_search: Vec<String>,

    /// Supplementary group, or keep-groups for the caller's (can be repeated)
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    group_add: Vec<String>,

    /// Hand the caller's proxy variables on (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    http_proxy: Option<bool>,

    /// Directory of hooks, OCI hooks in JSON files (can be repeated)
    #[arg(long, value_name = "DIR")]
    hooks_dir: Vec<PathBuf>,

    /// How processes are kept apart from the machine: default, rootless, oci or chroot
    #[arg(long, value_name = "ISOLATION")]
    isolation: Option<String>,

    /// Security option: seccomp=FILE, label=…, apparmor=…, mask=…, unmask=…, no-new-privileges (can be repeated)
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,

    /// Size of /dev/shm, as 64m (default: 65536k)
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,

    /// Resource limit: NAME=SOFT[:HARD] (can be repeated)
    #[arg(long, value_name = "LIMIT", value_delimiter = ',')]
    ulimit: Vec<String>,

    /// Directory or file of the host: SOURCE:TARGET[:OPTIONS] (can be repeated)
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
}

/// Reads containers.conf.
pub(super) fn containers_conf(ctx: &Context, rootless: bool) -> Result<ContainersConf, CommandError> {
    Ok(ContainersConf::load(&conf_environment(ctx, rootless))?)
}

/// Where settings files are looked for.
pub(super) fn conf_environment(ctx: &Context, rootless: bool) -> conf::Environment {
    let variable = |name: &str| ctx.environment().get(name).map(OsString::from);
    conf::Environment::from_process(&variable, rootless)
}

impl RunEnvironmentArgs {
    /// What the container keeps. Every word is checked here, so that a typing error is found now and not at the first run.
    pub(super) fn resolve(&self, ctx: &Context, conf: &ContainersConf, rootless: bool) -> Result<RunEnvironment, CommandError> {
        let defaults = &conf.containers;
        check(&self.device, DeviceRequest::parse)?;
        let (namespaces, network_policy) = namespaces(&self.namespaces)?;
        Ok(RunEnvironment {
            // For root the default is noted as such, since Buildah's word for it names an external runtime.
            isolation: match isolation::chosen(ctx, self.isolation.as_deref())? {
                None | Some(Isolation::Default) if rootless => Isolation::Rootless,
                chosen => chosen.unwrap_or_default(),
            },
            namespaces,
            network_policy,
            capabilities: capability_set(&self.capabilities, defaults.default_capabilities.as_deref())?,
            group_add: self.group_add.clone(),
            devices: or_default(&self.device, defaults.devices.as_deref()),
            common: self.common(conf)?,
        })
    }

    fn common(&self, conf: &ContainersConf) -> Result<CommonOptions, CommandError> {
        let defaults = &conf.containers;
        check(&self.add_host, parse_host)?;
        let shm_size = self.shm_size.clone().or_else(|| defaults.shm_size.clone()).unwrap_or_else(|| "65536k".to_owned());
        parse_size(&shm_size).map_err(|problem| CommandError::usage(format!("--shm-size: {problem}")))?;
        let mut ulimit = defaults.default_ulimits.clone().unwrap_or_default();
        ulimit.extend(self.ulimit.iter().cloned());
        check(&ulimit, Rlimit::parse)?;
        let mut volumes = defaults.volumes.clone().unwrap_or_default();
        volumes.extend(self.volume.iter().cloned());
        check(&volumes, MountRequest::parse_volume)?;
        let mut common = CommonOptions {
            add_host: self.add_host.clone(),
            http_proxy: self.http_proxy.or(defaults.http_proxy).unwrap_or(true),
            dns_search: or_default(&self.dns_search, defaults.dns_searches.as_deref()),
            dns_servers: or_default(&self.dns, defaults.dns_servers.as_deref()),
            dns_options: or_default(&self.dns_option, defaults.dns_options.as_deref()),
            shm_size,
            ulimit,
            volumes,
            ..CommonOptions::default()
        };
        self.limits.keep(&mut common)?;
        common.hooks_dirs = hooks_dirs(&self.hooks_dir, conf)?;
        let mut checked = security::Options::default();
        for word in &self.security_opt {
            checked.apply(word).map_err(CommandError::usage)?;
            keep_security(&mut common, word);
        }
        Ok(common)
    }
}

/// The directories that were named, else those of containers.conf; absolute, since later runs start elsewhere.
fn hooks_dirs(given: &[PathBuf], conf: &ContainersConf) -> Result<Vec<String>, CommandError> {
    let directories = if given.is_empty() { conf.engine.hooks_dir.as_deref().unwrap_or_default() } else { given };
    let mut absolute = Vec::new();
    for directory in directories {
        let path = std::path::absolute(directory);
        absolute.push(path.map_err(|error| CommandError::from(error).context(format!("--hooks-dir {directory:?}")))?);
    }
    // What is wrong with a file is found now, not at the first run.
    conf::hooks::load(&absolute, &conf::hooks::Call::default())?;
    Ok(absolute.iter().map(|path| path.to_string_lossy().into_owned()).collect())
}

/// Puts a checked `--security-opt` word where Buildah keeps it.
fn keep_security(common: &mut CommonOptions, word: &str) {
    let (key, value) = word.split_once('=').or_else(|| word.split_once(':')).unwrap_or((word, "true"));
    let paths = || value.split(':').map(str::to_owned);
    match key {
        "seccomp" => common.seccomp_profile_path = value.to_owned(),
        "apparmor" => common.apparmor_profile = value.to_owned(),
        "label" => common.label_opts.push(value.to_owned()),
        "mask" => common.masks.extend(paths()),
        "unmask" => common.unmasks.extend(paths()),
        "no-new-privileges" => common.no_new_privileges = value != "false",
        _ => {}
    }
}

fn or_default(given: &[String], default: Option<&[String]>) -> Vec<String> {
    if given.is_empty() { default.unwrap_or_default().to_vec() } else { given.to_vec() }
}

fn check<T>(words: &[String], parse: impl Fn(&str) -> Result<T, String>) -> Result<(), CommandError> {
    words.iter().try_for_each(|word| parse(word).map(drop).map_err(CommandError::usage))
}

/// The complete set that root in the container has, as Buildah notes it: sorted, each with its prefix.
fn capability_set(args: &CapabilityArgs, default: Option<&[String]>) -> Result<Vec<String>, CommandError> {
    let mut set: BTreeSet<String> = BTreeSet::new();
    match default {
        Some(words) => set.extend(words.iter().map(|word| capability(word)).collect::<Result<Vec<_>, _>>()?),
        None => set.extend(capabilities::DEFAULT.iter().map(ToString::to_string)),
    }
    let everything = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case("all"));
    if everything(&args.cap_drop) {
        set.clear();
    }
    if everything(&args.cap_add) {
        set.extend(caps::all().iter().map(ToString::to_string));
    }
    for word in args.cap_add.iter().filter(|word| !word.eq_ignore_ascii_case("all")) {
        set.insert(capability(word)?);
    }
    for word in args.cap_drop.iter().filter(|word| !word.eq_ignore_ascii_case("all")) {
        set.remove(&capability(word)?);
    }
    Ok(set.into_iter().collect())
}

/// `SYS_ADMIN`, `cap_sys_admin`: `CAP_SYS_ADMIN`. An unknown name is an error, never ignored.
fn capability(word: &str) -> Result<String, CommandError> {
    let upper = word.to_ascii_uppercase();
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    match name.parse::<caps::Capability>() {
        Ok(known) => Ok(known.to_string()),
        Err(_) => Err(CommandError::usage(format!("unknown capability {word:?}"))),
    }
}

/// All seven entries, in the order of Buildah's file.
fn namespaces(args: &NamespaceArgs) -> Result<(Vec<Namespace>, NetworkPolicy), CommandError> {
    let entry = |name: &str, host: bool, path: String| Namespace { name: name.to_owned(), host, path };
    let one = |name: &str, flag: &str, given: &Option<String>, default: Choice| {
        let choice = match given {
            Some(word) => Choice::parse(flag, word).map_err(CommandError::usage)?,
            None => default,
        };
        Ok::<_, CommandError>(match choice {
            Choice::Private => entry(name, false, String::new()),
            Choice::Host => entry(name, true, String::new()),
            Choice::Path(path) => entry(name, false, path.to_string_lossy().into_owned()),
        })
    };
    let (network, policy) = network(args.network.as_deref())?;
    let all = vec![
        one("cgroup", "cgroupns", &args.cgroupns, Choice::Host)?,
        one("ipc", "ipc", &args.ipc, Choice::Private)?,
        entry("mount", false, String::new()),
        network,
        one("pid", "pid", &args.pid, Choice::Private)?,
        entry("user", true, String::new()),
        one("uts", "uts", &args.uts, Choice::Private)?,
    ];
    Ok((all, policy))
}

fn network(word: Option<&str>) -> Result<(Namespace, NetworkPolicy), CommandError> {
    let Some(word) = word else {
        return Ok((Namespace { name: "network".to_owned(), host: false, path: String::new() }, NetworkPolicy::Default));
    };
    let mode = Mode::parse(word).map_err(CommandError::usage)?;
    let policy = match mode {
        Mode::None => NetworkPolicy::Disabled,
        Mode::Automatic => NetworkPolicy::Default,
        _ => NetworkPolicy::Enabled,
    };
    let path = match &mode {
        Mode::Path(path) => path.to_string_lossy().into_owned(),
        Mode::Private(_) if !matches!(word, "private" | "container") => word.to_owned(),
        _ => String::new(),
    };
    Ok((Namespace { name: "network".to_owned(), host: mode == Mode::Host, path }, policy))
}
