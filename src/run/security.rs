//! `--security-opt` and capabilities: what the process is kept from.
//!
//! Invariant: an option that cannot be applied is an error, never dropped (CVE-2025-65105).

use std::path::PathBuf;

use super::capabilities;

/// What the process is kept from.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Capabilities.
    pub capabilities: capabilities::Options,
    /// The system call filter.
    pub seccomp: SeccompChoice,
    /// `no-new-privileges`: setuid programs and file capabilities have no effect.
    pub no_new_privileges: bool,
    /// Paths hidden beyond the default ones.
    pub mask: Vec<String>,
    /// Default paths that are not hidden or read-only; `ALL` for none of them.
    pub unmask: Vec<String>,
}

/// Which system call filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SeccompChoice {
    /// The machine's seccomp.json if it has one, else the built-in profile.
    #[default]
    Default,
    /// `seccomp=unconfined`
    Unconfined,
    /// `seccomp=FILE`
    File(PathBuf),
}

impl Options {
    /// Takes one `--security-opt` word: `seccomp=FILE|unconfined`, `no-new-privileges[=true|false]`, `mask=A:B`, `unmask=ALL|A:B`,
    /// `label=disable`, `apparmor=unconfined`.
    pub fn apply(&mut self, word: &str) -> Result<(), String> {
        Err(format!("invalid --security-opt: {word:?}"))
    }
}
