//! Where things are when nobody says (format, sections 1.1 and 1.2).

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Environment, Error};
use crate::private::{self, Unfit};

/// The graph root that nobody configured.
pub(super) fn default_graph_root(environment: &Environment) -> Result<PathBuf, Error> {
    if !environment.is_per_user() {
        return Ok(PathBuf::from("/var/lib/containers/storage"));
    }
    let data = match environment.get("XDG_DATA_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => environment.home()?.join(".local/share"),
    };
    Ok(super::absolute(&data.join("containers/storage")))
}

/// The run root that nobody configured.
pub(super) fn default_run_root(environment: &Environment) -> Result<PathBuf, Error> {
    if !environment.is_per_user() {
        return Ok(PathBuf::from("/run/containers/storage"));
    }
    Ok(runtime_dir(environment)?.join("containers"))
}

/// The user's directory below which the run root is. The one of the environment must be fit; without one, the first of those that
/// are always tried.
fn runtime_dir(environment: &Environment) -> Result<PathBuf, Error> {
    let unfit = |path: &Path| private::unfit(path, environment.euid);
    let refused = |path: PathBuf, reason| Err(Error::RunDir { path, reason });
    if let Some(dir) = environment.get("XDG_RUNTIME_DIR") {
        let dir = Path::new(dir);
        return match unfit(dir) {
            Ok(Some(reason)) => refused(dir.to_owned(), reason),
            // What is missing is made, 0700, when it is needed.
            Ok(None) | Err(_) => Ok(super::absolute(dir)),
        };
    }
    let uid = environment.outer_uid();
    let run_user = environment.system.join(format!("run/user/{uid}"));
    if matches!(unfit(&run_user), Ok(None)) {
        return Ok(run_user);
    }
    let temporary = environment.get("TMPDIR").map_or_else(|| environment.system.join("tmp"), PathBuf::from);
    let path = temporary.join(format!("storage-run-{uid}"));
    // Anyone could have made it first, or could make it now: it is looked at when it is there, also as a link of our own.
    let _ = DirBuilder::new().mode(0o700).create(&path);
    match unfit(&path) {
        Ok(Some(reason)) => refused(path, reason),
        Ok(None) => Ok(path),
        Err(_) if path.is_symlink() => refused(path, Unfit::NoDirectory),
        Err(_) => Ok(path),
    }
}

/// The files that could hold the main settings, the user's first; only the first that exists counts.
pub(super) fn main_files(environment: &Environment) -> Vec<PathBuf> {
    let mut files = Vec::with_capacity(3);
    files.extend(user_dir(environment).map(|dir| dir.join("storage.conf")));
    files.push(environment.system.join("etc/containers/storage.conf"));
    files.push(environment.system.join("usr/share/containers/storage.conf"));
    files
}

/// The directories of drop-ins; a file in a later one replaces its namesake in an earlier one.
pub(super) fn drop_in_dirs(environment: &Environment) -> Vec<PathBuf> {
    let uid = environment.outer_uid();
    let mut dirs = Vec::with_capacity(7);
    for base in ["usr/share/containers", "etc/containers"] {
        let base = environment.system.join(base);
        dirs.push(base.join("storage.conf.d"));
        if uid == 0 {
            dirs.push(base.join("storage.rootful.conf.d"));
        } else {
            dirs.push(base.join("storage.rootless.conf.d"));
            dirs.push(base.join(format!("storage.rootless.conf.d/{uid}")));
        }
    }
    dirs.extend(user_dir(environment).map(|dir| dir.join("storage.conf.d")));
    dirs
}

/// Whether a file is one of the system's, written for every user.
pub(super) fn is_system_file(environment: &Environment, path: &Path) -> bool {
    path.starts_with(environment.system.join("etc")) || path.starts_with(environment.system.join("usr"))
}

fn user_dir(environment: &Environment) -> Option<PathBuf> {
    let config = match environment.get("XDG_CONFIG_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => environment.home().ok()?.join(".config"),
    };
    Some(config.join("containers"))
}
