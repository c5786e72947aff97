//! Images of steps and stages: what `commit` is told, and the names of the one that was asked for.

use std::fmt::Debug;

use containers_storage::ImageId;
use containers_storage::store::{NameChange, Store};

use super::cache::Inputs;
use super::error::{Error, StepError};
use super::event::{Event, Tell};
use super::late::{CreatedBy, Entries};
use super::options::{ImageOptions, Options, Stay};
use super::stage::{Build, Stage};
use crate::container::adopt;
use crate::container::commit::sbom::{self, Means, Scanned};
use crate::container::commit::{self, Afterwards, Documents, Edit, LayerPolicy, Watch};
use crate::container::config;
use crate::container::find_image::Found;
use crate::container::pull::{Fetch, Obtained};
use crate::image::{Change, Draft, Reference};
use crate::transport;

/// What is committed.
pub(super) enum Subject {
    /// The working container of that name, and the history that it has not been told.
    Container(String, Entries),
    /// What stands for one.
    Unmade(Box<commit::Unmade>),
}

/// How config and manifest of every image of the build are written.
pub(super) fn documents(image: &ImageOptions) -> Documents {
    Documents {
        clock: image.clock,
        history: image.history,
        identity_label: image.identity_label,
        created_annotation: image.created_annotation,
    }
}

/// Refuses what the caller wants of any image in vain, before there is one.
pub(super) fn check(store: &Store, image: &ImageOptions) -> Result<(), Error> {
    let wanted = commit::Options {
        manifest_list: image.manifest_list.clone(),
        documents: documents(image),
        ..commit::Options::default()
    };
    commit::check(store, &wanted).map_err(Box::new)?;
    match &image.sign_by {
        Some(key) => Ok(transport::storage::check_key(key).map_err(Box::new)?),
        None => Ok(()),
    }
}

/// What the caller wants changed in the image that was asked for.
fn edits(image: &ImageOptions) -> Vec<Edit> {
    let set = |(key, value): &(String, String)| Change::SetAnnotation { key: key.clone(), value: value.clone() };
    let changes = (image.annotations.iter().map(set))
        .chain(image.unset.env.iter().cloned().map(Change::UnsetEnv))
        .chain(image.unset.labels.iter().cloned().map(Change::UnsetLabel))
        .chain(image.unset.annotations.iter().cloned().map(Change::UnsetAnnotation))
        .chain(image.os_version.iter().cloned().map(Change::OsVersion))
        .chain(image.os_features.iter().cloned().map(Change::AddOsFeature));
    changes.map(Edit::Change).collect()
}

/// The image that was asked for, as the caller wants it, from what the file says of it.
pub(super) fn edited(draft: &Draft, image: &ImageOptions) -> Draft {
    let mut draft = draft.clone();
    for edit in edits(image) {
        if let Edit::Change(change) = edit {
            draft.apply(&change);
        }
    }
    draft
}

/// Adds the flags of a build that show in the image of a step. Those of the last step show in the image that was asked for; where there
/// are none of these it is a step like others, which is found again when the file becomes longer.
pub(super) fn inputs(options: &Options<'_>, is_last: bool, inputs: &mut Inputs) {
    let image = &options.image;
    let mut add = |flag: &str, value: &dyn Debug| inputs.add(flag, format!("{value:?}").as_bytes());
    add("--format", &image.format);
    add("--timestamp or --source-date-epoch", &image.clock);
    add("--omit-history", &image.history);
    add("--identity-label", &image.identity_label);
    add("--created-annotation", &image.created_annotation);
    add("--inherit-labels", &image.unset.base_labels);
    add("--inherit-annotations", &image.unset.base_annotations);
    // What nobody gave is no input.
    let mut add_given = |flag: &str, values: &dyn Debug, count: usize| {
        if count > 0 {
            add(flag, values);
        }
    };
    if !is_last {
        return add_given("--layer-label", &image.layer_labels, image.layer_labels.len());
    }
    add_given("--annotation", &image.annotations, image.annotations.len());
    add_given("--unsetenv", &image.unset.env, image.unset.env.len());
    add_given("--unsetlabel", &image.unset.labels, image.unset.labels.len());
    add_given("--unsetannotation", &image.unset.annotations, image.unset.annotations.len());
    add_given("--os-version", &image.os_version, image.os_version.iter().len());
    add_given("--os-feature", &image.os_features, image.os_features.len());
}

