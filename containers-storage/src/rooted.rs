//! Names below a directory handle: every look-up inside a layer, a root file system, a context or an archive goes through `Root`.
//!
//! Invariant: a path is resolved exactly once, by the kernel, with the handle as its root (`openat2(2)`, `RESOLVE_IN_ROOT |
//! RESOLVE_NO_MAGICLINKS`); absolute links and `..` stay inside. The result is a descriptor, and what follows (chmod, chown,
//! times, xattrs, mounts) uses that descriptor, never the string again. Creating never follows a link in the last component.
//!
//! Where the kernel or a seccomp filter refuses `openat2`, `walk` gives the same answers component by component.
//!
//! Must not: take a path of the host from the content of an image; open a foreign name without knowing that it is a regular
//! file (a FIFO would hang, a device would act).

mod remove;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// An open directory that stands for `/`.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// Tests make every look-up take the walk.
    #[cfg(test)]
    walk_only: bool,
}

/// What a look-up is to end at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Anything,
    Directory,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, one path component.
    pub name: OsString,
    /// Its type, as the directory tells it; `None` where the file system doesn't say.
    pub kind: Option<EntryKind>,
}

/// The type that a directory gives for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Device, FIFO or socket.
    Special,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd)
    }
}

impl Root {
    fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            #[cfg(test)]
            walk_only: false,
        }
    }

    /// Opens the directory `path` of the host. A link as its last component is refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self::new(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// A second handle on the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.fd.try_clone()?))
    }

    /// A bare handle (`O_PATH`) on what `path` names, links followed within the root.
    pub fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        self.look_up(path, Want::Anything)
    }

    /// A bare handle (`O_PATH`) on `path` itself: a link as the last component is returned, not followed.
    pub fn resolve_nofollow(&self, path: &Path) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        open_child(parent.as_fd(), &name)
    }

    /// The directory named `path`, as a root of its own.
    pub fn subdir(&self, path: &Path) -> io::Result<Root> {
        Ok(Self::new(self.look_up(path, Want::Directory)?))
    }

    /// The name below the root, without a leading slash, of what `handle` stands for, as the kernel tells it now (proc_pid_fd(5)).
    /// For what has been moved out of the root, or deleted, there is none.
    pub fn name_of(&self, handle: BorrowedFd<'_>) -> io::Result<PathBuf> {
        let name = |fd: BorrowedFd<'_>| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let (root, name) = (name(self.fd.as_fd())?, name(handle)?);
        match name.strip_prefix(&root) {
            Ok(inside) => Ok(inside.to_path_buf()),
            Err(_) => Err(io::Error::new(io::ErrorKind::NotFound, "it is not below the root")),
        }
    }

    /// The metadata of `path`, links followed within the root.
    pub fn metadata(&self, path: &Path) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.resolve(path)?)?)
    }

    /// The metadata of `path` itself.
    pub fn symlink_metadata(&self, path: &Path) -> io::Result<Stat> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The directory that holds the last component of `path`, and that component. Links are followed in the directory part only.
    /// The root itself, or a path that ends in `..`, has no such component and is refused. A trailing slash or `/.` says nothing: the
    /// component is never followed.
    pub fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = match path.components().next_back() {
            Some(Component::Normal(name)) => name.to_os_string(),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no last component")),
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.look_up(parent, Want::Directory)?, name))
    }

    /// Opens the regular file `path` for reading, links followed within the root. Anything that is no regular file is refused
    /// before it is opened (known attack A14).
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let handle = self.resolve(path)?;
        reopen_regular(handle.as_fd(), OFlags::RDONLY)
    }

    /// The whole of the regular file `path`; more than `limit` bytes are refused.
    pub fn read_file(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        use std::io::Read;
        let file = self.open_file(path)?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Makes the directory `path` and its missing parents, each through `made`, which gets a handle on it to set owner and
    /// mode; it is created 0700 before that. Existing components are left as they are. Returns a handle on the last one.
    /// Links are followed within the root; where one leads to nothing, the directories that it names are made.
    pub fn mkdir_all(&self, path: &Path, mut made: impl FnMut(BorrowedFd<'_>, &Path) -> io::Result<()>) -> io::Result<OwnedFd> {
        let (mut at, mut links) = (PathBuf::new(), 0);
        let mut left: Vec<OsString> = names_backwards(path).collect();
        let mut dir = self.resolve(Path::new("."))?;
        while let Some(name) = left.pop() {
            at.push(&name);
            // The prefix is looked up again from the root, so that a link in it is followed inside.
            match self.look_up(&at, Want::Directory) {
                Ok(next) => {
                    dir = next;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && name != ".." => {}
                Err(error) => return Err(error),
            }
            if let Some(next) = make_child(&dir, &name)? {
                made(next.as_fd(), &at)?;
                dir = next;
                continue;
            }
            let Some(text) = link_text(&dir, &name)? else {
                // Somebody else made it meanwhile.
                dir = self.look_up(&at, Want::Directory)?;
                continue;
            };
            links += 1;
            if links > walk::MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            at.pop();
            if text.is_absolute() {
                at.clear();
                dir = self.resolve(Path::new("."))?;
            }
            left.extend(names_backwards(&text));
        }
        Ok(dir)
    }

    /// Removes `path` and everything below it, without following links and without crossing into what a link names. A path
    /// that does not exist is no error.
    pub fn remove_all(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = match self.parent(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        remove::tree(parent.as_fd(), &name)
    }

    /// Creates the regular file `path` and opens it for writing. Whatever is there already, a dangling link too, is an error: a name
    /// from outside never truncates or follows. `mode` is subject to the umask.
    pub fn create_file(&self, path: &Path, mode: u32) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(parent, &name, flags, Mode::from_raw_mode(mode))?))
    }

    /// The entries of the directory `path`, sorted by name (bytewise), without `.` and `..`. Nothing is looked up by name: what needs
    /// more than the type opens the entry with `open_child`.
    pub fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let handle = self.look_up(path, Want::Directory)?;
        list(handle.as_fd())
    }

    fn look_up(&self, path: &Path, want: Want) -> io::Result<OwnedFd> {
        // `openat2` refuses an empty path; the root names itself.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        #[cfg(test)]
        if self.walk_only {
            return Ok(walk::look_up(self.fd.as_fd(), path, want)?);
        }
        let flags = match want {
            Want::Anything => OFlags::PATH | OFlags::CLOEXEC,
            Want::Directory => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // A rename or mount somewhere on the system makes the kernel answer EAGAIN; it says nothing about support (openat2(2)).
        for _ in 0..128 {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                // No such call before 5.6; EPERM from a seccomp filter that doesn't know it. A true EPERM comes back from the walk.
                Err(Errno::NOSYS | Errno::PERM) => return Ok(walk::look_up(self.fd.as_fd(), path, want)?),
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }
}

/// The entries of an open directory (a bare handle will do), as `Root::read_dir`.
pub fn list(dir: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::new(rustix::fs::openat(dir, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::RegularFile => Some(EntryKind::File),
            FileType::Directory => Some(EntryKind::Directory),
            FileType::Symlink => Some(EntryKind::Symlink),
            FileType::Unknown => None,
            _ => Some(EntryKind::Special),
        };
        entries.push(Entry { name: OsStr::from_bytes(name).to_os_string(), kind });
    }
    entries.sort_unstable();
    Ok(entries)
}

/// A bare handle (`O_PATH`) on the entry `name` of the open directory `dir`; a link is returned, not followed.
pub fn open_child(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    single_component(name)?;
    Ok(rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens what a bare handle stands for, once it is known to be a regular file.
pub fn reopen_regular(handle: BorrowedFd<'_>, flags: OFlags) -> io::Result<File> {
    let stat = rustix::fs::fstat(handle)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let file = rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    // Somebody may have mounted something else on /proc.
    let opened = rustix::fs::fstat(&file)?;
    if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(io::Error::other("/proc/self/fd leads somewhere else"));
    }
    Ok(File::from(file))
}

/// The components of a path that lead somewhere, the last one first.
fn names_backwards(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().rev().filter_map(|component| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_os_string()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// What the link `name` says; `None` for anything else, and for nothing.
fn link_text(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<PathBuf>> {
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(text) => Ok(Some(PathBuf::from(OsString::from_vec(text.into_bytes())))),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// A new directory `name`, 0700; `None` if the name is taken.
fn make_child(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::openat(dir, name, flags, Mode::empty())?))
}

fn single_component(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a single path component"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
