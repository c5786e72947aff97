//! Any input comes back from other people's decoders, and the bytes do not depend on threads or writes.

use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::{Algorithm, Compressor, InvalidMethod, MOST_AT_ONCE, Method, Share, usual_threads};

const MIB: usize = 1 << 20;

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn compress(method: Method, count: usize, writes: &[&[u8]]) -> Vec<u8> {
    let mut compressor = Compressor::new(method, threads(count), Vec::new()).unwrap();
    for bytes in writes {
        compressor.write_all(bytes).unwrap();
        compressor.flush().unwrap();
    }
    compressor.finish().unwrap()
}

fn decompress(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match algorithm {
        // Exactly one member: what follows it would be left over.
        Algorithm::Gzip => {
            let mut decoder = flate2::bufread::GzDecoder::new(bytes);
            decoder.read_to_end(&mut plain).unwrap();
            assert_eq!(decoder.into_inner(), b"");
        }
        Algorithm::Zstd => plain = zstd::stream::decode_all(bytes).unwrap(),
    }
    plain
}

/// Bytes that compress like files do: runs, repetitions near and far, and noise.
fn sample(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 4096);
    while bytes.len() < length {
        let run = (random() % 3000) as usize + 1;
        match random() % 4 {
            0 => bytes.resize(bytes.len() + run, (random() % 256) as u8),
            1 => bytes.extend((0..run).map(|_| (random() % 256) as u8)),
            _ if bytes.is_empty() => bytes.push(7),
            _ => {
                let start = (random() as usize) % bytes.len();
                let end = (start + run).min(bytes.len());
                bytes.extend_from_within(start..end);
            }
        }
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn lengths_about_a_block_come_back_whatever_the_threads() {
    for algorithm in [Algorithm::Gzip, Algorithm::Zstd] {
        let method = Method::new(algorithm, Some(1)).unwrap();
        for length in [0, 1, 5, 32 << 10, MIB - 1, MIB, MIB + 1, 4 * MIB, 9 * MIB + 17] {
            let plain = sample(length, length as u64);
            let one = compress(method, 1, &[&plain]);
            assert!(decompress(algorithm, &one) == plain, "{algorithm:?}, {length} bytes");
            for count in [2, 8] {
                assert!(compress(method, count, &[&plain]) == one, "{algorithm:?}, {length} bytes, {count} threads");
            }
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_how_the_input_is_cut() {
    let plain = sample(5 * MIB + 99, 3);
    for algorithm in [Algorithm::Gzip, Algorithm::Zstd] {
        let method = Method::new(algorithm, None).unwrap();
        let whole = compress(method, 3, &[&plain]);
        for size in [4093, 70_001, MIB] {
            let writes: Vec<&[u8]> = plain.chunks(size).collect();
            assert!(compress(method, 2, &writes) == whole, "{algorithm:?} in writes of {size}");
        }
    }
}

/// Bytes without any order.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

#[test]
fn noise_among_files_comes_back_and_stays_as_long_as_it_is() {
    let text = sample(MIB / 2, 5);
    let random = noise(3 * MIB + 5);
    // Noise that has been there before, near enough to be found, is none.
    let again = noise(20_000).repeat(60);
    for plain in [random.clone(), [text.as_slice(), &random, &text, &again].concat(), [&random[..], &text].concat()] {
        for level in [1, 6, 9] {
            let method = Method::new(Algorithm::Gzip, Some(level)).unwrap();
            let one = compress(method, 1, &[&plain]);
            assert!(decompress(Algorithm::Gzip, &one) == plain, "level {level}");
            assert!(compress(method, 3, &[&plain]) == one, "level {level}");
            assert!(one.len() <= plain.len() + plain.len() / 1000, "level {level}: {} of {}", one.len(), plain.len());
        }
    }
    let method = Method::new(Algorithm::Gzip, None).unwrap();
    assert!(compress(method, 1, &[&again]).len() < again.len() / 20);
}

#[test]
fn every_level_comes_back_and_the_highest_is_smaller_than_the_lowest() {
    let plain = sample(3 * MIB, 11);
    for (algorithm, most) in [(Algorithm::Gzip, 9), (Algorithm::Zstd, 20)] {
        let sizes: Vec<usize> = (0..=most)
            .map(|level| {
                let bytes = compress(Method::new(algorithm, Some(level)).unwrap(), 2, &[&plain]);
                assert!(decompress(algorithm, &bytes) == plain, "{algorithm:?} at level {level}");
                bytes.len()
            })
            .collect();
        assert!(sizes.last() < sizes.first(), "{algorithm:?}: {sizes:?}");
    }
}

#[test]
fn levels_and_algorithms_that_do_not_exist_are_refused() {
    let level = |algorithm, level| Method::new(algorithm, Some(level)).unwrap_err().to_string();
    assert_eq!(level(Algorithm::Gzip, 10), "gzip: invalid compression level: 10 (from 0 to 9, or -1 for the usual one)");
    assert!(level(Algorithm::Gzip, -2).contains("invalid compression level: -2"));
    assert_eq!(Method::new(Algorithm::Gzip, Some(-1)), Method::new(Algorithm::Gzip, None));
    for (level, nearest) in [(22, 20), (0, 1)] {
        assert_eq!(Method::new(Algorithm::Zstd, Some(level)), Method::new(Algorithm::Zstd, Some(nearest)));
    }
    assert_eq!(Method::named("xz", None), Err(InvalidMethod::Unknown("xz".to_owned())));
    assert_eq!(Method::named("zstd:chunked", Some(7)), Method::chunked(Some(7)));
    assert_eq!(Method::named("zstd", None), Method::new(Algorithm::Zstd, None));
}

#[test]
fn a_sink_that_fails_ends_the_stream() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let plain = sample(40 * MIB, 5);
    for algorithm in [Algorithm::Gzip, Algorithm::Zstd] {
        let mut compressor = Compressor::new(Method::new(algorithm, Some(1)).unwrap(), threads(4), Full(MIB)).unwrap();
        let error = compressor.write_all(&plain).expect_err("the sink is full");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{algorithm:?}");
    }
}

/// How much memory (bytes, `VmHWM` of proc(5)) a process of its own takes more for compressing 48 MiB that do not become shorter than for
/// making them: then every buffer is filled.
fn memory_of(algorithm: Algorithm, level: Option<i32>, count: usize) -> u64 {
    const IS_CHILD: &str = "CORACLE_TEST_COMPRESSES";
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    let wanted = format!("{algorithm:?} {level:?} {count}");
    match std::env::var(IS_CHILD) {
        Err(_) => {
            let result = tempfile::NamedTempFile::new().unwrap();
            let name = std::thread::current().name().unwrap().to_owned();
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", &name]).env(IS_CHILD, format!("{wanted} > {}", result.path().display()));
            assert!(child.output().unwrap().status.success(), "{wanted}");
            std::fs::read_to_string(result.path()).unwrap().parse().unwrap()
        }
        Ok(chosen) if chosen.starts_with(&format!("{wanted} > ")) => {
            let result = chosen.split_once(" > ").unwrap().1;
            let plain: Vec<u8> = (0..8 * MIB as u64 / 8)
                .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).to_le_bytes())
                .collect();
            let before = peak();
            let method = Method::new(algorithm, level).unwrap();
            let mut compressor = Compressor::new(method, threads(count), std::io::sink()).unwrap();
            // Further apart than any window here reaches, but for the first pieces of each round. The high levels take seconds a round,
            // which is twice their window.
            let rounds = if level.is_some_and(|level| level >= 12) { 1 } else { 6 };
            (0..rounds).for_each(|_| compressor.write_all(&plain).unwrap());
            compressor.finish().unwrap();
            std::fs::write(result, (peak() - before).to_string()).unwrap();
            0
        }
        Ok(_) => 0,
    }
}

#[test]
fn memory_is_bounded_however_many_threads_there_are() {
    // The highest level of each number of threads.
    let cases = [
        (Algorithm::Gzip, None),
        (Algorithm::Zstd, None),
        (Algorithm::Zstd, Some(6)),
        (Algorithm::Zstd, Some(8)),
        (Algorithm::Zstd, Some(9)),
        // One thread, with the largest tables and the largest window.
        (Algorithm::Zstd, Some(15)),
        (Algorithm::Zstd, Some(20)),
    ];
    for (algorithm, level) in cases {
        let grown = memory_of(algorithm, level, 8);
        let most = if level.is_some_and(|level| level >= 12) { 56 } else { 48 };
        assert!(grown < most << 20, "{algorithm:?} at level {level:?}: {grown} bytes");
    }
}

#[test]
fn compressors_at_work_at_once_share_threads_and_memory() {
    let zstd = Method::new(Algorithm::Zstd, None).unwrap();
    let most = usual_threads().get().min(MOST_AT_ONCE);
    let mut shares: Vec<Share> = (0..most).map(|_| Share::take(zstd, 4)).collect();
    let threads: usize = shares.iter().map(|share| share.threads().get()).sum();
    assert!(threads <= usual_threads().get().max(most), "{shares:?}");
    let next = std::thread::spawn(move || Share::take(zstd, 4).threads());
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!next.is_finished(), "it waits until one of them ends");
    shares.pop();
    next.join().unwrap();
    drop(shares);
    assert_eq!(Share::take(zstd, 1).threads(), usual_threads());
    let gzip = Method::new(Algorithm::Gzip, None).unwrap();
    let plain = sample(9 * MIB, 5);
    let alone = compress(gzip, 4, &[&plain]);
    std::thread::scope(|scope| {
        let together: Vec<_> = (0..6).map(|_| scope.spawn(|| compress(gzip, 4, &[&plain]))).collect();
        assert!(together.into_iter().all(|thread| thread.join().unwrap() == alone));
    });
}

/// The tools of the machine read what we write. A machine without one has the decoders above.
#[test]
fn the_programs_gzip_and_zstd_read_it() {
    let plain = sample(3 * MIB + 1, 23);
    for algorithm in [Algorithm::Gzip, Algorithm::Zstd] {
        let bytes = compress(Method::new(algorithm, None).unwrap(), 4, &[&plain]);
        let program = Command::new(algorithm.name()).arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = program else { continue };
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success() && output.stdout == plain, "{algorithm:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_input_comes_back_with_equal_bytes_from_one_and_eight_threads(
        head in proptest::collection::vec(any::<u8>(), 0..2000),
        length in 0..3 * MIB,
        seed in any::<u64>(),
        level in 1..=9,
    ) {
        let mut plain = head;
        plain.extend(sample(length, seed));
        for algorithm in [Algorithm::Gzip, Algorithm::Zstd] {
            let method = Method::new(algorithm, Some(level)).unwrap();
            let one = compress(method, 1, &[&plain]);
            prop_assert!(decompress(algorithm, &one) == plain);
            prop_assert!(compress(method, 8, &[&plain]) == one);
        }
    }
}
