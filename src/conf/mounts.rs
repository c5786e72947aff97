//! mounts.conf: files and directories of the host that every container gets a copy of (subscriptions), as containers-mounts.conf(5)
//! describes it.
//!
//! The first file that exists counts, alone: the user's own, the administrator's, the distribution's. A line is `HOST[:CONTAINER]`
//! and begins with a slash; all others are comments.

use std::path::{Path, PathBuf};

use super::{Environment, Error, Presence, read_file};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// A file or directory of the host.
    pub host: PathBuf,
    /// Where its copy appears; absolute.
    pub container: PathBuf,
    /// The file that says so.
    pub file: PathBuf,
}

/// Reads the file that counts: `named` (`--default-mounts-file`) if there is one.
///
/// # Errors
///
/// A file that exists, or was named, and cannot be read; a line with a path in the container that is not absolute.
pub fn load(environment: &Environment, named: Option<&Path>) -> Result<Vec<Subscription>, Error> {
    load_below(environment, named, Path::new("/"))
}

fn load_below(environment: &Environment, named: Option<&Path>, root: &Path) -> Result<Vec<Subscription>, Error> {
    if let Some(path) = named {
        return parse(path, &read_file(path, Presence::Required)?.unwrap_or_default());
    }
    let own = environment.config_home().filter(|_| environment.rootless);
    let own = own.map(|home| (home.join("containers/mounts.conf"), Presence::Readable));
    let system = ["etc", "usr/share"].map(|dir| (root.join(dir).join("containers/mounts.conf"), Presence::Optional));
    for (path, presence) in own.into_iter().chain(system) {
        if let Some(text) = read_file(&path, presence)? {
            return parse(&path, &text);
        }
    }
    Ok(Vec::new())
}

fn parse(path: &Path, text: &str) -> Result<Vec<Subscription>, Error> {
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| line.starts_with('/'));
    lines
        .map(|(number, line)| {
            let (host, container) = line.split_once(':').unwrap_or((line, line));
            if !container.starts_with('/') || line.contains('\0') {
                let message = format!("line {}: {container:?} is not an absolute path", number + 1);
                return Err(Error::Parse { path: path.to_owned(), message });
            }
            Ok(Subscription { host: PathBuf::from(host), container: PathBuf::from(container), file: path.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(files: &[(&str, &str)], rootless: bool) -> Result<Vec<(String, String)>, Error> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let environment = Environment { home: Some(root.path().join("home")), rootless, ..Environment::default() };
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let pairs = load_below(&environment, None, root.path())?;
        Ok(pairs.iter().map(|entry| (text(&entry.host), text(&entry.container))).collect())
    }

    const SYSTEM: (&str, &str) = ("usr/share/containers/mounts.conf", "/s:/in");
    const ADMIN: (&str, &str) = ("etc/containers/mounts.conf", "# comment\n  /a:/run/a\nrelative:/x\n\n/b\n");
    const USER: (&str, &str) = ("home/.config/containers/mounts.conf", "");

    #[test]
    fn the_first_file_counts_alone() {
        let pair = |host: &str, container: &str| (host.to_owned(), container.to_owned());
        assert_eq!(loaded(&[], true).unwrap(), []);
        assert_eq!(loaded(&[SYSTEM], true).unwrap(), [pair("/s", "/in")]);
        assert_eq!(loaded(&[SYSTEM, ADMIN], true).unwrap(), [pair("/a", "/run/a"), pair("/b", "/b")]);
        assert_eq!(loaded(&[SYSTEM, ADMIN, USER], true).unwrap(), []);
        assert_eq!(loaded(&[SYSTEM, USER], false).unwrap(), [pair("/s", "/in")]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = loaded(&[("etc/containers/mounts.conf", "/a\n/b:c\n")], true).unwrap_err().to_string();
        assert!(error.contains("mounts.conf") && error.contains("line 2: \"c\" is not an absolute path"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        assert!(load(&Environment::default(), Some(Path::new("/nonexistent/mounts.conf"))).is_err());
    }
}
