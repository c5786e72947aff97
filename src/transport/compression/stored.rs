//! Blocks that deflate cannot make smaller: they are found before they are tried, and stored as they are (RFC 1951, section 3.2.4).
//!
//! To search noise for matches takes as long as to compress, and finds none. What a layer holds of archives, pictures and keys is noise.
//!
//! Invariant: what becomes of a block depends on its bytes alone. A stored block begins and ends at a byte. Pure.

/// What is looked at for itself: in each of them all bytes must be as frequent.
const PART: usize = 64 << 10;
/// How much more than that of noise the repetition of bytes may be, as a divisor: of what entropy coding could gain, 0.3 % at most is lost.
const MORE: u64 = 32;
/// A sample that is compressed to less than this part of itself has matches.
const SHRINKS: (usize, usize) = (127, 128);
/// The longest stored block.
const LONGEST: usize = u16::MAX as usize;

/// Whether deflate could do nothing for `bytes`. `compressed` says how long a sample of them becomes.
pub(super) fn is_noise(bytes: &[u8], compressed: impl FnOnce(&[u8]) -> Option<usize>) -> bool {
    if bytes.len() < PART || !bytes.chunks(PART).all(is_even) {
        return false;
    }
    let start = (bytes.len() - PART) / 2;
    let sample = bytes.get(start..start + PART).unwrap_or_default();
    compressed(sample).is_some_and(|length| length >= sample.len() / SHRINKS.1 * SHRINKS.0)
}

/// Whether all bytes are about as frequent. For noise the sum of the squares of their counts is n² / 256 + n.
fn is_even(bytes: &[u8]) -> bool {
    let mut counts = [[0u32; 256]; 2];
    for pair in bytes.chunks(2) {
        for (counts, byte) in counts.iter_mut().zip(pair) {
            counts[usize::from(*byte)] += 1;
        }
    }
    let [even, odd] = counts;
    let squares: u64 = even.iter().zip(odd).map(|(even, odd)| u64::from(even + odd).pow(2)).sum();
    let length = bytes.len() as u64;
    let noise = length * length / 256;
    squares <= noise + noise / MORE + 2 * length
}

/// The blocks of a deflate stream that hold `bytes`; the stream ends with them if they are the `last`.
pub(super) fn store(bytes: &[u8], last: Last) -> Vec<u8> {
    let mut stored = Vec::with_capacity(bytes.len() + (bytes.len() / LONGEST + 1) * 5);
    let mut chunks = bytes.chunks(LONGEST).peekable();
    while let Some(chunk) = chunks.next() {
        let is_final = last == Last::Yes && chunks.peek().is_none();
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        stored.push(u8::from(is_final));
        stored.extend_from_slice(&length.to_le_bytes());
        stored.extend_from_slice(&(!length).to_le_bytes());
        stored.extend_from_slice(chunk);
    }
    stored
}

/// Whether a deflate stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It does.
    Yes,
    /// It goes on at the next byte.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let next = move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn only_noise_is_noise() {
        let stays = |bytes: &[u8]| Some(bytes.len());
        let random = noise(1 << 20);
        assert!(is_noise(&random, stays));
        assert!(!is_noise(&random, |bytes| Some(bytes.len() / 2)), "it has matches");
        assert!(!is_noise(&random, |_| None));
        assert!(!is_noise(&random[..PART - 1], stays), "too short to tell");
        let base64: Vec<u8> = random.iter().map(|byte| b' ' + byte % 64).collect();
        assert!(!is_noise(&base64, stays));
        let mut mixed = random.clone();
        mixed[900_000..904_000].fill(0);
        assert!(!is_noise(&mixed, stays), "zeros in one place");
        for (at, byte) in mixed.iter_mut().enumerate().filter(|(at, _)| at % 16 == 0) {
            *byte = at.to_le_bytes()[2];
        }
        assert!(!is_noise(&mixed, stays), "a column of a table");
    }

    #[test]
    fn what_is_stored_is_inflated_as_it_was() {
        let random = noise(3 * LONGEST + 7);
        for length in [1, LONGEST, LONGEST + 1, 2 * LONGEST, random.len()] {
            let mut stream = store(&random[..length], Last::No);
            stream.extend(store(&random[..length], Last::Yes));
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(stream.as_slice()), &mut plain).unwrap();
            assert!(plain == [&random[..length], &random[..length]].concat(), "{length}");
        }
    }
}
