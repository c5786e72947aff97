//! The stream on its way: one thread reads and decompresses, the caller's understands and writes files, one more hashes and
//! writes the tar-split. Buffers go round.
//!
//! ```text
//! input ─► [inflate] ══ chunks ══► Tap (the tar reader) ══ chunks ══► [sink::drain]
//!              ▲══════════════ empty buffers ══════════════════════════════┘
//! ```

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use super::super::decompress::{Blob, Decompressor};
use super::super::reader::Span;
use super::super::sink::{BUFFER, BUFFERS, Chunk, sink_gone};

/// A piece of the uncompressed stream, or why there is none.
type Piece = io::Result<(Vec<u8>, usize)>;

/// The work of the reading thread. Ends when the stream does, or when nobody takes the pieces any more (`None`).
pub(super) fn inflate(
    mut stream: Decompressor<'_>,
    to: SyncSender<Piece>,
    free: Receiver<Vec<u8>>,
) -> Option<io::Result<Blob>> {
    let mut allocated = 0;
    loop {
        let mut buffer = match free.try_recv() {
            Ok(buffer) => buffer,
            Err(_) if allocated < BUFFERS => {
                allocated += 1;
                vec![0; BUFFER]
            }
            Err(_) => free.recv().ok()?,
        };
        match fill(&mut stream, &mut buffer) {
            Ok(0) => break,
            Ok(length) => to.send(Ok((buffer, length))).ok()?,
            Err(error) => {
                to.send(Err(error)).ok()?;
                return None;
            }
        }
    }
    Some(stream.finish())
}

/// Reads until `buffer` is full or the stream ends.
fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match stream.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Where buffers go when the reader is through with them.
pub(super) enum Onward {
    /// To the sink.
    Sink(SyncSender<Chunk>),
    /// Straight back.
    Back(Sender<Vec<u8>>),
}

/// The stream as the tar reader sees it.
pub(super) struct Tap {
    from: Receiver<Piece>,
    onward: Onward,
    bytes: Vec<u8>,
    length: usize,
    at: usize,
    members: Vec<(Vec<u8>, Span)>,
}

impl Tap {
    pub(super) fn new(from: Receiver<Piece>, onward: Onward) -> Self {
        Self { from, onward, bytes: Vec::new(), length: 0, at: 0, members: Vec::new() }
    }

    /// Tells the sink of a member whose content was not read yet.
    pub(super) fn member(&mut self, name: Vec<u8>, span: Span) {
        self.members.push((name, span));
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let (length, members) = (std::mem::take(&mut self.length), std::mem::take(&mut self.members));
        self.at = 0;
        match &self.onward {
            // The last members of an archive may have no bytes after them.
            Onward::Sink(_) if length == 0 && members.is_empty() => Ok(()),
            Onward::Sink(sink) => sink.send(Chunk { bytes, length, members }).map_err(|_| sink_gone()),
            Onward::Back(free) => {
                let _ = free.send(bytes);
                Ok(())
            }
        }
    }
}

impl BufRead for Tap {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.length {
            if !self.bytes.is_empty() || !self.members.is_empty() {
                self.pass_on()?;
            }
            // A thread that is gone has reached the end; how it ended is asked when it is joined.
            if let Ok(piece) = self.from.recv() {
                (self.bytes, self.length) = piece?;
            }
        }
        Ok(&self.bytes[self.at..self.length])
    }

    fn consume(&mut self, length: usize) {
        self.at = (self.at + length).min(self.length);
    }
}

impl Read for Tap {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
