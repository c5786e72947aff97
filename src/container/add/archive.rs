//! Archives that `add` unpacks: recognised by their content, read by the one tar engine.
//!
//! Owners and modes are those of the archive, unless `--chown` and `--chmod` say otherwise. The archive is read twice: once for
//! the digest, which is over its members as another builder would write them again, once to unpack it.
//!
//! Must not: start a decompressor program (CVE-2021-20291); take a name's ending for its type.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use containers_storage::Digest;
use containers_storage::archive::decompress::Decompressor;
use containers_storage::archive::reader::Reader;
use containers_storage::archive::unpack::{self, TreeOptions, Unmapped, Verdict};
use containers_storage::archive::{Entry, Error, Kind, Refusal, Time};
use containers_storage::rooted::reopen_regular;
use rustix::fs::OFlags;

use super::sources::{Item, Origin};
use super::{Archives, Options, Verb};
use crate::copier::digest::Stream;
use crate::copier::header::{self, Dialect, Header};
use crate::copier::mode::ModeChange;
use crate::copier::names::Owner;
use crate::copier::tree::Session;

/// Whether `item` is an archive that `options` have unpacked.
pub(super) fn is_unpacked(origin: &Origin<'_>, item: &Item<'_>, options: &Options<'_>) -> bool {
    let wanted = match options.archives {
        Archives::Here => item.is_here(),
        Archives::All => true,
        Archives::None => false,
    };
    // What can't be opened is an error when its turn comes.
    let is_archive = || origin.open_item(item).is_ok_and(|handle| looks_like_archive(handle.as_fd()));
    options.verb == Verb::Add && wanted && item.is_regular && is_archive()
}

/// Whether a regular file is an archive, compressed or not, with at least one member. What can't be read as one is none; one whose first
/// member is refused for what it says is an archive all the same, and must not be taken for a file.
fn looks_like_archive(handle: BorrowedFd<'_>) -> bool {
    let Ok(mut file) = open(handle) else { return false };
    let Ok(stream) = Decompressor::new(&mut file) else { return false };
    let mut stream = BufReader::new(stream);
    // No header begins so, but the images of many disks.
    if !matches!(stream.fill_buf(), Ok([first, ..]) if *first != 0) {
        return false;
    }
    match Reader::new(stream).next_entry() {
        Ok(entry) => entry.is_some(),
        Err(Error::Refused { refusal, .. } | Error::Stream { refusal, .. }) => {
            !matches!(refusal, Refusal::Header(_) | Refusal::Truncated)
        }
        Err(_) => false,
    }
}

/// Unpacks the archive into `directory` of the container; gives its digest and how many members it has. `owner` is the one that
/// was asked for.
pub(super) fn unpack(
    session: &mut Session<'_>,
    owner: Option<Owner>,
    handle: BorrowedFd<'_>,
    directory: &Path,
) -> Result<(Digest, u64), Error> {
    let look = session.look;
    let digest = digest(open(handle)?, owner, look.mode)?;
    let time = look.time.map(|seconds| Time { seconds, nanoseconds: 0 });
    let mut stamp = |entry: &mut Entry| {
        entry.mtime = time.unwrap_or(entry.mtime);
        entry.mode = changed(look.mode, entry);
        Verdict::Take
    };
    let mut options = TreeOptions {
        devices: session.devices,
        unmapped: if crate::userns::has_single_id() { Unmapped::Ignore } else { Unmapped::Refuse },
        owner: owner.map(|owner| (owner.uid, owner.gid)),
        mode: None,
        implied_owner: (look.default_owner.uid, look.default_owner.gid),
        maps: session.maps.copies,
        filter: Some(&mut stamp),
    };
    let outcome = unpack::tree(&mut open(handle)?, session.target, directory, &mut options)?;
    Ok((digest, outcome.entries))
}

fn open(handle: BorrowedFd<'_>) -> Result<File, Error> {
    reopen_regular(handle, OFlags::RDONLY).map_err(Error::Read)
}

fn changed(change: Option<ModeChange>, entry: &Entry) -> u32 {
    change.map_or(entry.mode, |change| change.apply(entry.mode, matches!(entry.kind, Kind::Directory)))
}

/// The digest over the members as Go's `archive/tar` would write them after reading them.
fn digest(mut file: File, owner: Option<Owner>, mode: Option<ModeChange>) -> Result<Digest, Error> {
    let stream = Decompressor::new(&mut file).map_err(Error::Read)?;
    let mut reader = Reader::new(BufReader::new(stream));
    let mut digest = Stream::default();
    while let Some(entry) = reader.next_entry()? {
        // Said before anything is unpacked, and not when the layer is packed.
        if entry.name.split(|byte| *byte == b'/').any(|part| part.starts_with(b".wh.")) {
            let refusal = Refusal::Name("begins with \".wh.\", which would delete files in a layer");
            return Err(Error::refused(&entry.name, refusal));
        }
        let (kind, link, device) = match &entry.kind {
            Kind::File => (header::Kind::File, &b""[..], (0, 0)),
            Kind::HardLink(name) => (header::Kind::HardLink, name.as_slice(), (0, 0)),
            Kind::Symlink(text) => (header::Kind::Symlink, text.as_slice(), (0, 0)),
            Kind::Directory => (header::Kind::Directory, &b""[..], (0, 0)),
            Kind::Fifo => (header::Kind::Fifo, &b""[..], (0, 0)),
            Kind::CharDevice { major, minor } => (header::Kind::CharDevice, &b""[..], (*major, *minor)),
            Kind::BlockDevice { major, minor } => (header::Kind::BlockDevice, &b""[..], (*major, *minor)),
        };
        let xattrs: BTreeMap<_, _> = entry.xattrs.iter().cloned().collect();
        let signature = reader.signature();
        digest.header(&Header {
            dialect: if signature.gnu { Dialect::Gnu } else { Dialect::Posix },
            name: &entry.name,
            kind,
            mode: changed(mode, &entry),
            uid: owner.map_or(entry.uid, |owner| owner.uid),
            gid: owner.map_or(entry.gid, |owner| owner.gid),
            size: entry.size,
            modified: 0,
            link,
            user: &signature.user,
            group: &signature.group,
            device,
            xattrs: &xattrs,
        });
        let mut at = 0;
        reader.content(&mut |offset, piece| {
            digest.zeros(offset.saturating_sub(at));
            digest.data(piece);
            at = offset + piece.len() as u64;
            Ok(())
        })?;
        digest.zeros(entry.size.saturating_sub(at));
        digest.end_of_file();
    }
    digest.complete().wait().map_err(Error::Read)
}
