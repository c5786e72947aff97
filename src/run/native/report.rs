//! What the process says to its parent when it fails between `fork` and `exec`.
//!
//! ```text
//!   kind (1 byte) │ errno (4 bytes, little endian) │ text (UTF-8, at most 3,072 bytes)
//! ```
//!
//! One write of less than `PIPE_BUF` bytes to a pipe that `exec` closes: an empty read on the other end means success.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

const TEXT_LIMIT: usize = 3072;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A step of the set-up; the text names it.
    Setup = 1,
    /// No such command.
    NotFound = 2,
    /// The command is there and cannot be executed.
    NotExecutable = 3,
    /// The interpreter that the command names is missing.
    NoInterpreter = 4,
    /// The command is a program for another processor; the text is `name\0machine`.
    ForeignMachine = 5,
    /// The working directory cannot be entered.
    WorkingDirectory = 6,
    /// A hook failed; the text is `path\0stage\0words`.
    Hook = 7,
}

/// A failure on its way to the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub kind: Kind,
    pub errno: i32,
    pub text: String,
}

impl Report {
    pub(super) fn new(kind: Kind, error: impl Into<io::Error>, text: impl Into<String>) -> Self {
        let errno = error.into().raw_os_error().unwrap_or(0);
        Self { kind, errno, text: text.into() }
    }

    /// For `map_err`: a failed step of the set-up.
    pub(super) fn step<E: Into<io::Error>>(text: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::new(Kind::Setup, error, text)
    }

    /// The cause, as an error.
    pub(super) fn source(&self) -> io::Error {
        match self.errno {
            0 => io::Error::other("unexpected answer"),
            errno => io::Error::from_raw_os_error(errno),
        }
    }

    pub(super) fn send(&self, pipe: &mut impl Write) -> io::Result<()> {
        let mut end = self.text.len().min(TEXT_LIMIT);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = vec![self.kind as u8];
        bytes.extend_from_slice(&self.errno.to_le_bytes());
        bytes.extend_from_slice(self.text.as_bytes().get(..end).unwrap_or_default());
        pipe.write_all(&bytes)
    }

    /// Waits for the answer: `None` when the command has been executed.
    pub(super) fn receive(pipe: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        pipe.take(TEXT_LIMIT as u64 + 5).read_to_end(&mut bytes)?;
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        let (Some(kind), Some((errno, text))) = (Kind::from_byte(*kind), rest.split_first_chunk::<4>()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed answer of the container's process"));
        };
        let text = String::from_utf8_lossy(text).into_owned();
        Ok(Some(Self { kind, errno: i32::from_le_bytes(*errno), text }))
    }
}

/// The end of the pipe that is written to, by whoever owns it.
pub(super) struct Pipe<'a>(pub BorrowedFd<'a>);

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(self.0, bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let known = [
            Self::Setup,
            Self::NotFound,
            Self::NotExecutable,
            Self::NoInterpreter,
            Self::ForeignMachine,
            Self::WorkingDirectory,
            Self::Hook,
        ];
        known.into_iter().find(|kind| *kind as u8 == byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_pipe() {
        let sent = Report::new(Kind::NotFound, io::Error::from_raw_os_error(2), "nope");
        let mut wire = Vec::new();
        sent.send(&mut wire).unwrap();
        assert_eq!(Report::receive(&mut wire.as_slice()).unwrap(), Some(sent));
    }

    #[test]
    fn a_closed_pipe_means_executed_and_garbage_is_an_error() {
        assert_eq!(Report::receive(&mut [].as_slice()).unwrap(), None);
        assert!(Report::receive(&mut [1u8, 2].as_slice()).is_err());
        assert!(Report::receive(&mut [99u8, 0, 0, 0, 0].as_slice()).is_err());
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut wire = Vec::new();
        Report::new(Kind::Setup, io::Error::from_raw_os_error(1), "é".repeat(4000)).send(&mut wire).unwrap();
        assert!(wire.len() <= TEXT_LIMIT + 5);
        assert!(Report::receive(&mut wire.as_slice()).unwrap().unwrap().text.ends_with('é'));
    }
}
