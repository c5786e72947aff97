//! gzip on several threads (RFC 1951, RFC 1952).
//!
//! ```text
//! input   │ block 0 (1 MiB)      │ block 1              │ … │ last block │
//!         └ no dictionary        └ last 32 KiB of 0         └ …
//! output  header │ deflate, sync flush │ deflate, sync flush │ … │ deflate, final │ CRC-32, length
//! ```
//!
//! Each block is a deflate stream of its own that knows the end of the block before it, so that matches reach across; a sync flush
//! ends it at a byte, so that the pieces join to one stream. The checksums of the blocks are combined. A block that deflate could not make
//! smaller is `stored` instead.
//!
//! Invariant: blocks are cut at multiples of [`BLOCK`] and joined in their order, whoever compressed them. All encoders of the process
//! together hold as many blocks as one may, and each at least one.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crc_fast::CrcAlgorithm::Crc32IsoHdlc;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::stored::{self, Last};

/// Bytes of input in one block.
const BLOCK: usize = 1 << 20;
/// How far back a deflate stream can refer, in bytes.
const WINDOW: usize = 32 << 10;
/// Blocks that are on their way, for each thread: one in work, one waiting.
const BLOCKS_PER_THREAD: usize = 2;
/// Buffers that an encoder keeps to use them again.
const MOST_SPARE: usize = 1;

/// Blocks that are on their way in all encoders: several layers are compressed at once.
static ON_THE_WAY: AtomicUsize = AtomicUsize::new(0);

/// One block to compress.
struct Block {
    bytes: Vec<u8>,
    /// The end of the block before.
    dictionary: Vec<u8>,
    flush: FlushCompress,
}

/// One block compressed.
struct Piece {
    bytes: Vec<u8>,
    /// CRC-32 of the block.
    checksum: u64,
    /// The block's own buffer, to be used again; its length is the block's.
    buffer: Vec<u8>,
}

/// Writes one gzip member into `W`.
pub(super) struct Encoder<W: Write> {
    sink: W,
    workers: Workers,
    /// The block that is being filled.
    current: Vec<u8>,
    /// The end of the block before it.
    dictionary: Vec<u8>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    /// CRC-32 of what was written to the sink.
    checksum: u64,
    /// Its length before compression, in bytes.
    length: u64,
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(level: i32, threads: NonZeroUsize, mut sink: W) -> io::Result<Self> {
        let level = u32::try_from(level).unwrap_or(6);
        sink.write_all(&header(level))?;
        Ok(Self {
            sink,
            workers: Workers::start(level, threads)?,
            current: Vec::with_capacity(BLOCK),
            dictionary: Vec::new(),
            spare: Vec::new(),
            checksum: crc_fast::checksum(Crc32IsoHdlc, b""),
            length: 0,
        })
    }

    /// Ends the member and gives the sink back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.dispatch(FlushCompress::Finish)?;
        while let Some(piece) = self.workers.next_piece() {
            self.write_piece(piece?)?;
        }
        // Both are modulo 2^32 (RFC 1952, section 2.3.1).
        for number in [self.checksum, self.length] {
            self.sink.write_all(&number.to_le_bytes()[..4])?;
        }
        Ok(self.sink)
    }

    /// Sends the current block off, after making room for it.
    fn dispatch(&mut self, flush: FlushCompress) -> io::Result<()> {
        while self.workers.are_busy() {
            if let Some(piece) = self.workers.next_piece() {
                self.write_piece(piece?)?;
            }
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK));
        let bytes = std::mem::replace(&mut self.current, next);
        let tail = bytes[bytes.len().saturating_sub(WINDOW)..].to_vec();
        let dictionary = std::mem::replace(&mut self.dictionary, tail);
        self.workers.submit(Block { bytes, dictionary, flush })
    }

    fn write_piece(&mut self, mut piece: Piece) -> io::Result<()> {
        self.sink.write_all(&piece.bytes)?;
        let length = piece.buffer.len() as u64;
        self.checksum = crc_fast::checksum_combine(Crc32IsoHdlc, self.checksum, piece.checksum, length);
        self.length += length;
        if self.spare.len() < MOST_SPARE {
            piece.buffer.clear();
            self.spare.push(piece.buffer);
        }
        Ok(())
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == BLOCK {
            self.dispatch(FlushCompress::Sync)?;
        }
        let taken = bytes.len().min(BLOCK - self.current.len());
        self.current.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The member's header: no name, no time, and "unknown" for the system, so that it says nothing about who made it.
fn header(level: u32) -> [u8; 10] {
    let extra_flags = match level {
        9 => 2,
        1 => 4,
        _ => 0,
    };
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra_flags, 255]
}

