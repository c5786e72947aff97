//! Compression of an archive, by its first bytes, never by a name or a media type; every decoder is in this process (A35).
//!
//! Invariant: all members, frames and streams of the input are one uncompressed stream; what follows the last of them is an
//! error (A39), and so is an end too early. Memory is bounded whatever the input asks for (A137).

use std::fmt;
use std::io::{self, BufRead, Read};

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// How a blob is compressed. The number is the one in `layers.json` (format section 3.1, `compression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// bzip2, one or more streams.
    Bzip2 = 1,
    /// gzip, one or more members (RFC 1952).
    Gzip = 2,
    /// xz, one or more streams.
    Xz = 3,
    /// Zstandard frames, skippable ones included (RFC 8878); windows up to 128 MiB.
    Zstd = 4,
}

impl Compression {
    /// How many first bytes `detect` wants to see.
    pub const MAGIC_LENGTH: usize = 6;

    /// Recognises the compression of a stream that starts with `first` (fewer bytes than `MAGIC_LENGTH` only if it is that short).
    pub fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }

    /// The number of the format's `compression` member.
    pub fn as_integer(self) -> u8 {
        self as u8
    }
}

impl From<Compression> for crate::layers::Compression {
    fn from(compression: Compression) -> Self {
        Self::from(i64::from(compression.as_integer()))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// Largest zstd window, as a power of two: 128 MiB, what `zstd --long` makes and what other tools accept.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Memory an xz stream may ask for in KiB; `xz -9` needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 192 << 10;
/// How much a compressed archive may become.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// Bytes that any archive may become, however small it is.
    free: u64,
    /// Beyond that, how many times longer than the input the output may be.
    ratio: u64,
}

/// gzip makes nothing more than 1,032 times longer; bzip2, xz and zstd do. Large layers of zeros are honest, so much is free.
const BOUND: Bound = Bound { free: 16 << 30, ratio: 2_000 };

/// Length of the read buffer in bytes.
const INPUT_BUFFER: usize = 256 << 10;

/// A buffered input with the digest and length of what was read from it.
struct Input<'a> {
    input: &'a mut (dyn Read + Send),
    sha: Sha256,
    size: u64,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input<'_> {
    /// The first `count` bytes without taking them; fewer only if the input is shorter.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.end < count {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(length) => self.took(self.end, length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[..self.end.min(count)])
    }

    fn took(&mut self, at: usize, length: usize) {
        self.end = at + length;
        self.sha.update(&self.buffer[at..self.end]);
        self.size += length as u64;
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            let length = self.input.read(&mut self.buffer)?;
            self.start = 0;
            self.took(0, length);
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }
}

impl Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && into.len() >= self.buffer.len() {
            let length = self.input.read(into)?;
            self.sha.update(&into[..length]);
            self.size += length as u64;
            return Ok(length);
        }
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

enum Decoder<'a> {
    Plain(Input<'a>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Input<'a>>>),
    Bzip2(bzip2::bufread::MultiBzDecoder<Input<'a>>),
    Xz(Box<lzma_rust2::XzReader<Input<'a>>>),
    Zstd(zstd::Decoder<'static, Input<'a>>),
}

impl<'a> Decoder<'a> {
    fn new(compression: Compression, input: Input<'a>) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(input),
            Compression::Gzip => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Compression::Bzip2 => Self::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
            Compression::Xz => Self::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(decoder)
            }
        })
    }

    fn input(&mut self) -> &mut Input<'a> {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Bzip2(decoder) => decoder.get_mut(),
            Self::Xz(decoder) => decoder.inner_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

/// The uncompressed stream of an input of any known compression.
pub struct Decompressor<'a> {
    decoder: Decoder<'a>,
    compression: Compression,
    bound: Bound,
    output: u64,
}

