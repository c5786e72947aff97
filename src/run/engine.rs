//! From a request to a running process: gathers what the machine decides, builds the specification, hands it to the engine.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use oci_spec::runtime::Spec;

use super::cgroups::{self, Group};
use super::emulation;
use super::etc_files::ExtraFile;
use super::guardian::Guardian;
use super::hooks::Runner;
use super::namespaces::{IdMaps, User};
use super::native::Ground;
use super::network::Connection;
use super::network_program::Service;
use super::spec::{self, Facts};
use super::ssh::{self, Relay, Socket};
use super::{
    Error, Isolation, ProcessUser, Request, Status, Terminal, chroot, lsm, native, network, network_program, oci, ownership,
    seccomp, sources,
};
use crate::sys;

/// Files that are open at a time for each mount, and for all else: more than were seen.
const FILES_PER_MOUNT: u64 = 8;
const OTHER_FILES: u64 = 256;

/// The Landlock version that can scope abstract unix sockets (landlock(7)).
const SCOPES_SINCE: u32 = 6;

pub(super) fn run(rootfs: &Root, request: &Request, made: &mut native::Placeholders) -> Result<Status, Error> {
    emulation::prepare(request.emulation);
    match &request.isolation {
        Isolation::Chroot | Isolation::Automatic if !native::can_mount(rootfs.as_fd()) => {
            log::debug!("isolation: nothing can be mounted here: chroot into the directory itself");
            run_plain(rootfs, request, made)
        }
        Isolation::Native => {
            log::debug!("isolation: the built-in runtime (--isolation rootless)");
            run_native(rootfs, request, made)
        }
        Isolation::Automatic => {
            log::debug!("isolation: the built-in runtime, since nothing else is asked for");
            run_native(rootfs, request, made).or_else(|error| without_own_processes(error, rootfs, request, made))
        }
        Isolation::Chroot => {
            log::debug!("isolation: chroot, as a flag or variable says or from noted");
            run_native(rootfs, &chroot::narrowed(request)?, made)
        }
        Isolation::Oci(options) => {
            log::debug!("isolation: an external runtime, as a flag or variable says or from noted");
            run_external(rootfs, request, options, made)
        }
    }
}

/// What a request comes to on this machine.
struct Prepared {
    spec: Spec,
    connection: Connection,
    sources: Vec<(PathBuf, OwnedFd)>,
    files: Vec<ExtraFile>,
    /// Of caches: until the command has ended, whoever waits for one of them has to wait.
    locks: Vec<File>,
    /// Standard input, where it is not the caller's.
    input: Option<OwnedFd>,
    /// Where agents are asked, and who passes the questions on.
    agents: Vec<(Socket, Relay)>,
}

