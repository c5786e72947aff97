//! Writes a tar-split while the tar passes by.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use flate2::write::GzEncoder;

use crate::archive::reader::Span;

/// Longest segment in one line; a longer run of raw bytes becomes several lines, so that memory stays flat (known attacks A33).
const SEGMENT_LIMIT: usize = 1 << 20;

/// Lines are handed to the compressor in batches of this many bytes: one call a line costs more than the compression.
const BATCH: usize = 64 << 10;

/// The writer of lines into `O`. It is told of each member by `member` before, or as soon as, the stream reaches its content.
pub struct Writer<O: Write> {
    out: O,
    segment: Vec<u8>,
    members: VecDeque<(Vec<u8>, Span)>,
    content: Option<Content>,
    offset: u64,
    lines: u64,
    /// Lines that were not compressed yet.
    batch: String,
}

/// A file whose content is passing by.
struct Content {
    name: Vec<u8>,
    size: u64,
    left: u64,
    crc: Crc,
}

/// The writer of a tar-split as a store keeps it.
pub(crate) type Compressed<W> = Writer<GzEncoder<BufWriter<W>>>;

impl<W: Write> Compressed<W> {
    pub(crate) fn compressed(out: W) -> Self {
        Self::new(GzEncoder::new(BufWriter::with_capacity(BATCH, out), flate2::Compression::new(1)))
    }

    /// Writes what is left and gives the output back.
    pub(crate) fn complete(self) -> io::Result<W> {
        self.finish()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl<O: Write> std::fmt::Debug for Writer<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<O: Write> Writer<O> {
    /// A writer at the start of a stream.
    pub fn new(out: O) -> Self {
        Self { out, segment: Vec::new(), members: VecDeque::new(), content: None, offset: 0, lines: 0, batch: String::new() }
    }

    /// The content of the member `name` lies at `span`, which the stream has not passed yet.
    pub fn member(&mut self, name: Vec<u8>, span: Span) {
        self.members.push_back((name, span));
    }

    /// The next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            self.begin_content()?;
            if bytes.is_empty() {
                return Ok(());
            }
            let length = match (&mut self.content, self.members.front()) {
                (Some(content), _) => {
                    let length = shorter(bytes.len(), content.left);
                    content.crc.update(&bytes[..length]);
                    content.left -= length as u64;
                    length
                }
                (None, next) => {
                    let to_next = next.map_or(u64::MAX, |(_, span)| span.offset.saturating_sub(self.offset));
                    let room = SEGMENT_LIMIT - self.segment.len();
                    let length = shorter(bytes.len(), to_next).min(room);
                    self.segment.extend_from_slice(&bytes[..length]);
                    length
                }
            };
            self.offset += length as u64;
            bytes = &bytes[length..];
            if self.segment.len() == SEGMENT_LIMIT {
                self.write_segment()?;
            }
            self.end_content()?;
        }
    }

    /// Writes what is left and gives the output back.
    ///
    /// # Errors
    /// The stream ended before a member's content; the output cannot be written.
    pub fn finish(mut self) -> io::Result<O> {
        self.begin_content()?;
        if self.content.is_some() || !self.members.is_empty() {
            return Err(io::Error::other("the tar ended before a member's content"));
        }
        self.write_segment()?;
        self.flush_batch()?;
        Ok(self.out)
    }

    /// Starts every member whose content begins here; those without content end at once.
    fn begin_content(&mut self) -> io::Result<()> {
        while self.content.is_none() && self.members.front().is_some_and(|(_, span)| span.offset <= self.offset) {
            let Some((name, span)) = self.members.pop_front() else { break };
            self.write_segment()?;
            let crc = Crc::new(CrcAlgorithm::Crc64GoIso);
            self.content = Some(Content { name, size: span.size, left: span.size, crc });
            self.end_content()?;
        }
        Ok(())
    }

