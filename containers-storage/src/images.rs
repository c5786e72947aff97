//! The table of images: `<driver>-images/images.json`, and each image's big data beside it.
//!
//! Invariant: a name belongs to one image. Big data is stored under a file name made of its key, never under the key itself.

mod listed;

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::Error;
use crate::table::fields;
use crate::table::records::{Origin, Place, Records};
use crate::{Digest, ImageId, LayerId};

pub use self::listed::Listed;

/// The record of one image (format, section 3.4). Members that are not listed here survive in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its ID: the digits of its config's digest.
    pub id: ImageId,
    /// Digest of its manifest.
    #[serde(default, deserialize_with = "fields::optional_digest", skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Normalised references, unique in the store.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Names it ever had, newest first.
    #[serde(default, rename = "names-history", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub names_history: Vec<String>,
    /// The top layer; none for an image without layers.
    #[serde(default, deserialize_with = "fields::optional_id", skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerId>,
    /// Copies of the top layer with other owners.
    #[serde(default, rename = "mapped-layers", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub mapped_layers: Vec<LayerId>,
    /// JSON text of the image library.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// Keys of the big data, in order of storing.
    #[serde(default, rename = "big-data-names", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub big_data_names: Vec<String>,
    /// Length in bytes by key.
    #[serde(
        default,
        rename = "big-data-sizes",
        deserialize_with = "fields::nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub big_data_sizes: BTreeMap<String, i64>,
    /// Digest by key.
    #[serde(
        default,
        rename = "big-data-digests",
        deserialize_with = "fields::digests",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub big_data_digests: BTreeMap<String, Digest>,
    /// When the image was made, RFC 3339.
    #[serde(default, deserialize_with = "fields::nullable")]
    pub created: String,
    /// Free flags.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "Map::is_empty")]
    pub flags: Map<String, Value>,
    /// In a read-only additional store.
    #[serde(skip)]
    pub read_only: bool,
}

impl Image {
    /// Makes `name` its first name, and the newest one in its history.
    pub(crate) fn take_name(&mut self, name: &str) {
        self.names.retain(|other| other != name);
        self.names.insert(0, name.to_owned());
        self.names_history.retain(|other| other != name);
        self.names_history.insert(0, name.to_owned());
    }

    /// Notes big data of `bytes` under `key`.
    pub(crate) fn note_big_data(&mut self, key: &str, bytes: &[u8]) {
        if !self.big_data_names.iter().any(|name| name == key) {
            self.big_data_names.push(key.to_owned());
        }
        self.big_data_sizes.insert(key.to_owned(), i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        self.big_data_digests.insert(key.to_owned(), Digest::of(bytes));
    }

    /// Whether `digest` names this image: as its own, or as that of one of its manifests.
    pub fn has_digest(&self, digest: &Digest) -> bool {
        let mut manifests = self.big_data_digests.iter().filter(|(key, _)| key.starts_with("manifest"));
        self.digest.as_ref() == Some(digest) || manifests.any(|(_, of_manifest)| of_manifest == digest)
    }
}

/// The file name of the big data under `key` (format, section 3.6). `None`: the key cannot be stored.
pub fn big_data_file(key: &str) -> Option<String> {
    let plain = key.bytes().all(|b| b == b'.' || b.is_ascii_digit() || b.is_ascii_lowercase());
    if plain && !matches!(key, "" | "." | "..") {
        return Some(key.to_owned());
    }
    let coded = format!("={}", base64::engine::general_purpose::STANDARD.encode(key));
    (!coded.contains('/') && coded.len() > 1 && coded.len() <= 255).then_some(coded)
}

/// The images as they were when the table was read: this store's first, then those of additional stores.
#[derive(Debug, Default)]
pub struct Images {
    pub(crate) records: Records,
}

impl Images {
    pub(crate) fn new(records: Records) -> Self {
        Self { records }
    }

    /// Every image, in the order of the table.
    pub fn all(&self) -> Result<Vec<Image>, Error> {
        self.records.places().into_iter().map(|place| self.image(place)).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.records.places().len()
    }

    /// The image with this ID.
    pub fn find(&self, id: &ImageId) -> Result<Option<Image>, Error> {
        self.records.find(id.as_str()).map(|place| self.image(place)).transpose()
    }

    /// The image with this ID, which must exist.
    pub fn get(&self, id: &ImageId) -> Result<Image, Error> {
        self.find(id)?.ok_or_else(|| Error::NoImage(id.clone()))
    }

    /// The image that has this normalised name. Should a damaged table have two, the later one, as with the other tools.
    pub fn by_name(&self, name: &str) -> Result<Option<Image>, Error> {
        let has_name = |place: &Place| self.names(*place).iter().any(|other| other == name);
        let mut own = self.records.mentioning(name);
        // Other tables come after this store's in the list, and behind it in rank.
        let rank = |place: &Place| match self.records.origin(*place) {
            Origin::Additional => 0,
            Origin::Apart => 1,
            _ => 2,
        };
        own.sort_by_key(|place| (rank(place), *place));
        own.into_iter().rev().find(has_name).map(|place| self.image(place)).transpose()
    }

    /// Every image with this digest: its own, or that of any of its manifests (format, section 3.4).
    pub fn by_digest(&self, digest: &Digest) -> Result<Vec<Image>, Error> {
        let mut found = Vec::new();
        for place in self.records.mentioning(digest.as_str()) {
            let image = self.image(place)?;
            if image.has_digest(digest) {
                found.push(image);
            }
        }
        Ok(found)
    }

