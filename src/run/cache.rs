//! Cache directories (`--mount type=cache`): where they are, how they are made, and who has to wait.
//!
//! ```text
//! <temporary directory>/buildah-cache-<uid>/     mode 0700, the caller's: Buildah's place, so that both share them
//!     <16 digits of the hash of "name:uid:gid">/     mounted
//!     buildah-cache-lockfiles/<the same>/buildah-cache-lockfile     sharing=locked
//! ```
//!
//! Invariant: a name is hashed and never a path (CVE-2024-9675); the parent is in a directory where others may write, so that it is
//! used only if it is a directory of the caller's that nobody else may write to (known attack A126); locks lie beside the data
//! they guard (A127); a new directory has its owner and mode before it has its name.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use containers_storage::private::Unfit;
use containers_storage::{Digest, Root};
use nix::fcntl::FcntlArg;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::mount_args::{Cache, MountRequest, Sharing};
use super::namespaces::User;
use super::spec::lexically_clean;
use super::{Error, MountOptions};

const LOCK_DIRECTORY: &str = "buildah-cache-lockfiles";
const LOCK_NAME: &str = "buildah-cache-lockfile";

/// A handle on what is mounted for `cache`; the directory is made if it is missing. The lock, if one is asked for, is waited for
/// and added to `locks`.
pub(super) fn open(
    options: &MountOptions,
    user: &User,
    mount: &MountRequest,
    cache: &Cache,
    locks: &mut Vec<File>,
) -> Result<OwnedFd, Error> {
    let Some(parent) = &options.cache_dir else {
        return Err(Error::Request(format!("the cache for {:?} has no directory to be in", mount.target)));
    };
    let failed = |source: io::Error| Error::prepare(format!("the cache directory {parent:?}"), source);
    if cache.from.is_some() || cache.sharing == Sharing::Private {
        return Err(Error::Request(format!(
            "the cache for {:?}: from= and sharing=private are not supported yet",
            mount.target
        )));
    }
    let key = key(cache, &mount.target);
    let own = open_parent(parent).map_err(failed)?;
    let owner = user.owner(cache.uid, cache.gid).map_err(Error::Request)?;
    let directory = open_or_make(&own, &key, owner, cache.mode).map_err(failed)?;
    if cache.sharing == Sharing::Locked {
        locks.push(lock(&own, &key).map_err(failed)?);
    }
    if cache.source.as_os_str().is_empty() {
        return Ok(directory);
    }
    let below = Root::from(directory).resolve(&cache.source);
    below.map_err(|source| Error::prepare(format!("{:?} of the cache for {:?}", cache.source, mount.target), source))
}

/// Removes all caches in `parent`. The locks stay: a process may hold one of them, or wait for it.
pub fn empty(parent: &Path) -> io::Result<()> {
    let own = match rustix::fs::openat(CWD, parent, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => checked(opened?)?,
    };
    let root = Root::from(own);
    for entry in root.read_dir(Path::new("."))? {
        if entry.name != LOCK_DIRECTORY {
            root.remove_all(Path::new(&entry.name))?;
        }
    }
    Ok(())
}

fn key(cache: &Cache, target: &Path) -> String {
    let target = lexically_clean(target);
    let name = cache.id.as_deref().map_or_else(|| target.to_string_lossy(), Into::into);
    let digest = Digest::of(format!("{name}:{}:{}", cache.uid, cache.gid).as_bytes()).to_string();
    digest.trim_start_matches("sha256:").chars().take(16).collect()
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_parent(path: &Path) -> io::Result<OwnedFd> {
    let directory = match rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {
            match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?
        }
        opened => opened?,
    };
    checked(directory)
}

/// The directory, if it is the caller's and nobody else may write to it.
fn checked(directory: OwnedFd) -> io::Result<OwnedFd> {
    let stat = rustix::fs::fstat(&directory)?;
    let unfit = if stat.st_uid != rustix::process::geteuid().as_raw() {
        Some(Unfit::Foreign { owner: stat.st_uid })
    } else {
        (stat.st_mode & 0o022 != 0).then_some(Unfit::Shared)
    };
    if let Some(unfit) = unfit {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, unfit.to_string()));
    }
    Ok(directory)
}

