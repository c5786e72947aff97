//! The rules of a layer (format section 7.3): whiteouts and opaque marks have meaning, and no path comes twice.
//!
//! Invariant: the result does not depend on the order of the members (known attacks A29). Marks are therefore made at the end,
//! opaque directories first: they are about lower layers only, never about members of the same archive.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::super::entry::{clean_path, split_path};
use super::super::reader::Reader;
use super::super::whiteout::{Meaning, meaning};
use super::super::{Entry, Error, Kind, Marks, OverlayXattrs, Ownership, Refusal, Whiteouts};
use super::pipeline::Tap;
use super::target::{Made, Target, as_path, open_directory};
use super::{Devices, LayerOptions};
use crate::Root;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) uids: BTreeSet<u32>,
    pub(super) gids: BTreeSet<u32>,
    pub(super) entries: u64,
    pub(super) marks: Marks,
}

struct Whiteout {
    path: Vec<u8>,
    owner: (u32, u32),
}

/// Paths seen, as 128 bits of two keyed hashes each: a tenth of the memory of the paths, and not to be collided on purpose.
#[derive(Default)]
struct Seen {
    keys: (RandomState, RandomState),
    paths: HashSet<u128>,
}

impl Seen {
    /// Adds `path`; false if it was there.
    fn insert(&mut self, path: &[u8]) -> bool {
        let (one, other) = (self.keys.0.hash_one(path), self.keys.1.hash_one(path));
        self.paths.insert(u128::from(one) << 64 | u128::from(other))
    }
}

/// Unpacks one layer.
pub(super) struct Layer<'a> {
    target: Target<'a>,
    options: LayerOptions,
    found: Found,
    seen: Seen,
    whiteouts: Vec<Whiteout>,
    opaque: Vec<Vec<u8>>,
    skipped_devices: HashSet<Vec<u8>>,
}

impl<'a> Layer<'a> {
    pub(super) fn new(diff: &'a Root, options: LayerOptions) -> Self {
        Self {
            target: Target::new(diff, options.unmapped, (0, 0)).with_ownership(options.ownership),
            options,
            found: Found::default(),
            seen: Seen::default(),
            whiteouts: Vec::new(),
            opaque: Vec::new(),
            skipped_devices: HashSet::new(),
        }
    }

    /// Unpacks everything.
    pub(super) fn run(mut self, mut reader: Reader<Tap>) -> Result<Found, Error> {
        while let Some(entry) = reader.next_entry()? {
            let span = reader.span();
            reader.input_mut().member(entry.name.clone(), span);
            self.found.entries += 1;
            if !self.seen.insert(&entry.path) {
                return Err(Error::refused(&entry.name, Refusal::Duplicate));
            }
            self.member(entry, &mut reader)?;
        }
        match self.options.whiteouts {
            Whiteouts::OnDisk(family) => self.make_marks(family)?,
            Whiteouts::Listed => self.list_marks(),
        }
        self.target.finish()?;
        Ok(self.found)
    }

    fn member(&mut self, entry: Entry, reader: &mut Reader<Tap>) -> Result<(), Error> {
        let (parent, name) = split_path(&entry.path);
        match self.directory_meaning(parent) {
            Meaning::Ordinary => {}
            Meaning::Aufs => return Ok(()),
            _ => return Err(Error::refused(&entry.name, Refusal::Name("lies below a whiteout's name"))),
        }
        match meaning(name) {
            Meaning::Ordinary => {}
            Meaning::Aufs => return Ok(()),
            Meaning::Invalid => return Err(Error::refused(&entry.name, Refusal::Name("is a whiteout of nothing"))),
            Meaning::Opaque => {
                self.opaque.push(parent.to_vec());
                return Ok(());
            }
            Meaning::Whiteout(hidden) => {
                let path = if parent.is_empty() { hidden.to_vec() } else { [parent, b"/", hidden].concat() };
                self.whiteouts.push(Whiteout { path, owner: (entry.uid, entry.gid) });
                return Ok(());
            }
        }
        self.found.uids.insert(entry.uid);
        self.found.gids.insert(entry.gid);
        // The root's own metadata stays as the driver made it.
        if entry.path.is_empty() {
            return Ok(());
        }
        let made = self.make(parent, name, &entry, reader)?;
        // In a fresh directory only this archive can have put something there, by way of a link.
        if made == Made::Exists { Err(Error::refused(&entry.name, Refusal::Duplicate)) } else { Ok(()) }
    }

    fn make(&mut self, parent: &[u8], name: &[u8], entry: &Entry, reader: &mut Reader<Tap>) -> Result<Made, Error> {
        match &entry.kind {
            Kind::Directory => self.directory(parent, name, entry),
            Kind::File => self.target.make_file(parent, name, entry, reader),
            Kind::HardLink(written) => {
                let target = clean_path(written).map_err(|refusal| Error::refused(&entry.name, refusal))?;
                if self.skipped_devices.contains(&target) {
                    self.skipped_devices.insert(entry.path.clone());
                    return Ok(Made::New);
                }
                self.target.make_link(parent, name, &target, entry)
            }
            Kind::CharDevice { major: 0, minor: 0 } => {
                let refusal = Refusal::Name("is a character device 0:0, which would delete a file");
                Err(Error::refused(&entry.name, refusal))
            }
            Kind::CharDevice { .. } | Kind::BlockDevice { .. }
                if self.options.devices == Devices::Skip && self.options.ownership == Ownership::OnInode =>
            {
                self.skipped_devices.insert(entry.path.clone());
                Ok(Made::New)
            }
            _ => self.target.make_node(parent, name, entry),
        }
    }

    fn directory(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<Made, Error> {
        let failed = |source: std::io::Error| Error::entry(&entry.name, "creating the directory", source);
        let directory = self.target.directory(parent).map_err(failed)?;
        match rustix::fs::mkdirat(directory, name, rustix::fs::Mode::RWXU) {
            // One that a member below it implied.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let Some(made) = open_directory(directory, name).map_err(failed)? else { return Ok(Made::Exists) };
        self.target.describe_directory(made.as_fd(), &entry.path, entry)?;
        Ok(Made::New)
    }

    /// The meaning of the components of a member's directory: all must be ordinary names.
    fn directory_meaning<'p>(&self, parent: &'p [u8]) -> Meaning<'p> {
        let mut components = parent.split(|&byte| byte == b'/').map(meaning);
        components.find(|meaning| *meaning != Meaning::Ordinary).unwrap_or(Meaning::Ordinary)
    }

    fn list_marks(&mut self) {
        let paths = |paths: &mut dyn Iterator<Item = &Vec<u8>>| paths.map(|path| as_path(path).to_path_buf()).collect();
        self.found.marks = Marks {
            whiteouts: paths(&mut self.whiteouts.iter().map(|whiteout| &whiteout.path)),
            opaque: paths(&mut self.opaque.iter()),
            implied: paths(&mut self.target.implied().iter()),
        };
    }

    fn make_marks(&mut self, family: OverlayXattrs) -> Result<(), Error> {
        for path in std::mem::take(&mut self.opaque) {
            let made = self.target.make_opaque(&path, family);
            made.map_err(|source| Error::entry(&path, "making the directory opaque", source))?;
        }
        let mut whiteouts = std::mem::take(&mut self.whiteouts);
        // Parents first: what lies below a deleted directory is deleted with it.
        whiteouts.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        for Whiteout { path, owner } in whiteouts {
            let made = self.target.make_whiteout(&path, owner, family);
            made.map_err(|source| Error::entry(&path, "making the whiteout", source))?;
        }
        Ok(())
    }
}
