//! Writing an image archive: a tar whose members come one after the other, some of unknown length.
//!
//! Invariant: the archive gets its name when it is whole. It is written beside its place and renamed; where that cannot be (a pipe, a
//! device, a directory that is not ours) it is written into an unnamed file and copied at the end.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::tar_file::unnamed_file;
use super::{BlobId, BlobStream, Error};

const BLOCK: usize = 512;
/// The largest number that fits into the octal field of a header.
const MAX_OCTAL: u64 = 0o77_777_777_777;

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct TarWriter {
    file: File,
    target: PathBuf,
    /// The name under which it is written; `None` for an unnamed file.
    beside: Option<Beside>,
    /// When its members were changed last, as they say: seconds since 1970.
    time: u64,
}

/// A file that goes if it is not renamed.
#[derive(Debug)]
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member<'a> {
    /// A file with this mode.
    File(u32),
    /// A directory.
    Directory,
    /// A symbolic link.
    Link(&'a str),
}

impl TarWriter {
    /// Begins the archive `target`.
    pub(super) fn create(target: &Path, temp_dir: &Path) -> Result<Self, Error> {
        // A link is written through, not replaced.
        let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let existing = std::fs::metadata(&target).ok();
        if existing.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            return Err(Error::Occupied { place: target.display().to_string(), reason: "it is a directory".to_owned() });
        }
        if existing.as_ref().is_none_or(std::fs::Metadata::is_file)
            && let Some((file, beside)) = open_beside(&target)
        {
            if let Some(existing) = existing {
                let mode = existing.permissions().mode() & 0o7777;
                file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(Error::io("writing", &beside.0))?;
            }
            return Ok(Self { file, target, beside: Some(beside), time: 0 });
        }
        Ok(Self { file: unnamed_file(temp_dir)?, target, beside: None, time: 0 })
    }

    /// The same archive, whose members say that they were changed `time` seconds after the beginning of 1970.
    pub(super) fn dated(self, time: u64) -> Self {
        Self { time, ..self }
    }

    /// Adds a member with the bytes of `stream`, which are verified first, under the name that they turn out to have.
    pub(super) fn put_stream(
        &mut self,
        stream: &mut BlobStream<'_>,
        mode: u32,
        name: impl FnOnce(&BlobId) -> String,
    ) -> Result<BlobId, Error> {
        let place = self.target.display().to_string();
        let failed = |source| Error::Stream { action: "copying to", place: place.clone(), source };
        let start = self.file.stream_position().map_err(failed)?;
        self.file.write_all(&[0; BLOCK]).map_err(failed)?;
        let id = stream.write_to(&mut self.file).map_err(failed)?;
        self.pad(id.size).map_err(failed)?;
        // The length and mostly the name are known only now.
        self.file.write_all_at(&header(&name(&id), Member::File(mode), id.size, self.time), start).map_err(failed)?;
        Ok(id)
    }

    /// Adds a document.
    pub(super) fn put_bytes(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        let written = self
            .file
            .write_all(&header(name, Member::File(mode), size, self.time))
            .and_then(|()| self.file.write_all(bytes))
            .and_then(|()| self.pad(size));
        written.map_err(Error::io("writing", &self.target))
    }

    /// Adds a member without bytes.
    pub(super) fn put_member(&mut self, name: &str, member: Member<'_>) -> Result<(), Error> {
        self.file.write_all(&header(name, member, 0, self.time)).map_err(Error::io("writing", &self.target))
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if over == 0 { Ok(()) } else { self.file.write_all(&[0; BLOCK][over..]) }
    }

    /// Ends the archive and puts it in its place.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let failed = |path: &Path| Error::io::<io::Error>("writing", path);
        self.file.write_all(&[0; 2 * BLOCK]).map_err(failed(&self.target))?;
        if let Some(beside) = self.beside {
            return std::fs::rename(&beside.0, &self.target).map_err(failed(&self.target));
        }
        let copy = |file: &mut File| {
            file.seek(SeekFrom::Start(0))?;
            let mut target = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(&self.target)?;
            io::copy(file, &mut target)
        };
        copy(&mut self.file).map(drop).map_err(failed(&self.target))
    }
}

/// A new file in the directory of `target`, if one can be made there.
fn open_beside(target: &Path) -> Option<(File, Beside)> {
    let name = target.file_name()?.to_str()?;
    let random = getrandom::u64().ok()?;
    let path = target.parent()?.join(format!(".{:.100}.{random:016x}", name));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&path).ok()?;
    Some((file, Beside(path)))
}

/// A POSIX header of the second `time`, owner root. Names are ours and short: 100 bytes at most.
fn header(name: &str, member: Member<'_>, size: u64, time: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let (mode, flag, link) = match member {
        Member::File(mode) => (mode, b'0', ""),
        Member::Directory => (0o755, b'5', ""),
        Member::Link(target) => (0o777, b'2', target),
    };
    let mut put = |at: usize, bytes: &[u8]| {
        for (to, from) in block[at..].iter_mut().zip(bytes) {
            *to = *from;
        }
    };
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\x000000000\0");
    for (at, number) in [(124, size), (136, time)] {
        if number <= MAX_OCTAL {
            put(at, format!("{number:011o}\0").as_bytes());
        } else {
            // As GNU tar and Go do: base 256, which every reader of our time knows.
            put(at, &[0x80, 0, 0, 0]);
            put(at + 4, &number.to_be_bytes());
        }
    }
    put(148, b"        ");
    put(156, &[flag]);
    put(157, &link.as_bytes()[..link.len().min(100)]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in block[148..].iter_mut().zip(format!("{sum:06o}\0 ").as_bytes()) {
        *to = *from;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::files::Files;
    use crate::transport::tar_file::TarFile;

    #[test]
    fn what_is_written_is_read_again_and_visible_only_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let mut tar = TarWriter::create(&path, dir.path()).unwrap();
        let mut stream = BlobStream::unknown(Box::new(&b"content"[..]));
        let id = tar.put_stream(&mut stream, 0o444, |id| format!("{}.tar", id.digest.hex())).unwrap();
        tar.put_bytes("d.json", 0o644, b"{}").unwrap();
        tar.put_member("l", Member::Link("d.json")).unwrap();
        tar.put_member("dir/", Member::Directory).unwrap();
        assert!(!path.exists());
        tar.finish().unwrap();
        let read = TarFile::open(&path, dir.path()).unwrap();
        assert_eq!(read.read(&format!("{}.tar", id.digest.hex()), 100).unwrap(), b"content");
        assert_eq!(read.read("l", 100).unwrap(), b"{}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_archive_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        drop(TarWriter::create(&path, dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        TarWriter::create(&path, dir.path()).unwrap().finish().unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (1024, 0o600));
    }

    #[test]
    fn headers_are_what_other_readers_take() {
        for (name, size) in [("a", 0), ("b", MAX_OCTAL), ("c", MAX_OCTAL + 1)] {
            let block = header(name, Member::File(0o644), size, 0);
            let read = tar::Header::from_byte_slice(&block);
            assert_eq!((read.size().unwrap(), read.mode().unwrap()), (size, 0o644), "{name}");
            let sum: u32 =
                block.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) }).sum();
            assert_eq!(read.cksum().unwrap(), sum);
        }
    }
}
