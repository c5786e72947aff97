//! From a request to the runtime specification: pure, so that the built-in runtime and an external one get the same.
//!
//! Invariant: nothing is read from the machine here; what depends on it is in [`Facts`]. What the specification cannot say is
//! an error, not dropped.

mod defaults;

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use containers_storage::id_map::{IdMap, IdRange};
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxSeccomp, Mount, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use super::capabilities::Set;
use super::mount_args::{MountKind, MountRequest, Propagation, Source, Writes};
use super::namespaces::{IdMaps, Namespace, User};
use super::network::Connection;
use super::{Error, ProcessOptions, Request, lsm, secrets};

/// What the machine decides.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Hard limit of open files of this process.
    pub nofile: u64,
    /// Hard limit of processes of this process.
    pub nproc: u64,
    /// What `--network` came to.
    pub connection: Connection,
    /// Whether standard input and output get a terminal.
    pub terminal: bool,
    /// The system call filter, resolved for the capabilities; `None` for no filter.
    pub seccomp: Option<LinuxSeccomp>,
    /// Directories that exist once per processor and tell about the machine's load: hidden as well (known attack A75).
    pub processor_paths: Vec<String>,
    /// The ids of a user namespace of its own.
    pub id_maps: Option<IdMaps>,
    /// Targets of requests that are served with a copy of a file, which is no mount of the specification.
    pub copied: Vec<PathBuf>,
    /// What security modules are told.
    pub lsm: lsm::Resolved,
    /// Whether this machine has `/dev/mqueue` mounted, for a command that shares its queues.
    pub message_queues: bool,
}

/// Builds the specification of `request` with the root file system at `root`.
pub fn build(request: &Request, root: &Path, facts: Facts) -> Result<Spec, Error> {
    let capabilities = request.security.capabilities.resolve().map_err(Error::Request)?;
    let process = process(request, capabilities, &facts)?;
    let hostname = match (&request.namespaces.uts, &request.process.hostname) {
        (Namespace::Private, Some(name)) => Some(checked_hostname(name)?),
        _ => None,
    };
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(root).readonly(false).build()?)
        .mounts(mounts(request, &facts)?)
        .process(process)
        .linux(linux(request, facts)?)
        .build()?;
    spec.set_hostname(hostname);
    Ok(spec)
}

fn process(request: &Request, capabilities: Set, facts: &Facts) -> Result<Process, Error> {
    let options = &request.process;
    match options.args.first() {
        None => return Err(Error::Request("command must be specified".to_string())),
        // No program has that name, as in the other tools.
        Some(name) if name.is_empty() => return Err(Error::CommandNotFound(String::new())),
        Some(_) => {}
    }
    if let Some(word) = options.args.iter().find(|word| word.contains('\0')) {
        return Err(Error::Request(format!("argument {word:?} contains a NUL byte")));
    }
    if !options.cwd.is_absolute() || options.cwd.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(Error::Request(format!("working directory {:?} is not an absolute path", options.cwd)));
    }
    let user = UserBuilder::default()
        .uid(options.user.uid)
        .gid(options.user.gid)
        .additional_gids(options.user.groups.clone())
        .umask(options.umask)
        .build()?;
    // A user other than root gets the bounding set only: it may not use what it cannot gain (CVE-2018-10856).
    let held = if options.user.uid == 0 { capabilities } else { Set::EMPTY };
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities.to_spec())
        .effective(held.to_spec())
        .permitted(held.to_spec())
        .inheritable(Set::EMPTY.to_spec())
        .ambient(Set::EMPTY.to_spec())
        .build()?;
    let mut process = ProcessBuilder::default()
        .terminal(facts.terminal)
        .user(user)
        .args(options.args.clone())
        .env(environment(options, &request.mounts.secrets)?)
        .cwd(options.cwd.clone())
        .capabilities(capabilities)
        .rlimits(rlimits(request, facts)?)
        .no_new_privileges(request.security.no_new_privileges)
        .build()?;
    process.set_apparmor_profile(facts.lsm.profile.clone());
    process.set_selinux_label(facts.lsm.process_label.clone());
    Ok(process)
}

fn environment(options: &ProcessOptions, secrets: &[secrets::Passed]) -> Result<Vec<String>, Error> {
    let mut env = options.env.clone();
    for (name, secret) in secrets.iter().filter_map(|secret| Some((secret.variable.as_ref()?, secret))) {
        env.retain(|entry| entry.split_once('=').is_none_or(|(known, _)| known != name));
        env.push(secret.value.as_variable(name).map_err(Error::Request)?);
    }
    let has =
        |env: &[String], name: &str| env.iter().any(|entry| entry.split_once('=').is_some_and(|(known, _)| known == name));
    if let Some(hostname) = options.hostname.as_deref().filter(|_| !has(&env, "HOSTNAME")) {
        env.push(format!("HOSTNAME={hostname}"));
    }
    if !has(&env, "HOME") {
        env.push(format!("HOME={}", options.user.home));
    }
    Ok(env)
}

