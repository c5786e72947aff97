//! tar-split: what a tar stream holds besides the content of its files, so that it can be made again byte for byte.
//!
//! A gzip file of JSON lines in the order of the stream (format section 7.6):
//!
//! ```text
//! {"type":2,"payload":"<base64 of raw bytes>","position":0}
//! {"type":1,"name":"a/b","size":4,"payload":"<base64 of CRC-64/GO-ISO>","position":1}
//! ```
//!
//! Invariant: segments and files, put together, are the bytes whose SHA-256 is the layer's diff digest; a file that is not what
//! it was is an error, never other bytes.
//!
//! Must not: open a file by anything but a directory handle; keep a layer's bytes in memory.

mod writer;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{Digest as _, Sha256};

use crate::archive::Escaped;
use crate::archive::entry::clean_path;
use crate::{Digest, Root};

pub use self::writer::Writer;

/// Longest line that is read, in bytes. Other writers put at most an extended header (1 MiB) or 1 MiB of padding into one.
const LINE_LIMIT: u64 = 16 << 20;

/// What can be wrong with a tar-split, or with the files it names.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a tar-split.
    #[error("line {line} of the tar-split: {why}")]
    Malformed {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A file's content is not what it was.
    #[error("{name}: {why}")]
    Content {
        /// The name, escaped.
        name: Escaped,
        /// What is wrong.
        why: &'static str,
    },
    /// A file could not be opened or read.
    #[error("{name}: {source}")]
    File {
        /// The name, escaped.
        name: Escaped,
        /// The cause.
        source: io::Error,
    },
    /// The tar-split could not be read.
    #[error("reading the tar-split: {0}")]
    Read(#[source] io::Error),
    /// The tar could not be written.
    #[error("writing the tar: {0}")]
    Write(#[source] io::Error),
}

/// The tar that was put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// SHA-256 of it: equal to the layer's diff digest if all is well.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// How many members it has.
    pub members: u64,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    Segment(Vec<u8>),
    File { name: Vec<u8>, size: u64, checksum: Option<[u8; 8]> },
}

/// One line as JSON.
#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name_raw: Option<Cow<'a, str>>,
    size: Option<u64>,
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
    position: u64,
}

/// Puts the tar together from its tar-split (`split`, the gzip file) and the files that `open` finds by their names as written
/// in the tar, and writes it to `tar`. Each file's checksum is verified.
pub fn assemble(
    split: &mut dyn Read,
    open: &mut dyn FnMut(&[u8]) -> io::Result<File>,
    tar: &mut dyn Write,
) -> Result<Assembled, Error> {
    let mut lines = BufReader::with_capacity(128 << 10, flate2::read::MultiGzDecoder::new(split));
    let mut out = Hashing { tar, sha: Sha256::new(), size: 0 };
    let mut line = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let (mut count, mut members) = (0, 0);
    loop {
        line.clear();
        let length = (&mut lines).take(LINE_LIMIT + 1).read_until(b'\n', &mut line).map_err(Error::Read)?;
        if length == 0 {
            break;
        }
        let malformed = |why| Error::Malformed { line: count + 1, why };
        if length as u64 > LINE_LIMIT {
            return Err(malformed("too long"));
        }
        match parse(&line, count).map_err(malformed)? {
            Item::Segment(bytes) => out.write(&bytes)?,
            Item::File { name, size, checksum } => {
                members += 1;
                if size > 0 {
                    let content = FileContent { name: &name, size, checksum };
                    content.copy(open, &mut out, &mut buffer)?;
                }
            }
        }
        count += 1;
    }
    if count == 0 {
        return Err(Error::Malformed { line: 1, why: "it is empty" });
    }
    Ok(Assembled { digest: Digest::from_sha256(out.sha.finalize().into()), size: out.size, members })
}

