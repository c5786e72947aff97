//! The config and the manifest of a new image. Pure: the clock is an argument.

use std::collections::BTreeMap;

use containers_storage::Digest;

use super::{Clock, Documents, HistoryPolicy, LayerPolicy};
use crate::image::config::History;
use crate::image::manifest::{self, Descriptor};
use crate::image::{Draft, Format, Manifest, Time};

/// The label by which scripts find out what made an image; Buildah's own name for it.
const IDENTITY_LABEL: &str = "io.buildah.version";
/// Annotation with the time of creation (OCI image specification, annotations).
const CREATED: &str = "org.opencontainers.image.created";

/// One layer of the new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerInfo {
    /// Diff ID.
    pub digest: Digest,
    /// Length of the uncompressed tar in bytes.
    pub size: u64,
}

/// What the documents are made of, beside the draft and the layers.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    /// The time of creation.
    pub created: Time,
    /// ID of the container that is committed.
    pub container: String,
    /// ID of the base image, empty for scratch.
    pub base_id: &'a str,
    /// Name of the base image, empty for an unnamed one.
    pub base_name: &'a str,
    /// Entries before and after that of the new layer.
    pub before: &'a [History],
    /// See `before`.
    pub after: &'a [History],
    /// Entries of the layers above the new one, in their order.
    pub above: &'a [History],
}

/// The two documents.
#[derive(Debug)]
pub(super) struct Written {
    /// The config's bytes.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
}

