//! The table of layers: `<driver>-layers/layers.json` and `volatile-layers.json`.
//!
//! Invariant: records of the stable file come first; an ID that a later file repeats is ignored (format, section 3.1).

mod brief;
mod by_id;

use std::cell::OnceCell;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id_map::IdRange;
use crate::store::Error;
use crate::table::fields;
use crate::table::records::{Origin, Place, Records};
use crate::{Digest, LayerId};

use brief::{Brief, BriefKeys};
use by_id::ById;

/// Flag of a layer that everyone may destroy: it is being made or being deleted.
pub const INCOMPLETE: &str = "incomplete";

/// How a blob was compressed when it came in, as the table counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum Compression {
    /// A plain tar.
    #[default]
    None,
    /// bzip2
    Bzip2,
    /// gzip
    Gzip,
    /// xz
    Xz,
    /// Zstandard
    Zstd,
    /// A number this version does not know.
    Other(i64),
}

impl From<i64> for Compression {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Bzip2,
            2 => Self::Gzip,
            3 => Self::Xz,
            4 => Self::Zstd,
            other => Self::Other(other),
        }
    }
}

impl From<Compression> for i64 {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => 0,
            Compression::Bzip2 => 1,
            Compression::Gzip => 2,
            Compression::Xz => 3,
            Compression::Zstd => 4,
            Compression::Other(number) => number,
        }
    }
}

impl Compression {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// The record of one layer (format, section 3.1). Members that are not listed here survive in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its ID.
    pub id: LayerId,
    /// Names; rare.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The layer below.
    #[serde(default, deserialize_with = "fields::optional_id", skip_serializing_if = "Option::is_none")]
    pub parent: Option<LayerId>,
    /// Opaque text of the tool that made it.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// SELinux label for mounts.
    #[serde(default, rename = "mountlabel", deserialize_with = "fields::nullable", skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
    /// When the record was made, RFC 3339.
    #[serde(default, deserialize_with = "fields::nullable")]
    pub created: String,
    /// Digest of the blob as it was received.
    #[serde(
        default,
        rename = "compressed-diff-digest",
        deserialize_with = "fields::optional_digest",
        skip_serializing_if = "Option::is_none"
    )]
    pub compressed_digest: Option<Digest>,
    /// Length of that blob in bytes; 0 when unknown.
    #[serde(
        default,
        rename = "compressed-size",
        deserialize_with = "fields::nullable",
        skip_serializing_if = "fields::is_zero"
    )]
    pub compressed_size: i64,
    /// Diff ID: digest of the uncompressed tar.
    #[serde(
        default,
        rename = "diff-digest",
        deserialize_with = "fields::optional_digest",
        skip_serializing_if = "Option::is_none"
    )]
    pub diff_digest: Option<Digest>,
    /// Length of the uncompressed tar in bytes; -1 when unknown.
    #[serde(default, rename = "diff-size", deserialize_with = "fields::nullable", skip_serializing_if = "fields::is_zero")]
    pub diff_size: i64,
    /// Digest of the table of contents of a partial pull.
    #[serde(
        default,
        rename = "toc-digest",
        deserialize_with = "fields::optional_digest",
        skip_serializing_if = "Option::is_none"
    )]
    pub toc_digest: Option<Digest>,
    /// Compression of the blob received.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
    /// Distinct owners in the tar headers, sorted.
    #[serde(default, rename = "uidset", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub uids: Vec<u32>,
    /// Distinct groups in the tar headers, sorted.
    #[serde(default, rename = "gidset", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub gids: Vec<u32>,
    /// Free flags; `incomplete` marks what everyone may destroy.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "Map::is_empty")]
    pub flags: Map<String, Value>,
    /// Shift of the owners on disk.
    #[serde(default, rename = "uidmap", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub uid_map: Vec<IdRange>,
    /// Shift of the groups on disk.
    #[serde(default, rename = "gidmap", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub gid_map: Vec<IdRange>,
    /// Keys of the layer's big data.
    #[serde(default, rename = "big-data-names", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub big_data_names: Vec<String>,
}

