//! A stream that a thread writes and another one reads.
//!
//! Invariant: memory is bounded; an error of the writer is the reader's last answer; a reader that goes away ends the writer.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// Bytes of one piece.
const PIECE: usize = 256 << 10;
/// Pieces on the way.
const PIECES: usize = 4;

type Piece = io::Result<Vec<u8>>;

/// What `write` writes, as a stream. It runs in a thread of its own.
pub(super) fn stream(
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    let (to, from) = sync_channel::<Piece>(PIECES);
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || fill(to, write))?;
    Ok(Box::new(Reader { from, piece: Vec::new(), at: 0, ended: false }))
}

/// The same for what ends with `scope`.
pub(super) fn scoped<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'scope,
) -> io::Result<Box<dyn Read + Send>> {
    let (to, from) = sync_channel::<Piece>(PIECES);
    std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, move || fill(to, write))?;
    Ok(Box::new(Reader { from, piece: Vec::new(), at: 0, ended: false }))
}

/// Sends what `write` writes, and how it ended.
fn fill(to: SyncSender<Piece>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let mut writer = Writer { to: to.clone(), piece: Vec::with_capacity(PIECE) };
    let written = write(&mut writer).and_then(|()| writer.flush());
    // Nobody may be there any more to hear it.
    let _ = to.send(written.map(|()| Vec::new()));
}

struct Writer {
    to: SyncSender<Piece>,
    piece: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.to.send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Reader {
    from: Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended {
            // An empty piece is the end; a thread that is gone without one has panicked.
            let gone = |_| io::Error::other("the thread that made the stream has failed");
            self.piece = self.from.recv().map_err(gone)??;
            self.at = 0;
            self.ended = self.piece.is_empty();
        }
        let length = into.len().min(self.piece.len() - self.at);
        into[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_arrive_and_so_does_the_error() {
        let mut all = Vec::new();
        let data: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let sent = data.clone();
        stream("t", move |to| to.write_all(&sent)).unwrap().read_to_end(&mut all).unwrap();
        assert!(all == data);
        all.clear();
        let broken = stream("t", |to| {
            to.write_all(b"abc")?;
            Err(io::Error::other("broken"))
        });
        assert_eq!(broken.unwrap().read_to_end(&mut all).unwrap_err().to_string(), "broken");
        assert_eq!(all, b"");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_writer() {
        let (done, ended) = sync_channel(1);
        let mut reader = stream("t", move |to| {
            let written = to.write_all(&vec![0; 64 << 20]);
            done.send(written.is_err()).map_err(io::Error::other)
        })
        .unwrap();
        reader.read_exact(&mut [0; 10]).unwrap();
        drop(reader);
        assert!(ended.recv_timeout(std::time::Duration::from_secs(5)).unwrap());
    }
}
