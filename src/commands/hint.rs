//! Hints that need the store: the name that was probably meant, the place that is full. Only computed after a failure.
//!
//! The unknown name is taken from the error's text. Its two phrases are fixed, since scripts look for them, and every verb
//! wraps the errors that carry them in its own type.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::args::GlobalArgs;
use super::{CommandError, Context};
use crate::container::{export, fetch};
use crate::spelling::nearest;
use crate::userns;

/// Verbs that fill other places than the store.
const ELSEWHERE: [&str; 3] = ["push", "manifest push", "login"];

/// Verbs that make room.
const REMOVALS: [&str; 3] = ["rm", "rmi", "prune"];

/// Adds what the store knows about an error of `verb`.
pub(super) fn from_store(context: &Context, verb: &str, error: CommandError) -> CommandError {
    let error = with_nearest_name(context, error);
    let error = match missing_temp_dir(context) {
        Some(dir) if error.text().contains(&dir) => {
            error.hinting(Some(format!("TMPDIR says {dir:?}, which is no directory: make it, or unset TMPDIR")))
        }
        _ => error,
    };
    // It is no place of the store that is full.
    if error.hints().iter().any(|hint| hint.starts_with(fetch::ROOM_ELSEWHERE)) {
        return error;
    }
    if ELSEWHERE.contains(&verb) {
        return error;
    }
    if error.source::<export::Error>().is_some_and(export::Error::is_elsewhere) {
        let is_full = matches!(error.errno(), Some(libc::ENOSPC | libc::EDQUOT));
        return error.hinting(is_full.then(|| "it is the place of --output that is full, not the store".to_owned()));
    }
    // Nor is it a disk: for a namespace that is one too many the kernel has the same answer (unshare(2), ENOSPC).
    if error.source::<userns::Error>().is_some() {
        return error;
    }
    let error = match error.errno() {
        Some(libc::ENOSPC | libc::EDQUOT) => error.hinting(Some(how_to_make_room(context.global(), verb))),
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

/// The directory for temporary files, if a variable names one that is not there.
fn missing_temp_dir(context: &Context) -> Option<String> {
    let dir = context.environment().text("TMPDIR")?;
    (!Path::new(dir).is_dir()).then(|| dir.to_owned())
}

/// What to do about a full disk. The command names the store that is full: without its options it would empty another one.
fn how_to_make_room(global: &GlobalArgs, verb: &str) -> String {
    if REMOVALS.contains(&verb) {
        "a removal notes what it is about to do before it frees anything, and there was no room for that: \
         delete some other file (16 KiB are enough) on the same file system, then try again"
            .to_owned()
    } else {
        format!("\"coracle{} prune --all\" removes unused images", options_of_store(global))
    }
}

/// The options that say which store is used, as a shell takes them.
fn options_of_store(global: &GlobalArgs) -> String {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.as_os_str().to_owned());
    let once = [
        ("--root", path(&global.root)),
        ("--runroot", path(&global.runroot)),
        ("--imagestore", path(&global.imagestore)),
        ("--storage-driver", global.storage_driver.as_ref().map(Into::into)),
    ];
    let mut words = String::new();
    for (name, value) in once.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        words.push_str(&format!(" {name} {}", quoted(&value)));
    }
    for option in &global.storage_opt {
        words.push_str(&format!(" --storage-opt {}", quoted(option.as_ref())));
    }
    words
}

/// A word for a shell.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-=,:+@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
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
    // It is not for its name that it was not taken.
    let is_the_same = whole == operand || whole.strip_prefix(operand) == Some(":latest");
    (!is_the_same).then(|| format!("did you mean the image {whole:?}?"))
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
    use super::super::command_line::{Invocation, read};
    use super::*;

    #[test]
    fn room_is_made_in_the_store_that_was_named() {
        let cases: [(&[&str], &str); 3] = [
            (&[], "\"coracle prune --all\""),
            (
                &["--root", "/r", "--runroot=/x", "--storage-driver", "vfs"],
                "\"coracle --root /r --runroot /x --storage-driver vfs prune --all\"",
            ),
            (
                &["--root", "/my store's", "--storage-opt", "a=b"],
                "\"coracle --root '/my store'\\''s' --storage-opt a=b prune --all\"",
            ),
        ];
        for (options, command) in cases {
            let words = options.iter().copied().chain(["images"]).map(Into::into).collect();
            let Ok(Invocation::Run { global, .. }) = read(words) else { panic!("{options:?}") };
            assert!(how_to_make_room(&global, "images").starts_with(command), "{}", how_to_make_room(&global, "images"));
        }
    }

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
