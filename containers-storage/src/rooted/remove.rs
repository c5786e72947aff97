//! Removing a tree, whatever stands in it and whoever works in it meanwhile.
//!
//! Invariant: a name is unlinked relative to a directory that is open, and a directory is entered with `O_NOFOLLOW` only, so a link
//! that is swapped in is itself removed (known attack A16). Mounts are not entered. No recursion, and no more than `MAX_OPEN`
//! directories open, at any depth (A140): what lies deeper is first moved up to the top of the tree, which is going anyway.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

/// Directories open at once.
const MAX_OPEN: usize = 64;
/// How often one directory is read again because something appeared in it.
const MAX_ROUNDS: u32 = 1000;

/// A directory that is being emptied.
struct Frame {
    fd: OwnedFd,
    name: OsString,
    entries: Dir,
    rounds: u32,
    /// Its mode was opened up once already.
    opened_up: bool,
}

/// Removes the entry `name` of `parent` and all below it. An entry that is not there is no error.
pub(super) fn tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // EPERM is what other systems say for a directory, and what a sticky parent says; entering decides.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let Some(top) = enter(parent, name)? else {
        return match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
    };
    let mut stack = vec![top];
    let mut moved = 0u64;
    while let Some(frame) = stack.last_mut() {
        match next_entry(frame)? {
            Some((child, is_dir)) => descend(&mut stack, &child, is_dir, &mut moved)?,
            None => leave(&mut stack, parent)?,
        }
    }
    Ok(())
}

/// The next name in the directory, and whether it is known to be a directory.
fn next_entry(frame: &mut Frame) -> io::Result<Option<(OsString, bool)>> {
    for entry in frame.entries.by_ref() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            return Ok(Some((OsStr::from_bytes(name).to_os_string(), entry.file_type() == FileType::Directory)));
        }
    }
    Ok(None)
}

fn descend(stack: &mut Vec<Frame>, child: &OsStr, is_dir: bool, moved: &mut u64) -> io::Result<()> {
    let depth = stack.len();
    let Some(frame) = stack.last_mut() else {
        return Ok(());
    };
    let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match unlink(frame, child, flags) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Not what the directory said: it changed, or the file system doesn't tell types.
        Err(Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST) if is_dir => {}
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
    }
    if depth < MAX_OPEN {
        match enter(frame.fd.as_fd(), child)? {
            Some(next) => stack.push(next),
            // It is no directory any more. If it changes once more, the next round over its parent finds it.
            None => match unlink(frame, child, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(errno.into()),
            },
        }
        return Ok(());
    }
    move_to_top(stack, child, moved)
}

/// Renames a directory that lies too deep to the top of the tree, where a later round finds it.
fn move_to_top(stack: &[Frame], child: &OsStr, moved: &mut u64) -> io::Result<()> {
    let (Some(top), Some(frame)) = (stack.first(), stack.last()) else {
        return Ok(());
    };
    let mut opened_up = false;
    loop {
        *moved += 1;
        let name = format!(".coracle-deep-{moved}");
        match rustix::fs::renameat_with(&frame.fd, child, &top.fd, name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::EXIST) => {}
            // Both directories must be writable, and the moved one too: its `..` changes.
            Err(Errno::ACCESS) if !opened_up => {
                opened_up = true;
                open_up(frame.fd.as_fd(), child)?;
                rustix::fs::fchmod(&frame.fd, Mode::RWXU).map_err(|_| io::Error::from(Errno::ACCESS))?;
                rustix::fs::fchmod(&top.fd, Mode::RWXU).map_err(|_| io::Error::from(Errno::ACCESS))?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Removes the directory on top of the stack, which was read to its end. If the name stands for something else by now, or is not
/// empty after all, it is looked at again from its name: the open directory may be the one that was moved out.
fn leave(stack: &mut Vec<Frame>, parent: BorrowedFd<'_>) -> io::Result<()> {
    let Some(mut done) = stack.pop() else {
        return Ok(());
    };
    let mut remove = |flags| match stack.last_mut() {
        Some(frame) => unlink(frame, &done.name, flags),
        None => rustix::fs::unlinkat(parent, &done.name, flags),
    };
    match remove(AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) if done.rounds < MAX_ROUNDS => done.rounds += 1,
        Err(errno) => return Err(errno.into()),
    }
    match remove(AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let above = stack.last().map_or(parent, |frame| frame.fd.as_fd());
    if let Some(again) = enter(above, &done.name)? {
        done = Frame { rounds: done.rounds, ..again };
    }
    stack.push(done);
    Ok(())
}

/// Unlinks a name; if the directory's own mode forbids that, once more after opening it up.
fn unlink(frame: &mut Frame, name: &OsStr, flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(&frame.fd, name, flags) {
        Err(Errno::ACCESS) if !frame.opened_up => {
            frame.opened_up = true;
            rustix::fs::fchmod(&frame.fd, Mode::RWXU).map_err(|_| Errno::ACCESS)?;
            rustix::fs::unlinkat(&frame.fd, name, flags)
        }
        other => other,
    }
}

/// Opens the directory `name`; `None` if it is no directory, or gone. EBUSY if something is mounted on it.
fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Frame>> {
    let opened = match open_entries(parent, name) {
        Err(Errno::ACCESS) => {
            open_up(parent, name)?;
            open_entries(parent, name)
        }
        other => other,
    };
    match opened {
        Ok((fd, entries)) => Ok(Some(Frame { fd, name: name.to_os_string(), entries, rounds: 0, opened_up: false })),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(None),
        Err(Errno::XDEV) => Err(Errno::BUSY.into()),
        Err(errno) => Err(errno.into()),
    }
}

fn open_entries(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(OwnedFd, Dir), Errno> {
    let fd = open_directory(parent, name)?;
    let entries = Dir::read_from(&fd)?;
    Ok((fd, entries))
}

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    for _ in 0..128 {
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            Err(Errno::NOSYS | Errno::PERM) => return open_directory_plain(parent, name, flags),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Without `openat2` a mount shows by its device only.
fn open_directory_plain(parent: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if rustix::fs::fstat(&fd)?.st_dev != rustix::fs::fstat(parent)?.st_dev {
        return Err(Errno::XDEV);
    }
    Ok(fd)
}

/// Gives the owner of a directory that is to be removed every permission on it.
fn open_up(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    // The answer that matters is that it can't be entered, not that it can't be changed either.
    rustix::fs::chmodat(CWD, path, Mode::RWXU, AtFlags::empty()).map_err(|_| io::Error::from(Errno::ACCESS))
}
