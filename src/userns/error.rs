//! Why a user namespace cannot be entered, in words for people, each with what the caller can do about it.

use std::io;
use std::path::PathBuf;

use super::subid;

/// Why a namespace was not entered. `hints` has the lines that help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that says what the process is could not be read or understood.
    #[error("reading {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// `/etc/subuid` or `/etc/subgid` gives this user something that may not be used.
    #[error("subordinate ids")]
    Subid(#[from] subid::Error),
    /// The kernel refused a new user namespace.
    #[error("creating a user namespace")]
    Unshare {
        /// What in the machine's settings explains it.
        cause: Refusal,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a new mount namespace, or to make its mounts private.
    #[error("creating a mount namespace")]
    Mounts {
        /// What in the machine's settings explains it.
        cause: Refusal,
        /// The kernel's answer.
        source: io::Error,
    },
    /// One of the two maps was written and the other was not.
    #[error("{program} failed: {message}")]
    Helper {
        /// The program.
        program: PathBuf,
        /// What it wrote to its standard error, escaped, one line.
        message: String,
    },
    /// An id map, or the ids themselves, could not be set.
    #[error("setting the ids of the user namespace ({what})")]
    Ids {
        /// The file or the call.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The process to join has ended, or its number now belongs to another one.
    #[error("process {pid} has ended")]
    Gone {
        /// Its number.
        pid: u32,
    },
    /// The namespaces of a process cannot be joined.
    #[error("joining the namespaces of process {pid}")]
    Join {
        /// Its number.
        pid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What in the machine's settings explains that the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `user.max_user_namespaces` is 0.
    Disabled,
    /// `user.max_user_namespaces` or the nesting limit of 32 is reached.
    Limit,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1 (Ubuntu 23.10 and later).
    AppArmor,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian 10 and before, hardened kernels).
    UnprivilegedClone,
    /// A seccomp filter or a missing capability, as in an ordinary container.
    Sandbox,
    /// Nothing known.
    Unknown,
}

impl Error {
    /// Lines that say what to do, without the word `hint`.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Unshare { cause, .. } | Self::Mounts { cause, .. } => cause.hints(),
            Self::Subid(error) => error.hints(),
            Self::Ids { what, source } if *what == super::maps::UID_MAP && source.kind() == io::ErrorKind::PermissionDenied => {
                vec![
                "root of a container needs CAP_SETFCAP to be root in a user namespace (docker, podman: `--cap-add SETFCAP`)"
                    .to_owned(),
            ]
            }
            Self::Helper { program, .. } => {
                vec![format!("{} must be setuid root, or carry cap_setuid or cap_setgid", program.display())]
            }
            _ => Vec::new(),
        }
    }
}

impl Refusal {
    fn hints(self) -> Vec<String> {
        let lines: &[&str] = match self {
            Self::Disabled => &["user namespaces are switched off: as root, `sysctl -w user.max_user_namespaces=15000`"],
            Self::Limit => &["the limit user.max_user_namespaces or the nesting depth of 32 is reached"],
            Self::AppArmor => &[
                "AppArmor keeps unprivileged programs from using user namespaces on this machine",
                "as root, `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or load an AppArmor profile for coracle with `userns,`",
            ],
            Self::UnprivilegedClone => &["as root, `sysctl -w kernel.unprivileged_userns_clone=1`"],
            Self::Sandbox => &[
                "inside a container, a seccomp profile that allows unshare(2) is needed (docker: `--security-opt seccomp=unconfined`)",
                "or, with the capability to mount (docker: `--cap-add SYS_ADMIN`), no namespace is needed",
            ],
            Self::Unknown => &[],
        };
        lines.iter().map(|&line| line.to_owned()).collect()
    }
}
