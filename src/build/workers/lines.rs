//! What commands of a stage print, line by line.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::build::event::OutputStream;

/// How much of a line of output is kept together.
const LINE: usize = 64 << 10;

/// One of the two outputs.
pub(super) struct Lines {
    pub(super) from: File,
    pub(super) stream: OutputStream,
    rest: Vec<u8>,
    pub(super) is_open: bool,
}

impl Lines {
    pub(super) fn new(from: OwnedFd, stream: OutputStream) -> Self {
        Self { from: from.into(), stream, rest: Vec::new(), is_open: true }
    }

    /// Reads what there is now, and gives away whole lines; the last one without an end when nobody is left who could go on.
    pub(super) fn read(&mut self, give: &mut dyn FnMut(String)) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        while self.is_open && has_message(&self.from)? {
            let count = self.from.read(&mut chunk)?;
            self.is_open = count > 0;
            self.rest.extend_from_slice(chunk.get(..count).unwrap_or_default());
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n').or((self.rest.len() > LINE).then_some(LINE))
            {
                let line: Vec<u8> = self.rest.drain(..=end.min(self.rest.len() - 1)).collect();
                give(text(&line));
            }
        }
        if !self.is_open && !self.rest.is_empty() {
            give(text(&std::mem::take(&mut self.rest)));
        }
        Ok(())
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned()
}

/// Whether there is something to read, if only the end.
pub(super) fn has_message(pipe: &File) -> io::Result<bool> {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
