//! policy.json: which images may be used, containers-policy.json(5). Only what matters for the local store.
//!
//! Must not guess: a requirement that cannot be checked (a signature) is neither met nor ignored, it is
//! [`Verdict::Unsupported`]; a file that can be read in two ways is an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Environment, Error, Presence, read_file};

/// What the policy says about images in the local store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// `insecureAcceptAnything`, or no file.
    #[default]
    Accept,
    /// A requirement that cannot be checked (signatures): to be refused by name.
    Unsupported,
    /// `reject`.
    Reject,
}

/// A signature policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    storage: Verdict,
}

/// The transport's name for the local store.
const STORAGE: &str = "containers-storage";

impl Policy {
    /// Reads the policy: `explicit` (`--signature-policy`; it must exist), else `CONTAINERS_POLICY_JSON`, else the first of the
    /// standard files that exists. None is no restriction.
    pub fn load(environment: &Environment, explicit: Option<&Path>) -> Result<Self, Error> {
        Self::load_below(environment, explicit, Path::new("/"))
    }

    fn load_below(environment: &Environment, explicit: Option<&Path>, root: &Path) -> Result<Self, Error> {
        if let Some(path) = explicit.or(environment.policy_json.as_deref()) {
            return read_file(path, Presence::Required)?.map_or(Ok(Self::default()), |text| Self::parse(path, &text));
        }
        let home = environment.config_home().map(|home| home.join("containers/policy.json"));
        let system = ["etc", "usr/share"].map(|directory| root.join(directory).join("containers/policy.json"));
        for path in home.into_iter().chain(system) {
            if let Some(text) = read_file(&path, Presence::Readable)? {
                return Self::parse(&path, &text);
            }
        }
        Ok(Self::default())
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let refuse = |message: String| Error::Parse { path: path.to_owned(), message };
        let document: Document = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let verdict = |requirements: &[Requirement]| {
            // All of them must be met, so the strictest decides; a list without any is an error, not a permission.
            let strictest = requirements.iter().map(Requirement::verdict).max();
            strictest.ok_or_else(|| refuse("a list of requirements is empty".to_owned()))
        };
        let default = verdict(&document.default)?;
        let Some(scopes) = document.transports.0.get(STORAGE) else { return Ok(Self { storage: default }) };
        let whole = scopes.0.get("").map_or(Ok(default), |requirements| verdict(requirements))?;
        // A scope below the transport is about some images only: those can't be told apart here.
        let mut scoped = Vec::new();
        for requirements in scopes.0.iter().filter(|(scope, _)| !scope.is_empty()).map(|(_, requirements)| requirements) {
            scoped.push(verdict(requirements)?);
        }
        let storage = if scoped.iter().all(|verdict| *verdict == whole) { whole } else { Verdict::Unsupported };
        Ok(Self { storage })
    }

    /// Whether images may be read from the local store.
    pub fn local_store(&self) -> Verdict {
        self.storage
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: UniqueMap<UniqueMap<Vec<Requirement>>>,
}

/// One requirement; what only signatures need is not looked at.
#[derive(Deserialize)]
struct Requirement {
    r#type: String,
    #[serde(flatten)]
    _rest: BTreeMap<String, IgnoredAny>,
}

impl Requirement {
    fn verdict(&self) -> Verdict {
        match self.r#type.as_str() {
            "insecureAcceptAnything" => Verdict::Accept,
            "reject" => Verdict::Reject,
            _ => Verdict::Unsupported,
        }
    }
}

/// A JSON object in which a name that comes twice is an error.
struct UniqueMap<T>(BTreeMap<String, T>);

impl<T> Default for UniqueMap<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for UniqueMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Unique<T> {
            type Value = UniqueMap<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = access.next_entry::<String, T>()? {
                    if members.insert(name.clone(), value).is_some() {
                        return Err(serde::de::Error::custom(format_args!("duplicate member {name:?}")));
                    }
                }
                Ok(UniqueMap(members))
            }
        }

        deserializer.deserialize_map(Unique(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Verdict, String> {
        Policy::parse(Path::new("/p"), text).map(|policy| policy.local_store()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_most_specific_list_decides() {
        let accept = r#"[{"type":"insecureAcceptAnything"}]"#;
        let reject = r#"[{"type":"reject"}]"#;
        let signed = r#"[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]"#;
        let storage = |inner: &str| format!(r#"{{"default":{reject},"transports":{{"containers-storage":{inner}}}}}"#);
        let cases = [
            (format!(r#"{{"default":{accept}}}"#), Verdict::Accept),
            (format!(r#"{{"default":{reject}}}"#), Verdict::Reject),
            (format!(r#"{{"default":{signed}}}"#), Verdict::Unsupported),
            (format!(r#"{{"default":{reject},"transports":{{"docker":{{"":{accept}}}}}}}"#), Verdict::Reject),
            (storage(&format!(r#"{{"":{accept}}}"#)), Verdict::Accept),
            (storage(&format!(r#"{{"docker.io/x":{accept}}}"#)), Verdict::Unsupported),
            (storage(&format!(r#"{{"":{accept},"docker.io/x":{accept}}}"#)), Verdict::Accept),
            (storage("{}"), Verdict::Reject),
            (r#"{"default":[{"type":"insecureAcceptAnything"},{"type":"reject"}]}"#.to_owned(), Verdict::Reject),
        ];
        for (text, verdict) in cases {
            assert_eq!(parsed(&text), Ok(verdict), "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let cases = [
            "",
            "{}",
            r#"{"default":[]}"#,
            r#"{"default":[{}]}"#,
            r#"{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}"#,
            r#"{"default":[{"type":"reject"}],"transprots":{}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"containers-storage":{},"containers-storage":{}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"containers-storage":{"":[]}}}"#,
        ];
        for text in cases {
            assert!(parsed(text).is_err_and(|error| error.starts_with("parsing \"/p\"")), "{text}");
        }
    }

    #[test]
    fn the_first_file_counts_and_none_is_no_restriction() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment { home: Some(root.path().join("home")), ..Environment::default() };
        let load = |explicit: Option<&Path>| Policy::load_below(&environment, explicit, root.path());
        assert_eq!(load(None).unwrap().local_store(), Verdict::Accept);
        let write = |path: &str, kind: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, format!(r#"{{"default":[{{"type":"{kind}"}}]}}"#)).unwrap();
            path
        };
        write("etc/containers/policy.json", "reject");
        assert_eq!(load(None).unwrap().local_store(), Verdict::Reject);
        write("home/.config/containers/policy.json", "signedBy");
        assert_eq!(load(None).unwrap().local_store(), Verdict::Unsupported);
        let explicit = write("mine.json", "insecureAcceptAnything");
        assert_eq!(load(Some(&explicit)).unwrap().local_store(), Verdict::Accept);
        assert!(load(Some(Path::new("/nonexistent"))).is_err());
    }
}
