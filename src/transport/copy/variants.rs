//! Images of an index in several compressions: which are missing, and the index that names all of them. Pure.
//!
//! Invariant: an index whose images are the same keeps its bytes. Where images were added, those that need Zstandard stand behind the
//! others, so that a program that knows only gzip and takes the first that fits is served as before.

use std::collections::BTreeMap;

use super::job::Written;
use crate::image::manifest::edit::{Members, set_descriptor};
use crate::image::manifest::index::{Index, Instance, ZSTD_ANNOTATION, ZSTD_ANNOTATION_VALUE};
use crate::image::manifest::{self, LayerType};
use crate::transport::compression::{Algorithm, Layout, Method};

/// Compressions in which each image of an index is wanted as well (`--add-compression`), none twice, gzip first. What is wanted in chunks
/// comes before zstd, which it is too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variants {
    gzip: Option<Method>,
    chunked: Option<Method>,
    zstd: Option<Method>,
}

impl Variants {
    /// Those that are wanted.
    pub fn methods(self) -> impl Iterator<Item = Method> {
        [self.gzip, self.chunked, self.zstd].into_iter().flatten()
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// None beyond what the images have.
    pub const NONE: Self = Self { gzip: None, chunked: None, zstd: None };
}

impl FromIterator<Method> for Variants {
    fn from_iter<I: IntoIterator<Item = Method>>(wanted: I) -> Self {
        wanted.into_iter().fold(Self::NONE, |variants, method| match (method.algorithm(), method.layout()) {
            (Algorithm::Gzip, _) => Self { gzip: Some(method), ..variants },
            (Algorithm::Zstd, Layout::Chunked) => Self { chunked: Some(method), ..variants },
            (Algorithm::Zstd, Layout::Whole) => Self { zstd: Some(method), ..variants },
        })
    }
}

/// An image that was added to an index.
pub(super) struct Variant {
    /// The place of the image that it was made of.
    pub(super) of: usize,
    /// What it is at the destination.
    pub(super) written: Written,
}

/// What must be added, so that each platform has an image of each wanted compression: which image, and in which compression.
/// `copied` is what the images of the index are at the destination. What is no image, or has layers of an unknown kind, stays alone.
pub(super) fn missing(index: &Index, copied: &[Written], wanted: Variants) -> Vec<(usize, Method)> {
    let mut missing: Vec<(usize, Method)> = Vec::new();
    let all: Vec<(&Instance, &Written)> = index.instances.iter().zip(copied).collect();
    for (at, (instance, written)) in all.iter().enumerate() {
        for method in wanted.methods().filter(|_| written.is_file_system()) {
            let is_there = all.iter().any(|(other, written)| other.runs_as(instance) && written.is_all(method));
            let is_coming = missing.iter().any(|(other, coming)| {
                serves(coming.algorithm(), coming.layout(), method)
                    && all.get(*other).is_some_and(|(other, _)| other.runs_as(instance))
            });
            if !is_there && !is_coming {
                missing.push((at, method));
            }
        }
    }
    missing
}

/// Whether layers that are compressed like this are what `wanted` would make of them. Those in chunks are zstd, too.
fn serves(algorithm: Algorithm, layout: Layout, wanted: Method) -> bool {
    algorithm == wanted.algorithm() && (wanted.layout() == Layout::Whole || layout == Layout::Chunked)
}

impl Written {
    fn is_file_system(&self) -> bool {
        !self.layers.is_empty() && self.layers.iter().all(Option::is_some)
    }

    fn is_all(&self, wanted: Method) -> bool {
        let algorithm = wanted.algorithm();
        let is_kind = !self.layers.is_empty() && self.layers.iter().all(|kind| *kind == Some(kind_of(algorithm)));
        is_kind && serves(algorithm, self.layout, wanted)
    }

