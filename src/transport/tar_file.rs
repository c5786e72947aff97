//! Reading members of a tar file by name, in any order, without unpacking it.
//!
//! ```text
//! FILE ─ plain ───────────────────────▶ index of members: name → where its bytes lie, or where its link points
//!      └ gzip, zstd, xz, bzip2 ─ inflate ─▶ unnamed file ─▲
//! ```
//!
//! Invariant: an archive has one meaning (known attacks A27, A38): names are read by the store's strict reader; a name that comes twice
//! is refused, unless both are directories; links are followed inside of the archive, once.
//!
//! Must not: make a file of any member.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use containers_storage::archive::decompress::Decompressor;
use containers_storage::archive::entry::clean_path;
use containers_storage::archive::reader::Reader;
use containers_storage::archive::{Compression, Escaped, Kind};

use super::Error;
use super::files::Files;

/// The most members that an image archive may have.
const MAX_MEMBERS: usize = 100_000;
/// How much of a member is passed over at a time.
const SKIP: usize = 1 << 20;
/// How much is read at a time.
const BUFFER: usize = 64 << 10;

/// An indexed tar file.
pub(super) struct TarFile {
    file: Arc<File>,
    place: String,
    members: HashMap<Vec<u8>, Member>,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// A clean path from the root of the archive.
    Link(Vec<u8>),
    /// Something that has no bytes.
    Other,
}

impl TarFile {
    /// Reads the headers of the archive `path`. If it is compressed, it is first inflated into an unnamed file in `temp_dir`.
    pub(super) fn open(path: &Path, temp_dir: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        let mut file = File::open(path).map_err(|source| Error::Open { path: place.clone(), source })?;
        let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let mut magic = [0; Compression::MAGIC_LENGTH];
        let plain = is_regular && {
            let length = file.read_at(&mut magic, 0).map_err(Error::io("reading", path))?;
            Compression::detect(&magic[..length]) == Compression::None
        };
        let file = if plain { file } else { inflate(&mut file, path, temp_dir)? };
        let failed = |source| Error::Archive { place: place.clone(), source: Box::new(source) };
        let size = file.metadata().map_err(Error::io("reading", path))?.len();
        let mut reader = Reader::new(Skipping { file: &file, size, position: 0, hole: 0..0, buffer: Vec::new(), at: 0 });
        let mut members = HashMap::new();
        while let Some(entry) = reader.next_entry().map_err(failed)? {
            let span = reader.span();
            reader.input_mut().hole = span.offset..span.offset.saturating_add(span.size);
            let refused = |problem: &str| Error::Document {
                place: format!("{place}, entry {}", Escaped::new(&entry.name)),
                problem: problem.to_owned(),
            };
            let member = match &entry.kind {
                Kind::File if span.size == entry.size => Member::File { offset: span.offset, size: span.size },
                Kind::File => return Err(refused("is a sparse file, which no image archive has")),
                Kind::Symlink(target) => Member::Link(
                    beside(&entry.path, target).ok_or_else(|| refused("is a symbolic link that leads out of the archive"))?,
                ),
                Kind::HardLink(target) => {
                    Member::Link(clean_path(target).map_err(|_| refused("is a link that leads out of the archive"))?)
                }
                _ => Member::Other,
            };
            if members.len() >= MAX_MEMBERS {
                return Err(refused("is one too many for an image archive"));
            }
            if members
                .insert(entry.path.clone(), member.clone())
                .is_some_and(|old| (old, member) != (Member::Other, Member::Other))
            {
                return Err(refused("comes twice"));
            }
        }
        Ok(Self { file: Arc::new(file), place, members })
    }

    fn find(&self, name: &str) -> Option<&Member> {
        let clean = clean_path(name.as_bytes()).ok()?;
        match self.members.get(&clean)? {
            Member::Link(target) => self.members.get(target),
            member => Some(member),
        }
    }
}

/// Where a link at `path` leads that says `target`: the clean path from the root, unless that is outside.
fn beside(path: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    parts.pop();
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn inflate(file: &mut File, path: &Path, temp_dir: &Path) -> Result<File, Error> {
    let mut unnamed = unnamed_file(temp_dir)?;
    let mut inflate = || {
        let mut plain = Decompressor::new(file)?;
        io::copy(&mut plain, &mut unnamed)
    };
    let inflated = inflate();
    let place = path.display().to_string();
    inflated.map_err(|source| Error::Stream { action: "decompressing", place, source })?;
    Ok(unnamed)
}

/// A file in `dir` without a name, which ends with the process.
pub(super) fn unnamed_file(dir: &Path) -> Result<File, Error> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR);
    Ok(opened.map_err(Error::io("making a temporary file in", dir))?.into())
}

