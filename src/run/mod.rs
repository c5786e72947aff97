//! One process in a root file system: what it may see and do, how it is started, and what it left behind.
//!
//! ```text
//!   Request ──spec::build──▶ oci_spec::runtime::Spec ─┬─native::execute──▶ Status    namespaces, mounts, exec, wait
//!      words of the caller       pure data, any runtime └─oci::execute─────▶ Status    a bundle, and somebody else's program
//! ```
//!
//! Invariant: the caller stands in the user and mount namespace that the container's root file system is attached in and
//! hands over a handle on it; nothing here takes a path of the host from the content of the image. When `run` returns, no
//! process of the container lives and every mount point that was created for it is gone again.
//!
//! Must not: know working containers, images or the store; print anything but the one line of the network fall-back.

mod cache;
pub mod capabilities;
pub mod cgroups;
mod chroot;
pub mod devices;
pub mod emulation;
mod engine;
pub mod environment;
pub mod etc_files;
mod guardian;
pub mod hooks;
pub mod isolation;
pub mod limits;
pub mod lsm;
pub mod mount_args;
pub mod namespaces;
mod native;
pub mod network;
mod network_program;
pub mod oci;
mod ownership;
mod program;
mod relabel;
pub mod seccomp;
pub mod secrets;
pub mod security;
mod slirp;
mod sources;
pub mod spec;
pub mod ssh;
pub mod streams;
pub mod users;
mod volume_tree;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use containers_storage::{Root, selinux};
use rustix::mount::MountAttrFlags;

pub use cache::{Emptied, Stock, empty as empty_caches, stock as stock_of_caches};
pub use guardian::Guardian;
pub use isolation::Isolation;
pub use streams::Streams;
pub use users::ProcessUser;

/// What to run: one process, described in words that flags, image configs and `containers.conf` are translated to.
#[derive(Debug, Clone)]
pub struct Request {
    /// The command, its user, directory and environment.
    pub process: ProcessOptions,
    /// Capabilities, system call filter and what is hidden of `/proc` and `/sys`.
    pub security: security::Options,
    /// Which namespaces are new, shared or joined.
    pub namespaces: namespaces::Options,
    /// Resource limits, size of `/dev/shm`, kernel parameters.
    pub limits: limits::Options,
    /// Binds, tmpfs mounts and devices that were asked for.
    pub mounts: MountOptions,
    /// The generated `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname` and `/run/.containerenv`.
    pub files: etc_files::Options,
    /// Which engine executes the description.
    pub isolation: Isolation,
    /// What it may use of the machine.
    pub cgroups: cgroups::Options,
    /// Programs that are run around it.
    pub hooks: hooks::Options,
    /// How the root file system becomes `/`.
    pub root_change: RootChange,
    /// Whether programs of other processors are provided for.
    pub emulation: emulation::Emulation,
    /// Attributes that the root file system's mount has for the time outside; the container's copy of it goes without.
    pub guards: MountAttrFlags,
}

/// What new files of a command lack unless something else is asked for: the runtimes' own default.
pub const DEFAULT_UMASK: u32 = 0o022;

/// The process itself.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// The command and its arguments; the first is looked up in the container's `PATH` unless it has a slash. Never empty.
    pub args: Vec<String>,
    /// The complete environment as `NAME=value` (see `environment::compose`), without `HOME` and `HOSTNAME`, which are added.
    pub env: Vec<String>,
    /// The working directory, absolute; created (owned by the user) if it is missing.
    pub cwd: PathBuf,
    /// Which permissions its new files do not have.
    pub umask: u32,
    /// Who runs it (see `users::resolve`).
    pub user: ProcessUser,
    /// Whether it gets a terminal of its own.
    pub terminal: Terminal,
    /// Where its standard descriptors lead, unless that is the terminal.
    pub streams: Streams,
    /// The host name inside, if the uts namespace is new.
    pub hostname: Option<String>,
}

/// Whether standard input and output are a terminal of the process's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// They lead where `streams` says. The process is in a session of its own, so that it cannot push keystrokes into a terminal among
    /// them (known attack A56).
    Inherit,
    /// A new pseudo terminal, relayed to the caller's.
    Allocate,
}

