//! `commit` to another place than the store: the image is made in the store, without a name, pushed, and taken away again.
//!
//! Invariant: whether the push succeeds or not, the store has no image more afterwards; one that a process leaves which is killed in
//! between is known as such (`NewImage::passing`), and goes with `check --repair` or `prune`. The container is removed only after the image is at its place.

use containers_storage::store::Store;

use super::{Afterwards, Error, Options, Outcome, commit};
use crate::container::{WorkingContainer, push, remove};
use crate::transport::Progress;

/// Where the image goes, and how.
pub struct Export<'a> {
    /// How it is pushed; the image is filled in.
    pub push: push::Options<'a>,
    /// Told what is happening, from several threads.
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// Makes an image of the container `name` at another place. `note` is given lines for the person.
pub fn export(
    store: &Store,
    name: &str,
    options: &Options,
    export: Export<'_>,
    note: &mut dyn FnMut(String),
) -> Result<Outcome, Error> {
    let failed = |source| Error::Store { name: name.to_owned(), source };
    let unnamed = Options { destination: None, container: Afterwards::Keep, passing: true, sign_by: None, ..options.clone() };
    let mut outcome = commit(store, name, &unnamed, note)?;

    let image = outcome.id.to_string();
    let pushed = push::push(store, &push::Options { image: &image, ..export.push }, export.progress);
    // The same image may have been there before, made from an equal container: that one stays.
    store.release_image(&outcome.id).and_then(|mut deleted| deleted.finish()).map_err(failed)?;
    let pushed = pushed.map_err(|source| Error::Export { name: name.to_owned(), source: Box::new(source) })?;
    if options.container == Afterwards::Remove {
        let id = WorkingContainer::open(store, name)?.id().to_string();
        let removed = remove::remove(store, &id);
        removed.map_err(|source| Error::Remove { id: outcome.id.clone(), source: Box::new(source) })?;
    }
    outcome.warnings.extend(pushed.warnings);
    if let Some(manifest) = pushed.manifest {
        (outcome.digest, outcome.manifest_size, outcome.media_type) = (manifest.digest, manifest.size, manifest.media_type);
    }
    Ok(outcome)
}
