//! `--source-policy-file`: which images and addresses a build may use, and what it uses in their place (BuildKit's source policy, as JSON).
//!
//! ```text
//! {"rules": [{"action": "ALLOW" | "DENY" | "CONVERT",
//!             "selector": {"identifier": TEXT, "matchType": "WILDCARD" | "EXACT" | "REGEX"},
//!             "updates": {"identifier": TEXT, "attrs": {"http.checksum": DIGEST}}}]}
//! ```
//!
//! Invariant: the first rule that matches decides, as with Buildah; what none matches is allowed. A file with anything that is not
//! understood is refused as a whole: a rule that is left out would allow what it was written to deny.
//!
//! Pure. An image is `docker-image://` and its whole name with tag or digest, an address is itself.

use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::image::{Location, Reference};

/// What an identifier of an image begins with.
const IMAGE: &str = "docker-image://";
/// The one attribute that a rule may set.
const CHECKSUM: &str = "http.checksum";

/// All rules.
#[derive(Debug, Clone, Default)]
pub struct SourcePolicy {
    rules: Vec<Rule>,
}

/// What becomes of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permitted {
    /// What is used.
    pub(super) source: String,
    /// What its bytes must be, if the policy says so.
    pub(super) checksum: Option<String>,
}

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON, or has members that are not known.
    #[error("it is no source policy")]
    Json(#[from] serde_json::Error),
    /// A rule that says too little or what is not known.
    #[error("rule {number}: {problem}")]
    Rule {
        /// Its number, from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Why a source is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A rule denies it.
    #[error("{identifier} is denied by rule {number} of the source policy")]
    Denied {
        /// The source.
        identifier: String,
        /// The rule's number, from 1.
        number: usize,
    },
    /// A rule converts it to something of another kind.
    #[error("{identifier}: rule {number} of the source policy converts it to {converted:?}, which cannot stand in its place")]
    Kind {
        /// The source.
        identifier: String,
        /// The rule's number, from 1.
        number: usize,
        /// What it would be.
        converted: String,
    },
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    action: Action,
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(String),
    Matches(Regex),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
    Convert { identifier: Option<String>, checksum: Option<String> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "version")]
    _version: Option<serde_json::Value>,
    #[serde(default)]
    rules: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    action: String,
    selector: Selector,
    #[serde(default)]
    updates: Option<Updates>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selector {
    identifier: String,
    #[serde(default, rename = "matchType")]
    match_type: Option<String>,
    #[serde(default)]
    constraints: Vec<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Updates {
    #[serde(default)]
    identifier: Option<String>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl SourcePolicy {
    /// Reads the content of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let file: File = serde_json::from_slice(bytes)?;
        let rules = file
            .rules
            .into_iter()
            .enumerate()
            .map(|(at, written)| rule(written).map_err(|problem| Error::Rule { number: at + 1, problem }));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The image to use for the one that `name` means.
    pub(super) fn image(&self, name: &str) -> Result<Permitted, Refused> {
        if self.rules.is_empty() {
            return Ok(Permitted { source: name.to_owned(), checksum: None });
        }
        let identifier = identifier(name);
        let Some((number, found)) = self.decide(&identifier)? else {
            return Ok(Permitted { source: name.to_owned(), checksum: None });
        };
        match found.source.strip_prefix(IMAGE) {
            Some(image) => Ok(Permitted { source: image.to_owned(), checksum: None }),
            None => Err(Refused::Kind { identifier, number, converted: found.source }),
        }
    }

    /// The address to use for `address`.
    pub(super) fn address(&self, address: &str) -> Result<Permitted, Refused> {
        let Some((number, found)) = self.decide(address)? else {
            return Ok(Permitted { source: address.to_owned(), checksum: None });
        };
        match found.source.split_once("://") {
            Some((scheme, _)) if scheme != "docker-image" => Ok(found),
            _ => Err(Refused::Kind { identifier: address.to_owned(), number, converted: found.source }),
        }
    }

    /// What the first rule that matches makes of it; none for nothing else than it is.
    fn decide(&self, identifier: &str) -> Result<Option<(usize, Permitted)>, Refused> {
        let Some(at) = self.rules.iter().position(|rule| rule.pattern.matches(identifier)) else { return Ok(None) };
        let (rule, number) = (&self.rules[at], at + 1);
        match &rule.action {
            Action::Allow => Ok(None),
            Action::Deny => Err(Refused::Denied { identifier: identifier.to_owned(), number }),
            Action::Convert { identifier: template, checksum } => {
                let source = template
                    .as_ref()
                    .map_or_else(|| identifier.to_owned(), |template| rule.pattern.converted(identifier, template));
                Ok(Some((number, Permitted { source, checksum: checksum.clone() })))
            }
        }
    }
}

impl Pattern {
    fn matches(&self, identifier: &str) -> bool {
        match self {
            Self::Exact(text) => text == identifier,
            Self::Matches(regex) => regex.is_match(identifier.as_bytes()),
        }
    }

    /// `template`, with `$1` and `${1}` for what the first group or star stands for.
    fn converted(&self, identifier: &str, template: &str) -> String {
        let Self::Matches(regex) = self else { return template.to_owned() };
        let Some(found) = regex.captures(identifier.as_bytes()) else { return template.to_owned() };
        let mut text = Vec::new();
        found.expand(template.as_bytes(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn rule(written: Written) -> Result<Rule, String> {
    if !written.selector.constraints.is_empty() {
        return Err("constraints on attributes are not supported".to_owned());
    }
    let text = written.selector.identifier;
    if text.is_empty() {
        return Err("the selector has no identifier".to_owned());
    }
    let pattern = match written.selector.match_type.as_deref().unwrap_or("WILDCARD") {
        "EXACT" => Pattern::Exact(text),
        "WILDCARD" => Pattern::Matches(regex(&wildcard(&text))?),
        "REGEX" => Pattern::Matches(regex(&text)?),
        other => return Err(format!("unknown matchType {other:?}: there are EXACT, WILDCARD and REGEX")),
    };
    let updates = written.updates.unwrap_or_default();
    let action = match written.action.as_str() {
        "ALLOW" => Action::Allow,
        "DENY" => Action::Deny,
        "CONVERT" => conversion(updates)?,
        other => return Err(format!("unknown action {other:?}: there are ALLOW, DENY and CONVERT")),
    };
    Ok(Rule { pattern, action })
}

fn conversion(mut updates: Updates) -> Result<Action, String> {
    let checksum = updates.attrs.remove(CHECKSUM);
    if let Some(name) = updates.attrs.keys().next() {
        return Err(format!("the attribute {name:?} cannot be set: {CHECKSUM} is the only one"));
    }
    let identifier = updates.identifier.filter(|text| !text.is_empty());
    if identifier.is_none() && checksum.is_none() {
        return Err("CONVERT without updates".to_owned());
    }
    Ok(Action::Convert { identifier, checksum })
}

/// A pattern with `*` and `?`, which stand for any characters, as a regular expression.
fn wildcard(text: &str) -> String {
    let mut pattern = String::from("(?s)^");
    for character in text.chars() {
        match character {
            '*' => pattern.push_str("(.*)"),
            '?' => pattern.push_str("(.)"),
            other => pattern.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push('$');
    pattern
}

fn regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).unicode(false).build().map_err(|error| error.to_string())
}

/// What rules are compared with. A name without a registry counts as one of docker.io; a place of this machine is as it is typed.
fn identifier(name: &str) -> String {
    let reference = match Location::parse(name) {
        Ok(Some(Location::Registry(reference))) => Some(reference),
        Ok(None) => Reference::normalized(name).ok(),
        _ => return name.to_owned(),
    };
    match reference {
        Some(name) => format!("{IMAGE}{name}"),
        None => format!("{IMAGE}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> SourcePolicy {
        SourcePolicy::parse(format!(r#"{{"version": 1, "rules": [{rules}]}}"#).as_bytes()).unwrap()
    }

    const DENY_ALL: &str = r#"{"action": "DENY", "selector": {"identifier": "*"}}"#;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = r#"{"action": "ALLOW", "selector": {"identifier": "docker-image://docker.io/library/debian:1?"}},
            {"action": "CONVERT", "selector": {"identifier": "docker-image://docker.io/library/alpine:latest", "matchType": "EXACT"},
             "updates": {"identifier": "docker-image://quay.io/alpine:3"}},
            {"action": "CONVERT", "selector": {"identifier": "docker-image://docker.io/*:*"},
             "updates": {"identifier": "docker-image://mirror.example/${1}:$2"}},
            {"action": "CONVERT", "selector": {"identifier": "^docker-image://quay\\.io/([^/:]+):latest$", "matchType": "REGEX"},
             "updates": {"identifier": "docker-image://quay.io/$1:stable"}}"#;
        let policy = policy(&format!("{rules},{DENY_ALL}"));
        for (name, used) in [
            ("debian:12", "debian:12"),
            ("docker.io/library/debian:11", "docker.io/library/debian:11"),
            ("alpine", "quay.io/alpine:3"),
            ("docker://alpine", "quay.io/alpine:3"),
            ("debian:sid", "mirror.example/library/debian:sid"),
            ("me/app:1", "mirror.example/me/app:1"),
            ("quay.io/x", "quay.io/x:stable"),
        ] {
            assert_eq!(policy.image(name).map(|found| found.source), Ok(used.to_owned()), "{name}");
        }
        for (name, identifier) in [
            ("quay.io/x:1", "docker-image://quay.io/x:1"),
            ("localhost/x", "docker-image://localhost/x:latest"),
            ("oci:/d:x", "oci:/d:x"),
        ] {
            let identifier = identifier.to_owned();
            assert_eq!(policy.image(name), Err(Refused::Denied { identifier, number: 5 }), "{name}");
        }
    }

    #[test]
    fn addresses_are_denied_converted_and_given_a_checksum() {
        let policy = policy(
            r#"{"action": "CONVERT", "selector": {"identifier": "https://a.example/x"}, "updates": {"attrs": {"http.checksum": "sha256:1"}}},
               {"action": "CONVERT", "selector": {"identifier": "https://b.example/*"}, "updates": {"identifier": "https://c.example/$1"}},
               {"action": "CONVERT", "selector": {"identifier": "https://d.example/*"}, "updates": {"identifier": "docker-image://x"}},
               {"action": "CONVERT", "selector": {"identifier": "docker-image://docker.io/library/y:latest"}, "updates": {"identifier": "https://y"}},
               {"action": "DENY", "selector": {"identifier": "http://*"}}"#,
        );
        let permitted = |source: &str, checksum: Option<&str>| {
            Ok(Permitted { source: source.to_owned(), checksum: checksum.map(str::to_owned) })
        };
        assert_eq!(policy.address("https://a.example/x"), permitted("https://a.example/x", Some("sha256:1")));
        assert_eq!(policy.address("https://b.example/d/f"), permitted("https://c.example/d/f", None));
        assert_eq!(policy.address("https://e.example/"), permitted("https://e.example/", None));
        assert!(policy.address("https://d.example/").is_err());
        assert!(policy.image("y").is_err());
        let error = policy.address("http://a.example/x").unwrap_err().to_string();
        assert_eq!(error, "http://a.example/x is denied by rule 5 of the source policy");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (rules, words) in [
            (r#"{"action": "ACCEPT", "selector": {"identifier": "*"}}"#, "rule 1: unknown action \"ACCEPT\""),
            (r#"{"action": "DENY", "selector": {"identifier": "*", "matchType": "GLOB"}}"#, "unknown matchType \"GLOB\""),
            (r#"{"action": "DENY", "selector": {"identifier": ""}}"#, "no identifier"),
            (r#"{"action": "DENY", "selector": {"identifier": "(", "matchType": "REGEX"}}"#, "rule 1: regex parse error"),
            (r#"{"action": "DENY", "selector": {"identifier": "*", "constraints": [{}]}}"#, "constraints"),
            (r#"{"action": "CONVERT", "selector": {"identifier": "*"}}"#, "CONVERT without updates"),
            (r#"{"action": "CONVERT", "selector": {"identifier": "*"}, "updates": {"attrs": {"x": "y"}}}"#, "attribute \"x\""),
            (r#"{"action": "DENY", "selectors": {}}"#, "no source policy"),
        ] {
            let error = SourcePolicy::parse(format!(r#"{{"rules": [{rules}]}}"#).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(words), "{rules}: {error}");
        }
        assert!(SourcePolicy::parse(b"x").is_err());
        assert_eq!(SourcePolicy::default().image("x").map(|found| found.source), Ok("x".to_owned()));
    }
}
