//! The sources of mounts that were asked for: each is looked up once, by handle, and the handle is what is mounted.
//!
//! Invariant: a path below the context directory, an image, a cache or the root file system never leaves it (CVE-2024-1753,
//! CVE-2024-11218); a link that is swapped after the look changes nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::etc_files::ExtraFile;
use super::mount_args::{Bind, MountKind, MountRequest, Source, Writes};
use super::spec::lexically_clean;
use super::{Error, Request, cache, volume_tree};

/// More of a file is not copied into memory for a process that may write to its copy.
const COPY_LIMIT: u64 = 32 << 20;

/// What mounts are made from.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    /// By target, as the specification has it.
    pub handles: Vec<(PathBuf, OwnedFd)>,
    /// Copies of files that may be written to and whose originals must not change.
    pub copies: Vec<ExtraFile>,
    /// Locks of caches, held as long as the process runs.
    pub locks: Vec<File>,
}

/// Looks up every source of `request`.
pub(super) fn pin(rootfs: &Root, request: &Request) -> Result<Pinned, Error> {
    let mut pinned = Pinned::default();
    let opened = cache::open(&request.mounts, &request.namespaces.user)?;
    pinned.locks = opened.locks;
    let mut caches = opened.directories.into_iter();
    for mount in &request.mounts.requests {
        let target = lexically_clean(&mount.target);
        match &mount.kind {
            MountKind::Tmpfs { .. } => {}
            MountKind::Bind(bind) => pin_bind(rootfs, request, mount, bind, &mut pinned)?,
            MountKind::Cache(_) => pinned.handles.extend(caches.next().map(|directory| (target, directory))),
        }
    }
    Ok(pinned)
}

fn pin_bind(rootfs: &Root, request: &Request, mount: &MountRequest, bind: &Bind, pinned: &mut Pinned) -> Result<(), Error> {
    let target = lexically_clean(&mount.target);
    let failed = |error: io::Error| Error::prepare(format!("{} for a mount at {:?}", named(&bind.source), mount.target), error);
    let handle = look_up(rootfs, request, bind).map_err(|error| match error {
        LookUp::Io(error) => failed(error),
        LookUp::Refused(error) => error,
    })?;
    let stat = rustix::fs::fstat(&handle).map_err(|errno| failed(errno.into()))?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    match &bind.writes {
        Writes::Through => pinned.handles.push((target, handle)),
        Writes::Discarded if is_directory => pinned.handles.push((target, handle)),
        Writes::Discarded if bind.id_map.is_some() => {
            let text = "idmap is for a directory, or for a file that is not written to: a copy is made of this one";
            return Err(Error::Request(format!("volume {}: {text}", named(&bind.source))));
        }
        Writes::Discarded => {
            let content = copy(&handle).map_err(failed)?;
            pinned.copies.push(ExtraFile::new(target, content, stat.st_mode & 0o777));
        }
        Writes::Kept { upper, work } => pinned.handles.push((target, overlay(&handle, upper, work).map_err(failed)?)),
    }
    Ok(())
}

fn named(source: &Source) -> String {
    match source {
        Source::Host(path) | Source::Context(path) | Source::Rootfs(path) => format!("{path:?}"),
        Source::Named { name, path } => format!("{path:?} of image {name:?}"),
    }
}

enum LookUp {
    Io(io::Error),
    Refused(Error),
}

impl From<io::Error> for LookUp {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn look_up(rootfs: &Root, request: &Request, bind: &Bind) -> Result<OwnedFd, LookUp> {
    let below = |root: &Root, path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        if bind.no_follow { root.resolve_nofollow(path) } else { root.resolve(path) }
    };
    let refused = |text: String| LookUp::Refused(Error::Request(text));
    match (&bind.source, &request.mounts.context) {
        (Source::Rootfs(path), _) => Ok(below(rootfs, path)?),
        (Source::Context(path), Some(context)) => Ok(below(&here(context)?, path)?),
        (Source::Context(path), None) if path.as_os_str().is_empty() => Err(refused("must set volume source".to_owned())),
        (Source::Host(path) | Source::Context(path), _) if path.is_absolute() => Ok(host(path, bind.no_follow)?),
        (Source::Host(path) | Source::Context(path), _) => {
            Err(refused(format!("bind source {path:?} is relative; it needs --contextdir")))
        }
        (Source::Named { name, path }, _) => {
            let named = request.mounts.roots.iter().find(|known| known.name == *name);
            let named = named.ok_or_else(|| refused(format!("image {name:?} is not mounted")))?;
            Ok(below(&here(&named.root)?, path)?)
        }
    }
}

/// `root` as this mount namespace has it. A handle from before this process entered its own stands for a mount of the former one, and
/// nothing can be bound from there; the directory has the same name here, and is looked at before it is taken for the same.
fn here(root: &Root) -> io::Result<Root> {
    let own = root.resolve(Path::new("."))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    match rustix::mount::open_tree(&own, "", flags) {
        Err(Errno::INVAL) => {}
        _ => return Ok(Root::from(own)),
    }
    let again = host(&volume_tree::name_of(own.as_fd())?, true)?;
    let [one, other] = [rustix::fs::fstat(&own)?, rustix::fs::fstat(&again)?];
    if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the directory has been moved or replaced since it was opened"));
    }
    Ok(Root::from(again))
}

fn host(path: &Path, no_follow: bool) -> io::Result<OwnedFd> {
    let follow = if no_follow { OFlags::NOFOLLOW } else { OFlags::empty() };
    Ok(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty())?)
}

/// The content of a file that the process gets a copy of.
fn copy(handle: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = containers_storage::rooted::reopen_regular(handle.as_fd(), OFlags::RDONLY | OFlags::CLOEXEC)?;
    let mut content = Vec::new();
    file.by_ref().take(COPY_LIMIT + 1).read_to_end(&mut content)?;
    if content.len() as u64 > COPY_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a file that is mounted to be written to is copied, and may have {COPY_LIMIT} bytes: mount its directory"),
        ));
    }
    Ok(content)
}

/// An overlay on `lower` whose writes stay in `upper`, as a mount that is attached nowhere.
fn overlay(lower: &OwnedFd, upper: &Path, work: &Path) -> io::Result<OwnedFd> {
    let (upper, work) = (host(upper, false)?, host(work, false)?);
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // By handle: no separator of overlay's can be in such a name.
    for (key, handle) in [("lowerdir", lower), ("upperdir", &upper), ("workdir", &work)] {
        rustix::mount::fsconfig_set_string(&context, key, format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
    }
    rustix::mount::fsconfig_set_flag(&context, "userxattr")?;
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?)
}
