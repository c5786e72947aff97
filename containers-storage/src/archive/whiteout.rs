//! The names and marks by which a layer says that something of a lower layer is gone.

use std::collections::HashSet;
use std::path::PathBuf;

/// Which family of extended attributes the overlay driver's marks use (overlayfs documentation, "User xattr").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayXattrs {
    /// `user.overlay.*`, for mounts with `userxattr` (rootless, format section 10.1).
    User,
    /// `trusted.overlay.*`, for root in the initial user namespace.
    Trusted,
    /// `user.fuseoverlayfs.*`, in a directory that fuse-overlayfs wrote; its names that begin with `.wh.` are marks there as well (format
    /// section 7.2). What is written for it carries the marks of `User`, which it reads too.
    Program,
}

impl OverlayXattrs {
    /// The family of native mounts that this process makes.
    pub fn of_process() -> Self {
        if crate::id_map::is_rootless() { Self::User } else { Self::Trusted }
    }

    /// What the names of all marks of the family begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::User => "user.overlay.",
            Self::Trusted => "trusted.overlay.",
            Self::Program => "user.fuseoverlayfs.",
        }
    }

    /// The attribute that makes a directory opaque; its value is `y`.
    pub fn opaque(self) -> &'static str {
        match self {
            Self::User | Self::Program => "user.overlay.opaque",
            Self::Trusted => "trusted.overlay.opaque",
        }
    }
}

/// How an unpacked layer keeps what it says about the layers below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// As overlayfs does: devices and attributes of this family in the layer's own tree.
    OnDisk(OverlayXattrs),
    /// In a list, for a driver whose layers are whole trees. Works where neither device nor attribute can be made.
    Listed,
}

/// What a layer says about the layers below it, where its own tree does not say it. Paths are below the root, clean, without a leading slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Gone, with all below them; what the layer itself has there stays.
    pub whiteouts: HashSet<PathBuf>,
    /// Directories of the layer that show nothing of the layers below.
    pub opaque: HashSet<PathBuf>,
    /// Directories that the archive does not hold, but something below them: where a lower layer has one, that one's owner, mode and time count.
    pub implied: HashSet<PathBuf>,
}

/// What the last component of a member's name means in a layer (OCI image specification, "Whiteouts").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// An ordinary name.
    Ordinary,
    /// The sibling of this name is deleted.
    Whiteout(&'a [u8]),
    /// All of the directory's lower content is hidden.
    Opaque,
    /// Bookkeeping of AUFS, to be skipped.
    Aufs,
    /// `.wh.`, `.wh..` or `.wh...`: it would name the directory or its parent (known attacks A28).
    Invalid,
}

/// Prefix of a whiteout's name.
pub const PREFIX: &[u8] = b".wh.";
/// Name of the marker in an opaque directory.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// Whether fuse-overlayfs made the single component `name` beside the attribute of an opaque directory.
pub fn is_program_opaque(name: &[u8]) -> bool {
    name == OPAQUE || name == b".wh..opq"
}

/// The meaning of the single component `name`.
pub fn meaning(name: &[u8]) -> Meaning<'_> {
    let Some(rest) = name.strip_prefix(PREFIX) else { return Meaning::Ordinary };
    match rest {
        b"" | b"." | b".." => Meaning::Invalid,
        b".wh..opq" => Meaning::Opaque,
        _ if rest.starts_with(PREFIX) => Meaning::Aufs,
        _ => Meaning::Whiteout(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_meaning() {
        let table: [(&[u8], Meaning<'_>); 10] = [
            (b"x", Meaning::Ordinary),
            (b".wh", Meaning::Ordinary),
            (b".whx", Meaning::Ordinary),
            (b".wh.", Meaning::Invalid),
            (b".wh..", Meaning::Invalid),
            (b".wh...", Meaning::Invalid),
            (b".wh..x", Meaning::Whiteout(b".x")),
            (b".wh..wh..opq", Meaning::Opaque),
            (b".wh..wh.plnk", Meaning::Aufs),
            (b".wh.....", Meaning::Whiteout(b"....")),
        ];
        for (name, expected) in table {
            assert_eq!(meaning(name), expected, "{:?}", String::from_utf8_lossy(name));
        }
    }
}
