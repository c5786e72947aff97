//! Where the standard descriptors of a command lead.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};

/// Standard input, output and error.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    /// What it reads.
    pub input: Input,
    /// Where it writes.
    pub output: Output,
}

/// Standard input.
#[derive(Debug, Clone, Default)]
pub enum Input {
    /// The caller's.
    #[default]
    Inherit,
    /// `/dev/null`
    Nothing,
    /// This text, from a file in memory.
    Text(Arc<[u8]>),
}

/// Standard output and error.
#[derive(Debug, Clone, Default)]
pub enum Output {
    /// The caller's.
    #[default]
    Inherit,
    /// The caller's standard error only: what would be on standard output is lost.
    Errors {
        /// `/dev/null`
        nowhere: Arc<OwnedFd>,
    },
    /// Open files: a log, or the ends of pipes. Both may be one.
    To {
        /// Standard output.
        stdout: Arc<OwnedFd>,
        /// Standard error.
        stderr: Arc<OwnedFd>,
    },
}

impl Input {
    /// What takes the place of the caller's; `None` for that itself.
    pub(super) fn open(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::Inherit => Ok(None),
            Self::Nothing => nowhere(OFlags::RDONLY).map(Some),
            Self::Text(text) => {
                let mut file = File::from(rustix::fs::memfd_create("input", MemfdFlags::CLOEXEC)?);
                file.write_all(text)?;
                file.rewind()?;
                Ok(Some(file.into()))
            }
        }
    }
}

fn nowhere(how: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, "/dev/null", how | OFlags::CLOEXEC, Mode::empty())?)
}

impl Output {
    /// Standard error only, for callers whose standard output is for something else.
    pub fn errors() -> io::Result<Self> {
        Ok(Self::Errors { nowhere: Arc::new(nowhere(OFlags::WRONLY)?) })
    }

    /// The two descriptors.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        match self {
            Self::Inherit => [rustix::stdio::stdout(), rustix::stdio::stderr()],
            Self::Errors { nowhere } => [nowhere.as_fd(), rustix::stdio::stderr()],
            Self::To { stdout, stderr } => [stdout.as_fd(), stderr.as_fd()],
        }
    }
}
