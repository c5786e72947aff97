//! One member of an archive, as the reader understood it and as the packer describes it.

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