/// Writes the documents of the image that `draft` becomes with `layers`, lowest first.
pub(super) fn write(
    mut draft: Draft,
    layers: &[LayerInfo],
    origin: &Origin<'_>,
    documents: &Documents,
    layer: LayerPolicy,
) -> Written {
    let fixed = !matches!(documents.clock, Clock::Now);
    draft.config.history = history(&draft, origin, documents, layer);
    draft.config.diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
    draft.config.created = Some(origin.created.clone());
    // A fixed time means that equal input shall give equal bytes; who wrote them is no input, unless it was asked for.
    if documents.identity_label.unwrap_or(!fixed) {
        draft.config.config.labels.insert(IDENTITY_LABEL.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    }
    let config = match draft.format {
        Format::Oci => draft.config.to_oci(),
        Format::Docker => docker_config(&mut draft, origin, fixed),
    };
    // The base's own annotation tells the base's time.
    draft.annotations.remove(CREATED);
    if documents.created_annotation {
        draft.annotations.insert(CREATED.to_owned(), origin.created.as_str().to_owned());
    }
    // The new layer is below those of `above`, and a squashed one has none above it.
    let own = match layer {
        LayerPolicy::Omit => None,
        LayerPolicy::Squash => Some(0),
        _ => layers.len().checked_sub(1 + origin.above.len()),
    };
    let manifest = manifest(&draft, &config, layers, own);
    Written { config, manifest }
}

fn docker_config(draft: &mut Draft, origin: &Origin<'_>, fixed: bool) -> Vec<u8> {
    if fixed && !draft.config.config.hostname.is_empty() {
        draft.config.config.hostname = "sandbox".to_owned();
    }
    draft.config.docker.container = if fixed { String::new() } else { origin.container.clone() };
    draft.config.docker.parent = if origin.base_id.is_empty() { String::new() } else { format!("sha256:{}", origin.base_id) };
    draft.config.docker.container_config = Some(Box::new(draft.config.config.clone()));
    draft.config.to_docker()
}

fn history(draft: &Draft, origin: &Origin<'_>, documents: &Documents, layer: LayerPolicy) -> Vec<History> {
    // With entries for the new layers only, nobody could tell which layers they are about.
    let base_has_none = draft.config.history.is_empty() && !draft.config.diff_ids.is_empty();
    if documents.history == HistoryPolicy::Omit || base_has_none {
        return Vec::new();
    }
    let at = |entry: &History| match (documents.clock, &entry.created) {
        (Clock::Now, Some(_)) => entry.clone(),
        _ => History { created: Some(origin.created.clone()), ..entry.clone() },
    };
    let own = History {
        created: Some(origin.created.clone()),
        created_by: if draft.created_by.is_empty() { shell(draft) } else { draft.created_by.clone() },
        author: draft.config.author.clone(),
        comment: draft.history_comment.clone(),
        empty_layer: false,
    };
    let mut new: Vec<History> = origin.before.iter().map(at).collect();
    if layer != LayerPolicy::Omit {
        new.push(own);
    }
    // A squashed layer has no others above it.
    if layer != LayerPolicy::Squash {
        new.extend(origin.above.iter().map(at));
    }
    new.extend(origin.after.iter().map(at));
    if let Some(first) = new.first_mut() {
        first.comment = comment(&first.comment, origin);
    }
    let mut all = if layer == LayerPolicy::Squash { Vec::new() } else { draft.config.history.clone() };
    all.extend(new);
    all
}

fn shell(draft: &Draft) -> String {
    match (draft.format, draft.config.config.shell.as_slice()) {
        (Format::Oci, _) | (Format::Docker, []) => "/bin/sh".to_owned(),
        (Format::Docker, words) => words.join(" "),
    }
}

/// The comment of the first entry of this image, which names the base.
fn comment(comment: &str, origin: &Origin<'_>) -> String {
    if origin.base_id.is_empty() || origin.base_name.is_empty() || origin.base_name == origin.base_id {
        return comment.to_owned();
    }
    let separator = if comment.is_empty() { "" } else { " " };
    format!("{comment}{separator}FROM {}", origin.base_name)
}

/// The manifest; the layer `own` is the one that is made.
fn manifest(draft: &Draft, config: &[u8], layers: &[LayerInfo], own: Option<usize>) -> Manifest {
    let (config_type, layer_type) = match draft.format {
        Format::Oci => (manifest::OCI_CONFIG, manifest::OCI_LAYER),
        Format::Docker => (manifest::DOCKER_CONFIG, manifest::DOCKER_LAYER),
    };
    let describe = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        annotations: BTreeMap::new(),
    };
    let annotated = |(at, layer): (usize, &LayerInfo)| {
        let mut descriptor = describe(layer_type, layer.digest.clone(), layer.size);
        if draft.format == Format::Oci {
            let kept = || draft.layer_annotations.get(&layer.digest.to_string()).cloned().unwrap_or_default();
            descriptor.annotations = if own == Some(at) { draft.top_layer_annotations.clone() } else { kept() };
        }
        descriptor
    };
    let layers = layers.iter().enumerate().map(annotated).collect();
    Manifest::new(
        draft.format,
        describe(config_type, Digest::of(config), config.len() as u64),
        layers,
        draft.annotations.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageConfig;

    fn time(text: &str) -> Time {
        Time::from_timestamp(text.parse().unwrap())
    }

    fn layer(byte: u8) -> LayerInfo {
        LayerInfo { digest: Digest::of(&[byte]), size: 1024 }
    }

    fn origin<'a>(before: &'a [History]) -> Origin<'a> {
        let created = time("2026-01-02T03:04:05Z");
        Origin {
            created,
            container: "c1".into(),
            base_id: "ab12",
            base_name: "localhost/base:latest",
            before,
            after: &[],
            above: &[],
        }
    }

    fn draft(format: Format) -> Draft {
        let old = History { created_by: "old".into(), created: Some(time("2020-01-01T00:00:00Z")), ..History::default() };
        let config = ImageConfig { history: vec![old], author: "me".into(), ..ImageConfig::default() };
        Draft { format, config, ..Draft::default() }
    }

    fn parsed(written: &Written) -> ImageConfig {
        ImageConfig::parse(&written.config).unwrap()
    }

    #[test]
    fn the_new_entry_names_the_base_and_the_author() {
        let step = History { created_by: "step".into(), empty_layer: true, ..History::default() };
        let steps = [step];
        let documents = Documents::default();
        let written = write(draft(Format::Oci), &[layer(1), layer(2)], &origin(&steps), &documents, LayerPolicy::Append);
        let config = parsed(&written);
        let texts: Vec<&str> = config.history.iter().map(|entry| entry.created_by.as_str()).collect();
        assert_eq!(texts, ["old", "step", "/bin/sh"]);
        let last = config.history.last().unwrap();
        assert_eq!((last.author.as_str(), last.comment.as_str()), ("me", ""));
        assert_eq!(config.history[1].comment, "FROM localhost/base:latest");
        assert_eq!(config.diff_ids, [layer(1).digest, layer(2).digest]);
        assert!(config.config.labels.contains_key(IDENTITY_LABEL));
        assert_eq!(written.manifest.annotations.get(CREATED).map(String::as_str), Some("2026-01-02T03:04:05Z"));
    }

    #[test]
    fn squashing_forgets_the_history_of_the_base_and_omitting_all_of_it() {
        let squashed = write(draft(Format::Oci), &[layer(1)], &origin(&[]), &Documents::default(), LayerPolicy::Squash);
        assert_eq!(parsed(&squashed).history.len(), 1);
        let documents = Documents { history: HistoryPolicy::Omit, ..Documents::default() };
        let omitted = write(draft(Format::Oci), &[layer(1)], &origin(&[]), &documents, LayerPolicy::Append);
        assert_eq!(parsed(&omitted).history, []);
    }

    #[test]
    fn a_fixed_time_leaves_out_what_differs_from_run_to_run() {
        let documents = Documents { clock: Clock::Timestamp(0), ..Documents::default() };
        let mut start = draft(Format::Docker);
        start.config.config.hostname = "0123456789ab".into();
        let config = parsed(&write(start.clone(), &[layer(1)], &origin(&[]), &documents, LayerPolicy::Append));
        assert!(!config.config.labels.contains_key(IDENTITY_LABEL));
        assert_eq!((config.config.hostname.as_str(), config.docker.container.as_str()), ("sandbox", ""));
        let asked = Documents { identity_label: Some(true), ..documents };
        let config = parsed(&write(start.clone(), &[layer(1)], &origin(&[]), &asked, LayerPolicy::Append));
        assert!(config.config.labels.contains_key(IDENTITY_LABEL));
        let now = parsed(&write(start, &[layer(1)], &origin(&[]), &Documents::default(), LayerPolicy::Append));
        assert_eq!((now.config.hostname.as_str(), now.docker.container.as_str()), ("0123456789ab", "c1"));
        assert_eq!(now.docker.parent, "sha256:ab12");
    }

    #[test]
    fn the_manifest_describes_the_very_bytes() {
        let written = write(draft(Format::Docker), &[layer(1)], &origin(&[]), &Documents::default(), LayerPolicy::Append);
        assert_eq!(written.manifest.config.digest, Digest::of(&written.config));
        assert_eq!(written.manifest.layers[0].media_type, manifest::DOCKER_LAYER);
    }
}
