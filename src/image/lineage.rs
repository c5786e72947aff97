//! `Lineage`: what tells whether one image was made on top of another, taken from its config without reading all of that.
//!
//! An image goes on where another ends if it has the same layers and the same history first, then at least one entry more. So that this is
//! one comparison however long both are, each entry has a mark: a digest of itself and of all entries before it.
//!
//! ```text
//! history   a        b            c                      marks   h(a)   h(h(a) b)   h(h(h(a) b) c)
//! diff IDs  x        y                                   marks   h(x)   h(h(x) y)
//! ```
//!
//! Invariant: entries are compared as `config::History` compares them, whatever tool wrote the JSON. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

use super::config::{Error, MAX_BYTES};
use super::time;

/// Bytes of a mark: as much of a SHA-256 as nobody finds twice.
const MARK: usize = 16;
/// More marks than images have; one with more is not written down.
const MOST: usize = 4096;

type Mark = [u8; MARK];

/// Where an image comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    history: Vec<Mark>,
    layers: Vec<Mark>,
}

impl Lineage {
    /// That of an image without history and layers.
    pub const fn new() -> Self {
        Self { history: Vec::new(), layers: Vec::new() }
    }

    /// That of the image with this config, of either family.
    pub fn of(config: &[u8]) -> Result<Self, Error> {
        if config.len() > MAX_BYTES {
            return Err(Error::TooLarge(config.len()));
        }
        let read: ReadConfig<'_> = serde_json::from_slice(config)?;
        let layers = read.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
        let layers = marks(layers.iter().map(|digest| Sha256::new().chain_update(&*digest.0)));
        Ok(Self { history: marks(read.history.unwrap_or_default().iter().map(ReadEntry::hash)), layers })
    }

    /// Whether the image goes on where `other` ends.
    pub fn continues(&self, other: &Self) -> bool {
        self.history.len() > other.history.len()
            && starts_with(&self.layers, &other.layers)
            && starts_with(&self.history, &other.history)
    }

    /// How many entries the history has.
    pub fn steps(&self) -> usize {
        self.history.len()
    }

    /// Appends it to `bytes`: two counts (4 bytes each, little endian), then the marks. `false`: it is too long for that.
    pub fn write(&self, bytes: &mut Vec<u8>) -> bool {
        if self.history.len() + self.layers.len() > MOST {
            return false;
        }
        for marks in [&self.history, &self.layers] {
            bytes.extend_from_slice(&u32::try_from(marks.len()).unwrap_or(0).to_le_bytes());
        }
        [&self.history, &self.layers].into_iter().for_each(|marks| bytes.extend_from_slice(marks.as_flattened()));
        true
    }

    /// Takes one that was written from the beginning of `bytes`.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut count = || {
            let (count, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count <= MOST)
        };
        let (history, layers) = (count()?, count()?);
        let mut marks = |count: usize| {
            let (marks, rest) = bytes.split_at_checked(count * MARK)?;
            *bytes = rest;
            Some(marks.as_chunks::<MARK>().0.to_vec())
        };
        Some(Self { history: marks(history)?, layers: marks(layers)? })
    }
}

/// A mark stands for all before it, so the last one of the shorter list tells.
fn starts_with(marks: &[Mark], first: &[Mark]) -> bool {
    first.len().checked_sub(1).is_none_or(|last| marks.get(last) == first.get(last))
}

fn marks(entries: impl Iterator<Item = Sha256>) -> Vec<Mark> {
    let mut before = Mark::default();
    let mark = |entry: Sha256| {
        let digest: [u8; 32] = entry.chain_update(before).finalize().into();
        before.copy_from_slice(&digest[..MARK]);
        before
    };
    entries.map(mark).collect()
}

#[derive(Deserialize)]
struct ReadConfig<'a> {
    #[serde(borrow)]
    rootfs: Option<ReadRootfs<'a>>,
    #[serde(borrow)]
    history: Option<Vec<ReadEntry<'a>>>,
}

#[derive(Deserialize)]
struct ReadRootfs<'a> {
    #[serde(borrow)]
    diff_ids: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct ReadEntry<'a> {
    #[serde(borrow)]
    created: Option<Text<'a>>,
    #[serde(borrow, default)]
    created_by: Text<'a>,
    #[serde(borrow, default)]
    author: Text<'a>,
    #[serde(borrow, default)]
    comment: Text<'a>,
    empty_layer: Option<bool>,
}

impl ReadEntry<'_> {
    fn hash(&self) -> Sha256 {
        let mut hash = Sha256::new();
        let flags = [u8::from(self.created.is_some()), u8::from(self.empty_layer == Some(true))];
        hash.update(flags);
        let created = self.created.as_ref().map(|text| time::cut_fraction(&text.0)).unwrap_or_default();
        for part in [created.as_str(), &*self.created_by.0, &*self.author.0, &*self.comment.0] {
            // The length first, so that no two lists of parts look the same.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash
    }
}

