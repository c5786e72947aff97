//! The network of the process: none, the host's, or a private one through a user-mode network helper.
//!
//! Invariant: a helper program is taken from configured or system directories, never from `PATH` or the working directory
//! (known attack A124); no address is mapped to the caller's loopback (CVE-2021-20199).

use std::path::PathBuf;

/// What `--network` chose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing was said: private where a helper is installed, else the host's with one line on stderr and, where the kernel can,
    /// without reach to abstract sockets outside.
    #[default]
    Automatic,
    /// `host`: the caller's network, because the user said so.
    Host,
    /// `none`: a new one with loopback only.
    None,
    /// `private`, `pasta` or `slirp4netns`: a new one with a way out; an error where no helper is installed.
    Private(Helper),
    /// `ns:PATH`: an existing one.
    Path(PathBuf),
}

/// Which user-mode network program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Helper {
    /// pasta if installed, else slirp4netns.
    #[default]
    Any,
    /// `pasta`
    Pasta,
    /// `slirp4netns`
    Slirp4netns,
}

/// What a [`Mode`] comes to on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// The caller's network, as asked for.
    Host,
    /// The caller's network, because there is no helper: without reach to abstract sockets where the kernel can.
    Fallback,
    /// Loopback only.
    None,
    /// A new network namespace, served by this program.
    Helper(HelperProgram),
    /// An existing network namespace.
    Path(PathBuf),
}

/// A user-mode network program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperProgram {
    /// Which one.
    pub kind: Helper,
    /// Its absolute path.
    pub path: PathBuf,
}

impl Mode {
    /// Parses `--network`. Names of configured networks are refused by name: they need a network daemon.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value {
            "" | "default" => Ok(Self::Automatic),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            "private" | "container" => Ok(Self::Private(Helper::Any)),
            "pasta" => Ok(Self::Private(Helper::Pasta)),
            "slirp4netns" => Ok(Self::Private(Helper::Slirp4netns)),
            other => match other.strip_prefix("ns:").or_else(|| other.starts_with('/').then_some(other)) {
                Some(path) if path.starts_with('/') && !path.contains('\0') => Ok(Self::Path(PathBuf::from(path))),
                _ => {
                    Err(format!("network {other:?}: configured networks are not supported; use host, none, private or ns:PATH"))
                }
            },
        }
    }
}

/// Decides what `mode` comes to on this machine.
pub(super) fn connect(mode: &Mode) -> Result<Connection, super::Error> {
    match mode {
        Mode::Host => Ok(Connection::Host),
        Mode::None => Ok(Connection::None),
        Mode::Path(path) => Ok(Connection::Path(path.clone())),
        Mode::Automatic => Ok(Connection::Fallback),
        Mode::Private(_) => Err(super::Error::Network("no helper".to_string())),
    }
}
