//! `:U` of a volume: its files are given to the command's user before it is mounted; and the way to where labels are set (`relabel`).
//!
//! Invariant: a directory that the system or the caller's whole home lives in is refused; links are given away themselves (`volume_tree`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Uid};

use super::mount_args::{MountKind, MountRequest, Source};
use super::spec::lexically_clean;
use super::{Error, ProcessUser, relabel, volume_tree};

/// What is in these is the system's as well.
const SYSTEM_TREES: &[&str] = &["/etc", "/usr", "/bin", "/sbin", "/lib", "/boot", "/dev", "/proc", "/sys"];

/// Does what the options of `requests` ask for. `pinned` has their sources, by target; `label` is the SELinux label of the container's files.
pub(super) fn prepare(
    requests: &[MountRequest],
    pinned: &[(PathBuf, OwnedFd)],
    user: &ProcessUser,
    label: Option<&str>,
) -> Result<(), Error> {
    for request in requests {
        let (source, chown, relabel) = match &request.kind {
            MountKind::Bind(bind) => (described(&bind.source), bind.chown, bind.relabel),
            MountKind::Cache(cache) => (PathBuf::from("cache"), cache.chown, cache.relabel),
            MountKind::Tmpfs { .. } => continue,
        };
        let relabel = relabel.zip(label);
        if !chown && relabel.is_none() {
            continue;
        }
        let failed = |error: io::Error| Error::prepare(format!("the owner of volume {source:?}"), error);
        let target = lexically_clean(&request.target);
        let Some((_, handle)) = pinned.iter().find(|(known, _)| *known == target) else { continue };
        if let Some((how, label)) = relabel {
            relabel::volume(handle.as_fd(), &source, how, label)?;
        }
        if chown {
            refuse_system_directory(handle, &source)?;
            give(handle.as_fd(), user).map_err(failed)?;
        }
    }
    Ok(())
}

fn described(source: &Source) -> PathBuf {
    match source {
        Source::Host(path) | Source::Context(path) | Source::Rootfs(path) | Source::Named { path, .. } => path.clone(),
    }
}

/// By the name that the kernel has for the handle, so that a link to `/etc` is `/etc`.
fn refuse_system_directory(handle: &OwnedFd, source: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::prepare(format!("the volume {source:?}"), error);
    let path = volume_tree::name_of(handle.as_fd()).map_err(failed)?;
    let home = volume_tree::home_of_caller();
    let system = volume_tree::is_system_directory(&path) || home.as_deref() == Some(&path);
    let inside = SYSTEM_TREES.iter().any(|tree| path.starts_with(tree));
    if system || inside {
        return Err(Error::Request(format!("volume {source:?}: the owner of {path:?} is not changed: the system lives there")));
    }
    Ok(())
}

fn give(handle: BorrowedFd<'_>, user: &ProcessUser) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    volume_tree::walk(handle, volume_tree::DEPTH_LIMIT, &|handle| {
        Ok(rustix::fs::chownat(handle, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use rustix::fs::{CWD, Mode, OFlags};

    use super::*;

    fn volume(source: &Path) -> MountRequest {
        MountRequest::parse_volume(&format!("{}:/v:U", source.display())).unwrap()
    }

    fn prepared(source: &Path) -> Result<(), Error> {
        let handle = rustix::fs::openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        prepare(&[volume(source)], &[(PathBuf::from("/v"), handle)], &me(), None)
    }

    fn me() -> ProcessUser {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        ProcessUser { uid, gid, groups: Vec::new(), home: "/".into(), keep_groups: false }
    }

    #[test]
    fn system_directories_are_refused_also_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc", dir.path().join("link")).unwrap();
        for source in [Path::new("/"), Path::new("/etc"), Path::new("/usr/share"), &dir.path().join("link"), Path::new("/tmp")]
        {
            assert!(prepared(source).is_err(), "{source:?}");
        }
    }

    #[test]
    fn the_tree_is_given_away_and_what_links_name_is_not_touched() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), "").unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        let before = fs::metadata(outside.path()).unwrap().ctime_nsec();
        let changed = fs::metadata(dir.path().join("sub/file")).unwrap().ctime_nsec();
        std::thread::sleep(std::time::Duration::from_millis(20));
        prepared(dir.path()).unwrap();
        assert_ne!(fs::metadata(dir.path().join("sub/file")).unwrap().ctime_nsec(), changed);
        assert_eq!(fs::metadata(outside.path()).unwrap().ctime_nsec(), before);
    }
}
