//! A context that comes as bytes: a tar archive, compressed or not, is unpacked; anything else is a Dockerfile and all of the context.
//!
//! Invariant: nothing is made but below the handle of a directory of our own (0700), by the one tar engine, which refuses what is
//! hostile. What it makes belongs to us: owners of an archive from elsewhere mean nothing here, and COPY gives its own.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use containers_storage::Root;
use containers_storage::archive::decompress::Decompressor;
use containers_storage::archive::reader::Reader;
use containers_storage::archive::unpack::{self, Devices, TreeOptions, Unmapped};
use containers_storage::archive::{self, Compression};

use super::{Author, Error, Form, LONGEST_TEXT, Opened, Place, Scratch};
use crate::container::fetch::is_full;

/// How much is looked at to tell an archive from a text, in bytes: more than the headers before a first member usually have.
const LOOK: u64 = 64 << 10;
/// Where POSIX and GNU headers say what they are, and what (POSIX.1-2017, pax, "ustar Interchange Format").
const MAGIC: (usize, &[u8]) = (257, b"ustar");
/// The name that a Dockerfile gets which came without one.
const NAME: &str = "Dockerfile";

/// Whether a file is an archive; its position is the beginning again.
pub(super) fn is_archive(file: &mut File) -> io::Result<bool> {
    let head = head(file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(is_head_of_archive(&head))
}

/// Makes a context of what `input` has.
pub(super) fn stream(input: &mut (dyn Read + Send), shown: &Path, temp_dir: &Path) -> Result<(Opened, Form), Error> {
    let reading = |source| Error::Read { path: shown.to_path_buf(), source };
    let making = |source| Error::Scratch { dir: temp_dir.to_path_buf(), source };
    let scratch = Scratch::create(temp_dir, "coracle-context-").map_err(making)?;
    let root = Root::open(scratch.path()).map_err(making)?;
    let head = head(input).map_err(reading)?;
    let form = if is_head_of_archive(&head) { Form::Archive } else { Form::Text };
    if form == Form::Archive {
        let mut whole = head.as_slice().chain(input);
        let unpacked = unpack::tree(&mut whole, &root, Path::new(""), &mut ours());
        unpacked.map_err(|source| match is_full(&source) {
            true => Error::Full { path: shown.to_path_buf(), dir: temp_dir.to_path_buf(), source },
            false => Error::Archive { path: shown.to_path_buf(), source },
        })?;
    } else {
        let text = super::read_bounded(head.as_slice().chain(input)).map_err(reading)?;
        let written = root.create_file(Path::new(NAME), 0o644).and_then(|mut file| file.write_all(&text));
        written.map_err(making)?;
    }
    let (place, author) = (Place::Elsewhere, Author::Elsewhere);
    Ok((Opened { root, shown: shown.to_path_buf(), place, author, file: None, scratch: Some(scratch) }, form))
}

fn ours() -> TreeOptions<'static> {
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    TreeOptions {
        devices: Devices::Skip,
        unmapped: Unmapped::Ignore,
        owner: Some(owner),
        mode: None,
        implied_owner: owner,
        maps: None,
        filter: None,
    }
}

fn head(input: &mut (impl Read + ?Sized)) -> io::Result<Vec<u8>> {
    const { assert!(LOOK < LONGEST_TEXT) };
    let mut head = Vec::new();
    input.take(LOOK).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether bytes begin an archive: compressed, or with a header that can be read or says that it is one.
fn is_head_of_archive(head: &[u8]) -> bool {
    let mut bytes = head;
    let Ok(stream) = Decompressor::new(&mut bytes) else { return false };
    if stream.compression() != Compression::None {
        return true;
    }
    let says_so = head.get(MAGIC.0..).is_some_and(|rest| rest.starts_with(MAGIC.1));
    says_so || matches!(first_member(head), Ok(true))
}

fn first_member(head: &[u8]) -> Result<bool, archive::Error> {
    let is_empty_archive = head.len() >= 1024 && head.iter().all(|byte| *byte == 0);
    Ok(is_empty_archive || Reader::new(BufReader::new(head)).next_entry()?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_no_archives() {
        for text in ["", "FROM scratch\n", "ustar", "# syntax=x\nFROM a\n"] {
            assert!(!is_head_of_archive(text.as_bytes()), "{text:?}");
        }
        assert!(!is_head_of_archive("# a long comment\n".repeat(4000).as_bytes()));
    }

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        builder.append_data(&mut header, "a", &b"hi"[..]).unwrap();
        let plain = builder.into_inner().unwrap();
        assert!(is_head_of_archive(&plain) && is_head_of_archive(&[0; 1024]));
        assert!(is_head_of_archive(&zstd::encode_all(&plain[..], 1).unwrap()));
        // One that is damaged is no Dockerfile all the same.
        let mut damaged = plain;
        damaged[150] ^= 1;
        assert!(is_head_of_archive(&damaged));
    }
}
