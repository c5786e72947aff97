//! What a commit does with its image beside making it, for an image of an earlier commit: a signature, a place in a list.

use containers_storage::ImageId;
use containers_storage::store::{self, Store};

use super::manifest_list;
use crate::image::manifest::Document;
use crate::image::{ImageConfig, Manifest, Reference, reference};
use crate::transport;

/// What becomes of the image.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// `--manifest`: the list that it is added to.
    pub list: Option<&'a str>,
    /// `--sign-by`: the name under which it is signed, and the key.
    pub sign: Option<(&'a str, &'a str)>,
}

/// Why the image is not signed, or not listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is none. Scripts look for the words.
    #[error("cannot parse input: {text:?}: {reason}")]
    Name {
        /// What was typed.
        text: String,
        /// Which rule it breaks.
        reason: reference::Error,
    },
    /// It could not be signed.
    #[error("signing the image {id}")]
    Sign {
        /// The image.
        id: ImageId,
        /// Why not.
        source: Box<transport::Error>,
    },
    /// It could not be added to the list.
    #[error("adding the image {id} to its manifest list")]
    List {
        /// The image.
        id: ImageId,
        /// What failed.
        source: Box<manifest_list::Error>,
    },
    /// It could not be read.
    #[error("reading the image {id}")]
    Store {
        /// The image.
        id: ImageId,
        /// What failed.
        source: store::Error,
    },
}

/// Signs the image `id`, and adds it to a list, as far as `options` ask for either.
pub fn adopt(store: &Store, id: &ImageId, options: &Options<'_>) -> Result<(), Error> {
    if let Some((text, key)) = options.sign {
        let name = Reference::for_new_image(text).map_err(|reason| Error::Name { text: text.to_owned(), reason })?;
        let signed = transport::storage::check_key(key).and_then(|()| transport::storage::sign(store, id, &name, key));
        signed.map_err(|source| Error::Sign { id: id.clone(), source: Box::new(source) })?;
    }
    let Some(list) = options.list else { return Ok(()) };
    let (manifest, config) = documents(store, id).map_err(|source| Error::Store { id: id.clone(), source })?;
    // It was made here, or was read before; what cannot be read now is no image.
    let Some(manifest) = manifest else { return Ok(()) };
    let built = manifest_list::Built { id, manifest: &manifest, config: &config };
    let added = manifest_list::add_built(store, list, &built);
    added.map(drop).map_err(|source| Error::List { id: id.clone(), source: Box::new(source) })
}

fn documents(store: &Store, id: &ImageId) -> Result<(Option<Manifest>, ImageConfig), store::Error> {
    let image = store.images()?.get(id)?;
    let manifest = match Document::parse(&store.image_data(&image, "manifest")?, None) {
        Ok(Document::Image(manifest)) => Some(manifest),
        _ => None,
    };
    let config = store.image_data(&image, &format!("sha256:{id}"))?;
    Ok((manifest, ImageConfig::parse(&config).unwrap_or_default()))
}