impl Layer {
    /// The record of a new layer, made now, with nothing known about its content.
    pub fn new(id: LayerId, parent: Option<LayerId>) -> Self {
        Self {
            id,
            names: Vec::new(),
            parent,
            metadata: String::new(),
            mount_label: String::new(),
            created: fields::now(),
            compressed_digest: None,
            compressed_size: 0,
            diff_digest: None,
            diff_size: 0,
            toc_digest: None,
            compression: Compression::None,
            uids: Vec::new(),
            gids: Vec::new(),
            flags: Map::new(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            big_data_names: Vec::new(),
        }
    }

    /// Whether the layer is under construction or being deleted.
    pub fn is_incomplete(&self) -> bool {
        self.flags.get(INCOMPLETE) == Some(&Value::Bool(true))
    }

    /// Sets what is known about the content. What was known before is forgotten with `None`.
    pub fn set_content(&mut self, content: Option<&LayerContent>) {
        let size = |bytes: u64| i64::try_from(bytes).unwrap_or(-1);
        self.compressed_digest = content.map(|content| content.compressed_digest.clone());
        self.compressed_size = content.map_or(0, |content| size(content.compressed_size));
        self.diff_digest = content.map(|content| content.diff_digest.clone());
        self.diff_size = content.map_or(0, |content| size(content.diff_size));
        self.compression = content.map_or(Compression::None, |content| content.compression);
        self.uids = content.map(|content| content.uids.clone()).unwrap_or_default();
        self.gids = content.map(|content| content.gids.clone()).unwrap_or_default();
    }
}

/// What is known of a layer's content, for its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerContent {
    /// Diff ID.
    pub diff_digest: Digest,
    /// Length of the uncompressed tar in bytes.
    pub diff_size: u64,
    /// Digest of the blob as it was received; the diff ID for a plain tar.
    pub compressed_digest: Digest,
    /// Length of that blob in bytes.
    pub compressed_size: u64,
    /// Compression of the blob received.
    pub compression: Compression,
    /// Distinct owners in the tar headers, sorted.
    pub uids: Vec<u32>,
    /// Distinct groups in the tar headers, sorted.
    pub gids: Vec<u32>,
}

impl LayerContent {
    /// The content of a layer that was packed here: a plain tar with this diff ID and length.
    pub fn of_tar(diff_digest: Digest, diff_size: u64, uids: Vec<u32>, gids: Vec<u32>) -> Self {
        let (compressed_digest, compressed_size) = (diff_digest.clone(), diff_size);
        Self { diff_digest, diff_size, compressed_digest, compressed_size, compression: Compression::None, uids, gids }
    }
}

/// What lies below a layer, and how large it is with all that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stack {
    /// The layer directly below.
    pub parent: Option<LayerId>,
    /// Bytes of its tar and of those of all layers below it.
    pub bytes: i64,
}

/// The layers as they were when the table was read.
#[derive(Debug, Default)]
pub struct Layers {
    pub(crate) records: Records,
    index: OnceCell<Index>,
}

/// All records by ID, made when chains are walked: 120 linear searches would cost more.
#[derive(Debug)]
struct Index {
    places: Vec<Place>,
    /// Positions in `places`.
    by_id: ById,
}

impl Layers {
    pub(crate) fn new(records: Records) -> Self {
        Self { records, index: OnceCell::new() }
    }

    /// The layer with this ID.
    pub fn find(&self, id: &LayerId) -> Result<Option<Layer>, Error> {
        self.records.find(id.as_str()).map(|place| self.records.parse(place)).transpose()
    }

    /// Whether there is a layer with this ID.
    pub fn contains(&self, id: &LayerId) -> bool {
        self.records.find(id.as_str()).is_some()
    }

    /// The layer with this ID, which must exist.
    pub fn get(&self, id: &LayerId) -> Result<Layer, Error> {
        self.find(id)?.ok_or_else(|| Error::NoLayer(id.clone()))
    }

    /// Every layer.
    pub fn all(&self) -> Result<Vec<Layer>, Error> {
        self.records.places().into_iter().map(|place| self.records.parse(place)).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.records.places().len()
    }

