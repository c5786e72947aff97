//! The child's part of the mounts: a new tree below a staging directory, which becomes `/`.
//!
//! ```text
//!   /proc (host's, covered)  ← staging tmpfs: root/ empty/ 0 1 … overlay-N/   gone with the old tree
//!            root/           ← the container's root file system
//!               proc dev sys … and the generated files, bound from the staging tmpfs
//! ```
//!
//! Invariant: targets are handles found below the root (`targets`); a mount is complete, attributes and all, before it is
//! attached; the sources of masks are our own verified device node and an empty read-only directory.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use containers_storage::{Root, selinux};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::options::Parsed;
use super::plan::{Plan, PlannedMount, Source, detached};
use super::report::{Kind, Report};
use super::targets;
use crate::run::etc_files::FileAccess;
use crate::run::mount_args::Place;
use crate::sys::mount_attr::{self, Attributes, Reach};

/// The tree under construction.
pub(super) struct Tree {
    /// The root of the container.
    pub root: OwnedFd,
    staging: OwnedFd,
    /// A verified `/dev/null`, attached in this namespace, to mask files with.
    null: Option<OwnedFd>,
    /// Our own procfs, or the machine's where that is shared, once mounted: kernel parameters are written through it and through nothing that the image could provide.
    pub proc: Option<OwnedFd>,
    /// Our own `/dev`, once mounted.
    dev: Option<OwnedFd>,
    /// Our own devpts, once mounted.
    pub pts: Option<OwnedFd>,
}

/// Cuts this namespace off the others and attaches the root file system: below the staging directory, or at `place`, where somebody
/// is going to look for it.
pub(super) fn begin(plan: &Plan, place: Option<&Path>) -> Result<Tree, Report> {
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    let host = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Report::step("opening the root directory"))?;
    mount_attr::set_attributes(host.as_fd(), Reach::Tree, private).map_err(Report::step("making the mounts private"))?;
    let options = Parsed { data: vec![("mode".into(), Some("700".into()))], ..Parsed::default() };
    let staging =
        new_file_system("tmpfs", &options, plan.label.as_deref()).map_err(Report::step("mounting a staging directory"))?;
    // `/proc` is the one directory that every host has, and the child does not need it any more.
    attach(staging.as_fd(), CWD, "/proc").map_err(Report::step("attaching a staging directory"))?;
    for name in ["root", "empty"] {
        rustix::fs::mkdirat(&staging, name, Mode::from_raw_mode(0o755)).map_err(Report::step("filling a staging directory"))?;
    }
    let attached = match place {
        Some(place) => attach(plan.rootfs.as_fd(), CWD, place),
        None => attach(plan.rootfs.as_fd(), staging.as_fd(), "root"),
    };
    attached.map_err(Report::step("attaching the root file system"))?;
    let root = plan.rootfs.try_clone().map_err(Report::step("attaching the root file system"))?;
    Ok(Tree { root, staging, null: None, proc: None, dev: None, pts: None })
}

impl Tree {
    /// Makes and attaches the planned mounts, in their order.
    pub(super) fn populate(&mut self, plan: &Plan) -> Result<(), Report> {
        for (number, planned) in plan.mounts.iter().enumerate() {
            self.mount(plan, planned, number)
                .map_err(|error| Report::new(Kind::Setup, error, format!("mounting {}", planned.target.display())))?;
        }
        Ok(())
    }

    fn mount(&mut self, plan: &Plan, planned: &PlannedMount, number: usize) -> io::Result<()> {
        let made;
        let mount = match &planned.source {
            Source::Tree(tree) => tree.as_fd(),
            Source::File(index) => {
                made = self.generated(plan, *index)?;
                made.as_fd()
            }
            Source::Socket(index) => {
                made = self.socket(plan, *index)?;
                made.as_fd()
            }
            Source::Discarding(lower, label) => {
                // The staging directory covers `/proc`; the names in it are ours, so that no separator of overlay's can be in them.
                made = discarding((self.staging.as_fd(), "/proc"), lower.as_fd(), label.as_deref(), number)?;
                made.as_fd()
            }
            Source::FileSystem(kind) => match optional_file_system(kind, &planned.options, plan.label.as_deref())? {
                Some(mount) => {
                    made = mount;
                    made.as_fd()
                }
                None => return Ok(()),
            },
        };
        if planned.options.copy_up {
            super::copy_up::copy(self.root.as_fd(), &planned.target, mount)?;
        }
        let target = targets::find_or_make(self.root.as_fd(), &planned.target, planned.shape, &mut Vec::new())?;
        attach_to(mount, target.as_fd())?;
        if let Source::FileSystem(kind) = &planned.source {
            match (kind.as_str(), planned.target.to_str()) {
                ("tmpfs", Some("/dev")) => self.fill_dev(plan, mount)?,
                ("devpts", Some("/dev/pts")) => self.pts = Some(mount.try_clone_to_owned()?),
                _ => {}
            }
        }
        // With the machine's processes it is the machine's procfs, which shows the network of this process just as well.
        if planned.target == Path::new("/proc") && rustix::fs::fstatfs(mount)?.f_type == rustix::fs::PROC_SUPER_MAGIC {
            self.proc = Some(mount.try_clone_to_owned()?);
        }
        Ok(())
    }

