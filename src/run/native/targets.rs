//! Mount points: found or made below the root, and removed again.
//!
//! Invariant: the walk goes component by component with bare handles that follow nothing (`O_PATH | O_NOFOLLOW`); the text of a
//! link is put in front of what is left of the path, absolute ones start over at the root. So a link decides where *inside* a
//! mount lands, and a dangling one (`/etc/resolv.conf` of many images) gets its target created inside. New inodes are made
//! exclusively. What was made is removed by its parent's handle, if it is still the inode that was made and still empty
//! (CVE-2024-45310, CVE-2024-23652).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use containers_storage::placeholder;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

/// Links that one path may lead through, as in the kernel.
const LINK_LIMIT: usize = 40;

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Shape {
    Directory,
    File,
}

/// An inode that was made for a mount, by this run or another one.
#[derive(Debug)]
pub(super) struct Placeholder {
    parent: OwnedFd,
    name: OsString,
    shape: Shape,
    /// Held open, so that its number cannot be given to another inode.
    made: OwnedFd,
    /// What the parent looked like before: it gets its times back, so that it does not count as changed.
    parent_before: Stat,
}

/// Finds or makes the mount point `path` below `root`; new inodes are added to `made`. Answers with a bare handle on it.
pub(super) fn find_or_make(
    root: BorrowedFd<'_>,
    path: &Path,
    shape: Shape,
    made: &mut Vec<Placeholder>,
) -> io::Result<OwnedFd> {
    let mut left: VecDeque<OsString> = path.components().filter_map(step).collect();
    // The directories from the root down to where the walk is; `..` goes back along them and never above the root.
    let mut stack = vec![root.try_clone_to_owned()?];
    let (mut links, mut rounds) = (0, 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            if stack.len() > 1 {
                stack.pop();
            }
            continue;
        }
        let here = stack.last().map(AsFd::as_fd).unwrap_or(root);
        let last = left.is_empty();
        match rustix::fs::openat(here, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(next) => match FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(Errno::LOOP.into());
                    }
                    let text = PathBuf::from(OsString::from_vec(rustix::fs::readlinkat(here, &name, Vec::new())?.into_bytes()));
                    if text.is_absolute() {
                        stack.truncate(1);
                    }
                    for component in text.components().rev().filter_map(step) {
                        left.push_front(component);
                    }
                }
                FileType::Directory => {
                    adopt(here, &name, Shape::Directory, &next, made)?;
                    stack.push(next);
                }
                _ if last && shape == Shape::File => {
                    adopt(here, &name, Shape::File, &next, made)?;
                    return Ok(next);
                }
                _ => return Err(Errno::NOTDIR.into()),
            },
            Err(Errno::NOENT) => {
                let kind = if last { shape } else { Shape::Directory };
                let next = match make(here, &name, kind, made) {
                    // Another run in this container was faster: what it made is looked at in the next round.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && rounds < LINK_LIMIT => {
                        rounds += 1;
                        left.push_front(name);
                        continue;
                    }
                    other => other?,
                };
                if kind == Shape::File {
                    return Ok(next);
                }
                stack.push(next);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match (stack.pop(), shape) {
        (Some(_), Shape::File) => Err(Errno::ISDIR.into()),
        (Some(found), Shape::Directory) => Ok(found),
        (None, _) => Err(Errno::NOENT.into()),
    }
}

/// What another run made as a mount point, and could not remove or was killed, is removed with what this one made. Where a command
/// has put something into it, it is an image's or a container's, and no longer marked, so that it stays when it is emptied.
fn adopt(parent: BorrowedFd<'_>, name: &OsStr, shape: Shape, found: &OwnedFd, made: &mut Vec<Placeholder>) -> io::Result<()> {
    if !placeholder::is_marked(parent, name)? {
        return Ok(());
    }
    if !placeholder::is_placeholder(parent, name)? {
        return placeholder::unmark(parent, name);
    }
    let stat = rustix::fs::fstat(found)?;
    let is_known = |known: &Placeholder| {
        rustix::fs::fstat(&known.made).is_ok_and(|known| (known.st_dev, known.st_ino) == (stat.st_dev, stat.st_ino))
    };
    if !made.iter().any(is_known) {
        let (parent, parent_before) = (parent.try_clone_to_owned()?, rustix::fs::fstat(parent)?);
        made.push(Placeholder { parent, name: name.to_os_string(), shape, made: found.try_clone()?, parent_before });
    }
    Ok(())
}