fn rlimits(request: &Request, facts: &Facts) -> Result<Vec<PosixRlimit>, Error> {
    let mut limits = Vec::new();
    for (name, hard) in [("nofile", facts.nofile), ("nproc", facts.nproc)] {
        if !request.limits.rlimits.iter().any(|limit| limit.name == name) {
            let value = hard.min(defaults::PROCESS_LIMIT);
            limits.push(rlimit(name, value, value)?);
        }
    }
    for limit in &request.limits.rlimits {
        limits.push(rlimit(&limit.name, limit.soft, limit.hard)?);
    }
    Ok(limits)
}

fn rlimit(name: &str, soft: u64, hard: u64) -> Result<PosixRlimit, Error> {
    let typ = PosixRlimitType::from_str(&format!("RLIMIT_{}", name.to_ascii_uppercase()))
        .map_err(|_| Error::Request(format!("invalid ulimit type: {name}")))?;
    Ok(PosixRlimitBuilder::default().typ(typ).soft(soft).hard(hard).build()?)
}

fn checked_hostname(name: &str) -> Result<String, Error> {
    let fits = !name.is_empty() && name.len() <= 64;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if fits && plain { Ok(name.to_string()) } else { Err(Error::Request(format!("invalid host name {name:?}"))) }
}

fn linux(request: &Request, facts: Facts) -> Result<Linux, Error> {
    let security = &request.security;
    let unmasked = |path: &str| security.unmask.iter().any(|known| known == "ALL" || known == "all" || matches(known, path));
    let mut masked: Vec<String> = defaults::MASKED.iter().map(|path| (*path).to_string()).collect();
    masked.extend(facts.processor_paths);
    masked.retain(|path| !unmasked(path));
    masked.extend(security.mask.iter().cloned());
    let mut read_only: Vec<String> = defaults::READ_ONLY.iter().map(|path| (*path).to_string()).collect();
    read_only.retain(|path| !unmasked(path));
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(request, &facts.connection)?)
        .masked_paths(masked)
        .readonly_paths(read_only)
        .build()?;
    let mut sysctls = std::collections::HashMap::new();
    for (name, value) in &request.limits.sysctls {
        if defaults::takes_sysctl(name, request, &facts.connection).map_err(Error::Request)? {
            sysctls.insert(name.clone(), value.clone());
        }
    }
    if let Some(maps) = &facts.id_maps {
        linux.set_uid_mappings(Some(mappings(&maps.uid)?));
        linux.set_gid_mappings(Some(mappings(&maps.gid)?));
    }
    linux.set_sysctl((!sysctls.is_empty()).then_some(sysctls));
    linux.set_devices(None);
    linux.set_resources(None);
    linux.set_seccomp(facts.seccomp);
    linux.set_mount_label(facts.lsm.mount_label);
    Ok(linux)
}

fn mappings(map: &IdMap) -> Result<Vec<LinuxIdMapping>, Error> {
    let one = |range: &IdRange| {
        let mapping = LinuxIdMappingBuilder::default().container_id(range.container_id).host_id(range.host_id).size(range.size);
        Ok(mapping.build()?)
    };
    map.0.iter().map(one).collect()
}

/// `--security-opt unmask=` takes patterns with `*` within one component.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.trim_end_matches('/').split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

fn namespaces(request: &Request, connection: &Connection) -> Result<Vec<LinuxNamespace>, Error> {
    let options = &request.namespaces;
    let network = match connection {
        Connection::Host | Connection::Fallback(_) => Namespace::Host,
        Connection::None | Connection::Helper(_) => Namespace::Private,
        Connection::Path(path) => Namespace::Path(path.clone()),
    };
    let kinds = [
        (LinuxNamespaceType::Mount, &Namespace::Private),
        (LinuxNamespaceType::Pid, &options.pid),
        (LinuxNamespaceType::Ipc, &options.ipc),
        (LinuxNamespaceType::Uts, &options.uts),
        (LinuxNamespaceType::Cgroup, &options.cgroup),
        (LinuxNamespaceType::Network, &network),
    ];
    let mut namespaces = Vec::new();
    let user = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User);
    match &options.user {
        User::Same => {}
        User::New | User::Mapped(_) => namespaces.push(user.build()?),
        User::Joined(path, _) => namespaces.push(user.path(path.clone()).build()?),
    }
    for (typ, choice) in kinds {
        match choice {
            Namespace::Host => {}
            Namespace::Private => namespaces.push(LinuxNamespaceBuilder::default().typ(typ).build()?),
            Namespace::Path(path) => namespaces.push(LinuxNamespaceBuilder::default().typ(typ).path(path.clone()).build()?),
        }
    }
    Ok(namespaces)
}