/// A JSON string, kept where it stands if nothing in it is escaped; `null` is the empty one.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::History;
    use crate::image::{ImageConfig, Time};

    fn config(layers: &[&str], steps: &[&str]) -> ImageConfig {
        let created = Some(Time::from_timestamp(jiff::Timestamp::UNIX_EPOCH));
        let entry = |step: &&str| History { created: created.clone(), created_by: (*step).to_owned(), ..History::default() };
        let history = steps.iter().map(entry).collect();
        let diff_ids = layers.iter().map(|layer| containers_storage::Digest::of(layer.as_bytes())).collect();
        ImageConfig { history, diff_ids, ..ImageConfig::default() }
    }

    fn lineage(layers: &[&str], steps: &[&str]) -> Lineage {
        let config = config(layers, steps);
        let lineage = Lineage::of(&config.to_oci()).unwrap();
        assert_eq!(Lineage::of(&config.to_docker()).unwrap(), lineage, "the format does not count");
        lineage
    }

    #[test]
    fn a_child_has_the_same_layers_and_history_first_and_more_history() {
        type Parts<'a> = (&'a [&'a str], &'a [&'a str]);
        let cases: [(Parts<'_>, Parts<'_>, bool); 10] = [
            ((&[], &["a"]), (&[], &["a", "b"]), true),
            ((&["x"], &["a"]), (&["x"], &["a", "b"]), true),
            ((&["x"], &["a"]), (&["x", "y"], &["a", "b"]), true),
            ((&[], &[]), (&["x"], &["a"]), true),
            ((&[], &["a"]), (&[], &["a"]), false),
            ((&[], &["a", "b"]), (&[], &["a"]), false),
            ((&[], &["x"]), (&[], &["a", "b"]), false),
            ((&["x"], &["a"]), (&["y"], &["a", "b"]), false),
            ((&["x", "y"], &["a"]), (&["x"], &["a", "b"]), false),
            ((&["y"], &["a"]), (&["x", "y"], &["a", "b"]), false),
        ];
        for (parent, child, want) in cases {
            assert_eq!(lineage(child.0, child.1).continues(&lineage(parent.0, parent.1)), want, "{parent:?} {child:?}");
        }
    }

    #[test]
    fn entries_are_told_apart_as_the_whole_config_tells_them() {
        let entries = [
            "{}",
            r#"{"created_by":"a"}"#,
            r#"{"author":"a"}"#,
            r#"{"comment":"a"}"#,
            r#"{"empty_layer":true}"#,
            r#"{"created":"2026-01-02T03:04:05Z"}"#,
            r#"{"created":"2026-01-02T03:04:05.5Z"}"#,
            r#"{"created":"0001-01-01T00:00:00Z"}"#,
        ];
        let same = [
            (0, r#"{"created":null,"created_by":null,"author":"","empty_layer":false,"new":[{}]}"#),
            (1, r#"{ "created_by" : "\u0061" }"#),
            (4, r#"{"empty_layer":true,"created_by":""}"#),
            (5, r#"{"created":"2026-01-02T03:04:05.000Z"}"#),
            (6, r#"{"created":"2026-01-02T03:04:05.500Z"}"#),
        ];
        let all: Vec<String> =
            entries.into_iter().chain(same.map(|(_, text)| text)).map(|entry| format!(r#"{{"history":[{entry}]}}"#)).collect();
        for one in &all {
            for other in &all {
                let whole = [one, other].map(|text| ImageConfig::parse(text.as_bytes()).unwrap().history);
                let marks = [one, other].map(|text| Lineage::of(text.as_bytes()).unwrap());
                assert_eq!(marks[0] == marks[1], whole[0] == whole[1], "{one} {other}");
            }
        }
        for (at, text) in same {
            let text = format!(r#"{{"history":[{text}]}}"#);
            assert_eq!(Lineage::of(text.as_bytes()).unwrap(), Lineage::of(all[at].as_bytes()).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_damage_is_nothing() {
        let (one, other) = (lineage(&["x"], &["a", "b"]), lineage(&[], &[]));
        let mut bytes = Vec::new();
        assert!(one.write(&mut bytes) && other.write(&mut bytes));
        let mut rest = bytes.as_slice();
        assert_eq!((Lineage::read(&mut rest), Lineage::read(&mut rest)), (Some(one), Some(other)));
        assert_eq!((rest.len(), Lineage::read(&mut rest)), (0, None));
        for length in 0..bytes.len() - 8 {
            assert_eq!(Lineage::read(&mut &bytes[..length]), None, "{length}");
        }
        assert_eq!(Lineage::read(&mut [0xff; 64].as_slice()), None);
        let long = Lineage { history: vec![Mark::default(); MOST + 1], layers: Vec::new() };
        assert!(!long.write(&mut Vec::new()));
    }

    #[test]
    fn no_config_is_an_error() {
        for text in ["", "[]", r#"{"history":{}}"#, r#"{"history":[{"created_by":1}]}"#, r#"{"rootfs":{"diff_ids":[7]}}"#] {
            assert!(Lineage::of(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Lineage::of(" ".repeat(MAX_BYTES + 1).as_bytes()).is_err());
    }
}
