//! `WORKDIR` and `VOLUME` in a build: the directories that the container's settings name are made, the first as the user that they name.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use containers_storage::store::Store;
use rustix::fs::FileType;

use super::run::volumes;
use super::{Mounted, WorkingContainer, mounted, state};
use crate::copier::names::{self, Names};

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
    User(#[from] names::Error),
    /// A directory could not be looked at or made.
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
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // As with `--chown`, a number alone is the group as well; to the process of RUN it is not.
    let (uid, gid) = match settings.user.as_str() {
        "" => (0, 0),
        user => Names::read(mounted.root())?.owner(user).map(|owner| (owner.uid, owner.gid))?,
    };
    let owner = match container.shift() {
        Some(maps) => maps.owner_on_disk(uid, gid).map_err(failed)?,
        None => (uid, gid),
    };
    volumes::make_directory(mounted.root(), &real, owner).map_err(failed)?;
    Ok(Outcome::Made)
}

/// Makes the directories of the volumes of the container `name` that are missing, and what is missing above them: 0755, root's. What is
/// there stays what it is, also a file. `note` is given lines for the person.
pub fn make_volumes(store: &Store, name: &str, note: &mut dyn FnMut(String)) -> Result<(), Error> {
    let container = WorkingContainer::open(store, name)?;
    let mounted = Mounted::new(store, &container)?;
    mounted.notices().iter().for_each(|notice| note(notice.to_string()));
    for volume in &container.state().draft.config.config.volumes {
        let path = Path::new("/").join(volume);
        let failed = |source| Error::Directory { path: path.clone(), source };
        let owner = container.shift().map_or(Ok((0, 0)), |maps| maps.owner_on_disk(0, 0)).map_err(failed)?;
        let made =
            volumes::real_path(mounted.root(), &path).and_then(|real| volumes::make_directory(mounted.root(), &real, owner));
        match made {
            Err(error) if error.kind() != ErrorKind::NotADirectory => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}
