//! `run`: a command in a working container.
//!
//! Mounts it, adds to the request (`plan`) what its files say, and has `run` do the rest.

mod confidential;
mod mounts;
mod plan;
mod step;
mod subscriptions;
pub(super) mod volumes;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use containers_storage::Root;
use containers_storage::store::Store;

use self::plan::Plan;
use super::config::empty_step;
use super::state;
use super::{Mounted, WorkingContainer, find_image, mounted};
use crate::conf::ContainersConf;
use crate::conf::mounts::Subscription;
use crate::conf::registries::Registries;
use crate::run::cgroups;
use crate::run::emulation::Emulation;
use crate::run::etc_files::{self, BaseHosts, Hosts};
use crate::run::mount_args::{SecretMount, SshMount};
use crate::run::secrets::Secret;
use crate::run::ssh::Agent;
use crate::run::{self, MountOptions, MountPoints, RootChange, Status, Streams, users};

pub use step::{Allowed, StepFlags};
pub use words::{parse_host, parse_size};

/// What to run, and what is different in this run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The command and its arguments. Not empty.
    pub command: Vec<String>,
    /// Instead of the image's user.
    pub user: Option<String>,
    /// Instead of the image's working directory.
    pub workdir: Option<String>,
    /// Instead of 022.
    pub umask: Option<u32>,
    /// More variables, `NAME=value`.
    pub env: Vec<String>,
    /// The caller's proxy variables, which the container gets unless `from` said otherwise.
    pub proxy: Vec<(String, String)>,
    /// Whether standard input and output are a terminal.
    pub terminal: TerminalChoice,
    /// Where they lead otherwise.
    pub streams: Streams,
    /// Separation from the machine.
    pub confinement: Confinement,
    /// Volumes, devices.
    pub mounts: MountOptions,
    /// What names in `from=` of mounts stand for; any other is an image's.
    pub named: Vec<Named>,
    /// Secrets and SSH agents.
    pub confidential: Confidential,
    /// What short names of images in mounts stand for.
    pub registries: Registries,
    /// Content of the host that the command gets a copy of.
    pub subscriptions: Vec<Subscription>,
    /// Host names.
    pub names: Names,
    /// Add the command to the history.
    pub history: HistoryChoice,
}

/// What a name in `from=` of a mount stands for.
#[derive(Debug, Clone)]
pub struct Named {
    /// As it is written there.
    pub name: String,
    /// What it is.
    pub tree: Tree,
}

/// Files that mounts can be made of.
#[derive(Debug, Clone)]
pub enum Tree {
    /// A directory of the host: a named context.
    Directory(Arc<Root>),
    /// An image of the store, by its ID: a stage, or what was pulled for it.
    Image(String),
    /// A working container, by name or ID: a stage that is no image. Its files are only read.
    Container(String),
    /// An empty directory: a stage without anything in it.
    Nothing,
}

/// Secrets and SSH agents: those that the caller has, and those that the command gets. Nothing of it is recorded.
#[derive(Debug, Clone, Default)]
pub struct Confidential {
    /// `--secret`
    pub secrets: Vec<Secret>,
    /// `--ssh`
    pub agents: Vec<Agent>,
    /// `RUN --mount=type=secret`
    pub secret_mounts: Vec<SecretMount>,
    /// `RUN --mount=type=ssh`
    pub agent_mounts: Vec<SshMount>,
}

/// `--terminal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TerminalChoice {
    /// A terminal of its own when all three standard descriptors are terminals.
    #[default]
    Automatic,
    /// `--terminal`.
    Always,
    /// `--terminal=false`.
    Never,
}

/// `--add-history`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryChoice {
    /// Nothing is noted.
    #[default]
    Silent,
    /// The command becomes a history entry if it succeeds.
    Note,
}

/// What keeps the process apart from the machine, where it differs from what `from` was told.
#[derive(Debug, Clone, Default)]
pub struct Confinement {
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// `--security-opt` words.
    pub security: Vec<String>,
    /// Supplementary groups to add.
    pub groups: Vec<String>,
    /// Namespaces, as given.
    pub namespaces: NamespaceWords,
    /// Engine, where it is not the container's.
    pub isolation: Option<state::Isolation>,
    /// External runtime.
    pub runtime: RuntimeChoice,
    /// How the root file system becomes `/`.
    pub root_change: RootChange,
    /// Whether programs of other processors are provided for.
    pub emulation: Emulation,
}

/// The external runtime of one run, as far as it was said.
#[derive(Debug, Clone, Default)]
pub struct RuntimeChoice {
    /// Its name or path. Naming one asks for it, unless the isolation is chroot.
    pub program: Option<String>,
    /// Flags for it, without their leading dashes.
    pub flags: Vec<String>,
    /// Who makes its control groups.
    pub cgroup_manager: Option<cgroups::Manager>,
    /// Directory for its bundle.
    pub temp_dir: PathBuf,
}

