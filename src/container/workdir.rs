//! `WORKDIR` in a build: the directory that the container's settings name is made, as the user that they name.

use std::path::{Path, PathBuf};

use containers_storage::store::Store;
use rustix::fs::FileType;

use super::run::volumes;
use super::{Mounted, WorkingContainer, mounted, state};
use crate::run::users;

/// Why a directory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// It could not be mounted.
    #[error("{0}")]
    Mount(#[from] mounted::Error),
    /// Its user is unknown.
    #[error("{0}")]
    User(#[from] users::Error),
    /// The directory could not be looked at or made.
    #[error("creating directory {path:?}")]
    Directory {
        /// The path inside the container.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
}

/// What was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Present,
    /// Directories were made.
    Made,
}

/// Makes the working directory of the container `name`, and what is missing above it: 0755, the container's user's. `note` is given lines
/// for the person.
pub fn make(store: &Store, name: &str, note: &mut dyn FnMut(String)) -> Result<Outcome, Error> {
    let container = WorkingContainer::open(store, name)?;
    let settings = &container.state().draft.config.config;
    let path = Path::new("/").join(&settings.working_dir);
    let mounted = Mounted::new(store, &container)?;
    mounted.notices().iter().for_each(|notice| note(notice.to_string()));
    let failed = |source| Error::Directory { path: path.clone(), source };
    let real = volumes::real_path(mounted.root(), &path).map_err(failed)?;
    match mounted.root().metadata(&real) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Ok(Outcome::Present),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let user = users::resolve(mounted.root(), &settings.user, &[])?;
    let owner = match container.shift() {
        Some(maps) => maps.owner_on_disk(user.uid, user.gid).map_err(failed)?,
        None => (user.uid, user.gid),
    };
    volumes::make_directory(mounted.root(), &real, owner).map_err(failed)?;
    Ok(Outcome::Made)
}
