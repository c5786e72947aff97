//! Why a source could not be fetched. Phrases that scripts look for are Buildah's.

use std::io;

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
        dir: std::path::PathBuf,
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
            Self::Git { problem, .. } if problem.contains("Host key verification failed") => {
                vec!["connect to the host once with ssh, or add its key to ~/.ssh/known_hosts (ssh-keyscan)".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}
