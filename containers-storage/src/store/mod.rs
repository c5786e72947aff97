//! A store: read snapshots of its tables, and the operations that change it. Each operation is safe against a kill at any
//! point (format, section 8).
//!
//! ```text
//! mod      Store: reading               tables    the tables under their exclusive locks
//! paths    where everything lies
//! layer    stage, put                   pending   notes of what is half done, and their recovery
//! container, image                      trash     what was taken out and waits for deletion
//! blobs    compressed layers, for push
//!                                       unclaimed layers that no image names yet
//! mount_points   mounts that stay        reserve   room for deletions on a full disk
//! stacks   what lists ask about layers   memo      files that only save time
//! ```
//!
//! Invariant: what a record names exists before the record is visible, and is removed after it. What may be left over in between is
//! written down first (`pending`).

mod blobs;
mod container;
mod error;
mod image;
mod layer;
mod mapped;
mod memo;
mod mount_points;
mod paths;
mod pending;
mod reserve;
mod stacks;
mod tables;
mod trash;
mod unclaimed;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use rustix::fs::{Access as Permission, AtFlags, CWD};

pub use self::container::NewContainer;
pub use self::error::Error;
pub(crate) use self::image::stand_upon;
pub use self::image::{NameChange, NewImage};
pub use self::layer::StagedLayer;
pub use self::memo::Memo;
pub(crate) use self::pending::{Note, Noted};
pub use self::tables::{AllMut, ContainersMut, ImagesMut, LayersMut};
pub use self::trash::Deleted;
pub(crate) use self::{trash::Trash, unclaimed::unused};
pub use crate::layers::LayerContent;

use crate::ImageId;
use crate::conf::Conf;
use crate::containers::{Container, Containers};
use crate::driver::{self, GraphDriver};
use crate::images::{Image, Images, big_data_file};
use crate::layers::Layers;
use crate::lock::{Access, Lock, Rank, make_private_dir};
use crate::private::{self, Unfit};
use crate::table::cache::Cache;
use crate::table::records::{Origin, Records};

/// Big data beyond this is refused: manifests and configs have some kilobytes.
const MAX_BIG_DATA: u64 = 64 << 20;

const STABLE_LAYERS: &[&str] = &["layers.json"];

/// Tables of layers in one directory, under one lock.
struct TablesOf {
    dir: PathBuf,
    names: &'static [&'static str],
    origin: Origin,
}

impl TablesOf {
    fn lock_path(&self) -> PathBuf {
        self.dir.join("layers.lock")
    }

    /// The lock that the tables of a read-only store are read under; those of this store are locked together.
    fn lock_if_additional(&self) -> Result<Option<std::fs::File>, Error> {
        match self.origin {
            Origin::Additional => Ok(Lock::acquire_additional(&self.lock_path())?),
            _ => Ok(None),
        }
    }
}

/// An open store. Cheap to open: nothing is read or made until it is needed.
#[derive(Debug)]
pub struct Store {
    conf: Conf,
    driver: OnceLock<Box<dyn GraphDriver>>,
    tables: Arc<Cache>,
    /// Whether this process gave up the reserve: it makes no other.
    reserve_spent: AtomicBool,
}

impl Store {
    /// Opens the store. Makes the graph root (0700) if it is missing; refuses one that others own or may write (known attacks,
    /// invariant 11), and a run root that they do. An empty directory of ours, such as a fresh volume, is made private instead.
    pub fn open(conf: Conf) -> Result<Self, Error> {
        claim_root(&conf.graph_root, &conf)?;
        if let Some(images) = &conf.image_store {
            claim_root(images, &conf)?;
        }
        if let Ok(Some(reason)) = private::unfit(&conf.run_root, rustix::process::geteuid().as_raw()) {
            return Err(Error::NotPrivate { what: "run root", path: conf.run_root, reason });
        }
        log::debug!(
            "store: graph root {}, run root {}, driver {} ({})",
            conf.graph_root.display(),
            conf.run_root.display(),
            conf.driver.name(),
            if conf.driver_is_explicit { "named" } else { "found or usual" }
        );
        Ok(Self { conf, driver: OnceLock::new(), tables: Arc::default(), reserve_spent: AtomicBool::new(false) })
    }

    /// Its settings.
    pub fn conf(&self) -> &Conf {
        &self.conf
    }

    /// Whether this process may not write to the store. Operations that change it fail with `Error::ReadOnly` then.
    pub fn is_read_only(&self) -> bool {
        let refused = |root: &PathBuf| rustix::fs::accessat(CWD, root, Permission::WRITE_OK, AtFlags::EACCESS).is_err();
        refused(&self.conf.graph_root) || self.conf.image_store.as_ref().is_some_and(refused)
    }

    /// The graph driver of the settings, opened when it is first asked for.
    pub fn driver(&self) -> Result<&dyn GraphDriver, driver::Error> {
        if let Some(driver) = self.driver.get() {
            return Ok(driver.as_ref());
        }
        let driver = driver::open(&self.conf)?;
        Ok(self.driver.get_or_init(|| driver).as_ref())
    }

