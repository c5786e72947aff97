//! The table of containers: `<driver>-containers/containers.json` and `volatile-containers.json`.
//!
//! Invariant: names are unique over both files. Ours are written to the stable file, since older tools see no other.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::id_map::IdRange;
use crate::selinux::Labels;
use crate::store::Error;
use crate::table::fields;
use crate::table::records::{Origin, Place, Records};
use crate::{ContainerId, ImageId, LayerId};

/// The record of one container (format, section 3.7). Members that are not listed here survive in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its ID.
    pub id: ContainerId,
    /// Names, unique among containers.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The image it was made from; none when made from scratch.
    #[serde(default, deserialize_with = "fields::optional_id", serialize_with = "empty_if_none")]
    pub image: Option<ImageId>,
    /// Its writable layer.
    pub layer: LayerId,
    /// Opaque text of the tool that made it.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// When the record was made, RFC 3339.
    #[serde(default, deserialize_with = "fields::nullable")]
    pub created: String,
    /// The user namespace's map.
    #[serde(default, rename = "uidmap", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub uid_map: Vec<IdRange>,
    /// The user namespace's map of groups.
    #[serde(default, rename = "gidmap", deserialize_with = "fields::nullable", skip_serializing_if = "Vec::is_empty")]
    pub gid_map: Vec<IdRange>,
    /// `MountLabel`, `ProcessLabel`, `MountOpts`, `Volatile` and what else tools put there.
    #[serde(default, deserialize_with = "fields::nullable", skip_serializing_if = "Map::is_empty")]
    pub flags: Map<String, Value>,
}

/// The format has `image` in every record, `""` for scratch.
fn empty_if_none<S: serde::Serializer>(image: &Option<ImageId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(image.as_ref().map_or("", ImageId::as_str))
}

