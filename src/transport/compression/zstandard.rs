//! zstd frames by the reference library, whose own threads cut the input at fixed places.
//!
//! Invariant: also with one thread the library's multi-threaded mode is used; its other mode gives other bytes.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

/// Bytes of input that one thread works on; fixed, since it decides where the stream is cut. Each thread holds more
/// than ten times as much (57 MiB for two at 2 MiB, 84 at 4 MiB).
const JOB_BYTES: u32 = 2 << 20;
/// The largest window as a power of two: 8 MiB, which every decoder must accept (RFC 8878, section 3.1.1.1.2).
const MOST_WINDOW_LOG: u32 = 23;
/// From this level on the library takes larger windows by itself.
const FIRST_LEVEL_WITH_LARGE_WINDOW: i32 = 20;

/// An encoder into `sink` that writes one frame with a checksum.
pub(super) fn encoder<W: Write>(level: i32, threads: NonZeroUsize, sink: W) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(sink, level)?;
    encoder.include_checksum(true)?;
    if level >= FIRST_LEVEL_WITH_LARGE_WINDOW {
        encoder.set_parameter(CParameter::WindowLog(MOST_WINDOW_LOG))?;
    }
    encoder.multithread(u32::try_from(threads.get()).unwrap_or(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    Ok(encoder)
}