/// Commits the image of a step; that of the last step is the one that was asked for.
pub(super) fn commit_step(
    stage: &Stage<'_, '_>,
    subject: &mut Subject,
    (mut options, mut own): (commit::Options, Vec<Edit>),
    is_last: bool,
    tell: Tell<'_>,
) -> Result<commit::Outcome, StepError> {
    let image = &stage.build.options.image;
    if !is_last {
        options.edits = of_a_step(image, &stage.draft, own);
        options.holder = Some(stage.holder(tell)?);
        let outcome = commit_quietly(stage, subject, &options, tell)?;
        stage.send(&outcome.id, tell);
        return Ok(outcome);
    }
    own.extend(edits(image));
    options.edits = own;
    if image.squash {
        options.holder = Some(stage.holder(tell)?);
        let outcome = commit_quietly(stage, subject, &options, tell)?;
        stage.send(&outcome.id, tell);
        return Ok(outcome);
    }
    commit_target(stage, subject, options, tell)
}

/// What is changed in the image of a step or a stage that is not the last one. What the file or the base says of a label holds.
pub(super) fn of_a_step(image: &ImageOptions, draft: &Draft, mut own: Vec<Edit>) -> Vec<Edit> {
    let set = |(key, value): &(String, String)| Change::SetLabel { key: key.clone(), value: value.clone() };
    own.extend(labels_of_steps(image, draft).map(set).map(Edit::Change));
    own
}

/// The labels that images of steps have, and nothing else has a say in.
fn labels_of_steps<'i>(image: &'i ImageOptions, draft: &'i Draft) -> impl Iterator<Item = &'i (String, String)> {
    image.layer_labels.iter().filter(|(key, _)| !draft.config.config.labels.contains_key(key))
}

pub(super) fn commit_quietly(
    stage: &Stage<'_, '_>,
    subject: &mut Subject,
    options: &commit::Options,
    tell: Tell<'_>,
) -> Result<commit::Outcome, StepError> {
    let store = stage.build.store;
    let outcome = match subject {
        Subject::Container(name, entries) => {
            let entries = std::mem::take(entries);
            let mut watch = Watch::for_history(Box::new(|| entries.known()));
            commit::commit_watched(store, name, options, &mut |line| tell(Event::Notice(line)), &mut watch)
        }
        Subject::Unmade(unmade) => unmade.commit(store, options),
    };
    Ok(outcome.map_err(Box::new)?)
}

/// Commits the image that was asked for, with its names.
fn commit_target(
    stage: &Stage<'_, '_>,
    subject: &mut Subject,
    mut options: commit::Options,
    tell: Tell<'_>,
) -> Result<commit::Outcome, StepError> {
    let image = &stage.build.options.image;
    tell_commit(stage, tell);
    options.destination = image.tags.first().cloned();
    options.manifest_list.clone_from(&image.manifest_list);
    // Whoever brings it elsewhere signs it there.
    options.sign_by = image.sign_by.clone().filter(|_| options.destination.is_some());
    options.passing = image.stay == Stay::Passes;
    stage.hold_result(&mut options, tell)?;
    let scanned = match subject {
        Subject::Container(name, entries) if image.sbom.is_some() => {
            // A scanner may change files.
            entries.settle()?;
            scan(stage.build, name, tell)?
        }
        Subject::Container(..) => None,
        Subject::Unmade(_) => None,
    };
    options.add_files.extend(scanned.iter().flat_map(|scanned| scanned.add_files.iter().cloned()));
    let outcome = commit_quietly(stage, subject, &options, tell)?;
    note_signature(stage.build, &outcome.id);
    add_names(stage.build, &outcome.id)?;
    if let Some(scanned) = scanned {
        scanned.write_host_files().map_err(Box::new)?;
    }
    stage.send(&outcome.id, tell);
    tell(Event::Made { stage: stage.build.place(stage.index), image: outcome.id.to_string() });
    Ok(outcome)
}

