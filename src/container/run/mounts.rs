//! What a command finds mounted: what `from` was told, what this run asks for, images and subscriptions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use containers_storage::selinux::Labels;
use containers_storage::store::Store;

use super::Error;
use crate::conf::registries::Registries;
use crate::container::find_image::find_one;
use crate::container::mounted::{self, Mounted};
use crate::image::manifest::index::Platform;
use crate::run::mount_args::{MountKind, MountRequest, Source};

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

/// The images that `requests` name, each mounted unchangeable where nobody sees it, with the labels of the container that is to see them.
pub(super) fn images(
    store: &Store,
    registries: &Registries,
    requests: &[MountRequest],
    labels: &Labels,
) -> Result<Vec<(String, Arc<containers_storage::Root>)>, Error> {
    let mut images: Vec<(String, Arc<containers_storage::Root>)> = Vec::new();
    for request in requests {
        let MountKind::Bind(bind) = &request.kind else { continue };
        let Source::Image { name, .. } = &bind.source else { continue };
        if images.iter().any(|(known, _)| known == name) {
            continue;
        }
        let found = find_one(store, registries, name, &Platform::of_this_machine())?;
        let layer = found.image.layer.as_ref().ok_or_else(|| Error::NoLayers(name.clone()))?;
        let image = Mounted::image_for(store, layer, name, mounted::mount_label(labels.clone()))?;
        images.push((name.clone(), Arc::new(image.attached(&mount_point(store)?)?)));
    }
    Ok(images)
}

/// A directory of ours to attach mounts on that only this process sees.
fn mount_point(store: &Store) -> Result<PathBuf, Error> {
    let path = store.conf().graph_root.join("coracle/mnt");
    let made = containers_storage::lock::make_private_dir(&path);
    made.map_err(|source| mounted::Error::Open { path: path.clone(), source })?;
    Ok(path)
}