/// The threads, and the pieces that they owe in the order of their blocks. Without threads the caller does the work.
struct Workers {
    jobs: Option<Sender<(Block, Sender<io::Result<Piece>>)>>,
    threads: Vec<JoinHandle<()>>,
    owed: VecDeque<Receiver<io::Result<Piece>>>,
    own: Deflate,
    most_owed: usize,
}

impl Workers {
    fn start(level: u32, threads: NonZeroUsize) -> io::Result<Self> {
        let most_owed = threads.get() * BLOCKS_PER_THREAD;
        let mut workers = Self { jobs: None, threads: Vec::new(), owed: VecDeque::new(), own: Deflate::new(level), most_owed };
        if threads.get() > 1 {
            let (jobs, queue) = mpsc::channel();
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..threads.get() {
                let queue = Arc::clone(&queue);
                let name = std::thread::Builder::new().name("gzip".to_owned());
                workers.threads.push(name.spawn(move || work(level, &queue))?);
            }
            workers.jobs = Some(jobs);
        }
        Ok(workers)
    }

    fn are_busy(&self) -> bool {
        // Who holds no block gets one in any case, so that nobody waits for others.
        self.owed.len() >= self.most_owed || !self.owed.is_empty() && ON_THE_WAY.load(Ordering::Relaxed) >= self.most_owed
    }

    fn submit(&mut self, block: Block) -> io::Result<()> {
        let (answer, piece) = mpsc::channel();
        self.owed.push_back(piece);
        ON_THE_WAY.fetch_add(1, Ordering::Relaxed);
        let Some(jobs) = &self.jobs else {
            return answer.send(self.own.compress(block)).map_err(|_| gone());
        };
        jobs.send((block, answer)).map_err(|_| gone())
    }

    /// The piece of the oldest block; `None` if none is owed.
    fn next_piece(&mut self) -> Option<io::Result<Piece>> {
        let piece = self.owed.pop_front()?;
        ON_THE_WAY.fetch_sub(1, Ordering::Relaxed);
        Some(piece.recv().unwrap_or_else(|_| Err(gone())))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Closing the queue ends the threads.
        self.jobs = None;
        ON_THE_WAY.fetch_sub(self.owed.len(), Ordering::Relaxed);
        self.owed.clear();
        for thread in self.threads.drain(..) {
            // One that panicked has left its piece owing, which was reported.
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("a compressing thread ended early")
}

type Queue = Mutex<Receiver<(Block, Sender<io::Result<Piece>>)>>;

fn work(level: u32, queue: &Queue) {
    let mut deflate = Deflate::new(level);
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok((block, answer)) = job else { return };
        // Nobody waits for the piece any more when the encoder was dropped.
        let _ = answer.send(deflate.compress(block));
    }
}

/// The compressor of one thread.
struct Deflate {
    state: Compress,
    /// Level 0: nothing is compressed.
    stores: bool,
}

impl Deflate {
    fn new(level: u32) -> Self {
        // Without a zlib header: the pieces are joined.
        Self { state: Compress::new(Compression::new(level), false), stores: level == 0 }
    }

    fn compress(&mut self, block: Block) -> io::Result<Piece> {
        let checksum = crc_fast::checksum(Crc32IsoHdlc, &block.bytes);
        let is_stored = if self.stores {
            // A stream does not end with no block at all.
            !block.bytes.is_empty()
        } else {
            stored::is_noise(&block.bytes, |sample| {
                self.deflate(sample, &[], FlushCompress::Sync).ok().map(|bytes| bytes.len())
            })
        };
        let bytes = if is_stored {
            let last = if matches!(block.flush, FlushCompress::Finish) { Last::Yes } else { Last::No };
            stored::store(&block.bytes, last)
        } else {
            self.deflate(&block.bytes, &block.dictionary, block.flush)?
        };
        Ok(Piece { bytes, checksum, buffer: block.bytes })
    }

    fn deflate(&mut self, plain: &[u8], dictionary: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
        self.state.reset();
        if !dictionary.is_empty() {
            self.state.set_dictionary(dictionary)?;
        }
        // Room for the worst case at once: with less than six bytes left over, a flush would leave its mark twice (zlib.h, deflate).
        let mut bytes = Vec::with_capacity(plain.len() + plain.len() / 8 + 1024);
        loop {
            let consumed = usize::try_from(self.state.total_in()).map_err(io::Error::other)?;
            let rest = plain.get(consumed..).unwrap_or_default();
            let status = self.state.compress_vec(rest, &mut bytes, flush)?;
            let is_consumed = self.state.total_in() == plain.len() as u64;
            let is_flushed = bytes.len() < bytes.capacity();
            match (flush, status) {
                (FlushCompress::Finish, Status::StreamEnd) => break,
                (FlushCompress::Sync, _) if is_consumed && is_flushed => break,
                _ => bytes.reserve(WINDOW),
            }
        }
        Ok(bytes)
    }
}
