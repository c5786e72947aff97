//! `index.json`: the images of a layout, and adding one. Pure.

use std::collections::BTreeMap;

use containers_storage::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::image::location::Selector;
use crate::image::manifest::edit::{Members, edit_each};
use crate::image::manifest::index::MAX_INSTANCES;

/// Annotation with an image's name (OCI image specification, annotations).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What containerd and BuildKit write, with the full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The index of an empty layout.
const EMPTY: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

/// An image of the layout.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "mediaType")]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Entry {
    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The name that the layout gives it.
    pub(super) fn name(&self) -> Option<&str> {
        self.annotation(CONTAINERD_NAME).or_else(|| self.annotation(REF_NAME))
    }

    fn is_called(&self, name: &str) -> bool {
        self.annotation(REF_NAME) == Some(name) || self.annotation(CONTAINERD_NAME) == Some(name)
    }
}

#[derive(Deserialize)]
struct IndexJson {
    manifests: Vec<Entry>,
}

/// The image that `selector` means.
pub(super) fn choose(bytes: &[u8], selector: &Selector) -> Result<Entry, String> {
    let index: IndexJson = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut entries = index.manifests;
    let count = entries.len();
    if count > MAX_INSTANCES {
        return Err(format!("has {count} images (limit {MAX_INSTANCES})"));
    }
    let found = match selector {
        Selector::Only if count > 1 => {
            let names: Vec<String> = entries.iter().filter_map(|entry| entry.name().map(|name| format!("{name:?}"))).collect();
            let names = if names.is_empty() { "none has a name".to_owned() } else { names.join(", ") };
            return Err(format!("more than one image in oci, choose an image ({names}; or @0 to @{})", count - 1));
        }
        Selector::Only => entries.pop(),
        Selector::Index(index) if *index >= count => {
            return Err(format!("index {index} is too large: it has {count} images, counted from 0"));
        }
        Selector::Index(index) => Some(entries.swap_remove(*index)),
        Selector::Name(name) => {
            let found = entries.into_iter().find(|entry| entry.is_called(name));
            return found.ok_or_else(|| format!("no descriptor found for reference {name:?}"));
        }
    };
    found.ok_or_else(|| "no image in it".to_owned())
}

/// What an entry that we write looks like.
#[derive(Serialize)]
struct NewEntry<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    digest: &'a Digest,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<&'a str, &'a str>>,
}

/// The index `old` (none: an empty one) with one image more. A name is taken from the image that has it; an unnamed entry of the
/// same manifest is replaced.
pub(super) fn add(
    old: Option<&[u8]>,
    media_type: &str,
    manifest: &[u8],
    name: Option<&str>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut document: Members = serde_json::from_slice(old.unwrap_or(EMPTY.as_bytes()))?;
    let empty = RawValue::from_string("[]".to_owned())?;
    let array = document.get("manifests").unwrap_or(&empty);
    let digest = Digest::of(manifest);
    let annotations = name.map(|name| BTreeMap::from([(REF_NAME, name)]));
    let entry = NewEntry { media_type, digest: &digest, size: manifest.len(), annotations };
    let entries: Vec<Entry> = serde_json::from_str(array.get())?;
    let same = |entry: &Entry| entry.digest == digest && entry.annotation(REF_NAME).is_none_or(|old| Some(old) == name);
    let place = entries.iter().position(same);
    let edited = edit_each(array, &mut |at, members| {
        let Some(old) = entries.get(at) else { return Ok(()) };
        if place == Some(at) {
            let new = serde_json::to_string(&entry)?;
            *members = serde_json::from_str(&new)?;
        } else if name.is_some_and(|name| old.annotation(REF_NAME) == Some(name)) {
            take_name(members)?;
        }
        Ok(())
    })?;
    let mut items: Vec<Box<RawValue>> = serde_json::from_str(edited.get())?;
    if place.is_none() {
        items.push(serde_json::value::to_raw_value(&entry)?);
    }
    document.set("manifests", &items)?;
    Ok(document.to_text()?.into_bytes())
}

fn take_name(members: &mut Members) -> Result<(), serde_json::Error> {
    let Some(annotations) = members.get("annotations") else { return Ok(()) };
    let mut annotations: Members = serde_json::from_str(annotations.get())?;
    annotations.remove(REF_NAME);
    if annotations.0.is_empty() {
        members.remove("annotations");
        return Ok(());
    }
    let text = annotations.to_text()?;
    members.set("annotations", &RawValue::from_string(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: &str = "application/vnd.oci.image.manifest.v1+json";

    fn added(old: Option<&str>, manifest: &str, name: Option<&str>) -> String {
        String::from_utf8(add(old.map(str::as_bytes), M, manifest.as_bytes(), name).unwrap()).unwrap()
    }

    #[test]
    fn a_name_moves_and_everything_else_stays() {
        let one = added(None, "1", Some("a"));
        let digest = Digest::of(b"1");
        let entry = format!(r#"{{"mediaType":"{M}","digest":"{digest}","size":1,"annotations":{{"{REF_NAME}":"a"}}}}"#);
        assert_eq!(one, format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#));
        assert_eq!(added(Some(&one), "1", Some("a")), one, "twice is once");
        let two = added(Some(&one.replacen('{', r#"{"x": 1,"#, 1)), "2", Some("a"));
        assert!(two.starts_with(r#"{"x":1,"#) && two.matches(REF_NAME).count() == 1, "{two}");
        assert_eq!(choose(two.as_bytes(), &Selector::Name("a".into())).unwrap().digest, Digest::of(b"2"));
        assert_eq!(choose(two.as_bytes(), &Selector::Index(0)).unwrap().digest, digest);
        let named = added(Some(&two), "1", Some("b"));
        assert_eq!(named.matches("mediaType").count(), 2, "the unnamed entry got the name: {named}");
        let both = added(Some(&named), "1", Some("c"));
        assert_eq!(both.matches("mediaType").count(), 3, "one image with two names: {both}");
    }

    #[test]
    fn an_image_is_chosen_by_name_place_or_being_alone() {
        let one = added(None, "1", None);
        let two = added(Some(&one), "2", Some("b"));
        assert_eq!(choose(one.as_bytes(), &Selector::Only).unwrap().digest, Digest::of(b"1"));
        for (index, selector, words) in [
            (two.as_str(), Selector::Only, "more than one image"),
            (two.as_str(), Selector::Index(2), "too large"),
            (two.as_str(), Selector::Name("x".into()), "no descriptor found"),
            (EMPTY, Selector::Only, "no image"),
            ("{", Selector::Only, "EOF"),
            (r#"{"manifests":[{"mediaType":"","size":1,"digest":"sha256:../../etc"}]}"#, Selector::Only, "not a digest"),
        ] {
            let error = choose(index.as_bytes(), &selector).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
