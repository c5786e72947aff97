//! The image that is being written into a layout: what `index.json` will name, and how.

use super::index_json;
use crate::image::location::Selector;
use crate::image::{Location, Manifest};
use crate::transport::{Error, InIndex};

/// An image on its way into a layout.
#[derive(Debug)]
pub(super) struct Named {
    name: Option<String>,
    /// The document that stands for the image, and its media type.
    document: Option<(Vec<u8>, String)>,
}

impl Named {
    /// The image that `selector` names at `location`.
    pub fn new(location: &Location, selector: &Selector) -> Result<Self, Error> {
        let name = match selector {
            Selector::Only => None,
            Selector::Name(name) => Some(name.clone()),
            Selector::Index(_) => {
                return Err(Error::Impossible(format!("{location}: an image is written under a name, not at a place (@)")));
            }
        };
        Ok(Self { name, document: None })
    }

    /// Takes note of a manifest that was written.
    pub fn note_manifest(&mut self, manifest: &Manifest, in_index: InIndex) {
        if in_index == InIndex::Alone {
            self.document = Some((manifest.bytes().to_vec(), manifest.media_type().to_owned()));
        }
    }

    /// Takes note of an index that was written.
    pub fn note_index(&mut self, bytes: &[u8], media_type: &str) {
        self.document = Some((bytes.to_vec(), media_type.to_owned()));
    }

    /// Whether there is something to name.
    pub fn is_written(&self) -> bool {
        self.document.is_some()
    }

    /// `index.json` of `place`, which was `old`, with the image in it.
    pub fn add_to(&self, old: Option<&[u8]>, place: &str) -> Result<Vec<u8>, Error> {
        let wrong = |problem: String| Error::Document { place: place.to_owned(), problem };
        let (document, media_type) = self.document.as_ref().ok_or_else(|| wrong("no manifest was written".to_owned()))?;
        index_json::add(old, media_type, document, self.name.as_deref()).map_err(|error| wrong(error.to_string()))
    }
}
