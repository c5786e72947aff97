//! Sources of `add` and `copy` that lie at other machines: fetched whole before the container is mounted, so that a transfer that fails
//! or is not what was expected changes nothing, and a slow one keeps nobody else from the container.
//!
//! ```text
//! operand ─ Remote::of ─┬─ Url  download  GET, taken up again where it broke off ─▶ a file without a name
//!                       └─ Git  git       git(1) into a directory of ours        ─▶ that directory
//! ```
//!
//! Invariants: what is fetched is bounded in memory, not in length. Credentials of registries are not sent (known attacks A112); those
//! in an address, or lent for it, go to its origin only and are never shown (A91).
//!
//! Must not: print; decide where the content goes.

mod address;
mod checksum;
mod download;
mod error;
mod git;
mod lent;
mod repository;
mod scratch;
mod ssh;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use containers_storage::Root;
use jiff::Timestamp;

pub use self::address::{Remote, Wish, is_address};
pub use self::checksum::{Checksum, Commit, Invalid};
pub use self::error::{Error, ROOM_ELSEWHERE, is_full, room_elsewhere};
pub use self::repository::RepositoryAddress;
pub use self::scratch::{Scratch, collect};
use crate::http::{Trust, Verification};
use crate::run::secrets::Secret;
use crate::transport::registry::{Network, TlsVerify};

/// How sources are fetched.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The client, `--tls-verify`, `--cert-dir`, `--retry` and `--retry-delay`.
    pub network: &'a Network,
    /// `--checksum`: what the bytes of an address must be.
    pub checksum: Option<Checksum>,
    /// Where the bytes wait.
    pub temp_dir: &'a Path,
    /// What is wanted of a repository.
    pub repository: Repository,
    /// The secrets of a build, among which there may be credentials.
    pub secrets: &'a [Secret],
}

/// What is wanted of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repository {
    /// Whether its own directory comes along.
    pub git_directory: GitDirectory,
    /// How the commit must begin (`ADD --checksum`); its address may say that, too.
    pub commit: Option<Commit>,
    /// Whether its submodules are fetched, unless its address says so.
    pub submodules: Submodules,
    /// Who asks for one that is reached by ssh(1).
    pub ssh: Ssh,
}

/// Submodules of a repository that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Submodules {
    /// Their directories are empty (Buildah).
    #[default]
    Leave,
    /// They are fetched, and theirs (BuildKit).
    Fetch,
}

/// Who asks for a repository that is reached by ssh(1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ssh {
    /// The caller, with all that `~/.ssh` and the agent say.
    #[default]
    Caller,
    /// Whoever has the keys of this agent, or these keys, and nothing else of the caller's but the known hosts.
    Keys(Vec<std::path::PathBuf>),
    /// Nobody: a Dockerfile names it, and the caller has lent no keys.
    Nobody,
}

/// `.git` of a repository that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GitDirectory {
    /// It is copied (Buildah, and `ADD --keep-git-dir`).
    #[default]
    Keep,
    /// It is left out (the Dockerfile reference).
    Remove,
}

/// A source that is here now.
#[derive(Debug)]
pub struct Fetched {
    /// As typed.
    pub operand: OsString,
    /// What came.
    pub content: Content,
}

/// What came.
#[derive(Debug)]
pub enum Content {
    /// One file, 0600 and with its time.
    File {
        /// The name that its address gives it, if that is one.
        name: Option<OsString>,
        /// Open for reading.
        file: File,
        /// When it last changed; 1970 where the server did not say.
        modified: Timestamp,
    },
    /// The files of a repository.
    Tree {
        /// The directory that was asked for.
        root: Root,
        /// Deleted with this value.
        scratch: Scratch,
    },
}

/// Fetches those of `sources` that are not here, in their order.
///
/// # Errors
/// One cannot be had, or a checksum was given and a source is none that has one.
pub fn fetch(sources: &[OsString], options: &Options<'_>) -> Result<Vec<Fetched>, Error> {
    let remotes = sources.iter().map(|source| Remote::of(source)).collect::<Result<Vec<_>, _>>()?;
    if options.repository.commit.is_some() && remotes.iter().any(|remote| !matches!(remote, Some(Remote::Git { .. }))) {
        return Err(Error::CommitOfFile);
    }
    if options.checksum.is_some() {
        for remote in &remotes {
            match remote {
                Some(Remote::Url { .. }) => {}
                Some(Remote::Git { .. }) => return Err(Error::ChecksumOfGit),
                None => return Err(Error::ChecksumOfLocal),
            }
        }
    }
    let mut trust = None;
    let mut fetched: Vec<Fetched> = Vec::new();
    for (operand, remote) in sources.iter().zip(&remotes) {
        let Some(remote) = remote.as_ref().filter(|_| !is_there(&fetched, operand)) else { continue };
        let content = match remote {
            Remote::Url { url, login, name } => {
                let trust = match &trust {
                    Some(trust) => Arc::clone(trust),
                    None => Arc::clone(trust.insert(Arc::new(trust_of(options.network)?))),
                };
                let lent = lent::for_file(url, options.secrets)?;
                let (file, modified) = download::download(url, lent.as_ref().or(login.as_ref()), &trust, options)?;
                Content::File { name: name.clone(), file, modified }
            }
            Remote::Git { url, login, wish } => {
                let lent = match url {
                    RepositoryAddress::Web(url) => lent::for_repository(url, options.secrets)?,
                    RepositoryAddress::Git(_) | RepositoryAddress::Ssh(_) => None,
                };
                git::checkout(&git::Wanted { url, login: lent.as_ref().or(login.as_ref()), wish }, options)?
            }
        };
        fetched.push(Fetched { operand: operand.clone(), content });
    }
    Ok(fetched)
}

fn is_there(fetched: &[Fetched], operand: &OsStr) -> bool {
    fetched.iter().any(|one| one.operand == operand)
}

fn trust_of(network: &Network) -> Result<Trust, Error> {
    Ok(Trust::with_directory(verification(network), network.cert_dir.as_deref())?)
}

fn verification(network: &Network) -> Verification {
    if network.tls_verify == TlsVerify::Off { Verification::Off } else { Verification::Required }
}
