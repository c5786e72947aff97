//! What can go wrong with an archive, said for people: the member's name as written (escaped), the cause, the source.

use std::fmt;
use std::io;

/// Why an archive, or a directory to be packed, is not accepted. Never a fault of the machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The input ends within a header, its content or its padding.
    #[error("the archive is cut short")]
    Truncated,
    /// Not a tar header: no valid checksum, or a number that is none.
    #[error("not a valid tar header: {0}")]
    Header(&'static str),
    /// Two readers would see two different archives (known attacks A27).
    #[error("the archive can be read in two ways: {0}")]
    Ambiguous(&'static str),
    /// More than the limit for this kind of metadata (known attacks A32).
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// The kind of metadata.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// A feature of tar that is known and not supported.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// The name leaves the root, or is no name (known attacks A21, A23, A28).
    #[error("the name {0}")]
    Name(&'static str),
    /// A path is given twice; all tools refuse such a layer.
    #[error("duplicates of file paths not supported")]
    Duplicate,
    /// A hard link whose target is missing or can't be linked.
    #[error("the hard link's target {target} {why}")]
    Link {
        /// The target as written.
        target: Escaped,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An owner outside the ids of this user namespace.
    #[error("owner {uid}:{gid} is not mapped in this user namespace")]
    Unmapped {
        /// The owner wanted.
        uid: u32,
        /// The group wanted.
        gid: u32,
    },
    /// The file changed while it was packed.
    #[error("changed while it was read")]
    Changed,
    /// An overlay mark that another tool left, which this packer can't express in a layer.
    #[error("carries {0}, made by another tool; the layer must be packed through a mount")]
    ForeignMark(&'static str),
}

/// An error of the tar engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The member, or the file to be packed, is refused.
    #[error("{name}: {refusal}")]
    Refused {
        /// The name as written, escaped.
        name: Escaped,
        /// Why.
        refusal: Refusal,
    },
    /// The archive is refused where no member's name is known.
    #[error("at byte {offset} of the archive: {refusal}")]
    Stream {
        /// Offset in the uncompressed archive, in bytes.
        offset: u64,
        /// Why.
        refusal: Refusal,
    },
    /// A system call about the member failed.
    #[error("{name}: {action}: {source}")]
    Entry {
        /// The name as written, escaped.
        name: Escaped,
        /// What was being done, as in "creating the file".
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The compressed stream is damaged, cut short, or followed by something else.
    #[error("decompressing ({compression}): {source}")]
    Decompress {
        /// The compression as recognised.
        compression: super::Compression,
        /// The cause.
        source: io::Error,
    },
    /// The input could not be read.
    #[error("reading the archive: {0}")]
    Read(#[source] io::Error),
    /// The tar, or its tar-split, could not be written.
    #[error("writing the archive: {0}")]
    Write(#[source] io::Error),
    /// A helper thread could not be started or ended early.
    #[error("packing thread: {0}")]
    Thread(#[source] io::Error),
}

/// Foreign bytes made fit for a terminal and a log: printable text as it is, all else as `\xNN` or `\u{…}`; cut at 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escaped(String);

impl Escaped {
    /// Escapes `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let cut = &bytes[..bytes.len().min(255)];
        let mut text = String::with_capacity(cut.len() + 2);
        text.push('"');
        for chunk in cut.utf8_chunks() {
            text.extend(chunk.valid().escape_debug());
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        text.push('"');
        if cut.len() < bytes.len() {
            text.push('…');
        }
        Self(text)
    }
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error {
    /// Whether a file's content or a directory's entries were found elsewhere than under its name: overlayfs knows where.
    pub(crate) fn is_mark_of_overlayfs(&self) -> bool {
        let refusal = match self {
            Self::Refused { refusal, .. } => refusal,
            _ => return false,
        };
        matches!(refusal, Refusal::ForeignMark(super::xattrs::REDIRECT | super::xattrs::METACOPY))
    }

    /// The member `name` is refused.
    pub fn refused(name: &[u8], refusal: Refusal) -> Self {
        Self::Refused { name: Escaped::new(name), refusal }
    }

    /// `action` on the member `name` failed.
    pub fn entry(name: &[u8], action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Entry { name: Escaped::new(name), action, source: source.into() }
    }
}