/// The list of contents, if one is wanted.
fn scan(build: &Build<'_>, name: &str, tell: Tell<'_>) -> Result<Option<Scanned>, StepError> {
    let options = build.options;
    let Some(wanted) = &options.image.sbom else { return Ok(None) };
    // The scanner runs here, whatever the image is for.
    let fetch = Fetch { platform: None, ..options.fetch };
    let means = Means { fetch: &fetch, conf: options.run.conf, run: &wanted.run };
    let scanned = sbom::scan(build.store, name, &wanted.scan, means, &mut |line| tell(Event::Notice(line)));
    Ok(Some(scanned.map_err(Box::new)?))
}

fn tell_commit(stage: &Stage<'_, '_>, tell: Tell<'_>) {
    let name = stage.build.options.image.title.clone();
    tell(Event::Commit { stage: stage.build.place(stage.index), name });
}

/// The image that was asked for is one of an earlier build.
pub(super) fn tag_cached(stage: &mut Stage<'_, '_>, tell: Tell<'_>) -> Result<(), StepError> {
    let image = &stage.build.options.image;
    if image.squash {
        return Ok(());
    }
    if image.title.is_some() {
        tell_commit(stage, tell);
    }
    name_ground(stage, tell)
}

/// Gives the image so far the names.
fn name_ground(stage: &Stage<'_, '_>, tell: Tell<'_>) -> Result<(), StepError> {
    let Some(id) = stage.ground().map(|ground| ground.found.id.clone()) else { return Ok(()) };
    stage.hold_found(&id, tell)?;
    adopt(stage.build, &id)?;
    add_names(stage.build, &id)?;
    stage.send(&id, tell);
    tell(Event::Made { stage: stage.build.place(stage.index), image: id.to_string() });
    Ok(())
}

/// Whether the image that was asked for can be one of an earlier build.
pub(super) fn may_be_cached(image: &ImageOptions) -> bool {
    image.sbom.is_none()
}

/// The image of an earlier build is signed and listed as a new one would be.
fn adopt(build: &Build<'_>, id: &ImageId) -> Result<(), StepError> {
    let image = &build.options.image;
    let mut options = adopt::Options { list: image.manifest_list.as_deref(), sign: None };
    if let (Some(key), Some(name)) = (&image.sign_by, image.tags.first()) {
        let has_signatures = build.store.images()?.get(id)?.big_data_names.iter().any(|name| name.starts_with("signature"));
        let is_signed = has_signatures && build.cache.as_ref().is_some_and(|cache| cache.is_signed(id, name, key));
        if !is_signed {
            options.sign = Some((name, key));
        }
    }
    adopt::adopt(build.store, id, &options).map_err(Box::new)?;
    note_signature(build, id);
    Ok(())
}

fn note_signature(build: &Build<'_>, id: &ImageId) {
    let image = &build.options.image;
    if let (Some(cache), Some(key), Some(name)) = (&build.cache, &image.sign_by, image.tags.first()) {
        cache.note_signed(id, name, key);
    }
}

/// Gives an image the names that it lacks.
fn add_names(build: &Build<'_>, id: &ImageId) -> Result<(), StepError> {
    let names = names(&build.options.image.tags).unwrap_or_default();
    let image = build.store.images()?.get(id)?;
    if names.iter().all(|name| image.names.contains(name)) {
        return Ok(());
    }
    build.store.change_image_names(id, NameChange::Add, &names)?;
    Ok(())
}

