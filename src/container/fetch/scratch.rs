//! Directories for what is fetched or unpacked: each goes with the value that stands for it, and with the process, however that ends.
//!
//! ```text
//! <directory for temporary files>/coracle-{context,git}-<16 hex digits>     0700, locked (flock(2)) by the processes that use it
//! ```
//!
//! A process that ends without dropping the value has a guardian, which deletes the directory. If that was killed, too, the directory is
//! without a lock, and whoever makes the next one, or `prune`, deletes it.
//!
//! Invariant: only a directory of the caller's own that nobody has locked is collected.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use containers_storage::Root;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

use crate::run::Guardian;

/// How the names begin.
const PREFIXES: [&str; 2] = ["coracle-context-", "coracle-git-"];
/// Digits of a name after that.
const DIGITS: usize = 16;
/// How often a directory is tried that others take away.
const ATTEMPTS: usize = 8;
/// How often a guardian tries to delete, and how long it waits in between: git(1) may still be at work.
const PATIENCE: (usize, Duration) = (40, Duration::from_millis(50));

/// A directory of ours that goes with this value, in the process that made it: a child that ends leaves it alone.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    owner: u32,
    guardian: Option<Guardian>,
    _lock: OwnedFd,
}

impl Scratch {
    /// Makes a directory (0700) in `temp_dir` whose name begins with `prefix`, and deletes what killed processes left beside it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(temp_dir: &Path, prefix: &str) -> io::Result<Self> {
        debug_assert!(PREFIXES.contains(&prefix), "the directory would not be collected");
        collect(temp_dir);
        for _ in 0..ATTEMPTS {
            let random = getrandom::u64().map_err(io::Error::other)?;
            let path = temp_dir.join(format!("{prefix}{random:0DIGITS$x}"));
            std::fs::DirBuilder::new().mode(0o700).create(&path)?;
            // Between the two another process may have taken it for abandoned.
            let Some(lock) = locked(&path)? else { continue };
            // A process with threads has none: what it leaves is collected later.
            let guardian = Guardian::start(|| delete_at_last(&path)).ok();
            return Ok(Self { path, owner: std::process::id(), guardian, _lock: lock });
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // What cannot be deleted now is collected later.
            let _ = delete(&self.path);
            if let Some(guardian) = self.guardian.take() {
                guardian.dismiss();
            }
        }
    }
}

/// Deletes the directories in `temp_dir` that killed processes left there. What cannot be deleted stays for another time.
pub fn collect(temp_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(temp_dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digits = PREFIXES.iter().find_map(|prefix| name.as_bytes().strip_prefix(prefix.as_bytes()));
        if digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
            && let path = temp_dir.join(&name)
            && let Ok(Some(_lock)) = locked(&path)
        {
            let _ = delete(&path);
        }
    }
}

/// The directory, locked; `None` if somebody has locked or deleted it, or it belongs to somebody else.
fn locked(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => other?,
    };
    if rustix::fs::fstat(&directory)?.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        other => other?,
    }
    // One that was deleted has no links.
    Ok((rustix::fs::fstat(&directory)?.st_nlink > 0).then_some(directory))
}

fn delete(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    Root::open(parent)?.remove_all(Path::new(name))
}

fn delete_at_last(path: &Path) {
    for _ in 0..PATIENCE.0 {
        let _ = delete(path);
        if std::fs::symlink_metadata(path).is_err() {
            return;
        }
        std::thread::sleep(PATIENCE.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_is_collected_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let used = Scratch::create(temp.path(), "coracle-git-").unwrap();
        let left = temp.path().join("coracle-context-0123456789abcdef");
        let others = ["coracle-context-0123", "coracle-git-0123456789abcdeg", "else", "coracle-context-0123456789abcde/f"];
        std::fs::create_dir_all(left.join("a/b")).unwrap();
        others.iter().for_each(|name| std::fs::create_dir_all(temp.path().join(name)).unwrap());
        std::os::unix::fs::symlink("else", temp.path().join("coracle-git-0123456789abcdef")).unwrap();
        collect(temp.path());
        assert!(used.path().exists() && !left.exists());
        assert!(others.iter().all(|name| temp.path().join(name).exists()));
        let path = used.path().to_path_buf();
        drop(used);
        assert!(!path.exists());
    }
}
