//! zstd:chunked: a layer whose files are zstd frames of their own, with a table of contents, so that a reader can fetch the files that it
//! lacks; for every other reader it is zstd.
//!
//! ```text
//! frame: headers │ frame: content of file 1 │ frame: padding, headers │ frame: content of file 2 │ … │ frame: the tar's end
//! skippable frame: table of contents │ skippable frame: tar-split │ skippable frame: footer, 64 bytes
//!        ▲ JSON, a zstd frame               ▲ a zstd frame                ▲ where the others are
//! ```
//!
//! Where they are the layer's annotations say, too, with the digest of the table. A file is one chunk here; the format allows more.
//!
//! Invariants: the bytes depend on the tar and the level only. The table says exactly what the tar says, since a reader that has the table
//! does not look at the tar: of a layer with something that the table cannot hold, none is written, and it is plain zstd. Memory holds the
//! two tables, compressed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use containers_storage::Digest;
use containers_storage::archive::reader::Reader;
use containers_storage::archive::{Entry, Kind};
use containers_storage::tar_split;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zstd::stream::raw::{Encoder as Raw, InBuffer, Operation, OutBuffer};

use super::{Method, zstandard};

/// Annotations of a layer.
pub const PREFIX: &str = "io.github.containers.zstd-chunked.";
const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";
const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
const TAR_SPLIT_POSITION: &str = "io.github.containers.zstd-chunked.tarsplit-position";
/// A frame that decoders pass over (RFC 8878, section 3.1.2).
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// Its header: the magic number and the length.
const SKIPPABLE_HEADER: u64 = 8;
/// The end of the footer.
const MAGIC: [u8; 8] = *b"GNUlInUx";
/// The kind of table that this is.
const KIND: u64 = 1;
/// The longest table: readers refuse longer ones than 150 MiB.
const MAX_TABLE_BYTES: u64 = 100 << 20;
const BUFFER: usize = 128 << 10;

/// Whether annotations tell of a table of contents.
pub fn is_told(annotations: &BTreeMap<String, String>) -> bool {
    annotations.contains_key(CHECKSUM)
}

/// Writes the tar `input` to `sink`, and answers with the annotations of the layer; none if the blob is plain zstd.
pub(in crate::transport) fn write(
    input: impl Read,
    method: Method,
    sink: &mut dyn Write,
) -> io::Result<BTreeMap<String, String>> {
    let input = Recorder {
        input: BufReader::with_capacity(BUFFER, input),
        frames: Frames::new(method.level, sink)?,
        split: Some(tar_split::Writer::new(Compressed::new(method.level)?)),
        headers: Vec::new(),
        in_content: false,
        failed: None,
    };
    let mut reader = Reader::new(input);
    let mut table = Table::new(method.level)?;
    while let Some(entry) = reader.next_entry().map_err(io::Error::other)? {
        let span = reader.span();
        let from = reader.input_mut();
        let telling = describe(&entry, span.size, &std::mem::take(&mut from.headers));
        if let Some(split) = &mut from.split {
            split.member(entry.name.clone(), span);
        }
        let Some(mut row) = telling.filter(|_| table.is_whole()) else {
            log::debug!("a layer has no table of contents: {:?} cannot be described", String::from_utf8_lossy(&entry.name));
            table.give_up();
            continue;
        };
        if span.size > 0 {
            row.offset = from.begin_content()?;
            let mut sha = Sha256::new();
            reader
                .content(&mut |_, bytes| {
                    sha.update(bytes);
                    Ok(())
                })
                .map_err(io::Error::other)?;
            row.end_offset = reader.input_mut().end_content()?;
            row.digest = Digest::from_sha256(sha.finalize().into()).to_string();
        }
        table.add(&row)?;
    }
    reader.input_mut().finish(table)
}

/// One entry of the table, as the other tools write it.
#[derive(Debug, Default, Serialize)]
struct Row<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(rename = "linkName", skip_serializing_if = "str::is_empty")]
    link: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(rename = "devMajor", skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(rename = "devMinor", skip_serializing_if = "is_zero")]
    minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(rename = "endOffset", skip_serializing_if = "is_zero")]
    end_offset: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the table says of a member with `stored` bytes in the tar, whose headers are `raw`; `None` if it cannot say it.
