//! Placeholders of mounts: empty files and directories that `run` makes in a container's layer to mount something on, and that are
//! no part of any image.
//!
//! `run` removes its own when it ends, unless others use the container then. Meanwhile, or after it was killed, they lie in the layer: an extended attribute says what they are, so that
//! commits and lists of changes can leave them out. What has got content is somebody's data and counts, whatever the attribute says.
//!
//! Must not: take a directory for a placeholder that holds anything but placeholders.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::archive::whiteout;
use crate::rooted;

/// The mark. Never exported: layers carry nothing below `user.coracle.`.
pub const ATTRIBUTE: &CStr = c"user.coracle.placeholder";
/// Placeholders are made for paths of a few components; deeper nesting is somebody's tree.
const MAX_DEPTH: u32 = 32;

/// Marks the entry `name` of the open directory `dir`, a file or directory that was just made. A file system that can't is no error: then
/// a killed `run` leaves an empty file.
pub fn mark(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::fsetxattr(open(dir, name)?, ATTRIBUTE, b"1", XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes the mark from the entry `name` of the open directory `dir`: it has become somebody's, and stays so when it is emptied. A file
/// system that can't take it is no error.
pub fn unmark(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::fremovexattr(open(dir, name)?, ATTRIBUTE) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the entry `name` of the open directory `dir` is a placeholder and nothing else.
pub fn is_placeholder(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    entry(dir, name, 0)
}

/// Whether the open directory holds placeholders only, or nothing.
pub(crate) fn is_vacant(dir: BorrowedFd<'_>) -> io::Result<bool> {
    holds_only_placeholders(dir, 0)
}

fn entry(dir: BorrowedFd<'_>, name: &OsStr, depth: u32) -> io::Result<bool> {
    let handle = rooted::open_child(dir, name)?;
    let stat = rustix::fs::fstat(&handle)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let empty_file = kind == FileType::RegularFile && stat.st_size == 0;
    if !(empty_file || kind == FileType::Directory) || !is_marked(dir, name)? {
        return Ok(false);
    }
    Ok(empty_file || holds_only_placeholders(handle.as_fd(), depth)?)
}

fn holds_only_placeholders(dir: BorrowedFd<'_>, depth: u32) -> io::Result<bool> {
    if depth >= MAX_DEPTH {
        return Ok(false);
    }
    for found in rooted::list(dir)? {
        // A mount program says so of every directory that it makes (format, section 7.2); no layer holds such a name.
        if whiteout::is_program_opaque(found.name.as_encoded_bytes()) {
            continue;
        }
        if !entry(dir, &found.name, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the entry `name`, known to be a file or directory, carries the mark. It may have got content since.
pub fn is_marked(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    let file = match open(dir, name) {
        Err(Errno::ACCESS | Errno::PERM | Errno::LOOP) => return Ok(false),
        other => other?,
    };
    match rustix::fs::fgetxattr(file, ATTRIBUTE, &mut [0u8; 8][..]) {
        Ok(_) | Err(Errno::RANGE) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Opened for real: a bare handle would need /proc to get at attributes, and a container that is being set up has none.
fn open(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Root;

    #[test]
    fn only_marked_and_empty_things_are_placeholders() {
        let tmp = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
        let root = Root::open(tmp.path()).unwrap();
        fs::create_dir_all(tmp.path().join("etc/sub")).unwrap();
        fs::create_dir(tmp.path().join("plain")).unwrap();
        for name in ["etc/hosts", "etc/sub/f", "full", "unmarked"] {
            fs::write(tmp.path().join(name), "").unwrap();
        }
        for name in ["etc", "etc/sub", "etc/hosts", "etc/sub/f", "full"] {
            let (parent, name) = root.parent(name.as_ref()).unwrap();
            mark(parent.as_fd(), &name).unwrap();
        }
        fs::write(tmp.path().join("etc/.wh..wh..opq"), "").unwrap();
        fs::write(tmp.path().join("full"), "data").unwrap();
        let is = |name: &str| is_placeholder(root.as_fd(), name.as_ref()).unwrap();
        assert!(is("etc"));
        assert!(!is("plain") && !is("full") && !is("unmarked"));
        fs::write(tmp.path().join("etc/sub/mine"), "").unwrap();
        assert!(!is("etc"), "an unmarked file deep inside");
        fs::remove_file(tmp.path().join("etc/sub/mine")).unwrap();
        assert!(is("etc"));
        unmark(root.as_fd(), "etc".as_ref()).unwrap();
        assert!(!is("etc"), "empty, and not marked any more");
    }
}
