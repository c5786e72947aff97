//! One archive, one meaning: what our reader accepts, GNU tar and Python's tarfile read alike (known attacks A27).
//!
//! Archives are made from random fields, also such as no writer makes. We may refuse what the others accept, never the reverse
//! way round: members, names, sizes, owners, modes and times must agree.

mod tarsmith;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use containers_storage::archive::reader::Reader;
use containers_storage::archive::{Entry, Kind};
use containers_storage::tar_split;
use proptest::prelude::*;
use tarsmith::{Raw, Tar, installed, patched};

/// One member, and what is done to its header.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    flag: u8,
    content: Vec<u8>,
    pax: Vec<(&'static str, String)>,
    long_name: Option<String>,
    patches: Vec<(usize, Vec<u8>)>,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{1,4}(/[a-z]{1,3}){0,2}", 1 => "[a-z./]{1,9}", 1 => "[a-z]{1,5}/"]
}

fn record() -> impl Strategy<Value = (&'static str, String)> {
    prop_oneof![
        ("[a-z]{1,60}(/[a-z]{1,60}){0,2}").prop_map(|value| ("path", value)),
        "[a-z]{1,9}".prop_map(|value| ("linkpath", value)),
        (0_u32..99999).prop_map(|value| ("uid", value.to_string())),
        (0_u32..99999).prop_map(|value| ("gid", value.to_string())),
        (0_u64..3000).prop_map(|value| ("size", value.to_string())),
        "[0-9]{1,9}(\\.[0-9]{1,12})?".prop_map(|value| ("mtime", value)),
        "[a-z\n=]{0,9}".prop_map(|value| ("SCHILY.xattr.user.k", value)),
        "[a-z\n=]{0,9}".prop_map(|value| ("comment", value)),
        Just(("path", String::new())),
    ]
}

fn number() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ ]{0,3}[0-7]{1,5}[ \0]{1,2}".prop_map(String::into_bytes),
        "[0-7 \0]{8}".prop_map(String::into_bytes),
        "[0-9a-f+ -]{6}\0".prop_map(String::into_bytes),
        (0_u16..5000).prop_map(|value| [&[0x80, 0, 0, 0, 0, 0], &value.to_be_bytes()[..]].concat()),
        proptest::collection::vec(any::<u8>(), 8),
    ]
}

/// A change of the header's bytes; the checksum is right again afterwards.
fn patch() -> impl Strategy<Value = (usize, Vec<u8>)> {
    prop_oneof![
        (prop_oneof![Just(100_usize), Just(108), Just(116), Just(128), Just(136)], number()),
        "[0-7]{11}[ \0]".prop_map(|size| (124, size.into_bytes())),
        Just((257, b"ustar  \0".to_vec())),
        Just((257, vec![0; 8])),
        Just((157, b"target\0junk".to_vec())),
        "[0-9a-z]{1,8}".prop_map(|text| (265, text.into_bytes())),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    let flag = prop_oneof![6 => Just(b'0'), 2 => Just(b'5'), 1 => Just(0), 1 => Just(b'2'), 1 => Just(b'1'), 1 => Just(b'6')];
    let content = proptest::collection::vec(Just(b'x'), 0..1500);
    let pax = proptest::collection::vec(record(), 0..3);
    let long_name = proptest::option::weighted(0.2, "[a-z]{1,80}(/[a-z]{1,80}){0,3}");
    let patches = proptest::collection::vec(patch(), 0..2);
    (name(), flag, content, pax, long_name, patches).prop_map(|(name, flag, content, pax, long_name, patches)| Member {
        name,
        flag,
        content: if flag == b'0' || flag == 0 { content } else { Vec::new() },
        pax,
        long_name,
        patches,
    })
}

fn build(members: &[Member]) -> Vec<u8> {
    let mut tar = Tar::new();
    for member in members {
        let mut raw = Raw::new(&member.name, member.flag);
        raw.size = member.content.len() as u64;
        if matches!(member.flag, b'1' | b'2') {
            raw = raw.link("target");
        }
        let records: Vec<(&[u8], &[u8])> = member.pax.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
        if !records.is_empty() {
            tar = tar.pax(&records);
        }
        if let Some(name) = &member.long_name {
            tar = tar.extension(b'L', &[name.as_bytes(), b"\0"].concat());
        }
        let block = member.patches.iter().fold(raw.block(), |block, (at, bytes)| patched(block, *at, bytes));
        tar = tar.raw(&block).raw(&member.content);
    }
    tar.end()
}

fn ours(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().ok()? {
        entries.push(entry);
    }
    Some(entries)
}

/// One line a member: name, type, size, mode, owner, group, second, link.
fn describe(entry: &Entry) -> String {
    let (kind, link) = match &entry.kind {
        Kind::File => ("file", &[][..]),
        Kind::Directory => ("dir", &[][..]),
        Kind::Symlink(link) => ("link", link.as_slice()),
        Kind::HardLink(link) => ("hard", link.as_slice()),
        Kind::Fifo => ("fifo", &[][..]),
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } => ("device", &[][..]),
    };
    let name = String::from_utf8_lossy(&entry.name).trim_end_matches('/').to_owned();
    let Entry { size, mode, uid, gid, .. } = entry;
    format!("{name} {kind} {size} {mode:o} {uid} {gid} {} {}", entry.mtime.seconds, String::from_utf8_lossy(link))
}

