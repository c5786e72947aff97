//! One 512-byte header block: checksum, numbers and text fields, read as strictly as GNU tar and Go agree on.

use super::super::Refusal;
use super::Signature;

/// Length of a tar block in bytes.
pub const BLOCK: usize = 512;

/// The dialect of a header, by its magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Seventh Edition: no magic.
    V7,
    /// POSIX: `ustar` NUL.
    Ustar,
    /// The `star` program's: as POSIX, with a shorter prefix.
    Star,
    /// GNU: `ustar`, two blanks, NUL.
    Gnu,
}

/// A header block whose checksum is right.
#[derive(Debug)]
pub(super) struct Header {
    fields: tar::Header,
}

impl Header {
    /// Checks the sum of `block`. Both the unsigned sum of POSIX and the signed one of old writers are accepted, as everybody does.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, Refusal> {
        let fields = tar::Header::from_byte_slice(block).clone();
        let stored = octal(&fields.as_old().cksum)?;
        let blank = 8 * i64::from(b' ');
        let (mut unsigned, mut signed) = (blank, blank);
        for (at, &byte) in block.iter().enumerate() {
            if !(148..156).contains(&at) {
                unsigned += i64::from(byte);
                signed += i64::from(byte.cast_signed());
            }
        }
        if stored != unsigned && stored != signed {
            return Err(Refusal::Header("the checksum is wrong"));
        }
        Ok(Self { fields })
    }

    /// The dialect.
    pub(super) fn dialect(&self) -> Dialect {
        let bytes = self.fields.as_bytes();
        match &bytes[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar\0") => {
                if bytes[508..512] == *b"tar\0" {
                    Dialect::Star
                } else {
                    Dialect::Ustar
                }
            }
            _ => Dialect::V7,
        }
    }

    /// The type flag.
    pub(super) fn flag(&self) -> u8 {
        self.fields.as_old().linkflag[0]
    }

    /// The name with its prefix.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.fields.as_old().name);
        let bytes = self.fields.as_bytes();
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&bytes[345..500]),
            Dialect::Star => text(&bytes[345..476]),
            Dialect::V7 | Dialect::Gnu => &[],
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// The link's target or text.
    pub(super) fn link_name(&self) -> Vec<u8> {
        text(&self.fields.as_old().linkname).to_vec()
    }

    /// The length of what follows.
    pub(super) fn size(&self) -> Result<u64, Refusal> {
        u64::try_from(number(&self.fields.as_old().size)?).map_err(|_| Refusal::Header("a negative size"))
    }

    /// The mode without the bits of the file type, which old writers of the containers tools left in.
    pub(super) fn mode(&self) -> Result<u32, Refusal> {
        match u32::try_from(number(&self.fields.as_old().mode)?) {
            Ok(mode) if mode <= 0o177_777 => Ok(mode & 0o7777),
            _ => Err(Refusal::Header("a bad mode")),
        }
    }

    /// The owner's number, not yet checked for its range.
    pub(super) fn uid(&self) -> Result<i64, Refusal> {
        number(&self.fields.as_old().uid)
    }

    /// The group's number, not yet checked for its range.
    pub(super) fn gid(&self) -> Result<i64, Refusal> {
        number(&self.fields.as_old().gid)
    }

    /// The time of modification in seconds since 1970.
    pub(super) fn mtime(&self) -> Result<i64, Refusal> {
        number(&self.fields.as_old().mtime)
    }

    /// Names of the owners, and the dialect.
    pub(super) fn signature(&self) -> Signature {
        let bytes = self.fields.as_bytes();
        match self.dialect() {
            Dialect::V7 => Signature::default(),
            dialect => Signature {
                user: text(&bytes[265..297]).to_vec(),
                group: text(&bytes[297..329]).to_vec(),
                gnu: dialect == Dialect::Gnu,
            },
        }
    }

    /// The numbers of a device.
    pub(super) fn device(&self) -> Result<(u32, u32), Refusal> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        let bytes = self.fields.as_bytes();
        let part = |field: &[u8]| u32::try_from(number(field)?).map_err(|_| Refusal::Header("a bad device number"));
        Ok((part(&bytes[329..337])?, part(&bytes[337..345])?))
    }

    /// GNU times of access and change. Go falls back to another reading of the header when they are no numbers.
    pub(super) fn check_gnu_times(&self) -> Result<(), Refusal> {
        let bytes = self.fields.as_bytes();
        let readable = number(&bytes[345..357]).is_ok() && number(&bytes[357..369]).is_ok();
        if readable { Ok(()) } else { Err(Refusal::Ambiguous("a GNU header with a name prefix")) }
    }

    /// The four segments of an old GNU sparse header, whether more follow, and the real size.
    pub(super) fn gnu_sparse(&self) -> Result<(&[u8], bool, u64), Refusal> {
        let bytes = self.fields.as_bytes();
        let real = u64::try_from(number(&bytes[483..495])?).map_err(|_| Refusal::Header("a negative size"))?;
        Ok((&bytes[386..482], bytes[482] != 0, real))
    }
}

/// A text field: up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(&[])
}

/// A numeric field: octal, or base-256 (two's complement, big-endian) behind a byte 0x80 or 0xff. Others would be beyond any
/// use, and Python takes them for octal.
pub(super) fn number(field: &[u8]) -> Result<i64, Refusal> {
    let (&first, rest) = field.split_first().ok_or(Refusal::Header("an empty number"))?;
    let start: i128 = match first {
        0x80 => 0,
        0xff => -1,
        _ if first & 0x80 != 0 => return Err(Refusal::Header("a number out of range")),
        _ => return octal(field),
    };
    // At most eleven bytes: they fit.
    let value = rest.iter().fold(start, |value, &byte| (value << 8) | i128::from(byte));
    i64::try_from(value).map_err(|_| Refusal::Header("a number out of range"))
}

/// An octal number between blanks or NULs; an empty field is 0.
fn octal(field: &[u8]) -> Result<i64, Refusal> {
    let is_filler = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !is_filler(byte)).unwrap_or(field.len());
    let digits = text(field.get(start..).unwrap_or(&[])).trim_ascii_end();
    if !digits.is_empty() && field[..start].contains(&0) {
        return Err(Refusal::Ambiguous("a number after a NUL"));
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return Err(Refusal::Header("a number with a digit that is not octal"));
        }
        value = value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
            .ok_or(Refusal::Header("a number out of range"))?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_writers() {
        let table: [(&[u8], Option<i64>); 16] = [
            (b"0000644\0", Some(0o644)),
            (b"000644 \0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00000000017 ", Some(0o17)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"644\0junk", Some(0o644)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"+000001\0", None),
            (b"0x00012\0", None),
            (b"12 34\0\0\0", None),
            (b"\x00\x000644\x00", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(258)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
        ];
        for (field, expected) in table {
            assert_eq!(number(field).ok(), expected, "{field:?}");
        }
        assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff").ok(), Some(i64::MAX));
        assert!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0").is_err());
        assert!(number(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn a_checksum_is_demanded() {
        let mut header = tar::Header::new_ustar();
        header.set_cksum();
        assert!(Header::parse(header.as_bytes()).is_ok());
        header.as_mut_bytes()[0] = b'x';
        assert!(Header::parse(header.as_bytes()).is_err());
    }
}
