//! A working container's merged file system, mounted for as long as the process lives.
//!
//! ```text
//! lease::arrive ── free ─────────▶ enter the user namespace ▶ probe ▶ mount, private to this process ▶ lease
//!               ├─ held by a pid ▶ join its user and mount namespace: the mount is there            ▶ lease
//!               └─ mounted here ─▶ (inside `unshare`, after `mount`) use it                          ▶ lease
//! ```
//!
//! Where layers are whole trees (`driver::Shape::Trees`) nothing is mounted and nobody is joined: the layer's directory is used as it
//! lies, by any number of verbs at once, each of which takes its lease.
//!
//! Invariant: no upper directory is ever mounted twice; two overlay mounts on one break each other. Getting a `Mounted` may enter
//! a user namespace, so it comes before any thread is started, and paths of the host are looked up before it, or relative to the
//! working directory, which stays the same directory. The mount ends with the process and its children, or with `release`; `mount` is the verb that
//! leaves one behind.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use containers_storage::containers::Container;
use containers_storage::driver::{self, Access, GraphDriver, MountOptions, Shape, Shift};
use containers_storage::lease::{self, Alone, Arrival, Gate, Lease};
use containers_storage::selinux::{self, Labels};
use containers_storage::store::{self, Store};
use containers_storage::{LayerId, Root};
use rustix::fs::Mode;
use rustix::mount::MountAttrFlags;

use super::{WorkingContainer, state};
use crate::userns::{self, MountNamespace, Notice, ProcessId};

/// Why a container could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// A process that is not ours has the container mounted.
    #[error("container {name:?} is mounted by another process outside coracle")]
    InUse {
        /// The container.
        name: String,
    },
    /// A process of ours has it mounted and does not let itself be joined.
    #[error("container {name:?} is in use by process {pid}, which cannot be joined")]
    Join {
        /// The container.
        name: String,
        /// The process.
        pid: u32,
        /// Why not.
        source: userns::Error,
    },
    /// The lease could not be read or taken.
    #[error("mounting {name:?}")]
    Lease {
        /// The container.
        name: String,
        /// What failed.
        source: lease::Error,
    },
    /// The user namespace could not be entered.
    #[error("mounting {name:?}")]
    Namespace {
        /// The container.
        name: String,
        /// What failed.
        source: userns::Error,
    },
    /// The driver could not mount.
    #[error("mounting {name:?}")]
    Driver {
        /// The container.
        name: String,
        /// What failed.
        source: driver::Error,
    },
    /// The layer's record could not be read.
    #[error("mounting {name:?}")]
    Layer {
        /// The container.
        name: String,
        /// What failed.
        source: store::Error,
    },
    /// The mount is there but cannot be opened.
    #[error("opening {path:?}")]
    Open {
        /// The mount point.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
}

impl Error {
    /// What the user can do about it, one line each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::InUse { .. } => {
                vec!["wait until that process ends, or unmount the container there (buildah umount, podman umount)".to_owned()]
            }
            Self::Join { .. } => {
                vec!["wait until that process ends; a run with --pid host keeps its container to itself".to_owned()]
            }
            Self::Namespace { source, .. } => {
                let mut hints = source.hints();
                hints.push("with --storage-driver vfs, from, copy, config, commit and push need no user namespace".to_owned());
                hints
            }
            _ => Vec::new(),
        }
    }
}

/// A mounted working container.
#[derive(Debug)]
pub struct Mounted {
    root: Root,
    path: PathBuf,
    notices: Vec<Notice>,
    user: Option<User>,
    guards: MountAttrFlags,
}

/// This process's use of a container.
#[derive(Debug)]
struct User {
    /// There until it is handed over to `KEPT`.
    lease: Option<Lease>,
    /// Where the mount is, if a process serves it: it would go on for ever.
    served: Option<PathBuf>,
}

/// The leases of mounts that are not looked at any more: a mount that is private to this process ends with the process, or when `release`
/// takes it down, and so does its lease.
static KEPT: Mutex<Vec<Lease>> = Mutex::new(Vec::new());

impl Drop for User {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        if let Some(path) = &self.served
            && let Some(_alone) = lease.alone()
            && let Err(error) = driver::end_served(path)
        {
            log::warn!("{} stays mounted: {error}", path.display());
        }
        kept().push(lease);
    }
}

