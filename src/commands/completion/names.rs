//! The names in the store, as a shell may insert them.
//!
//! Invariant: a word that leaves here means itself in every shell: letters, digits and `._:/@+-`, and no dash first. A container or
//! image whose name is anything else, which any tool may have written, is offered by its ID.
//!
//! Read without a lock, and only if the store exists: completion waits for nobody and makes nothing.

use std::collections::HashMap;

use containers_storage::store::Store;

/// A word, and what it stands for in a few words.
pub(super) type Candidate = (String, String);

/// Names of containers that begin with `typed`; IDs too where it looks like one.
pub(super) fn containers(store: &Store, typed: &str) -> Vec<Candidate> {
    let all = store.peek_containers().and_then(|containers| containers.all()).unwrap_or_default();
    let mut found = Vec::new();
    for container in all {
        let id = container.id.short().to_owned();
        match container.names.iter().find(|name| is_plain(name)) {
            Some(name) if name.starts_with(typed) => found.push((name.clone(), format!("container {id}"))),
            named => found.extend(by_id(container.id.as_str(), typed, named.is_some(), "container")),
        }
    }
    found
}

/// Names of images that begin with `typed`, each in its shortest form that does; IDs too where it looks like one.
pub(super) fn images(store: &Store, typed: &str) -> Vec<Candidate> {
    let all = store.peek_images().and_then(|images| images.listed()).unwrap_or_default();
    let names = || all.iter().flat_map(|image| image.names.iter());
    let mut taken: HashMap<&str, usize> = HashMap::new();
    for name in names() {
        *taken.entry(forms(name)[0]).or_default() += 1;
    }
    let mut found = Vec::new();
    for image in &all {
        let id = image.id.short().to_owned();
        let mut named = false;
        for name in image.names.iter().filter(|name| is_plain(name)) {
            named = true;
            let forms = forms(name);
            // Two names with one short form are shown whole.
            let usable = if taken.get(forms[0]).is_some_and(|count| *count > 1) { &forms[2..] } else { &forms[..] };
            if let Some(form) = usable.iter().find(|form| form.starts_with(typed)) {
                found.push(((*form).to_owned(), format!("image {id}")));
            }
        }
        found.extend(by_id(image.id.as_str(), typed, named, "image"));
    }
    found
}

/// The short ID of something without a usable name; of something with one only if its ID is being typed beyond doubt.
fn by_id(id: &str, typed: &str, named: bool, what: &str) -> Option<Candidate> {
    let wanted = id.starts_with(typed) && (!named || typed.len() >= 3);
    let length = typed.len().max(12);
    wanted.then(|| (id.get(..length).unwrap_or(id).to_owned(), what.to_owned()))
}

/// A name without what is understood: domain and tag, domain, tag, nothing.
fn forms(name: &str) -> [&str; 4] {
    let local = ["localhost/", "docker.io/library/"].into_iter().find_map(|domain| name.strip_prefix(domain)).unwrap_or(name);
    let untagged = |name: &'_ str| name.strip_suffix(":latest").map_or(name.len(), str::len);
    [&local[..untagged(local)], local, &name[..untagged(name)], name]
}

/// Whether every shell takes the word for itself.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('-')
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_offered_without_what_is_understood() {
        assert_eq!(forms("localhost/app:latest"), ["app", "app:latest", "localhost/app", "localhost/app:latest"]);
        assert_eq!(
            forms("docker.io/library/debian:12"),
            ["debian:12", "debian:12", "docker.io/library/debian:12", "docker.io/library/debian:12"]
        );
        assert_eq!(forms("quay.io/a/b:latest")[0], "quay.io/a/b");
    }

    #[test]
    fn only_words_that_mean_themselves_are_plain() {
        for word in ["web", "web-working-container-1", "localhost/app:1.0", "a@sha256:00", "x+y_z"] {
            assert!(is_plain(word), "{word}");
        }
        for word in [
            "", "-rf", "a b", "$(id)", "`id`", "a;b", "a'b", "a\\b", "a\nb", "~", "a*", "{a}", "ä", "a\u{1b}", "!x", "a&b", "#",
        ] {
            assert!(!is_plain(word), "{word:?}");
        }
    }
}
