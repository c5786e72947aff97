//! The tar header that a copied file has in the digest that `copy` and `add` print.
//!
//! Scripts compare that digest with the one another builder printed, so these bytes are those of Go's `archive/tar`: USTAR where
//! everything fits, else a PAX record before it (POSIX.1-2017, pax). The layers of images are packed elsewhere
//! (`containers_storage::archive`); nothing here is ever stored.
//!
//! Must not: do I/O.

use std::collections::BTreeMap;

/// The size of a tar block.
pub const BLOCK: usize = 512;

const POSIX_MAGIC: &[u8; 8] = b"ustar\x0000";
const GNU_MAGIC: &[u8; 8] = b"ustar  \0";

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with content.
    File,
    /// Another name of a file before it.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

impl Kind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// How long names are written, and the magic that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// PAX records.
    #[default]
    Posix,
    /// GNU tar's members `L` and `K`: only for members of an archive that has them.
    Gnu,
}

/// One header.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    /// The dialect.
    pub dialect: Dialect,
    /// The name, relative; without a slash at the end, unless an archive has it so.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Permissions with the setuid, setgid and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content; 0 for everything but files.
    pub size: u64,
    /// Seconds since 1970: 0, but for what comes from the network.
    pub modified: u64,
    /// Target of a link.
    pub link: &'a [u8],
    /// The owner's name where the source is, or nothing.
    pub user: &'a [u8],
    /// The group's name where the source is, or nothing.
    pub group: &'a [u8],
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: &'a BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Header<'_> {
    /// The header's blocks, appended to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.dialect == Dialect::Gnu && self.xattrs.is_empty() {
            for (text, flag) in [(self.name, b'L'), (self.link, b'K')] {
                if text.len() > 100 {
                    write_extension(out, b"././@LongLink", flag, &[text, b"\0"].concat(), GNU_MAGIC);
                }
            }
            return self.write_block(out, self.name, b"", GNU_MAGIC);
        }
        let split = split_name(self.name);
        let records = self.pax_records(split.is_some());
        if records.is_empty() {
            let (prefix, name) = split.unwrap_or((b"", self.name));
            self.write_block(out, name, prefix, POSIX_MAGIC);
        } else {
            self.write_records(out, &records);
            self.write_block(out, self.name, b"", POSIX_MAGIC);
        }
    }

    /// What does not fit the fields of a USTAR header.
    fn pax_records(&self, name_splits: bool) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut records = BTreeMap::new();
        let mut text = |key: &str, value: &[u8], limit: usize| {
            if !is_ascii(value) || value.len() > limit {
                records.insert(key.as_bytes().to_vec(), value.to_vec());
            }
        };
        if !name_splits {
            text("path", self.name, 100);
        }
        text("linkpath", self.link, 100);
        text("uname", self.user, 32);
        text("gname", self.group, 32);
        let mut number = |key: &str, value: u64, digits: u32| {
            if value >> (3 * digits) != 0 {
                records.insert(key.as_bytes().to_vec(), value.to_string().into_bytes());
            }
        };
        number("uid", u64::from(self.uid), 7);
        number("gid", u64::from(self.gid), 7);
        number("size", self.size, 11);
        number("mtime", self.modified, 11);
        for (name, value) in self.xattrs {
            records.insert([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone());
        }
        records
    }

    fn write_records(&self, out: &mut Vec<u8>, records: &BTreeMap<Vec<u8>, Vec<u8>>) {
        let mut data = Vec::new();
        for (key, value) in records {
            data.extend_from_slice(&pax_record(key, value));
        }
        let (directory, file) = match self.name.iter().rposition(|&byte| byte == b'/') {
            Some(at) => self.name.split_at(at + 1),
            None => (&b""[..], self.name),
        };
        let mut name = ascii_only(&clean(&[directory, b"PaxHeaders.0/", file].concat()));
        name.truncate(100);
        let end = name.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
        name.truncate(end);
        write_extension(out, &name, b'x', &data, POSIX_MAGIC);
    }

    fn write_block(&self, out: &mut Vec<u8>, name: &[u8], prefix: &[u8], magic: &[u8; 8]) {
        let mut block = [0; BLOCK];
        put_text(&mut block, 0, 100, name);
        put_number(&mut block, 100, 8, u64::from(self.mode));
        put_number(&mut block, 108, 8, u64::from(self.uid));
        put_number(&mut block, 116, 8, u64::from(self.gid));
        put_number(&mut block, 124, 12, self.size);
        put_number(&mut block, 136, 12, self.modified);
        block[156] = self.kind.flag();
        put_text(&mut block, 157, 100, self.link);
        put_text(&mut block, 265, 32, self.user);
        put_text(&mut block, 297, 32, self.group);
        put_number(&mut block, 329, 8, u64::from(self.device.0));
        put_number(&mut block, 337, 8, u64::from(self.device.1));
        put_text(&mut block, 345, 155, prefix);
        finish(&mut block, magic);
        out.extend_from_slice(&block);
    }
}

