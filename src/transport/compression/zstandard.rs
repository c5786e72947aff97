//! zstd frames by the reference library, whose own threads cut the input at fixed places.
//!
//! Invariant: also with one thread the library's multi-threaded mode is used; its other mode gives other bytes.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

/// Bytes of input that one thread works on; fixed, since it decides where the stream is cut. Each thread holds about four times as
/// much beside its tables. Twice the length would save 0.05 % of a usual layer, half of it would cost 0.3 %.
const JOB_BYTES: u32 = 1 << 20;
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
    encoder.multithread(u32::try_from(threads.get().min(most_threads(level))).unwrap_or(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    Ok(encoder)
}

/// As many threads as keep what all of them hold below 48 MiB. Each has tables of its own, which grow with the level (`ZSTD_defaultCParameters`
/// in clevels.h): 1 MiB at level 3, 6 at 7, 12 at 9. From level 12 on those of a single thread are larger than that.
fn most_threads(level: i32) -> usize {
    match level {
        ..=4 => 8,
        5 | 6 => 5,
        7 | 8 => 4,
        9 => 2,
        _ => 1,
    }
}
