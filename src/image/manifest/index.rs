//! Indexes: OCI indexes and Docker manifest lists, and which of their instances fits a platform.
//!
//! Invariant: at most [`MAX_INSTANCES`] of them; a document that came in is never written anew here.

use std::collections::BTreeMap;

use containers_storage::Digest;
use serde::Deserialize;

use super::{DOCKER_LIST, Document, Error, OCI_INDEX};

/// The most instances that an index may have.
pub const MAX_INSTANCES: usize = 1000;

/// The annotation of an instance in an OCI index whose layers need Zstandard, as containers/image writes it.
pub const ZSTD_ANNOTATION: &str = "io.github.containers.compression.zstd";
/// Its only value.
pub const ZSTD_ANNOTATION_VALUE: &str = "true";

/// What an image must run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// As Go calls it: `amd64`, `arm64`.
    pub architecture: String,
    /// `v8`; empty for whatever fits.
    pub variant: String,
}

impl Platform {
    /// This machine.
    pub fn of_this_machine() -> Self {
        Self { os: "linux".to_owned(), architecture: crate::golang::goarch().to_owned(), variant: String::new() }
    }

    /// The variants that run here, the best first. A processor runs what was made for its predecessors, and an instance without a
    /// variant is the last resort.
    fn variants(&self) -> Vec<&str> {
        let known: &[&str] = match self.architecture.as_str() {
            "arm" => &["v8", "v7", "v6", "v5"],
            "arm64" => &["v8"],
            _ => &[],
        };
        let wanted = self.variant.as_str();
        let from = known.iter().position(|variant| *variant == wanted);
        let mut variants: Vec<&str> = match from {
            Some(from) => known[from..].to_vec(),
            None if wanted.is_empty() => known.to_vec(),
            None => vec![wanted],
        };
        variants.push("");
        variants
    }
}

/// One image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Length of the manifest in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// What it runs on, if the index says so.
    pub platform: Option<Platform>,
    /// What else the index says of that.
    pub details: Details,
}

/// What an index says of an instance that this program asks of no machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// `os.version`, which Windows needs.
    pub os_version: String,
    /// `os.features`, sorted.
    pub os_features: Vec<String>,
    /// Whether an annotation says that its layers need Zstandard.
    pub needs_zstd: bool,
}

impl Instance {
    /// Whether both run on the same machines.
    pub fn runs_as(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.details, &other.details);
        self.platform == other.platform && ours.os_version == theirs.os_version && ours.os_features == theirs.os_features
    }
}

/// An index that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its media type.
    pub media_type: &'static str,
    /// Its images in their order.
    pub instances: Vec<Instance>,
    raw: Vec<u8>,
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<Vec<RawInstance>>,
}

#[derive(Deserialize)]
struct RawInstance {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: Digest,
    size: u64,
    platform: Option<RawPlatform>,
    annotations: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
}

impl RawInstance {
    fn details(&self, media_type: &str) -> Details {
        let told = self.annotations.as_ref().and_then(|annotations| annotations.get(ZSTD_ANNOTATION)?.as_deref());
        let platform = self.platform.as_ref();
        let mut os_features = platform.and_then(|platform| platform.os_features.clone()).unwrap_or_default();
        os_features.sort_unstable();
        Details {
            os_version: platform.and_then(|platform| platform.os_version.clone()).unwrap_or_default(),
            os_features,
            // A Docker list has no annotations.
            needs_zstd: media_type == OCI_INDEX && told == Some(ZSTD_ANNOTATION_VALUE),
        }
    }
}

impl Index {
    /// Reads an index; a manifest is refused. `media_type` as in [`Document::parse`].
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, Error> {
        match Document::parse(bytes, media_type)? {
            Document::Image(_) => Err(Error::Unsupported("an image where an index should be".to_owned())),
            Document::Index(raw) => Self::of_bytes(raw, media_type),
        }
    }

    fn of_bytes(raw: Vec<u8>, media_type: Option<&str>) -> Result<Self, Error> {
        let index: RawIndex = serde_json::from_slice(&raw)?;
        let manifests = index.manifests.unwrap_or_default();
        if manifests.len() > MAX_INSTANCES {
            return Err(Error::TooManyInstances(manifests.len()));
        }
        let given = index.media_type.as_deref().filter(|text| !text.is_empty()).or(media_type);
        let media_type = if given == Some(DOCKER_LIST) { DOCKER_LIST } else { OCI_INDEX };
        let instances = manifests.into_iter().map(|instance| Instance {
            details: instance.details(media_type),
            digest: instance.digest,
            size: instance.size,
            media_type: instance.media_type,
            platform: instance.platform.map(|platform| Platform {
                os: platform.os,
                architecture: platform.architecture,
                variant: platform.variant.unwrap_or_default(),
            }),
        });
        Ok(Self { media_type, instances: instances.collect(), raw })
    }