/// Mounts and devices.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// `--volume` and `--mount`, in their order.
    pub requests: Vec<mount_args::MountRequest>,
    /// `--device`.
    pub devices: Vec<devices::DeviceRequest>,
    /// The directory that sources of `--mount` are resolved below (`--contextdir`, the build context).
    pub context: Option<Arc<Root>>,
    /// What `--mount from=` names.
    pub roots: Vec<NamedRoot>,
    /// The directory that caches are in: below a temporary directory, and named for the caller (see `cache`).
    pub cache_dir: Option<PathBuf>,
    /// Files of the caller's that are copied in (subscriptions, scripts).
    pub files: Vec<etc_files::ExtraFile>,
    /// Secrets of the caller's.
    pub secrets: Vec<secrets::Passed>,
    /// SSH agents of the caller's.
    pub agents: Vec<ssh::Passed>,
}

/// A tree that mounts are made of: an image, a stage of a build, a directory of the host.
#[derive(Debug, Clone)]
pub struct NamedRoot {
    /// As `from=` has it.
    pub name: String,
    /// What it is, besides its name: another one makes another cache.
    pub identity: String,
    /// Its top.
    pub root: Arc<Root>,
}

/// How the root file system becomes `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootChange {
    /// `pivot_root(2)`: nothing of the host's tree stays reachable.
    #[default]
    Pivot,
    /// `MS_MOVE` and `chroot(2)` (`--no-pivot`), for a caller whose own root is the initial ramfs.
    MoveMount,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(u8),
    /// This signal ended it.
    Killed(i32),
}

impl Status {
    /// The exit code that Buildah answers with: the command's own, 1 for a death by signal.
    pub fn code(self) -> u8 {
        match self {
            Status::Exited(code) => code,
            Status::Killed(_) => 1,
        }
    }
}

