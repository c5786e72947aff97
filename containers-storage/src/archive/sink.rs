//! Where the bytes of a tar stream go: SHA-256, length, tar-split, and perhaps a writer, on a thread of its own.
//!
//! Invariant: bytes travel in a fixed number of buffers (`BUFFERS` of `BUFFER` bytes) that come back when they are used up, so
//! that memory is bounded whatever is faster, and nothing is copied between the threads.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use sha2::{Digest as _, Sha256};

use super::Error;
use super::reader::Span;
use crate::{Digest, tar_split};

/// Length of a buffer in bytes: large against the cost of handing it over, small against the second-level cache.
pub(crate) const BUFFER: usize = 256 << 10;
/// Buffers between two threads.
pub(crate) const BUFFERS: usize = 8;

/// A full buffer, and the members whose content begins in it.
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) members: Vec<(Vec<u8>, Span)>,
}

/// Whether the sink computes a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Compute,
    /// Somebody else hashes the same bytes.
    Skip,
}

/// What the sink does with the bytes.
pub(crate) struct Outputs<'a> {
    pub(crate) hash: Hash,
    pub(crate) tar: Option<&'a mut (dyn Write + Send)>,
    pub(crate) tar_split: Option<&'a mut (dyn Write + Send)>,
}

/// What the sink found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// SHA-256 of the stream: the diff ID.
    pub(crate) digest: Option<Digest>,
    /// Its length in bytes.
    pub(crate) size: u64,
}

/// The work of the sink's thread: takes chunks until the sender is gone, gives the buffers back through `free`.
pub(crate) fn drain(chunks: Receiver<Chunk>, free: Sender<Vec<u8>>, outputs: Outputs<'_>) -> Result<Summary, Error> {
    let mut sha = Sha256::new();
    let mut size: u64 = 0;
    let mut tar = outputs.tar;
    let mut split = outputs.tar_split.map(tar_split::Writer::compressed);
    for chunk in chunks {
        let bytes = &chunk.bytes[..chunk.length];
        size += bytes.len() as u64;
        if let Some(split) = &mut split {
            for (name, span) in chunk.members {
                split.member(name, span);
            }
            split.feed(bytes).map_err(Error::Write)?;
        }
        if let Some(tar) = &mut tar {
            tar.write_all(bytes).map_err(Error::Write)?;
        }
        if outputs.hash == Hash::Compute {
            sha.update(bytes);
        }
        // Nobody waits for it any more when the producer is done.
        let _ = free.send(chunk.bytes);
    }
    if let Some(split) = split {
        split.complete().and_then(Write::flush).map_err(Error::Write)?;
    }
    if let Some(tar) = tar {
        tar.flush().map_err(Error::Write)?;
    }
    let digest = (outputs.hash == Hash::Compute).then(|| Digest::from_sha256(sha.finalize().into()));
    Ok(Summary { digest, size })
}

/// The producer's end: a buffer being filled, and the way of full ones to the sink.
pub(crate) struct Feed {
    bytes: Vec<u8>,
    length: usize,
    members: Vec<(Vec<u8>, Span)>,
    offset: u64,
    allocated: usize,
    chunks: SyncSender<Chunk>,
    free: Receiver<Vec<u8>>,
}

/// The two ends of a new connection: a feed, and what `drain` takes.
pub(crate) fn connect() -> (Feed, Receiver<Chunk>, Sender<Vec<u8>>) {
    let (chunks, received) = sync_channel(BUFFERS);
    let (give_back, free) = channel();
    let feed = Feed { bytes: vec![0; BUFFER], length: 0, members: Vec::new(), offset: 0, allocated: 1, chunks, free };
    (feed, received, give_back)
}

impl Feed {
    /// The content of the member `name`, `size` bytes long, begins here.
    pub(crate) fn member(&mut self, name: Vec<u8>, size: u64) {
        self.members.push((name, Span { offset: self.offset, size }));
    }

    /// Room for the next bytes, never empty. What was put there is announced with `filled`.
    pub(crate) fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.length == self.bytes.len() {
            self.send()?;
            self.bytes = self.fresh()?;
        }
        Ok(&mut self.bytes[self.length..])
    }

    /// The first `length` bytes of the room are now part of the stream; they are returned.
    pub(crate) fn filled(&mut self, length: usize) -> &[u8] {
        let start = self.length;
        self.length = (start + length).min(self.bytes.len());
        self.offset += (self.length - start) as u64;
        &self.bytes[start..self.length]
    }

    /// Appends `bytes`.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let length = room.len().min(bytes.len());
            room[..length].copy_from_slice(&bytes[..length]);
            self.filled(length);
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Appends `count` zero bytes.
    pub(crate) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let room = self.room()?;
            let length = usize::try_from(count).map_or(room.len(), |count| room.len().min(count));
            room[..length].fill(0);
            self.filled(length);
            count -= length as u64;
        }
        Ok(())
    }

    /// Sends what is left. The sink ends after it.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = Chunk {
            bytes: std::mem::take(&mut self.bytes),
            length: std::mem::take(&mut self.length),
            members: std::mem::take(&mut self.members),
        };
        self.chunks.send(chunk).map_err(|_| sink_gone())
    }

    fn fresh(&mut self) -> io::Result<Vec<u8>> {
        if let Ok(buffer) = self.free.try_recv() {
            return Ok(buffer);
        }
        if self.allocated < BUFFERS {
            self.allocated += 1;
            return Ok(vec![0; BUFFER]);
        }
        self.free.recv().map_err(|_| sink_gone())
    }
}

/// The cause among both ends' results: a producer that found the sink gone is not to blame, and a sink that got half a stream
/// complains only because of the producer.
pub(crate) fn cause<T>(produced: Result<T, Error>, drained: Result<Summary, Error>) -> Result<(T, Summary), Error> {
    match (produced, drained) {
        (Ok(found), Ok(summary)) => Ok((found, summary)),
        (Ok(_), Err(error)) => Err(error),
        (Err(Error::Read(source) | Error::Write(source)), Err(error)) if source.kind() == io::ErrorKind::BrokenPipe => {
            Err(error)
        }
        (Err(error), _) => Err(error),
    }
}

/// The sink stopped before the producer did. Its own error says why and takes precedence.
pub(crate) fn sink_gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the thread that writes the archive has stopped")
}
