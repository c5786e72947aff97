//! Flags that several verbs share, in groups by concern, and the checks of operand counts.

use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::CommandError;

/// Flags that every verb takes, before or after its name.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global flags")]
pub struct GlobalArgs {
    /// Directory of the store: layers, images, containers
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Directory of the store's state that need not survive a reboot
    #[arg(long, value_name = "DIR")]
    pub runroot: Option<PathBuf>,

    /// Graph driver; drops the driver options of storage.conf
    #[arg(long, value_name = "DRIVER")]
    pub storage_driver: Option<String>,

    /// Option for the graph driver, in place of those in storage.conf (can be repeated)
    #[arg(long, value_name = "OPTION", value_delimiter = ',')]
    pub storage_opt: Vec<String>,

    /// Directory for images and their layers, apart from --root, which keeps containers and theirs
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub imagestore: Option<PathBuf>,

    /// Record containers in the run root only, so that a reboot ends them all
    #[arg(long)]
    pub transient_store: bool,

    /// Messages to show: trace, debug, info, warn, error, fatal or panic
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub log_level: String,

    /// The same as --log-level debug
    #[arg(long, hide = true)]
    pub debug: bool,

    /// registries.conf to use
    #[arg(long, value_name = "FILE")]
    pub registries_conf: Option<PathBuf>,

    /// Directory with the settings of registries (registries.d)
    #[arg(long, value_name = "DIR")]
    pub registries_conf_dir: Option<PathBuf>,

    /// File that says which of TLS may be spoken: containers-tls-details.yaml(5)
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub tls_details: Option<PathBuf>,

    /// File with the aliases of short names
    #[arg(long, value_name = "FILE")]
    pub short_name_alias_conf: Option<PathBuf>,

    /// Signature policy (policy.json) to use
    #[arg(long, value_name = "FILE", hide = true)]
    pub signature_policy: Option<PathBuf>,

    /// File that lists what of the host every container gets a copy of, in place of mounts.conf
    #[arg(long, value_name = "FILE", hide = true)]
    pub default_mounts_file: Option<PathBuf>,

    /// User ids of new containers, where from says nothing else: INSIDE:OUTSIDE:COUNT (can be repeated)
    #[arg(long, value_name = "MAP", value_delimiter = ',')]
    pub userns_uid_map: Vec<String>,

    /// Group ids of new containers, where from says nothing else: INSIDE:OUTSIDE:COUNT (can be repeated)
    #[arg(long, value_name = "MAP", value_delimiter = ',')]
    pub userns_gid_map: Vec<String>,

    /// Manager of control groups: systemd or cgroupfs
    #[arg(long, value_name = "MANAGER")]
    pub cgroup_manager: Option<String>,
}

/// Capabilities of the processes that `run` starts.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CapabilityArgs {
    /// Capability to add to the default set (can be repeated; ALL for all)
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_add: Vec<String>,

    /// Capability to drop from the default set (can be repeated; ALL for all)
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_drop: Vec<String>,
}

/// Namespaces of the processes that `run` starts. Each value is empty, `container` or `private` for a new one, `host`, or a
/// path.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NamespaceArgs {
    /// Control group namespace: private, host, or a path
    #[arg(long, value_name = "NAMESPACE")]
    pub cgroupns: Option<String>,

    /// IPC namespace: private, host, or a path
    #[arg(long, value_name = "NAMESPACE")]
    pub ipc: Option<String>,

    /// Network: private, host, none, slirp4netns or pasta (with or without :OPTIONS), or a path
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub network: Option<String>,

    /// Process namespace: private, host, or a path
    #[arg(long, value_name = "NAMESPACE")]
    pub pid: Option<String>,

    /// Host name namespace: private, host, or a path
    #[arg(long, value_name = "NAMESPACE")]
    pub uts: Option<String>,
}

/// The parser of a file or directory whose empty name means none, as of a variable that is not set: clap's own refuses that.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The path, unless it is empty.
pub fn given(path: &Option<PathBuf>) -> Option<&Path> {
    path.as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Refuses operands where a verb takes none.
pub fn no_operands(verb: &str, operands: &[String]) -> Result<(), CommandError> {
    match operands.first() {
        None => Ok(()),
        Some(word) => Err(CommandError::usage(format!("unknown command {word:?} for \"coracle {verb}\""))),
    }
}

/// Refuses more than `most` operands.
pub fn at_most<T>(most: usize, operands: &[T]) -> Result<(), CommandError> {
    if operands.len() <= most {
        return Ok(());
    }
    Err(CommandError::usage(format!("accepts at most {most} arg(s), received {}", operands.len())))
}

/// Refuses fewer than `least` operands.
pub fn at_least<T>(least: usize, operands: &[T]) -> Result<(), CommandError> {
    if operands.len() >= least {
        return Ok(());
    }
    Err(CommandError::usage(format!("requires at least {least} arg(s), only received {}", operands.len())))
}

/// Refuses fewer than `least` and more than `most` operands.
pub fn between<T>(least: usize, most: usize, operands: &[T]) -> Result<(), CommandError> {
    if (least..=most).contains(&operands.len()) {
        return Ok(());
    }
    Err(CommandError::usage(format!("accepts between {least} and {most} arg(s), received {}", operands.len())))
}

/// Refuses any other number of operands than `count`.
pub fn exactly<T>(count: usize, operands: &[T]) -> Result<(), CommandError> {
    if operands.len() == count {
        return Ok(());
    }
    Err(CommandError::usage(format!("accepts {count} arg(s), received {}", operands.len())))
}