/// The names for the image, completed, each once.
pub(super) fn names(tags: &[String]) -> Result<Vec<String>, Error> {
    let mut names = Vec::with_capacity(tags.len());
    for text in tags {
        let name = Reference::for_new_image(text).map_err(|reason| Error::Tag { text: text.clone(), reason })?.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Ends the stage that was asked for.
pub(super) fn target(stage: &mut Stage<'_, '_>, steps: usize, tell: Tell<'_>) -> Result<(), StepError> {
    let image = &stage.build.options.image;
    let is_done = stage.build.with_layers() && steps > 0;
    if is_done && !image.squash {
        return stage.drop_container();
    }
    let edits = edits(image);
    if steps == 0 && !image.squash && edits.is_empty() && !stage.loses_of_its_base() && stage.ground().is_some() {
        // FROM alone makes nothing: its image gets the names.
        tell_commit(stage, tell);
        return name_ground(stage, tell);
    }
    let layer = match () {
        () if image.squash => LayerPolicy::Squash,
        // What is made of nothing has a layer all the same, for tools that expect one.
        () if stage.has_changed_files() || stage.ground().is_none() && steps == 0 => LayerPolicy::Append,
        () => LayerPolicy::Omit,
    };
    if is_done {
        // That of the last step may have told its history to a container that goes on.
        stage.drop_container()?;
    }
    let mut subject = told(stage, layer, tell)?;
    let options = commit::Options {
        format: image.format,
        layer,
        container: leftover(stage.build.options),
        edits,
        documents: documents(image),
        ..commit::Options::default()
    };
    let outcome = commit_target(stage, &mut subject, options, tell)?;
    stage.becomes(&outcome.id)
}

/// What becomes of a container that was committed.
pub(super) fn leftover(options: &Options<'_>) -> Afterwards {
    if options.layering.containers.keeps_done() { Afterwards::Keep } else { Afterwards::Remove }
}

/// Commits a stage that others are made on, without a name and for the time of the build. Answers whether the image is new: an equal one
/// that was there before stays.
pub(super) fn passing(stage: &mut Stage<'_, '_>, tell: Tell<'_>) -> Result<bool, StepError> {
    let layer = if stage.has_changed_files() { LayerPolicy::Append } else { LayerPolicy::Omit };
    let image = &stage.build.options.image;
    let edits = of_a_step(image, &stage.draft, Vec::new());
    let mut subject = told(stage, layer, tell)?;
    let options = commit::Options {
        format: image.format,
        layer,
        container: leftover(stage.build.options),
        edits,
        documents: documents(image),
        holder: Some(stage.holder(tell)?),
        ..commit::Options::default()
    };
    let before: Vec<ImageId> = stage.build.store.images()?.listed()?.into_iter().map(|image| image.id).collect();
    let outcome = commit_quietly(stage, &mut subject, &options, tell)?;
    let is_new = !before.contains(&outcome.id);
    stage.becomes(&outcome.id)?;
    Ok(is_new)
}

/// What is committed at the end of a stage: it has been told everything, and the history of the steps so far, or is told that when it is
/// committed.
fn told(stage: &mut Stage<'_, '_>, layer: LayerPolicy, tell: Tell<'_>) -> Result<Subject, StepError> {
    let mut entries = history(stage, layer)?;
    if layer == LayerPolicy::Omit && stage.needs_no_container() {
        let known = entries.known().map_err(Box::new)?;
        return stage.unmade(known.before);
    }
    let name = stage.container(tell)?;
    if layer == LayerPolicy::Squash {
        // All that is mounted is packed.
        entries.settle()?;
    }
    if leftover(stage.build.options) == Afterwards::Keep && !entries.before.is_empty() {
        // It stays, and must know itself what it was made of.
        let known = Entries { before: std::mem::take(&mut entries.before), own: None }.known().map_err(Box::new)?;
        config::config(stage.build.store, &name, &config::Options { changes: Vec::new(), history: known.before })?;
    }
    Ok(Subject::Container(name, entries))
}

/// The history of the steps so far: the entry of the last one is that of the layer, if there is one.
fn history(stage: &mut Stage<'_, '_>, layer: LayerPolicy) -> Result<Entries, StepError> {
    let mut entries = Entries { before: stage.entries(), own: None };
    if layer == LayerPolicy::Omit {
        if let Some(last) = entries.before.last_mut() {
            last.history.author.clone_from(&stage.draft.config.author);
        }
        return Ok(entries);
    }
    entries.own = match entries.before.pop() {
        Some(last) => Some(last.words),
        None if layer == LayerPolicy::Squash => stage.past()?.history.pop().map(|last| CreatedBy::Known(last.created_by)),
        None => None,
    };
    if layer == LayerPolicy::Squash {
        // What the steps were is as little in a squashed image as what the base was.
        entries.before.clear();
    }
    Ok(entries)
}

impl Build<'_> {
    /// An image of the store, as something to go on from.
    pub(super) fn found(&self, id: &ImageId) -> Result<Obtained, StepError> {
        let image = self.store.images()?.get(id)?;
        let found = Found { id: id.clone(), name: None, image };
        Ok(Obtained { found, transport: None, warnings: Vec::new() })
    }
}
