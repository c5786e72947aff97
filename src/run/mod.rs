//! One process in a root file system: what it may see and do, how it is started, and what it left behind.
//!
//! ```text
//!   Request ──spec::build──▶ oci_spec::runtime::Spec ──native::execute──▶ Status
//!      words of the caller       pure data, any runtime       namespaces, mounts, exec, wait
//! ```
//!
//! Invariant: the caller stands in the user and mount namespace that the container's root file system is attached in and
//! hands over a handle on it; nothing here takes a path of the host from the content of the image. When `run` returns, no
//! process of the container lives and every mount point that was created for it is gone again.
//!
//! Must not: know working containers, images or the store; print anything but the one line of the network fall-back.

pub mod capabilities;
pub mod devices;
pub mod environment;
pub mod etc_files;
pub mod isolation;
pub mod limits;
pub mod mount_args;
pub mod namespaces;
pub mod network;
pub mod security;
pub mod users;

use std::path::PathBuf;

use containers_storage::Root;

pub use isolation::Isolation;
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
    /// How the root file system becomes `/`.
    pub root_change: RootChange,
}

/// The process itself.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// The command and its arguments; the first is looked up in the container's `PATH` unless it has a slash. Never empty.
    pub args: Vec<String>,
    /// The complete environment as `NAME=value` (see `environment::compose`), without `HOME` and `HOSTNAME`, which are added.
    pub env: Vec<String>,
    /// The working directory, absolute; created (owned by the user) if it is missing.
    pub cwd: PathBuf,
    /// Who runs it (see `users::resolve`).
    pub user: ProcessUser,
    /// Whether it gets a terminal of its own.
    pub terminal: Terminal,
    /// The host name inside, if the uts namespace is new.
    pub hostname: Option<String>,
}

/// What standard input and output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// The caller's descriptors, as they are. A terminal among them is relayed, never handed over (known attack A56).
    Inherit,
    /// A new pseudo terminal, relayed to the caller's.
    Allocate,
    /// Input is `/dev/null`, output is inherited.
    NoInput,
}

/// Mounts and devices.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// `--volume` and `--mount`, in their order.
    pub requests: Vec<mount_args::MountRequest>,
    /// `--device`.
    pub devices: Vec<devices::DeviceRequest>,
    /// The directory that relative bind sources are resolved below (`--contextdir`).
    pub context_dir: Option<PathBuf>,
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
    /// The description cannot be turned into a runtime specification.
    #[error("{0}")]
    Request(String),
    /// This isolation is not built in.
    #[error("isolation {0:?} is not supported by this version; supported: rootless")]
    Isolation(String),
    /// Not supported yet.
    #[error("running a process is not supported on this system: {0}")]
    Unsupported(&'static str),
}

impl Error {
    /// 1 when the command could not be started, 125 for a failure of ours (Buildah's convention).
    pub fn exit_code(&self) -> u8 {
        125
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}

/// Runs one process in `rootfs`, which is attached in the caller's mount namespace, and waits for its end.
///
/// # Errors
/// When it could not be started; how it ended is no error.
pub fn run(rootfs: &Root, request: &Request) -> Result<Status, Error> {
    let _ = (rootfs, request);
    Err(Error::Unsupported("the runtime is being built"))
}
