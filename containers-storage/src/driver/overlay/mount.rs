//! Mounting a layer: through the new mount API with one `lowerdir+` per lower, or with mount(2) where that is missing
//! (format 6.1 to 6.3); the probe whether some process has it mounted; unmounting (6.6).
//!
//! Invariant: nothing is mounted with `redirect_dir=on` or `metacopy=on`: an upper directory that has either can't be packed as it lies.
//! `userxattr` implies it; with privilege it is said.
//!
//! Must not: mount a writable layer twice. The caller holds the lease's gate and has asked `in_use`.

mod classic;
mod home;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::shifted::Shifted;
use super::{Access, Error, MountOptions, Overlay, chain, program};
use crate::driver::GraphDriver;
use crate::id_map::{IdMap, IdMaps};
use crate::temp_dir::TempDir;
use crate::{LayerId, Root, id_map};

/// fsconfig(2) refuses a longer string value.
const MAX_VALUE: usize = 255;

/// How long a mount may take to end after its last process.
const PATIENCE: Duration = Duration::from_millis(500);

/// Everything that one overlay mount is made of.
pub(super) struct Plan {
    pub(super) lowers: Vec<PathBuf>,
    /// The upper and the work directory; none for a read-only mount.
    pub(super) upper: Option<(PathBuf, PathBuf)>,
    pub(super) attributes: MountAttrFlags,
    /// Options of overlayfs: `key` or `key=value`.
    pub(super) options: Vec<(String, Option<String>)>,
    pub(super) volatile: bool,
    /// Keeps the mounts that `lowers` lead to until the overlay is there.
    pub(super) shifted: Option<Shifted>,
}

