//! The network of the process: none, the host's, or a private one through a user-mode network helper.
//!
//! Invariant: a helper program is taken from configured or system directories, never from `PATH` or the working directory
//! (known attack A124); no address is mapped to the caller's loopback (CVE-2021-20199) unless an option says so.

use std::path::{Path, PathBuf};

use super::Error;
use super::slirp::Slirp;

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
    /// `private`, `pasta` or `slirp4netns`, the latter with options after a colon: a new one with a way out; an error where no helper is
    /// installed.
    Private(Helper, Vec<String>),
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
    /// The caller's network, because this helper is missing: without reach to abstract sockets where the kernel can.
    Fallback(Helper),
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
    /// How the network is to be.
    pub shape: Shape,
}

/// What the options of a network program come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// slirp4netns.
    Slirp(Slirp),
    /// The words for pasta, which alone knows what they mean.
    Pasta(Vec<String>),
}

/// What containers.conf says about network programs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Absolute directories to look for programs in, before the system's (`helper_binaries_dir`, `CONTAINERS_HELPER_BINARY_DIR`).
    pub directories: Vec<PathBuf>,
    /// slirp4netns itself (`network_cmd_path`).
    pub slirp_path: Option<PathBuf>,
    /// Options of slirp4netns, before those of the command line (`network_cmd_options`).
    pub slirp_options: Vec<String>,
    /// Words for pasta, before those of the command line (`pasta_options`).
    pub pasta_options: Vec<String>,
    /// The program where none is named (`default_rootless_network_cmd`).
    pub preferred: Helper,
}

impl Mode {
    /// Parses `--network`. Names of configured networks are refused by name: they need a network daemon.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value {
            "" | "default" => Ok(Self::Automatic),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            "private" | "container" => Ok(Self::Private(Helper::Any, Vec::new())),
            other if let Some((helper, options)) = Helper::with_options(other) => {
                if helper == Helper::Slirp4netns {
                    Slirp::parse(&options)?;
                }
                Ok(Self::Private(helper, options))
            }
            other => match other.strip_prefix("ns:").or_else(|| other.starts_with('/').then_some(other)) {
                Some(path) if path.starts_with('/') && !path.contains('\0') => Ok(Self::Path(PathBuf::from(path))),
                _ => {
                    Err(format!("network {other:?}: configured networks are not supported; use host, none, private or ns:PATH"))
                }
            },
        }
    }
}

impl Helper {
    /// `pasta`, `slirp4netns`, and either with a colon and a list.
    fn with_options(word: &str) -> Option<(Self, Vec<String>)> {
        let (name, options) = word.split_once(':').unwrap_or((word, ""));
        let helper = Self::named(name)?;
        Some((helper, options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect()))
    }

