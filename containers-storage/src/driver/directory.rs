//! Directories of layers, whatever the driver: their owner and mode, and their way out of the home.
//!
//! Must not: know where in a home a layer lies.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, RenameFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::Error;
use crate::archive::{OF_LAYER, Recorded, RecordedKind};

/// A base layer's root before its tar says otherwise.
const BASE_MODE: u32 = 0o555;

/// Owner and mode of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Look {
    /// How a new layer's root looks: as the root of the parent, so that a container's root directory looks like its image's; without a
    /// parent as the format says.
    pub(super) fn of(parent: Option<&Path>) -> Result<Self, Error> {
        let Some(parent) = parent else {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            return Ok(Self { uid, gid, mode: BASE_MODE });
        };
        let stat = fs::metadata(parent).map_err(Error::io("reading", parent))?;
        Ok(Self { uid: stat.uid(), gid: stat.gid(), mode: stat.mode() & 0o7777 })
    }

    /// The same, but as the attribute of the parent says, where owners and modes are kept in one.
    pub(super) fn recorded(parent: Option<&Path>) -> Result<Self, Error> {
        let look = Self::of(parent)?;
        let mut value = [0u8; 256];
        let read = parent.and_then(|parent| rustix::fs::getxattr(parent, OF_LAYER, &mut value[..]).ok());
        let recorded = read.and_then(|length| Recorded::parse(value.get(..length)?));
        Ok(recorded.map_or(look, |recorded| Self { uid: recorded.uid, gid: recorded.gid, mode: recorded.mode }))
    }

    /// Sets what is behind a mask on the directory `path`, and this look in its attributes `names`.
    pub(super) fn put_behind(self, mask: u32, path: &Path, names: &[&str]) -> Result<(), Error> {
        self.masked(mask).put_on(path)?;
        let recorded = Recorded { uid: self.uid, gid: self.gid, mode: self.mode, kind: RecordedKind::Directory };
        names.iter().try_for_each(|name| {
            let set = rustix::fs::setxattr(path, *name, recorded.text().as_bytes(), XattrFlags::empty());
            set.map_err(Error::io("setting the attributes of", path))
        })
    }

    /// What everything looks like behind a mask.
    pub(super) fn masked(self, mask: u32) -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw(), mode: mask }
    }

    /// The same owner, for nobody else.
    pub(super) fn private(self) -> Self {
        Self { mode: 0o700, ..self }
    }

    /// The same where its owner can use it: without the right to pass over modes (capabilities(7), CAP_DAC_OVERRIDE), as outside of any
    /// user namespace or as root of a container that has no capability, one writes by them alone.
    pub(super) fn usable(self) -> Self {
        let passes = rustix::thread::capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::DAC_OVERRIDE));
        let more = if passes { 0 } else { 0o700 };
        Self { mode: self.mode | more, ..self }
    }

    /// Sets owner, then mode: a change of owner clears setuid and setgid bits.
    pub(super) fn put_on(self, path: &Path) -> Result<(), Error> {
        let now = fs::symlink_metadata(path).map_err(Error::io("reading", path))?;
        if (now.uid(), now.gid()) != (self.uid, self.gid) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::io("changing the owner of", path))?;
        }
        if now.mode() & 0o7777 != self.mode {
            rustix::fs::chmod(path, Mode::from_raw_mode(self.mode)).map_err(Error::io("changing the mode of", path))?;
        }
        Ok(())
    }
}

/// Makes the directory `path`.
pub(super) fn make(path: &Path, look: Look) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(path).map_err(Error::io("creating", path))?;
    look.put_on(path)
}

/// A number that no name in the directory `into` starts with, if all came from `move_away`.
pub(super) fn first_free(into: &Path) -> Result<usize, Error> {
    fs::read_dir(into).map(Iterator::count).map_err(Error::io("reading", into))
}

/// Moves `from` into the directory `into` as `<n>-<name>`, with the first free n from `next` on. Nothing there is no error.
pub(super) fn move_away(from: &Path, into: &Path, next: &mut usize) -> Result<(), Error> {
    let Some(name) = from.file_name().and_then(|name| name.to_str()) else {
        return Ok(());
    };
    loop {
        let to = into.join(format!("{next}-{name}"));
        *next += 1;
        match rustix::fs::renameat_with(CWD, from, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::EXIST) => {}
            // A file system, or a filter of system calls, that knows no flags: the directory is ours alone.
            Err(Errno::NOSYS | Errno::INVAL) if !to.exists() => match std::fs::rename(from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("moving away", from)(error)),
                _ => return Ok(()),
            },
            Err(errno) => return Err(Error::io("moving away", from)(errno)),
        }
    }
}