/// What lies between a container's layer and those of its chain, while that has no record yet.
static BETWEEN: Mutex<Vec<(LayerId, PathBuf)>> = Mutex::new(Vec::new());

/// From now on mounts that this process makes of `container` show the changes that `lower` has made as well, under its own. They are to be
/// there, and nobody may change them, until `release`.
pub fn lay_upon(store: &Store, container: &WorkingContainer, lower: &LayerId) -> Result<(), Error> {
    let failed = |source| Error::Driver { name: container.name(), source };
    let diff = store.driver().and_then(|driver| driver.diff_dir(lower)).map_err(failed)?;
    between().push((container.layer().clone(), diff));
    Ok(())
}

fn between() -> MutexGuard<'static, Vec<(LayerId, PathBuf)>> {
    BETWEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kept() -> MutexGuard<'static, Vec<Lease>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes down the mount of `container` that a verb of this process made, if nobody else uses it, so that a later verb finds the layer as one
/// that is mounted nowhere: a build does several in one process. Where it cannot, the mount stays.
pub fn release(store: &Store, container: &WorkingContainer) -> Result<(), Error> {
    let name = container.name();
    let failed = |source| Error::Driver { name: name.clone(), source };
    let driver = store.driver().map_err(failed)?;
    let mut kept = kept();
    let (own, others): (Vec<Lease>, Vec<Lease>) = kept.drain(..).partition(|lease| lease.layer() == container.layer());
    *kept = others;
    // Of several uses by this process each counts as another one: they end before the last is asked.
    let Some(last) = own.into_iter().next_back() else { return Ok(()) };
    let unmounted = match last.alone() {
        Some(_alone) if driver.shape() == Shape::Diffs => driver.unmount(container.layer()).map(|()| true),
        Some(_alone) => Ok(true),
        None => Ok(false),
    };
    if !matches!(unmounted, Ok(true)) {
        kept.push(last);
    }
    unmounted.map(drop).map_err(failed)
}

impl Mounted {
    /// Enters the user namespace if need be and mounts `container`. After this call, files of the host that are owned by
    /// subordinate IDs can be read, and the process is root within its namespace.
    pub fn new(store: &Store, container: &WorkingContainer) -> Result<Self, Error> {
        let name = container.name();
        let driver = store.driver().map_err(|source| Error::Driver { name: name.clone(), source })?;
        let (path, gate, notices) = match driver.shape() {
            Shape::Diffs => arrive(store, driver, container)?,
            Shape::Trees => use_tree(store, driver, container)?,
        };
        // A former use by this process would keep this one from being alone. The gate is held: nobody arrives between the two.
        kept().retain(|lease| lease.layer() != container.layer());
        let lease = gate.enter().map_err(|source| Error::Lease { name, source })?;
        let served = driver.is_served().then(|| path.clone());
        let user = User { lease: Some(lease), served };
        Ok(Self { root: open_root(&path)?, path, notices, user: Some(user), guards: driver.guards() })
    }

    /// All that `layer` shows, for reading only: an image's root file system. Does not exclude anyone. The process must be inside its
    /// namespace (`enter_files`).
    pub fn read_only(store: &Store, layer: &LayerId, name: &str) -> Result<Self, Error> {
        let failed = |source| Error::Driver { name: name.to_owned(), source };
        let driver = store.driver().map_err(failed)?;
        let mount = driver.open_to_read(layer).map_err(failed)?;
        let (path, guards) = (driver.mount_point(layer), MountAttrFlags::empty());
        Ok(Self { root: Root::from(mount), path, notices: Vec::new(), user: None, guards })
    }

    /// What an image of that top layer shows; one without layers shows an empty directory.
    pub fn of_image(store: &Store, layer: Option<&LayerId>, name: &str) -> Result<Self, Error> {
        match layer {
            Some(layer) => Self::read_only(store, layer, name),
            None => Self::nothing(store),
        }
    }

