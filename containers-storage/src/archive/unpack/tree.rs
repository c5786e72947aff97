//! The rules of an archive that is added to a root file system: all names are ordinary, and what exists may be replaced.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::super::entry::{clean_path, split_path};
use super::super::reader::Reader;
use super::super::{Entry, Error, Kind, Refusal};
use super::pipeline::Tap;
use super::target::{Made, Target, as_path, open_directory};
use super::{Devices, TreeOptions, Verdict};
use crate::Root;
use crate::id_map::IdMaps;

/// Unpacks one archive.
pub(super) struct Tree<'a, 'o> {
    target: Target<'a>,
    options: &'a mut TreeOptions<'o>,
    /// The destination below the root, clean.
    base: Vec<u8>,
}

impl<'a, 'o> Tree<'a, 'o> {
    pub(super) fn new(root: &'a Root, dest: &Path, options: &'a mut TreeOptions<'o>) -> Result<Self, Error> {
        let name = dest.as_os_str().as_bytes();
        let base = clean_path(name).map_err(|refusal| Error::refused(name, refusal))?;
        let implied = on_disk(options.maps, options.implied_owner);
        let target = Target::new(root, options.unmapped, implied.map_err(|source| Error::entry(name, "creating", source))?);
        Ok(Self { target, options, base })
    }

    /// Unpacks everything; returns how many members were made.
    pub(super) fn run(mut self, mut reader: Reader<Tap>) -> Result<u64, Error> {
        let mut entries = 0;
        while let Some(mut entry) = reader.next_entry()? {
            if let Some(filter) = &mut self.options.filter {
                if filter(&mut entry) == Verdict::Skip {
                    continue;
                }
                // The filter may have changed it.
                entry.path = clean_path(&entry.path).map_err(|refusal| Error::refused(&entry.name, refusal))?;
            }
            if let Some((uid, gid)) = self.options.owner {
                (entry.uid, entry.gid) = (uid, gid);
            }
            let owner = on_disk(self.options.maps, (entry.uid, entry.gid));
            (entry.uid, entry.gid) = owner.map_err(|source| Error::entry(&entry.name, "changing the owner of", source))?;
            if let Some(mode) = self.options.mode {
                entry.mode = mode;
            }
            self.member(&entry, &mut reader)?;
            entries += 1;
        }
        self.target.finish()?;
        Ok(entries)
    }

    fn member(&mut self, entry: &Entry, reader: &mut Reader<Tap>) -> Result<(), Error> {
        let path = self.below(&entry.path);
        let (parent, name) = split_path(&path);
        match &entry.kind {
            Kind::Directory => return self.directory(&path, entry),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } if self.options.devices == Devices::Skip => return Ok(()),
            _ if name.is_empty() => {
                return Err(Error::refused(&entry.name, Refusal::Name("is the root's and not a directory")));
            }
            _ => {}
        }
        let mut made = self.make(parent, name, entry, reader)?;
        if made == Made::Exists {
            self.remove(parent, name).map_err(|source| Error::entry(&entry.name, "replacing what exists", source))?;
            made = self.make(parent, name, entry, reader)?;
        }
        match made {
            Made::New => Ok(()),
            Made::Exists => {
                let source = io::Error::from(io::ErrorKind::AlreadyExists);
                Err(Error::entry(&entry.name, "replacing what exists", source))
            }
        }
    }

    fn make(&mut self, parent: &[u8], name: &[u8], entry: &Entry, reader: &mut Reader<Tap>) -> Result<Made, Error> {
        match &entry.kind {
            Kind::File => self.target.make_file(parent, name, entry, reader),
            Kind::HardLink(written) => {
                let target = clean_path(written).map_err(|refusal| Error::refused(&entry.name, refusal))?;
                if target == entry.path {
                    let target = super::super::Escaped::new(written);
                    return Err(Error::refused(&entry.name, Refusal::Link { target, why: "is the link itself" }));
                }
                let target = self.below(&target);
                self.target.make_link(parent, name, &target, entry)
            }
            _ => self.target.make_node(parent, name, entry),
        }
    }

    fn directory(&mut self, path: &[u8], entry: &Entry) -> Result<(), Error> {
        let failed = |source: io::Error| Error::entry(&entry.name, "creating the directory", source);
        let fd = self.open_or_make(path).map_err(failed)?;
        self.target.describe_directory(fd.as_fd(), path, entry)
    }

    /// The directory `path`, made if it is missing, in the place of anything but a directory or a link to one.
    fn open_or_make(&mut self, path: &[u8]) -> io::Result<OwnedFd> {
        let reopen = |directory: &Root| open_directory(directory.as_fd(), b".")?.ok_or(io::ErrorKind::NotADirectory.into());
        let (parent, name) = split_path(path);
        if name.is_empty() {
            return reopen(self.target.root());
        }
        let directory = self.target.directory(parent)?;
        match rustix::fs::mkdirat(directory, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(fd) = open_directory(directory, name)? {
            return Ok(fd);
        }
        if let Ok(linked) = self.target.root().subdir(as_path(path)) {
            return reopen(&linked);
        }
        self.remove(parent, name)?;
        let directory = self.target.directory(parent)?;
        rustix::fs::mkdirat(directory, name, Mode::RWXU)?;
        open_directory(directory, name)?.ok_or(io::ErrorKind::NotADirectory.into())
    }

    /// Removes `name` with all that is below it.
    fn remove(&mut self, parent: &[u8], name: &[u8]) -> io::Result<()> {
        let directory = self.target.directory(parent)?;
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                let root = Root::from(directory.try_clone_to_owned()?);
                root.remove_all(as_path(name))?;
            }
            other => other?,
        }
        self.target.forget();
        Ok(())
    }

    fn below(&self, path: &[u8]) -> Vec<u8> {
        match (self.base.is_empty(), path.is_empty()) {
            (true, _) => path.to_vec(),
            (_, true) => self.base.clone(),
            _ => [&self.base, &b"/"[..], path].concat(),
        }
    }
}

/// The ids that stand for `owner` on disk.
fn on_disk(maps: Option<&IdMaps>, (uid, gid): (u32, u32)) -> io::Result<(u32, u32)> {
    maps.map_or(Ok((uid, gid)), |maps| maps.owner_on_disk(uid, gid))
}
