//! Why a source could not be fetched. Phrases that scripts look for are Buildah's.

use std::io;
use std::path::{Path, PathBuf};

use crate::http::{self, CertificateError, InvalidUrl};

/// Why a source could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operand looks like an address and is none.
    #[error(transparent)]
    Address(#[from] InvalidUrl),
    /// The certificates of `--cert-dir`.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// A secret that is a credential for the address.
    #[error("reading the secret {id:?}")]
    Secret {
        /// Its id.
        id: String,
        /// What failed.
        source: io::Error,
    },
    /// The transfer failed.
    #[error("reading {url:?}")]
    Http {
        /// The address, without what may be secret.
        url: String,
        /// What failed.
        source: http::Error,
    },
    /// The server has something else to say.
    #[error("reading {url:?}: invalid response status {status}")]
    Status {
        /// The address.
        url: String,
        /// What it answered.
        status: u16,
    },
    /// The answer is not what can be stored as it is.
    #[error("reading {url:?}: {problem}")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The bytes cannot be kept.
    #[error("keeping {url:?} in {dir:?}")]
    Keep {
        /// The address.
        url: String,
        /// The directory for temporary files.
        dir: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The bytes are others.
    #[error("unexpected response digest for {url:?}: {found}, want {want}")]
    Checksum {
        /// The address.
        url: String,
        /// What they are.
        found: String,
        /// What they should be.
        want: String,
    },
    /// The digits of a commit, with something that has none.
    #[error("invalid checksum flag: the digits of a commit are for a git repository, and a file needs sha256: and its digits")]
    CommitOfFile,
    /// `--checksum` with a path.
    #[error("checksum flag is not supported for local sources")]
    ChecksumOfLocal,
    /// `--checksum` with a repository.
    #[error("checksum flag is not supported for git sources: name the commit after #")]
    ChecksumOfGit,
    /// A repository's address that is not followed.
    #[error("{url:?}: {reason}")]
    GitOperand {
        /// The address.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// git(1) is missing or failed.
    #[error("cloning {url:?}: {problem}")]
    Git {
        /// The address.
        url: String,
        /// What happened.
        problem: String,
    },
    /// There is no room for a repository.
    #[error("cloning {url:?}: {dir:?} is full: {problem}")]
    NoRoom {
        /// The address.
        url: String,
        /// The directory for temporary files.
        dir: PathBuf,
        /// What git said.
        problem: String,
    },
    /// A Dockerfile names a repository that needs keys.
    #[error("cloning {url:?}: a Dockerfile may use keys of the caller's for ADD only if the build lends them")]
    NoKeys {
        /// The address.
        url: String,
    },
}

impl Error {
    /// What the user can do about it, one line each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::NoKeys { .. } => {
                vec!["lend the agent's with --ssh default, or a key file with --ssh default=FILE".to_owned()]
            }
            Self::NoRoom { dir, .. } => vec![room_elsewhere(dir)],
            Self::Keep { dir, source, .. } if is_full(source) => vec![room_elsewhere(dir)],
            Self::Git { problem, .. } if problem.contains("Host key verification failed") => {
                vec!["connect to the host once with ssh, or add its key to ~/.ssh/known_hosts (ssh-keyscan)".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// What to do where the directory for temporary files is full.
pub fn room_elsewhere(dir: &Path) -> String {
    format!("{ROOM_ELSEWHERE}, put before the command, has temporary files in another place than {}", dir.display())
}

/// How that hint begins.
pub const ROOM_ELSEWHERE: &str = "TMPDIR=DIRECTORY";

/// Whether it is for want of room that something failed.
pub fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let no_room = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| no_room.contains(&error.kind())))
}