    /// What an image without layers shows. One directory, which nobody else reaches, stands for all of them.
    pub(super) fn nothing(store: &Store) -> Result<Self, Error> {
        let parent = store.conf().graph_root.join("coracle");
        let path = parent.join("nothing");
        let failed = |source: std::io::Error| Error::Open { path: path.clone(), source };
        containers_storage::lock::make_private_dir(&parent).map_err(failed)?;
        let made = rustix::fs::mkdir(&path, Mode::RWXU);
        match made.and_then(|()| rustix::fs::chmod(&path, Mode::from_raw_mode(0o755))) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let root = Root::open(&path).map_err(failed)?;
        if !root.read_dir(Path::new("")).map_err(failed)?.is_empty() {
            return Err(failed(std::io::Error::other("somebody has put something into it, and it has to be empty")));
        }
        Ok(Self { root, path, notices: Vec::new(), user: None, guards: MountAttrFlags::empty() })
    }

    /// The same of an image that a container sees: its files have the SELinux label `label`, if one is given, as the container's own.
    pub(super) fn image_for(store: &Store, layer: &LayerId, name: &str, label: Option<String>) -> Result<Self, Error> {
        let failed = |source| Error::Driver { name: name.to_owned(), source };
        let driver = store.driver().map_err(failed)?;
        if label.is_none() || driver.shape() == Shape::Trees {
            return Self::read_only(store, layer, name);
        }
        let options = MountOptions { access: Access::Read, label, ..MountOptions::default() };
        let mount = driver.mount_detached(layer, &options).map_err(failed)?;
        let (path, guards) = (driver.mount_point(layer), MountAttrFlags::empty());
        Ok(Self { root: Root::from(mount), path, notices: Vec::new(), user: None, guards })
    }

    /// The same of a container, with the owners that its own mount shows.
    pub fn read_container(store: &Store, container: &WorkingContainer) -> Result<Self, Error> {
        let Some(shift) = shift(store, container.record())? else {
            return Self::read_only(store, container.layer(), &container.name());
        };
        let failed = |source| Error::Driver { name: container.name(), source };
        let driver = store.driver().map_err(failed)?;
        let options = MountOptions { access: Access::Read, shift: Some(shift), ..MountOptions::default() };
        let mount = driver.mount_detached(container.layer(), &options).map_err(failed)?;
        let path = driver.mount_point(container.layer());
        Ok(Self { root: Root::from(mount), path, notices: Vec::new(), user: None, guards: MountAttrFlags::empty() })
    }

    /// The root directory of a mount that is attached nowhere, attached on `path`: a part of it can be bound elsewhere then.
    /// Others see nothing of it, since the mount namespace is private.
    pub(super) fn attached(self, path: &Path) -> Result<Root, Error> {
        use rustix::mount::MoveMountFlags;
        let failed = |source: rustix::io::Errno| Error::Open { path: path.to_owned(), source: source.into() };
        let root = self.root.resolve(Path::new(".")).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        rustix::mount::move_mount(&root, "", rustix::fs::CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(failed)?;
        Ok(self.root)
    }

    /// The root directory of the container.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Where it is mounted (`<graph root>/overlay/<layer>/merged`), or lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Proof that nobody else uses the container, and that nobody arrives before it is dropped; `None` if somebody does.
    pub fn alone(&self) -> Option<Alone<'_>> {
        self.user.as_ref().and_then(|user| user.lease.as_ref()?.alone())
    }

    /// What the driver adds to the mount for the time outside of containers (`GraphDriver::guards`).
    pub fn guards(&self) -> MountAttrFlags {
        self.guards
    }

    /// What the person should know about the namespace: one line of standard error each.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }
}

/// Enters the user namespace that the files of the store's layers belong to, and a mount namespace that is private to this process.
///
/// Where layers are whole trees it goes on where it is if the machine allows no namespace: root of an ordinary container may read, make and
/// own every file, and for anybody else all files are its own.
pub fn enter_for_files(store: &Store) -> Result<Vec<Notice>, userns::Error> {
    enter_or_stay(store, MountNamespace::Private)
}

/// The same, but the mounts that the process sees stay as they are, for a verb that reads or writes other places.
pub(super) fn enter_for_transfer(store: &Store) -> Result<Vec<Notice>, userns::Error> {
    enter_or_stay(store, MountNamespace::Keep)
}

