//! What an image is to a step, whoever made it and when: platform, settings, layers, and the words of its history.
//!
//! ```text
//! identity   one digest of that, for the key of the step that stands on the image: the same on every machine
//! misfit     whether the image of another machine is the one that a step leaves here, but for the content of its own layer
//! ```
//!
//! Invariant: no time, name, id of a container or of an image is part of either. Pure.

use containers_storage::Digest;

use crate::image::config::{DockerOnly, History};
use crate::image::manifest::Manifest;
use crate::image::{Draft, Format, ImageConfig};

/// Annotations that say when an image was made, and on which: those of images that are the same may differ.
const ORIGIN: [&str; 2] = ["org.opencontainers.image.created", "org.opencontainers.image.base."];
/// The label by which the maker of an image is found out.
const IDENTITY_LABEL: &str = "io.buildah.version";

/// The digest of an image with the settings of `draft`, which has no layers and no history of its own, and these.
pub(in crate::build) fn identity(draft: &Draft, past: &Past) -> Digest {
    let history = past.history.iter().map(words).collect();
    let config = ImageConfig { history, diff_ids: past.diff_ids.clone(), ..bare(draft.config.clone()) };
    let mut bytes = config.to_docker();
    for (key, value) in annotations(&draft.annotations) {
        bytes.extend_from_slice(format!("\n{key:?}={value:?}").as_bytes());
    }
    Digest::of(&bytes)
}

/// What an image has that settings do not change: it grows with each step, so that nobody has a copy of it who does not need it.
#[derive(Debug, Clone, Default)]
pub(in crate::build) struct Past {
    pub(in crate::build) history: Vec<History>,
    /// Those of the layers, lowest first.
    pub(in crate::build) diff_ids: Vec<Digest>,
}

impl Past {
    /// Takes it out of a config.
    pub(in crate::build) fn take(config: &mut ImageConfig) -> Self {
        Self { history: std::mem::take(&mut config.history), diff_ids: std::mem::take(&mut config.diff_ids) }
    }

    /// The image with the settings of `draft`.
    pub(in crate::build) fn with(self, draft: &Draft) -> Draft {
        let mut whole = draft.clone();
        (whole.config.history, whole.config.diff_ids) = (self.history, self.diff_ids);
        whole
    }
}

/// The settings of a config alone, with its layers.
fn bare(mut config: ImageConfig) -> ImageConfig {
    config.config.hostname = String::new();
    ImageConfig { created: None, history: Vec::new(), docker: DockerOnly::default(), ..config }
}

/// An entry of the history without when, and on what.
fn words(entry: &History) -> History {
    History { created_by: entry.created_by.clone(), empty_layer: entry.empty_layer, ..History::default() }
}

fn annotations(all: &std::collections::BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    all.iter().filter(|(key, _)| !ORIGIN.iter().any(|origin| key.starts_with(origin)))
}

/// What the step must leave.
#[derive(Debug)]
pub(in crate::build) struct Expected {
    /// The image after the step, with the layers and the history of the one before it.
    pub(in crate::build) draft: Draft,
    /// Labels that images of steps have beside.
    pub(in crate::build) labels: Vec<(String, String)>,
    /// The history entry of the step; none for an image without history.
    pub(in crate::build) entry: Option<Words>,
    /// How many layers the step may add.
    pub(in crate::build) layers: std::ops::RangeInclusive<usize>,
}

/// The words of a history entry, as far as they are known before the step is taken.
#[derive(Debug)]
pub(in crate::build) enum Words {
    /// All of them.
    Exactly(String),
    /// How they begin and end; a digest of what is copied stands between.
    Around(String, String),
}

impl Words {
    fn fit(&self, found: &str) -> bool {
        match self {
            Self::Exactly(words) => found == words,
            Self::Around(begin, end) => found.strip_prefix(begin.as_str()).is_some_and(|rest| rest.ends_with(end.as_str())),
        }
    }
}

/// Why an image is not the one that the step leaves; none if it may be.
pub(in crate::build) fn misfit(expected: &Expected, manifest: &Manifest, config: &[u8]) -> Option<&'static str> {
    let Ok(found) = ImageConfig::parse(config) else { return Some("its configuration cannot be read") };
    let below = &expected.draft.config;
    if manifest.format != expected.draft.format {
        return Some("it has another format");
    }
    let Some(added) = found.diff_ids.strip_prefix(below.diff_ids.as_slice()) else { return Some("it stands on other layers") };
    if !expected.layers.contains(&added.len()) {
        return Some("it has not the layers that the instruction makes");
    }
    if let Some(why) = history_misfit(expected, &found.history, added.len()) {
        return Some(why);
    }
    if settings(expected, &found) != settings(expected, below) {
        return Some("its settings are others");
    }
    let differs = expected.draft.format == Format::Oci
        && !annotations(&manifest.annotations).eq(annotations(&expected.draft.annotations));
    differs.then_some("its annotations are others")
}