impl Files for TarFile {
    fn place(&self, name: &str) -> String {
        format!("{}, entry {name:?}", self.place)
    }

    fn open(&self, name: &str) -> Result<(Box<dyn Read + Send>, u64), Error> {
        let problem = match self.find(name) {
            Some(Member::File { offset, size }) => {
                let range = FileRange { file: Arc::clone(&self.file), offset: *offset, left: *size };
                return Ok((Box::new(range), *size));
            }
            Some(Member::Other) => "is no file",
            Some(Member::Link(_)) => "is a link to a link",
            None if self.members.contains_key(name.as_bytes()) => "is a link to nothing in the archive",
            None => "is not in the archive",
        };
        Err(Error::Document { place: self.place(name), problem: problem.to_owned() })
    }

    fn contains(&self, name: &str) -> bool {
        matches!(self.find(name), Some(Member::File { .. }))
    }
}

/// A part of a file. Several can be read at once.
struct FileRange {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for FileRange {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(into.len(), |left| left.min(into.len()));
        let read = self.file.read_at(&mut into[..length], self.offset)?;
        if read == 0 && length > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive has become shorter"));
        }
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A file as the tar reader sees it: the content of members (`hole`) is zeros, and is not read.
struct Skipping<'a> {
    file: &'a File,
    size: u64,
    position: u64,
    hole: std::ops::Range<u64>,
    buffer: Vec<u8>,
    at: usize,
}

static ZEROS: [u8; SKIP] = [0; SKIP];

impl Skipping<'_> {
    /// Bytes of the hole from here on that the file has.
    fn in_hole(&self) -> usize {
        if !self.hole.contains(&self.position) {
            return 0;
        }
        let left = self.hole.end.min(self.size).saturating_sub(self.position);
        usize::try_from(left).map_or(SKIP, |left| left.min(SKIP))
    }
}

impl BufRead for Skipping<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.hole.contains(&self.position) {
            return Ok(&ZEROS[..self.in_hole()]);
        }
        if self.at == self.buffer.len() {
            self.buffer.resize(BUFFER, 0);
            let length = self.file.read_at(&mut self.buffer, self.position)?;
            self.buffer.truncate(length);
            self.at = 0;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, length: usize) {
        self.position += length as u64;
        // What was buffered lies around the old position.
        self.at = if length <= self.buffer.len() - self.at { self.at + length } else { self.buffer.len() };
    }
}

impl Read for Skipping<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn archive(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in members {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            let link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
            if link {
                header.as_ustar_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let data = if link { "" } else { content };
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<TarFile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        File::create(&path).unwrap().write_all(bytes).unwrap();
        TarFile::open(&path, dir.path()).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}")
        })
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const LINK: tar::EntryType = tar::EntryType::Symlink;
    const DIR: tar::EntryType = tar::EntryType::Directory;

    #[test]
    fn members_are_read_in_any_order_and_through_one_link() {
        let long = "x".repeat(3 << 20);
        let members = [
            ("a", FILE, "first"),
            ("big", FILE, long.as_str()),
            ("d/", DIR, ""),
            ("d/", DIR, ""),
            ("d/l", LINK, "../a"),
            ("d/h", tar::EntryType::Link, "./a"),
            ("d/loop", LINK, "loop"),
            ("d/ll", LINK, "l"),
            ("z", FILE, "last"),
        ];
        let plain = archive(&members);
        for bytes in [plain.clone(), zstd::encode_all(&plain[..], 1).unwrap()] {
            let tar = open(&bytes).unwrap();
            for (name, content) in [("z", "last"), ("a", "first"), ("d/l", "first"), ("./d/h", "first"), ("big", &long)] {
                assert_eq!(tar.read(name, 4 << 20).unwrap(), content.as_bytes(), "{name}");
            }
            for name in ["d", "d/ll", "d/loop", "nope", "../a", "d/nope"] {
                assert!(tar.read(name, 100).is_err() && !tar.contains(name), "{name}");
            }
            assert!(tar.read("big", 100).is_err(), "the limit");
        }
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        let cases = [
            (archive(&[("a", FILE, "1"), ("a", FILE, "2")]), "comes twice"),
            (archive(&[("a", FILE, "1"), ("./a", LINK, "b")]), "comes twice"),
            (archive(&[("a", LINK, "../b")]), "leads out"),
            (archive(&[("a", LINK, "/b")]), "leads out"),
            (archive(&[("a", tar::EntryType::Link, "../b")]), "leads out"),
            (archive(&[("../a", FILE, "1")]), "a"),
            (archive(&[("a", FILE, &"1".repeat(5000))])[..2000].to_vec(), "a"),
        ];
        for (bytes, words) in cases {
            let error = open(&bytes).err().unwrap();
            assert!(error.contains(words), "{error}");
        }
    }
}