/// An opener for `assemble` that looks in these directories in order: a layer's own `diff` first, then its lowers.
pub fn open_in(layers: &[Root], name: &[u8]) -> io::Result<File> {
    let path = clean_path(name).map_err(|refusal| io::Error::new(io::ErrorKind::InvalidInput, refusal.to_string()))?;
    let path = Path::new(std::ffi::OsStr::from_bytes(&path));
    for layer in layers {
        match layer.open_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn parse(line: &[u8], position: u64) -> Result<Item, &'static str> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|_| "not valid JSON of a tar-split")?;
    if line.position != position {
        return Err("out of order");
    }
    let payload = match &line.payload {
        Some(text) => Some(STANDARD.decode(text.as_bytes()).map_err(|_| "not valid base64")?),
        None => None,
    };
    match line.kind {
        1 => {
            let name = match (line.name, line.name_raw) {
                (_, Some(raw)) => STANDARD.decode(raw.as_bytes()).map_err(|_| "not valid base64")?,
                (Some(name), None) => name.into_owned().into_bytes(),
                // Go leaves out the empty name of a root entry.
                (None, None) => Vec::new(),
            };
            let checksum = match payload {
                Some(bytes) if !bytes.is_empty() => Some(bytes.try_into().map_err(|_| "a checksum is not 8 bytes long")?),
                _ => None,
            };
            Ok(Item::File { name, size: line.size.unwrap_or(0), checksum })
        }
        2 => Ok(Item::Segment(payload.unwrap_or_default())),
        _ => Err("an unknown type"),
    }
}

/// The output with its digest and length.
struct Hashing<'a> {
    tar: &'a mut dyn Write,
    sha: Sha256,
    size: u64,
}

impl Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.sha.update(bytes);
        self.size += bytes.len() as u64;
        self.tar.write_all(bytes).map_err(Error::Write)
    }
}

/// A file line with content.
struct FileContent<'a> {
    name: &'a [u8],
    size: u64,
    checksum: Option<[u8; 8]>,
}

impl FileContent<'_> {
    fn copy(
        &self,
        open: &mut dyn FnMut(&[u8]) -> io::Result<File>,
        out: &mut Hashing<'_>,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let name = || Escaped::new(self.name);
        let failed = |source| Error::File { name: name(), source };
        let mut file = open(self.name).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != self.size {
            return Err(Error::Content { name: name(), why: "its length changed since the layer was made" });
        }
        let mut crc = Crc::new(CrcAlgorithm::Crc64GoIso);
        let mut left = self.size;
        while left > 0 {
            let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let length = match file.read(&mut buffer[..want]) {
                Ok(0) => return Err(Error::Content { name: name(), why: "it became shorter while it was read" }),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            crc.update(&buffer[..length]);
            out.write(&buffer[..length])?;
            left -= length as u64;
        }
        if self.checksum != Some(crc.finalize().to_be_bytes()) {
            return Err(Error::Content { name: name(), why: "its content changed since the layer was made" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_writers() {
        let file = br#"{"type":1,"name":"data/\u003cb","size":4,"payload":"YVqy3bAAAAA=","position":7}"#;
        let expected =
            Item::File { name: b"data/<b".to_vec(), size: 4, checksum: Some([0x61, 0x5a, 0xb2, 0xdd, 0xb0, 0, 0, 0]) };
        assert_eq!(parse(file, 7), Ok(expected));
        assert_eq!(parse(br#"{"type":2,"payload":"","position":0}"#, 0), Ok(Item::Segment(Vec::new())));
        let raw = Item::File { name: b"f\xff".to_vec(), size: 0, checksum: None };
        assert_eq!(parse(br#"{"type":1,"name_raw":"Zv8=","payload":null,"position":1}"#, 1), Ok(raw));
    }

    #[test]
    fn malformed_lines_are_refused() {
        let bad: [&[u8]; 7] = [
            b"",
            b"{}",
            br#"{"type":3,"position":0}"#,
            br#"{"type":2,"payload":"!","position":0}"#,
            br#"{"type":2,"payload":"","position":1}"#,
            br#"{"type":1,"name":"x","size":-1,"payload":null,"position":0}"#,
            br#"{"type":1,"name":"x","size":1,"payload":"AA==","position":0}"#,
        ];
        for line in bad {
            assert!(parse(line, 0).is_err(), "{}", String::from_utf8_lossy(line));
        }
    }
}
