//! Where a store is and how it is set up: storage.conf, its drop-ins, the environment and the command line, resolved once.
//!
//! ```text
//! command line  >  STORAGE_DRIVER, STORAGE_OPTS  >  files (file.rs)  >  defaults (locations.rs)
//! ```
//!
//! Invariant: everything from outside the files comes in as a value (`Environment`, `Overrides`), so that the same input gives
//! the same answer; nothing is created. What this crate does not support is refused by name, never ignored.

mod environment;
mod file;
mod locations;
mod options;

use std::path::{Path, PathBuf};

pub use self::environment::{Environment, home_directory};
pub use self::options::DriverOptions;

use self::file::Settings;

/// The global options of a command line; each wins over every file and variable.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--root`
    pub graph_root: Option<PathBuf>,
    /// `--runroot`
    pub run_root: Option<PathBuf>,
    /// `--storage-driver`; drops the driver options of the files.
    pub driver: Option<String>,
    /// `--storage-opt`, each `[driver.]key=value`; replaces those of the files.
    pub options: Vec<String>,
    /// `--transient-store`
    pub transient: Option<bool>,
    /// `--imagestore`; empty: none, whatever the files say.
    pub image_store: Option<PathBuf>,
    /// The driver of a store that has none yet and for which nobody names one; overlay where the graph root's file system can carry
    /// it, if the caller does not know better.
    pub for_new_store: Option<DriverKind>,
}

/// The graph drivers that are implemented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// Layers as directories of overlayfs.
    Overlay,
    /// Layers as whole trees.
    Vfs,
}

/// Drivers of the other tools that are refused by name.
const FOREIGN_DRIVERS: [&str; 5] = ["btrfs", "zfs", "aufs", "devicemapper", "windows"];

impl DriverKind {
    /// The name in paths and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "overlay" | "overlay2" => Some(Self::Overlay),
            "vfs" => Some(Self::Vfs),
            _ => None,
        }
    }

    /// `<root>/<driver>-<part>`: a directory of records, in the graph root, the run root or an additional store.
    pub fn part(self, root: &Path, part: &str) -> PathBuf {
        root.join(format!("{}-{part}", self.name()))
    }
}

/// The resolved settings of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// Graph root: the persistent state.
    pub graph_root: PathBuf,
    /// Run root: what a reboot may clear.
    pub run_root: PathBuf,
    /// The root that images and their layers lie in, apart from containers (`imagestore`; format, section 2.5).
    pub image_store: Option<PathBuf>,
    /// The driver in use.
    pub driver: DriverKind,
    /// Whether a file, a variable or an option named the driver; if not, podman may choose another one.
    pub driver_is_explicit: bool,
    /// Settings of the driver.
    pub options: DriverOptions,
    /// Read-only graph roots that are searched after this one (`additionalimagestores`).
    pub additional_image_stores: Vec<PathBuf>,
    /// Ids for containers that get some of their own without saying which.
    pub auto_userns: AutoUserNamespace,
    /// Whether containers are recorded in the run root only, so that a reboot ends them all (`transient_store`; format, section 3.9).
    pub transient: bool,
    /// Whether the format's "rootless" rules apply (10.1): `user.overlay.*`, `userxattr`.
    pub rootless: bool,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// How `--userns auto` chooses ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoUserNamespace {
    /// Whose subordinate ids real root gives to containers (`root-auto-userns-user`).
    pub root_user: String,
    /// How many a container gets at least (`auto-userns-min-size`).
    pub min_size: u32,
    /// How many at most, unless it asks for a number; 0: any (`auto-userns-max-size`).
    pub max_size: u32,
}