fn step(component: Component<'_>) -> Option<OsString> {
    match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}

fn make(parent: BorrowedFd<'_>, name: &OsStr, shape: Shape, made: &mut Vec<Placeholder>) -> io::Result<OwnedFd> {
    let parent_before = rustix::fs::fstat(parent)?;
    match shape {
        Shape::Directory => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?,
        Shape::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?);
        }
    }
    let handle = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // A commit beside this process, or after it was killed, leaves it out.
    placeholder::mark(parent, name)?;
    let (parent, name) = (parent.try_clone_to_owned()?, name.to_os_string());
    made.push(Placeholder { parent, name, shape, made: handle.try_clone()?, parent_before });
    Ok(handle)
}

/// Gives the file `handle` content if it is empty; answers whether it did.
pub(super) fn fill(handle: BorrowedFd<'_>, content: &[u8], mode: u32) -> io::Result<bool> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if rustix::fs::fstat(handle)?.st_size != 0 {
        return Ok(false);
    }
    let file = containers_storage::rooted::reopen_regular(handle, flags)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    (&file).write_all(content)?;
    Ok(true)
}

/// Takes the content of the file `handle` away again.
pub(super) fn empty(handle: BorrowedFd<'_>) {
    // What the process made of it is lost, as on a mount; a file that is gone needs no emptying.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let _ = containers_storage::rooted::reopen_regular(handle, flags).and_then(|file| file.set_len(0));
}

/// Makes the device node `name` in the directory `parent` unless something has that name. Where the machine lets nobody make nodes,
/// `null` becomes a file, which the shells of this world cannot do without: the answer is a handle on it.
pub(super) fn make_node(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    (major, minor): (u32, u32),
    made: &mut Vec<Placeholder>,
) -> io::Result<Option<OwnedFd>> {
    let parent_before = rustix::fs::fstat(parent)?;
    let mode = Mode::from_raw_mode(0o666);
    let created = match rustix::fs::mknodat(parent, name, FileType::CharacterDevice, mode, rustix::fs::makedev(major, minor)) {
        Err(Errno::PERM | Errno::ACCESS) if name == "null" => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, mode).map(drop)
        }
        other => other,
    };
    match created {
        Ok(()) => {}
        Err(Errno::EXIST | Errno::PERM | Errno::ACCESS) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let handle = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
    // A file system that takes no mark on a node leaves one behind if this process is killed together with its guardian.
    let _ = placeholder::mark(parent, name);
    let (parent, name) = (parent.try_clone_to_owned()?, name.to_os_string());
    let is_file = FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) == FileType::RegularFile;
    let lent = is_file.then(|| handle.try_clone()).transpose()?;
    made.push(Placeholder { parent, name, shape: Shape::File, made: handle, parent_before });
    Ok(lent)
}

