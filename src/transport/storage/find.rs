//! From the text after `containers-storage:` to an image. Short names are completed with `localhost` and Docker Hub only: registries.conf
//! is for names without a transport.

use containers_storage::images::Image;
use containers_storage::store::{self, Store};

use crate::image::{Location, Reference};
use crate::transport::Error;

/// The image of that ID, name, or unique prefix of an ID. `NAME@ID` is the image with that ID.
pub(super) fn find(store: &Store, text: &str, location: &Location) -> Result<Image, Error> {
    let failed = |source| Error::Store { place: location.to_string(), source };
    let found = search(store, text).map_err(failed)?;
    found.ok_or_else(|| Error::NoImage { place: location.to_string(), reason: "image not known".to_owned() })
}

fn search(store: &Store, text: &str) -> Result<Option<Image>, store::Error> {
    let images = store.images()?;
    let id = text.strip_prefix("sha256:").unwrap_or(text).rsplit('@').next().unwrap_or(text);
    if let Ok(id) = id.parse() {
        return images.find(&id);
    }
    for name in [Reference::for_new_image(text), Reference::normalized(text)].into_iter().flatten() {
        if let Some(image) = images.by_name(&name.to_string())? {
            return Ok(Some(image));
        }
    }
    let is_prefix = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_prefix { images.by_prefix(text) } else { Ok(None) }
}