/// Whether the kernel mounts the layer `id`, as one that lies below others, with other owners.
pub(super) fn shows_shifted(overlay: &Overlay, id: &LayerId, options: &MountOptions) -> bool {
    let attempt = || -> Result<OwnedFd, Error> {
        let dir = overlay.layer_dir(id)?;
        let mut plan = parse_options(overlay, options)?;
        // Overlayfs wants two lowers where nothing is written.
        let empty = dir.join(format!("empty-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&empty).map_err(Error::io("creating", &empty))?;
        plan.lowers = vec![dir.join("diff"), empty.clone()];
        let tried = shift_lowers(&mut plan, &dir, options).and_then(|()| new_api(&plan).map_err(|failure| failure.at(&dir)));
        drop(plan);
        // Empty, and ours.
        let _ = fs::remove_dir(empty);
        tried
    };
    attempt().inspect_err(|error| log::debug!("owners are not shifted by mounts: {error:?}")).is_ok()
}

/// Replaces the lowers by mounts of them with other owners, or has the mount program shift them.
fn shift_lowers(plan: &mut Plan, dir: &Path, options: &MountOptions) -> Result<(), Error> {
    let Some(shift) = &options.shift else { return Ok(()) };
    let shifted = Shifted::mount(dir, &plan.lowers, shift.as_ref())?;
    plan.lowers = shifted.paths();
    plan.shifted = Some(shifted);
    Ok(())
}

/// What a mount program is told to show other owners (format, section 6.4).
fn shift_by_program(maps: &IdMaps) -> [(String, Option<String>); 2] {
    let words = |map: &IdMap| {
        let words: Vec<String> =
            map.0.iter().map(|range| format!("{}:{}:{}", range.container_id, range.host_id, range.size)).collect();
        Some(words.join(":"))
    };
    [("uidmapping".to_owned(), words(&maps.uid)), ("gidmapping".to_owned(), words(&maps.gid))]
}

/// A detached mount of the layer.
pub(super) fn detached(overlay: &Overlay, id: &LayerId, options: &MountOptions) -> Result<OwnedFd, Error> {
    let plan = plan(overlay, id, options)?;
    if let Some(program) = &overlay.config.mount_program {
        let place = Place::find(overlay, id)?;
        return program::detached(overlay, program, place.path(), &plan);
    }
    match new_api(&plan) {
        Ok(mount) => Ok(mount),
        Err(failure) if failure.means_unsupported() => {
            let place = Place::find(overlay, id)?;
            let target = place.path();
            by_the_classic_call(overlay, target, &plan, failure)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let clone = match rustix::mount::open_tree(CWD, target, flags) {
                // A directory that is open when its mount is detached keeps it (umount2(2), MNT_DETACH).
                Err(Errno::NOSYS) => {
                    rustix::fs::open(target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                }
                cloned => cloned,
            };
            let clone = clone.map_err(Error::io("detaching the mount at", target));
            rustix::mount::unmount(target, UnmountFlags::DETACH).map_err(Error::io("unmounting", target))?;
            clone
        }
        Err(failure) => Err(failure.at(&overlay.own_dir(id).join("merged"))),
    }
}

/// `GraphDriver::guards`: `nosuid` and `nodev`, as far as the settings do not ask for them anyway. What a program mounts has them
/// from the kernel, unless root starts it.
pub(super) fn guards(overlay: &Overlay) -> MountAttrFlags {
    if overlay.config.mount_program.is_some() {
        return MountAttrFlags::empty();
    }
    let asked = |name: &str| overlay.config.mount_options.iter().any(|word| word.trim() == name);
    let mut guards = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    guards.set(MountAttrFlags::MOUNT_ATTR_NOSUID, !asked("nosuid"));
    guards.set(MountAttrFlags::MOUNT_ATTR_NODEV, !asked("nodev"));
    guards
}

/// The layer mounted at its own mount point.
pub(super) fn attached(overlay: &Overlay, id: &LayerId, options: &MountOptions) -> Result<PathBuf, Error> {
    // First: a mount of the home would cover what the plan mounts in it.
    if !id_map::is_rootless() && !overlay.config.skip_mount_home {
        home::make_private(&overlay.config.home)?;
    }
    let mut plan = plan(overlay, id, options)?;
    plan.attributes |= guards(overlay);
    let target = prepare_mount_point(overlay, id)?;
    if let Some(program) = &overlay.config.mount_program {
        let server = program::mount(overlay, program, &target, &plan)?;
        overlay.server.store(server, Ordering::Relaxed);
        return Ok(target);
    }
    let attached = new_api(&plan).and_then(|mount| {
        let to = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(rustix::mount::move_mount(&mount, "", CWD, &target, to)?)
    });
    match attached {
        Ok(()) => {}
        Err(failure) if failure.means_unsupported() => by_the_classic_call(overlay, &target, &plan, failure)?,
        Err(failure) => return Err(failure.at(&target)),
    }
    Ok(target)
}

/// Mounts by mount(2) what the new calls refused with `failure`.
fn by_the_classic_call(overlay: &Overlay, target: &Path, plan: &Plan, failure: Failure) -> Result<(), Error> {
    if let Some(layer) = plan.upper.as_ref().and_then(|(diff, _)| diff.parent()) {
        // The other attempt may have gone so far as to mark the work directory.
        clean_work(layer)?;
    }
    classic::mount(overlay, target, plan).map_err(|errno| failure.or(errno, target))
}

/// Takes the mount away, and the private mount of the home once nothing needs it.
pub(super) fn unmount(overlay: &Overlay, id: &LayerId) -> Result<(), Error> {
    let target = overlay.config.home.join(id).join("merged");
    match rustix::mount::unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not a mount point, or not there: done already.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(errno) => return Err(Error::io("unmounting", &target)(errno)),
    }
    if !id_map::is_rootless() && !overlay.config.skip_mount_home {
        home::release(&overlay.config.home)?;
    }
    Ok(())
}

/// Whether the upper directory is in use. A mount outlives its last process by some milliseconds, more if that one was killed with
/// children, so "busy" is believed only when it lasts.
pub(super) fn in_use(overlay: &Overlay, id: &LayerId) -> Result<bool, Error> {
    // The kernel knows nothing of directories that a program stacks.
    if overlay.config.mount_program.is_some() {
        return Ok(false);
    }
    let deadline = Instant::now() + PATIENCE;
    while is_busy(overlay, id)? {
        if Instant::now() >= deadline {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(false)
}

/// Whether the upper directory is in use now. With `index=on` overlayfs takes the upper directory's in-use mark or answers EBUSY; that comes
/// before it looks at the work directory. The upper itself as work directory is always refused with EINVAL, so the attempt
/// ends there: the mark is given back and nothing, no `origin` attribute either, has been written (seen on 6.18 as root and rootless).
fn is_busy(overlay: &Overlay, id: &LayerId) -> Result<bool, Error> {
    let diff = overlay.config.home.join(id).join("diff");
    let (spelling, _handle) = spell(&diff)?;
    let prepare = || -> Result<OwnedFd, Errno> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for key in ["lowerdir", "upperdir", "workdir"] {
            rustix::mount::fsconfig_set_string(context.as_fd(), key, spelling.as_path())?;
        }
        rustix::mount::fsconfig_set_string(context.as_fd(), "index", "on")?;
        if id_map::is_rootless() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), "userxattr")?;
        }
        Ok(context)
    };
    // EINVAL means "free" only as the answer of the mount itself.
    let answer = match prepare() {
        Ok(context) => rustix::mount::fsconfig_create(context.as_fd()),
        Err(Errno::NOSYS | Errno::INVAL) => classic::probe(&spelling),
        Err(errno) => Err(errno),
    };
    match answer {
        Err(Errno::BUSY) => Ok(true),
        Err(Errno::INVAL) | Ok(()) => Ok(false),
        Err(errno) => Err(Error::io("probing for mounts of", &diff)(errno)),
    }
}