fn describe<'a>(entry: &'a Entry, stored: u64, raw: &[u8]) -> Option<Row<'a>> {
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
    let (kind, link, numbers) = match &entry.kind {
        // The bytes of a sparse file are not in the tar as they are.
        Kind::File if stored != entry.size => return None,
        Kind::File => ("reg", "", (0, 0)),
        Kind::HardLink(target) => ("hardlink", text(target)?, (0, 0)),
        Kind::Symlink(target) => ("symlink", text(target)?, (0, 0)),
        Kind::Directory => ("dir", "", (0, 0)),
        Kind::Fifo => ("fifo", "", (0, 0)),
        Kind::CharDevice { major, minor } => ("char", "", (*major, *minor)),
        Kind::BlockDevice { major, minor } => ("block", "", (*major, *minor)),
    };
    // Times of access and of change are compared with the tar's by some readers, and are not known here.
    let has = |name: &[u8]| raw.windows(name.len()).any(|window| window == name);
    if has(b" atime=") || has(b" ctime=") || has(b"ustar  \0") {
        return None;
    }
    let mut xattrs = BTreeMap::new();
    for (name, value) in &entry.xattrs {
        xattrs.insert(text(name)?, STANDARD.encode(value));
    }
    let time = Timestamp::new(entry.mtime.seconds, i32::try_from(entry.mtime.nanoseconds).ok()?).ok()?;
    Some(Row {
        kind,
        name: text(&entry.name)?,
        link,
        mode: u64::from(entry.mode),
        size: entry.size,
        uid: u64::from(entry.uid),
        gid: u64::from(entry.gid),
        modified: Some(time.to_string()),
        major: u64::from(numbers.0),
        minor: u64::from(numbers.1),
        xattrs,
        ..Row::default()
    })
}

/// What is read through it goes into frames, and into the tar-split.
struct Recorder<'w, R> {
    input: BufReader<R>,
    frames: Frames<'w>,
    split: Option<tar_split::Writer<Compressed>>,
    /// The headers since the last content.
    headers: Vec<u8>,
    in_content: bool,
    /// `consume` cannot fail; what failed in it does at the next read.
    failed: Option<io::Error>,
}

impl<R: Read> Recorder<'_, R> {
    fn begin_content(&mut self) -> io::Result<u64> {
        self.in_content = true;
        self.frames.restart()
    }

    fn end_content(&mut self) -> io::Result<u64> {
        self.in_content = false;
        self.frames.restart()
    }

    /// Writes what follows the tar.
    fn finish(&mut self, table: Table) -> io::Result<BTreeMap<String, String>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.frames.restart()?;
        let Some(split) = self.split.take() else { return Ok(BTreeMap::new()) };
        let split = split.finish()?.finish()?;
        let Some(table) = table.finish(&Digest::of(&split.bytes))? else { return Ok(BTreeMap::new()) };
        let at = self.frames.written + SKIPPABLE_HEADER;
        let lengths = |part: &Finished| (part.bytes.len() as u64, part.plain);
        let ((length, plain), (split_length, split_plain)) = (lengths(&table), lengths(&split));
        let split_at = at + length + SKIPPABLE_HEADER;
        let mut footer = Vec::new();
        for number in [at, length, plain, KIND, split_at, split_length, split_plain] {
            footer.extend(number.to_le_bytes());
        }
        footer.extend(MAGIC);
        for part in [&table.bytes, &split.bytes, &footer] {
            self.frames.skippable(part)?;
        }
        Ok(BTreeMap::from([
            (CHECKSUM.to_owned(), Digest::of(&table.bytes).to_string()),
            (POSITION.to_owned(), format!("{at}:{length}:{plain}:{KIND}")),
            (TAR_SPLIT_POSITION.to_owned(), format!("{split_at}:{split_length}:{split_plain}")),
        ]))
    }
}

impl<R: Read> Read for Recorder<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Recorder<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.input.fill_buf(),
        }
    }

    fn consume(&mut self, length: usize) {
        let bytes = self.input.buffer().get(..length).unwrap_or_default();
        if !self.in_content {
            self.headers.extend_from_slice(bytes);
        }
        let passed = self.frames.write(bytes).and_then(|()| match &mut self.split {
            Some(split) => split.feed(bytes),
            None => Ok(()),
        });
        self.failed = self.failed.take().or(passed.err());
        self.input.consume(length);
    }
}