impl Default for AutoUserNamespace {
    fn default() -> Self {
        Self { root_user: "containers".to_owned(), min_size: 1024, max_size: 65536 }
    }
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
    /// A file is no TOML.
    #[error("{path:?} is no valid TOML: {problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        problem: String,
    },
    /// A value of the wrong kind.
    #[error("{origin}: {key} must be {expected}")]
    Value {
        /// The file, variable or option.
        origin: String,
        /// The key.
        key: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Something that this program does not do.
    #[error("{origin}: {what} is not supported")]
    Unsupported {
        /// The file, variable or option.
        origin: String,
        /// What was asked for.
        what: String,
    },
    /// A driver that no tool knows.
    #[error("{origin}: unknown storage driver {name:?} (overlay and vfs are known)")]
    UnknownDriver {
        /// The file, variable or option.
        origin: String,
        /// The name.
        name: String,
    },
    /// An option that this driver has no use for.
    #[error("{origin}: the driver {driver} does not support the option {option:?}")]
    NotOfDriver {
        /// The file, variable or option.
        origin: String,
        /// The driver.
        driver: &'static str,
        /// The option.
        option: String,
    },
    /// A driver option that no tool knows.
    #[error("{origin}: unknown storage option {option:?}")]
    UnknownOption {
        /// The file, variable or option.
        origin: String,
        /// The option.
        option: String,
    },
    /// The user's directories cannot be found.
    #[error("the home directory of user {uid} is unknown: set HOME")]
    NoHome {
        /// The user.
        uid: u32,
    },
    /// The image store is the graph root.
    #[error("imagestore {path:?} must either be not set or be different than graphroot")]
    SameRoots {
        /// Both.
        path: PathBuf,
    },
    /// The directory for the run root belongs to someone else.
    #[error("{path:?} cannot hold the run root: {reason}; set XDG_RUNTIME_DIR to a directory that is yours alone")]
    RunDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: crate::private::Unfit,
    },
}

impl Conf {
    /// Resolves the settings: command line over environment over files over defaults. When no file exists this costs a few
    /// failed opens.
    pub fn resolve(environment: &Environment, overrides: &Overrides) -> Result<Self, Error> {
        let settings = file::read_all(environment)?;
        settings.refuse_unsupported()?;
        let graph_root = match overrides.graph_root.as_ref().or(settings.graph_root(environment).as_ref()) {
            Some(path) => absolute(path),
            None => locations::default_graph_root(environment)?,
        };
        let run_root = match overrides.run_root.as_ref().or(settings.run_root(environment).as_ref()) {
            Some(path) => absolute(path),
            None => locations::default_run_root(environment)?,
        };
        let image_store = overrides.image_store.clone().or_else(|| settings.image_store(environment));
        let image_store = image_store.filter(|path| !path.as_os_str().is_empty()).map(|path| absolute(&path));
        if image_store.as_ref() == Some(&graph_root) {
            return Err(Error::SameRoots { path: graph_root });
        }
        let choice = driver(environment, overrides, &settings, [Some(&graph_root), image_store.as_ref()])?;
        let preferred = || overrides.for_new_store.or(settings.driver_priority.first().copied());
        let mut driver = choice.kind().or_else(preferred).unwrap_or(DriverKind::Overlay);
        let (mut options, mut stores) = driver_options(driver, environment, overrides, &settings)?;
        let cannot_mount = || options.mount_program.is_none() && lies_on_overlayfs(&graph_root);
        if choice == Choice::Free && driver == DriverKind::Overlay && cannot_mount() {
            driver = DriverKind::Vfs;
            (options, stores) = driver_options(driver, environment, overrides, &settings)?;
        }
        let configured = settings.additional_image_stores.iter().map(|path| PathBuf::from(environment.expand(path)));
        stores.extend(configured.filter(|_| !replaces_options(environment, overrides)));
        Ok(Self {
            graph_root,
            run_root,
            image_store,
            driver,
            driver_is_explicit: matches!(choice, Choice::Named(_)),
            options,
            additional_image_stores: stores,
            auto_userns: settings.auto_userns,
            transient: overrides.transient.unwrap_or(settings.transient),
            rootless: environment.rootless,
            files: settings.files,
        })
    }

    /// The root that images and their layers lie in.
    pub fn image_root(&self) -> &Path {
        self.image_store.as_deref().unwrap_or(&self.graph_root)
    }

    /// Whether nobody named the driver and no store is there that could tell it.
    pub fn driver_is_free(&self) -> bool {
        !self.driver_is_explicit && !self.driver.part(self.image_root(), "images").is_dir()
    }

    /// The settings of a store at the two given directories, with defaults for everything else and no file read.
    pub fn at(graph_root: &Path, run_root: &Path, rootless: bool) -> Self {
        Self {
            graph_root: graph_root.to_owned(),
            run_root: run_root.to_owned(),
            image_store: None,
            driver: DriverKind::Overlay,
            driver_is_explicit: true,
            options: DriverOptions::default(),
            additional_image_stores: Vec::new(),
            auto_userns: AutoUserNamespace::default(),
            transient: false,
            rootless,
            files: Vec::new(),
        }
    }
}

