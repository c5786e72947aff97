//! Settings files shared with the other tools: containers.conf, mounts.conf, policy.json, registries.conf, registries.d, credentials
//! and certificates of registries; the file of `--tls-details`. storage.conf is the store's own.
//!
//! Reading is lazy and cheap: a verb that needs a setting loads the file then; files that do not exist cost one `open` each.
//! Nothing here decides for a command.

pub mod auth;
pub mod certs;
pub mod containers;
pub mod hooks;
pub mod mounts;
pub mod policy;
pub mod policy_file;
pub mod registries;
pub mod registries_d;
pub mod tls_details;
mod yaml;

pub use auth::Auth;
pub use containers::ContainersConf;
pub use policy::Policy;
pub use policy_file::PolicyFile;
pub use registries::Registries;
pub use registries_d::SignaturePlaces;
pub use tls_details::TlsDetails;

use std::io::Read;
use std::path::{Path, PathBuf};

use containers_storage::conf::home_directory;

/// What of the process decides where settings are looked for. Passed in, so that nothing here reads the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The home directory of the calling user: `HOME`, else that of the user database.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `CONTAINERS_CONF`: read instead of all standard files.
    pub containers_conf: Option<PathBuf>,
    /// `CONTAINERS_CONF_OVERRIDE`: read after all others.
    pub containers_conf_override: Option<PathBuf>,
    /// `CONTAINERS_POLICY_JSON`.
    pub policy_json: Option<PathBuf>,
    /// `CONTAINERS_REGISTRIES_CONF`, else the older `REGISTRIES_CONFIG_PATH`.
    pub registries_conf: Option<PathBuf>,
    /// `BUILD_REGISTRY_SOURCES`.
    pub build_registry_sources: Option<String>,
    /// `--registries-conf-dir`: the directory of registries.d.
    pub registries_d: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub xdg_cache_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`.
    pub registry_auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG`, a directory.
    pub docker_config: Option<PathBuf>,
    /// `PATH`, where credential helpers are.
    pub path: Option<std::ffi::OsString>,
    /// The user is not root: the files in the home directory count.
    pub rootless: bool,
    /// The calling user, outside of every user namespace of ours.
    pub uid: Option<u32>,
}

impl Environment {
    /// Takes what is needed from the process's variables. `uid` is the user who called it, before any namespace was entered.
    pub fn from_process(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>, rootless: bool, uid: u32) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let outer = variable("_CONTAINERS_ROOTLESS_UID").and_then(|uid| uid.to_str()?.parse().ok());
        let uid = outer.unwrap_or(uid);
        Self {
            home: home_directory(variable("HOME").as_deref(), uid),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            containers_conf: path("CONTAINERS_CONF"),
            containers_conf_override: path("CONTAINERS_CONF_OVERRIDE"),
            policy_json: path("CONTAINERS_POLICY_JSON"),
            registries_conf: path("CONTAINERS_REGISTRIES_CONF").or_else(|| path("REGISTRIES_CONFIG_PATH")),
            build_registry_sources: variable("BUILD_REGISTRY_SOURCES").and_then(|value| value.into_string().ok()),
            registries_d: None,
            xdg_cache_home: path("XDG_CACHE_HOME"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            docker_config: path("DOCKER_CONFIG"),
            path: variable("PATH"),
            rootless,
            uid: Some(uid),
        }
    }

    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    fn config_home(&self) -> Option<PathBuf> {
        self.xdg_config_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".config")))
    }

    /// `$XDG_CACHE_HOME`, else `~/.cache`.
    fn cache_home(&self) -> Option<PathBuf> {
        self.xdg_cache_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".cache")))
    }
}

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file exists and cannot be read.
    #[error("reading {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not TOML, or a setting has the wrong type.
    #[error("parsing {path:?}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A file could not be replaced.
    #[error("writing {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A setting has a value that does not exist.
    #[error("{path:?}: line {line}: {key}: {message}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The line that the setting begins in, from 1.
        line: usize,
        /// The setting, `table.key`.
        key: String,
        /// What is wrong.
        message: String,
    },
}

/// The largest settings file that is read: 1 MiB.
const MAX_BYTES: u64 = 1 << 20;

/// What it means that a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Somebody named it: it must be readable.
    Required,
    /// It need not exist, but if it does it must be readable.
    Optional,
    /// It counts only if it can be read: the home directory may be another user's.
    Readable,
}

/// The text of a settings file; `None` if it does not count.
fn read_file(path: &Path, presence: Presence) -> Result<Option<String>, Error> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_BYTES => {
            Err(Error::Parse { path: path.to_owned(), message: format!("the file is larger than {MAX_BYTES} bytes") })
        }
        Ok(_) => {
            log::debug!("read {}", path.display());
            Ok(Some(text))
        }
        Err(source) => match (source.kind(), presence) {
            (std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory, Presence::Optional | Presence::Readable) => {
                Ok(None)
            }
            (std::io::ErrorKind::PermissionDenied, Presence::Readable) => Ok(None),
            _ => Err(Error::Read { path: path.to_owned(), source }),
        },
    }
}

/// The `*.conf` files in the directory `<path>.d`, in the order of their names.
fn read_drop_ins(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut directory = path.as_os_str().to_owned();
    directory.push(".d");
    drop_ins_of(Path::new(&directory))
}

/// The drop-ins of the system for the file `<stem>.conf`, in the order of their names whatever their directories.
///
/// Of several with one name the last directory's counts alone, in the order usr/share, etc, and in each: for everybody, for this kind of
/// user, for this user. `own` are the user's drop-ins, which replace their namesakes too; but not those of `etc/containers/<stem>.conf.d`:
/// older tools (containers-common before 6) read both.
fn system_drop_ins(environment: &Environment, root: &Path, stem: &str, own: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let kind = if environment.rootless { "rootless" } else { "rootful" };
    let mut by_name = std::collections::BTreeMap::new();
    for base in ["usr/share/containers", "etc/containers"] {
        let base = root.join(base);
        let of_kind = base.join(format!("{stem}.{kind}.conf.d"));
        let of_user = environment.uid.filter(|_| environment.rootless).map(|uid| of_kind.join(uid.to_string()));
        for directory in [Some(base.join(format!("{stem}.conf.d"))), Some(of_kind), of_user].into_iter().flatten() {
            by_name.extend(drop_ins_of(&directory)?.into_iter().map(|path| (path.file_name().map(ToOwned::to_owned), path)));
        }
    }
    let always = root.join("etc/containers").join(format!("{stem}.conf.d"));
    let replaced = |path: &Path| own.iter().any(|own| own.file_name() == path.file_name()) && !path.starts_with(&always);
    Ok(by_name.into_values().filter(|path| !replaced(path)).collect())
}

/// The `*.conf` files in `directory`, in the order of their names.
fn drop_ins_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        // What cannot be listed has no files for us; the file beside it was read or reported already.
        Err(_) => return Ok(Vec::new()),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::Read { path: directory.to_owned(), source })?;
        if entry.path().extension().is_some_and(|extension| extension == "conf") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