/// zstd frames, one after the other.
struct Frames<'w> {
    encoder: Raw<'static>,
    sink: &'w mut dyn Write,
    buffer: Vec<u8>,
    /// Bytes in the sink.
    written: u64,
    is_open: bool,
}

impl<'w> Frames<'w> {
    fn new(level: i32, sink: &'w mut dyn Write) -> io::Result<Self> {
        let mut encoder = Raw::new(level)?;
        for parameter in zstandard::parameters(level) {
            encoder.set_parameter(parameter)?;
        }
        Ok(Self { encoder, sink, buffer: vec![0; BUFFER], written: 0, is_open: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            let mut output = OutBuffer::around(self.buffer.as_mut_slice());
            self.encoder.run(&mut input, &mut output)?;
            self.sink.write_all(output.as_slice())?;
            self.written += output.pos() as u64;
            self.is_open = true;
        }
        Ok(())
    }

    /// Ends the frame, and answers where the next one begins.
    fn restart(&mut self) -> io::Result<u64> {
        while self.is_open {
            let mut output = OutBuffer::around(self.buffer.as_mut_slice());
            let left = self.encoder.finish(&mut output, true)?;
            self.sink.write_all(output.as_slice())?;
            self.written += output.pos() as u64;
            if left == 0 {
                self.encoder.reinit()?;
                self.is_open = false;
            }
        }
        Ok(self.written)
    }

    fn skippable(&mut self, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        for part in [&SKIPPABLE[..], &length.to_le_bytes(), data] {
            self.sink.write_all(part)?;
            self.written += part.len() as u64;
        }
        Ok(())
    }
}

/// A document that is compressed while it is written.
struct Compressed {
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    plain: u64,
}

/// A document that was compressed, and its length before.
struct Finished {
    bytes: Vec<u8>,
    plain: u64,
}

impl Compressed {
    fn new(level: i32) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
        for parameter in zstandard::parameters(level) {
            encoder.set_parameter(parameter)?;
        }
        Ok(Self { encoder, plain: 0 })
    }

    fn finish(self) -> io::Result<Finished> {
        Ok(Finished { bytes: self.encoder.finish()?, plain: self.plain })
    }
}

impl Write for Compressed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.encoder.write(bytes)?;
        self.plain += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The table of contents; nothing once there was something that it cannot hold.
struct Table {
    text: Option<Compressed>,
    is_empty: bool,
}

impl Table {
    fn new(level: i32) -> io::Result<Self> {
        let mut text = Compressed::new(level)?;
        text.write_all(b"{\"version\":1,\"entries\":[")?;
        Ok(Self { text: Some(text), is_empty: true })
    }

    fn is_whole(&self) -> bool {
        self.text.is_some()
    }

    fn give_up(&mut self) {
        self.text = None;
    }

    fn add(&mut self, row: &Row<'_>) -> io::Result<()> {
        let Some(text) = &mut self.text else { return Ok(()) };
        if !std::mem::take(&mut self.is_empty) {
            text.write_all(b",")?;
        }
        serde_json::to_writer(&mut *text, row)?;
        if text.plain > MAX_TABLE_BYTES {
            self.give_up();
        }
        Ok(())
    }

    fn finish(self, tar_split: &Digest) -> io::Result<Option<Finished>> {
        let Some(mut text) = self.text else { return Ok(None) };
        write!(text, "],\"tarSplitDigest\":\"{tar_split}\"}}")?;
        text.finish().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A tar of a directory, two files, an empty file, and links; `more` adds to it.
    fn tar(more: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind: tar::EntryType, content: &[u8], link: &str| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_uid(7);
            header.set_gid(0);
            header.set_mtime(86_400);
            header.set_size(content.len() as u64);
            if link.is_empty() {
                builder.append_data(&mut header, name, content).unwrap();
            } else {
                builder.append_link(&mut header, name, link).unwrap();
            }
        };
        add("d/", tar::EntryType::Directory, b"", "");
        add("d/large", tar::EntryType::Regular, &vec![b'x'; 400_000], "");
        add("d/small", tar::EntryType::Regular, b"content", "");
        add("d/empty", tar::EntryType::Regular, b"", "");
        add("l", tar::EntryType::Symlink, b"", "d/small");
        add("h", tar::EntryType::Link, b"", "d/small");
        more(&mut builder);
        builder.into_inner().unwrap()
    }

