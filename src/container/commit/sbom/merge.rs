//! Several lists of contents as one, and the package URLs in it (`--sbom-merge-strategy`). Pure.
//!
//! Invariant: a single list keeps its bytes. Of two entries with one name and version the first stays.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::golang::json;

/// How lists of several scans become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeStrategy {
    /// One after the other.
    Cat,
    /// CycloneDX: components, each name and version once.
    CycloneDx,
    /// SPDX: packages, each name and version once, and licences by their IDs.
    Spdx,
}

/// A word that is no strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sbom arguments included unrecognized merge strategy {0:?}")]
pub struct UnknownStrategy(String);

impl std::str::FromStr for MergeStrategy {
    type Err = UnknownStrategy;

    fn from_str(word: &str) -> Result<Self, UnknownStrategy> {
        match word {
            "cat" => Ok(Self::Cat),
            "merge-cyclonedx-by-component-name-and-version" => Ok(Self::CycloneDx),
            "merge-spdx-by-package-name-and-versioninfo" => Ok(Self::Spdx),
            _ => Err(UnknownStrategy(word.to_owned())),
        }
    }
}

/// Why lists could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list is no JSON object.
    #[error("decoding JSON document")]
    Json(#[from] serde_json::Error),
    /// An entry has not what it is told apart by.
    #[error("merging the {field:?} field: {problem}")]
    Entry {
        /// The member that holds the entry.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// One list of all.
#[derive(Debug, PartialEq, Eq)]
pub struct Merged {
    /// The list.
    pub list: Vec<u8>,
    /// The document that names its package URLs.
    pub purls: Vec<u8>,
}

/// Merges lists, the first of which decides on everything but the entries.
pub fn merge(strategy: MergeStrategy, lists: &[Vec<u8>]) -> Result<Merged, Error> {
    let mut purls = BTreeSet::new();
    let fields: &[Field] = match strategy {
        MergeStrategy::Cat => return Ok(Merged { list: lists.concat(), purls: document(&purls)? }),
        MergeStrategy::CycloneDx => &[Field { name: "components", read: component }],
        MergeStrategy::Spdx => {
            &[Field { name: "packages", read: package }, Field { name: "hasExtractedLicensingInfos", read: licence }]
        }
    };
    let mut documents = lists.iter().map(|list| serde_json::from_slice::<Map<String, Value>>(list));
    let mut all = documents.next().transpose()?.unwrap_or_default();
    let first = all.clone();
    for next in std::iter::once(Ok(first)).chain(documents) {
        let next = next?;
        for field in fields {
            add(&mut all, &next, field, &mut purls)?;
        }
    }
    let list = match lists {
        [one] => one.clone(),
        _ => line(&all)?,
    };
    Ok(Merged { list, purls: document(&purls)? })
}

/// Name and version of an entry, and its package URL.
type Entry<'a> = (String, Option<&'a str>);

/// A member with entries, and how they are told apart.
struct Field {
    name: &'static str,
    read: fn(&Value) -> Result<Entry<'_>, String>,
}

/// Adds the entries of `from` that `to` has not.
fn add(
    to: &mut Map<String, Value>,
    from: &Map<String, Value>,
    field: &Field,
    purls: &mut BTreeSet<String>,
) -> Result<(), Error> {
    let wrong = |problem| Error::Entry { field: field.name, problem };
    let entries = |map: &Map<String, Value>| map.get(field.name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = entries(to);
    let mut seen = BTreeSet::new();
    for entry in &all {
        seen.insert((field.read)(entry).map_err(wrong)?.0);
    }
    for entry in entries(from) {
        let (key, purl) = (field.read)(&entry).map_err(wrong)?;
        purls.extend(purl.filter(|purl| !purl.is_empty()).map(str::to_owned));
        if seen.insert(key) {
            all.push(entry);
        }
    }
    if !all.is_empty() {
        to.insert(field.name.to_owned(), Value::Array(all));
    }
    Ok(())
}

fn text<'v>(entry: &'v Value, name: &str) -> Result<Option<&'v str>, String> {
    match entry.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("{name} {value} is not a string")),
    }
}

fn named(entry: &Value, kind: &str, version: &str) -> Result<String, String> {
    let name = text(entry, "name")?.ok_or_else(|| format!("no name in {kind} {entry}"))?;
    Ok(match text(entry, version)?.filter(|version| !version.is_empty()) {
        Some(version) => format!("{name}@{version}"),
        None => name.to_owned(),
    })
}

fn component(entry: &Value) -> Result<(String, Option<&str>), String> {
    Ok((named(entry, "component", "version")?, text(entry, "purl")?))
}

fn package(entry: &Value) -> Result<(String, Option<&str>), String> {
    let references = entry.get("externalRefs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_purl = |reference: &&Value| {
        let is = |name: &str, wanted: &str| reference.get(name).and_then(Value::as_str) == Some(wanted);
        is("referenceCategory", "PACKAGE-MANAGER") && is("referenceType", "purl")
    };
    let purl = references.iter().rfind(is_purl).map(|reference| text(reference, "referenceLocator")).transpose()?;
    Ok((named(entry, "package", "versionInfo")?, purl.flatten()))
}

