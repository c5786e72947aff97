//! The flags of `from` that later runs of the container obey, and what containers.conf says where they are silent.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use containers_storage::selinux::{self, LabelChoice};

use super::args::{CapabilityArgs, NamespaceArgs};
use super::limits::LimitArgs;
use super::{CommandError, Context, isolation};
use crate::conf::containers::Containers;
use crate::conf::{self, ContainersConf};
use crate::container::from::UserNamespace;
use crate::container::run::{parse_host, parse_size};
use crate::container::state::{CommonOptions, Isolation, Namespace, NetworkPolicy, RunEnvironment};
use crate::run::devices::DeviceRequest;
use crate::run::limits::Rlimit;
use crate::run::mount_args::{MountRequest, Source};
use crate::run::namespaces::Namespace as Choice;
use crate::run::network::Mode;
use crate::run::{capabilities, security};

/// What later runs of the container get.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Flags for runs")]
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
    let conf = ContainersConf::load(&conf_environment(ctx, rootless))?;
    ctx.environment().configure(conf.engine.env.as_deref().unwrap_or_default());
    Ok(conf)
}

/// The directory for temporary files: `TMPDIR`, else `image_copy_tmp_dir` of containers.conf, else `/var/tmp`.
pub(super) fn temp_dir(ctx: &Context, conf: &ContainersConf) -> Result<PathBuf, CommandError> {
    match (ctx.environment().text("TMPDIR"), conf.engine.image_copy_tmp_dir.as_deref()) {
        (None, Some("storage")) => Ok(ctx.store()?.conf().graph_root.join("tmp")),
        (None, Some(path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        (None, Some(path)) => {
            Err(CommandError::usage(format!("invalid image_copy_tmp_dir value {path:?} in containers.conf (not absolute)")))
        }
        _ => Ok(ctx.temp_dir()),
    }
}

/// Where settings files are looked for.
pub(super) fn conf_environment(ctx: &Context, rootless: bool) -> conf::Environment {
    let variable = |name: &str| ctx.environment().get(name).map(OsString::from);
    conf::Environment::from_process(&variable, rootless, ctx.caller())
}

impl RunEnvironmentArgs {
    /// What the container keeps. Every word is checked here, so that a typing error is found now and not at the first run.
    pub(super) fn resolve(
        &self,
        ctx: &Context,
        conf: &ContainersConf,
        rootless: bool,
        user: &UserNamespace,
    ) -> Result<RunEnvironment, CommandError> {
        let defaults = &conf.containers;
        check_devices(&self.device)?;
        let (namespaces, network_policy) = namespaces(&self.namespaces, defaults, user)?;
        Ok(RunEnvironment {
            // For root the default is noted as such, since Buildah's word for it names an external runtime.
            isolation: match isolation::chosen(ctx, self.isolation.as_deref())? {
                None | Some(Isolation::Default) if rootless => Isolation::Rootless,
                chosen => chosen.unwrap_or_default(),
            },
            namespaces,
            network_policy,
            capabilities: capability_set(&self.capabilities, defaults.default_capabilities.as_deref())?,
            group_add: groups(&self.group_add)?,
            devices: or_default(&self.device, defaults.devices.as_deref()),
            common: self.common(conf)?,
            ..RunEnvironment::default()
        })
    }

    /// How the container's SELinux labels are made: as `--security-opt label=` says, else containers.conf. Where SELinux is off the words
    /// mean nothing, and are not looked at, as in Buildah.
    pub(super) fn labels(&self, conf: &ContainersConf) -> Result<Option<LabelChoice>, CommandError> {
        let Some(system) = selinux::machine() else { return Ok(None) };
        let mut words = Vec::new();
        for word in &self.security_opt {
            words.extend(word.strip_prefix("label=").or_else(|| word.strip_prefix("label:")).map(str::to_owned));
        }
        if words.is_empty() && conf.containers.label == Some(false) {
            words.push("disable".to_owned());
        }
        let choice = system.contexts().and_then(|contexts| LabelChoice::new(contexts, &words));
        choice.map(Some).map_err(|error| CommandError::usage(format!("creating container: {error}")))
    }

    fn common(&self, conf: &ContainersConf) -> Result<CommonOptions, CommandError> {
        let defaults = &conf.containers;
        check(&self.add_host, parse_host)?;
        self.check_dns()?;
        let shm_size = self.shm_size.clone().or_else(|| defaults.shm_size.clone()).unwrap_or_else(|| "65536k".to_owned());
        parse_size(&shm_size).map_err(|problem| CommandError::usage(format!("invalid --shm-size: {problem}")))?;
        let mut ulimit = defaults.default_ulimits.clone().unwrap_or_default();
        ulimit.extend(self.ulimit.iter().cloned());
        check(&ulimit, Rlimit::parse)?;
        let mut volumes = defaults.volumes.clone().unwrap_or_default();
        volumes.extend(self.volume.iter().cloned());
        check_volumes(&volumes)?;
        let mut common = CommonOptions {
            add_host: self.add_host.clone(),
            http_proxy: self.http_proxy.or(defaults.http_proxy).unwrap_or(true),
            // What containers.conf says about DNS counts when a command runs.
            dns_search: self.dns_search.clone(),
            dns_servers: self.dns.clone(),
            dns_options: self.dns_option.clone(),
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

impl RunEnvironmentArgs {
    /// The value of `--network`.
    pub(super) fn network(&self) -> Option<&str> {
        self.namespaces.network.as_deref()
    }

    /// Whether `--add-host` was given.
    pub(super) fn adds_hosts(&self) -> bool {
        !self.add_host.is_empty()
    }

    /// The first flag about DNS that was given.
    pub(super) fn dns_flag(&self) -> Option<&'static str> {
        let flags = [("dns", &self.dns), ("dns-option", &self.dns_option), ("dns-search", &self.dns_search)];
        flags.into_iter().find(|(_, words)| !words.is_empty()).map(|(flag, _)| flag)
    }

    fn check_dns(&self) -> Result<(), CommandError> {
        if !self.dns.iter().any(|server| server.eq_ignore_ascii_case("none")) {
            return Ok(());
        }
        let wrong = match () {
            () if self.dns.len() > 1 => "invalid --dns, --dns=none may not be used with any other --dns options",
            () if !self.dns_search.is_empty() => "invalid --dns-search, --dns-search may not be used with --dns=none",
            () if !self.dns_option.is_empty() => "invalid --dns-option, --dns-option may not be used with --dns=none",
            () => return Ok(()),
        };
        Err(CommandError::usage(wrong))
    }
}

/// A source that does not exist is found now, and not by the first run.
fn check_volumes(words: &[String]) -> Result<(), CommandError> {
    for word in words {
        let request = MountRequest::parse_volume(word).map_err(CommandError::usage)?;
        check_source(&request)?;
    }
    Ok(())
}

/// What cannot be looked at from outside the user namespace may be there all the same. Without a context directory, the sources of `--mount`
/// are those of the host, too.
pub(super) fn check_source(request: &MountRequest) -> Result<(), CommandError> {
    let Some(Source::Host(path) | Source::Context(path)) = request.bind().map(|bind| &bind.source) else { return Ok(()) };
    if path.is_relative() {
        return Ok(());
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(CommandError::from(error).context(format!("stat {}", path.display())))
        }
        _ => Ok(()),
    }
}

fn check_devices(words: &[String]) -> Result<(), CommandError> {
    for word in words {
        let request = DeviceRequest::parse(word).map_err(CommandError::usage)?;
        let path = request.source.display();
        std::fs::metadata(&request.source)
            .map_err(|error| CommandError::from(error).context(format!("getting info of source device {path}: stat {path}")))?;
    }
    Ok(())
}

/// `keep-groups` keeps the groups of the caller, whose names mean nothing in the container: it stands alone.
fn groups(words: &[String]) -> Result<Vec<String>, CommandError> {
    if words.len() > 1 && words.iter().any(|word| word == "keep-groups") {
        let text = "the '--group-add keep-groups' option is not allowed with any other --group-add options";
        return Err(CommandError::usage(text));
    }
    Ok(words.to_vec())
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
    if everything(&args.cap_add) && everything(&args.cap_drop) {
        // The words are Buildah's.
        return Err(CommandError::usage("adding all caps and removing all caps not allowed"));
    }
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
        let name = capability(word)?;
        // What stands beside ALL says nothing.
        for added in args.cap_add.iter().filter(|_| !everything(&args.cap_add)) {
            if capability(added)? == name {
                return Err(CommandError::usage(format!("capability {name:?} cannot be dropped and added")));
            }
        }
        set.remove(&name);
    }
    Ok(set.into_iter().collect())
}

/// `SYS_ADMIN`, `cap_sys_admin`: `CAP_SYS_ADMIN`. An unknown name is an error, never ignored.
fn capability(word: &str) -> Result<String, CommandError> {
    let upper = word.to_ascii_uppercase();
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    match name.parse::<caps::Capability>() {
        Ok(known) => Ok(known.to_string()),
        Err(_) => Err(CommandError::usage(format!("{name:?}: unknown capability"))),
    }
}

/// What containers.conf says about a kind of namespaces; its other words are about containers that share theirs.
fn by_conf(word: Option<&str>, default: Choice) -> Choice {
    match word {
        Some("private") => Choice::Private,
        Some("host") => Choice::Host,
        _ => default,
    }
}

/// All seven entries, in the order of Buildah's file.
fn namespaces(
    args: &NamespaceArgs,
    conf: &Containers,
    user: &UserNamespace,
) -> Result<(Vec<Namespace>, NetworkPolicy), CommandError> {
    let entry = |name: &str, host: bool, path: String| Namespace { name: name.to_owned(), host, path };
    let one = |name: &str, flag: &str, given: &Option<String>, default: Choice| {
        let choice = match given {
            Some(word) => exists(name, Choice::parse(flag, word).map_err(unparsed)?)?,
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
        one("cgroup", "cgroupns", &args.cgroupns, by_conf(conf.cgroupns.as_deref(), Choice::Host))?,
        one("ipc", "ipc", &args.ipc, by_conf(conf.ipcns.as_deref(), Choice::Private))?,
        entry("mount", false, String::new()),
        network,
        one("pid", "pid", &args.pid, by_conf(conf.pidns.as_deref(), Choice::Private))?,
        match user {
            UserNamespace::Joined(path, _) => entry("user", false, path.to_string_lossy().into_owned()),
            other => entry("user", *other == UserNamespace::Host, String::new()),
        },
        one("uts", "uts", &args.uts, by_conf(conf.utsns.as_deref(), Choice::Private))?,
    ];
    Ok((all, policy))
}

fn unparsed(problem: String) -> CommandError {
    CommandError::usage(format!("parsing namespace-related options: {problem}"))
}

/// A namespace that is named by a path must be there.
fn exists(kind: &str, choice: Choice) -> Result<Choice, CommandError> {
    if let Choice::Path(path) = &choice {
        std::fs::metadata(path).map_err(|error| {
            let doing = format!("parsing namespace-related options: checking {kind} namespace: stat {}", path.display());
            CommandError::from(error).context(doing)
        })?;
    }
    Ok(choice)
}

fn network(word: Option<&str>) -> Result<(Namespace, NetworkPolicy), CommandError> {
    let Some(word) = word else {
        return Ok((Namespace { name: "network".to_owned(), host: false, path: String::new() }, NetworkPolicy::Default));
    };
    let mode = Mode::parse(word).map_err(CommandError::usage)?;
    if let Mode::Path(path) = &mode {
        exists("network", Choice::Path(path.clone()))?;
    }
    let policy = match mode {
        Mode::None => NetworkPolicy::Disabled,
        Mode::Automatic => NetworkPolicy::Default,
        _ => NetworkPolicy::Enabled,
    };
    let path = match &mode {
        Mode::Path(path) => path.to_string_lossy().into_owned(),
        Mode::Private(..) if !matches!(word, "private" | "container") => word.to_owned(),
        _ => String::new(),
    };
    Ok((Namespace { name: "network".to_owned(), host: mode == Mode::Host, path }, policy))
}
