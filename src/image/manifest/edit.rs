//! Changing descriptors inside of a document, and nothing else of it.
//!
//! Invariant: members that are not known here survive, in their order; numbers and strings that stay are not written anew.

use std::fmt;

use containers_storage::Digest;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Descriptor, Document, Error, Manifest};
use crate::golang::json;

/// A JSON object as its members in their order, each value as it was written.
#[derive(Debug, Clone)]
pub struct Members(pub Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;

        impl<'de> Visitor<'de> for Ordered {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = access.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format_args!("duplicate member {name:?}")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Ordered)
    }
}

impl Members {
    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Sets a member, at its place if it is there and else at the end.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), serde_json::Error> {
        let text = String::from_utf8_lossy(&json::to_vec(value)?).into_owned();
        let value = RawValue::from_string(text)?;
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// An array of objects.
    pub fn array(items: &[Self]) -> Result<Box<RawValue>, serde_json::Error> {
        let texts = items.iter().map(Self::to_text).collect::<Result<Vec<_>, _>>()?;
        RawValue::from_string(format!("[{}]", texts.join(",")))
    }

    /// The object as text.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut out = String::from("{");
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&String::from_utf8_lossy(&json::to_vec(name)?));
            out.push(':');
            out.push_str(value.get());
        }
        out.push('}');
        Ok(out)
    }
}

/// An array of objects with what `edit` makes of each.
pub fn edit_each(
    array: &RawValue,
    edit: &mut dyn FnMut(usize, &mut Members) -> Result<(), serde_json::Error>,
) -> Result<Box<RawValue>, serde_json::Error> {
    let mut items: Vec<Members> = serde_json::from_str(array.get())?;
    items.iter_mut().enumerate().try_for_each(|(at, members)| edit(at, members))?;
    Members::array(&items)
}

/// Sets what a descriptor says of its bytes.
pub fn set_descriptor(members: &mut Members, media_type: &str, digest: &Digest, size: u64) -> Result<(), serde_json::Error> {
    members.set("mediaType", media_type)?;
    members.set("digest", digest)?;
    members.set("size", &size)
}

impl Manifest {
    /// The same manifest with other layers, as many as before: where a layer has other bytes now, its media type, digest and size
    /// are set. Everything else stays; if all layers have the same bytes, so has the manifest.
    pub fn with_layers(&self, layers: &[Descriptor]) -> Result<Self, Error> {
        let same = |at: usize| {
            let (old, new) = (self.layers.get(at), layers.get(at));
            old.zip(new).is_none_or(|(old, new)| (&old.digest, old.size) == (&new.digest, new.size))
        };
        if (0..layers.len()).all(same) {
            return Ok(self.clone());
        }
        let mut document: Members = serde_json::from_slice(self.bytes())?;
        let array = document.get("layers").ok_or(Error::Missing("layers"))?;
        let edited = edit_each(array, &mut |at, members| match layers.get(at) {
            Some(layer) if !same(at) => {
                // Where the old bytes could be had, the new ones cannot; nor are they what was embedded.
                members.remove("urls");
                members.remove("data");
                if self.layers.get(at).is_some_and(|old| old.annotations != layer.annotations) {
                    match layer.annotations.is_empty() {
                        true => members.remove("annotations"),
                        false => members.set("annotations", &layer.annotations)?,
                    }
                }
                set_descriptor(members, &layer.media_type, &layer.digest, layer.size)
            }
            _ => Ok(()),
        })?;
        document.set("layers", &edited)?;
        let bytes = document.to_text()?.into_bytes();
        match Document::parse(&bytes, Some(self.media_type()))? {
            Document::Image(manifest) => Ok(manifest),
            Document::Index(_) => Err(Error::Unsupported("an index with layers".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_OCI: &[u8] = include_bytes!("../testdata/every-oci.manifest.json");

    fn manifest(bytes: &[u8]) -> Manifest {
        match Document::parse(bytes, None) {
            Ok(Document::Image(manifest)) => manifest,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unknown_members_survive_new_layers() {
        let text = std::str::from_utf8(EVERY_OCI).unwrap();
        let text = text.replacen("{\"schemaVersion\":2", "{\"x\":{\"y\": 1.50},\"schemaVersion\":2", 1).replacen(
            "\"layers\":[{",
            "\"layers\":[{\"urls\":[\"https://x\"],\"data\":\"e30=\",\"z\":[1, 2],",
            1,
        );
        let before = manifest(text.as_bytes());
        let mut layers = before.layers.clone();
        layers[0] = Descriptor { media_type: "m+gzip".into(), digest: Digest::of(b"new"), size: 7, ..layers[0].clone() };
        let after = before.with_layers(&layers).unwrap();
        assert_eq!(after.layers[0].digest, Digest::of(b"new"));
        let written = std::str::from_utf8(after.bytes()).unwrap();
        assert!(written.starts_with("{\"x\":{\"y\": 1.50},\"schemaVersion\":2"), "{written}");
        assert!(written.contains("{\"z\":[1, 2],\"mediaType\":\"m+gzip\""), "{written}");
        assert_eq!((after.annotations, after.config), (before.annotations, before.config));
    }

    #[test]
    fn the_same_layers_leave_the_bytes_alone() {
        let spaced = String::from_utf8(EVERY_OCI.to_vec()).unwrap().replace("\"layers\":", "\"layers\" :  ");
        let before = manifest(spaced.as_bytes());
        assert_eq!(before.with_layers(&before.layers).unwrap().bytes(), spaced.as_bytes());
    }

    proptest::proptest! {
        #[test]
        fn any_change_of_the_text_is_parsed_or_refused(at in 0..EVERY_OCI.len(), with in "[\\[\\]{},:\"0-9a-z\\\\]{0,6}", drop in 0_usize..6) {
            let mut bytes = EVERY_OCI.to_vec();
            let end = (at + drop).min(bytes.len());
            bytes.splice(at..end, with.bytes());
            if let Ok(Document::Image(manifest)) = Document::parse(&bytes, None) {
                proptest::prop_assert_eq!(manifest.bytes(), &bytes[..]);
                let mut layers = manifest.layers.clone();
                if let Some(layer) = layers.first_mut() {
                    layer.digest = Digest::of(b"other");
                }
                let _ = manifest.with_layers(&layers);
            }
        }
    }
}