fn plan(overlay: &Overlay, id: &LayerId, options: &MountOptions) -> Result<Plan, Error> {
    let dir = overlay.layer_dir(id)?;
    let mut plan = parse_options(overlay, options)?;
    plan.lowers = options.between.clone();
    plan.lowers.extend(chain::lower_dirs(overlay, id)?);
    match (&options.shift, &overlay.config.mount_program) {
        (Some(shift), Some(_)) => plan.options.extend(shift_by_program(shift.maps())),
        _ => shift_lowers(&mut plan, &dir, options)?,
    }
    let writable = options.access == Access::Write && !plan.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY);
    if writable {
        clean_work(&dir)?;
        plan.upper = Some((dir.join("diff"), dir.join("work")));
        plan.volatile = options.volatile && !overlay.config.disable_volatile;
    } else {
        plan.lowers.insert(0, dir.join("diff"));
    }
    if overlay.config.mount_program.is_some() {
        // What the kernel keeps back would be missing in the directory that a commit reads.
        plan.options.push(("writeback".into(), Some("0".into())));
        if overlay.config.force_mask.is_some() {
            plan.options.push(("xattr_permissions".into(), Some("2".into())));
        }
    } else if id_map::is_rootless() {
        plan.options.push(("userxattr".into(), None));
    } else {
        // What another tool wrote with `metacopy=on` is shown where nothing is written.
        let metacopy = if writable { "off" } else { "on" };
        plan.options.push(("metacopy".into(), Some(metacopy.into())));
        plan.options.push(("redirect_dir".into(), Some("follow".into())));
    }
    if let Some(label) = options.label.as_ref().filter(|label| !label.is_empty()) {
        plan.options.push(("context".into(), Some(label.clone())));
    }
    Ok(plan)
}

/// Sorts the words of `mountopt` into mount attributes and options of overlayfs.
fn parse_options(overlay: &Overlay, options: &MountOptions) -> Result<Plan, Error> {
    let words = options.options.as_ref().unwrap_or(&overlay.config.mount_options);
    let (lowers, attributes, options) = (Vec::new(), MountAttrFlags::empty(), Vec::new());
    let mut plan = Plan { lowers, upper: None, attributes, options, volatile: false, shifted: None };
    for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
        match key {
            "ro" => plan.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
            "nodev" => plan.attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
            "nosuid" => plan.attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "noexec" => plan.attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => plan.attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME,
            "nodiratime" => plan.attributes |= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "strictatime" => plan.attributes |= MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            "rw" | "dev" | "suid" | "exec" | "relatime" | "defaults" => {}
            // Decided by this driver.
            "metacopy" | "redirect_dir" | "volatile" | "userxattr" => {}
            "lowerdir" | "lowerdir+" | "datadir+" | "upperdir" | "workdir" => {
                let feature = format!("is configured with the mount option {key:?}");
                return Err(Error::Unsupported { home: overlay.config.home.clone(), feature });
            }
            _ => plan.options.push((key.to_owned(), value.map(str::to_owned))),
        }
    }
    Ok(plan)
}

/// The kernel refuses a work directory that was last used with `volatile`; for a working container that is no loss (format 6.1).
fn clean_work(dir: &Path) -> Result<(), Error> {
    let work = dir.join("work");
    let cleaned = match Root::open(&work) {
        Ok(root) => root.remove_all(Path::new("work/incompat/volatile")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().mode(0o700).create(&work).map_err(Error::io("creating", &work))?;
            Ok(())
        }
        Err(error) => Err(error),
    };
    cleaned.map_err(Error::io("cleaning", &work))
}

