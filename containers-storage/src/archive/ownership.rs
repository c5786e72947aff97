//! How a layer's files keep their owner and mode: as every file does, or in an attribute, behind a mask that is the same for all
//! (`force_mask`; format, section 7.2).
//!
//! ```text
//! user.containers.override_stat      <uid>:<gid>:<mode, octal>[:<type>]     of layers that a tool unpacked
//! user.fuseoverlayfs.override_stat   the same, of what a mount program wrote; it counts where both are
//! ```
//!
//! Links carry no such attribute; pipes and devices are kept as empty files.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::XattrFlags;

use super::{Kind, inode};

/// The attribute of unpacked layers.
pub(crate) const OF_LAYER: &str = "user.containers.override_stat";
/// The attribute of what a mount program wrote.
pub(crate) const OF_PROGRAM: &str = "user.fuseoverlayfs.override_stat";

/// Where owner and mode are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// On the file itself.
    #[default]
    OnInode,
    /// In an attribute. The file belongs to whoever unpacks it.
    InAttribute {
        /// The mode of every file and directory.
        mask: u32,
    },
}

impl Ownership {
    /// The mode that a file or directory gets.
    pub(super) fn mode(self, mode: u32) -> u32 {
        match self {
            Self::OnInode => mode,
            Self::InAttribute { mask } => mask,
        }
    }

    /// Gives what `fd` stands for an owner, if files have one of their own.
    pub(super) fn own(self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> rustix::io::Result<()> {
        if self == Self::OnInode { inode::set_owner(fd, uid, gid) } else { Ok(()) }
    }

    /// The same for the node `name`.
    pub(super) fn own_node(self, parent: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> rustix::io::Result<()> {
        if self == Self::OnInode { inode::set_node_owner(parent, name, uid, gid) } else { Ok(()) }
    }

    /// Notes what the open file or directory is to look like, if that is kept apart.
    pub(super) fn record(self, fd: impl AsFd, recorded: Recorded) -> io::Result<()> {
        if self == Self::OnInode {
            return Ok(());
        }
        Ok(rustix::fs::fsetxattr(fd, OF_LAYER, recorded.text().as_bytes(), XattrFlags::empty())?)
    }
}

/// What such an attribute says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits, with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) kind: RecordedKind,
}

/// What the file really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordedKind {
    /// What it looks like.
    Plain,
    Directory,
    Fifo,
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
}

impl RecordedKind {
    pub(super) fn of(kind: &Kind) -> Self {
        match *kind {
            Kind::Directory => Self::Directory,
            Kind::Fifo => Self::Fifo,
            Kind::CharDevice { major, minor } => Self::CharDevice(major, minor),
            Kind::BlockDevice { major, minor } => Self::BlockDevice(major, minor),
            _ => Self::Plain,
        }
    }

    /// The kind of a member of an archive, if the file is none.
    pub(super) fn node(self) -> Option<Kind> {
        match self {
            Self::Plain | Self::Directory => None,
            Self::Fifo => Some(Kind::Fifo),
            Self::CharDevice(major, minor) => Some(Kind::CharDevice { major, minor }),
            Self::BlockDevice(major, minor) => Some(Kind::BlockDevice { major, minor }),
        }
    }
}

impl Recorded {
    /// As the other tools write it.
    pub(crate) fn text(&self) -> String {
        let kind = match self.kind {
            RecordedKind::Plain => "file".to_owned(),
            RecordedKind::Directory => "dir".to_owned(),
            RecordedKind::Fifo => "pipe".to_owned(),
            RecordedKind::CharDevice(major, minor) => format!("char-{major}-{minor}"),
            RecordedKind::BlockDevice(major, minor) => format!("block-{major}-{minor}"),
        };
        format!("{}:{}:{:04o}:{kind}", self.uid, self.gid, self.mode)
    }

    /// Older tools wrote no type, and some the type's bits with the mode.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim_end_matches('\0');
        let mut words = text.split(':');
        let (uid, gid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mode = u32::from_str_radix(words.next()?, 8).ok()? & 0o7777;
        let device = |rest: &str| {
            let (major, minor) = rest.split_once('-')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        let kind = match words.next() {
            Some("dir") => RecordedKind::Directory,
            Some("pipe") => RecordedKind::Fifo,
            Some(word) => match (word.strip_prefix("char-"), word.strip_prefix("block-")) {
                (Some(rest), _) => device(rest).map(|(major, minor)| RecordedKind::CharDevice(major, minor))?,
                (_, Some(rest)) => device(rest).map(|(major, minor)| RecordedKind::BlockDevice(major, minor))?,
                _ => RecordedKind::Plain,
            },
            None => RecordedKind::Plain,
        };
        Some(Self { uid, gid, mode, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_write_is_read() {
        let recorded = |uid, gid, mode, kind| Some(Recorded { uid, gid, mode, kind });
        let cases = [
            ("0:0:0755:dir", recorded(0, 0, 0o755, RecordedKind::Directory)),
            ("7:8:100640", recorded(7, 8, 0o640, RecordedKind::Plain)),
            ("7:8:104755:file", recorded(7, 8, 0o4755, RecordedKind::Plain)),
            ("1:2:0600:pipe", recorded(1, 2, 0o600, RecordedKind::Fifo)),
            ("0:6:0660:block-8-1", recorded(0, 6, 0o660, RecordedKind::BlockDevice(8, 1))),
            ("0:5:0666:char-1-3", recorded(0, 5, 0o666, RecordedKind::CharDevice(1, 3))),
            ("0:0", None),
            ("0:0:9", None),
            ("-1:0:0644", None),
            ("0:0:0644:char-x", None),
        ];
        for (text, want) in cases {
            assert_eq!(Recorded::parse(text.as_bytes()), want, "{text}");
        }
        let device = Recorded { uid: 1, gid: 2, mode: 0o7, kind: RecordedKind::CharDevice(1, 3) };
        assert_eq!(device.text(), "1:2:0007:char-1-3");
        assert_eq!(Recorded::parse(device.text().as_bytes()), Some(device));
    }
}