/// Lets this process have more files open where a command is shown many: each mount takes some until it is there. Commands have limits of
/// their own (`spec`).
fn make_room_for(mounts: usize) {
    let wanted = OTHER_FILES + FILES_PER_MOUNT * mounts as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < wanted.min(hard) {
        // Where it is refused, what fails for want of it says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}

impl Prepared {
    fn new(rootfs: &Root, request: &Request) -> Result<Self, Error> {
        make_room_for(request.mounts.requests.len());
        let connection = network::connect(&request.namespaces.network, &request.namespaces.network_programs)?;
        let capabilities = request.security.capabilities.resolve().map_err(Error::Request)?;
        let pinned = sources::pin(rootfs, request)?;
        let reader = match request.isolation {
            Isolation::Oci(_) => seccomp::Reader::Libseccomp,
            _ => seccomp::Reader::Ours,
        };
        let hard = |resource| getrlimit(resource).map_or(1024, |(_, hard)| hard);
        let id_maps = match &request.namespaces.user {
            User::Same => None,
            User::New => Some(IdMaps::of_this_process().map_err(|source| Error::prepare("the maps of ids", source))?),
            User::Mapped(maps) | User::Joined(_, maps) => Some(maps.clone()),
        };
        let lsm = match &request.security.lsm {
            nothing if nothing.is_empty() => lsm::Resolved::default(),
            asked => asked.resolve(&request.isolation, lsm::Machine::look())?,
        };
        let file_label = lsm.file_label.clone();
        let facts = Facts {
            lsm,
            id_maps,
            nofile: hard(Resource::RLIMIT_NOFILE),
            nproc: hard(Resource::RLIMIT_NPROC),
            connection: connection.clone(),
            terminal: request.process.terminal == Terminal::Allocate,
            seccomp: seccomp::filter(&request.security.seccomp, capabilities, reader)?,
            processor_paths: processor_paths(),
            message_queues: Path::new("/dev/mqueue").is_dir(),
            copied: pinned.copies.iter().map(|file| file.target.clone()).collect(),
        };
        let spec = spec::build(request, Path::new("/"), facts)?;
        log_plan(&spec, &connection);
        if let Connection::Fallback(missing) = connection {
            network::announce_fallback(missing);
        }
        let user = &request.process.user;
        let (uid, gid) = request.namespaces.user.owner(user.uid, user.gid).map_err(Error::Request)?;
        let owner = ProcessUser { uid, gid, ..user.clone() };
        ownership::prepare(&request.mounts.requests, &pinned.handles, &owner, file_label.as_deref())?;
        let mut files = super::etc_files::generate(&request.files, &connection, request.process.hostname.as_deref())?;
        files.extend(request.mounts.files.iter().cloned().chain(pinned.copies));
        for secret in &request.mounts.secrets {
            files.extend(secret.as_file()?);
        }
        let input = request.process.streams.input.open().map_err(|source| Error::prepare("standard input", source))?;
        let agents = request.mounts.agents.iter().map(ssh::forward).collect::<Result<_, _>>()?;
        Ok(Self { spec, connection, sources: pinned.handles, files, locks: pinned.locks, input, agents })
    }

    fn sockets(&self) -> Vec<Socket> {
        self.agents.iter().map(|(socket, _)| socket.clone()).collect()
    }

    /// Processes of ours that serve the command.
    fn servants(&self) -> Vec<Pid> {
        self.agents.iter().flat_map(|(_, relay)| relay.processes()).collect()
    }

    /// The network was not asked for: its abstract sockets are none of the command's business, where the kernel can say so.
    fn scopes_abstract_sockets(&self) -> bool {
        matches!(self.connection, Connection::Fallback(_)) && sys::landlock::abi().is_some_and(|abi| abi >= SCOPES_SINCE)
    }
}

/// What the command will find around it. Of its words and its environment nothing: they may be secret.
fn log_plan(spec: &Spec, connection: &Connection) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    for mount in spec.mounts().iter().flatten() {
        let source = mount.source().as_deref().unwrap_or(Path::new("-"));
        let (kind, options) = (mount.typ().as_deref().unwrap_or("bind"), mount.options().iter().flatten());
        let options: Vec<&str> = options.map(String::as_str).collect();
        log::debug!("mount {} on {}: {kind} {}", source.display(), mount.destination().display(), options.join(","));
    }
    match connection {
        Connection::Host => log::debug!("network: the host's"),
        Connection::Fallback(missing) => log::debug!("network: the host's, since {} is missing", missing.name()),
        Connection::None => log::debug!("network: none"),
        Connection::Helper(program) => log::debug!("network: one of its own, served by {}", program.path.display()),
        Connection::Path(path) => log::debug!("network: {}", path.display()),
    }
}

/// Starts the program that serves a network namespace, if one does.
fn serve(connection: &Connection, namespace: OwnedFd) -> Result<Option<Service>, Error> {
    match connection {
        Connection::Helper(program) => network_program::start(program, namespace).map(Some),
        _ => Ok(None),
    }
}

fn run_native(rootfs: &Root, request: &Request, made: &mut native::Placeholders) -> Result<Status, Error> {
    let prepared = Prepared::new(rootfs, request)?;
    let filter = prepared.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()).map(seccomp::compile).transpose()?;
    let serve = |namespace: OwnedFd| serve(&prepared.connection, namespace);
    // Dropped, and so removed, when the process has ended.
    let group = limited_group(&request.cgroups);
    let groups = group.as_ref().map(Group::entrances).transpose();
    let hooks = Runner::new(&request.hooks, rootfs, &prepared.spec)?;
    let job = native::Job {
        hooks: hooks.as_ref(),
        ground: Ground::Mounts,
        rootfs,
        scope_abstract_sockets: prepared.scopes_abstract_sockets(),
        spec: &prepared.spec,
        sockets: prepared.sockets(),
        servants: prepared.servants(),
        sources: prepared.sources,
        files: prepared.files,
        filter,
        root_change: request.root_change,
        guards: request.guards,
        keep_groups: request.process.user.keep_groups,
        input: prepared.input,
        output: request.process.streams.output.descriptors(),
        groups: groups.map_err(|source| Error::prepare("the control group", source))?.unwrap_or_default(),
        network: matches!(prepared.connection, Connection::Helper(_)).then_some(&serve),
    };
    let status = native::execute(job, made);
    hooks.iter().filter(|_| had_hooks(&status)).for_each(Runner::stopped);
    drop((prepared.locks, prepared.agents));
    status
}

