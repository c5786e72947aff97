//! The system call filter: from a profile to a program that the kernel runs at every call.
//!
//! ```text
//!   built-in profile ┐
//!   seccomp.json     ┴─▶ LinuxSeccomp (in the specification) ──bpf──▶ instructions ──sys::seccomp──▶ kernel
//! ```
//!
//! Invariant: what cannot be read, is unknown or cannot be compiled is an error, never a weaker filter (CVE-2025-65105). Where
//! several rules match a call, one that looks at arguments goes before one that does not, then the most restrictive answers.

mod bpf;
mod default_profile;
mod disjoint;
mod profile;
mod syscalls;

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;

use super::capabilities::Set;
use super::security::SeccompChoice;
pub use bpf::compile;

/// The administrator's profile, used instead of the built-in one.
const ADMINISTRATORS: &str = "/etc/containers/seccomp.json";

/// Bytes of a profile that are read at most.
const PROFILE_LIMIT: u64 = 1 << 20;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The profile cannot be read.
    #[error("opening seccomp profile {path:?}")]
    Read {
        /// The profile.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The profile is no profile.
    #[error("loading seccomp profile {path:?}")]
    Parse {
        /// The profile.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The built-in profile cannot be expressed.
    #[error("building the seccomp profile")]
    Build(#[from] oci_spec::OciSpecError),
    /// The profile asks for something that this version cannot do.
    #[error("seccomp profile: {0}")]
    Unsupported(String),
}

/// Who compiles a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Our own compiler.
    Ours,
    /// An external runtime's.
    Libseccomp,
}

/// The filter that `choice` means for a process with `capabilities`, as the runtime specification carries it; `None` for none.
pub fn filter(choice: &SeccompChoice, capabilities: Set, reader: Reader) -> Result<Option<LinuxSeccomp>, Error> {
    match choice {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::File(path) => from_file(path, capabilities).map(Some),
        SeccompChoice::Default => match from_file(Path::new(ADMINISTRATORS), capabilities) {
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Some(default_profile::resolve(capabilities, reader)?))
            }
            other => other.map(Some),
        },
    }
}

fn from_file(path: &Path, capabilities: Set) -> Result<LinuxSeccomp, Error> {
    use std::io::Read;
    let failed = |source| Error::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(PROFILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > PROFILE_LIMIT {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    profile::parse(&bytes, capabilities).map_err(|error| match error {
        profile::Error::Json(source) => Error::Parse { path: path.to_path_buf(), source },
        profile::Error::Unsupported(why) => Error::Unsupported(why),
    })
}

#[cfg(test)]
mod tests;
