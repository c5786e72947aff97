//! What this machine allows: can a user namespace be entered, with how many ids, and can overlay be mounted in it. Each is tried,
//! never inferred from a name or a version.
//!
//! The trial runs in a child, so that the caller stays where it is. Its result is kept in `<graph root>/coracle/machine.json` until
//! the next boot, or until the files that grant subordinate ids change.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use containers_storage::conf::lies_on_overlayfs;
use containers_storage::lock::make_private_dir;
use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};

use crate::sys::fork::fork_alone;
use crate::userns::{self, How};

/// What lifts a graph root off overlayfs.
pub const GRAPH_ROOT_ELSEWHERE: &str =
    "in a container, a volume for the graph root brings native overlay (podman run --volume NAME:/var/lib/containers)";

/// What can be done here, best first. The numbers are those of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rung {
    /// Overlay, with all the ids a container may need.
    NativeOverlay = 1,
    /// All ids, but the kernel refuses to mount overlay here.
    NoOverlay = 2,
    /// One id only: every file belongs to the caller.
    SingleId = 3,
    /// No user namespace, so that nothing can be mounted, but root of an ordinary container: vfs, and a plain chroot.
    PlainChroot = 4,
    /// No user namespace, and not root.
    NoNamespace = 5,
}

/// The outcome of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What can be done.
    pub rung: Rung,
    /// Why it is not better; empty on the first rung.
    pub why: String,
    /// What would lift it, in sentences.
    pub remedies: Vec<String>,
}

/// A trial could not be made.
#[derive(Debug, thiserror::Error)]
#[error("trying out what this machine allows: {action}")]
pub struct Error {
    action: &'static str,
    source: io::Error,
}

impl Error {
    fn doing(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, source }
    }
}

#[derive(Serialize, Deserialize)]
struct Cached {
    /// Boot, user, version and the state of the files that grant ids: valid as long as all are the same.
    key: String,
    machine: Machine,
}

/// What this machine allows for a store at `graph_root`. Tries it at most once for each boot.
pub fn probe(graph_root: &Path) -> Result<Machine, Error> {
    let file = graph_root.join("coracle/machine.json");
    let key = cache_key();
    let cached = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Cached>(&bytes).ok());
    if let Some(cached) = cached.filter(|cached| cached.key == key) {
        return Ok(cached.machine);
    }
    let machine = try_out(graph_root)?;
    // A store that cannot be written is tried out again each time.
    if let Err(error) = remember(&file, &Cached { key, machine: machine.clone() }) {
        log::debug!("{} is not kept: {error}", file.display());
    }
    Ok(machine)
}

fn cache_key() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut key = format!("{} {} {}", boot.trim(), rustix::process::geteuid().as_raw(), env!("CARGO_PKG_VERSION"));
    // The namespace by its number alone: its times are those of the last look.
    let namespace = fs::metadata("/proc/self/ns/user").map(|meta| meta.ino()).unwrap_or_default();
    key.push_str(&format!(" {namespace}"));
    // Containers of one machine differ in these, and may share a graph root.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| ["CapEff", "NoNewPrivs", "Seccomp"].iter().any(|word| line.starts_with(word))) {
        key.push_str(&line.split_whitespace().collect::<String>());
    }
    for path in ["/etc/subuid", "/etc/subgid", "/usr/bin/newuidmap", "/usr/bin/newgidmap"] {
        match fs::metadata(path) {
            Ok(meta) => key.push_str(&format!(" {}:{}.{}", meta.ino(), meta.mtime(), meta.mtime_nsec())),
            Err(_) => key.push_str(" -"),
        }
    }
    key
}

fn remember(file: &Path, cached: &Cached) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir)?;
    let temporary = dir.join(format!(".machine-{}", std::process::id()));
    fs::write(&temporary, serde_json::to_vec(cached)?)?;
    fs::rename(&temporary, file)
}

