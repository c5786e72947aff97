//! SELinux as far as containers need it: whether it is on, which contexts the policy has for containers, and the labels of a new one
//! (selinux(8), lxc_contexts(5)).
//!
//! ```text
//!   <root>/sys/fs/selinux                           mounted, writable: SELinux is on
//!   <root>/usr/share/containers/selinux/contexts    the policy's contexts for containers, else
//!   <root>/etc/selinux/<SELINUXTYPE>/contexts/lxc_contexts
//!        process = "…:container_t:s0"  ─┐
//!        file    = "…:container_file_t:s0" ─┴─▶ LabelChoice ─▶ Labels, with a pair of categories that no other container has
//! ```
//!
//! Invariant: the machine is asked once in a process's life, by one `statfs(2)`; where SELinux is off nothing else is read. What is written
//! to the kernel or into mount options has been parsed as a context first.
//!
//! Must not: set a label on anything.

mod choice;
mod context;

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::libc;
use rustix::fs::StatVfsMountFlags;

pub use choice::{LabelChoice, Labels, Word};
pub use context::Context;

/// The attribute that has a file's label (xattr(7)).
pub const ATTRIBUTE: &str = "security.selinux";

/// More of a settings file is not read: 1 MiB.
const MAX_BYTES: u64 = 1 << 20;

/// Why there is no label.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text is no context.
    #[error("invalid SELinux label {0:?}")]
    InvalidLabel(String),
    /// A word has no colon.
    #[error(
        "bad label option {0:?}, valid options 'disable' or 'user, role, level, type, filetype' followed by ':' and a value"
    )]
    BadWord(String),
    /// A word's key does not exist.
    #[error("bad label option {0:?}, valid options 'disable, user, role, level, type, filetype'")]
    UnknownKey(String),
    /// A container without a process label has none to be changed.
    #[error(
        "label option {0:?}: the container's processes have no SELinux label (it was made where SELinux was off, or with label=disable)"
    )]
    Unlabelled(String),
    /// Every pair of categories is taken.
    #[error("no pair of SELinux categories is left for another container")]
    NoFreeLevel,
    /// A file of the policy or of selinuxfs could not be used.
    #[error("{action} {path:?}")]
    File {
        /// The operation, as a participle.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// A system with SELinux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    root: PathBuf,
}

/// What the policy calls the processes and files of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contexts {
    /// `process`
    pub process: Option<Context>,
    /// `file`
    pub file: Option<Context>,
}

/// This machine's, if SELinux is on.
pub fn machine() -> Option<&'static System> {
    static MACHINE: OnceLock<Option<System>> = OnceLock::new();
    let look = || Some(System::below(Path::new("/"))).filter(|system| system.is_mounted() && has_policy());
    MACHINE.get_or_init(look).as_ref()
}

/// Whether the kernel has loaded a policy: before, every process is the kernel's.
fn has_policy() -> bool {
    std::fs::read("/proc/thread-self/attr/current").is_ok_and(|label| label.strip_suffix(b"\0").unwrap_or(&label) != b"kernel")
}

impl System {
    /// The system whose files lie below `root`. Reads nothing.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn file_system(&self) -> PathBuf {
        self.root.join("sys/fs/selinux")
    }

    /// Whether selinuxfs is mounted in its place, and may be written to: a container that is kept from it has it read-only.
    fn is_mounted(&self) -> bool {
        let path = self.file_system();
        rustix::fs::statfs(&path).is_ok_and(|stat| stat.f_type as u32 == libc::SELINUX_MAGIC as u32)
            && rustix::fs::statvfs(&path).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    /// What the policy has for containers; nothing if it has no such file.
    pub fn contexts(&self) -> Result<Contexts, Error> {
        let shared = self.root.join("usr/share/containers/selinux/contexts");
        let text = match read(&shared)? {
            Some(text) => text,
            None => read(&self.policy()?.join("contexts/lxc_contexts"))?.unwrap_or_default(),
        };
        let context = |key: &str| match setting(&text, key) {
            None | Some("") => Ok(None),
            Some(label) => Context::parse(label).map(Some),
        };
        Ok(Contexts { process: context("process")?, file: context("file")? })
    }

    /// The directory of the policy in use (selinux_config(5)).
    fn policy(&self) -> Result<PathBuf, Error> {
        let directory = self.root.join("etc/selinux");
        let config = read(&directory.join("config"))?.unwrap_or_default();
        Ok(match setting(&config, "SELINUXTYPE") {
            Some(name) if !name.is_empty() && !name.contains('/') && name != ".." => directory.join(name),
            _ => directory,
        })
    }

    /// The label of an object of `class` that a process labelled `process` makes where the objects are labelled `target`
    /// (security_compute_create(3)).
    pub fn created(&self, process: &Context, target: &Context, class: &str) -> Result<Context, Error> {
        let index = self.file_system().join("class").join(class).join("index");
        let number = std::fs::read_to_string(&index).map_err(Error::file("reading", &index))?;
        let path = self.file_system().join("create");
        let asked = || -> io::Result<String> {
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            file.write_all(format!("{process} {target} {}", number.trim()).as_bytes())?;
            let mut answer = String::new();
            file.take(MAX_BYTES).read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = asked().map_err(Error::file("asking", &path))?;
        Context::parse(answer.trim_end_matches('\0'))
    }
}

/// A file's text; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<String>, Error> {
    let mut text = String::new();
    match std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(Error::file("reading", path)(source)),
    }
}

/// The value of `key` in lines of `key=value`, in which `#` and `;` begin comments and quotes mean nothing; the last one counts.
fn setting<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().trim_matches('"')).next_back()
}

#[cfg(test)]
mod tests;
