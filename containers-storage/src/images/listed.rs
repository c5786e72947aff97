//! `Listed`: what lists and searches need of an image, taken from its raw record. To parse whole records would take most of the time of
//! a list of hundreds of images.
//!
//! Invariant: a record with anything unusual in it is parsed whole after all, so that damage is the same error here as everywhere.

use std::str::FromStr;

use super::{Image, Images};
use crate::store::Error;
use crate::table::records::{Origin, Place};
use crate::table::scan;
use crate::{Digest, ImageId, LayerId};

/// A part of the record of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its ID.
    pub id: ImageId,
    /// Digest of its manifest.
    pub digest: Option<Digest>,
    /// Normalised references.
    pub names: Vec<String>,
    /// The top layer; none for an image without layers.
    pub layer: Option<LayerId>,
    /// Copies of the top layer with other owners.
    pub mapped_layers: Vec<LayerId>,
    /// When the image was made, RFC 3339.
    pub created: String,
    /// Length of all its big data in bytes.
    pub data_size: i64,
    /// In a read-only additional store.
    pub read_only: bool,
    place: Place,
}

impl Images {
    /// What lists show of every image, in the order of the table.
    pub fn listed(&self) -> Result<Vec<Listed>, Error> {
        let read = |place| {
            let read_only = self.records.origin(place) == Origin::Additional;
            match Listed::read(self.records.raw(place), place, read_only) {
                Some(listed) => Ok(listed),
                None => Ok(Listed::of(self.image(place)?, place)),
            }
        };
        self.records.places().into_iter().map(read).collect()
    }

    /// The whole record of an image of this list.
    pub fn whole(&self, listed: &Listed) -> Result<Image, Error> {
        self.image(listed.place)
    }
}

impl Listed {
    /// Reads a record as all tools write it; `None` for any other.
    fn read(record: &str, place: Place, read_only: bool) -> Option<Self> {
        let mut id = None;
        let (mut digest, mut layer, mut created) = (None, None, "");
        let (mut names, mut mapped_layers, mut data_size) = (Vec::new(), Vec::new(), 0i64);
        for member in scan::members(record) {
            let (name, value) = member.ok()?;
            match name {
                "id" => id = Some(plain(value)?.parse().ok()?),
                // As `fields::optional_digest`: one that this version does not know is none.
                "digest" => digest = plain(value)?.parse().ok(),
                "names" => names = list(value)?,
                "layer" => layer = optional(plain(value)?)?,
                "mapped-layers" => mapped_layers = list(value)?,
                "created" => created = plain(value)?,
                "big-data-sizes" if value != "null" => data_size = sum(value)?,
                _ => {}
            }
        }
        Some(Self { id: id?, digest, names, layer, mapped_layers, created: created.to_owned(), data_size, read_only, place })
    }

    fn of(image: Image, place: Place) -> Self {
        let data_size = image.big_data_sizes.values().fold(0, |sum: i64, size| sum.saturating_add(*size));
        let Image { id, digest, names, layer, mapped_layers, created, read_only, .. } = image;
        Self { id, digest, names, layer, mapped_layers, created, data_size, read_only, place }
    }
}

/// The value of a JSON string without escapes; of `null`, the empty one.
fn plain(value: &str) -> Option<&str> {
    if value == "null" {
        return Some("");
    }
    value.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
}

/// An ID, or none where the text is empty. The outer `None`: neither.
fn optional<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { Some(Some(text.parse().ok()?)) }
}

fn list<T: serde::de::DeserializeOwned>(value: &str) -> Option<Vec<T>> {
    Some(serde_json::from_str::<Option<Vec<T>>>(value).ok()?.unwrap_or_default())
}

fn sum(sizes: &str) -> Option<i64> {
    scan::members(sizes).try_fold(0i64, |sum, member| Some(sum.saturating_add(member.ok()?.1.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::images;
    use super::*;

    #[test]
    fn it_says_what_the_whole_record_says() {
        let (id, other) = ("a".repeat(64), "b".repeat(64));
        let records = [
            format!(r#"{{"id":"{id}"}}"#),
            format!(r#"{{"id":"{id}","names":null,"digest":null,"layer":null,"created":null,"big-data-sizes":null}}"#),
            format!(
                r#"{{"id":"{id}","digest":"sha256:{other}","names":["a:1","b:2"],"layer":"{other}","mapped-layers":["{id}"],"metadata":"{{\"x\":1}}","big-data-names":["m","c"],"big-data-sizes":{{"m":5,"c":37}},"created":"2026-11-21T01:15:51Z","flags":{{"x":[1]}},"new":7}}"#
            ),
            format!(r#"{{ "names" : ["\u0061"], "layer":"", "created":"\u0032026", "digest":"blake9:xx", "id" : "{id}" }}"#),
        ];
        for record in records {
            let images = images(&format!("[{record}]"));
            let [place] = images.records.places()[..] else { panic!("one record") };
            let whole = images.image(place).unwrap();
            let listed = images.listed().unwrap().remove(0);
            assert_eq!(images.whole(&listed).unwrap(), whole);
            assert_eq!(listed, Listed::of(whole, place), "{record}");
        }
    }

    #[test]
    fn damage_is_the_error_of_the_whole_record() {
        let id = "a".repeat(64);
        for rest in [r#""id":"../x""#, r#""names":[]"#, &format!(r#""id":"{id}","names":7"#), &format!(r#""id":"{id}" "x":1"#)]
        {
            let images = images(&format!("[{{{rest}}}]"));
            let [place] = images.records.places()[..] else { panic!("one record") };
            let (listed, whole) = (images.listed().unwrap_err(), images.image(place).unwrap_err());
            assert_eq!(listed.to_string(), whole.to_string(), "{rest}");
        }
    }
}