const PYTHON: &str = r#"
import math, sys, tarfile
for m in tarfile.open(sys.argv[1], "r:", errorlevel=2):
    kind = ("dir" if m.isdir() else "link" if m.issym() else "hard" if m.islnk() else "fifo" if m.isfifo()
            else "file" if m.isreg() else "device")
    print(m.name.rstrip("/"), kind, m.size, "%o" % (m.mode & 0o7777), m.uid, m.gid, math.floor(m.mtime),
          m.linkname if m.issym() or m.islnk() else "")
"#;

fn lines_of(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn names_by_gnu(tar: &Path) -> Vec<String> {
    let names = lines_of(Command::new("tar").args(["--quoting-style=literal", "-tf"]).arg(tar));
    names.iter().map(|name| name.trim_end_matches('/').to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_is_read_alike_by_all(members in proptest::collection::vec(member(), 1..4)) {
        let bytes = build(&members);
        if let Some(entries) = ours(&bytes).filter(|_| installed(&["tar", "python3"])) {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            let described: Vec<_> = entries.iter().map(describe).collect();
            let names: Vec<_> = described.iter().map(|line| line.split(' ').next().unwrap_or("").to_owned()).collect();
            prop_assert_eq!(names_by_gnu(file.path()), names, "GNU tar");
            let python = lines_of(Command::new("python3").args(["-c", PYTHON]).arg(file.path()));
            prop_assert_eq!(python, described, "tarfile");
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), members in proptest::collection::vec(member(), 0..3), at in any::<usize>()) {
        let mut tar = build(&members);
        for (offset, byte) in bytes.iter().enumerate().take(40) {
            let length = tar.len();
            tar[(at.wrapping_add(offset * 7)) % length] ^= byte;
        }
        for input in [&tar[..], &bytes[..]] {
            let mut reader = Reader::new(input);
            let mut given = 0_u64;
            while let Ok(Some(_)) = reader.next_entry() {
                let _ = reader.content(&mut |_, piece| { given += piece.len() as u64; Ok(()) });
            }
            prop_assert!(given <= input.len() as u64);
        }
    }

    #[test]
    fn no_lines_make_the_assembler_panic(text in "(\\{\"type\":[12],(\"name\":\"[a-z./]{0,5}\",)?(\"size\":[0-9]{1,20},)?\"payload\":(null|\"[A-Za-z0-9+/]{0,12}={0,2}\"),\"position\":[0-9]{1,2}\\}\n?){0,6}") {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let split = gzip.finish().unwrap();
        let mut opened = 0;
        let open = &mut |_: &[u8]| { opened += 1; Err(std::io::ErrorKind::NotFound.into()) };
        let _ = tar_split::assemble(&mut &split[..], open, &mut std::io::sink());
        prop_assert!(opened <= 1, "it goes on after a file that can't be opened");
    }
}

#[test]
fn the_oracles_see_what_is_compared() {
    // The control: without it, an oracle that lists nothing would agree with a reader that accepts nothing.
    if !installed(&["tar", "python3"]) {
        return;
    }
    let members = [Member {
        name: "f".to_owned(),
        flag: b'0',
        content: vec![b'x'; 600],
        pax: vec![("uid", "7".to_owned())],
        long_name: None,
        patches: Vec::new(),
    }];
    let bytes = build(&members);
    let entries = ours(&bytes).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let python = lines_of(Command::new("python3").args(["-c", PYTHON]).arg(file.path()));
    assert_eq!(python, ["f file 600 644 7 ".to_owned() + &format!("{} 1700000000 ", tarsmith::owner().1)]);
    assert_eq!(python, [describe(&entries[0])]);
    assert_eq!(names_by_gnu(file.path()), ["f"]);
}