    /// The layers, read now.
    pub fn layers(&self) -> Result<Layers, Error> {
        let _lock = self.lock(Rank::Layers, Access::Shared)?;
        self.load_layers()
    }

    /// The images, read now.
    pub fn images(&self) -> Result<Images, Error> {
        let _lock = self.lock(Rank::Images, Access::Shared)?;
        self.load_images()
    }

    /// The containers, read now.
    pub fn containers(&self) -> Result<Containers, Error> {
        let _lock = self.lock(Rank::Containers, Access::Shared)?;
        self.load_containers()
    }

    /// The images of some moment, read without this store's lock: waits for none of its writers and makes no file. To be shown,
    /// not to be acted upon.
    pub fn peek_images(&self) -> Result<Images, Error> {
        self.load_images()
    }

    /// The containers of some moment, as [`Store::peek_images`].
    pub fn peek_containers(&self) -> Result<Containers, Error> {
        self.load_containers()
    }

    /// The container that `text` stands for: ID, name, layer ID or unique prefix of an ID.
    pub fn container(&self, text: &str) -> Result<Container, Error> {
        self.containers()?.resolve(text)?.ok_or_else(|| Error::UnknownContainer(text.to_owned()))
    }

    /// The bytes stored for an image under `key`. They are checked against the digest in the record, where it has one.
    pub fn image_data(&self, image: &Image, key: &str) -> Result<Vec<u8>, Error> {
        let damaged = match self.image_data_as_recorded(image, key) {
            Err(error @ Error::WrongData { .. }) => error,
            other => return other,
        };
        // The manifest of a list is replaced before its record: what disagrees may be a moment between the two, or after both. A
        // writer of this thread sees its own change in any case.
        let Ok(_lock) = self.lock(Rank::Images, Access::Shared) else { return Err(damaged) };
        let now = self.load_images()?.find(&image.id)?;
        now.map_or(Err(damaged), |now| self.image_data_as_recorded(&now, key))
    }

    fn image_data_as_recorded(&self, image: &Image, key: &str) -> Result<Vec<u8>, Error> {
        let missing = || Error::NoData { image: image.id.clone(), key: key.to_owned() };
        let file = big_data_file(key).ok_or_else(missing)?;
        if !image.big_data_names.iter().any(|name| name == key) {
            return Err(missing());
        }
        let bytes = self.read_image_file(&image.id, &file)?;
        // The digest of a signed schema 1 manifest is over a part of the file; only `sha256:` keys and plain data are comparable.
        let wrong = image.big_data_sizes.get(key).is_some_and(|size| i64::try_from(bytes.len()) != Ok(*size));
        if wrong
            || key
                .parse()
                .is_ok_and(|digest: crate::Digest| digest.algorithm() == "sha256" && crate::Digest::of(&bytes) != digest)
        {
            return Err(Error::WrongData { image: image.id.clone(), key: key.to_owned() });
        }
        Ok(bytes)
    }

    /// The configuration of the image with this ID, without its record. It is checked against the ID.
    pub fn image_config(&self, id: &ImageId) -> Result<Vec<u8>, Error> {
        let key = format!("sha256:{id}");
        let file = big_data_file(&key).ok_or_else(|| Error::NoData { image: id.clone(), key: key.clone() })?;
        let bytes = self.read_image_file(id, &file)?;
        if crate::Digest::of(&bytes).as_str() == key { Ok(bytes) } else { Err(Error::WrongData { image: id.clone(), key }) }
    }

