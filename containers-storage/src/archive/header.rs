//! Headers of the members that we write: USTAR, with a PAX extension only where a value does not fit (format section 7.5).
//!
//! Invariant: equal entries give equal bytes; nothing of the machine (user names, device numbers, clocks) enters.

use super::entry::split_path;
use super::reader::METADATA_LIMIT;
use super::{Entry, Error, Kind, Refusal};

/// The end of an archive: two zero blocks.
pub const END: [u8; 1024] = [0; 1024];

/// Appends the header blocks of `entry` to `out`: an extended header if one is needed, then the 512-byte header. Directories get
/// a final slash. User and group names stay empty, times are whole seconds. Only `path` is read for the name, not `name`.
/// Content, and its padding to 512 bytes, are the caller's.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) -> Result<(), Error> {
    let name = member_name(entry);
    let mut records = Vec::new();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(entry_type(&entry.kind));
    header.set_mode(entry.mode & 0o7777);
    if !set_name(&mut header, &name) {
        record(&mut records, b"path", &name);
    }
    if let Kind::Symlink(link) | Kind::HardLink(link) = &entry.kind
        && !set_text(&mut header.as_old_mut().linkname, link)
    {
        record(&mut records, b"linkpath", link);
    }
    let size = if entry.kind == Kind::File { entry.size } else { 0 };
    number(&mut records, b"size", i64::try_from(size).unwrap_or(i64::MAX), 12, &mut |fits| header.set_size(fits));
    number(&mut records, b"uid", i64::from(entry.uid), 8, &mut |fits| header.set_uid(fits));
    number(&mut records, b"gid", i64::from(entry.gid), 8, &mut |fits| header.set_gid(fits));
    number(&mut records, b"mtime", entry.mtime.seconds, 12, &mut |fits| header.set_mtime(fits));
    if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = entry.kind {
        let set = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
        set.map_err(|source| Error::entry(&entry.path, "writing its device number", source))?;
    }
    for (key, value) in &entry.xattrs {
        // POSIX has no room for it, and readers drop attributes without a value.
        if !key.contains(&b'=') && !value.is_empty() {
            record(&mut records, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
        }
    }
    if records.len() as u64 > METADATA_LIMIT {
        return Err(Error::refused(&entry.path, Refusal::TooLarge { what: "an extended header", limit: METADATA_LIMIT }));
    }
    if !records.is_empty() {
        extension(&entry.path, &records, out);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    Ok(())
}

/// The name of `entry` in an archive of ours.
pub(crate) fn member_name(entry: &Entry) -> Vec<u8> {
    let mut name = Vec::with_capacity(entry.path.len() + 2);
    name.extend_from_slice(if entry.path.is_empty() { b"." } else { &entry.path });
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    name
}

fn entry_type(kind: &Kind) -> tar::EntryType {
    match kind {
        Kind::File => tar::EntryType::Regular,
        Kind::HardLink(_) => tar::EntryType::Link,
        Kind::Symlink(_) => tar::EntryType::Symlink,
        Kind::Directory => tar::EntryType::Directory,
        Kind::Fifo => tar::EntryType::Fifo,
        Kind::CharDevice { .. } => tar::EntryType::Char,
        Kind::BlockDevice { .. } => tar::EntryType::Block,
    }
}

/// Puts `name` into the name field, or into prefix and name split at a slash; false if neither holds it.
fn set_name(header: &mut tar::Header, name: &[u8]) -> bool {
    if set_text(&mut header.as_old_mut().name, name) {
        return true;
    }
    if !name.is_ascii() {
        return false;
    }
    // The first slash that leaves at most 100 bytes behind it makes the shortest prefix.
    let Some(start) = name.len().checked_sub(101) else { return false };
    let Some(slash) = name[start..name.len() - 1].iter().position(|&byte| byte == b'/') else { return false };
    let (prefix, rest) = (&name[..start + slash], &name[start + slash + 1..]);
    if prefix.is_empty() || prefix.len() > 155 {
        return false;
    }
    let Some(ustar) = header.as_ustar_mut() else { return false };
    set_text(&mut ustar.name, rest) && set_text(&mut ustar.prefix, prefix)
}

fn set_text(field: &mut [u8], text: &[u8]) -> bool {
    let fits = text.is_ascii() && text.len() <= field.len();
    field.fill(0);
    if fits {
        field[..text.len()].copy_from_slice(text);
    }
    fits
}

/// Puts `value` where it fits in octal with a final NUL, else into a record; the field is then 0, as Go writes it.
fn number(records: &mut Vec<u8>, key: &[u8], value: i64, field: u32, set: &mut dyn FnMut(u64)) {
    let limit = 1_u64 << (3 * (field - 1));
    match u64::try_from(value) {
        Ok(fits) if fits < limit => set(fits),
        _ => {
            set(0);
            record(records, key, value.to_string().as_bytes());
        }
    }
}

/// Appends a PAX record; its length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn extension(path: &[u8], records: &[u8], out: &mut Vec<u8>) {
    let (_, base) = split_path(path);
    let mut name = b"PaxHeaders.0/".to_vec();
    name.extend(base.iter().filter(|byte| byte.is_ascii_graphic()).take(80));
    let mut header = tar::Header::new_ustar();
    set_text(&mut header.as_old_mut().name, &name);
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::super::{Kind, Time};
    use super::*;

    fn entry(path: &[u8], kind: Kind) -> Entry {
        Entry {
            name: Vec::new(),
            path: path.to_vec(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::from_seconds(1_700_000_000),
            size: 0,
            xattrs: Vec::new(),
        }
    }

    fn round_trip(entry: &Entry) -> Entry {
        let mut bytes = Vec::new();
        encode(entry, &mut bytes).unwrap();
        bytes.resize(bytes.len() + usize::try_from(entry.size.next_multiple_of(512)).unwrap(), 0);
        bytes.extend_from_slice(&END);
        Reader::new(&bytes[..]).next_entry().unwrap().unwrap()
    }

    #[test]
    fn a_plain_entry_is_one_block() {
        let mut bytes = Vec::new();
        encode(&entry(b"a", Kind::File), &mut bytes).unwrap();
        assert_eq!(bytes.len(), 512);
        assert_eq!(&bytes[257..265], b"ustar\x0000");
    }

    #[test]
    fn the_reader_understands_what_is_written() {
        let long = [vec![b'd'; 90], vec![b'/'], vec![b'n'; 90]].concat();
        let longest = vec![b'n'; 250];
        let mut table = vec![
            entry(b"a", Kind::File),
            entry(b"d", Kind::Directory),
            entry(&long, Kind::Directory),
            entry(&longest, Kind::File),
            entry("ü\n\u{1b}".as_bytes(), Kind::Fifo),
            entry(b"\xff\xfe", Kind::Symlink(b"\xff target\n".to_vec())),
            entry(b"h", Kind::HardLink(longest.clone())),
            entry(b"c", Kind::CharDevice { major: 5, minor: 1 }),
            entry(b"b", Kind::BlockDevice { major: 8, minor: 1_048_575 }),
        ];
        let mut extreme = entry(b"x", Kind::File);
        (extreme.uid, extreme.gid, extreme.mode) = (u32::MAX - 1, 2_097_152, 0o7777);
        extreme.mtime = Time::from_seconds(-5);
        extreme.xattrs = vec![(b"user.k".to_vec(), b"\n=\0v".to_vec())];
        table.push(extreme);
        for mut entry in table {
            let read = round_trip(&entry);
            entry.name = member_name(&entry);
            assert_eq!(read, entry);
        }
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for length in 0..2000 {
            let mut records = Vec::new();
            record(&mut records, b"k", &vec![b'v'; length]);
            let text = String::from_utf8(records.clone()).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), records.len());
        }
    }
}