/// The namespace flags of one run, as given.
#[derive(Debug, Clone, Default)]
pub struct NamespaceWords {
    /// `--cgroupns`
    pub cgroup: Option<String>,
    /// `--ipc`
    pub ipc: Option<String>,
    /// `--network`
    pub network: Option<String>,
    /// `--pid`
    pub pid: Option<String>,
    /// `--uts`
    pub uts: Option<String>,
}

/// Host names.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// `--hostname`
    pub hostname: Option<String>,
    /// `--no-hosts`: the image's own `/etc/hosts` stays.
    pub no_hosts: bool,
    /// `--no-hostname`: the image's own `/etc/hostname` stays.
    pub no_hostname: bool,
}

/// Why the command was not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// A word of the flags, or of what `from` was told, is wrong.
    #[error("{0}")]
    Word(String),
    /// The container could not be mounted.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// An image of `--mount from=` is unknown.
    #[error("{0}")]
    Image(#[from] find_image::Error),
    /// The image's hosts file cannot be read.
    #[error("reading /etc/hosts of the container")]
    Hosts {
        /// Why not.
        source: std::io::Error,
    },
    /// The user is unknown.
    #[error("{0}")]
    User(#[from] users::Error),
    /// A directory for one of the image's volumes could not be made.
    #[error("creating volume {path:?}")]
    Volume {
        /// The path inside the container.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// A secret that has to be there is not.
    #[error("secret required but no secret with id {0:?} found")]
    NoSecret(String),
    /// A secret cannot be read.
    #[error("reading secret {id:?}")]
    Secret {
        /// Its name.
        id: String,
        /// Why not.
        source: std::io::Error,
    },
    /// An SSH agent that has to be there is not.
    #[error("ssh required but no ssh with id {0:?} found")]
    NoAgent(String),
    /// The process could not be run.
    #[error("{0}")]
    Run(#[from] run::Error),
}

/// How the command ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Its status.
    pub status: Status,
}

/// Runs a command in the container `name`. `note` is given lines for the person before the command starts.
pub fn run(
    store: &Store,
    name: &str,
    options: &Options,
    conf: &ContainersConf,
    note: &mut dyn FnMut(String),
) -> Result<Outcome, Error> {
    let container = WorkingContainer::open(store, name)?;
    let kept = container.environment()?;
    // Words are read before anything is mounted: a typing error costs nothing.
    let plan = Plan { container: &container, kept: &kept, options, conf, rootless: store.conf().rootless };
    let mut request = plan.request().map_err(Error::Word)?;
    let mounted = Mounted::new(store, &container)?;
    mounted::require_root(name)?;
    mounted.notices().iter().for_each(|notice| note(notice.to_string()));
    request.guards = mounted.guards();
    request.mounts.roots = mounts::roots(store, options, &request.mounts.requests, &request.security.lsm.labels)?;
    confidential::pass(&options.confidential, &mut request)?;
    read_base_hosts(mounted.root(), &mut request.files)?;
    subscriptions::add(&options.subscriptions, &mut request.mounts);
    subscriptions::add_fips(mounted.root(), &mut request.mounts);
    let settings = &container.state().draft.config.config;
    volumes::make(mounted.root(), settings, &request.namespaces.user)?;
    let groups: Vec<String> = kept.group_add.iter().chain(&options.confinement.groups).cloned().collect();
    request.process.user = users::resolve(mounted.root(), options.user.as_deref().unwrap_or(&settings.user), &groups)?;
    let mut made = MountPoints::default();
    let status = run::run(mounted.root(), &request, &mut made);
    // The last one in the container tidies up.
    if let Some(_alone) = mounted.alone() {
        made.remove();
    }
    let status = status?;
    if options.history == HistoryChoice::Note && status == Status::Exited(0) {
        note_history(store, &container, &options.command)?;
    }
    Ok(Outcome { status })
}

/// Bytes of a hosts file; the largest lists of advertisers have 2 MiB.
const HOSTS_LIMIT: u64 = 8 << 20;

/// `base_hosts_file = "image"`: the image's own, which may be missing.
fn read_base_hosts(root: &Root, files: &mut etc_files::Options) -> Result<(), Error> {
    let path = Path::new("/etc/hosts");
    let Some(Hosts { base: BaseHosts::Text(text), .. }) = &mut files.hosts else { return Ok(()) };
    match root.read_file(path, HOSTS_LIMIT) {
        Ok(bytes) => *text = String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Hosts { source }),
    }
    Ok(())
}

fn note_history(store: &Store, container: &WorkingContainer, command: &[String]) -> Result<(), state::Error> {
    WorkingContainer::edit(store, &container.id().to_string(), |container| {
        let state = container.state_mut();
        let shell = match state.draft.config.config.shell.as_slice() {
            [] => "/bin/sh -c".to_owned(),
            words => words.join(" "),
        };
        state.history_before.push(empty_step(&format!("{shell} {}", command.join(" "))));
        Ok(())
    })
}