/// The default mounts, then what was asked for; parents before what lies below them. A request for the place of a default
/// mount replaces it.
fn mounts(request: &Request, facts: &Facts) -> Result<Vec<Mount>, Error> {
    let mut mounts = defaults::mounts(request, facts)?;
    let mut requested = Vec::new();
    for mount in &request.mounts.requests {
        let mount = requested_mount(mount, &request.namespaces.user, facts.lsm.mount_label.as_deref())?;
        if !facts.copied.contains(mount.destination()) {
            requested.push(mount);
        }
    }
    for device in &request.mounts.devices {
        let access = if device.access.write { "rw" } else { "ro" };
        requested.push(defaults::mount(
            &device.target,
            "bind",
            &device.source,
            &["bind", "private", "nosuid", "noexec", access],
        )?);
    }
    for mount in requested {
        mounts.retain(|known| known.destination() != mount.destination());
        mounts.push(mount);
    }
    mounts.sort_by_key(|mount| depth(mount.destination()));
    Ok(mounts)
}

fn depth(path: &Path) -> usize {
    path.components().filter(|component| matches!(component, Component::Normal(_))).count()
}

fn requested_mount(request: &MountRequest, user: &User, label: Option<&str>) -> Result<Mount, Error> {
    let target = checked_target(&request.target)?;
    let flags = request.flags;
    let mut options: Vec<&str> = vec![if flags.read_only { "ro" } else { "rw" }];
    options.extend(
        [(flags.nosuid, "nosuid"), (flags.nodev, "nodev"), (flags.noexec, "noexec")].iter().filter(|o| o.0).map(|o| o.1),
    );
    match &request.kind {
        MountKind::Bind(bind) => {
            options.push(if bind.recursive { "rbind" } else { "bind" });
            options.push(propagation_word(bind.propagation));
            options.extend(bind.id_map.as_ref().map(|_| if bind.recursive { "ridmap" } else { "idmap" }));
            let (typ, kept) = match &bind.writes {
                Writes::Through => ("bind", None),
                Writes::Discarded => ("overlay", None),
                Writes::Kept { upper, work } => ("overlay", Some((upper.display().to_string(), work.display().to_string()))),
            };
            // What `--mount` brings from elsewhere looks like the container's own; `--volume` shows the labels that are there, as Buildah.
            let own = label.filter(|_| bind.writes == Writes::Discarded && !matches!(bind.source, Source::Host(_)));
            let label = own.map(|label| format!("context={label}"));
            options.extend(label.as_deref());
            let directories = kept.map(|(upper, work)| [format!("upperdir={upper}"), format!("workdir={work}")]);
            options.extend(directories.iter().flatten().map(String::as_str));
            let source = match &bind.source {
                Source::Host(path) | Source::Context(path) | Source::Rootfs(path) | Source::Named { path, .. } => path,
            };
            let mut mount = defaults::mount(&target, typ, source, &options)?;
            if let Some(maps) = &bind.id_map {
                let container = if let User::Mapped(maps) | User::Joined(_, maps) = user { Some(maps) } else { None };
                let refused = |text: String| Error::Request(format!("volume {source:?}: {text}"));
                let maps = maps.resolve(container).map_err(refused)?;
                mount.set_uid_mappings(Some(mappings(&maps.uid)?));
                mount.set_gid_mappings(Some(mappings(&maps.gid)?));
            }
            Ok(mount)
        }
        MountKind::Cache(cache) => {
            options.extend(["bind", propagation_word(cache.propagation)]);
            defaults::mount(&target, "bind", Path::new("cache"), &options)
        }
        MountKind::Tmpfs { size, mode, copy_up } => {
            let size = size.map(|bytes| format!("size={bytes}"));
            let mode = format!("mode={:o}", mode.unwrap_or(0o1777));
            options.push(&mode);
            options.extend(size.as_deref());
            if *copy_up {
                options.push("tmpcopyup");
            }
            defaults::mount(&target, "tmpfs", Path::new("tmpfs"), &options)
        }
    }
}

/// Where something is mounted that was asked for: not over the root directory, and not in the kernel's own trees.
pub(super) fn checked_target(wanted: &Path) -> Result<PathBuf, Error> {
    let target = lexically_clean(wanted);
    if !wanted.is_absolute() || depth(&target) == 0 {
        return Err(Error::Request(format!("invalid mount target {wanted:?}")));
    }
    if target.starts_with("/proc") || target.starts_with("/sys") {
        return Err(Error::Request(format!("a mount at {wanted:?} would hide the kernel's own files")));
    }
    Ok(target)
}

fn propagation_word(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Private => "rprivate",
        Propagation::Slave => "rslave",
        Propagation::Shared => "rshared",
        Propagation::Unbindable => "runbindable",
    }
}

/// Drops `.` and resolves `..` in the text. Only for what is compared and ordered: the kernel resolves the path itself.
pub(super) fn lexically_clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests;