fn licence(entry: &Value) -> Result<(String, Option<&str>), String> {
    let id = text(entry, "licenseId")?.ok_or_else(|| format!("no licenseId in license {entry}"))?;
    Ok((id.to_owned(), None))
}

/// The document of `--sbom-purl-output`.
fn document(purls: &BTreeSet<String>) -> Result<Vec<u8>, serde_json::Error> {
    let contents = if purls.is_empty() { json!({}) } else { json!({ "dependencies": purls }) };
    line(&json!({ "image_contents": contents }))
}

fn line<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(strategy: MergeStrategy, lists: &[&str]) -> Result<(String, String), String> {
        let lists: Vec<Vec<u8>> = lists.iter().map(|list| list.as_bytes().to_vec()).collect();
        let merged = merge(strategy, &lists).map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok((text(merged.list), text(merged.purls)))
    }

    #[test]
    fn components_are_told_apart_by_name_and_version() {
        let first = r#"{"version":1,"components":[{"name":"a","version":"1","purl":"pkg:z/a@1","x":1},{"name":"b"}]}"#;
        let second = r#"{"version":2,"y":0,"components":[{"name":"a","version":"1","purl":"pkg:y/a@1"},{"name":"a","version":"2"},{"name":"b"}]}"#;
        let (list, purls) = merged(MergeStrategy::CycloneDx, &[first, second]).unwrap();
        let want = r#"{"components":[{"name":"a","purl":"pkg:z/a@1","version":"1","x":1},{"name":"b"},{"name":"a","version":"2"}],"version":1}"#;
        assert_eq!(list, format!("{want}\n"));
        assert_eq!(purls, "{\"image_contents\":{\"dependencies\":[\"pkg:y/a@1\",\"pkg:z/a@1\"]}}\n");
    }

    #[test]
    fn packages_have_their_urls_in_references() {
        let reference = |category: &str| {
            format!(r#"{{"referenceCategory":"{category}","referenceType":"purl","referenceLocator":"pkg:{category}"}}"#)
        };
        let first = format!(
            r#"{{"packages":[{{"name":"a","versionInfo":"1","externalRefs":[{},{}]}}],"hasExtractedLicensingInfos":[{{"licenseId":"L"}}]}}"#,
            reference("PACKAGE-MANAGER"),
            reference("SECURITY")
        );
        let second = r#"{"packages":[{"name":"a","versionInfo":"1"},{"name":"c"}],"hasExtractedLicensingInfos":[{"licenseId":"L"},{"licenseId":"M"}]}"#;
        let (list, purls) = merged(MergeStrategy::Spdx, &[&first, second]).unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list["packages"].as_array().map(Vec::len), Some(2));
        assert_eq!(list["hasExtractedLicensingInfos"], json!([{"licenseId": "L"}, {"licenseId": "M"}]));
        assert!(purls.contains("[\"pkg:PACKAGE-MANAGER\"]"), "{purls}");
    }

    #[test]
    fn a_single_list_keeps_its_bytes() {
        let list = "{ \"components\": [ {\"name\":\"a\", \"purl\":\"p\"} ] }\n\n";
        assert_eq!(
            merged(MergeStrategy::CycloneDx, &[list]).unwrap(),
            (list.to_owned(), "{\"image_contents\":{\"dependencies\":[\"p\"]}}\n".to_owned())
        );
        assert_eq!(merged(MergeStrategy::Cat, &["no JSON", " at all"]).unwrap().0, "no JSON at all");
        assert_eq!(merged(MergeStrategy::Cat, &["x"]).unwrap().1, "{\"image_contents\":{}}\n");
        assert_eq!(merged(MergeStrategy::Spdx, &["{}", "{}"]).unwrap().0, "{}\n");
    }

    #[test]
    fn what_cannot_be_told_apart_is_an_error() {
        for (strategy, list, words) in [
            (MergeStrategy::CycloneDx, r#"{"components":[{}]}"#, "no name in component"),
            (MergeStrategy::CycloneDx, r#"{"components":[{"name":1}]}"#, "name 1 is not a string"),
            (MergeStrategy::CycloneDx, r#"{"components":[7]}"#, "no name in component 7"),
            (MergeStrategy::CycloneDx, r#"{"components":[{"name":"a","purl":2}]}"#, "purl 2 is not a string"),
            (MergeStrategy::Spdx, r#"{"packages":[{"name":"a","versionInfo":[]}]}"#, "versionInfo [] is not a string"),
            (MergeStrategy::Spdx, r#"{"hasExtractedLicensingInfos":[{}]}"#, "no licenseId"),
            (MergeStrategy::Spdx, "[]", "decoding JSON document"),
            (MergeStrategy::CycloneDx, "", "decoding JSON document"),
        ] {
            let error = merged(strategy, &[list]).unwrap_err();
            assert!(error.contains(words), "{list}: {error}");
        }
    }

    #[test]
    fn strategies_have_buildahs_names() {
        assert_eq!("cat".parse(), Ok(MergeStrategy::Cat));
        assert_eq!(
            "".parse::<MergeStrategy>().unwrap_err().to_string(),
            "sbom arguments included unrecognized merge strategy \"\""
        );
    }
}