fn try_out(graph_root: &Path) -> Result<Machine, Error> {
    let scratch = Scratch::new(graph_root).map_err(Error::doing("making a directory"))?;
    let (mut reader, writer) = io::pipe().map_err(Error::doing("making a pipe"))?;
    let child = fork_alone(reader.as_fd(), || {
        let machine = in_child(&scratch);
        let bytes = serde_json::to_vec(&machine).unwrap_or_default();
        i32::from((&writer).write_all(&bytes).is_err())
    })
    .map_err(Error::doing("forking"))?;
    drop(writer);
    let mut bytes = Vec::new();
    let read = reader.read_to_end(&mut bytes);
    nix::sys::wait::waitpid(child, None).map_err(io::Error::from).map_err(Error::doing("waiting for the trial"))?;
    read.map_err(Error::doing("reading the result"))?;
    serde_json::from_slice(&bytes).map_err(io::Error::from).map_err(Error::doing("reading the result"))
}

fn in_child(scratch: &Scratch) -> Machine {
    let entered = match userns::enter(userns::MountNamespace::Private) {
        Ok(entered) => entered,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let cause = cause.split(" (os error ").next().unwrap_or_default().to_lowercase();
            // Tried on the directory that it is already.
            let can_change_root = rustix::process::geteuid().is_root() && rustix::process::chroot("/").is_ok();
            let rung = if can_change_root { Rung::PlainChroot } else { Rung::NoNamespace };
            return Machine { rung, why: format!("{error}{cause}"), remedies: error.hints() };
        }
    };
    if let Err(error) = scratch.mount_overlay(entered.how) {
        let (why, remedy) = if lies_on_overlayfs(&scratch.dir) {
            ("the graph root lies on overlayfs, on which no other overlay can be mounted".to_owned(), GRAPH_ROOT_ELSEWHERE)
        } else {
            let remedy = "the graph root must lie on a local file system such as ext4, xfs, btrfs or tmpfs, and Linux must be 5.13 \
                          or newer";
            (format!("mounting overlay: {error}"), remedy)
        };
        return Machine { rung: Rung::NoOverlay, why, remedies: vec![remedy.to_owned()] };
    }
    if entered.how == How::NewSingle {
        let why = entered.notices.first().map(ToString::to_string).unwrap_or_default();
        let remedy = "subordinate ids (/etc/subuid and /etc/subgid, see subuid(5)) and the package uidmap";
        return Machine { rung: Rung::SingleId, why, remedies: vec![remedy.to_owned()] };
    }
    Machine { rung: Rung::NativeOverlay, why: String::new(), remedies: Vec::new() }
}

/// Directories for one overlay mount, on the graph root's file system.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new(graph_root: &Path) -> io::Result<Self> {
        let dir = graph_root.join("coracle").join(format!("trial-{}", std::process::id()));
        let scratch = Self { dir };
        for name in ["lower", "upper", "work", "merged"] {
            make_private_dir(&scratch.dir.join(name))?;
        }
        Ok(scratch)
    }

    fn mount_overlay(&self, how: How) -> io::Result<()> {
        let userxattr = if how == How::RealRoot { "" } else { ",userxattr" };
        rustix::process::chdir(&self.dir)?;
        let options = std::ffi::CString::new(format!("lowerdir=lower,upperdir=upper,workdir=work{userxattr}"))?;
        rustix::mount::mount("overlay", "merged", "overlay", MountFlags::NODEV | MountFlags::NOSUID, Some(options.as_c_str()))?;
        fs::write("merged/file", b"")?;
        // The mount goes with the namespace, but its private work directory can only be removed here.
        rustix::process::chdir("/")?;
        rustix::mount::unmount(self.dir.join("merged"), rustix::mount::UnmountFlags::DETACH)?;
        fs::remove_dir_all(self.dir.join("work"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Only the directories made above; what stays is a few empty ones.
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            log::debug!("{} stays: {error}", self.dir.display());
        }
    }
}
