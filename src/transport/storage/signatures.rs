//! Signatures in a store: `signature-<hex>` for each manifest, one after the other, and their lengths in the record's metadata.
//! `signatures` is the same for the image's own manifest, as older tools look for it (format, section 3.5).

use std::collections::BTreeMap;

use containers_storage::images::Image;
use containers_storage::store::{NewImage, Store};
use containers_storage::{Digest, ImageId};
use serde::{Deserialize, Serialize};

use crate::golang::json;
use crate::image::Reference;
use crate::image::signature::MAX_COUNT;
use crate::transport::{Error, trust};

const ALL: &str = "signatures";

/// What the metadata says of signatures.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Metadata {
    #[serde(rename = "signature-sizes", skip_serializing_if = "Option::is_none")]
    sizes: Option<Vec<usize>>,
    #[serde(rename = "signatures-sizes", skip_serializing_if = "Option::is_none")]
    by_manifest: Option<BTreeMap<Digest, Vec<usize>>>,
}

/// The big data with the signatures of a manifest.
fn key(manifest: &Digest) -> String {
    format!("signature-{}", manifest.hex())
}

/// The signatures of the manifest of an image.
pub(super) fn read(store: &Store, image: &Image, manifest: Option<&Digest>) -> Result<Vec<Vec<u8>>, Error> {
    let wrong = |problem: String| Error::BadSignatures { place: format!("image {} of the store", image.id), problem };
    if image.metadata.is_empty() {
        return Ok(Vec::new());
    }
    let metadata: Metadata = serde_json::from_str(&image.metadata).map_err(|error| wrong(error.to_string()))?;
    let listed = manifest.and_then(|digest| Some((key(digest), metadata.by_manifest.as_ref()?.get(digest)?.clone())));
    // The record of an image that came by an index has the index's digest.
    let has = |digest: &Digest| image.big_data_names.contains(&format!("manifest-{digest}"));
    let own = manifest.is_none_or(|digest| image.digest.as_ref() == Some(digest) || has(digest));
    let older = || own.then(|| Some((ALL.to_owned(), metadata.sizes.clone()?))).flatten();
    let Some((key, sizes)) = listed.or_else(older).filter(|(_, sizes)| !sizes.is_empty()) else { return Ok(Vec::new()) };
    if sizes.len() > MAX_COUNT {
        return Err(wrong(format!("there are {} (limit {MAX_COUNT})", sizes.len())));
    }
    let bytes = store.image_data(image, &key);
    let bytes = bytes.map_err(|source| Error::Store { place: format!("image {} of the store", image.id), source })?;
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    for size in sizes {
        let one = rest.split_at_checked(size).ok_or_else(|| wrong(format!("{key} is too short")))?;
        found.push(one.0.to_vec());
        rest = one.1;
    }
    if rest.is_empty() { Ok(found) } else { Err(wrong(format!("{key} is too long"))) }
}

/// Signs the manifest of an image of the store under the name `name` with the key `key` of gpg. The signatures that it has stay.
pub fn sign(store: &Store, id: &ImageId, name: &Reference, key: &str) -> Result<(), Error> {
    let failed = |source| Error::Store { place: format!("image {id} of the store"), source };
    let image = store.images().and_then(|images| images.get(id)).map_err(failed)?;
    let manifest = store.image_data(&image, "manifest").map_err(failed)?;
    let digest = Digest::of(&manifest);
    let mut all = read(store, &image, Some(&digest))?;
    all.push(trust::new_signature(&digest, name, key)?);
    let (metadata, big_data) = write(&digest, &all);
    let (layer, created) = (image.layer, image.created);
    let new =
        NewImage { id: image.id, digest, layer, names: Vec::new(), metadata, created, big_data, passing: false, holder: None };
    store.put_image(&new).map(drop).map_err(failed)
}

/// Whether there is such a key to sign with: asked before work is done for an image that is not to be without a signature.
pub fn check_key(key: &str) -> Result<(), Error> {
    trust::check_key(key)
}

/// Signs the manifest of an image that is still to be put into the store, under the name `name` with the key `key` of gpg. Signatures that an
/// equal image in the store has stay.
pub fn sign_new(store: &Store, image: &mut NewImage, name: &Reference, key: &str) -> Result<(), Error> {
    let failed = |source| Error::Store { place: format!("image {} of the store", image.id), source };
    let known = store.images().and_then(|images| images.find(&image.id)).map_err(failed)?;
    let mut all = known.map_or(Ok(Vec::new()), |known| read(store, &known, Some(&image.digest)))?;
    all.push(trust::new_signature(&image.digest, name, key)?);
    let (metadata, big_data) = write(&image.digest, &all);
    image.metadata = metadata;
    image.big_data.extend(big_data);
    Ok(())
}

/// The metadata and the big data of an image with these signatures of its manifest.
pub(super) fn write(manifest: &Digest, signatures: &[Vec<u8>]) -> (String, Vec<(String, Vec<u8>)>) {
    if signatures.is_empty() {
        return ("{}".to_owned(), Vec::new());
    }
    let sizes: Vec<usize> = signatures.iter().map(Vec::len).collect();
    let metadata = Metadata { sizes: Some(sizes.clone()), by_manifest: Some(BTreeMap::from([(manifest.clone(), sizes)])) };
    let bytes = signatures.concat();
    let text = json::to_vec(&metadata).map(|text| String::from_utf8_lossy(&text).into_owned());
    (text.unwrap_or_else(|_| "{}".to_owned()), vec![(ALL.to_owned(), bytes.clone()), (key(manifest), bytes)])
}
