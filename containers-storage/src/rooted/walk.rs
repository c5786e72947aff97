//! Looking a path up without `openat2`: one component at a time, each opened with `O_NOFOLLOW`, links put in by hand.
//!
//! Invariant: the same answer, errno included, as `openat2` with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`. `..` never leaves the root:
//! it goes back to a name that this walk has passed, by walking to it again.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::io::Errno;

use super::Want;

/// The kernel follows 40 links in one look-up (MAXSYMLINKS).
pub(super) const MAX_LINKS: usize = 40;
/// PATH_MAX, with the NUL.
const MAX_PATH: usize = 4096;
/// The only links of procfs that are plain text; all others jump ("magic").
const PLAIN_PROC_LINKS: [&str; 4] = ["self", "thread-self", "mounts", "net"];

/// A look-up under way.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directory (or, at the end, the file) reached.
    at: OwnedFd,
    /// The names from the root to `at`; none of them is a link.
    passed: Vec<OsString>,
    /// What is left, first component first. A trailing slash leaves a `.`.
    rest: VecDeque<OsString>,
    links: usize,
}

/// A bare handle on what `path` names below `root`, links followed.
pub(super) fn look_up(root: BorrowedFd<'_>, path: &Path, want: Want) -> Result<OwnedFd, Errno> {
    if path.as_os_str().len() >= MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    let mut walk = Walk { root, at: open(root, OsStr::new("."))?, passed: Vec::new(), rest: VecDeque::new(), links: 0 };
    walk.push_front(path.as_os_str())?;
    while let Some(name) = walk.rest.pop_front() {
        walk.step(name)?;
    }
    if want == Want::Directory && kind(&walk.at)? != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    Ok(walk.at)
}

impl Walk<'_> {
    fn step(&mut self, name: OsString) -> Result<(), Errno> {
        match name.as_bytes() {
            // Only a directory can be looked up in, by any name.
            b"." => self.require_directory(),
            b".." => {
                self.require_directory()?;
                self.passed.pop();
                self.return_to_passed()
            }
            _ => {
                let next = open(&self.at, &name)?;
                if kind(&next)? == FileType::Symlink {
                    return self.follow(&next, &name);
                }
                self.at = next;
                self.passed.push(name);
                Ok(())
            }
        }
    }

    fn follow(&mut self, link: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let on_proc = rustix::fs::fstatfs(link).is_ok_and(|fs| fs.f_type as u64 == PROC_SUPER_MAGIC as u64);
        if on_proc && !PLAIN_PROC_LINKS.iter().any(|plain| name == *plain) {
            return Err(Errno::LOOP);
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        let target = OsStr::from_bytes(target.to_bytes());
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        self.push_front(target)
    }

    /// Puts the components of `path` before what is left. An absolute path starts at the root again.
    fn push_front(&mut self, path: &OsStr) -> Result<(), Errno> {
        let bytes = path.as_bytes();
        if bytes.first() == Some(&b'/') {
            self.passed.clear();
            self.at = open(self.root, OsStr::new("."))?;
        }
        let mut names: Vec<OsString> =
            bytes.split(|b| *b == b'/').filter(|name| !name.is_empty()).map(|name| OsStr::from_bytes(name).into()).collect();
        if bytes.last() == Some(&b'/') {
            names.push(".".into());
        }
        for name in names.into_iter().rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }

    fn require_directory(&self) -> Result<(), Errno> {
        // Opening `.` asks for search permission too, as the kernel would.
        open(&self.at, OsStr::new(".")).map(|_| ())
    }

    fn return_to_passed(&mut self) -> Result<(), Errno> {
        let mut at = open(self.root, OsStr::new("."))?;
        for name in &self.passed {
            at = open(&at, name)?;
        }
        self.at = at;
        Ok(())
    }
}

fn open(dir: impl std::os::fd::AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn kind(fd: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?.st_mode))
}
