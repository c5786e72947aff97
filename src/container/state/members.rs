//! A JSON object kept as its raw members, so that rewriting a file changes only what was meant to change.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The members of one object, in the order of the file. Numbers, unknown members and nested order stay byte for byte.
#[derive(Debug, Clone, Default)]
pub struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Parses one JSON object. Of members with the same name the last one counts, as in every reader of the format.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// The raw value of `key`; `null` counts as absent.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        let (_, value) = self.0.iter().find(|(name, _)| name == key)?;
        if value.get() == "null" { None } else { Some(value) }
    }

    /// The value of `key` as a `T`, or `T`'s default where it is absent or `null`.
    pub fn get<T: DeserializeOwned + Default>(&self, key: &str) -> serde_json::Result<T> {
        self.raw(key).map_or_else(|| Ok(T::default()), |raw| serde_json::from_str(raw.get()))
    }

    /// Names and raw values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_ref()))
    }

    /// Puts `value` at `key`: in its old place, or at the end.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> serde_json::Result<()> {
        let raw = serde_json::value::to_raw_value(value)?;
        self.insert(key.to_owned(), raw);
        Ok(())
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| name != key);
    }

    /// The object as compact JSON.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    fn insert(&mut self, key: String, raw: Box<RawValue>) {
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, value)) => *value = raw,
            None => self.0.push((key, raw)),
        }
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.insert(key, value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::Members;

    #[test]
    fn a_rewrite_changes_only_the_member_that_was_set() {
        let mut members = Members::parse(br#"{"z":1.50,"new in 2.0":{"b":1,"a":[ ]},"name":"old","none":null}"#).unwrap();
        members.set("name", "new").unwrap();
        members.set("added", &[1, 2]).unwrap();
        members.remove("none");
        let text = String::from_utf8(members.to_bytes().unwrap()).unwrap();
        assert_eq!(text, r#"{"z":1.50,"new in 2.0":{"b":1,"a":[ ]},"name":"new","added":[1,2]}"#);
    }

    #[test]
    fn null_and_absent_members_are_the_default() {
        let members = Members::parse(br#"{"a":null}"#).unwrap();
        assert_eq!(members.get::<String>("a").unwrap(), "");
        assert_eq!(members.get::<Vec<u8>>("b").unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in ["", "[]", "{", "1", "{\"a\":}"] {
            assert!(Members::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
