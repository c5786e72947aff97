//! A volume whose files are all changed, as `:U`, `:z` and `:Z` do: the directories that nobody may mean, and the walk.
//!
//! Invariant: the walk goes by handle and meets links themselves, never what they name (CVE-2021-43816's class, known attack A17). What a
//! handle is called is what the kernel calls it, whatever the caller did.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use containers_storage::conf::home_directory;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::userns;

/// Directories that the system or everybody lives in.
const SYSTEM: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root",
    "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log", "/var/tmp",
];

/// Directories below a volume.
pub(super) const DEPTH_LIMIT: usize = 1024;

/// The home directory of who called the program.
pub(super) fn home_of_caller() -> Option<PathBuf> {
    let uid = userns::outer_ids().ok()?.uid;
    home_directory(std::env::var_os("HOME").as_deref(), uid)
}

/// Whether the system or everybody lives directly in `path`.
pub(super) fn is_system_directory(path: &Path) -> bool {
    SYSTEM.iter().any(|known| path == Path::new(known))
}

/// The name that the kernel has for the handle, so that a link to `/etc` is `/etc`.
pub(super) fn name_of(handle: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let name = rustix::fs::readlinkat(CWD, path_of(handle), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(name.into_bytes())))
}

/// A path that leads to what the handle stands for.
pub(super) fn path_of(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// Calls `change` with a handle on each thing in the tree, `depth` directories deep at most. What is below comes first: a walk that was
/// interrupted is begun anew by the next one, which looks at all.
pub(super) fn walk(handle: BorrowedFd<'_>, depth: usize, change: &dyn Fn(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let stat = rustix::fs::fstat(handle)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(handle, ".", flags, Mode::empty())?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match rustix::fs::openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Ok(child) => walk(child.as_fd(), depth, change)?,
                // Gone since the directory was read.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    change(handle)
}
