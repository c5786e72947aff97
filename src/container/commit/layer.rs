//! The layer of the new image: frozen where it lies, copied, or squashed.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use containers_storage::archive::pack::{self, OnDisk, Output, Times, Tree};
use containers_storage::driver::GraphDriver;
use containers_storage::freeze::{self, InPlace};
use containers_storage::layers::{Compression, Layer};
use containers_storage::lease::{self, Arrival, Gate};
use containers_storage::store::{LayerContent, Store};
use containers_storage::{Digest, LayerId, Root};

use super::document::LayerInfo;
use super::{Afterwards, Clock, Error, LayerPolicy, Options};
use crate::container::{Mounted, WorkingContainer, mounted};

/// How often a container that changes meanwhile is packed before that is an error.
const ATTEMPTS: u32 = 5;

/// The new image's top layer.
pub(super) enum Packed {
    /// The container's own layer, which becomes the image's when it is published. Nobody can mount it while the gate is held.
    InPlace(InPlace, Gate),
    /// A layer of its own.
    Copied(Layer),
}

impl Packed {
    pub(super) fn layer(&self) -> &LayerId {
        match self {
            Self::InPlace(frozen, _) => frozen.layer(),
            Self::Copied(layer) => &layer.id,
        }
    }

    pub(super) fn info(&self) -> LayerInfo {
        match self {
            Self::InPlace(frozen, _) => {
                LayerInfo { digest: frozen.content().diff_digest.clone(), size: frozen.content().diff_size }
            }
            Self::Copied(layer) => LayerInfo {
                // A layer that was just put has both; the empty tar stands in for a store that says otherwise.
                digest: layer.diff_digest.clone().unwrap_or_else(|| Digest::of(&[0; 1024])),
                size: u64::try_from(layer.diff_size).unwrap_or(1024),
            },
        }
    }
}

/// Makes the layer.
pub(super) fn pack(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    note: &mut dyn FnMut(String),
) -> Result<Packed, Error> {
    let driver = store.driver().map_err(|source| Error::Driver { name: container.name(), source })?;
    let times = times(options.documents.clock);
    if options.layer == LayerPolicy::Squash {
        return squash(store, container, times, note).map(Packed::Copied);
    }
    let how = freeze::Options { times, ..freeze::Options::default() };
    let failed = |source| Error::Freeze { name: container.name(), source: Box::new(source) };
    if options.container == Afterwards::Remove {
        if let Some(gate) = exclusive(store, driver, container, note)? {
            let frozen = freeze::in_place(store, driver, container.record(), &how).map_err(failed)?;
            return Ok(Packed::InPlace(frozen, gate));
        }
    } else {
        enter(container, note)?;
    }
    for _ in 1..ATTEMPTS {
        match freeze::copy(store, driver, container.record(), &how) {
            Err(error) if is_vanished_file(&error) => {}
            other => return other.map_err(failed).map(Packed::Copied),
        }
    }
    freeze::copy(store, driver, container.record(), &how).map_err(failed).map(Packed::Copied)
}

/// Whether a file went away while it was packed: a command that runs in the container removes its own.
fn is_vanished_file(error: &freeze::Error) -> bool {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}

fn times(clock: Clock) -> Times {
    match clock {
        Clock::Now | Clock::Epoch(_) => Times::Keep,
        Clock::Timestamp(seconds) => Times::Force(seconds),
        Clock::EpochForFiles(seconds) => Times::Clamp(seconds),
    }
}

fn enter(container: &WorkingContainer, note: &mut dyn FnMut(String)) -> Result<(), Error> {
    mounted::enter(&container.name())?.iter().for_each(|notice| note(notice.to_string()));
    Ok(())
}

/// Enters the namespace, and answers with the gate of the lease if nobody has the container mounted.
fn exclusive(
    store: &Store,
    driver: &dyn GraphDriver,
    container: &WorkingContainer,
    note: &mut dyn FnMut(String),
) -> Result<Option<Gate>, Error> {
    let mount_point = driver.mount_point(container.layer());
    let arrival = lease::arrive(&store.conf().graph_root, container.layer(), &mount_point);
    let arrival = arrival.map_err(|source| mounted::Error::Lease { name: container.name(), source })?;
    enter(container, note)?;
    let Arrival::Free(gate) = arrival else { return Ok(None) };
    let busy = driver.in_use(container.layer()).map_err(|source| Error::Driver { name: container.name(), source })?;
    Ok((!busy).then_some(gate))
}

/// One layer with everything that the container sees.
fn squash(store: &Store, container: &WorkingContainer, times: Times, note: &mut dyn FnMut(String)) -> Result<Layer, Error> {
    let mounted = Mounted::new(store, container)?;
    mounted.notices().iter().for_each(|notice| note(notice.to_string()));
    let store_failed = |source| Error::Store { name: container.name(), source };
    let staged = store.stage_layer().map_err(store_failed)?;
    let mut tar_split = create_private(staged.tar_split())?;
    let tree = Root::open(staged.tree()).map_err(io_failed("opening", staged.tree()))?;
    let how = pack::Options {
        tree: Tree::Merged,
        times,
        on_disk: OnDisk::Untouched,
        owner: None,
        exclude: std::collections::HashSet::new(),
    };
    let output = Output { tar: None, tar_split: Some(&mut tar_split), copy: Some(&tree) };
    let packed = pack::pack(mounted.root(), &how, &mut |_| Ok(false), output)
        .map_err(|source| Error::Squash { name: container.name(), source: Box::new(source) })?;
    let content = LayerContent {
        compressed_digest: packed.diff_digest.clone(),
        compressed_size: packed.diff_size,
        diff_digest: packed.diff_digest,
        diff_size: packed.diff_size,
        compression: Compression::None,
        uids: packed.uids.into_iter().collect(),
        gids: packed.gids.into_iter().collect(),
    };
    store.put_layer(staged, None, &content).map_err(store_failed)
}

fn create_private(path: &Path) -> Result<File, Error> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io_failed("creating", path))
}

pub(super) fn io_failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
