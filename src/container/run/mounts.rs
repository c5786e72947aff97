//! What a command finds mounted: what `from` was told, what this run asks for, images and subscriptions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use containers_storage::Root;
use containers_storage::selinux::Labels;
use containers_storage::store::Store;

use super::{Error, Options, Tree};
use crate::conf::registries::Registries;
use crate::container::WorkingContainer;
use crate::container::find_image::{SCRATCH, find_one};
use crate::container::mounted::{self, Mounted};
use crate::image::manifest::index::Platform;
use crate::run::NamedRoot;
use crate::run::mount_args::MountRequest;

/// The requests of both, with absolute targets; those of this run win.
///
/// # Errors
///
/// This run asks for two mounts at one place.
pub(super) fn requests(kept: &[String], given: &[MountRequest], workdir: &Path) -> Result<Vec<MountRequest>, String> {
    let mut requests = Vec::new();
    for word in kept {
        requests.push(MountRequest::parse_volume(word)?);
    }
    let mut seen: Vec<PathBuf> = Vec::new();
    for request in given {
        let request = request.clone().below(workdir);
        if seen.contains(&request.target) {
            return Err(format!("{}: duplicate mount destination", request.target.display()));
        }
        seen.push(request.target.clone());
        requests.push(request);
    }
    Ok(requests)
}

/// The trees that `requests` name, for reading only. Images are mounted where nobody sees them, with the labels of the container that is to
/// see them.
pub(super) fn roots(
    store: &Store,
    options: &Options,
    requests: &[MountRequest],
    labels: &Labels,
) -> Result<Vec<NamedRoot>, Error> {
    let mut roots: Vec<NamedRoot> = Vec::new();
    for name in requests.iter().filter_map(MountRequest::from) {
        if roots.iter().any(|known| known.name == name) {
            continue;
        }
        let tree = options.named.iter().rev().find(|named| named.name == name).map(|named| &named.tree);
        let (identity, root) = match tree {
            Some(Tree::Directory(root)) => (String::new(), Arc::clone(root)),
            Some(Tree::Image(id)) => image(store, &options.registries, id, labels)?,
            Some(Tree::Container(container)) => stage(store, container)?,
            Some(Tree::Nothing) => nothing(store)?,
            None if name == SCRATCH => nothing(store)?,
            None => image(store, &options.registries, name, labels)?,
        };
        roots.push(NamedRoot { name: name.to_owned(), identity, root });
    }
    Ok(roots)
}

fn image(store: &Store, registries: &Registries, name: &str, labels: &Labels) -> Result<(String, Arc<Root>), Error> {
    let found = find_one(store, registries, name, &Platform::of_this_machine())?;
    let Some(layer) = found.image.layer.as_ref() else { return nothing(store) };
    let image = Mounted::image_for(store, layer, name, mounted::mount_label(labels.clone()))?;
    Ok((layer.to_string(), Arc::new(image.attached(&mount_point(store)?)?)))
}

fn nothing(store: &Store) -> Result<(String, Arc<Root>), Error> {
    let root = Mounted::nothing(store)?.root().try_clone();
    Ok(("nothing".to_owned(), Arc::new(root.map_err(|source| mounted::Error::Open { path: "/".into(), source })?)))
}

fn stage(store: &Store, name: &str) -> Result<(String, Arc<Root>), Error> {
    let container = WorkingContainer::open(store, name)?;
    let mounted = Mounted::read_container(store, &container)?;
    // The layer may still change: no cache that was made of it is taken for that of another build.
    Ok((container.id().to_string(), Arc::new(mounted.attached(&mount_point(store)?)?)))
}

/// A directory of ours to attach mounts on that only this process sees.
fn mount_point(store: &Store) -> Result<PathBuf, Error> {
    let path = store.conf().graph_root.join("coracle/mnt");
    let made = containers_storage::lock::make_private_dir(&path);
    made.map_err(|source| mounted::Error::Open { path: path.clone(), source })?;
    Ok(path)
}
