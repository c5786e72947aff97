//! From a request to a running process: gathers what the machine decides, builds the specification, hands it to the engine.

use std::os::fd::OwnedFd;
use std::path::Path;

use containers_storage::Root;
use nix::sys::resource::{Resource, getrlimit};

use super::network::Connection;
use super::spec::{self, Facts};
use super::{Error, Isolation, Request, Status, Terminal, native, network, network_helper, ownership, seccomp, sources};
use crate::sys;

/// The Landlock version that can scope abstract unix sockets (landlock(7)).
const SCOPES_SINCE: u32 = 6;

pub(super) fn run(rootfs: &Root, request: &Request, made: &mut native::Placeholders) -> Result<Status, Error> {
    let Isolation::Native = request.isolation;
    let connection = network::connect(&request.namespaces.network, &request.namespaces.helper_dirs)?;
    let capabilities = request.security.capabilities.resolve().map_err(Error::Request)?;
    let pinned = sources::pin(rootfs, request)?;
    let hard = |resource| getrlimit(resource).map_or(1024, |(_, hard)| hard);
    let facts = Facts {
        nofile: hard(Resource::RLIMIT_NOFILE),
        nproc: hard(Resource::RLIMIT_NPROC),
        connection: connection.clone(),
        terminal: spec::wants_terminal(request.process.terminal, all_terminals()),
        seccomp: seccomp::filter(&request.security.seccomp, capabilities)?,
        processor_paths: processor_paths(),
        message_queues: Path::new("/dev/mqueue").is_dir(),
        copied: pinned.copies.iter().map(|file| file.target.clone()).collect(),
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
    ownership::prepare(&request.mounts.requests, &pinned.handles, &request.process.user)?;
    let mut files = super::etc_files::generate(&request.files, &connection, request.process.hostname.as_deref())?;
    files.extend(request.mounts.files.iter().cloned().chain(pinned.copies));
    let job = native::Job {
        rootfs,
        spec: &spec,
        sources: pinned.handles,
        files,
        filter,
        root_change: request.root_change,
        scope_abstract_sockets: connection == Connection::Fallback
            && sys::landlock::abi().is_some_and(|abi| abi >= SCOPES_SINCE),
        keep_groups: request.process.user.keep_groups,
        no_input: request.process.terminal == Terminal::NoInput,
        network: matches!(connection, Connection::Helper(_)).then_some(&serve),
    };
    let status = native::execute(job, made);
    // Until now, whoever waits for one of the caches had to wait.
    drop(pinned.locks);
    status
}

fn all_terminals() -> bool {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().all(rustix::termios::isatty)
}

/// `thermal_throttle` of each processor, where the machine has them.
fn processor_paths() -> Vec<String> {
    let path = |number: usize| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle");
    (0..).map(path).take_while(|path| Path::new(path).exists()).collect()
}