    /// The program of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "pasta" => Some(Self::Pasta),
            "slirp4netns" => Some(Self::Slirp4netns),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "pasta or slirp4netns",
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
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

/// Decides what `mode` comes to on this machine.
pub(super) fn connect(mode: &Mode, settings: &Settings) -> Result<Connection, Error> {
    let (wanted, options) = match mode {
        Mode::Host => return Ok(Connection::Host),
        Mode::None => return Ok(Connection::None),
        Mode::Path(path) => return Ok(Connection::Path(path.clone())),
        // Not pasta unasked: Debian 12's gives up its rights before it opens the namespace, and a run that asked for nothing must not
        // fail.
        Mode::Automatic if settings.preferred == Helper::Any => (Helper::Slirp4netns, &Vec::new()),
        Mode::Automatic => (settings.preferred, &Vec::new()),
        Mode::Private(Helper::Any, options) => (settings.preferred, options),
        Mode::Private(wanted, options) => (*wanted, options),
    };
    let Some((kind, path)) = find(wanted, settings) else {
        if *mode == Mode::Automatic {
            return Ok(Connection::Fallback(wanted));
        }
        return Err(Error::Network(format!("a private network needs {}, which is not installed", wanted.name())));
    };
    let all = |configured: &[String]| configured.iter().chain(options).cloned().collect::<Vec<_>>();
    let shape = match kind {
        Helper::Slirp4netns => Shape::Slirp(Slirp::parse(&all(&settings.slirp_options)).map_err(Error::Network)?),
        Helper::Pasta | Helper::Any => Shape::Pasta(all(&settings.pasta_options)),
    };
    Ok(Connection::Helper(HelperProgram { kind, path, shape }))
}

fn find(wanted: Helper, settings: &Settings) -> Option<(Helper, PathBuf)> {
    let kinds = match wanted {
        Helper::Any => &[Helper::Slirp4netns, Helper::Pasta][..],
        Helper::Pasta => &[Helper::Pasta],
        Helper::Slirp4netns => &[Helper::Slirp4netns],
    };
    let dirs = || settings.directories.iter().map(PathBuf::as_path).chain(SYSTEM_DIRS.iter().map(Path::new));
    kinds.iter().find_map(|kind| {
        let named = settings.slirp_path.iter().filter(|_| *kind == Helper::Slirp4netns).cloned();
        let mut candidates = named.chain(dirs().map(|dir| dir.join(kind.name()))).filter(|path| path.is_absolute());
        candidates.find(|path| is_program(path)).map(|path| (*kind, path))
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The one line about a network that was not asked for.
pub(super) fn announce_fallback(missing: Helper) {
    log::warn!("using the host's network, since {} is not installed (--network host or none says it)", missing.name());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn words_become_modes_and_unknown_networks_are_refused() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (word, mode) in [
            ("", Mode::Automatic),
            ("host", Mode::Host),
            ("none", Mode::None),
            ("private", Mode::Private(Helper::Any, Vec::new())),
            ("pasta", Mode::Private(Helper::Pasta, Vec::new())),
            ("pasta:--map-gw,-t,auto", Mode::Private(Helper::Pasta, words("--map-gw -t auto"))),
            ("slirp4netns:mtu=1500,cidr=10.9.0.0/24", Mode::Private(Helper::Slirp4netns, words("mtu=1500 cidr=10.9.0.0/24"))),
            ("ns:/run/netns/x", Mode::Path("/run/netns/x".into())),
            ("/run/netns/x", Mode::Path("/run/netns/x".into())),
        ] {
            assert_eq!(Mode::parse(word), Ok(mode), "{word:?}");
        }
        for word in ["podman", "Host", "ns:x", "ns:", "container:x", "host ", "none\0", "host:mtu=1500", "slirp4netns:x"] {
            assert!(Mode::parse(word).is_err(), "{word:?} was accepted");
        }
    }

    #[test]
    fn a_helper_is_taken_from_absolute_directories_only() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("pasta");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        let settings = |dir: PathBuf| Settings { directories: vec![dir], ..Settings::default() };
        let found = |settings: &Settings| find(Helper::Pasta, settings).map(|(_, path)| path);
        assert_ne!(found(&settings(dir.path().into())), Some(program.clone()), "not executable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found(&settings(dir.path().into())), Some(program.clone()));
        assert!(find(Helper::Any, &settings(".".into())).is_none_or(|(_, path)| path.is_absolute()));
        let named = |path: &Path| Settings { slirp_path: Some(path.into()), ..Settings::default() };
        assert_eq!(find(Helper::Slirp4netns, &named(&program)), Some((Helper::Slirp4netns, program)));
        assert_ne!(find(Helper::Slirp4netns, &named(Path::new("pasta"))), Some((Helper::Slirp4netns, "pasta".into())));
    }

    #[test]
    fn options_of_the_command_line_follow_those_of_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pasta", "slirp4netns"] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let settings = Settings {
            directories: vec![dir.path().into()],
            slirp_options: vec!["mtu=1500".into(), "enable_ipv6=false".into()],
            pasta_options: vec!["--map-gw".into()],
            ..Settings::default()
        };
        let shape = |word: &str, settings: &Settings| match connect(&Mode::parse(word).unwrap(), settings) {
            Ok(Connection::Helper(program)) => program.shape,
            other => panic!("{word}: {other:?}"),
        };
        let slirp = Slirp::parse(&["enable_ipv6=false".into(), "mtu=9000".into()]).unwrap();
        assert_eq!(shape("slirp4netns:mtu=9000", &settings), Shape::Slirp(slirp));
        assert_eq!(shape("pasta:-4", &settings), Shape::Pasta(vec!["--map-gw".into(), "-4".into()]));
        let preferred = Settings { preferred: Helper::Pasta, ..settings.clone() };
        assert!(matches!(shape("", &preferred), Shape::Pasta(_)) && matches!(shape("private", &preferred), Shape::Pasta(_)));
        assert!(matches!(shape("", &settings), Shape::Slirp(_)));
        let wrong = Settings { slirp_options: vec!["mtu=1".into()], ..settings };
        assert!(connect(&Mode::Automatic, &wrong).is_err());
    }
}