fn history_misfit(expected: &Expected, found: &[History], added: usize) -> Option<&'static str> {
    let below = &expected.draft.config.history;
    let Some(words_of_step) = &expected.entry else {
        return (!found.is_empty()).then_some("it has a history");
    };
    let (Some(lower), Some(own)) = (found.get(..below.len()), found.get(below.len()..)) else {
        return Some("its history is too short");
    };
    let [own] = own else { return Some("its history has not one entry for the instruction") };
    if !lower.iter().map(words).eq(below.iter().map(words)) {
        return Some("its history is another one");
    }
    if !words_of_step.fit(&own.created_by) {
        return Some("the last entry of its history is about another instruction");
    }
    (own.empty_layer != (added == 0)).then_some("its history does not agree with its layers")
}

/// All but layers and history, in the bytes of the image's format, which has no place for some.
fn settings(expected: &Expected, config: &ImageConfig) -> Vec<u8> {
    let mut config = bare(config.clone());
    config.diff_ids.clear();
    config.config.labels.remove(IDENTITY_LABEL);
    for (name, value) in &expected.labels {
        if config.config.labels.get(name) == Some(value) {
            config.config.labels.remove(name);
        }
    }
    config.config.empty = Default::default();
    match expected.draft.format {
        Format::Oci => config.to_oci(),
        Format::Docker => config.to_docker(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::{self, Descriptor};
    use crate::image::{Change, Time};

    fn entry(words: &str, empty_layer: bool) -> History {
        let created = Some(Time::from_timestamp(jiff::Timestamp::now()));
        History { created, created_by: words.to_owned(), comment: "FROM ab".to_owned(), empty_layer, ..History::default() }
    }

    fn draft() -> Draft {
        let mut draft = Draft::default();
        draft.config.history = vec![entry("base", false)];
        draft.config.diff_ids = vec![Digest::of(b"base")];
        draft.config.config.env = vec!["A=1".to_owned()];
        draft
    }

    fn expected() -> Expected {
        let entry = Some(Words::Exactly("RUN x".to_owned()));
        Expected { draft: draft(), labels: vec![("layer".into(), "1".into())], entry, layers: 1..=1 }
    }

    /// What another machine made of the same step, with one change.
    fn made(change: impl Fn(&mut ImageConfig)) -> Option<&'static str> {
        let mut config = draft().config;
        config.created = Some(Time::from_timestamp(jiff::Timestamp::UNIX_EPOCH));
        config.history.push(entry("RUN x", false));
        config.diff_ids.push(Digest::of(b"own"));
        config.config.labels.insert(IDENTITY_LABEL.to_owned(), "0".to_owned());
        config.config.labels.insert("layer".to_owned(), "1".to_owned());
        change(&mut config);
        let bytes = config.to_oci();
        let described = Descriptor {
            media_type: manifest::OCI_CONFIG.to_owned(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            annotations: Default::default(),
        };
        let manifest = Manifest::new(Format::Oci, described, Vec::new(), Default::default());
        misfit(&expected(), &manifest, &bytes)
    }

    #[test]
    fn an_image_that_another_step_or_another_base_left_does_not_fit() {
        assert_eq!(made(|_| {}), None);
        type Change = (&'static str, fn(&mut ImageConfig));
        let cases: [Change; 11] = [
            ("other layers", |config| config.diff_ids[0] = Digest::of(b"evil")),
            ("not the layers", |config| config.diff_ids.push(Digest::of(b"more"))),
            ("not the layers", |config| drop(config.diff_ids.pop())),
            ("history is another", |config| config.history[0].created_by = "evil".into()),
            ("another instruction", |config| config.history[1].created_by = "RUN y".into()),
            ("not one entry", |config| config.history.push(entry("RUN x", true))),
            ("does not agree", |config| config.history[1].empty_layer = true),
            ("settings", |config| config.config.env.push("LD_PRELOAD=/evil".into())),
            ("settings", |config| config.config.user = "0".into()),
            ("settings", |config| config.architecture = "evil".into()),
            ("settings", |config| drop(config.config.labels.insert("layer".into(), "2".into()))),
        ];
        for (words, change) in cases {
            let found = made(change).unwrap_or_default();
            assert!(found.contains(words), "{words}: {found}");
        }
    }

    #[test]
    fn an_identity_is_the_same_whenever_and_wherever_the_image_was_made() {
        let of = |mut draft: Draft| {
            let past = Past::take(&mut draft.config);
            identity(&draft, &past)
        };
        let first = of(draft());
        let mut same = draft();
        same.config.created = Some(Time::from_timestamp(jiff::Timestamp::UNIX_EPOCH));
        same.config.history[0].created = None;
        same.config.history[0].comment = "FROM cd".to_owned();
        same.config.docker.container = "ab".to_owned();
        same.config.config.hostname = "random".to_owned();
        same.annotations.insert("org.opencontainers.image.base.digest".to_owned(), "sha256:ab".to_owned());
        assert_eq!(of(same), first);
        let changes: [fn(&mut Draft); 5] = [
            |draft| drop(draft.apply(&Change::SetEnv { name: "A".into(), value: "2".into() })),
            |draft| draft.config.diff_ids.push(Digest::of(b"x")),
            |draft| draft.config.history[0].created_by = "other".into(),
            |draft| draft.config.architecture = "other".into(),
            |draft| drop(draft.annotations.insert("a".into(), "b".into())),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut other = draft();
            change(&mut other);
            assert_ne!(of(other), first, "{at}");
        }
    }
}
