//! The layer of the new image: frozen where it lies, copied, or squashed.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use containers_storage::archive::pack::{self, OnDisk, Output, Owners, Times, Tree};
use containers_storage::driver::{GraphDriver, Shape};
use containers_storage::freeze::{self, InPlace};
use containers_storage::id_map::IdMaps;
use containers_storage::layers::Layer;
use containers_storage::lease::{self, Arrival, Gate};
use containers_storage::store::{LayerContent, Store};
use containers_storage::{Digest, LayerId, Root};

use super::document::LayerInfo;
use super::{Afterwards, Clock, Error, LayerPolicy, Options, Point, Watch, extra};
use crate::container::{Mounted, WorkingContainer, mounted};
use crate::image::Time;

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

/// Makes the layer. With `--squash` it holds the extra trees as well.
pub(super) fn pack(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    created: &Time,
    note: &mut dyn FnMut(String),
    watch: &mut Watch<'_>,
) -> Result<Packed, Error> {
    if options.layer == LayerPolicy::Squash {
        return squash(store, container, options, created, note).map(Packed::Copied);
    }
    let driver = store.driver().map_err(|source| Error::Driver { name: container.name(), source })?;
    let times = times(options.documents.clock);
    // Also one of ids onto themselves: a layer of an image has none, and that of the container says so.
    let is_mapped = container.id_maps() != IdMaps::default();
    let onto = if is_mapped { top_layer(store, container)? } else { None };
    let mut how = freeze::Options { times, onto, ..freeze::Options::default() };
    let failed = |source| Error::Freeze { name: container.name(), source: Box::new(source) };
    // Layers above it have to be on a layer that is there: they are put on a copy.
    if options.container == Afterwards::Remove && !is_mapped && !extra::any(container, options) {
        if let Some(gate) = exclusive(store, driver, container, note)? {
            match in_place(store, driver, container, &how, watch) {
                Ok(frozen) => return Ok(Packed::InPlace(frozen, gate)),
                // A copy is made of what a mount shows; the container goes after it.
                Err(error) if error.wants_a_mount() => drop(gate),
                Err(error) => return Err(failed(error)),
            }
        }
    } else {
        enter(store, container, note)?;
    }
    how.owner = match owners(container) {
        // A mount program shows other owners than there are on disk, and writes those inside.
        Owners::Inside(_) if driver.is_served() => Owners::AsOnDisk,
        shown => shown,
    };
    watch.reached(Point::Sealed);
    for _ in 1..ATTEMPTS {
        match freeze::copy(store, driver, container.record(), &how) {
            Err(error) if is_vanished_file(&error) => {}
            other => return other.map_err(failed).map(Packed::Copied),
        }
    }
    freeze::copy(store, driver, container.record(), &how).map_err(failed).map(Packed::Copied)
}

/// Freezes the layer where it lies.
fn in_place(
    store: &Store,
    driver: &dyn GraphDriver,
    container: &WorkingContainer,
    how: &freeze::Options,
    watch: &mut Watch<'_>,
) -> Result<InPlace, freeze::Error> {
    let sealed = freeze::seal(store, driver, container.record(), how)?;
    if watch.is_somebody() {
        sealed.settle_times(how)?;
        watch.reached(Point::Sealed);
    }
    sealed.pack(store, driver, how)
}

/// Who owns what is packed: those inside. To be asked when the process is where the files are.
fn owners(container: &WorkingContainer) -> Owners {
    // Whoever is not root could enter no namespace: all files are the caller's, who stands for root.
    let plain = if rustix::process::geteuid().is_root() { Owners::AsOnDisk } else { Owners::One(0, 0) };
    container.shift().map_or(plain, Owners::Inside)
}

/// The image's own top layer: below the container is a copy of it with other owners.
pub(super) fn top_layer(store: &Store, container: &WorkingContainer) -> Result<Option<LayerId>, Error> {
    let Some(image) = &container.record().image else { return Ok(None) };
    let failed = |source| Error::Store { name: container.name(), source };
    let image = store.images().map_err(failed)?.get(image).map_err(failed)?;
    Ok(image.layer)
}

/// Whether a file went away while it was packed: a command that runs in the container removes its own.
fn is_vanished_file(error: &freeze::Error) -> bool {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}

