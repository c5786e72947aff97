//! The network of the process: none, the host's, or a private one through a user-mode network helper.
//!
//! Invariant: a helper program is taken from configured or system directories, never from `PATH` or the working directory
//! (known attack A124); no address is mapped to the caller's loopback (CVE-2021-20199).

use std::path::{Path, PathBuf};

use super::Error;

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

/// Where network programs are looked for, after the directories that containers.conf names.
const SYSTEM_DIRS: &[&str] = &[
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
];

/// Decides what `mode` comes to on this machine. `configured` are directories of containers.conf.
pub(super) fn connect(mode: &Mode, configured: &[PathBuf]) -> Result<Connection, Error> {
    Ok(match mode {
        Mode::Host => Connection::Host,
        Mode::None => Connection::None,
        Mode::Path(path) => Connection::Path(path.clone()),
        // Not pasta: Debian 12's gives up its rights before it opens the namespace, and a run that asked for nothing must not fail.
        Mode::Automatic => find(Helper::Slirp4netns, configured).map_or(Connection::Fallback, Connection::Helper),
        Mode::Private(wanted) => {
            let names = match wanted {
                Helper::Any => "pasta or slirp4netns",
                Helper::Pasta => "pasta",
                Helper::Slirp4netns => "slirp4netns",
            };
            let missing = || Error::Network(format!("a private network needs {names}, which is not installed"));
            Connection::Helper(find(*wanted, configured).ok_or_else(missing)?)
        }
    })
}

fn find(wanted: Helper, configured: &[PathBuf]) -> Option<HelperProgram> {
    let kinds = match wanted {
        Helper::Any => &[(Helper::Slirp4netns, "slirp4netns"), (Helper::Pasta, "pasta")][..],
        Helper::Pasta => &[(Helper::Pasta, "pasta")],
        Helper::Slirp4netns => &[(Helper::Slirp4netns, "slirp4netns")],
    };
    let dirs = || configured.iter().map(PathBuf::as_path).chain(SYSTEM_DIRS.iter().map(Path::new));
    kinds.iter().find_map(|(kind, name)| {
        let candidates = dirs().filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
        candidates.into_iter().find(|path| is_program(path)).map(|path| HelperProgram { kind: *kind, path })
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The one line about a network that was not asked for.
pub(super) fn announce_fallback() {
    log::warn!("using the host's network, since slirp4netns is not installed (--network host or none says it)");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn words_become_modes_and_unknown_networks_are_refused() {
        for (word, mode) in [
            ("", Mode::Automatic),
            ("host", Mode::Host),
            ("none", Mode::None),
            ("private", Mode::Private(Helper::Any)),
            ("pasta", Mode::Private(Helper::Pasta)),
            ("ns:/run/netns/x", Mode::Path("/run/netns/x".into())),
            ("/run/netns/x", Mode::Path("/run/netns/x".into())),
        ] {
            assert_eq!(Mode::parse(word), Ok(mode), "{word:?}");
        }
        for word in ["podman", "Host", "ns:x", "ns:", "container:x", "host ", "none\0"] {
            assert!(Mode::parse(word).is_err(), "{word:?} was accepted");
        }
    }

    #[test]
    fn a_helper_is_taken_from_absolute_directories_only() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("pasta");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        assert_ne!(find(Helper::Pasta, &[dir.path().into()]).map(|found| found.path), Some(program.clone()), "not executable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Helper::Pasta, &[dir.path().into()]).map(|found| found.path), Some(program));
        assert!(find(Helper::Any, &[PathBuf::from(".")]).is_none_or(|found| found.path.is_absolute()));
    }
}
