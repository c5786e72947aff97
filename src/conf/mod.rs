//! Settings files shared with the other tools: containers.conf and policy.json. storage.conf is the store's own.
//!
//! Reading is lazy and cheap: a verb that needs a setting loads the file then; files that do not exist cost one `open` each.
//! Nothing here decides for a command.

pub mod containers;
pub mod policy;

pub use containers::ContainersConf;
pub use policy::Policy;

use std::path::PathBuf;

/// What of the process decides where settings are looked for. Passed in, so that nothing here reads the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HOME` of the calling user.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `CONTAINERS_CONF`: read instead of all standard files.
    pub containers_conf: Option<PathBuf>,
    /// `CONTAINERS_CONF_OVERRIDE`: read after all others.
    pub containers_conf_override: Option<PathBuf>,
    /// `CONTAINERS_POLICY_JSON`.
    pub policy_json: Option<PathBuf>,
    /// The user is not root: the files in the home directory count.
    pub rootless: bool,
}

impl Environment {
    /// Takes what is needed from the process's variables.
    pub fn from_process(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>, rootless: bool) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            home: path("HOME"),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            containers_conf: path("CONTAINERS_CONF"),
            containers_conf_override: path("CONTAINERS_CONF_OVERRIDE"),
            policy_json: path("CONTAINERS_POLICY_JSON"),
            rootless,
        }
    }
}

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file exists and cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not TOML, or a setting has the wrong type.
    #[error("parsing {path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A setting has a value that does not exist.
    #[error("{path}: {key}: {message}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The setting, `table.key`.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
}
