//! Standard input of a command that may not keep the caller's (`output`): what arrives is passed on through a pipe.
//!
//! Invariant: nothing waits here, neither for the caller nor for the command; the command sees the end of its input when the caller's ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::supervise::readable;

/// Pieces that are passed on before others get their turn.
const PIECES: usize = 16;

/// Where input comes from and goes to.
#[derive(Debug)]
pub(super) struct Feed {
    from: OwnedFd,
    to: OwnedFd,
    /// Read, and still to be written.
    pending: Vec<u8>,
}

impl Feed {
    /// Passes on to the pipe `to`.
    pub(super) fn new(from: OwnedFd, to: OwnedFd) -> io::Result<Self> {
        rustix::fs::fcntl_setfl(&to, rustix::fs::fcntl_getfl(&to)? | OFlags::NONBLOCK)?;
        Ok(Self { from, to, pending: Vec::new() })
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> PollFd<'_> {
        match self.pending.is_empty() {
            true => PollFd::new(self.from.as_fd(), PollFlags::POLLIN),
            false => PollFd::new(self.to.as_fd(), PollFlags::POLLOUT),
        }
    }

    /// Passes on what there is; `false` at the end of the input, or when nobody reads it any more.
    pub(super) fn step(&mut self) -> bool {
        for _ in 0..PIECES {
            if self.pending.is_empty() {
                // The descriptor is the caller's, and may wait.
                if !readable(self.from.as_fd()) {
                    return true;
                }
                let mut buffer = [0u8; 16384];
                match rustix::io::read(&self.from, &mut buffer) {
                    Ok(0) => return false,
                    Ok(length) => self.pending.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => return true,
                    Err(_) => return false,
                }
            }
            match rustix::io::write(&self.to, &self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    fn pipe() -> (File, File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (File::from(read), File::from(write))
    }

    #[test]
    fn all_of_it_arrives_and_then_its_end() {
        let mut source = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        source.write_all(&bytes).unwrap();
        std::io::Seek::rewind(&mut source).unwrap();
        let (mut read, write) = pipe();
        let mut feed = Feed::new(source.into(), write.into()).unwrap();
        let reader = std::thread::spawn(move || {
            let mut arrived = Vec::new();
            read.read_to_end(&mut arrived).map(|_| arrived)
        });
        while feed.step() {
            nix::poll::poll(&mut [feed.interest()], nix::poll::PollTimeout::NONE).unwrap();
        }
        drop(feed);
        assert_eq!(reader.join().unwrap().unwrap(), bytes);
    }

    #[test]
    fn nobody_is_waited_for() {
        let ((from, mut caller), (command, to)) = (pipe(), pipe());
        let mut feed = Feed::new(from.into(), to.into()).unwrap();
        assert!(feed.step(), "nothing has arrived");
        caller.write_all(b"x").unwrap();
        assert!(feed.step() && feed.pending.is_empty());
        // The command does not read: what its pipe does not take is kept, and no more is asked for.
        let most = 200_000;
        let flags = rustix::fs::fcntl_getfl(&caller).unwrap() | OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&caller, flags).unwrap();
        let mut written = 0;
        while written < most {
            written += caller.write(&[7; 4096]).unwrap_or(0);
            assert!(feed.step());
            if !feed.pending.is_empty() && caller.write(&[7; 65536]).is_err() {
                break;
            }
        }
        assert!(!feed.pending.is_empty() && feed.pending.len() <= 16384);
        drop(command);
        assert!(!feed.step(), "nobody reads it any more");
    }
}
