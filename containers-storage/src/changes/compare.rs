//! One object of a layer, by handle, and whether it differs from the one below it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use super::FileKind;
use crate::archive::Recorded;
use crate::id_map::IdMaps;
use crate::rooted;

/// A bare handle and what it stands for.
pub(crate) struct Object {
    handle: OwnedFd,
    stat: Stat,
}

impl Object {
    pub fn open(dir: &OwnedFd, name: &OsStr) -> io::Result<Self> {
        let handle = rooted::open_child(dir.as_fd(), name)?;
        let stat = rustix::fs::fstat(&handle)?;
        Ok(Self { handle, stat })
    }

    /// The same in a store of a mount program, which may keep owners and modes in attributes.
    pub fn open_shown(dir: &OwnedFd, name: &OsStr) -> io::Result<Self> {
        let mut object = Self::open(dir, name)?;
        if matches!(object.kind(), FileKind::Directory | FileKind::File) {
            let recorded = match object.attribute(c"user.fuseoverlayfs.override_stat")? {
                Some(value) => Some(value),
                None => object.attribute(c"user.containers.override_stat")?,
            };
            if let Some(recorded) = recorded.and_then(|value| Recorded::parse(&value)) {
                (object.stat.st_uid, object.stat.st_gid) = (recorded.uid, recorded.gid);
                object.stat.st_mode = object.stat.st_mode & !0o7777 | recorded.mode;
            }
        }
        Ok(object)
    }

    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    pub fn kind(&self) -> FileKind {
        FileKind::of(&self.stat)
    }

    /// Bytes of a regular file.
    pub fn size(&self) -> Option<u64> {
        (self.kind() == FileKind::File).then(|| u64::try_from(self.stat.st_size).unwrap_or(0))
    }

    /// A character device 0:0 (format 7.1).
    pub fn is_whiteout(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    /// Whether it carries the mark of a placeholder; what it holds is another question.
    pub fn is_marked_placeholder(&self) -> io::Result<bool> {
        let may_be = matches!(self.kind(), FileKind::Directory | FileKind::File);
        Ok(may_be && self.attribute(crate::placeholder::ATTRIBUTE)?.is_some())
    }

    /// The value of an extended attribute, if the object has it.
    pub fn attribute(&self, name: &CStr) -> io::Result<Option<Vec<u8>>> {
        let path = self.path();
        let mut value = vec![0; 256];
        loop {
            match rustix::fs::getxattr(&path, name, &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    return Ok(Some(value));
                }
                Err(Errno::RANGE) if value.len() < 1 << 17 => value.resize(value.len() * 2, 0),
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The attributes that a layer carries: file capabilities and `user.*` but overlayfs' own (format 7.5).
    fn attributes(&self) -> io::Result<BTreeMap<CString, Option<Vec<u8>>>> {
        let mut names = vec![0; 1 << 16];
        let length = match rustix::fs::listxattr(self.path(), &mut names[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM) => 0,
            Err(errno) => return Err(errno.into()),
        };
        names.truncate(length);
        const OURS: [&[u8]; 4] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.", b"user.coracle."];
        let carried = |name: &&[u8]| {
            *name == b"security.capability" || name.starts_with(b"user.") && !OURS.iter().any(|ours| name.starts_with(ours))
        };
        let names = names.split(|b| *b == 0).filter(carried);
        names
            .map(|name| CString::new(name).map_err(io::Error::from))
            .map(|name| {
                name.and_then(|name| {
                    let value = self.attribute(&name)?;
                    Ok((name, value))
                })
            })
            .collect()
    }

    /// Attributes can't be read through a bare handle, but through its name.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd())
    }
}

/// Whether the object above is another than the one below, whose owners `owners` maps. A directory's time and size change with its
/// entries, so they don't count.
pub(super) fn differ(above: &Object, below: &Object, owners: &IdMaps) -> io::Result<bool> {
    let (a, b) = (&above.stat, &below.stat);
    if above.kind() != below.kind()
        || a.st_mode != b.st_mode
        || owners.outside(b.st_uid, b.st_gid) != Some((a.st_uid, a.st_gid))
    {
        return Ok(true);
    }
    let same_time = (a.st_mtime, a.st_mtime_nsec) == (b.st_mtime, b.st_mtime_nsec);
    match above.kind() {
        FileKind::Directory => Ok(above.attributes()? != below.attributes()?),
        FileKind::Symlink => Ok(!same_time || target(above)? != target(below)?),
        FileKind::Device => Ok(!same_time || a.st_rdev != b.st_rdev),
        FileKind::Fifo | FileKind::Socket => Ok(!same_time),
        FileKind::File => {
            if !same_time || a.st_size != b.st_size || above.attributes()? != below.attributes()? {
                return Ok(true);
            }
            // Equal times prove nothing where times are clamped.
            contents_differ(above, below)
        }
    }
}

fn target(link: &Object) -> io::Result<CString> {
    Ok(rustix::fs::readlinkat(&link.handle, "", Vec::new())?)
}

fn contents_differ(above: &Object, below: &Object) -> io::Result<bool> {
    let open = |object: &Object| rooted::reopen_regular(object.handle.as_fd(), OFlags::RDONLY);
    let (mut above, mut below) = (open(above)?, open(below)?);
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let length = fill(&mut above, &mut a)?;
        if length != fill(&mut below, &mut b)? || a.get(..length) != b.get(..length) {
            return Ok(true);
        }
        if length == 0 {
            return Ok(false);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