    /// The image whose ID starts with `prefix` (1 to 64 hex digits). Several: `Error::Ambiguous`.
    pub fn by_prefix(&self, prefix: &str) -> Result<Option<Image>, Error> {
        self.records.by_prefix(prefix)?.map(|place| self.image(place)).transpose()
    }

    /// IDs of the images whose top layer, or a mapped copy of it, is `layer`.
    pub(crate) fn users_of(&self, layer: &LayerId) -> Vec<String> {
        let uses = |place: &Place| {
            self.records.member::<&str>(*place, "layer") == Some(layer.as_str())
                || self
                    .records
                    .member::<Vec<String>>(*place, "mapped-layers")
                    .is_some_and(|ids| ids.iter().any(|id| id == layer.as_str()))
        };
        let places = self.records.mentioning(layer.as_str()).into_iter().filter(uses);
        places.map(|place| self.records.id(place).to_owned()).collect()
    }

    /// IDs of the images of this store, other than `except`, that have `name`.
    pub(crate) fn other_owners(&self, name: &str, except: &ImageId) -> Vec<ImageId> {
        let own = self.records.mentioning(name).into_iter().filter(|place| self.records.origin(*place) != Origin::Additional);
        let owners = own.filter(|place| self.names(*place).iter().any(|other| other == name));
        owners.filter_map(|place| self.records.id(place).parse().ok()).filter(|id| id != except).collect()
    }

    pub(crate) fn push(&mut self, image: &Image) -> Result<(), Error> {
        self.records.push(Origin::Stable, image)
    }

    pub(crate) fn update(&mut self, id: &ImageId, edit: impl FnOnce(&mut Image)) -> Result<Image, Error> {
        let place = self.records.find(id.as_str()).ok_or_else(|| Error::NoImage(id.clone()))?;
        if self.records.origin(place) == Origin::Additional {
            return Err(Error::ReadOnlyImage(id.clone()));
        }
        self.records.update(place, edit)
    }

    pub(crate) fn remove(&mut self, id: &ImageId) {
        self.records.remove(id.as_str());
    }

    /// Whether the image's record is in the graph root, where images lie apart from it.
    pub(crate) fn is_apart(&self, id: &ImageId) -> bool {
        self.records.find(id.as_str()).is_some_and(|place| self.records.origin(place) == Origin::Apart)
    }

    fn names(&self, place: Place) -> Vec<String> {
        self.records.member(place, "names").unwrap_or_default()
    }

    fn image(&self, place: Place) -> Result<Image, Error> {
        let mut image: Image = self.records.parse(place)?;
        image.read_only = self.records.origin(place) == Origin::Additional;
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    /// The images of a table with this text.
    pub(super) fn images(text: &str) -> Images {
        let mut records = Records::default();
        records.add(Table::from_bytes(std::path::Path::new("/i.json"), text.as_bytes().to_vec()).unwrap(), Origin::Stable);
        Images::new(records)
    }

    fn id(digit: char) -> ImageId {
        digit.to_string().repeat(64).parse().unwrap()
    }

    #[test]
    fn big_data_file_names() {
        let cases = [
            ("manifest", Some("manifest")),
            ("a.b0", Some("a.b0")),
            ("sha256:c9", Some("=c2hhMjU2OmM5")),
            ("manifest-x", Some("=bWFuaWZlc3QteA==")),
            ("Manifest", Some("=TWFuaWZlc3Q=")),
            ("..", Some("=Li4=")),
            ("", None),
            ("???", None),
        ];
        for (key, file) in cases {
            assert_eq!(big_data_file(key).as_deref(), file, "{key}");
        }
        assert_eq!(big_data_file(&"A".repeat(300)), None);
    }

    #[test]
    fn found_by_name_digest_and_prefix() {
        let (a, b) = (id('a'), id('b'));
        let d = format!("sha256:{}", "d".repeat(64));
        let m = format!("sha256:{}", "e".repeat(64));
        let c = format!("sha256:{}", "f".repeat(64));
        let i = images(&format!(
            r#"[{{"id":"{a}","digest":"{d}","names":["localhost/x:1"],"layer":"","big-data-digests":{{"manifest-1":"{m}","{c}":"{c}"}}}},{{"id":"{b}","names":null}}]"#
        ));
        assert_eq!(i.by_name("localhost/x:1").unwrap().unwrap().id, a);
        assert!(i.by_name("localhost/x").unwrap().is_none());
        let count = |digest: &str| i.by_digest(&digest.parse().unwrap()).unwrap().len();
        assert_eq!((count(&d), count(&m), count(&c)), (1, 1, 0));
        assert_eq!(i.by_prefix("bb").unwrap().unwrap().id, b);
        assert_eq!(i.get(&a).unwrap().layer, None);
    }

    #[test]
    fn names_move_to_the_front_and_history_only_grows() {
        let mut i = images(&format!(r#"[{{"id":"{}","names":["a","b"],"names-history":["a","b","old"]}}]"#, id('a')));
        let image = i.update(&id('a'), |image| image.take_name("b")).unwrap();
        assert_eq!(image.names, ["b", "a"]);
        assert_eq!(image.names_history, ["b", "a", "old"]);
    }

    #[test]
    fn mapped_layers_count_as_use() {
        let l = "c".repeat(64);
        let i = images(&format!(r#"[{{"id":"{}","layer":"{}","mapped-layers":["{l}"]}}]"#, id('a'), "b".repeat(64)));
        assert_eq!(i.users_of(&l.parse().unwrap()), [id('a').to_string()]);
        assert_eq!(i.users_of(&"b".repeat(64).parse().unwrap()), [id('a').to_string()]);
        assert!(i.users_of(&"d".repeat(64).parse().unwrap()).is_empty());
    }
}