    fn end_content(&mut self) -> io::Result<()> {
        let Some(content) = self.content.take_if(|content| content.left == 0) else { return Ok(()) };
        self.batch.push_str("{\"type\":1,");
        match str::from_utf8(&content.name) {
            Ok(name) => {
                self.batch.push_str("\"name\":");
                self.batch.push_str(&serde_json::to_string(name)?);
            }
            Err(_) => {
                self.batch.push_str("\"name_raw\":\"");
                STANDARD.encode_string(&content.name, &mut self.batch);
                self.batch.push('"');
            }
        }
        if content.size == 0 {
            self.batch.push_str(",\"payload\":null");
        } else {
            self.batch.push_str(",\"size\":");
            self.batch.push_str(&content.size.to_string());
            self.batch.push_str(",\"payload\":\"");
            STANDARD.encode_string(content.crc.finalize().to_be_bytes(), &mut self.batch);
            self.batch.push('"');
        }
        self.end_line()
    }

    fn write_segment(&mut self) -> io::Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        self.batch.push_str("{\"type\":2,\"payload\":\"");
        STANDARD.encode_string(&self.segment, &mut self.batch);
        self.batch.push('"');
        self.segment.clear();
        self.end_line()
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.batch.push_str(",\"position\":");
        self.batch.push_str(&self.lines.to_string());
        self.batch.push_str("}\n");
        self.lines += 1;
        if self.batch.len() >= BATCH { self.flush_batch() } else { Ok(()) }
    }

    fn flush_batch(&mut self) -> io::Result<()> {
        self.out.write_all(self.batch.as_bytes())?;
        self.batch.clear();
        Ok(())
    }
}

fn shorter(length: usize, limit: u64) -> usize {
    usize::try_from(limit).map_or(length, |limit| length.min(limit))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn lines(members: &[(&[u8], Span)], stream: &[u8], step: usize) -> String {
        let mut writer = Writer::compressed(Vec::new());
        for (name, span) in members {
            writer.member(name.to_vec(), *span);
        }
        for piece in stream.chunks(step) {
            writer.feed(piece).unwrap();
        }
        let compressed = writer.complete().unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_checksum_of_the_format_document() {
        let mut crc = Crc::new(CrcAlgorithm::Crc64GoIso);
        crc.update(b"new\n");
        assert_eq!(STANDARD.encode(crc.finalize().to_be_bytes()), "YVqy3bAAAAA=");
    }

    #[test]
    fn lines_do_not_depend_on_the_pieces() {
        let members: [(&[u8], Span); 3] = [
            (b"d/", Span { offset: 2, size: 0 }),
            (b"f\xff", Span { offset: 4, size: 0 }),
            (b"n", Span { offset: 6, size: 4 }),
        ];
        let expected = concat!(
            "{\"type\":2,\"payload\":\"QUI=\",\"position\":0}\n",
            "{\"type\":1,\"name\":\"d/\",\"payload\":null,\"position\":1}\n",
            "{\"type\":2,\"payload\":\"Q0Q=\",\"position\":2}\n",
            "{\"type\":1,\"name_raw\":\"Zv8=\",\"payload\":null,\"position\":3}\n",
            "{\"type\":2,\"payload\":\"RUY=\",\"position\":4}\n",
            "{\"type\":1,\"name\":\"n\",\"size\":4,\"payload\":\"YVqy3bAAAAA=\",\"position\":5}\n",
            "{\"type\":2,\"payload\":\"R0g=\",\"position\":6}\n",
        );
        for step in 1..12 {
            assert_eq!(lines(&members, b"ABCDEFnew\nGH", step), expected, "step {step}");
        }
    }

    #[test]
    fn long_padding_is_cut_into_lines() {
        let text = lines(&[], &vec![0; 5 * SEGMENT_LIMIT / 2], 100_000);
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_tar_that_ends_early_is_an_error() {
        let mut writer = Writer::new(Vec::new());
        writer.member(b"x".to_vec(), Span { offset: 1, size: 5 });
        writer.feed(b"abc").unwrap();
        assert!(writer.finish().is_err());
    }
}
