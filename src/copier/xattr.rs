//! The extended attributes that a copy keeps: `user.*`, `security.capability` and `security.ima` (xattr(7)).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// Reads them from an open file or directory. A file system without attributes has none.
pub fn read(file: BorrowedFd<'_>) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = BTreeMap::new();
    // Most files have none, and the buffer on the stack is enough for almost all others.
    let mut small = [0; 1024];
    let names = match rustix::fs::flistxattr(file, &mut small) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(found),
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => list(file)?,
        Err(error) => return Err(error.into()),
    };
    for name in names.split(|&byte| byte == 0).filter(|name| is_kept(name)) {
        if let Some(value) = value(file, name)? {
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

fn is_kept(name: &[u8]) -> bool {
    // `user.overlay.` is how an unprivileged overlay file system marks its own files: never content.
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
        || matches!(name, b"security.capability" | b"security.ima")
}

/// The kernel gives at most 64 KiB of names and of a value (xattr(7)).
fn list(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    let length = rustix::fs::flistxattr(file, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// `None` for one that went away, or that this user namespace can't express (a capability of another one's root).
fn value(file: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 64 << 10];
    match rustix::fs::fgetxattr(file, name, &mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::NODATA | Errno::OVERFLOW) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
