//! Names below a directory handle: every look-up inside a layer, a root file system, a context or an archive goes through `Root`.
//!
//! Invariant: a path is resolved exactly once, by the kernel, with the handle as its root (`openat2(2)`, `RESOLVE_IN_ROOT |
//! RESOLVE_NO_MAGICLINKS`); absolute links and `..` stay inside. The result is a descriptor, and what follows (chmod, chown,
//! times, xattrs, mounts) uses that descriptor, never the string again. Creating never follows a link in the last component.
//!
//! Must not: take a path of the host from the content of an image; open a foreign name without knowing that it is a regular
//! file (a FIFO would hang, a device would act).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// An open directory that stands for `/`.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl Root {
    /// Opens the directory `path` of the host. A link as its last component is refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::openat(CWD, path, flags, Mode::empty())? })
    }

    /// A second handle on the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// A bare handle (`O_PATH`) on what `path` names, links followed within the root.
    pub fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_in_root(path, OFlags::PATH, Mode::empty())
    }

    /// A bare handle (`O_PATH`) on `path` itself: a link as the last component is returned, not followed.
    pub fn resolve_nofollow(&self, path: &Path) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        open_child(parent.as_fd(), &name)
    }

    /// The directory named `path`, as a root of its own.
    pub fn subdir(&self, path: &Path) -> io::Result<Root> {
        Ok(Self { fd: self.open_in_root(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())? })
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
    /// The root itself, or a path that ends in `..`, has no such component and is refused.
    pub fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = match path.components().next_back() {
            Some(Component::Normal(name)) => name.to_os_string(),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no last component")),
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.open_in_root(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?, name))
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
    /// Links in existing components are followed within the root; a dangling one is an error.
    pub fn mkdir_all(&self, path: &Path, mut made: impl FnMut(BorrowedFd<'_>, &Path) -> io::Result<()>) -> io::Result<OwnedFd> {
        let mut at = PathBuf::new();
        let mut dir = self.resolve(Path::new("."))?;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir => {
                    at.push("..");
                    dir = self.open_in_root(&at, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
                    continue;
                }
                Component::Normal(name) => {
                    at.push(name);
                    // The prefix is looked up again from the root, so that a link in it is followed inside.
                    dir = match self.open_in_root(&at, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
                        Ok(next) => next,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            rustix::fs::mkdirat(&dir, name, Mode::RWXU)?;
                            let next = rustix::fs::openat(
                                &dir,
                                name,
                                OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                                Mode::empty(),
                            )?;
                            made(next.as_fd(), &at)?;
                            next
                        }
                        Err(error) => return Err(error),
                    };
                }
            }
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
        remove_tree(parent.as_fd(), &name)
    }

    fn open_in_root(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        // `openat2` refuses an empty path; the root names itself.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // A rename or mount somewhere on the system makes the kernel answer EAGAIN; it says nothing about support (openat2(2)).
        for _ in 0..128 {
            match rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }
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
    Ok(File::from(rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?))
}

fn single_component(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a single path component"));
    }
    Ok(())
}

fn remove_tree(_parent: BorrowedFd<'_>, _name: &OsStr) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "the storage driver's author fills this in"))
}