fn open_or_make(parent: &OwnedFd, key: &str, (uid, gid): (u32, u32), mode: u32) -> io::Result<OwnedFd> {
    match rustix::fs::openat(parent, key, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    let beside = format!(".new-{}-{key}", std::process::id());
    rustix::fs::mkdirat(parent, &beside, Mode::RWXU)?;
    let named = (|| {
        let directory = rustix::fs::openat(parent, &beside, DIRECTORY, Mode::empty())?;
        rustix::fs::fchown(&directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?;
        rustix::fs::renameat_with(parent, &beside, parent, key, RenameFlags::NOREPLACE)
    })();
    if named.is_err() {
        // Another process was faster, or the owner is not mapped; an empty directory is all that could stay.
        let _ = rustix::fs::unlinkat(parent, &beside, AtFlags::REMOVEDIR);
    }
    match named {
        Ok(()) | Err(Errno::EXIST) => Ok(rustix::fs::openat(parent, key, DIRECTORY, Mode::empty())?),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the lock of the cache `key`; it is free again when the file is closed.
fn lock(parent: &OwnedFd, key: &str) -> io::Result<File> {
    let step = |parent: &OwnedFd, name: &str| -> io::Result<OwnedFd> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?),
            Err(error) => Err(error.into()),
        }
    };
    let directory = step(&step(parent, LOCK_DIRECTORY)?, key)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, LOCK_NAME, flags, Mode::RUSR | Mode::WUSR)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{LOCK_NAME:?} is no regular file")));
    }
    let whole = libc::flock { l_type: libc::F_WRLCK as libc::c_short, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    loop {
        match nix::fcntl::fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole)) {
            Ok(_) => return Ok(file),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;
    use crate::run::mount_args::MountKind;

    fn opened(parent: &Path, words: &str) -> Result<(OwnedFd, Vec<File>), Error> {
        let owner = format!("uid={},gid={}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let mount = MountRequest::parse_mount(&format!("type=cache,{owner},{words}")).unwrap();
        let MountKind::Cache(cache) = &mount.kind else { panic!("{mount:?}") };
        let options = MountOptions { cache_dir: Some(parent.to_owned()), ..MountOptions::default() };
        let mut locks = Vec::new();
        open(&options, &User::Same, &mount, cache, &mut locks).map(|directory| (directory, locks))
    }

    fn inode(handle: &OwnedFd) -> u64 {
        rustix::fs::fstat(handle).unwrap().st_ino
    }

    #[test]
    fn hostile_names_are_hashed_into_one_directory_below_the_parent() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let mut seen = Vec::new();
        for words in
            ["id=../../x,dst=/c", "id=/etc,dst=/c", "id=.,dst=/c", "dst=/../../x", &format!("id={},dst=/c", "y".repeat(4096))]
        {
            let (handle, _) = opened(&parent, words).unwrap();
            seen.push(inode(&handle));
        }
        let names: Vec<_> = std::fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        assert!(names.iter().all(|name| name.len() == 16), "{names:?}");
        assert_eq!(inode(&opened(&parent, "id=/etc,dst=/other").unwrap().0), seen[1], "the name decides, not the target");
        assert_eq!(std::fs::metadata(&parent).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_new_directory_has_the_mode_that_was_asked_for_and_an_old_one_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        for (words, mode) in [("dst=/a,mode=0711", 0o711), ("dst=/a,mode=0700", 0o711), ("dst=/b", 0o755)] {
            let stat = rustix::fs::fstat(opened(&parent, words).unwrap().0).unwrap();
            assert_eq!(stat.st_mode & 0o7777, mode, "{words}");
        }
    }

    #[test]
    fn a_parent_that_others_can_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let wide = dir.path().join("wide");
        std::fs::create_dir(&wide).unwrap();
        std::fs::set_permissions(&wide, std::fs::Permissions::from_mode(0o777)).unwrap();
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for parent in [wide, link, file, PathBuf::from("/nonexistent/parent")] {
            assert!(opened(&parent, "dst=/c").is_err(), "{parent:?}");
        }
    }

    #[test]
    fn a_source_stays_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let (handle, _) = opened(&parent, "dst=/c").unwrap();
        rustix::fs::symlinkat(dir.path(), &handle, "out").unwrap();
        rustix::fs::mkdirat(&handle, "sub", Mode::RWXU).unwrap();
        assert!(opened(&parent, "dst=/c,source=out").is_err());
        assert_eq!(inode(&opened(&parent, "dst=/c,source=../..").unwrap().0), inode(&handle));
        assert_ne!(inode(&opened(&parent, "dst=/c,source=/sub").unwrap().0), inode(&handle));
    }

    #[test]
    fn a_locked_cache_makes_the_next_one_wait() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let (_, locks) = opened(&parent, "dst=/c,sharing=locked").unwrap();
        opened(&parent, "dst=/c").unwrap();
        let second = {
            let parent = parent.clone();
            std::thread::spawn(move || opened(&parent, "dst=/c,sharing=locked").map(|_| std::time::Instant::now()).unwrap())
        };
        std::thread::sleep(std::time::Duration::from_millis(50));
        let released = std::time::Instant::now();
        drop(locks);
        assert!(second.join().unwrap() >= released);
    }
}