/// The kernel lets nobody mount a procfs where parts of the present one are hidden, as in an ordinary container (proc(5), the
/// visibility rule of user namespaces): the present one, and so the machine's processes, are all there is then.
fn without_own_processes(
    error: Error,
    rootfs: &Root,
    request: &Request,
    made: &mut native::Placeholders,
) -> Result<Status, Error> {
    match chroot::narrowed(request) {
        Ok(narrowed) if error.is_refused_procfs() => {
            log::warn!(
                "no /proc can be mounted here, since the surrounding container hides parts of its own: the command sees that \
                 one's processes (--isolation chroot says it)"
            );
            run_native(rootfs, &narrowed, made)
        }
        _ => Err(error),
    }
}

/// Where nothing can be mounted: the directory itself is the root directory.
fn run_plain(rootfs: &Root, request: &Request, made: &mut native::Placeholders) -> Result<Status, Error> {
    let request = chroot::plain(request)?;
    let mut prepared = Prepared::new(rootfs, &request)?;
    chroot::weaken(&mut prepared.spec);
    let filter = prepared.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()).map(seccomp::compile).transpose()?;
    let group = limited_group(&request.cgroups);
    let groups = group.as_ref().map(Group::entrances).transpose();
    chroot::lend(rootfs, &prepared.files, made)?;
    let guardian = Guardian::start(|| std::mem::take(made).remove());
    let guardian = guardian.map_err(|source| Error::prepare("a guard of the run", source))?;
    let hooks = Runner::new(&request.hooks, rootfs, &prepared.spec)?;
    let job = native::Job {
        hooks: hooks.as_ref(),
        ground: Ground::Directory,
        rootfs,
        spec: &prepared.spec,
        sources: Vec::new(),
        files: Vec::new(),
        filter,
        root_change: request.root_change,
        guards: request.guards,
        scope_abstract_sockets: false,
        keep_groups: request.process.user.keep_groups,
        input: prepared.input,
        output: request.process.streams.output.descriptors(),
        groups: groups.map_err(|source| Error::prepare("the control group", source))?.unwrap_or_default(),
        sockets: Vec::new(),
        servants: vec![guardian.pid()],
        network: None,
    };
    let status = native::execute(job, made);
    hooks.iter().filter(|_| had_hooks(&status)).for_each(Runner::stopped);
    guardian.dismiss();
    status
}

/// Whether the container came to be: a hook that fails ends one that is there already (runtime specification, lifecycle).
fn had_hooks(status: &Result<Status, Error>) -> bool {
    matches!(status, Ok(_) | Err(Error::Hook { .. }))
}

/// The control group for the limits; without it they are not applied, and that is said.
fn limited_group(options: &cgroups::Options) -> Option<Group> {
    let created = run_name().map_err(|error| error.to_string()).and_then(|name| Group::create(options, &name));
    match created {
        Ok(group) => group,
        Err(why) => {
            log::warn!("limits of memory and processors are not applied: {why}");
            None
        }
    }
}

/// A name that no other run has: of a bundle, a container, a control group.
pub(super) fn run_name() -> Result<String, Error> {
    let number = getrandom::u64().map_err(|error| Error::prepare("a name for the run", std::io::Error::other(error)))?;
    Ok(format!("coracle-{number:016x}"))
}

fn run_external(
    rootfs: &Root,
    request: &Request,
    options: &oci::Options,
    made: &mut native::Placeholders,
) -> Result<Status, Error> {
    let prepared = Prepared::new(rootfs, request)?;
    let serve = |namespace: OwnedFd| serve(&prepared.connection, namespace);
    let job = oci::Job {
        rootfs,
        scope_abstract_sockets: prepared.scopes_abstract_sockets(),
        sockets: prepared.sockets(),
        servants: prepared.servants(),
        spec: prepared.spec,
        sources: prepared.sources,
        files: prepared.files,
        cgroups: &request.cgroups,
        hooks: &request.hooks,
        root_change: request.root_change,
        guards: request.guards,
        keep_groups: request.process.user.keep_groups,
        input: prepared.input,
        output: request.process.streams.output.descriptors(),
        network: matches!(prepared.connection, Connection::Helper(_)).then_some(&serve),
    };
    let status = oci::execute(job, options, made);
    drop((prepared.locks, prepared.agents));
    status
}

/// `thermal_throttle` of each processor, where the machine has them.
fn processor_paths() -> Vec<String> {
    let path = |number: usize| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle");
    (0..).map(path).take_while(|path| Path::new(path).exists()).collect()
}
