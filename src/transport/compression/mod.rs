//! Compressing layers on their way out: gzip and zstd, on several threads, and zstd file by file (`chunked`).
//!
//! Invariant: the bytes depend on the input, the algorithm and the level, never on the number of threads or on how the input is
//! cut into writes; a layer pushed from two machines is one blob. Memory is bounded by threads × blocks, whatever the layer's size.
//! Must not decompress: that is the store's (`containers_storage::archive`).

pub(super) mod chunked;
mod gzip;
mod stored;
mod zstandard;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// How blobs can be compressed that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Algorithm {
    /// The word of `--compression-format`, and the ending of OCI media types.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a compression cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethod {
    /// No such algorithm.
    #[error("cannot find compressor for {0:?}: gzip, zstd and zstd:chunked are written")]
    Unknown(String),
    /// A level that the algorithm does not have.
    #[error("{}: invalid compression level: {level} (from 0 to {most}, or -1 for the usual one)", .algorithm.name())]
    Level {
        /// The algorithm.
        algorithm: Algorithm,
        /// What was asked for.
        level: i32,
        /// Its highest level.
        most: i32,
    },
}

/// An algorithm at a level that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    algorithm: Algorithm,
    level: i32,
    layout: Layout,
}

/// How a layer lies in its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// In one piece.
    #[default]
    Whole,
    /// Each file by itself, with a table of contents behind (`zstd:chunked`).
    Chunked,
}

impl Method {
    /// `algorithm` at `level`; without one at its usual level (gzip 3, zstd 3). gzip has levels from 0, which only stores, to 9, and
    /// -1 for the usual one; zstd those from 1 to 20, as `--compression-level` of the other tools; of zstd any other number stands for the
    /// nearest, as there.
    pub fn new(algorithm: Algorithm, level: Option<i32>) -> Result<Self, InvalidMethod> {
        let (usual, most) = match algorithm {
            // On the files of usual images this makes what is as long as what containers/image writes; level 6 takes 40 % longer to save 3 %.
            Algorithm::Gzip => (3, 9),
            Algorithm::Zstd => (3, 20),
        };
        match level {
            None => Ok(Self { algorithm, level: usual, layout: Layout::Whole }),
            Some(level) if algorithm == Algorithm::Zstd => {
                Ok(Self { algorithm, level: level.clamp(1, most), layout: Layout::Whole })
            }
            Some(-1) => Ok(Self { algorithm, level: usual, layout: Layout::Whole }),
            Some(level) if (0..=most).contains(&level) => Ok(Self { algorithm, level, layout: Layout::Whole }),
            Some(level) => Err(InvalidMethod::Level { algorithm, level, most }),
        }
    }

    /// zstd:chunked at `level`, one of zstd's.
    pub fn chunked(level: Option<i32>) -> Result<Self, InvalidMethod> {
        Ok(Self { layout: Layout::Chunked, ..Self::new(Algorithm::Zstd, level)? })
    }

    /// The one that a word of `--compression-format` means.
    pub fn named(word: &str, level: Option<i32>) -> Result<Self, InvalidMethod> {
        match word {
            "gzip" => Self::new(Algorithm::Gzip, level),
            "zstd" => Self::new(Algorithm::Zstd, level),
            "zstd:chunked" => Self::chunked(level),
            _ => Err(InvalidMethod::Unknown(word.to_owned())),
        }
    }

    /// The same in one piece.
    pub fn whole(self) -> Self {
        Self { layout: Layout::Whole, ..self }
    }

    /// How a layer lies in its blob.
    pub fn layout(self) -> Layout {
        self.layout
    }

    /// The algorithm.
    pub fn algorithm(self) -> Algorithm {
        self.algorithm
    }
}

/// More threads than this gain little beside one SHA-256, and each costs memory.
const MOST_THREADS: usize = 8;

/// As many threads as the machine lets this process use at once, within reason.
pub fn usual_threads() -> NonZeroUsize {
    let available = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(available.min(MOST_THREADS)).unwrap_or(NonZeroUsize::MIN)
}

/// Threads that are taken by [`Share`]s.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Compressors that work now.
static WORKING: Mutex<usize> = Mutex::new(0);
/// Told when one of them has ended.
static ENDED: Condvar = Condvar::new();
/// More at once than this would only hold memory: each of them works on all cores.
const MOST_AT_ONCE: usize = 3;

/// The right to compress, and the threads for it: as many as are left, but for some for who comes next, and at least one. So the memory
/// of all compressors is that of a few, however many layers move at once (`image_parallel_copies`).
#[derive(Debug)]
pub(super) struct Share(NonZeroUsize);

impl Share {
    /// A share for `method`, where `at_once` compressors may be wanted. Waits until others have ended, if there are many: whoever has one
    /// must not wait for another.
    pub(super) fn take(method: Method, at_once: usize) -> Self {
        let usual = usual_threads();
        let most = usual.get().min(MOST_AT_ONCE);
        let working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
        *ENDED.wait_while(working, |working| *working >= most).unwrap_or_else(PoisonError::into_inner) += 1;
        let left = usual.get().saturating_sub(TAKEN.load(Ordering::Relaxed));
        let threads = match method.algorithm {
            // Its threads share what they hold among themselves.
            Algorithm::Gzip => usual,
            Algorithm::Zstd if at_once <= 1 => usual,
            Algorithm::Zstd => NonZeroUsize::new(left.div_ceil(2)).unwrap_or(NonZeroUsize::MIN),
        };
        TAKEN.fetch_add(threads.get(), Ordering::Relaxed);
        Self(threads)
    }

    /// How many they are.
    pub(super) fn threads(&self) -> NonZeroUsize {
        self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0.get(), Ordering::Relaxed);
        *WORKING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// Compresses what is written to it into `W`. The stream is complete only after [`Compressor::finish`].
pub struct Compressor<W: Write> {
    encoder: Encoder<W>,
}

enum Encoder<W: Write> {
    Gzip(Box<gzip::Encoder<W>>),
    Zstd(::zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Starts a stream. `threads` of one works in the caller's own thread.
    pub fn new(method: Method, threads: NonZeroUsize, sink: W) -> io::Result<Self> {
        let encoder = match method.algorithm {
            Algorithm::Gzip => Encoder::Gzip(Box::new(gzip::Encoder::new(method.level, threads, sink)?)),
            Algorithm::Zstd => Encoder::Zstd(zstandard::encoder(method.level, threads, sink)?),
        };
        Ok(Self { encoder })
    }

    /// Ends the stream and gives the sink back.
    pub fn finish(self) -> io::Result<W> {
        match self.encoder {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: to flush would cut the stream at a place that depends on the caller.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
