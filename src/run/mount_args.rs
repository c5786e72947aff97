//! `--volume` and `--mount` for `run`: text to mount requests. Pure.
//!
//! Invariant: every option is known by name and taken once; an unknown or repeated one is an error (CVE-2024-9407).

use std::path::PathBuf;

/// One mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// What is mounted.
    pub kind: MountKind,
    /// Where it appears inside; absolute.
    pub target: PathBuf,
    /// How it may be used.
    pub flags: MountFlags,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute, or relative to the context directory.
        source: PathBuf,
        /// Whether mounts below the source come along.
        recursive: bool,
        /// What happens to later mounts on either side.
        propagation: Propagation,
        /// `:U`: give the content to the container's user first.
        chown: bool,
        /// `:O`: writes go to a temporary layer that ends with the process.
        overlay: bool,
        /// `:z` or `:Z`: SELinux label; no effect where SELinux is off.
        relabel: Option<Relabel>,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Size limit in bytes; `None` is the kernel's default.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
        /// `tmpcopyup`: start with what the image has there.
        copy_up: bool,
    },
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

impl MountRequest {
    /// Parses a `--volume` word: `SOURCE:TARGET[:OPTIONS]`.
    pub fn parse_volume(text: &str) -> Result<Self, String> {
        Err(format!("invalid volume {text:?}"))
    }

    /// Parses a `--mount` word: `type=bind|tmpfs,KEY[=VALUE],…`.
    pub fn parse_mount(text: &str) -> Result<Self, String> {
        Err(format!("invalid mount {text:?}"))
    }
}
