//! Writes tars from raw fields: any name bytes, any size, any record, any order; and looks at what came of them.
#![allow(dead_code)] // each test program uses a part

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use containers_storage::Root;
use containers_storage::archive::unpack::{Devices, LayerOptions, LayerOutcome, TreeOptions, TreeOutcome, Unmapped};
use containers_storage::archive::{Error, OverlayXattrs, Ownership, Whiteouts, unpack};

/// Whether all of these programs are installed; says so if not.
pub fn installed(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        println!("skipped: {tool} is not installed");
    }
    missing.is_none()
}

/// A tar being written.
#[derive(Default, Clone)]
pub struct Tar {
    pub bytes: Vec<u8>,
}

/// A header as raw fields.
#[derive(Clone)]
pub struct Raw {
    pub name: Vec<u8>,
    pub flag: u8,
    pub link: Vec<u8>,
    pub size: u64,
    pub mode: u32,
    pub mtime: u64,
    pub device: (u32, u32),
}

impl Raw {
    pub fn new(name: impl AsRef<[u8]>, flag: u8) -> Self {
        let mode = if flag == b'5' { 0o755 } else { 0o644 };
        Self { name: name.as_ref().to_vec(), flag, link: Vec::new(), size: 0, mode, mtime: 1_700_000_000, device: (0, 0) }
    }

    pub fn link(mut self, link: impl AsRef<[u8]>) -> Self {
        self.link = link.as_ref().to_vec();
        self
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn block(&self) -> [u8; 512] {
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..self.name.len()].copy_from_slice(&self.name);
        old.linkname[..self.link.len()].copy_from_slice(&self.link);
        old.linkflag[0] = self.flag;
        header.set_size(self.size);
        header.set_mode(self.mode);
        let (uid, gid) = owner();
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(self.mtime);
        header.set_device_major(self.device.0).unwrap();
        header.set_device_minor(self.device.1).unwrap();
        header.set_cksum();
        *header.as_bytes()
    }
}

/// The owner that tests can always give to a file.
pub fn owner() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// A block with another checksum after it was changed.
pub fn patched(mut block: [u8; 512], at: usize, bytes: &[u8]) -> [u8; 512] {
    block[at..at + bytes.len()].copy_from_slice(bytes);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes as they are, filled to a whole block.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub fn header(self, raw: Raw) -> Self {
        self.raw(&raw.block())
    }

    pub fn file(self, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let mut raw = Raw::new(name, b'0');
        raw.size = content.len() as u64;
        self.header(raw).raw(content)
    }

    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.header(Raw::new(name, b'5'))
    }

    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.header(Raw::new(name, b'2').link(target).mode(0o777))
    }

    pub fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.header(Raw::new(name, b'1').link(target))
    }

    /// An extended header with these records, for the next member.
    pub fn pax(self, records: &[(&[u8], &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..).find(|length| *length == rest + length.to_string().len()).unwrap();
            data.extend_from_slice(format!("{length} ").as_bytes());
            data.extend_from_slice(key);
            data.push(b'=');
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.extension(b'x', &data)
    }

    /// A member of type `flag` that describes the next one.
    pub fn extension(self, flag: u8, data: &[u8]) -> Self {
        let mut raw = Raw::new("PaxHeaders.0/x", flag);
        raw.size = data.len() as u64;
        self.header(raw).raw(data)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// The options that suit any caller.
pub fn layer_options() -> LayerOptions {
    LayerOptions {
        whiteouts: Whiteouts::OnDisk(OverlayXattrs::User),
        devices: Devices::Skip,
        unmapped: Unmapped::Refuse,
        ownership: Ownership::OnInode,
    }
}

/// Unpacks `bytes` as a layer into the new directory `diff`.
pub fn unpack_layer(bytes: &[u8], diff: &Path) -> Result<LayerOutcome, Error> {
    fs::create_dir_all(diff).unwrap();
    let root = Root::open(diff).unwrap();
    // Implied directories belong to root, which an ordinary user of these tests can't arrange.
    let unmapped = if rustix::process::geteuid().is_root() { Unmapped::Refuse } else { Unmapped::Ignore };
    unpack::layer(&mut &bytes[..], &root, LayerOptions { unmapped, ..layer_options() }, None)
}

/// Unpacks `bytes` as an archive into `dest` below `root`.
pub fn unpack_tree(bytes: &[u8], root: &Path, dest: &str) -> Result<TreeOutcome, Error> {
    let mut options = TreeOptions {
        devices: Devices::Skip,
        unmapped: Unmapped::Refuse,
        owner: None,
        mode: None,
        implied_owner: owner(),
        maps: None,
        filter: None,
    };
    unpack::tree(&mut &bytes[..], &Root::open(root).unwrap(), Path::new(dest), &mut options)
}

/// Everything below `root`, one line each: type, mode, size or target, path.
pub fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    list_into(root, root, &mut lines);
    lines.sort();
    lines
}

fn list_into(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display();
        let opaque = rustix::fs::lgetxattr(&path, "user.overlay.opaque", &mut [0_u8; 8][..]).is_ok();
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            if opaque { "opaque".to_owned() } else { "dir".to_owned() }
        } else if kind.is_symlink() {
            format!("link:{}", fs::read_link(&path).unwrap().display())
        } else if kind.is_file() {
            format!("file:{}", String::from_utf8_lossy(&fs::read(&path).unwrap()).chars().take(40).collect::<String>())
        } else if meta.rdev() == 0 && meta.mode() & 0o170_000 == 0o020_000 {
            "whiteout".to_owned()
        } else {
            "node".to_owned()
        };
        lines.push(format!("{name} {what}"));
        if kind.is_dir() {
            list_into(root, &path, lines);
        }
    }
}