/// Why a process could not be run. `exit_code` tells what the program should answer with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The description contradicts itself or names something that does not exist.
    #[error("{0}")]
    Request(String),
    /// The runtime specification cannot be built.
    #[error("building the runtime specification")]
    Specification(#[from] oci_spec::OciSpecError),
    /// There is no such external runtime.
    #[error("runtime {0:?} is not installed")]
    NoRuntime(String),
    /// The external runtime refused.
    #[error("{action} the container with {runtime:?}: {words}")]
    Runtime {
        /// The runtime.
        runtime: PathBuf,
        /// `creating`, `starting`.
        action: &'static str,
        /// What it said, or how it ended.
        words: String,
    },
    /// The system call filter cannot be had.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
    /// Something of the host could not be made ready.
    #[error("preparing {what}")]
    Prepare {
        /// What.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// An SELinux label cannot be what was asked for.
    #[error(transparent)]
    Label(#[from] selinux::Error),
    /// The kernel has no AppArmor.
    #[error("unable to apply apparmor profile {0:?}: AppArmor is not enabled on this machine")]
    NoAppArmor(String),
    /// The user namespace of others cannot be entered.
    #[error("joining the user namespace (--userns)")]
    JoinUser {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The user namespace of others is no more what it was.
    #[error("joining the user namespace (--userns): it has other ids than the container's files belong to")]
    OtherIds,
    /// The owners of a volume's files cannot be mapped.
    #[error("volume {source_path:?}: mapping the owners of its files (idmap)")]
    IdMap {
        /// The volume.
        source_path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A hook before the command failed.
    #[error("hook {path:?} ({stage}): {words}")]
    Hook {
        /// The hook.
        path: PathBuf,
        /// When it was run.
        stage: &'static str,
        /// How it ended.
        words: String,
    },
    /// A step between `fork` and `exec` failed.
    #[error("starting the container's process: {step}")]
    Start {
        /// Which step.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such command in the container.
    #[error("{}", not_found(.0))]
    CommandNotFound(String),
    /// The command exists but cannot be executed.
    #[error("exec: {name:?}")]
    NotExecutable {
        /// The command.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// The command needs an interpreter or loader that the container lacks.
    #[error("exec: {name:?}: {interpreter}, which it needs to start, is not in the container")]
    NoInterpreter {
        /// The command.
        name: String,
        /// What is missing.
        interpreter: String,
    },
    /// The command is for another kind of processor.
    #[error("exec: {name:?}: exec format error: it is a program for {machine}")]
    ForeignMachine {
        /// The command.
        name: String,
        /// The processor, as platforms are written.
        machine: String,
    },
    /// The working directory cannot be entered or made.
    #[error("changing to the working directory {path:?}")]
    WorkingDirectory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The private network could not be set up.
    #[error("setting up the network: {0}")]
    Network(String),
}

/// What helps where a user namespace cannot be joined.
pub const JOIN_HINT: &str = "the kernel lets a process join user namespaces that were made in its own: for an ordinary user those that were made \
                             in the session of \"coracle unshare\" that this command is run in, for real root all";

fn id_map_hint(refusal: &io::Error) -> String {
    let text = match refusal.raw_os_error() {
        Some(libc::EPERM) => {
            "the kernel maps a file system for the user namespace that mounted it only, which for the machine's own is real root: leave \
             idmap out, and give the files to the container with U or use the volume as it is"
        }
        Some(libc::EINVAL) => {
            "the file system, or one that is mounted below it, cannot be mapped (ext4, xfs, btrfs and, since Linux 6.3, tmpfs can; \
             overlay, FUSE and the kernel's own trees cannot), or it is mapped already"
        }
        _ => "leave idmap out, and give the files to the container with U",
    };
    text.to_owned()
}

fn not_found(name: &str) -> String {
    if name.is_empty() {
        "exec: no command".to_owned()
    } else if name.contains('/') {
        format!("exec: {name:?}: stat {name}: no such file or directory")
    } else {
        format!("exec: {name:?}: executable file not found in $PATH")
    }
}

impl Error {
    fn prepare(what: impl Into<String>, source: io::Error) -> Self {
        Self::Prepare { what: what.into(), source }
    }

    /// Whether the kernel refused a procfs of the container's own.
    fn is_refused_procfs(&self) -> bool {
        let Self::Start { step, source } = self else { return false };
        step == "mounting /proc" && source.raw_os_error() == Some(libc::EPERM)
    }

    /// 1 when the container's process could not be started, 125 for anything before that (Buildah's convention).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Request(_)
            | Self::Specification(_)
            | Self::Seccomp(_)
            | Self::Label(_)
            | Self::Prepare { .. }
            | Self::IdMap { .. }
            | Self::JoinUser { .. }
            | Self::OtherIds
            | Self::Network(_) => 125,
            Self::NoRuntime(_)
            | Self::NoAppArmor(_)
            | Self::Hook { .. }
            | Self::Runtime { .. }
            | Self::Start { .. }
            | Self::CommandNotFound(_)
            | Self::NotExecutable { .. }
            | Self::NoInterpreter { .. }
            | Self::ForeignMachine { .. }
            | Self::WorkingDirectory { .. } => 1,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ForeignMachine { machine, .. } => Some(format!(
                "install a user-mode emulator for {machine} and register it with binfmt_misc (Debian: qemu-user-static); \
                 BUILDAH_REGISTER_BINFMT=on registers what is installed for this run"
            )),
            _ if self.is_refused_procfs() => Some(
                "a new /proc is refused where the surrounding container hides parts of its own; --isolation chroot needs none"
                    .to_string(),
            ),
            Self::Start { step, .. } if step.starts_with("becoming") => {
                Some("give the caller subordinate ids (/etc/subuid, /etc/subgid) that cover it".to_string())
            }
            Self::Prepare { what, source } if what == "the root file system" && source.raw_os_error() == Some(libc::EPERM) => {
                Some("nothing can be mounted here: --isolation chroot runs the command in the directory itself".to_string())
            }
            Self::IdMap { source, .. } => Some(id_map_hint(source)),
            Self::JoinUser { .. } => Some(JOIN_HINT.to_owned()),
            Self::NoAppArmor(_) => {
                Some("leave --security-opt apparmor= out: nothing of AppArmor confines a process here".to_owned())
            }
            Self::OtherIds => Some("make the container anew, with the namespace that is there now".to_owned()),
            Self::NoRuntime(_) => {
                Some("install crun or runc, give the program's path, or use --isolation rootless, which needs none".to_string())
            }
            Self::Runtime { runtime, words, .. } => Some(oci::hint(runtime, words)),
            Self::Network(_) => Some("install passt or slirp4netns, or use --network host or none".to_string()),
            Self::CommandNotFound(name) if !name.is_empty() && !name.contains('/') => {
                Some("the command is looked up in the container, with the container's PATH".to_string())
            }
            _ => None,
        }
    }
}

/// Mount points that runs made in a root file system: empty files and directories, each with a mark, so that commits leave them
/// out. Dropped, they stay.
#[derive(Debug, Default)]
pub struct MountPoints(native::Placeholders);

impl MountPoints {
    /// Removes those that are still empty. Only while nobody else uses the root file system: removing a mount point takes the
    /// mounts of other namespaces on it away (mount_namespaces(7)).
    pub fn remove(self) {
        self.0.remove();
    }
}

/// Runs one process in `rootfs`, which is attached in the caller's mount namespace, and waits for its end.
///
/// What it makes there to mount something on is added to `made`.
///
/// # Errors
/// When it could not be started; how it ended is no error.
pub fn run(rootfs: &Root, request: &Request, made: &mut MountPoints) -> Result<Status, Error> {
    engine::run(rootfs, request, &mut made.0)
}