fn enter_or_stay(store: &Store, mounts: MountNamespace) -> Result<Vec<Notice>, userns::Error> {
    let needs_no_mount = store.driver().is_ok_and(|driver| driver.shape() == Shape::Trees);
    match userns::enter(mounts) {
        Ok(entered) => Ok(entered.notices),
        Err(_) if needs_no_mount && rustix::process::geteuid().is_root() => Ok(Vec::new()),
        Err(error) if needs_no_mount => Ok(one_owner(&error)),
        Err(error) => Err(error),
    }
}

/// What is to be said once, however often a verb tries to enter.
fn one_owner(error: &userns::Error) -> Vec<Notice> {
    static SAID: AtomicBool = AtomicBool::new(false);
    if SAID.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    // The number that the standard library appends tells people nothing.
    let cause = cause.split(" (os error").next().unwrap_or_default();
    vec![Notice::OneOwner(format!("{error}{cause}"))]
}

/// Refuses what needs more than one owner, or a root directory of its own, after `enter_files` left the process where and who it was.
pub(super) fn require_root(name: &str) -> Result<(), Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match userns::enter(MountNamespace::Keep) {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Namespace { name: name.to_owned(), source }),
    }
}

/// The same for a verb on the container or image `name`.
pub fn enter_files(store: &Store, name: &str) -> Result<Vec<Notice>, Error> {
    enter_for_files(store).map_err(|source| Error::Namespace { name: name.to_owned(), source })
}

/// Gets this process to a container whose layer is a whole tree. The gate is held and waits for `enter`.
fn use_tree(
    store: &Store,
    driver: &dyn GraphDriver,
    container: &WorkingContainer,
) -> Result<(PathBuf, Gate, Vec<Notice>), Error> {
    let name = container.name();
    let notices = enter_files(store, &name)?;
    let gate = lease::arrive_freely(&store.conf().graph_root, container.layer())
        .map_err(|source| Error::Lease { name: name.clone(), source })?;
    let options = mount_options(store, container)?;
    let path = driver.mount(container.layer(), &options).map_err(|source| Error::Driver { name, source })?;
    Ok((path, gate, notices))
}

/// How often a process that ends while we join it is replaced by another one.
const ATTEMPTS: u32 = 200;
/// How long it is given to end; what is left of a process takes about as long.
const PAUSE: Duration = Duration::from_millis(1);

/// Gets this process to where `container` is mounted. The gate is held and waits for `enter`.
fn arrive(
    store: &Store,
    driver: &dyn GraphDriver,
    container: &WorkingContainer,
) -> Result<(PathBuf, Gate, Vec<Notice>), Error> {
    let name = container.name();
    let mount_point = driver.mount_point(container.layer());
    let mut attempt = 0;
    loop {
        attempt += 1;
        let arrival = lease::arrive(&store.conf().graph_root, container.layer(), &mount_point);
        match arrival.map_err(|source| Error::Lease { name: name.clone(), source })? {
            Arrival::MountedHere { path, gate } => return Ok((path, gate, Vec::new())),
            Arrival::HeldBy { pid, gate } => match join(&name, pid) {
                Ok(()) => return Ok((mount_point, gate, Vec::new())),
                // It ended between the look at the lease and now: whoever is left, or nobody, is found by looking again.
                Err(_) if is_ending(pid) && attempt < ATTEMPTS => {
                    drop(gate);
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            },
            Arrival::Free(gate) => return enter_and_mount(store, driver, container, gate),
        }
    }
}

/// Mounts a container that no verb of ours holds, or joins the session that does.
fn enter_and_mount(
    store: &Store,
    driver: &dyn GraphDriver,
    container: &WorkingContainer,
    gate: Gate,
) -> Result<(PathBuf, Gate, Vec<Notice>), Error> {
    let name = container.name();
    let mount_point = driver.mount_point(container.layer());
    // The shell of `coracle unshare` in which `coracle mount` ran holds no lock, but is listed. It is joined before a namespace
    // of our own is entered: from there its namespace could not be entered any more (user_namespaces(7)).
    if let Some(pid) = gate.sessions().into_iter().find(|&pid| has_mount(pid, &mount_point)) {
        join(&name, pid)?;
        return Ok((mount_point, gate, Vec::new()));
    }
    let entered = userns::enter(MountNamespace::Private).map_err(|source| Error::Namespace { name, source })?;
    let path = mount_free(store, driver, container)?;
    if let Some(server) = driver.server() {
        gate.note_server(server).map_err(|source| Error::Lease { name: container.name(), source })?;
    }
    Ok((path, gate, entered.notices))
}

/// Mounts a container whose lease is free, unless some other process has it mounted.
pub(super) fn mount_free(store: &Store, driver: &dyn GraphDriver, container: &WorkingContainer) -> Result<PathBuf, Error> {
    let name = container.name();
    let failed = |source| Error::Driver { name: name.clone(), source };
    if driver.in_use(container.layer()).map_err(failed)? {
        return Err(Error::InUse { name });
    }
    driver.mount(container.layer(), &mount_options(store, container)?).map_err(failed)
}

/// Whether the process `pid` sees a mount at `mount_point` (proc_pid_mountinfo(5), field 5).
fn has_mount(pid: u32, mount_point: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(table) = std::fs::read(format!("/proc/{pid}/mountinfo")) else { return false };
    // Blanks, tabs, newlines and backslashes are written in octal there.
    let wanted: Vec<u8> = mount_point.as_os_str().as_bytes().iter().flat_map(|&byte| mountinfo_byte(byte)).collect();
    table.split(|&byte| byte == b'\n').any(|line| line.split(|&byte| byte == b' ').nth(4) == Some(wanted.as_slice()))
}

fn mountinfo_byte(byte: u8) -> Vec<u8> {
    match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        other => vec![other],
    }
}