    /// Whether a program needs Zstandard for it.
    fn needs_zstd(&self) -> bool {
        self.layers.contains(&Some(LayerType::Zstd))
    }
}

fn kind_of(algorithm: Algorithm) -> LayerType {
    match algorithm {
        Algorithm::Gzip => LayerType::Gzip,
        Algorithm::Zstd => LayerType::Zstd,
    }
}

/// Whether an image that needs Zstandard was added: only an OCI index can say so.
pub(super) fn any_needs_zstd(added: &[Variant]) -> bool {
    added.iter().any(|variant| variant.written.needs_zstd())
}

/// The index with what its images became, and with those that were added; its own bytes if nothing did.
pub(super) fn edited(
    index: &Index,
    media_type: &str,
    copied: &[Written],
    added: &[Variant],
) -> Result<Vec<u8>, serde_json::Error> {
    let same = |at: usize| index.instances.get(at).zip(copied.get(at)).is_none_or(|(old, new)| old.digest == new.digest);
    if media_type == index.media_type && added.is_empty() && (0..copied.len()).all(same) {
        return Ok(index.bytes().to_vec());
    }
    let can_tell = media_type == manifest::OCI_INDEX;
    let mut document: Members = serde_json::from_slice(index.bytes())?;
    if let Some(array) = document.get("manifests").filter(|_| !index.instances.is_empty()) {
        let originals: Vec<Members> = serde_json::from_str(array.get())?;
        let mut entries = originals.clone();
        for (at, (entry, new)) in entries.iter_mut().zip(copied).enumerate() {
            if !same(at) {
                replace(entry, new)?;
            }
            if can_tell && (!same(at) || !added.is_empty()) {
                tell_compression(entry, new)?;
            }
        }
        for variant in added {
            let Some(mut entry) = originals.get(variant.of).cloned() else { continue };
            replace(&mut entry, &variant.written)?;
            if can_tell {
                tell_compression(&mut entry, &variant.written)?;
            }
            entries.push(entry);
        }
        if !added.is_empty() {
            entries.sort_by_cached_key(|entry| annotations(entry).is_ok_and(|told| told.contains_key(ZSTD_ANNOTATION)));
        }
        document.set("manifests", &Members::array(&entries)?)?;
    }
    document.set("mediaType", media_type)?;
    Ok(document.to_text()?.into_bytes())
}

fn replace(entry: &mut Members, new: &Written) -> Result<(), serde_json::Error> {
    // Where the old bytes could be had, the new ones cannot; nor are they what was embedded.
    entry.remove("urls");
    entry.remove("data");
    set_descriptor(entry, &new.media_type, &new.digest, new.size)
}

/// Says in the annotations whether the image needs Zstandard.
fn tell_compression(entry: &mut Members, new: &Written) -> Result<(), serde_json::Error> {
    let mut told = annotations(entry)?;
    let changed = match new.needs_zstd() {
        true => {
            told.insert(ZSTD_ANNOTATION.to_owned(), ZSTD_ANNOTATION_VALUE.to_owned()).as_deref() != Some(ZSTD_ANNOTATION_VALUE)
        }
        false => told.remove(ZSTD_ANNOTATION).is_some(),
    };
    match changed {
        true if told.is_empty() => entry.remove("annotations"),
        true => entry.set("annotations", &told)?,
        false => {}
    }
    Ok(())
}

fn annotations(entry: &Members) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let told = entry.get("annotations").map(|value| serde_json::from_str::<Option<_>>(value.get())).transpose()?;
    Ok(told.flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use containers_storage::Digest;

    use super::*;

    fn written(name: &str, layers: &[Option<LayerType>]) -> Written {
        Written {
            digest: Digest::of(name.as_bytes()),
            size: 9,
            media_type: "n".into(),
            layers: layers.to_vec(),
            layout: Layout::Whole,
        }
    }

    fn index(entries: &[(&str, &str)]) -> Index {
        let entry = |(name, rest): &(&str, &str)| {
            format!(r#"{{"mediaType":"a","digest":"{}","size":1{rest}}}"#, Digest::of(name.as_bytes()))
        };
        let entries: Vec<String> = entries.iter().map(entry).collect();
        let text = format!(r#"{{"schemaVersion":2,"x":[1, 2],"manifests":[{}]}}"#, entries.join(","));
        Index::parse(text.as_bytes(), None).unwrap()
    }

    const AMD64: &str = r#","platform":{"os":"linux","architecture":"amd64"}"#;
    const ARM64: &str = r#","platform":{"os":"linux","architecture":"arm64"}"#;
    const GZIP: &[Option<LayerType>] = &[Some(LayerType::Gzip)];
    const ZSTD: &[Option<LayerType>] = &[Some(LayerType::Zstd)];

    #[test]
    fn an_index_changes_only_where_its_images_did() {
        let index = index(&[("1", ARM64), ("2", "")]);
        let unchanged = edited(&index, manifest::OCI_INDEX, &[written("1", GZIP), written("2", ZSTD)], &[]).unwrap();
        assert_eq!(unchanged, index.bytes());
        let changed = edited(&index, manifest::OCI_INDEX, &[written("1", ZSTD), written("3", GZIP)], &[]).unwrap();
        let changed = String::from_utf8(changed).unwrap();
        assert!(changed.contains(r#""x":[1, 2]"#), "{changed}");
        let (one, three) = (Digest::of(b"1"), Digest::of(b"3"));
        assert!(changed.contains(&format!(r#"{{"mediaType":"n","digest":"{three}","size":9}}"#)), "{changed}");
        assert!(changed.contains(&format!(r#"{{"mediaType":"a","digest":"{one}","size":1,"platform""#)), "{changed}");
        assert!(!changed.contains(ZSTD_ANNOTATION), "{changed}");
    }

    #[test]
    fn a_platform_gets_what_it_has_not() {
        let mixed = [Some(LayerType::Gzip), Some(LayerType::Zstd)];
        let unknown = [Some(LayerType::Gzip), None];
        let method = |word: &str| Method::named(word, None).unwrap();
        let wanted = |words: &[&str]| words.iter().map(|word| method(word)).collect::<Variants>();
        let (both, zstd) = (wanted(&["zstd", "gzip", "zstd"]), wanted(&["zstd"]));
        let (chunks, all) = (wanted(&["zstd:chunked"]), wanted(&["zstd", "zstd:chunked", "gzip"]));
        let (gzip_at, zstd_at) = (|at| (at, method("gzip")), |at| (at, method("zstd")));
        let chunks_at = |at| (at, method("zstd:chunked"));
        let two = index(&[("1", AMD64), ("2", ARM64)]);
        let twins = index(&[("1", AMD64), ("2", AMD64)]);
        let cases = [
            (&two, [GZIP, GZIP], zstd, vec![zstd_at(0), zstd_at(1)]),
            (&two, [GZIP, ZSTD], both, vec![zstd_at(0), gzip_at(1)]),
            (&two, [&mixed, &[]], both, vec![gzip_at(0), zstd_at(0)]),
            (&two, [&unknown, &[Some(LayerType::Plain)]], both, vec![gzip_at(1), zstd_at(1)]),
            (&twins, [GZIP, ZSTD], both, vec![]),
            (&twins, [GZIP, GZIP], both, vec![zstd_at(0)]),
            (&two, [GZIP, GZIP], Variants::NONE, vec![]),
            (&two, [GZIP, ZSTD], chunks, vec![chunks_at(0), chunks_at(1)]),
            (&twins, [GZIP, GZIP], all, vec![chunks_at(0)]),
        ];
        for (index, [first, second], wanted, want) in cases {
            assert_eq!(
                missing(index, &[written("1", first), written("2", second)], wanted),
                want,
                "{first:?} {second:?} {wanted:?}"
            );
        }
        let in_chunks = Written { layout: Layout::Chunked, ..written("1", ZSTD) };
        assert_eq!(missing(&twins, &[in_chunks, written("2", GZIP)], all), vec![]);
    }

    #[test]
    fn who_knows_gzip_only_finds_it_first() {
        let told = format!(r#"{AMD64},"data":"e30=","annotations":{{"a":"b","{ZSTD_ANNOTATION}":"true"}}"#);
        let index = index(&[("1", &told), ("2", ARM64)]);
        let copied = [written("1", ZSTD), written("2", GZIP)];
        let added = [Variant { of: 0, written: written("3", GZIP) }, Variant { of: 1, written: written("4", ZSTD) }];
        let bytes = edited(&index, manifest::OCI_INDEX, &copied, &added).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let told: Vec<String> = document["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                let name =
                    ["1", "2", "3", "4"].into_iter().find(|name| entry["digest"] == Digest::of(name.as_bytes()).to_string());
                let Some(architecture) = entry["platform"]["architecture"].as_str() else { return String::new() };
                format!("{} {architecture} {} {}", name.unwrap_or("?"), entry["annotations"], entry["data"])
            })
            .collect();
        let zstd = format!(r#""{ZSTD_ANNOTATION}":"true""#);
        let want = [
            "2 arm64 null null".to_owned(),
            r#"3 amd64 {"a":"b"} null"#.to_owned(),
            format!(r#"1 amd64 {{"a":"b",{zstd}}} "e30=""#),
            format!("4 arm64 {{{zstd}}} null"),
        ];
        assert_eq!(told, want);
    }
}