    /// Nodes and links of a fresh `/dev`, which nobody else can reach yet.
    fn fill_dev(&mut self, plan: &Plan, dev: BorrowedFd<'_>) -> io::Result<()> {
        for (name, node) in &plan.devices {
            touch(dev, name)?;
            attach(node.as_fd(), dev, *name)?;
            if *name == "null" {
                self.null = Some(node.try_clone()?);
            }
        }
        for (name, text) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("core", "/proc/kcore"),
            ("ptmx", "pts/ptmx"),
        ] {
            rustix::fs::symlinkat(text, dev, name)?;
        }
        self.dev = Some(dev.try_clone_to_owned()?);
        for name in ["pts", "shm", "mqueue"] {
            rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
        }
        Ok(())
    }

    fn generated(&self, plan: &Plan, index: usize) -> io::Result<OwnedFd> {
        let file = plan.files.get(index).ok_or(Errno::NOENT)?;
        let name = index.to_string();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.staging, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let Place { mode, uid, gid } = file.place;
        if (uid, gid) != (0, 0) {
            rustix::fs::fchown(&handle, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(mode))?;
        std::fs::File::from(handle).write_all(&file.content)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(&self.staging, name, flags)?;
        if file.access == FileAccess::ReadOnly {
            let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
            mount_attr::set_attributes(mount.as_fd(), Reach::Mount, Attributes { set, ..Attributes::default() })?;
        }
        Ok(mount)
    }

    /// The socket of an agent, which this process begins to listen at.
    fn socket(&self, plan: &Plan, index: usize) -> io::Result<OwnedFd> {
        let socket = plan.sockets.get(index).ok_or(Errno::NOENT)?;
        let name = format!("socket-{index}");
        // The staging directory covers `/proc`; a socket gets its name by a path only (unix(7)).
        socket.bind(&format!("/proc/{name}"))?;
        let Place { uid, gid, .. } = socket.place;
        rustix::fs::chownat(
            &self.staging,
            &name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(rustix::mount::open_tree(&self.staging, name, flags)?)
    }

    /// The trampoline (`sys::trampoline`), on a read-only mount of its own: what can be opened through `/proc/self/exe` cannot be
    /// written. `None` on an architecture that has none.
    pub(super) fn trampoline(&self) -> Result<Option<OwnedFd>, Report> {
        let Some(program) = crate::sys::trampoline::program() else { return Ok(None) };
        self.install("trampoline", &program).map(Some).map_err(Report::step("installing the trampoline"))
    }

    fn install(&self, name: &str, program: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.staging, name, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o555))?;
        // Closed at the end of the statement: a file that is open for writing cannot be executed.
        std::fs::File::from(file).write_all(program)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(&self.staging, name, flags)?;
        let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        mount_attr::set_attributes(mount.as_fd(), Reach::Mount, Attributes { set, ..Attributes::default() })?;
        Ok(mount)
    }

    /// Binds the terminal `slave` to `/dev/console`: by number below our own devpts, on our own `/dev`.
    pub(super) fn console(&self, slave: BorrowedFd<'_>) -> io::Result<()> {
        let (Some(pts), Some(dev)) = (&self.pts, &self.dev) else { return Ok(()) };
        // The minor number of a pty is its name in devpts (pts(4)).
        let number = rustix::fs::minor(rustix::fs::fstat(slave)?.st_rdev).to_string();
        let node = rustix::mount::open_tree(pts, number, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        touch(dev.as_fd(), "console")?;
        attach(node.as_fd(), dev.as_fd(), "console")
    }

    /// Hides `paths`: a file behind `/dev/null`, a directory behind an empty one. What does not exist needs no hiding.
    pub(super) fn mask(&self, paths: &[String]) -> Result<(), Report> {
        for path in paths {
            self.mask_one(Path::new(path)).map_err(|error| Report::new(Kind::Setup, error, format!("masking {path}")))?;
        }
        Ok(())
    }

    fn mask_one(&self, path: &Path) -> io::Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let stat = rustix::fs::fstat(&target)?;
        let locked = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        let source = if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
            let empty = rustix::mount::open_tree(
                &self.staging,
                "empty",
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
            )?;
            mount_attr::set_attributes(empty.as_fd(), Reach::Mount, Attributes { set: locked, ..Attributes::default() })?;
            empty
        } else {
            let null = self.null.as_ref().ok_or(Errno::NODEV)?;
            detached(null.as_fd(), Reach::Mount, Attributes::default())?
        };
        attach_to(source.as_fd(), target.as_fd())
    }

    /// Makes `paths` and all that is mounted below them read-only.
    pub(super) fn make_read_only(&self, paths: &[String]) -> Result<(), Report> {
        for path in paths {
            self.read_only_one(Path::new(path))
                .map_err(|error| Report::new(Kind::Setup, error, format!("making {path} read-only")))?;
        }
        Ok(())
    }

    fn read_only_one(&self, path: &Path) -> io::Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let attributes = Attributes {
            set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC,
            ..Attributes::default()
        };
        let tree = detached(target.as_fd(), Reach::Tree, attributes)?;
        attach_to(tree.as_fd(), target.as_fd())
    }

    fn existing(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let found = Root::from(self.root.try_clone()?).resolve(relative);
        match found.as_ref().map_err(io::Error::raw_os_error) {
            // EACCES: procfs hides some entries from a user namespace; what cannot be looked up cannot be used either.
            Err(Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) => Ok(None),
            _ => found.map(Some),
        }
    }
}

