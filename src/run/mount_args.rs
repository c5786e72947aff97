//! `--volume` and `--mount` for `run`: text to mount requests. Pure.
//!
//! Invariant: every option is known by name and taken once; an unknown or repeated one is an error (CVE-2024-9407). What Buildah
//! says about a wrong word is said in its words.

mod id_map;
mod mount;
mod step;
mod volume;
mod words;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use id_map::VolumeMaps;
pub use step::{Place, SecretMount, SshMount, StepMount};

/// One mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// What is mounted.
    pub kind: MountKind,
    /// Where it appears inside. A relative one is below the working directory: see [`MountRequest::below`].
    pub target: PathBuf,
    /// How it may be used.
    pub flags: MountFlags,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A file or directory of the host, of the context directory or of an image.
    Bind(Bind),
    /// An empty file system in memory.
    Tmpfs {
        /// Size limit in bytes; `None` is the kernel's default.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
        /// `tmpcopyup`: start with what the image has there.
        copy_up: bool,
    },
    /// A directory of the caller's that outlives the process.
    Cache(Cache),
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where the content is.
    pub source: Source,
    /// Whether mounts below the source come along.
    pub recursive: bool,
    /// What happens to later mounts on either side.
    pub propagation: Propagation,
    /// `U`: give the content to the container's user first.
    pub chown: bool,
    /// What becomes of writes.
    pub writes: Writes,
    /// `z` or `Z`: SELinux label; no effect where SELinux is off.
    pub relabel: Option<Relabel>,
    /// `no-dereference`: a source that is a link is mounted itself.
    pub no_follow: bool,
    /// `idmap`: the files look like those of other owners.
    pub id_map: Option<VolumeMaps>,
}

/// Where the content of a bind mount is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An absolute path of the host (`--volume`).
    Host(PathBuf),
    /// A path below the context directory; without one, an absolute path of the host (`--mount`).
    Context(PathBuf),
    /// A path in the container's own root file system.
    Rootfs(PathBuf),
    /// A path in what a name stands for (`--mount from=`): an image of the store; in a build a stage or a named context, too.
    Named {
        /// As it was written.
        name: String,
        /// Below its root.
        path: PathBuf,
    },
}

/// What becomes of writes to a bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Writes {
    /// They reach the source.
    #[default]
    Through,
    /// They go to a temporary layer that ends with the process: `:O`, and each writable bind of `--mount` (CVE-2025-4953).
    Discarded,
    /// They go to these directories of the host, which stay (`:O,upperdir=…,workdir=…`).
    Kept {
        /// Absolute.
        upper: PathBuf,
        /// Absolute, empty, on the file system of `upper`.
        work: PathBuf,
    },
}

/// A cache directory. Its place is made from the hash of its name: no name leads elsewhere (CVE-2024-9675).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// `id=`; without one, the target is the name.
    pub id: Option<String>,
    /// What a new cache begins with (`from=`), by name.
    pub from: Option<String>,
    /// Without `from` a directory in the cache that is mounted in its place (`source=`), else the part of it that a new cache begins
    /// with; empty for all.
    pub source: PathBuf,
    /// Owner of a new directory, inside the container.
    pub uid: u32,
    /// Group of a new directory.
    pub gid: u32,
    /// Permission bits of a new directory.
    pub mode: u32,
    /// Who may use it at a time.
    pub sharing: Sharing,
    /// `U`: give the content to the container's user first.
    pub chown: bool,
    /// What happens to later mounts on either side.
    pub propagation: Propagation,
    /// `z` or `Z`: SELinux label.
    pub relabel: Option<Relabel>,
}

/// `sharing=`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Any number of processes.
    #[default]
    Shared,
    /// One; who comes while it is in use gets another directory, which is kept for the next time.
    Private,
    /// One; the others wait.
    Locked,
}

/// How later mounts on one side are seen on the other (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Neither sees the other's.
    #[default]
    Private,
    /// Mounts of the host appear inside.
    Slave,
    /// Both ways.
    Shared,
    /// Neither, and it cannot be bound again.
    Unbindable,
}

/// SELinux relabelling of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relabel {
    /// `z`
    Shared,
    /// `Z`
    Private,
}

/// Mount attributes; the defaults are those of a plain `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountFlags {
    /// No writes, recursively.
    pub read_only: bool,
    /// No setuid programs.
    pub nosuid: bool,
    /// No device nodes.
    pub nodev: bool,
    /// No programs.
    pub noexec: bool,
}

impl Bind {
    /// Refuses options that contradict each other.
    fn check(&self) -> Result<(), String> {
        match (&self.id_map, self.chown, &self.writes) {
            (Some(_), true, _) => {
                Err("idmap and U exclude each other: the one shows other owners, the other changes them".to_owned())
            }
            (Some(_), _, Writes::Kept { .. }) => Err("idmap and upperdir exclude each other".to_owned()),
            _ => Ok(()),
        }
    }
}

impl MountRequest {
    /// Parses a `--volume` word: `SOURCE:TARGET[:OPTIONS]`, options separated by commas; both paths absolute.
    pub fn parse_volume(text: &str) -> Result<Self, String> {
        volume::parse(text)
    }

    /// Parses a `--mount` word: `type=bind|tmpfs|cache,KEY[=VALUE],…`; the type is `bind` if none is named.
    pub fn parse_mount(text: &str) -> Result<Self, String> {
        mount::parse(text)
    }

    /// The stage, image or context that it takes files from (`from=`), as it was named.
    pub fn from(&self) -> Option<&str> {
        match &self.kind {
            MountKind::Bind(Bind { source: Source::Named { name, .. }, .. }) => Some(name),
            MountKind::Cache(cache) => cache.from.as_deref(),
            MountKind::Bind(_) | MountKind::Tmpfs { .. } => None,
        }
    }

    /// The request with its target made absolute: a relative one is below the container's working directory.
    #[must_use]
    pub fn below(mut self, working_directory: &std::path::Path) -> Self {
        self.target = working_directory.join(&self.target);
        self
    }

    /// The bind mount that this is, if it is one.
    pub fn bind(&self) -> Option<&Bind> {
        match &self.kind {
            MountKind::Bind(bind) => Some(bind),
            MountKind::Tmpfs { .. } | MountKind::Cache(_) => None,
        }
    }
}

impl StepMount {
    /// Parses the value of `RUN --mount=`: as `MountRequest::parse_mount`, and `type=secret|ssh`.
    pub fn parse(text: &str) -> Result<Self, String> {
        step::parse(text)
    }
}

impl Propagation {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "private" | "rprivate" => Self::Private,
            "slave" | "rslave" => Self::Slave,
            "shared" | "rshared" => Self::Shared,
            "unbindable" | "runbindable" => Self::Unbindable,
            _ => return None,
        })
    }
}

/// Settings of which each may be made once.
#[derive(Default)]
struct Once(Vec<&'static str>);

impl Once {
    /// Whether `group` is set for the first time.
    fn first(&mut self, group: &'static str) -> bool {
        let first = !self.0.contains(&group);
        if first {
            self.0.push(group);
        }
        first
    }
}