    fn chunked(tar: &[u8]) -> (Vec<u8>, BTreeMap<String, String>) {
        let mut blob = Vec::new();
        let annotations = write(tar, Method::chunked(None).unwrap(), &mut blob).unwrap();
        assert_eq!(zstd::decode_all(&blob[..]).unwrap(), tar, "every decoder of zstd reads it");
        (blob, annotations)
    }

    fn numbers(text: &str) -> Vec<usize> {
        text.split(':').map(|number| number.parse().unwrap()).collect()
    }

    #[test]
    fn the_table_leads_to_every_file() {
        let (blob, annotations) = chunked(&tar(|_| {}));
        let position = numbers(&annotations[POSITION]);
        let table = &blob[position[0]..position[0] + position[1]];
        assert_eq!(Digest::of(table).to_string(), annotations[CHECKSUM]);
        let plain = zstd::decode_all(table).unwrap();
        assert_eq!(plain.len(), position[2]);
        let table: Value = serde_json::from_slice(&plain).unwrap();
        let entries = table["entries"].as_array().unwrap();
        let names: Vec<_> =
            entries.iter().map(|entry| (entry["name"].as_str().unwrap(), entry["type"].as_str().unwrap())).collect();
        let want =
            [("d/", "dir"), ("d/large", "reg"), ("d/small", "reg"), ("d/empty", "reg"), ("l", "symlink"), ("h", "hardlink")];
        assert_eq!(names, want);
        for (entry, content) in [(&entries[1], vec![b'x'; 400_000]), (&entries[2], b"content".to_vec())] {
            let at = |name: &str| usize::try_from(entry[name].as_u64().unwrap()).unwrap();
            assert_eq!(zstd::decode_all(&blob[at("offset")..at("endOffset")]).unwrap(), content);
            assert_eq!(entry["digest"], Digest::of(&content).to_string());
        }
        assert_eq!((&entries[3]["digest"], &entries[3]["offset"]), (&Value::Null, &Value::Null));
        assert_eq!(
            (&entries[2]["modtime"], &entries[2]["uid"], &entries[2]["gid"]),
            (&"1970-01-02T00:00:00Z".into(), &7.into(), &Value::Null)
        );

        let split = numbers(&annotations[TAR_SPLIT_POSITION]);
        let split_bytes = &blob[split[0]..split[0] + split[1]];
        assert_eq!(table["tarSplitDigest"], Digest::of(split_bytes).to_string());
        assert_eq!(zstd::decode_all(split_bytes).unwrap().len(), split[2]);
        let footer = &blob[blob.len() - 64..];
        assert_eq!((&footer[..8], &footer[56..]), (&(position[0] as u64).to_le_bytes()[..], &MAGIC[..]));
    }

    #[test]
    fn what_the_table_cannot_say_makes_it_plain_zstd() {
        for key in ["atime", "ctime"] {
            let layer = tar(|builder| {
                builder.append_pax_extensions([(key, &b"1.5"[..])]).unwrap();
                let mut header = tar::Header::new_ustar();
                header.set_size(1);
                builder.append_data(&mut header, "late", &b"x"[..]).unwrap();
            });
            assert_eq!(chunked(&layer).1, BTreeMap::new(), "{key}");
        }
        let gnu = tar(|builder| {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            builder.append_data(&mut header, "gnu", &b"x"[..]).unwrap();
        });
        assert_eq!(chunked(&gnu).1, BTreeMap::new());
    }

    #[test]
    fn an_empty_layer_and_a_broken_one() {
        let (_, annotations) = chunked(&[0; 1024]);
        assert_eq!(annotations.len(), 3);
        assert!(write(&b"no tar at all"[..], Method::chunked(None).unwrap(), &mut Vec::new()).is_err());
    }
}
