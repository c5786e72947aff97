//! One member of an archive, as the reader understood it and as the packer describes it.
//!
//! Invariant: `Entry::path` never leaves the root, whatever the archive said; it is made by `clean_path` and by nothing else.

use super::Refusal;

/// Longest path of a member in bytes: `PATH_MAX` of Linux without its final NUL (path_resolution(7)).
pub const PATH_LIMIT: usize = 4095;

/// What a member makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with `Entry::size` bytes of content.
    File,
    /// A further name of an earlier member; the bytes are its name as written in the archive.
    HardLink(Vec<u8>),
    /// A symbolic link and its text.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// A time of modification: seconds since 1970-01-01T00:00:00Z (negative before) and nanoseconds after that second (0–999,999,999).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

impl Time {
    /// The whole second `seconds` after 1970.
    pub fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// This time for access and modification, as `utimensat(2)` wants it.
    pub(crate) fn timestamps(self) -> rustix::fs::Timestamps {
        let time = rustix::fs::Timespec { tv_sec: self.seconds, tv_nsec: i64::from(self.nanoseconds) };
        rustix::fs::Timestamps { last_access: time, last_modification: time }
    }
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as the archive spells it, with a leading or trailing slash if it has one.
    pub name: Vec<u8>,
    /// `name` below the root: no leading slash, no `.` or empty component, never `..`; empty for the root itself.
    pub path: Vec<u8>,
    /// What it makes.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`0o7777` at most).
    pub mode: u32,
    /// Owner, a number of the container.
    pub uid: u32,
    /// Group, a number of the container.
    pub gid: u32,
    /// Time of modification.
    pub mtime: Time,
    /// Length of the content in bytes, holes included; 0 for all but files.
    pub size: u64,
    /// Extended attributes in the archive's order (PAX `SCHILY.xattr.NAME`).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The name of a member below the root: leading slashes mean the root (absolute names are inside, as all tools have it), `.` and
/// empty components vanish, and `..` anywhere is refused (known attacks A21).
pub fn clean_path(name: &[u8]) -> Result<Vec<u8>, Refusal> {
    if name.contains(&0) {
        return Err(Refusal::Name("holds a NUL byte"));
    }
    let mut path = Vec::with_capacity(name.len());
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(Refusal::Name("climbs with \"..\"")),
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    if path.len() > PATH_LIMIT {
        return Err(Refusal::TooLarge { what: "the name", limit: PATH_LIMIT as u64 });
    }
    Ok(path)
}

/// A clean path as its directory (empty for the root) and its last component.
pub(crate) fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_stay_inside() {
        let table: [(&str, Option<&str>); 15] = [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/abs", Some("abs")),
            ("//abs/./x", Some("abs/x")),
            ("", Some("")),
            (".", Some("")),
            ("./", Some("")),
            ("/", Some("")),
            ("..", None),
            ("../x", None),
            ("a/..", None),
            ("a/../../x", None),
            ("./../x", None),
            ("a/..b/...", Some("a/..b/...")),
            ("a\0b", None),
        ];
        for (name, expected) in table {
            assert_eq!(clean_path(name.as_bytes()).ok().as_deref(), expected.map(str::as_bytes), "{name:?}");
        }
        assert!(clean_path(&vec![b'a'; PATH_LIMIT + 1]).is_err());
    }

    #[test]
    fn split_at_the_last_slash() {
        assert_eq!(split_path(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split_path(b"a"), (&b""[..], &b"a"[..]));
    }
}
