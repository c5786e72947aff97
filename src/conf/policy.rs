//! policy.json: which images may be used, containers-policy.json(5).
//!
//! Must not guess: a requirement that cannot be checked is neither met nor ignored, it is [`Requirement::Unsupported`]; a file that
//! can be read in two ways is an error.

mod requirement;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use self::requirement::{Identity, Key, Requirement, Signed};
use super::{Environment, Error, Presence, read_file};

/// What the policy says about images whose signatures nobody can look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// `insecureAcceptAnything`, or no file.
    #[default]
    Accept,
    /// Signatures, or what is not known: to be refused by name.
    Unsupported,
    /// `reject`.
    Reject,
}

/// A signature policy: what is said about images by where they come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// What holds where nothing else does; empty is no restriction.
    default: Vec<Requirement>,
    /// By the name of the transport, then by scope; the scope `""` is the whole transport.
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
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
        let requirements = |raw: &[Box<RawValue>]| {
            // A list without any is an error, not a permission.
            let all: Result<Vec<_>, _> = raw.iter().map(|raw| Requirement::parse(raw)).collect();
            match all {
                Ok(all) if all.is_empty() => Err(refuse("a list of requirements is empty".to_owned())),
                all => all.map_err(refuse),
            }
        };
        let default = requirements(&document.default)?;
        let mut transports = BTreeMap::new();
        for (transport, scopes) in document.transports.0 {
            let mut by_scope = BTreeMap::new();
            for (scope, raw) in scopes.0 {
                by_scope.insert(scope, requirements(&raw)?);
            }
            transports.insert(transport, by_scope);
        }
        Ok(Self { default, transports })
    }

    /// What an image must fulfil that comes by `transport` and lies in `scopes`, the narrowest first: the first scope that the policy
    /// has decides, then the transport's own entry, then the default (containers-policy.json(5)). Nothing is no restriction.
    pub fn requirements(&self, transport: &str, scopes: &[String]) -> &[Requirement] {
        let Some(known) = self.transports.get(transport) else { return &self.default };
        let scoped = scopes.iter().find_map(|scope| known.get(scope.as_str()));
        scoped.or_else(|| known.get("")).unwrap_or(&self.default)
    }

    /// Whether such an image may be read without a look at its signatures.
    pub fn verdict(&self, transport: &str, scopes: &[String]) -> Verdict {
        strictest(self.requirements(transport, scopes))
    }

    /// Whether images may be read from the local store, whatever their names.
    pub fn local_store(&self) -> Verdict {
        let whole = self.verdict(STORAGE, &[]);
        let scoped = self.transports.get(STORAGE).into_iter().flatten().filter(|(scope, _)| !scope.is_empty());
        // A scope below the transport is about some images only: those can't be told apart here.
        if scoped.map(|(_, all)| strictest(all)).all(|verdict| verdict == whole) { whole } else { Verdict::Unsupported }
    }
}

/// All of them must be met, so the strictest decides.
fn strictest(requirements: &[Requirement]) -> Verdict {
    let one = |requirement: &Requirement| match requirement {
        Requirement::Accept => Verdict::Accept,
        Requirement::Reject => Verdict::Reject,
        Requirement::SignedBy(_) | Requirement::SigstoreSigned(_) | Requirement::Unsupported(_) => Verdict::Unsupported,
    };
    requirements.iter().map(one).max().unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Vec<Box<RawValue>>,
    #[serde(default)]
    transports: UniqueMap<UniqueMap<Vec<Box<RawValue>>>>,
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
    fn the_narrowest_scope_decides() {
        let text = r#"{"default":[{"type":"reject"}],"transports":{
            "dir":{"":[{"type":"insecureAcceptAnything"}],"/a/b":[{"type":"reject"}],"/a/b/c":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]},
            "oci":{"/a":[{"type":"insecureAcceptAnything"}]}}}"#;
        let policy = Policy::parse(Path::new("/p"), text).unwrap();
        let verdict = |transport: &str, scopes: &[&str]| {
            policy.verdict(transport, &scopes.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(verdict("dir", &["/a/b/c/d", "/a/b/c", "/a/b", "/a"]), Verdict::Unsupported);
        assert_eq!(verdict("dir", &["/a/b/x", "/a/b", "/a"]), Verdict::Reject);
        assert_eq!(verdict("dir", &["/x"]), Verdict::Accept);
        assert_eq!(verdict("oci", &["/a/x", "/a"]), Verdict::Accept);
        assert_eq!(verdict("oci", &["/x"]), Verdict::Reject);
        assert_eq!(verdict("docker-archive", &[]), Verdict::Reject);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let cases = [
            "",
            "{}",
            r#"{"default":[]}"#,
            r#"{"default":[{}]}"#,
            r#"{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}"#,
            r#"{"default":[{"type":"future"}]}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"oci":{"/x":[{"type":""}]}}}"#,
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
        write("home/.config/containers/policy.json", "signedBaseLayer");
        assert_eq!(load(None).unwrap().local_store(), Verdict::Unsupported);
        let explicit = write("mine.json", "insecureAcceptAnything");
        assert_eq!(load(Some(&explicit)).unwrap().local_store(), Verdict::Accept);
        assert!(load(Some(Path::new("/nonexistent"))).is_err());
    }

    proptest::proptest! {
        /// Whatever stands in the file, an image is accepted only where the file says so in these words.
        #[test]
        fn any_text_is_a_policy_or_an_error(
            text in "(\\{|\\}|\\[|\\]|:|,|\"default\"|\"transports\"|\"docker\"|\"type\"|\"reject\"|\"insecureAcceptAnything\"|\"\"|null|1){0,30}",
        ) {
            if let Ok(policy) = Policy::parse(Path::new("/p"), &text) {
                let accepted = [policy.local_store(), policy.verdict("docker", &[])].contains(&Verdict::Accept);
                proptest::prop_assert!(!accepted || text.contains("insecureAcceptAnything"));
            }
        }
    }
}