/// How a working container is mounted: its own mount options where its record has them.
fn mount_options(store: &Store, container: &WorkingContainer) -> Result<MountOptions, Error> {
    let flags = &container.record().flags;
    let options = flags.get("MountOpts").and_then(|value| value.as_array()).filter(|options| !options.is_empty());
    let words = |options: &Vec<serde_json::Value>| options.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    Ok(MountOptions {
        access: Access::Write,
        shift: shift(store, container.record())?,
        volatile: flags.get("Volatile").and_then(serde_json::Value::as_bool).unwrap_or(false),
        options: options.map(words),
        label: mount_label(container.record().labels()),
        between: between().iter().filter(|(layer, _)| layer == container.layer()).map(|(_, diff)| diff.clone()).collect(),
    })
}

/// The label for a mount of a container with these labels: none where SELinux is off, since the kernel would know no such option.
pub(super) fn mount_label(labels: Labels) -> Option<String> {
    Some(labels.mount).filter(|label| !label.is_empty() && selinux::machine().is_some())
}

/// The owners that what lies below the container's layer is to be shown with: none if they are on disk already, as in a copy that has the
/// container's maps.
pub(super) fn shift(store: &Store, container: &Container) -> Result<Option<Arc<dyn Shift>>, Error> {
    let Some(maps) = state::shift(container) else { return Ok(None) };
    let layer = store.layers().and_then(|layers| layers.get(&container.layer));
    let layer = layer.map_err(|source| Error::Layer { name: container.id.to_string(), source })?;
    let is_on_disk = !layer.uid_map.is_empty() || !layer.gid_map.is_empty();
    Ok((!is_on_disk).then(|| Arc::new(userns::Shifter::new(maps)) as Arc<dyn Shift>))
}

fn join(name: &str, pid: u32) -> Result<(), Error> {
    let failed = |source| Error::Join { name: name.to_owned(), pid, source };
    let start_time = start_time(pid).ok_or_else(|| failed(userns::Error::Gone { pid }))?;
    userns::join(ProcessId { pid, start_time }).map_err(failed)
}

/// Field 22 of `/proc/<pid>/stat` (proc_pid_stat(5)); the command's name before it may hold blanks and parentheses.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether the process `pid` has gone, or has no namespaces any more: a process that ends gives them up before it is reaped.
fn is_ending(pid: u32) -> bool {
    match std::fs::read_link(format!("/proc/{pid}/ns/mnt")) {
        Ok(_) => start_time(pid).is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn open_root(path: &Path) -> Result<Root, Error> {
    Root::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })
}
