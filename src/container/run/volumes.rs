//! The image's volumes, which are plain directories here: missing ones are made, as a container of any runtime would find them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use containers_storage::Root;
use rustix::fs::{FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use super::Error;
use crate::image::config::Settings;
use crate::run::namespaces::User;

/// As many links in a path as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Makes the volumes that are missing, 0755 and root's of the user namespace `user`. A file, as in `VOLUME /etc/hosts`, stays what it
/// is.
pub(super) fn make(root: &Root, settings: &Settings, user: &User) -> Result<(), Error> {
    let owner = user.owner(0, 0).map_err(Error::Word)?;
    for volume in &settings.volumes {
        let path = Path::new(volume);
        let made = real_path(root, path).and_then(|real| make_directory(root, &real, owner));
        match made {
            Err(source) if source.raw_os_error() != Some(Errno::NOTDIR.raw_os_error()) => {
                return Err(Error::Volume { path: path.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

pub(in crate::container) fn make_directory(root: &Root, path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    let made = root.mkdir_all(path, |directory, _| {
        // The handle is a bare one (O_PATH), which fchmod(2) refuses.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory));
        if (uid, gid) != (0, 0) {
            rustix::fs::chown(&path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(rustix::fs::chmod(path, mode)?)
    });
    made.map(drop)
}

/// Where `path` leads, link by link, also where nothing is yet: a link to a directory that is missing means that directory. Nothing
/// relies on the answer but a name that is resolved below the root once more.
pub(in crate::container) fn real_path(root: &Root, path: &Path) -> io::Result<PathBuf> {
    let mut left: VecDeque<OsString> = path.components().filter_map(part).collect();
    let (mut real, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        real.push(name);
        let Some(target) = link_target(root, &real)? else { continue };
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        real.pop();
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        target.components().rev().filter_map(part).for_each(|name| left.push_front(name));
    }
    Ok(real)
}

fn part(component: Component<'_>) -> Option<OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}

/// What the link at `path` says; `None` for anything else, and for nothing.
fn link_target(root: &Root, path: &Path) -> io::Result<Option<PathBuf>> {
    use std::os::unix::ffi::OsStringExt;
    let handle = match root.resolve_nofollow(path) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) != FileType::Symlink {
        return Ok(None);
    }
    let text = rustix::fs::readlinkat(&handle, "", Vec::new())?;
    Ok(Some(PathBuf::from(OsString::from_vec(text.into_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn volumes(root: &Path, paths: &[&str]) -> Result<(), Error> {
        let settings = Settings { volumes: paths.iter().map(|path| (*path).to_owned()).collect(), ..Settings::default() };
        make(&Root::open(root).unwrap(), &settings, &User::Same)
    }

    #[test]
    fn a_volume_behind_a_link_is_made_where_the_link_leads() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        symlink("/missing/dir", root.join("absolute")).unwrap();
        symlink("../../up/relative", root.join("relative")).unwrap();
        symlink("absolute", root.join("twice")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        volumes(root, &["/absolute", "relative", "/twice/below", "/a/../b", "/file", "/file/below"]).unwrap();
        for path in ["missing/dir/below", "up/relative", "b"] {
            assert!(root.join(path).is_dir(), "{path}");
        }
        assert!(!root.join("a").exists());
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        let error = volumes(directory.path(), &["/a"]).unwrap_err();
        assert!(matches!(error, Error::Volume { .. }), "{error}");
    }
}