    /// The layer that `text` stands for: ID, then name, then unique prefix of an ID.
    pub fn resolve(&self, text: &str) -> Result<Option<Layer>, Error> {
        let by_id = self.records.find(text);
        let by_name =
            || self.records.mentioning(text).into_iter().find(|place| self.names(*place).iter().any(|name| name == text));
        let place = match by_id.or_else(by_name) {
            Some(place) => Some(place),
            None => self.records.by_prefix(text)?,
        };
        place.map(|place| self.records.parse(place)).transpose()
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let places = self.records.places();
            let by_id = ById::new(places.iter().map(|place| self.records.id(*place)));
            Index { places, by_id }
        })
    }

    fn indexed(&self, id: &str) -> Option<Place> {
        self.position(id).map(|at| self.index().places[at])
    }

    fn position(&self, id: &str) -> Option<usize> {
        let index = self.index();
        index.by_id.get(id, |at| self.records.id(index.places[at]) == id)
    }

    /// The layer below the layer with this ID, read without parsing the rest of the record. None where there is none, or no such layer.
    pub fn parent(&self, id: &LayerId) -> Option<LayerId> {
        self.parent_by(&BriefKeys::new(), id)
    }

    fn parent_by(&self, keys: &BriefKeys, id: &LayerId) -> Option<LayerId> {
        Brief::read(self.records.raw(self.indexed(id.as_str())?), keys).parent.parse().ok()
    }

    /// What lies below each of `tops`, read without parsing whole records. A layer whose size is unknown counts as nothing, and so does what
    /// cannot be found, or a loop: damage that `check` reports.
    pub fn stacks<'a>(&self, tops: impl Iterator<Item = &'a LayerId>) -> HashMap<LayerId, Stack> {
        let (index, keys) = (self.index(), BriefKeys::new());
        let mut sums: Vec<Option<i64>> = vec![None; index.places.len()];
        let mut stack = Vec::new();
        let mut sum_of = |top: &str| {
            let mut next = self.position(top);
            let mut below = 0;
            while let Some(at) = next {
                if let Some(known) = sums[at] {
                    below = known;
                    break;
                }
                // Whoever comes here again before the sum is there has gone in a circle.
                sums[at] = Some(0);
                let brief = Brief::read(self.records.raw(index.places[at]), &keys);
                stack.push((at, brief.size));
                next = self.position(brief.parent);
            }
            for (at, size) in stack.drain(..).rev() {
                below = below.saturating_add(size);
                sums[at] = Some(below);
            }
            below
        };
        let mut stack = |top: &LayerId| Stack { parent: self.parent_by(&keys, top), bytes: sum_of(top.as_str()) };
        tops.map(|top| (top.clone(), stack(top))).collect()
    }

    /// The layers of an image from `top` down to the base, `top` first. A missing parent or a loop is an error.
    pub fn chain(&self, top: &LayerId) -> Result<Vec<Layer>, Error> {
        let places = self.index().places.len();
        let mut chain: Vec<Layer> = Vec::new();
        let mut next = Some(top.clone());
        while let Some(id) = next {
            let place = self.indexed(id.as_str()).ok_or_else(|| Error::NoLayer(id.clone()))?;
            // More steps than layers: some layer is its own ancestor.
            if chain.len() >= places {
                return Err(Error::BrokenChain(top.clone()));
            }
            let layer: Layer = self.records.parse(place)?;
            next = layer.parent.clone();
            chain.push(layer);
        }
        Ok(chain)
    }

    /// Every layer whose diff ID is `digest`.
    pub fn with_diff_digest(&self, digest: &Digest) -> Result<Vec<Layer>, Error> {
        self.with_member("diff-digest", digest.as_str())
    }

    /// Every layer that came in as a blob of this digest.
    pub fn with_compressed_digest(&self, digest: &Digest) -> Result<Vec<Layer>, Error> {
        self.with_member("compressed-diff-digest", digest.as_str())
    }

    /// Every layer directly above `parent`.
    pub fn children(&self, parent: &LayerId) -> Result<Vec<LayerId>, Error> {
        let places = self.records.mentioning(parent.as_str()).into_iter();
        let children = places.filter(|place| self.records.member::<&str>(*place, "parent") == Some(parent.as_str()));
        Ok(children.filter_map(|place| self.records.id(place).parse().ok()).collect())
    }

    /// IDs of the layers of this store whose flags hold `flag` with any value but `false`.
    pub(crate) fn flagged(&self, flag: &str) -> Vec<LayerId> {
        let own = self.records.mentioning(flag).into_iter().filter(|place| self.records.origin(*place) != Origin::Additional);
        let flags = |place| self.records.member::<Map<String, Value>>(place, "flags").unwrap_or_default();
        let flagged = own.filter(|place| flags(*place).get(flag).is_some_and(|value| value != &Value::Bool(false)));
        flagged.filter_map(|place| self.records.id(place).parse().ok()).collect()
    }

    /// Whether the layer belongs to a read-only store.
    pub fn is_read_only(&self, id: &LayerId) -> bool {
        self.records.find(id.as_str()).is_some_and(|place| self.records.origin(place) == Origin::Additional)
    }

    fn names(&self, place: Place) -> Vec<String> {
        self.records.member(place, "names").unwrap_or_default()
    }

    fn with_member(&self, name: &str, value: &str) -> Result<Vec<Layer>, Error> {
        let places = self.records.mentioning(value).into_iter();
        let found = places.filter(|place| self.records.member::<&str>(*place, name) == Some(value));
        found.map(|place| self.records.parse(place)).collect()
    }

    pub(crate) fn push(&mut self, origin: Origin, layer: &Layer) -> Result<(), Error> {
        self.index.take();
        self.records.push(origin, layer)
    }

    pub(crate) fn update(&mut self, id: &LayerId, edit: impl FnOnce(&mut Layer)) -> Result<Layer, Error> {
        let place = self.records.find(id.as_str()).ok_or_else(|| Error::NoLayer(id.clone()))?;
        self.records.update(place, edit)
    }

    pub(crate) fn remove(&mut self, id: &LayerId) {
        self.index.take();
        self.records.remove(id.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    fn layers(text: &str) -> Layers {
        let mut records = Records::default();
        records.add(Table::from_bytes(std::path::Path::new("/l.json"), text.as_bytes().to_vec()).unwrap(), Origin::Stable);
        Layers::new(records)
    }

    fn id(digit: char) -> LayerId {
        digit.to_string().repeat(64).parse().unwrap()
    }

    #[test]
    fn reads_what_the_other_tools_write() {
        let text = format!(
            r#"[{{"id":"{a}","parent":"{b}","created":"2026-11-21T01:15:51.773028382Z","compressed-diff-digest":"sha256:{b}","compressed-size":3866,"diff-digest":"sha256:{a}","diff-size":140288,"compression":2,"uidset":[0],"gidset":[0],"flags":null,"toc-digest":"blake9:xx"}}]"#,
            a = id('a'),
            b = id('b')
        );
        let l = layers(&text);
        let layer = l.get(&id('a')).unwrap();
        assert_eq!(layer.parent, Some(id('b')));
        assert_eq!((layer.diff_size, layer.compressed_size, layer.compression), (140288, 3866, Compression::Gzip));
        assert_eq!(layer.toc_digest, None);
        assert_eq!(layer.uids, [0]);
        assert_eq!(l.with_diff_digest(layer.diff_digest.as_ref().unwrap()).unwrap().len(), 1);
        assert_eq!(l.children(&id('b')).unwrap(), [id('a')]);
    }

    #[test]
    fn an_edit_keeps_a_digest_of_an_unknown_algorithm() {
        let mut l = layers(&format!(r#"[{{"id":"{}","created":"","toc-digest":"blake9:xx","new":[1]}}]"#, id('a')));
        l.update(&id('a'), |layer| layer.names.push("n".into())).unwrap();
        let place = l.records.find(id('a').as_str()).unwrap();
        assert_eq!(l.records.member(place, "toc-digest"), Some("blake9:xx"));
        assert_eq!(l.records.member(place, "new"), Some([1]));
        assert_eq!(l.records.member(place, "names"), Some(["n"]));
    }

    #[test]
    fn chains_end_at_the_base_and_never_loop() {
        let (a, b, c) = (id('a'), id('b'), id('c'));
        let l = layers(&format!(r#"[{{"id":"{a}"}},{{"id":"{b}","parent":"{a}"}},{{"id":"{c}","parent":"{b}"}}]"#));
        let chain: Vec<LayerId> = l.chain(&c).unwrap().into_iter().map(|layer| layer.id).collect();
        assert_eq!(chain, [c.clone(), b.clone(), a.clone()]);
        let l = layers(&format!(r#"[{{"id":"{a}","parent":"{b}"}},{{"id":"{b}","parent":"{a}"}}]"#));
        assert!(matches!(l.chain(&a), Err(Error::BrokenChain(_))));
        let l = layers(&format!(r#"[{{"id":"{a}","parent":"{b}"}}]"#));
        assert!(matches!(l.chain(&a), Err(Error::NoLayer(_))));
    }

    #[test]
    fn stacks_are_summed_whatever_is_damaged() {
        let (a, b, c, d, e) = (id('a'), id('b'), id('c'), id('d'), id('e'));
        let sized = r#""diff-digest":"sha256:00","diff-size""#;
        let l = layers(&format!(
            r#"[{{"id":"{a}",{sized}:5}},{{"id":"{b}","parent":"{a}","diff-size":70}},{{"id":"{c}","parent":"{b}",{sized}:10}},{{"id":"{d}","parent":"{e}",{sized}:1}},{{"id":"{e}","parent":"{d}",{sized}:2}}]"#
        ));
        let tops = [&a, &b, &c, &d, &id('f')];
        let stacks = l.stacks(tops.into_iter());
        assert_eq!(tops.map(|top| stacks[top].bytes), [5, 5, 15, 3, 0]);
        assert_eq!(tops.map(|top| stacks[top].parent.as_ref()), [None, Some(&a), Some(&b), Some(&e), None]);
    }

    #[test]
    fn finds_flagged_layers() {
        let text = format!(
            r#"[{{"id":"{}","flags":{{"incomplete":true}}}},{{"id":"{}","flags":{{"incomplete":false}}}},{{"id":"{}"}}]"#,
            id('a'),
            id('b'),
            id('c')
        );
        assert_eq!(layers(&text).flagged(INCOMPLETE), [id('a')]);
        assert!(layers(&text).get(&id('a')).unwrap().is_incomplete());
    }

    #[test]
    fn an_id_that_could_be_a_path_is_damage() {
        assert!(matches!(layers(r#"[{"id":"../../x"}]"#).all(), Err(Error::Corrupt { .. })));
    }
}
