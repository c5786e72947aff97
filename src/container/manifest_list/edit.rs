//! `manifest annotate` and `manifest remove`: what a list says of its images, or of itself.

use std::collections::BTreeMap;

use containers_storage::store::Store;
use containers_storage::{Digest, ImageId};

use super::reading::{self, Access};
use super::{Error, Overrides, Stored, change};

/// What is annotated.
#[derive(Debug, Clone)]
pub enum Target<'a> {
    /// An image of the list: a digest, a file of an artifact, or the name of an image.
    Instance(&'a str, &'a Overrides),
    /// The list itself.
    Index {
        /// They take the place of older ones; empty: those stay.
        annotations: &'a BTreeMap<String, String>,
        /// The image or list that it belongs to.
        subject: Option<&'a str>,
    },
}

/// Changes what a list says. Answers with its ID, and with the digest of the image if it is about one.
pub fn annotate(
    store: &Store,
    name: &str,
    target: &Target<'_>,
    access: &Access<'_>,
) -> Result<(ImageId, Option<Digest>), Error> {
    let known = super::find(store, access.registries, name)?;
    match target {
        Target::Instance(operand, overrides) => {
            let digest = instance(store, &known, operand, access)?;
            change(store, access.registries, name, |stored| {
                let entry = stored.list.entry_mut(&digest).ok_or_else(|| Error::NoEntry { digest: digest.clone() })?;
                overrides.apply(entry);
                Ok(Some(digest))
            })
        }
        Target::Index { annotations, subject } => {
            let subject = subject.map(|operand| reading::open(store, operand, access)?.descriptor()).transpose()?;
            change(store, access.registries, name, |stored| {
                if !annotations.is_empty() {
                    stored.list.annotations.clone_from(annotations);
                }
                if let Some(subject) = subject {
                    stored.list.subject = Some(subject);
                }
                Ok(None)
            })
        }
    }
}

/// Takes an image out of a list: a digest, a file of an artifact, or the name of an image. Answers with the list's ID and the digest.
pub fn remove(store: &Store, name: &str, operand: &str, access: &Access<'_>) -> Result<(ImageId, Digest), Error> {
    let known = super::find(store, access.registries, name)?;
    let digest = instance(store, &known, operand, access)?;
    change(store, access.registries, name, |stored| {
        if !stored.list.remove(&digest) {
            return Err(Error::NoEntry { digest: digest.clone() });
        }
        stored.places.remove(digest.as_str());
        stored.artifacts.remove(digest.as_str());
        Ok(digest)
    })
}

/// The digest of the manifest that `operand` means.
fn instance(store: &Store, stored: &Stored, operand: &str, access: &Access<'_>) -> Result<Digest, Error> {
    if let Ok(digest) = operand.parse() {
        return Ok(digest);
    }
    if let Some(digest) = stored.artifacts.by_file(operand) {
        return Ok(digest);
    }
    Ok(reading::open(store, operand, access)?.descriptor()?.digest)
}