/// Who chose the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// A file, a variable or an option.
    Named(DriverKind),
    /// The store, which was used with it.
    Used(DriverKind),
    /// Nobody yet.
    Free,
}

impl Choice {
    fn kind(self) -> Option<DriverKind> {
        match self {
            Self::Named(kind) | Self::Used(kind) => Some(kind),
            Self::Free => None,
        }
    }
}

/// Whether `path`, or the nearest directory above it that exists, lies on overlayfs, as all does that a container has no volume for.
/// The kernel refuses such a file system as the upper directory of another overlay mount.
pub fn lies_on_overlayfs(path: &Path) -> bool {
    /// `OVERLAYFS_SUPER_MAGIC` of statfs(2).
    const OVERLAYFS: u64 = 0x794C_7630;
    let found = path.ancestors().find_map(|path| rustix::fs::statfs(path).ok());
    found.is_some_and(|stat| stat.f_type as u64 == OVERLAYFS)
}

/// The configured driver; else the one that the store was used with, overlay first.
fn driver(
    environment: &Environment,
    overrides: &Overrides,
    settings: &Settings,
    roots: [Option<&PathBuf>; 2],
) -> Result<Choice, Error> {
    let variable = environment.text("STORAGE_DRIVER").map(|name| ("STORAGE_DRIVER".to_owned(), name.to_owned()));
    let option = overrides.driver.clone().map(|name| ("--storage-driver".to_owned(), name));
    let configured = settings.driver.clone().map(|set| (set.origin, set.value));
    if let Some((origin, name)) = option.or(variable).or(configured).filter(|(_, name)| !name.is_empty()) {
        return match DriverKind::named(&name) {
            Some(driver) => Ok(Choice::Named(driver)),
            None if FOREIGN_DRIVERS.contains(&name.as_str()) => {
                Err(Error::Unsupported { origin, what: format!("the storage driver {name:?}") })
            }
            None => Err(Error::UnknownDriver { origin, name }),
        };
    }
    let used = |name: &str| roots.iter().flatten().any(|root| root.join(format!("{name}-images")).is_dir());
    if let Some(driver) = [DriverKind::Overlay, DriverKind::Vfs].into_iter().find(|driver| used(driver.name())) {
        return Ok(Choice::Used(driver));
    }
    if let Some(other) = FOREIGN_DRIVERS.into_iter().find(|name| used(name)) {
        let what = format!("its storage driver {other:?} (another one can be chosen with --storage-driver overlay)");
        let root = roots.iter().flatten().next().map(|root| root.as_path()).unwrap_or(Path::new(""));
        return Err(Error::Unsupported { origin: format!("the store at {root:?}"), what });
    }
    Ok(Choice::Free)
}

/// Whether the options of the files count for nothing.
fn replaces_options(environment: &Environment, overrides: &Overrides) -> bool {
    !overrides.options.is_empty() || overrides.driver.is_some() || environment.text("STORAGE_OPTS").is_some()
}

/// The driver's options, and the additional image stores named among them.
fn driver_options(
    driver: DriverKind,
    environment: &Environment,
    overrides: &Overrides,
    settings: &Settings,
) -> Result<(DriverOptions, Vec<PathBuf>), Error> {
    let mut options = DriverOptions { disable_volatile: settings.disable_volatile, ..DriverOptions::default() };
    let mut stores = Vec::new();
    if !overrides.options.is_empty() {
        for option in &overrides.options {
            options.apply(driver, "--storage-opt", option, &mut stores)?;
        }
    } else if let Some(list) = environment.text("STORAGE_OPTS") {
        for option in list.split(',').filter(|option| !option.is_empty()) {
            options.apply(driver, "STORAGE_OPTS", option, &mut stores)?;
        }
    } else if overrides.driver.is_none() {
        for set in settings.driver_options(driver) {
            options.apply(driver, &set.origin, &set.value, &mut stores)?;
        }
    }
    Ok((options, stores))
}

/// The path without links, if it exists; else made absolute. The other tools write resolved paths into their tables.
fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
