//! From a request to a running process: gathers what the machine decides, builds the specification, hands it to the engine.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use containers_storage::Root;
use nix::sys::resource::{Resource, getrlimit};
use rustix::fs::{CWD, Mode, OFlags};

use super::mount_args::MountKind;
use super::network::Connection;
use super::spec::{self, Facts};
use super::{Error, Isolation, Request, Status, Terminal, native, network, network_helper, ownership, seccomp};
use crate::sys;

/// The Landlock version that can scope abstract unix sockets (landlock(7)).
const SCOPES_SINCE: u32 = 6;

pub(super) fn run(rootfs: &Root, request: &Request, made: &mut native::Placeholders) -> Result<Status, Error> {
    let Isolation::Native = request.isolation;
    let connection = network::connect(&request.namespaces.network, &request.namespaces.helper_dirs)?;
    let capabilities = request.security.capabilities.resolve().map_err(Error::Request)?;
    let hard = |resource| getrlimit(resource).map_or(1024, |(_, hard)| hard);
    let facts = Facts {
        nofile: hard(Resource::RLIMIT_NOFILE),
        nproc: hard(Resource::RLIMIT_NPROC),
        connection: connection.clone(),
        terminal: spec::wants_terminal(request.process.terminal, all_terminals()),
        seccomp: seccomp::filter(&request.security.seccomp, capabilities)?,
        processor_paths: processor_paths(),
        message_queues: Path::new("/dev/mqueue").is_dir(),
    };
    let filter = facts.seccomp.as_ref().map(seccomp::compile).transpose()?;
    let spec = spec::build(request, Path::new("/"), facts)?;
    if connection == Connection::Fallback {
        network::announce_fallback();
    }
    let serve = |namespace: OwnedFd| match &connection {
        Connection::Helper(program) => network_helper::start(program, namespace).map(Some),
        _ => Ok(None),
    };
    let sources = pinned_sources(request)?;
    ownership::prepare(&request.mounts.requests, &sources, &request.process.user)?;
    let job = native::Job {
        rootfs,
        spec: &spec,
        sources,
        files: super::etc_files::generate(&request.files, &connection, request.process.hostname.as_deref())?,
        filter,
        root_change: request.root_change,
        scope_abstract_sockets: connection == Connection::Fallback
            && sys::landlock::abi().is_some_and(|abi| abi >= SCOPES_SINCE),
        keep_groups: request.process.user.keep_groups,
        no_input: request.process.terminal == Terminal::NoInput,
        network: matches!(connection, Connection::Helper(_)).then_some(&serve),
    };
    native::execute(job, made)
}

fn all_terminals() -> bool {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().all(rustix::termios::isatty)
}

/// `thermal_throttle` of each processor, where the machine has them.
fn processor_paths() -> Vec<String> {
    let path = |number: usize| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle");
    (0..).map(path).take_while(|path| Path::new(path).exists()).collect()
}

/// The sources of binds, each looked up once: a relative one below the context directory, by handle, and never outside it.
fn pinned_sources(request: &Request) -> Result<Vec<(PathBuf, OwnedFd)>, Error> {
    let mut pinned = Vec::new();
    for mount in &request.mounts.requests {
        let MountKind::Bind { source, .. } = &mount.kind else { continue };
        let failed = |error| Error::prepare(format!("{source:?} for a mount at {:?}", mount.target), error);
        let handle = match &request.mounts.context_dir {
            _ if source.is_absolute() => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                rustix::fs::openat(CWD, source, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?
            }
            Some(context) => Root::open(context).and_then(|root| root.resolve(source)).map_err(failed)?,
            None => return Err(Error::Request(format!("bind source {source:?} is relative; it needs --contextdir"))),
        };
        pinned.push((spec::lexically_clean(&mount.target), handle));
    }
    Ok(pinned)
}
