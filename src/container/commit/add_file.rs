//! `--add-file`: files of the host that the image gets and the container does not.
//!
//! The container is copied to a temporary one, which gets the files and is committed in its place: paths are resolved in the merged
//! file system (a parent may be a link of a lower layer), and the new layer is one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use containers_storage::archive::OverlayXattrs;
use containers_storage::archive::pack::{self, OnDisk, Output, Times, Tree};
use containers_storage::store::{Life, NewContainer, Store};
use containers_storage::{ContainerId, Root};

use super::layer::io_failed;
use super::{Afterwards, Error, Options, Outcome};
use crate::container::add::{self, Appearance, Selection, Source, Verb};
use crate::container::{Mounted, WorkingContainer, mounted, remove};
use crate::userns;

/// Commits a copy of `container` that has the files as well; then removes `container` if it was to be removed.
pub(super) fn commit(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    note: &mut dyn FnMut(String),
) -> Result<Outcome, Error> {
    let copy = copy_record(store, container)?;
    let made = fill_and_commit(store, container, &copy, options, note);
    if made.is_err() {
        // The failure is what the person should hear about; `check --repair` and `prune` collect what this cannot.
        let _ = remove::remove(store, copy.as_str());
    }
    let outcome = made?;
    if options.container == Afterwards::Remove {
        let removed = remove::remove(store, container.id().as_str());
        removed.map_err(|source| Error::Remove { id: outcome.id.clone(), source: Box::new(source) })?;
    }
    Ok(outcome)
}

fn fill_and_commit(
    store: &Store,
    container: &WorkingContainer,
    copy: &ContainerId,
    options: &Options,
    note: &mut dyn FnMut(String),
) -> Result<Outcome, Error> {
    let driver_failed = |source| Error::Driver { name: container.name(), source };
    let driver = store.driver().map_err(driver_failed)?;
    mounted::enter(&container.name())?.iter().for_each(|notice| note(notice.to_string()));
    let copy = WorkingContainer::open(store, copy.as_str())?;
    let from = driver.diff_dir(container.layer()).map_err(driver_failed)?;
    let to = driver.diff_dir(copy.layer()).map_err(driver_failed)?;
    copy_tree(container, &from, &to)?;
    {
        let mounted = Mounted::new(store, &copy)?;
        for (source, path) in &options.add_files {
            add_one(&mounted, container, source, path)?;
        }
    }
    driver.unmount(copy.layer()).map_err(driver_failed)?;
    let options = Options { add_files: Vec::new(), container: Afterwards::Remove, ..options.clone() };
    super::commit(store, copy.id().as_str(), &options, note)
}

/// A container with the same state on the same parent, and an empty layer.
fn copy_record(store: &Store, container: &WorkingContainer) -> Result<ContainerId, Error> {
    let failed = |source| Error::Store { name: container.name(), source };
    let layer = store.layers().and_then(|layers| layers.get(container.layer())).map_err(failed)?;
    let new = NewContainer {
        image: container.record().image.clone(),
        parent: layer.parent,
        life: Life::WithThisProcess,
        ..NewContainer::default()
    };
    let stem = format!("{}-commit", container.name());
    let mut name = |attempt: u32| Some(if attempt == 0 { stem.clone() } else { format!("{stem}-{attempt}") });
    let mut failure = None;
    let mut write = |record: &containers_storage::containers::Container, directory: &Path| {
        let name = record.names.first().map_or("", String::as_str);
        let mut state = container.state().clone().as_of(record.id.as_str(), name);
        state.create(directory).map_err(|error| {
            failure = Some(error);
            std::io::Error::other("the state file could not be written")
        })
    };
    match store.create_container(&new, &mut name, &mut write) {
        Ok(record) => Ok(record.id),
        Err(source) => Err(failure.map_or_else(|| failed(source), Error::State)),
    }
}

fn copy_tree(container: &WorkingContainer, from: &Path, to: &Path) -> Result<(), Error> {
    let marks = if userns::is_rootless() { OverlayXattrs::User } else { OverlayXattrs::Trusted };
    let how = pack::Options {
        tree: Tree::Layer(marks),
        times: Times::Keep,
        on_disk: OnDisk::Untouched,
        owner: None,
        exclude: HashSet::new(),
    };
    let source = Root::open(from).map_err(io_failed("opening", from))?;
    let target = Root::open(to).map_err(io_failed("opening", to))?;
    // Every opaque mark is wanted in the copy; whether the lower directory exists matters for the tar only, which nobody keeps.
    pack::pack(&source, &how, &mut |_| Ok(true), Output { copy: Some(&target), ..Output::default() })
        .map(drop)
        .map_err(|source| Error::Squash { name: container.name(), source: Box::new(source) })
}

fn add_one(mounted: &Mounted, container: &WorkingContainer, source: &Path, path: &Path) -> Result<(), Error> {
    let how = add::Options {
        verb: Verb::Copy,
        source: Source::Host { context: None },
        workdir: PathBuf::from("/"),
        selection: Selection { wildcards: add::Wildcards::Literal, ..Selection::default() },
        appearance: Appearance::default(),
    };
    let added = add::add(mounted.root(), &[source.into()], Some(path), &how);
    added.map(drop).map_err(|error| Error::AddFile { name: container.name(), path: source.to_owned(), source: Box::new(error) })
}
