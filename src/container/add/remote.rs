//! The digest of a file from the network: over a tar stream as of any file, but with the time that the server gave it, and without the
//! names of its owner (inventory 3.3; seen with Buildah 1.28).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use containers_storage::Digest;
use containers_storage::rooted::reopen_regular;
use rustix::fs::OFlags;

use crate::copier::digest::Stream;
use crate::copier::header::{Dialect, Header, Kind};
use crate::copier::mode::ModeChange;
use crate::copier::names::Owner;

/// Permissions where none were asked for.
const MODE: u32 = 0o600;

/// How the file is described.
pub(super) struct Described<'d> {
    pub(super) name: &'d OsStr,
    pub(super) owner: Owner,
    /// The mode that was asked for.
    pub(super) mode: Option<ModeChange>,
    /// Seconds since 1970.
    pub(super) seconds: u64,
}

/// The digest over the bytes behind `handle`.
pub(super) fn digest(handle: BorrowedFd<'_>, described: &Described<'_>) -> io::Result<Digest> {
    let mut file = reopen_regular(handle, OFlags::RDONLY)?;
    let size = file.metadata()?.len();
    let mut stream = Stream::default();
    stream.header(&Header {
        dialect: Dialect::Posix,
        name: described.name.as_bytes(),
        kind: Kind::File,
        mode: described.mode.map_or(MODE, |change| change.apply(MODE, false)),
        uid: described.owner.uid,
        gid: described.owner.gid,
        size,
        modified: described.seconds,
        link: b"",
        user: b"",
        group: b"",
        device: (0, 0),
        xattrs: &BTreeMap::new(),
    });
    loop {
        match file.read(stream.space()) {
            Ok(0) => break,
            Ok(length) => stream.advance(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.end_of_file();
    stream.complete().wait()
}
