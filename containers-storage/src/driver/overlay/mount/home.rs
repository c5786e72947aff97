//! The private mount of the driver's home (format 6.2): with real root, mounts made below it must not spread to other mount
//! namespaces, where they would keep the upper directory in use for as long as those live.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::driver::{Error, is_mount_point};

/// One line of mountinfo, as far as it matters here (proc_pid_mountinfo(5)).
struct Mount {
    id: u32,
    parent: u32,
    device: String,
    target: Vec<u8>,
}

/// Binds the home on itself, unless it is a mount point already, and makes it private.
pub(super) fn make_private(home: &Path) -> Result<(), Error> {
    if !is_mount_point(home) {
        rustix::mount::mount_bind(home, home).map_err(Error::io("binding", home))?;
    }
    rustix::mount::mount_change(home, MountPropagationFlags::PRIVATE).map_err(Error::io("making private", home))
}

/// Undoes `make_private` when nothing is mounted below. A home that is a file system of its own is left alone.
pub(super) fn release(home: &Path) -> Result<(), Error> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read(path).map_err(Error::io("reading", path))?;
    let mounts: Vec<Mount> = text.split(|b| *b == b'\n').filter_map(parse).collect();
    let home_path = fs::canonicalize(home).map_err(Error::io("opening", home))?;
    let bytes = home_path.as_os_str().as_bytes();
    let Some(own) = mounts.iter().rev().find(|mount| mount.target == bytes) else {
        return Ok(());
    };
    let is_bind_of_parent = mounts.iter().any(|mount| mount.id == own.parent && mount.device == own.device);
    let busy = mounts.iter().any(|mount| mount.target.strip_prefix(bytes).is_some_and(|rest| rest.starts_with(b"/")));
    if is_bind_of_parent && !busy {
        rustix::mount::unmount(home, UnmountFlags::DETACH).map_err(Error::io("unmounting", home))?;
    }
    Ok(())
}

fn parse(line: &[u8]) -> Option<Mount> {
    let text = |word: &[u8]| std::str::from_utf8(word).ok().map(str::to_owned);
    let mut words = line.split(|b| *b == b' ');
    let id = text(words.next()?)?.parse().ok()?;
    let parent = text(words.next()?)?.parse().ok()?;
    let device = text(words.next()?)?;
    let _root = words.next()?;
    Some(Mount { id, parent, device, target: unescape(words.next()?) })
}

/// Space, tab, newline and backslash appear as three octal digits after a backslash.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_parsed_and_unescaped() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - ext3 /dev/root rw";
        let mount = parse(line).unwrap();
        assert_eq!((mount.id, mount.parent, mount.device.as_str()), (36, 35, "98:0"));
        assert_eq!(mount.target, b"/a b\\c");
        assert!(parse(b"36 x").is_none());
    }
}
