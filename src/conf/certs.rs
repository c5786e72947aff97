//! containers-certs.d(5): which directory has the certificates of a registry.

use std::path::{Path, PathBuf};

use super::Environment;

/// The directories of the system, below `/etc`.
const SYSTEM: [&str; 2] = ["containers/certs.d", "docker/certs.d"];

/// The first directory there is for `registry`, a host with an optional port: the user's, then the system's.
pub fn directory_of(environment: &Environment, registry: &str) -> Option<PathBuf> {
    directory_below(environment, registry, Path::new("/"))
}

fn directory_below(environment: &Environment, registry: &str, root: &Path) -> Option<PathBuf> {
    // A name becomes a path only as what it is.
    if registry.is_empty() || registry.contains('/') || registry.starts_with('.') {
        return None;
    }
    let home = environment.config_home().map(|home| home.join("containers/certs.d"));
    let system = SYSTEM.map(|path| root.join("etc").join(path));
    home.into_iter().chain(system).map(|directory| directory.join(registry)).find(|directory| directory.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_directory_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment { home: Some(root.path().join("home")), ..Environment::default() };
        let find = |registry: &str| {
            let found = directory_below(&environment, registry, root.path());
            found.map(|path| path.strip_prefix(root.path()).unwrap().display().to_string())
        };
        assert_eq!(find("r.io:5000"), None);
        for directory in
            ["etc/docker/certs.d/r.io:5000", "etc/containers/certs.d/r.io:5000", "home/.config/containers/certs.d/r.io:5000"]
        {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
            assert_eq!(find("r.io:5000").as_deref(), Some(directory));
        }
        assert_eq!((find(".."), find("a/../r.io:5000"), find("")), (None, None, None));
    }
}
