//! `AppendedLinkedLayers`: trees beside the container that the next commits add as layers of their own (`copy --link`).
//!
//! ```text
//! userdata/buildah.json   "AppendedLinkedLayers": [{"History": {…}, "BlobPath": "<userdata>/linked-<random>"}]
//! userdata/linked-…       the tree: what the layer will hold, and the directories that lead to it
//! ```
//!
//! Newer Buildah versions read and write the same member (theirs are called `link-stage-…`); older ones drop it.
//!
//! Invariant: a tree is complete before the state names it, and is moved in under the container's lock. So a tree of ours that no
//! entry names is what a killed process left, and goes with the next one that is moved in.

use std::io;
use std::path::{Path, PathBuf};

use containers_storage::store::{self, Store};
use containers_storage::temp_dir::TempDir;
use containers_storage::{ContainerId, Root};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::file;
use super::{Error, Members, WorkingContainer};
use crate::image::config::History;

/// Name of the member.
pub(super) const MEMBER: &str = "AppendedLinkedLayers";
/// What comes before the random part of a tree's name.
const PREFIX: &str = "linked-";

/// One layer to come.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkedLayer {
    /// Its entry in the history.
    pub history: History,
    /// The directory with its content.
    pub tree: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored<'a> {
    #[serde(borrow)]
    history: &'a RawValue,
    blob_path: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ToStore<'a> {
    history: Box<RawValue>,
    blob_path: &'a Path,
}

/// Reads the member. Entries without content say only something for the history, and Buildah writes none.
pub(super) fn read(member: Option<&RawValue>, path: &Path) -> Result<Vec<LinkedLayer>, Error> {
    let Some(member) = member else { return Ok(Vec::new()) };
    let damaged = |source| Error::Damaged { path: path.to_owned(), source };
    let stored: Vec<Stored<'_>> = serde_json::from_str(member.get()).map_err(damaged)?;
    stored
        .into_iter()
        .map(|stored| {
            let history = file::one_entry(stored.history, path)?;
            Ok(LinkedLayer { history, tree: stored.blob_path })
        })
        .collect()
}

/// Writes the member; one that was never there is not made for nothing.
pub(super) fn write(members: &mut Members, layers: &[LinkedLayer]) -> serde_json::Result<()> {
    if layers.is_empty() {
        members.remove(MEMBER);
        return Ok(());
    }
    let list = layers
        .iter()
        .map(|layer| Ok(ToStore { history: file::entry_member(&layer.history)?, blob_path: &layer.tree }))
        .collect::<serde_json::Result<Vec<_>>>()?;
    members.set(MEMBER, &list)
}

/// A tree that is being put together where no commit finds it. Dropped, it is deleted.
#[derive(Debug)]
pub struct StagedTree {
    // Holds the tree's lock, so that nobody collects it.
    _temporary: TempDir,
    path: PathBuf,
    root: Root,
}

impl StagedTree {
    /// An empty tree.
    pub fn create(store: &Store, name: &str) -> Result<Self, Error> {
        let failed = |source: store::Error| Error::Store { name: name.to_owned(), source };
        let temporary = store.stage_beside_containers().map_err(failed)?;
        let path = temporary.path().join("tree");
        let opened = std::fs::create_dir(&path).and_then(|()| Root::open(&path));
        let root = opened.map_err(|source| Error::File { action: "creating", path: path.clone(), source })?;
        Ok(Self { _temporary: temporary, path, root })
    }

    /// The tree's root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it the last linked layer of the container, which `edit` has locked.
    pub fn attach(self, container: &mut WorkingContainer, history: History) -> Result<(), Error> {
        let directory = container.directory().to_owned();
        collect(container).map_err(|source| Error::File { action: "clearing up", path: directory.clone(), source })?;
        let tree = directory.join(format!("{PREFIX}{}", ContainerId::random().short()));
        let moved = std::fs::rename(&self.path, &tree);
        moved.map_err(|source| Error::File { action: "creating", path: tree.clone(), source })?;
        container.state_mut().linked.push(LinkedLayer { history, tree });
        Ok(())
    }
}

/// Deletes the trees of ours that the state does not name: those of processes that were killed in `attach`.
fn collect(container: &WorkingContainer) -> io::Result<()> {
    let root = Root::open(container.directory())?;
    for entry in root.read_dir(Path::new("."))? {
        let path = container.directory().join(&entry.name);
        let named = container.state().linked.iter().any(|layer| layer.tree == path);
        if entry.name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && !named {
            root.remove_all(Path::new(&entry.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &str) -> Result<Vec<LinkedLayer>, Error> {
        let members = Members::parse(format!("{{\"{MEMBER}\":{text}}}").as_bytes()).unwrap();
        read(members.raw(MEMBER), Path::new("buildah.json"))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"[{"History":{"created":"2026-01-02T03:04:05Z","created_by":"COPY --link x","comment":"c"},"BlobPath":"/u/link-stage-1"}]"#;
        let layers = member(text).unwrap();
        assert_eq!(
            (layers[0].history.created_by.as_str(), layers[0].tree.as_path()),
            ("COPY --link x", Path::new("/u/link-stage-1"))
        );
        let mut members = Members::default();
        write(&mut members, &layers).unwrap();
        assert_eq!(members.raw(MEMBER).unwrap().get(), text);
        write(&mut members, &[]).unwrap();
        assert_eq!(members.to_bytes().unwrap(), b"{}");
    }

    #[test]
    fn a_member_of_another_kind_is_damage() {
        assert_eq!(member("null").unwrap(), []);
        for text in ["{}", "[1]", "[{}]", r#"[{"History":7,"BlobPath":"x"}]"#] {
            assert!(member(text).is_err(), "{text}");
        }
    }
}