pub(super) fn times(clock: Clock) -> Times {
    match clock {
        Clock::Now | Clock::Epoch(_) => Times::Keep,
        Clock::Timestamp(seconds) => Times::Force(seconds),
        Clock::EpochForFiles(seconds) => Times::Clamp(seconds),
    }
}

fn enter(store: &Store, container: &WorkingContainer, note: &mut dyn FnMut(String)) -> Result<(), Error> {
    mounted::enter_files(store, &container.name())?.iter().for_each(|notice| note(notice.to_string()));
    Ok(())
}

/// Enters the namespace, and answers with the gate of the lease if nobody has the container mounted, and its layer can become an
/// image's where it lies.
fn exclusive(
    store: &Store,
    driver: &dyn GraphDriver,
    container: &WorkingContainer,
    note: &mut dyn FnMut(String),
) -> Result<Option<Gate>, Error> {
    // An earlier verb of this process may have mounted it.
    mounted::release(store, container)?;
    let mount_point = driver.mount_point(container.layer());
    let arrival = lease::arrive(&store.conf().graph_root, container.layer(), &mount_point);
    let arrival = arrival.map_err(|source| mounted::Error::Lease { name: container.name(), source })?;
    enter(store, container, note)?;
    let Arrival::Free(gate) = arrival else { return Ok(None) };
    // Without a user namespace what lies on disk is the caller's own, and no image's.
    if !driver.can_move_to_images() || !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    if driver.shape() == Shape::Trees {
        // No probe tells who uses a plain directory: whoever said `mount` may.
        let counts = store.mount_counts().map_err(|source| Error::Store { name: container.name(), source })?;
        return Ok((!counts.contains_key(container.layer())).then_some(gate));
    }
    if driver.is_served() && !gate.sessions().is_empty() {
        // The mount of a verb that was killed: what it holds back may still come.
        return Ok(None);
    }
    let busy = driver.in_use(container.layer()).map_err(|source| Error::Driver { name: container.name(), source })?;
    Ok((!busy).then_some(gate))
}

/// One layer with everything that the container sees, and the extra trees over it.
fn squash(
    store: &Store,
    container: &WorkingContainer,
    options: &Options,
    created: &Time,
    note: &mut dyn FnMut(String),
) -> Result<Layer, Error> {
    let mounted = Mounted::new(store, container)?;
    mounted.notices().iter().for_each(|notice| note(notice.to_string()));
    let times = times(options.documents.clock);
    let merged = || mounted.root().try_clone().map_err(io_failed("opening", mounted.path()));
    let extras = extra::stage(store, container, options, created, &merged)?;
    let store_failed = |source| Error::Store { name: container.name(), source };
    let staged = store.stage_layer().map_err(store_failed)?;
    let mut tar_split = create_private(staged.tar_split())?;
    let tree = Root::open(staged.tree()).map_err(io_failed("opening", staged.tree()))?;
    let packed = if extras.is_empty() {
        let output = Output { tar_split: Some(&mut tar_split), copy: Some(&tree), tar: None, ownership: store.ownership() };
        pack_merged(container, mounted.root(), owners(container), times, output)?
    } else {
        let output = Output { copy: Some(&tree), ownership: store.ownership(), ..Output::default() };
        pack_merged(container, mounted.root(), owners(container), times, output)?;
        extra::lay_over(&tree, &extras, times)?;
        // The copy has the ids inside.
        let output = Output { tar_split: Some(&mut tar_split), ..Output::default() };
        pack_merged(container, &tree, Owners::AsOnDisk, times, output)?
    };
    let (uids, gids) = (packed.uids.into_iter().collect(), packed.gids.into_iter().collect());
    let content = LayerContent::of_tar(packed.diff_digest, packed.diff_size, uids, gids);
    store.put_layer(staged, None, &content).map_err(store_failed)
}

fn pack_merged(
    container: &WorkingContainer,
    root: &Root,
    owner: Owners,
    times: Times,
    output: Output<'_>,
) -> Result<pack::Outcome, Error> {
    let how = pack::Options {
        tree: Tree::Merged,
        times,
        on_disk: OnDisk::Untouched,
        owner,
        exclude: std::collections::HashSet::new(),
    };
    pack::pack(root, &how, &mut |_| Ok(false), output)
        .map_err(|source| Error::Squash { name: container.name(), source: Box::new(source) })
}

pub(super) fn create_private(path: &Path) -> Result<File, Error> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io_failed("creating", path))
}

pub(super) fn io_failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
