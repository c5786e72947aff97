//! Hints that need the store: the name that was probably meant, the place that is full. Only computed after a failure.
//!
//! The unknown name is taken from the error's text. Its two phrases are fixed, since scripts look for them, and every verb
//! wraps the errors that carry them in its own type.

use super::error::nearest;
use super::{CommandError, Context};

/// Verbs that make room.
const REMOVALS: [&str; 3] = ["rm", "rmi", "prune"];

/// Adds what the store knows about an error of `verb`.
pub(super) fn from_store(context: &Context, verb: &str, error: CommandError) -> CommandError {
    let error = with_nearest_name(context, error);
    let error = match error.errno() {
        Some(libc::ENOSPC | libc::EDQUOT) => error.hinting(Some(how_to_make_room(verb).to_owned())),
        _ => error,
    };
    let hint = match error.errno() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EROFS) => context.opened_store().map(|store| {
            let conf = store.conf();
            format!("the graph root is {}, the run root is {}", conf.graph_root.display(), conf.run_root.display())
        }),
        _ => None,
    };
    error.hinting(hint)
}

/// What to do about a full disk.
fn how_to_make_room(verb: &str) -> &'static str {
    if REMOVALS.contains(&verb) {
        "a removal notes what it is about to do before it frees anything, and there was no room for that: \
         delete some other file (16 KiB are enough) on the same file system, then try again"
    } else {
        "\"coracle prune --all\" removes unused images"
    }
}

/// Adds the nearest known name to an error about an image or a container that is not known.
fn with_nearest_name(context: &Context, error: CommandError) -> CommandError {
    let text = error.text();
    // Verbs that take both look for an image last, so that its error is the one that is left.
    let hint = unknown_image(&text)
        .and_then(|name| nearest_image(context, name).or_else(|| nearest_container(context, name)))
        .or_else(|| unknown_container(&text).and_then(|name| nearest_container(context, name)))
        .or_else(|| asked_registry(&text).and_then(|name| nearest_image(context, name)));
    error.hinting(hint)
}

/// `x` of `…: x: image not known`.
fn unknown_image(text: &str) -> Option<&str> {
    let before = &text[..text.find(": image not known")?];
    Some(before.rsplit([' ', '\t']).next().unwrap_or(before))
}

/// `x` of `… container "x": container not known` and of `… container x: container not known`.
fn unknown_container(text: &str) -> Option<&str> {
    let before = &text[..text.find(": container not known")?];
    Some(before.rsplit(' ').next().unwrap_or(before).trim_matches('"'))
}

/// `x` of `… initializing source docker://x: …`: what the store lacks is looked for at a registry.
fn asked_registry(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("initializing source docker://")?;
    after.split(": ").next()
}

fn nearest_image(context: &Context, operand: &str) -> Option<String> {
    let images = context.opened_store()?.images().ok()?.listed().ok()?;
    // People type the short form: compare with and without the domain and the tag.
    let names = || images.iter().flat_map(|image| &image.names);
    let form = nearest(operand, names().flat_map(|name| forms(name)))?;
    // What was typed lacks the domain or the tag then.
    let whole = if form == operand { names().find(|name| forms(name).contains(&form))?.as_str() } else { form };
    Some(format!("did you mean the image {whole:?}?"))
}

fn forms(name: &str) -> [&str; 4] {
    let untagged = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
    [last_component(untagged), last_component(name), untagged, name]
}

fn nearest_container(context: &Context, name: &str) -> Option<String> {
    let containers = context.opened_store()?.containers().ok()?.all().ok()?;
    let names = containers.iter().flat_map(|container| container.names.iter().map(String::as_str));
    nearest(name, names).map(|name| format!("did you mean the container {name:?}?"))
}

fn last_component(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_name_is_found_in_the_words() {
        assert_eq!(unknown_image("nosuch: image not known"), Some("nosuch"));
        assert_eq!(unknown_image("1 error occurred:\n\t* a/b:1: image not known\n"), Some("a/b:1"));
        assert_eq!(unknown_image("no space left"), None);
        assert_eq!(asked_registry("initializing source docker://localhost/web:1: reading"), Some("localhost/web:1"));
        assert_eq!(asked_registry("initializing source oci:web: reading"), None);
        assert_eq!(unknown_container("reading build container \"web\": container not known"), Some("web"));
        assert_eq!(unknown_container("error unmounting container web: container not known"), Some("web"));
    }
}
