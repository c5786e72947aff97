//! `:z` and `:Z` of a volume: its files get the SELinux label of the container's, for all containers or for this one.
//!
//! Invariant: directories that the system or somebody's whole home lives in are refused; links are labelled themselves (`volume_tree`).

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use containers_storage::selinux::{self, Context};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::Error;
use super::mount_args::Relabel;
use super::volume_tree::{self, DEPTH_LIMIT};

/// What else keeps its label, as with Buildah; what is below may get others.
const KEPT: &[&str] = &["/etc/passwd", "/etc/pki", "/etc/shadow"];

/// Labels the volume that `handle` stands for, and everything below it, for a container whose own files have the label `own`.
pub(super) fn volume(handle: BorrowedFd<'_>, source: &Path, how: Relabel, own: &str) -> Result<(), Error> {
    let failed = |error: io::Error| Error::prepare(format!("the SELinux label of volume {source:?}"), error);
    refuse(&volume_tree::name_of(handle).map_err(failed)?)?;
    let label = match how {
        Relabel::Private => own.to_owned(),
        // Without categories it is every container's.
        Relabel::Shared => Context::parse(own)?.with_level("s0").to_string(),
    };
    let attribute = Attribute { name: selinux::ATTRIBUTE, value: &label };
    match attribute.give(handle, DEPTH_LIMIT) {
        // As with Buildah: what a mount of NFS shows has the label of the mount.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            log::debug!("volume {source:?}: its file system has no labels");
            Ok(())
        }
        other => other.map_err(failed),
    }
}

fn refuse(path: &Path) -> Result<(), Error> {
    let home = volume_tree::home_of_caller();
    // Of who called sudo(8): for root it is a home like any other.
    let caller = std::env::var("SUDO_USER").ok().and_then(|name| nix::unistd::User::from_name(&name).ok().flatten());
    let homes = home.into_iter().chain(caller.map(|user| user.dir));
    let keeps = volume_tree::is_system_directory(path) || KEPT.iter().any(|kept| path == Path::new(kept));
    if keeps || homes.into_iter().any(|home| path == home) {
        return Err(Error::Request(format!("SELinux relabeling of {} is not allowed", path.display())));
    }
    Ok(())
}

/// An attribute with a label. Its name is a parameter so that the walk can be tested where there is no SELinux.
struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
}

impl Attribute<'_> {
    fn give(&self, handle: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        volume_tree::walk(handle, depth, &|handle| self.set(handle))
    }

    /// A handle that is only a place takes no attribute itself (open(2), O_PATH).
    fn set(&self, handle: BorrowedFd<'_>) -> io::Result<()> {
        let path = volume_tree::path_of(handle);
        let mut present = vec![0; self.value.len() + 2];
        let length = rustix::fs::getxattr(&path, self.name, &mut present);
        let present = length.ok().and_then(|length| present.get(..length));
        // What is right already costs no write. Labels may end with a NUL.
        if present.map(|label| label.strip_suffix(b"\0").unwrap_or(label)) == Some(self.value.as_bytes()) {
            return Ok(());
        }
        match rustix::fs::setxattr(&path, self.name, self.value.as_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;

    use rustix::fs::{CWD, Mode, OFlags};

    use super::*;

    fn opened(path: &Path) -> std::os::fd::OwnedFd {
        rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn label_of(path: &Path, name: &str) -> Option<String> {
        let mut buffer = [0u8; 64];
        let length = rustix::fs::lgetxattr(path, name, &mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// An attribute that the caller may set, and whether links take it.
    fn attribute(dir: &Path) -> Option<(&'static str, bool)> {
        let may = |name: &str| rustix::fs::setxattr(dir, name, b"x", XattrFlags::empty()).is_ok();
        [("trusted.coracle-test", true), ("user.coracle-test", false)].into_iter().find(|(name, _)| may(name))
    }

    #[test]
    fn system_directories_and_homes_keep_their_labels_also_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc", dir.path().join("link")).unwrap();
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
        for path in ["/", "/usr", "/etc", "/home", "/tmp", "/var/lib"]
            .map(PathBuf::from)
            .iter()
            .chain([&dir.path().join("link"), &home])
        {
            let handle = opened(path);
            let error = volume(handle.as_fd(), path, Relabel::Shared, "u:r:t:s0").unwrap_err().to_string();
            assert!(error.contains("SELinux relabeling of") && error.contains("is not allowed"), "{path:?}: {error}");
        }
        assert!(refuse(Path::new("/etc/mine")).is_ok() && refuse(Path::new("/home/u/project")).is_ok(), "as Buildah");
    }

    #[test]
    fn the_tree_is_labelled_and_what_links_name_is_not() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // tmpfs before Linux 6.6 takes no attributes of an ordinary user's: there is nothing to be seen then.
        let Some((name, on_links)) = attribute(dir.path()) else { return };
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "").unwrap();
        rustix::fs::mkfifoat(CWD, dir.path().join("a/pipe"), Mode::RWXU).ok();
        if on_links {
            symlink(outside.path(), dir.path().join("out")).unwrap();
        }
        let label = Attribute { name, value: "u:o:t:s0:c1,c2" };
        let mut parts = vec!["", "a", "a/b", "a/b/file"];
        parts.extend(on_links.then_some("out"));
        label.give(opened(dir.path()).as_fd(), DEPTH_LIMIT).unwrap();
        for part in &parts {
            assert_eq!(label_of(&dir.path().join(part), name).as_deref(), Some(label.value), "{part}");
        }
        assert_eq!(label_of(outside.path(), name), None);
        // Nothing is written where the label is right, with the NUL that some write or without.
        rustix::fs::setxattr(dir.path().join("a/b/file"), name, b"u:o:t:s0:c1,c2\0", XattrFlags::empty()).unwrap();
        let times = || ["a/b", "a/b/file"].map(|part| fs::metadata(dir.path().join(part)).map(|stat| stat.ctime_nsec()).ok());
        let before = times();
        std::thread::sleep(std::time::Duration::from_millis(20));
        label.give(opened(dir.path()).as_fd(), DEPTH_LIMIT).unwrap();
        assert_eq!(times(), before);
        let other = Attribute { name, value: "u:o:t:s0" };
        other.give(opened(dir.path()).as_fd(), DEPTH_LIMIT).unwrap();
        assert_eq!(label_of(&dir.path().join("a/b/file"), name).as_deref(), Some("u:o:t:s0"));
        assert!(label.give(opened(dir.path()).as_fd(), 2).is_err(), "no deeper than is allowed");
    }
}