/// The compressed side of a stream that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the input as it came.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl<'a> Decompressor<'a> {
    /// Looks at the first bytes of `input`, which waits until they are there.
    pub fn new(input: &'a mut (dyn Read + Send)) -> io::Result<Self> {
        Self::bounded(input, BOUND)
    }

    fn bounded(input: &'a mut (dyn Read + Send), bound: Bound) -> io::Result<Self> {
        let mut input = Input { input, sha: Sha256::new(), size: 0, buffer: vec![0; INPUT_BUFFER], start: 0, end: 0 };
        let compression = Compression::detect(input.peek(Compression::MAGIC_LENGTH)?);
        Ok(Self { decoder: Decoder::new(compression, input)?, compression, bound, output: 0 })
    }

    /// The compression that was recognised.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Digest and length of the input. What is left of it is read first.
    pub fn finish(mut self) -> io::Result<Blob> {
        let input = self.decoder.input();
        loop {
            let length = input.fill_buf()?.len();
            if length == 0 {
                let input = self.decoder.input();
                let sum = std::mem::take(&mut input.sha).finalize();
                return Ok(Blob { digest: Digest::from_sha256(sum.into()), size: input.size });
            }
            input.consume(length);
        }
    }

    /// The end of the uncompressed stream must be the end of the input.
    fn at_end(&mut self) -> io::Result<usize> {
        if self.decoder.input().fill_buf()?.is_empty() {
            return Ok(0);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "something follows the compressed data"))
    }

    fn count(&mut self, length: usize) -> io::Result<usize> {
        self.output += length as u64;
        let Bound { free, ratio } = self.bound;
        let allowed = free.saturating_add(self.decoder.input().size.saturating_mul(ratio));
        if self.output > allowed {
            let text = format!("it would become more than {ratio} times longer, a decompression bomb");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(length)
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let length = match &mut self.decoder {
            Decoder::Plain(input) => return input.read(into),
            Decoder::Gzip(decoder) => decoder.read(into),
            Decoder::Bzip2(decoder) => decoder.read(into),
            Decoder::Xz(decoder) => decoder.read(into),
            Decoder::Zstd(decoder) => decoder.read(into),
        }?;
        if length == 0 { self.at_end() } else { self.count(length) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn all_kinds(data: &[u8]) -> Vec<(Compression, Vec<u8>)> {
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
        bzip2.write_all(data).unwrap();
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
        xz.write_all(data).unwrap();
        vec![
            (Compression::Gzip, gzip(data)),
            (Compression::Bzip2, bzip2.finish().unwrap()),
            (Compression::Xz, xz.finish().unwrap()),
            (Compression::Zstd, zstd::encode_all(data, 1).unwrap()),
        ]
    }

    fn read(mut bytes: &[u8]) -> io::Result<(Compression, Vec<u8>, Blob)> {
        let mut stream = Decompressor::new(&mut bytes)?;
        let mut data = Vec::new();
        stream.read_to_end(&mut data)?;
        Ok((stream.compression(), data, stream.finish()?))
    }

    fn sample() -> Vec<u8> {
        (0..700_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect()
    }

    #[test]
    fn every_kind_by_its_magic() {
        let data = sample();
        for (kind, bytes) in all_kinds(&data) {
            let (found, read, blob) = read(&bytes).unwrap();
            assert_eq!(found, kind);
            assert!(read == data, "{kind}");
            assert_eq!(blob, Blob { digest: Digest::of(&bytes), size: bytes.len() as u64 });
        }
        assert_eq!(read(&data).unwrap().0, Compression::None);
        assert_eq!(read(b"").unwrap().1, b"");
    }

    #[test]
    fn several_members_are_one_stream() {
        for (kind, bytes) in all_kinds(b"hello") {
            let twice = [bytes.clone(), bytes].concat();
            assert_eq!(read(&twice).unwrap().1, b"hellohello", "{kind}");
        }
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd::encode_all(&b"x"[..], 1).unwrap()].concat();
        assert_eq!(read(&skippable).unwrap().1, b"x");
    }

    #[test]
    fn an_early_end_is_an_error() {
        let data = sample();
        for (kind, bytes) in all_kinds(&data) {
            for cut in [7, 20, bytes.len() / 2, bytes.len() - 1] {
                assert!(read(&bytes[..cut]).is_err(), "{kind} cut at {cut}");
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let data = sample();
        for (kind, bytes) in all_kinds(&data) {
            let mut bytes = bytes;
            let middle = bytes.len() / 2;
            for byte in &mut bytes[middle..middle + 16] {
                *byte ^= 0x55;
            }
            // zstd frames of this writer carry no checksum, so that damage may show as other data.
            let damaged = read(&bytes);
            assert!(damaged.is_err() || kind == Compression::Zstd && damaged.unwrap().1 != data, "{kind}");
        }
    }

    #[test]
    fn a_tail_is_an_error() {
        for (kind, bytes) in all_kinds(b"hello") {
            for tail in [&b"x"[..], b"garbage after the end of the stream"] {
                assert!(read(&[&bytes, tail].concat()).is_err(), "{kind}");
            }
        }
    }

    /// How much of `bytes` comes out under a bound.
    fn read_bounded(mut bytes: &[u8], bound: Bound) -> io::Result<u64> {
        io::copy(&mut Decompressor::bounded(&mut bytes, bound)?, &mut io::sink())
    }

    #[test]
    fn a_bomb_is_given_up_at_the_bound() {
        const LENGTH: u64 = 1 << 20;
        for (kind, bytes) in all_kinds(&vec![0; LENGTH as usize]) {
            let input = bytes.len() as u64;
            // Exactly what is allowed comes out, and not a byte more: by what is free, and by the length of the input.
            let least = LENGTH.div_ceil(input);
            for bound in [Bound { free: LENGTH, ratio: 0 }, Bound { free: 0, ratio: least }] {
                assert_eq!(read_bounded(&bytes, bound).unwrap(), LENGTH, "{kind} {bound:?}");
            }
            let ratio = (LENGTH - 1) / input;
            for bound in [Bound { free: LENGTH - 1, ratio: 0 }, Bound { free: 0, ratio }, Bound { free: LENGTH / 2, ratio: 1 }]
            {
                let error = read_bounded(&bytes, bound).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{kind} {bound:?}");
                assert!(error.to_string().ends_with("times longer, a decompression bomb"), "{kind}: {error}");
            }
            // Nothing of this kind overflows.
            assert!(read_bounded(&bytes, Bound { free: u64::MAX, ratio: u64::MAX }).is_ok(), "{kind}");
        }
    }

    /// The bound that is in force, with a stream that reaches it: frames of zeros without end.
    #[test]
    #[ignore = "reads 16 GiB, which takes minutes"]
    fn a_real_bomb_is_given_up_at_the_bound_in_force() {
        struct Repeated<'a> {
            piece: &'a [u8],
            at: usize,
        }
        impl Read for Repeated<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let length = into.len().min(self.piece.len() - self.at);
                into[..length].copy_from_slice(&self.piece[self.at..][..length]);
                self.at = (self.at + length) % self.piece.len();
                Ok(length)
            }
        }
        let piece = zstd::encode_all(io::repeat(0).take(64 << 20), 1).unwrap();
        let mut endless = Repeated { piece: &piece, at: 0 };
        let mut stream = Decompressor::new(&mut endless).unwrap();
        let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("more than 2000 times longer"), "{error}");
        let (output, input) = (stream.output, stream.decoder.input().size);
        assert!(output > BOUND.free && output < BOUND.free + input * BOUND.ratio + (1 << 20), "{input} became {output}");
    }

    #[test]
    fn many_empty_members_need_no_stack() {
        let empty = gzip(b"");
        let bytes = empty.repeat(200_000);
        assert_eq!(read(&bytes).unwrap().1, b"");
    }

    #[test]
    fn a_huge_zstd_window_is_refused() {
        // Frame header: no content size, no checksum, window descriptor 2^31, then an empty last raw block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00];
        assert!(read(&frame).is_err());
        let small = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (20 - 10) << 3, 0x01, 0x00, 0x00];
        assert_eq!(read(&small).unwrap().1, b"");
    }
}