impl Container {
    /// The record of a new volatile container, made now, with a random ID and no SELinux labels.
    pub fn new(image: Option<ImageId>, layer: LayerId) -> Self {
        let flags = [("MountLabel", json!("")), ("ProcessLabel", json!("")), ("Volatile", json!(true))];
        Self {
            id: ContainerId::random(),
            names: Vec::new(),
            image,
            layer,
            metadata: String::new(),
            created: fields::now(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            flags: flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// Its name, or its ID where it has none.
    pub fn name(&self) -> &str {
        self.names.first().map_or(self.id.as_str(), String::as_str)
    }

    /// Options for its mounts, in place of the configured ones.
    pub fn mount_options(&self) -> Vec<String> {
        let listed = self.flags.get("MountOpts").and_then(Value::as_array);
        listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Its SELinux labels; empty ones for none.
    pub fn labels(&self) -> Labels {
        let flag = |name: &str| self.flags.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Labels { process: flag("ProcessLabel"), mount: flag("MountLabel") }
    }

    /// Notes its SELinux labels.
    pub(crate) fn set_labels(&mut self, labels: &Labels) {
        for (name, label) in [("ProcessLabel", &labels.process), ("MountLabel", &labels.mount)] {
            self.flags.insert(name.to_owned(), Value::from(label.as_str()));
        }
    }

    /// Whether its layer may be mounted without syncing.
    pub fn is_volatile(&self) -> bool {
        self.flags.get("Volatile").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// The containers as they were when the table was read: the stable file's first, then the volatile ones.
#[derive(Debug, Default)]
pub struct Containers {
    pub(crate) records: Records,
}

impl Containers {
    pub(crate) fn new(records: Records) -> Self {
        Self { records }
    }

    /// Every container, in the order of the tables.
    pub fn all(&self) -> Result<Vec<Container>, Error> {
        self.records.places().into_iter().map(|place| self.records.parse(place)).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.places().is_empty()
    }

    /// The container with this ID.
    pub fn find(&self, id: &ContainerId) -> Result<Option<Container>, Error> {
        self.records.find(id.as_str()).map(|place| self.records.parse(place)).transpose()
    }

    /// The container with this ID, which must exist.
    pub fn get(&self, id: &ContainerId) -> Result<Container, Error> {
        self.find(id)?.ok_or_else(|| Error::NoContainer(id.clone()))
    }

    /// The container that has this name.
    pub fn by_name(&self, name: &str) -> Result<Option<Container>, Error> {
        self.place_of_name(name).map(|place| self.records.parse(place)).transpose()
    }

    /// The container that `text` stands for: ID, then name, then layer ID, then unique prefix of an ID. Several that start so:
    /// `Error::Ambiguous`.
    pub fn resolve(&self, text: &str) -> Result<Option<Container>, Error> {
        let is_here = |place: &Place| self.records.origin(*place) != Origin::Elsewhere;
        let by_layer = || {
            self.records
                .mentioning(text)
                .into_iter()
                .find(|place| self.records.member(*place, "layer") == Some(text) && is_here(place))
        };
        let exact = self.records.find(text).filter(is_here).or_else(|| self.place_of_name(text)).or_else(by_layer);
        let place = match exact {
            Some(place) => Some(place),
            None => self.records.by_prefix(text)?,
        };
        place.map(|place| self.records.parse(place)).transpose()
    }

    /// The containers made from this image.
    pub fn of_image(&self, image: &ImageId) -> Vec<ContainerId> {
        self.with_member("image", image.as_str())
    }

    /// The containers whose writable layer is this one.
    pub fn of_layer(&self, layer: &LayerId) -> Vec<ContainerId> {
        self.with_member("layer", layer.as_str())
    }

    pub(crate) fn place_of_name(&self, name: &str) -> Option<Place> {
        let has_name = |place: &Place| {
            self.records.member::<Vec<String>>(*place, "names").is_some_and(|names| names.iter().any(|n| n == name))
        };
        self.records.places().into_iter().find(has_name)
    }

    pub(crate) fn push(&mut self, origin: Origin, container: &Container) -> Result<(), Error> {
        self.records.push(origin, container)
    }

    pub(crate) fn update(&mut self, id: &ContainerId, edit: impl FnOnce(&mut Container)) -> Result<Container, Error> {
        let place = self.records.find(id.as_str()).ok_or_else(|| Error::NoContainer(id.clone()))?;
        self.records.update(place, edit)
    }

    pub(crate) fn remove(&mut self, id: &ContainerId) {
        self.records.remove(id.as_str());
    }

    fn with_member(&self, name: &str, value: &str) -> Vec<ContainerId> {
        let places =
            self.records.mentioning(value).into_iter().filter(|place| self.records.member(*place, name) == Some(value));
        places.filter_map(|place| self.records.id(place).parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    fn containers(stable: &str, volatile: &str) -> Containers {
        let mut records = Records::default();
        for (text, origin) in [(stable, Origin::Stable), (volatile, Origin::Volatile)] {
            let table = Table::from_bytes(std::path::Path::new("/c.json"), text.as_bytes().to_vec()).unwrap();
            records.add(table, origin);
        }
        Containers::new(records)
    }

    fn digits(digit: &str) -> String {
        digit.repeat(64)
    }

    #[test]
    fn a_new_record_is_what_the_other_tools_expect() {
        let mut container = Container::new(None, digits("a").parse().unwrap());
        container.names.push("x".into());
        container.created = "T".into();
        let text = serde_json::to_string(&container).unwrap();
        let expected = format!(
            r#"{{"id":"{}","names":["x"],"image":"","layer":"{}","created":"T","flags":{{"MountLabel":"","ProcessLabel":"","Volatile":true}}}}"#,
            container.id,
            digits("a")
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn resolves_in_the_order_of_the_format() {
        let (a, b, l) = (digits("a"), digits("b"), digits("c"));
        // The second container is named like the prefix of the first one's ID: the name counts.
        let c = containers(
            &format!(r#"[{{"id":"{a}","names":["web"],"image":"","layer":"{l}"}}]"#),
            &format!(r#"[{{"id":"{b}","names":["aaaa"],"image":"{a}","layer":"{}"}}]"#, digits("d")),
        );
        let resolve = |text: &str| c.resolve(text).unwrap().map(|container| container.id.to_string());
        assert_eq!(resolve("web"), Some(a.clone()));
        assert_eq!(resolve("aaaa"), Some(b.clone()));
        assert_eq!(resolve("aaa"), Some(a.clone()));
        assert_eq!(resolve(&l), Some(a.clone()));
        assert_eq!(resolve(&b), Some(b.clone()));
        assert_eq!(resolve("we"), None);
        assert_eq!(c.of_image(&a.parse().unwrap()).len(), 1);
        assert_eq!(c.of_layer(&l.parse().unwrap()).len(), 1);
    }
}