    fn read_image_file(&self, image: &ImageId, file: &str) -> Result<Vec<u8>, Error> {
        let others = self.conf.additional_image_stores.iter().map(|store| self.conf.driver.part(store, "images"));
        let mut last = None;
        for dir in std::iter::once(self.images_dir()).chain(self.images_dir_apart()).chain(others) {
            let path = dir.join(image).join(file);
            match crate::table::read_limited(&path, MAX_BIG_DATA) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => last = Some(Error::io("reading", &path)(error)),
            }
        }
        Err(last.unwrap_or_else(|| Error::NoImage(image.clone())))
    }

    /// Deletes what dead processes left in temporary directories, as far as this process may. Takes no lock of the store.
    pub fn collect_dead(&self) -> Result<crate::temp_dir::Collected, Error> {
        let mut sum = crate::temp_dir::Collected::default();
        for dir in self.all_temp_dirs() {
            let collected = crate::temp_dir::collect_dead(&dir).map_err(Error::io("collecting what was left in", &dir))?;
            sum.removed += collected.removed;
            sum.foreign += collected.foreign;
        }
        Ok(sum)
    }

    fn lock(&self, rank: Rank, access: Access) -> Result<Lock, Error> {
        let lock = Lock::acquire(&self.lock_path(rank), rank, access)?;
        // The order is that of the other tools: of layers the graph root's first, of images the image store's.
        let other = match rank {
            Rank::Layers => self.layers_dir_apart().map(|dir| dir.join("layers.lock")),
            Rank::Images => self.images_dir_apart().map(|dir| dir.join("images.lock")),
            _ => None,
        };
        Ok(match other {
            Some(path) => lock.and(&path)?,
            None => lock,
        })
    }

    /// Every table of layers, in the order in which they count.
    fn tables_of_layers(&self) -> Vec<TablesOf> {
        let tables = |dir, names, origin| TablesOf { dir, names, origin };
        let mut all = vec![tables(self.layers_dir(), STABLE_LAYERS, Origin::Stable)];
        all.extend(self.layers_dir_apart().map(|dir| tables(dir, STABLE_LAYERS, Origin::Apart)));
        // Both are under the lock of the layers; new records go to the first.
        let volatile = self.in_use_first([self.layers_dir(), self.layers_run_dir()]);
        all.extend(volatile.into_iter().map(|dir| tables(dir, &["volatile-layers.json"], Origin::Volatile)));
        let others = self.conf.additional_image_stores.iter().map(|store| self.conf.driver.part(store, "layers"));
        all.extend(others.map(|dir| tables(dir, &["layers.json", "volatile-layers.json"], Origin::Additional)));
        all
    }

    fn load_layers(&self) -> Result<Layers, Error> {
        let mut records = Records::kept_in(&self.tables);
        for tables in self.tables_of_layers() {
            let _lock = tables.lock_if_additional()?;
            for name in tables.names {
                records.add(self.tables.read(&tables.dir.join(name))?, tables.origin);
            }
        }
        Ok(Layers::new(records))
    }

    fn load_images(&self) -> Result<Images, Error> {
        let mut records = Records::kept_in(&self.tables);
        records.add(self.tables.read(&self.images_dir().join("images.json"))?, Origin::Stable);
        if let Some(dir) = self.images_dir_apart() {
            records.add(self.tables.read(&dir.join("images.json"))?, Origin::Apart);
        }
        for store in &self.conf.additional_image_stores {
            let dir = self.conf.driver.part(store, "images");
            let _lock = Lock::acquire_additional(&dir.join("images.lock"))?;
            records.add(self.tables.read(&dir.join("images.json"))?, Origin::Additional);
        }
        Ok(Images::new(records))
    }

    fn load_containers(&self) -> Result<Containers, Error> {
        let mut records = Records::kept_in(&self.tables);
        records.add(self.tables.read(&self.containers_dir().join("containers.json"))?, Origin::Stable);
        let [dir, elsewhere] = self.in_use_first([self.containers_dir(), self.containers_run_dir()]);
        records.add(self.tables.read(&dir.join("volatile-containers.json"))?, Origin::Volatile);
        records.add(self.tables.read(&elsewhere.join("volatile-containers.json"))?, Origin::Elsewhere);
        Ok(Containers::new(records))
    }

    /// The table that images' layers are recorded in.
    pub(crate) fn table_of_image_layers(&self) -> Origin {
        if self.conf.image_store.is_some() { Origin::Apart } else { Origin::Stable }
    }

    /// The table that new containers and their layers are recorded in: where every version of the other tools sees them, unless
    /// they are to end with the next boot.
    fn table_of_containers(&self) -> Origin {
        if self.conf.transient { Origin::Volatile } else { Origin::Stable }
    }
}

/// A root that is this user's alone, made (0700) if it is missing.
fn claim_root(root: &Path, conf: &Conf) -> Result<(), Error> {
    let euid = rustix::process::geteuid();
    let mut unfit = private::unfit(root, euid.as_raw());
    if unfit.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        make_private_dir(root).map_err(Error::io("creating", root))?;
        unfit = private::unfit(root, euid.as_raw());
    }
    match unfit.map_err(Error::io("opening", root))? {
        None if conf.rootless => close_to_others(root),
        None => {}
        // Of root's stores everybody may read; root itself, of the store of whoever asked for help.
        Some(Unfit::Foreign { owner }) if owner == 0 || euid.is_root() => {}
        Some(Unfit::Shared) if make_private_if_empty(root) => {}
        Some(reason) => return Err(Error::NotPrivate { what: "graph root", path: root.to_owned(), reason }),
    }
    Ok(())
}

/// Takes the rights of others away from a graph root that an ordinary user owns (known attack A125): what layers hold, setuid programs
/// too, would be theirs to run. Root may share a store with everybody, as an additional one.
fn close_to_others(root: &Path) {
    if rustix::fs::stat(root).is_ok_and(|stat| stat.st_mode & 0o077 != 0) {
        match rustix::fs::chmod(root, rustix::fs::Mode::RWXU) {
            Ok(()) => log::warn!("other users could enter the graph root {root:?}: its mode is 0700 now"),
            Err(error) => log::warn!("other users may enter the graph root {root:?} (chmod 700): {error}"),
        }
    }
}

/// Whether the directory is empty and could be made 0700.
fn make_private_if_empty(root: &Path) -> bool {
    let empty = std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    empty && rustix::fs::chmod(root, rustix::fs::Mode::RWXU).is_ok()
}