/// A member that describes the next one.
fn write_extension(out: &mut Vec<u8>, name: &[u8], flag: u8, data: &[u8], magic: &[u8; 8]) {
    let mut block = [0; BLOCK];
    put_text(&mut block, 0, 100, name);
    put_number(&mut block, 100, 8, 0);
    put_number(&mut block, 108, 8, 0);
    put_number(&mut block, 116, 8, 0);
    put_number(&mut block, 124, 12, data.len() as u64);
    put_number(&mut block, 136, 12, 0);
    block[156] = flag;
    finish(&mut block, magic);
    out.extend_from_slice(&block);
    out.extend_from_slice(data);
    out.resize(out.len() + padding_of(data.len() as u64), 0);
}

/// Bytes from `length` to the next block boundary.
pub fn padding_of(length: u64) -> usize {
    let rest = usize::try_from(length % BLOCK as u64).unwrap_or(0);
    if rest == 0 { 0 } else { BLOCK - rest }
}

fn is_ascii(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte < 0x80 && byte != 0)
}

fn ascii_only(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|&byte| byte < 0x80 && byte != 0).collect()
}

/// Prefix and name of a name of more than 100 bytes, if a slash is where the two can be parted.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 || !is_ascii(name) {
        return None;
    }
    let window = name.len().min(156);
    let at = name[..window].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..at], &name[at + 1..]);
    (!prefix.is_empty() && !rest.is_empty() && rest.len() <= 100).then_some((prefix, rest))
}

/// A name as Go's `path.Join` leaves it.
fn clean(name: &[u8]) -> Vec<u8> {
    let absolute = name.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    if absolute { [b"/", joined.as_slice()].concat() } else { joined }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn put_text(block: &mut [u8; BLOCK], at: usize, width: usize, text: &[u8]) {
    let plain = ascii_only(text);
    let length = plain.len().min(width);
    block[at..at + length].copy_from_slice(&plain[..length]);
    // A cut name must not look like a directory's.
    if plain.len() > width && block[at + width - 1] == b'/' {
        let kept = plain[..width].iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        block[at + kept] = 0;
    }
}

/// Octal with leading zeros and a NUL; a number that does not fit is in a PAX record, and 0 here.
fn put_number(block: &mut [u8; BLOCK], at: usize, width: usize, value: u64) {
    let digits = width - 1;
    let value = if digits < 21 && value >> (3 * digits) != 0 { 0 } else { value };
    for (index, place) in block[at..at + digits].iter_mut().enumerate() {
        let shift = 3 * (digits - 1 - index);
        *place = b'0' + u8::try_from((value >> shift) & 7).unwrap_or(0);
    }
    block[at + digits] = 0;
}

fn finish(block: &mut [u8; BLOCK], magic: &[u8; 8]) {
    block[257..265].copy_from_slice(magic);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    put_number(block, 148, 7, u64::from(sum));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(name: &'a [u8], xattrs: &'a BTreeMap<Vec<u8>, Vec<u8>>) -> Header<'a> {
        Header {
            dialect: Dialect::Posix,
            name,
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            modified: 0,
            link: b"",
            user: b"root",
            group: b"root",
            device: (0, 0),
            xattrs,
        }
    }

    fn encoded(header: &Header<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        header.encode(&mut out);
        out
    }

    #[test]
    fn a_plain_file_is_one_ustar_block() {
        let none = BTreeMap::new();
        let block = encoded(&header(b"f", &none));
        assert_eq!(block.len(), BLOCK);
        assert_eq!(&block[..2], b"f\0");
        assert_eq!(&block[100..108], b"0000644\0");
        assert_eq!(&block[257..265], b"ustar\x0000");
        assert_eq!(&block[329..345], b"0000000\x000000000\0");
        assert_eq!(&block[154..156], b"\0 ");
    }

    #[test]
    fn a_long_name_is_split_at_a_slash_or_becomes_a_record() {
        let none = BTreeMap::new();
        let splits = [b"d".repeat(60), b"e".repeat(60)].join(&b'/');
        assert_eq!(encoded(&header(&splits, &none)).len(), BLOCK);
        let whole = b"x".repeat(120);
        let out = encoded(&header(&whole, &none));
        assert_eq!(out.len(), 3 * BLOCK);
        assert_eq!(out[156], b'x');
        assert_eq!(&out[..15], b"PaxHeaders.0/xx");
        assert!(out[BLOCK..].starts_with(b"130 path=xxx"));
    }

    #[test]
    fn names_beyond_ascii_become_records() {
        let none = BTreeMap::new();
        let out = encoded(&header("dir/\u{fc}".as_bytes(), &none));
        assert!(out[BLOCK..].starts_with("15 path=dir/\u{fc}\n".as_bytes()));
        assert!(out[2 * BLOCK..].starts_with(b"dir/\0"));
    }

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        for size in [1, 80, 90, 91, 92, 93, 990, 991, 992, 993] {
            let record = pax_record(b"k", &vec![b'v'; size]);
            let digits = record.iter().position(|&byte| byte == b' ').expect("a blank");
            assert_eq!(String::from_utf8_lossy(&record[..digits]).parse(), Ok(record.len()), "{size}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_records_and_zero() {
        let none = BTreeMap::new();
        let out = encoded(&Header { uid: 3_000_000, ..header(b"f", &none) });
        assert!(out[BLOCK..].starts_with(b"15 uid=3000000\n"));
        assert_eq!(&out[2 * BLOCK + 108..2 * BLOCK + 116], b"0000000\0");
    }
}
