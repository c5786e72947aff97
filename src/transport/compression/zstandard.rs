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
/// The largest window as a power of two: 4 MiB. Every decoder must accept twice as much (RFC 8878, section 3.1.1.1.2); what it would save is
/// less than the tables for it cost.
const MOST_WINDOW_LOG: u32 = 22;
/// From this level on the library takes larger windows by itself.
const FIRST_LEVEL_WITH_LARGE_WINDOW: i32 = 17;
/// The largest of the two tables that matches are looked up in, as powers of two of 4-byte entries: 16 MiB each. A job sees no more than a
/// window and itself, so that larger ones would stay empty for the most part: at level 15 twice as much saves nothing that can be measured.
const MOST_TABLE_LOG: u32 = 22;
/// From this level on the library takes larger tables by itself, up to 64 MiB at level 19 and 128 at level 20.
const FIRST_LEVEL_WITH_LARGE_TABLES: i32 = 12;

/// An encoder into `sink` that writes one frame with a checksum.
pub(super) fn encoder<W: Write>(level: i32, threads: NonZeroUsize, sink: W) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(sink, level)?;
    for parameter in parameters(level) {
        encoder.set_parameter(parameter)?;
    }
    encoder.multithread(u32::try_from(threads.get().min(most_threads(level))).unwrap_or(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    Ok(encoder)
}

/// What bounds memory, whatever the level, and a checksum for each frame.
pub(super) fn parameters(level: i32) -> Vec<CParameter> {
    let mut parameters = vec![CParameter::ChecksumFlag(true)];
    if level >= FIRST_LEVEL_WITH_LARGE_WINDOW {
        parameters.push(CParameter::WindowLog(MOST_WINDOW_LOG));
    }
    if level >= FIRST_LEVEL_WITH_LARGE_TABLES {
        // The parsers of these levels hold more beside the tables.
        let hash = if level >= FIRST_LEVEL_WITH_LARGE_WINDOW { MOST_TABLE_LOG - 1 } else { MOST_TABLE_LOG };
        parameters.extend([CParameter::HashLog(hash), CParameter::ChainLog(MOST_TABLE_LOG)]);
    }
    parameters
}

/// As many threads as keep what all of them hold below 48 MiB, or 56 from level 12 on. Each has tables of its own, which grow with the level (`ZSTD_defaultCParameters`
/// in clevels.h): 1 MiB at level 3, 6 at 7, 12 at 9, 32 from level 12 on, where they are bounded, and 24 from 17 on.
fn most_threads(level: i32) -> usize {
    match level {
        ..=4 => 8,
        5 | 6 => 5,
        7 | 8 => 4,
        9 => 2,
        _ => 1,
    }
}
