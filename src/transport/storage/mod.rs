//! `containers-storage:`: images of the store in use, or of another one that is named in brackets.
//!
//! ```text
//! read    documents: big data of the image    layers: the blob that was kept, else the tar made again through tar-split
//! write   blob → digest → inflate → diff digest → files in a temporary directory; then layers, image and name
//! ```

mod destination;
mod find;
mod remembered;
mod signatures;
mod source;

use std::path::Path;

use containers_storage::conf::{Conf, DriverKind};
use containers_storage::images::Image;
use containers_storage::store::Store;

pub(super) use self::destination::StoreDestination;
pub use self::signatures::{check_key, sign, sign_new};
pub use self::source::StoreSource;
use super::{Error, Means};
use crate::image::Location;
use crate::image::location::StoreSpec;

/// The store in use, or one that was opened for a name in brackets.
pub(super) enum Handle<'s> {
    InUse(&'s Store),
    Other(Box<Store>),
}

impl std::ops::Deref for Handle<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        match self {
            Self::InUse(store) => store,
            Self::Other(store) => store,
        }
    }
}

/// The store that `spec` means; what it does not say is as in the store in use.
fn open<'s>(spec: Option<&StoreSpec>, in_use: &'s Store, location: &Location) -> Result<Handle<'s>, Error> {
    let Some(spec) = spec else { return Ok(Handle::InUse(in_use)) };
    let mut conf: Conf = in_use.conf().clone();
    if let Some(driver) = &spec.driver {
        conf.driver = match driver.as_str() {
            "overlay" | "overlay2" => DriverKind::Overlay,
            "vfs" => DriverKind::Vfs,
            _ => {
                return Err(Error::Impossible(format!(
                    "{location}: the driver {driver:?} is not supported: overlay and vfs are"
                )));
            }
        };
    }
    if let Some(option) = spec.options.first() {
        return Err(Error::Impossible(format!("{location}: the option {option:?} is not supported here: use storage.conf")));
    }
    if let Some(root) = &spec.graph_root {
        if !root.exists() && spec.run_root.is_none() {
            return Err(Error::NoImage { place: location.to_string(), reason: "there is no such store".to_owned() });
        }
        conf.graph_root.clone_from(root);
        conf.image_store = None;
        conf.additional_image_stores.clear();
    }
    if let Some(root) = &spec.run_root {
        conf.run_root.clone_from(root);
    }
    let store = Store::open(conf).map_err(|source| Error::Store { place: location.to_string(), source })?;
    Ok(Handle::Other(Box::new(store)))
}

/// Opens an image of a store by ID or name.
pub(super) fn open_source<'s>(location: &Location, in_use: &'s Store) -> Result<StoreSource<'s>, Error> {
    let Location::Storage(name) = location else {
        return Err(Error::ReadUnsupported { location: location.to_string() });
    };
    let store = open(name.store.as_ref(), in_use, location)?;
    let image: Image = find::find(&store, &name.name, location)?;
    Ok(StoreSource::new(store, image, location.clone()))
}

/// Opens a store for a new image.
pub(super) fn open_destination<'s>(location: &Location, means: Means<'s>) -> Result<StoreDestination<'s>, Error> {
    let Location::Storage(name) = location else {
        return Err(Error::WriteUnsupported { location: location.to_string() });
    };
    let store = open(name.store.as_ref(), means.store, location)?;
    StoreDestination::new(store, name, location, means.network.layers_at_once())
}

/// `[driver@graphroot]` and the shorter forms, as scopes of policy.json have them.
fn scope_prefixes(driver: DriverKind, graph_root: &Path) -> [String; 2] {
    let root = graph_root.display();
    [format!("[{}@{root}]", driver.name()), format!("[{root}]")]
}