    /// The bytes, as read.
    pub fn bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.raw)
    }

    /// The instance for a platform: of those for its system and architecture the one with the best variant, of several such one that
    /// says that it is compressed with Zstandard, and of several such the first.
    pub fn choose(&self, wanted: &Platform) -> Option<&Instance> {
        let fits = |instance: &&Instance, variant: &str| {
            instance.platform.as_ref().is_some_and(|platform| {
                platform.os == wanted.os && platform.architecture == wanted.architecture && platform.variant == variant
            })
        };
        wanted.variants().into_iter().find_map(|variant| {
            let mut fitting = self.instances.iter().filter(|instance| fits(instance, variant));
            let first = fitting.next()?;
            if first.details.needs_zstd {
                Some(first)
            } else {
                fitting.find(|instance| instance.details.needs_zstd).or(Some(first))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[(&str, &str)]) -> Index {
        let instances: Vec<String> = platforms
            .iter()
            .enumerate()
            .map(|(at, (architecture, variant))| {
                let digest = Digest::of(&[u8::try_from(at).unwrap()]);
                format!(
                    r#"{{"mediaType":"m","digest":"{digest}","size":1,"platform":{{"architecture":"{architecture}","os":"linux","variant":"{variant}"}}}}"#
                )
            })
            .collect();
        Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, instances.join(",")).as_bytes(), None).unwrap()
    }

    fn chosen(index: &Index, architecture: &str, variant: &str) -> Option<usize> {
        let wanted = Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.into() };
        let found = index.choose(&wanted)?;
        index.instances.iter().position(|instance| instance == found)
    }

    #[test]
    fn the_best_variant_that_fits_is_chosen() {
        let all = index(&[("amd64", ""), ("arm", "v5"), ("arm", "v7"), ("arm64", ""), ("arm64", "v8"), ("amd64", "v2")]);
        let cases = [
            ("amd64", "", Some(0)),
            ("amd64", "v2", Some(5)),
            ("amd64", "v3", Some(0)),
            ("arm", "", Some(2)),
            ("arm", "v7", Some(2)),
            ("arm", "v6", Some(1)),
            ("arm64", "", Some(4)),
            ("arm64", "v8", Some(4)),
            ("s390x", "", None),
        ];
        for (architecture, variant, place) in cases {
            assert_eq!(chosen(&all, architecture, variant), place, "{architecture}/{variant}");
        }
    }

    #[test]
    fn zstd_is_chosen_where_the_platform_fits_alike() {
        let text = |media_type: &str, marks: [(&str, &str); 3]| {
            let entries: Vec<String> = marks.iter().zip(["v7", "v7", "v6"]).map(|((name, mark), variant)| format!(
                r#"{{"mediaType":"m","digest":"{}","size":1,"annotations":{{"{ZSTD_ANNOTATION}":"{mark}"}},"platform":{{"os":"linux","architecture":"arm","variant":"{variant}"}}}}"#,
                Digest::of(name.as_bytes()),
            )).collect();
            Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")).as_bytes(), Some(media_type))
                .unwrap()
        };
        let cases = [
            (OCI_INDEX, ["", "true", "true"], "v7", 1),
            (OCI_INDEX, ["true", "", ""], "v7", 0),
            (OCI_INDEX, ["", "", "true"], "v7", 0),
            (OCI_INDEX, ["", "yes", ""], "v7", 0),
            (OCI_INDEX, ["true", "true", ""], "v7", 0),
            (OCI_INDEX, ["true", "true", ""], "v6", 2),
            (DOCKER_LIST, ["", "true", ""], "v7", 0),
        ];
        for (media_type, [a, b, c], variant, place) in cases {
            let index = text(media_type, [("1", a), ("2", b), ("3", c)]);
            assert_eq!(chosen(&index, "arm", variant), Some(place), "{media_type} {a:?} {b:?} {c:?} {variant}");
        }
    }

    #[test]
    fn an_index_without_platforms_fits_nobody() {
        let digest = Digest::of(b"");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{digest}","size":0}}]}}"#);
        let index = Index::parse(text.as_bytes(), None).unwrap();
        assert_eq!((index.instances.len(), index.choose(&Platform::of_this_machine())), (1, None));
        assert_eq!(index.bytes(), text.as_bytes());
    }

    #[test]
    fn too_many_instances_are_refused() {
        let instance = format!(r#"{{"mediaType":"m","digest":"{}","size":0}}"#, Digest::of(b""));
        let text =
            |count: usize| format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, vec![instance.as_str(); count].join(","));
        assert!(Index::parse(text(MAX_INSTANCES).as_bytes(), None).is_ok());
        assert!(Index::parse(text(MAX_INSTANCES + 1).as_bytes(), None).is_err());
    }
}
