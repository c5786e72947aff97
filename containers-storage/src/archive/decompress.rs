//! Compression of an archive, by its first bytes, never by a name or a media type.

use std::fmt;

/// How a blob is compressed. The number is the one in `layers.json` (format section 3.1, `compression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// bzip2, one or more streams.
    Bzip2 = 1,
    /// gzip, one or more members (RFC 1952).
    Gzip = 2,
    /// xz, one or more streams.
    Xz = 3,
    /// Zstandard frames, skippable ones included (RFC 8878); windows up to 128 MiB.
    Zstd = 4,
}

impl Compression {
    /// How many first bytes `detect` wants to see.
    pub const MAGIC_LENGTH: usize = 6;

    /// Recognises the compression of a stream that starts with `first` (fewer bytes than `MAGIC_LENGTH` only if it is that short).
    pub fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }

    /// The number of the format's `compression` member.
    pub fn as_integer(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}