/// An overlay on `lower` whose writes stay in memory and end with the process. Its directories are made in `staging`, which can be
/// reached at `base`. Its files have the SELinux label `label`, or those that they have below.
pub(in crate::run) fn discarding(
    (staging, base): (BorrowedFd<'_>, &str),
    lower: BorrowedFd<'_>,
    label: Option<&str>,
    number: usize,
) -> io::Result<OwnedFd> {
    let dir = format!("overlay-{number}");
    rustix::fs::mkdirat(staging, &dir, Mode::from_raw_mode(0o755))?;
    for part in ["lower", "upper", "work"] {
        rustix::fs::mkdirat(staging, format!("{dir}/{part}"), Mode::from_raw_mode(0o755))?;
    }
    attach(lower, staging, format!("{dir}/lower"))?;
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, part) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
        rustix::mount::fsconfig_set_string(&context, key, format!("{base}/{dir}/{part}"))?;
    }
    rustix::mount::fsconfig_set_flag(&context, "userxattr")?;
    if let Some(label) = label {
        rustix::mount::fsconfig_set_string(&context, "context", label)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?)
}

/// A file system in memory that only its owner can enter, attached nowhere.
pub(in crate::run) fn private_tmpfs(label: Option<&str>) -> io::Result<OwnedFd> {
    let attributes = Attributes { set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV, ..Attributes::default() };
    let options = Parsed { data: vec![("mode".into(), Some("700".into()))], attributes, ..Parsed::default() };
    new_file_system("tmpfs", &options, label)
}

/// A new instance; `None` where the kernel has no such thing and the container can do without it.
fn optional_file_system(kind: &str, options: &Parsed, label: Option<&str>) -> io::Result<Option<OwnedFd>> {
    match kind {
        // Only the unified hierarchy can be shown as the container's own; without it the directory stays empty.
        "cgroup" => Ok(file_system("cgroup2", options).ok()),
        "mqueue" => match file_system("mqueue", options) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            other => other.and_then(|queues| label_top(queues, label)).map(Some),
        },
        _ => new_file_system(kind, options, label).map(Some),
    }
}

/// A new instance whose files all have the SELinux label `label`. The kernel's own trees keep theirs.
fn new_file_system(kind: &str, options: &Parsed, label: Option<&str>) -> io::Result<OwnedFd> {
    match label {
        Some(label) if !matches!(kind, "proc" | "sysfs") => {
            let mut options = options.clone();
            options.data.push(("context".into(), Some(label.to_owned())));
            file_system(kind, &options)
        }
        _ => file_system(kind, options),
    }
}

/// Labels the top directory of a file system that takes no `context=` in a user namespace; what is made in it inherits that.
fn label_top(mount: OwnedFd, label: Option<&str>) -> io::Result<OwnedFd> {
    let Some(label) = label else { return Ok(mount) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(&mount, ".", flags, Mode::empty())?;
    match rustix::fs::fsetxattr(&top, selinux::ATTRIBUTE, label.as_bytes(), XattrFlags::empty()) {
        Ok(()) | Err(Errno::NOTSUP) => Ok(mount),
        Err(errno) => Err(errno.into()),
    }
}

fn file_system(kind: &str, options: &Parsed) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in &options.data {
        match value {
            // The terminals' group is not mapped where there is one id only; the group of the owner serves then.
            Some(value) if key == "gid" => drop(rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str())),
            Some(value) => rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str())?,
            None => rustix::mount::fsconfig_set_flag(&context, key.as_str())?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    let set = u32::try_from(options.attributes.set).map_err(|_| Errno::INVAL)?;
    let flags = MountAttrFlags::from_bits_retain(set);
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

fn touch(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    drop(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o666))?);
    Ok(())
}

/// Attaches `mount` to the directory entry `name` of our own directory `dir`.
pub(in crate::run) fn attach(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: impl rustix::path::Arg) -> io::Result<()> {
    Ok(rustix::mount::move_mount(mount, "", dir, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Attaches `mount` to what the handle `target` stands for.
fn attach_to(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", target, "", flags)?)
}
