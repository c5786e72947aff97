//! A layer's directory over those below it, as overlayfs merges them: an entry comes from the nearest layer that has it, a whiteout
//! hides what is below, and directories merge until an opaque one.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::FileKind;
use super::compare::Object;
use crate::Root;
use crate::archive::{OverlayXattrs, whiteout};
use crate::driver::Error;
use crate::rooted;

/// The open roots.
pub(crate) struct Stack {
    own: Root,
    lowers: Vec<Root>,
    marks: OverlayXattrs,
}

/// One directory, open in every layer that has a part in it.
pub(crate) struct Directory<'a> {
    stack: &'a Stack,
    pub own: OwnedFd,
    /// Index among the lowers, and handle; nearest first.
    lowers: Vec<(usize, OwnedFd)>,
}

/// What the layers below show under a name.
pub(crate) struct Below {
    pub object: Object,
    /// If it is a directory: the lowers that it is merged of.
    pub directories: Vec<usize>,
}

impl Stack {
    pub fn open(own: &Path, lowers: &[PathBuf], marks: OverlayXattrs) -> Result<Self, Error> {
        let open = |path: &Path| Root::open(path).map_err(Error::io("opening", path));
        // Another tool's `diff` may be a link into a layer store; it is followed once, here.
        let open_lower = |path: &PathBuf| open(&std::fs::canonicalize(path).map_err(Error::io("opening", path))?);
        Ok(Self { own: open(own)?, lowers: lowers.iter().map(open_lower).collect::<Result<_, _>>()?, marks })
    }

    /// The object `name` of the open directory, as the layer shows it.
    pub fn object(&self, directory: &OwnedFd, name: &OsStr) -> io::Result<Object> {
        match self.marks {
            OverlayXattrs::Program => Object::open_shown(directory, name),
            _ => Object::open(directory, name),
        }
    }

    pub fn all_lowers(&self) -> Vec<usize> {
        (0..self.lowers.len()).collect()
    }

    pub fn open_directory(&self, path: &Path, lowers: &[usize]) -> io::Result<Directory<'_>> {
        let own = self.own.resolve(path)?;
        let handle = |index: &usize| match self.lowers.get(*index) {
            Some(root) => Ok((*index, root.resolve(path)?)),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Directory { stack: self, own, lowers: lowers.iter().map(handle).collect::<io::Result<_>>()? })
    }

    /// Whether the layers below show a directory at `path`, which the layer itself has as a directory.
    pub fn lowers_have_directory(&self, path: &Path) -> io::Result<bool> {
        let mut at = PathBuf::new();
        let mut lowers = self.all_lowers();
        for name in path.components() {
            let below = self.open_directory(&at, &lowers)?.find(name.as_os_str())?;
            lowers = below.map(|below| below.directories).unwrap_or_default();
            if lowers.is_empty() {
                return Ok(false);
            }
            at.push(name);
        }
        Ok(true)
    }

    pub fn is_opaque(&self, object: &Object) -> io::Result<bool> {
        let says = |name: &CStr| Ok::<_, io::Error>(object.attribute(name)?.as_deref() == Some(b"y"));
        match self.marks {
            OverlayXattrs::User => says(c"user.overlay.opaque"),
            OverlayXattrs::Trusted => says(c"trusted.overlay.opaque"),
            OverlayXattrs::Program => {
                let marked = says(c"user.fuseoverlayfs.opaque")? || says(c"user.overlay.opaque")?;
                Ok(marked || exists(object.handle(), OsStr::from_bytes(whiteout::OPAQUE))?)
            }
        }
    }

    /// What the name `name` hides, if it is a mark of fuse-overlayfs; nothing but what the directory's own mark hides if that is empty.
    pub fn mark_of_program<'n>(&self, name: &'n OsStr) -> Option<&'n OsStr> {
        let rest = name.as_bytes().strip_prefix(whiteout::PREFIX).filter(|_| self.marks == OverlayXattrs::Program)?;
        Some(OsStr::from_bytes(if whiteout::is_program_opaque(name.as_bytes()) { b"" } else { rest }))
    }

    /// Whether the open directory of a layer says by a name that `name` is deleted.
    fn is_hidden_by_name(&self, directory: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        if self.marks != OverlayXattrs::Program {
            return Ok(false);
        }
        exists(directory.as_fd(), OsStr::from_bytes(&[whiteout::PREFIX, name.as_bytes()].concat()))
    }
}

impl Directory<'_> {
    /// What the lowers show under `name`.
    pub fn find(&self, name: &OsStr) -> io::Result<Option<Below>> {
        let mut found: Option<Below> = None;
        for (index, handle) in &self.lowers {
            if self.stack.is_hidden_by_name(handle, name)? {
                break;
            }
            let object = match self.stack.object(handle, name) {
                Ok(object) => object,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = object.kind() == FileKind::Directory;
            // A whiteout or a file ends the search: it hides what is below, and no directory merges with it.
            if object.is_whiteout() || (found.is_some() && !is_dir) {
                break;
            }
            let ends = !is_dir || self.stack.is_opaque(&object)?;
            let below = found.get_or_insert(Below { object, directories: Vec::new() });
            if is_dir {
                below.directories.push(*index);
            }
            if ends {
                break;
            }
        }
        Ok(found)
    }

    /// Every name that some lower has here, hidden ones included, sorted.
    pub fn names_below(&self) -> io::Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        for (_, handle) in &self.lowers {
            names.extend(rooted::list(handle.as_fd())?.into_iter().map(|entry| entry.name));
        }
        Ok(names)
    }
}

fn exists(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::NAMETOOLONG) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