/// Removes what was made, the last first. What has become something else, or is in use, stays: it is the user's now.
pub(super) fn remove(made: Vec<Placeholder>) {
    for placeholder in made.into_iter().rev() {
        let Placeholder { parent, name, shape, made, parent_before } = placeholder;
        let now = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW);
        let (Ok(now), Ok(made)) = (now, rustix::fs::fstat(&made)) else { continue };
        let same = (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino);
        if !same {
            continue;
        }
        let is_removed = match shape {
            Shape::Directory => rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR).is_ok(),
            Shape::File => now.st_size == 0 && rustix::fs::unlinkat(&parent, &name, AtFlags::empty()).is_ok(),
        };
        if !is_removed {
            // Not where another run still has its own in it.
            if placeholder::is_placeholder(parent.as_fd(), &name).is_ok_and(|is_one| !is_one) {
                let _ = placeholder::unmark(parent.as_fd(), &name);
            }
            continue;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: parent_before.st_atime, tv_nsec: parent_before.st_atime_nsec as _ },
            last_modification: Timespec { tv_sec: parent_before.st_mtime, tv_nsec: parent_before.st_mtime_nsec as _ },
        };
        // Only cosmetic: a parent that keeps the new time is listed in the layer, which is allowed.
        let _ = rustix::fs::utimensat(&parent, "", &times, AtFlags::EMPTY_PATH);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn made_in(dir: &Path, path: &str, shape: Shape) -> (io::Result<OwnedFd>, Vec<Placeholder>) {
        let root = fs::File::open(dir).unwrap();
        let mut made = Vec::new();
        let found = find_or_make(root.as_fd(), Path::new(path), shape, &mut made);
        (found, made)
    }

    #[test]
    fn links_lead_inside_and_dangling_ones_get_their_target() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        symlink("/run/resolve/stub", dir.path().join("etc/resolv.conf")).unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        symlink("../../..", dir.path().join("up")).unwrap();
        for (path, inside) in [("/etc/resolv.conf", "run/resolve/stub"), ("/up/a", "a"), ("/../../b", "b"), ("/etc/../c", "c")]
        {
            let (found, made) = made_in(dir.path(), path, Shape::File);
            found.unwrap();
            assert!(dir.path().join(inside).is_file(), "{path}");
            remove(made);
            assert!(!dir.path().join(inside).exists(), "{path} stays");
        }
        assert!(!dir.path().join("run").exists());
        let (found, _made) = made_in(dir.path(), "/out/x", Shape::File);
        found.unwrap();
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none(), "made outside the root");
    }

    #[test]
    fn what_the_user_made_of_a_placeholder_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (_, mut made) = made_in(dir.path(), "/d/s", Shape::File);
        made.extend(made_in(dir.path(), "/e/t", Shape::File).1);
        made.extend(made_in(dir.path(), "/f", Shape::Directory).1);
        fs::write(dir.path().join("d/s"), "kept").unwrap();
        fs::remove_file(dir.path().join("e/t")).unwrap();
        fs::write(dir.path().join("e/t"), "").unwrap();
        fs::write(dir.path().join("f/x"), "").unwrap();
        remove(made);
        assert_eq!(fs::read(dir.path().join("d/s")).unwrap(), b"kept");
        assert!(dir.path().join("e/t").exists(), "another inode was removed");
        assert!(dir.path().join("f/x").exists());
    }

    #[test]
    fn what_a_command_has_put_something_into_stays_when_it_is_emptied_later() {
        let dir = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
        // The first run ends in order, the second is killed.
        for is_killed in [false, true] {
            let (_, made) = made_in(dir.path(), "/etc/hosts", Shape::File);
            fs::write(dir.path().join("etc/passwd"), "x").unwrap();
            if !is_killed {
                remove(made);
            }
            let (_, made) = made_in(dir.path(), "/etc/hosts", Shape::File);
            fs::remove_file(dir.path().join("etc/passwd")).unwrap();
            remove(made);
            assert!(dir.path().join("etc").exists(), "killed: {is_killed}");
            assert!(!dir.path().join("etc/hosts").exists(), "killed: {is_killed}");
            fs::remove_dir(dir.path().join("etc")).unwrap();
        }
    }

    #[test]
    fn the_parent_looks_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let before = fs::metadata(dir.path()).unwrap().modified().unwrap();
        let (_, made) = made_in(dir.path(), "/a/b/c", Shape::Directory);
        assert_eq!(made.len(), 3);
        remove(made);
        assert_eq!(fs::metadata(dir.path()).unwrap().modified().unwrap(), before);
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn wrong_shapes_and_loops_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(made_in(dir.path(), "/file", Shape::Directory).0.is_err());
        assert!(made_in(dir.path(), "/file/x", Shape::File).0.is_err());
        assert!(made_in(dir.path(), "/", Shape::File).0.is_err());
        assert_eq!(made_in(dir.path(), "/loop/x", Shape::File).0.unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }
}