/// Where a mount stands while it is detached.
enum Place {
    /// The layer's own mount point.
    Own(PathBuf),
    /// A directory for the moment: the layer is in a store that is only read.
    Temporary(TempDir),
}

impl Place {
    fn find(overlay: &Overlay, id: &LayerId) -> Result<Self, Error> {
        if overlay.side_of(id).is_some() {
            return Ok(Self::Own(prepare_mount_point(overlay, id)?));
        }
        let parent = overlay.config.home.join("tempdirs");
        TempDir::create(&parent).map(Self::Temporary).map_err(Error::io("making a temporary directory in", &parent))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Own(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// `merged`, created if missing, owned as `diff`.
fn prepare_mount_point(overlay: &Overlay, id: &LayerId) -> Result<PathBuf, Error> {
    let dir = overlay.own_dir(id);
    let target = dir.join("merged");
    if !target.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&target).map_err(Error::io("creating", &target))?;
        let diff = dir.join("diff");
        if let Ok(stat) = fs::metadata(&diff) {
            std::os::unix::fs::chown(&target, Some(stat.uid()), Some(stat.gid()))
                .map_err(Error::io("changing the owner of", &target))?;
        }
    }
    Ok(target)
}

/// Why the new mount API did not give a mount, with the kernel's own words.
struct Failure {
    errno: Errno,
    /// Empty, or ` (kernel: …)`.
    detail: String,
}

impl Failure {
    /// ENOSYS: no such calls; EINVAL: no `lowerdir+` (before 6.7), or an error that the classic call will repeat.
    fn means_unsupported(&self) -> bool {
        matches!(self.errno, Errno::NOSYS | Errno::INVAL)
    }

    fn at(self, target: &Path) -> Error {
        Error::Mount { target: target.to_path_buf(), detail: self.detail, source: self.errno.into() }
    }

    /// The error of the classic call, explained by what the kernel said to the new one.
    fn or(self, errno: Errno, target: &Path) -> Error {
        Self { errno, detail: self.detail }.at(target)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, detail: String::new() }
    }
}

fn new_api(plan: &Plan) -> Result<OwnedFd, Failure> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    configure(&context, plan).map_err(|errno| Failure { errno, detail: kernel_words(&context) })?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, plan.attributes)?)
}

fn configure(context: &OwnedFd, plan: &Plan) -> Result<(), Errno> {
    // The handles that long paths are spelt through must live until the mount is made.
    let mut handles = Vec::new();
    let mut set_path = |key: &str, path: &Path| -> Result<(), Errno> {
        let (spelling, handle) = spell_raw(path)?;
        rustix::mount::fsconfig_set_string(context, key, spelling.as_path())?;
        handles.extend(handle);
        Ok(())
    };
    for lower in &plan.lowers {
        set_path("lowerdir+", lower)?;
    }
    if let Some((upper, work)) = &plan.upper {
        set_path("upperdir", upper)?;
        set_path("workdir", work)?;
    }
    for (key, value) in &plan.options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context, key.as_str(), value.as_str())?,
            None => rustix::mount::fsconfig_set_flag(context, key.as_str())?,
        }
    }
    if plan.volatile {
        rustix::mount::fsconfig_set_flag(context, "volatile")?;
    }
    rustix::mount::fsconfig_set_string(context, "source", "overlay")?;
    rustix::mount::fsconfig_create(context)
}

/// What the kernel logged to the context, for the error.
fn kernel_words(context: &OwnedFd) -> String {
    let mut words = Vec::new();
    let mut buffer = [0u8; 1024];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length.min(buffer.len())]);
        let line = line.trim_end().trim_start_matches("e overlay: ");
        words.push(line.escape_debug().to_string());
        if length == 0 || words.len() == 4 {
            break;
        }
    }
    if words.is_empty() { String::new() } else { format!(" (kernel: {})", words.join("; ")) }
}

/// The path as overlayfs gets it: itself, or `/proc/self/fd/N` with an open handle where it is too long for fsconfig(2) or has
/// characters that overlayfs gives a meaning.
fn spell_raw(path: &Path) -> Result<(PathBuf, Option<OwnedFd>), Errno> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= MAX_VALUE && !bytes.iter().any(|b| matches!(b, b':' | b',' | b'\\')) {
        return Ok((path.to_path_buf(), None));
    }
    let handle = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())), Some(handle)))
}

fn spell(path: &Path) -> Result<(PathBuf, Option<OwnedFd>), Error> {
    spell_raw(path).map_err(Error::io("opening", path))
}
