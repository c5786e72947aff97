//! Aliases of short names: what a table of them may hold, and the user's own file, which remembers what a person chose.
//!
//! Invariant: the file is replaced as a whole, under the lock that the other tools take for it, so that no choice of another process is
//! lost and nobody reads half of it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use toml::Table;

use super::parse;
use crate::conf::{Error, Presence, read_file};

/// What is wrong with an alias. The words are the other tools'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Invalid {
    #[error("invalid short name {0:?}: must not contain {1}")]
    Name(String, &'static str),
    #[error("invalid alias {0:?}: must not contain {1}")]
    Target(String, &'static str),
    #[error("invalid alias {0:?}: must contain registry and repository")]
    NoRegistry(String),
    #[error("parsing alias {0:?}: repository name must be lowercase")]
    UpperCase(String),
    #[error("{0}: want a text")]
    Type(String),
}

/// The aliases of a file; an empty target takes one of an earlier file away.
pub(super) fn read(path: &Path, table: &Table) -> Result<BTreeMap<String, String>, Error> {
    let wrong =
        |text: String| Error::Parse { path: path.to_owned(), message: format!("validating short-name aliases: {text}") };
    let Some(value) = table.get("aliases") else { return Ok(BTreeMap::new()) };
    let aliases = value.as_table().ok_or_else(|| wrong("want a table".to_owned()))?;
    let checked = aliases.iter().map(|(name, target)| {
        let target = target.as_str().ok_or_else(|| Invalid::Type(name.clone()))?;
        check(name, target)?;
        Ok((name.clone(), target.to_owned()))
    });
    checked.collect::<Result<_, Invalid>>().map_err(|error| wrong(error.to_string()))
}

/// The grammar of names is looked at where an alias is used; here is what would make it mean something else.
fn check(name: &str, target: &str) -> Result<(), Invalid> {
    let in_name = |what| Err(Invalid::Name(name.to_owned(), what));
    match name {
        _ if name.contains('@') => return in_name("digest"),
        _ if registry_of(name).is_some() => return in_name("registry"),
        _ if name.contains(':') => return in_name("tag"),
        _ => {}
    }
    if target.is_empty() {
        return Ok(());
    }
    if target.contains('@') {
        return Err(Invalid::Target(target.to_owned(), "digest"));
    }
    let Some(path) = registry_of(target) else { return Err(Invalid::NoRegistry(target.to_owned())) };
    match path {
        _ if path.contains(':') => Err(Invalid::Target(target.to_owned(), "tag")),
        _ if path.chars().any(char::is_uppercase) => Err(Invalid::UpperCase(target.to_owned())),
        _ => Ok(()),
    }
}

/// What follows the registry, if there is one in `name`.
fn registry_of(name: &str) -> Option<&str> {
    let (domain, path) = name.split_once('/')?;
    (domain.contains(['.', ':']) || domain == "localhost").then_some(path)
}

/// Writes into the file at `path` that `name` stands for `target`.
pub(super) fn record(path: &Path, name: &str, target: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let refused = |error| failed(io::Error::other(error));
    let _held = containers_storage::lock::exclusive(Path::new(&lock)).map_err(refused)?;
    let mut aliases = match read_file(path, Presence::Optional)? {
        Some(text) => read(path, &parse(path, &text)?)?,
        None => BTreeMap::new(),
    };
    aliases.insert(name.to_owned(), target.to_owned());
    replace(path, parent, &text(&aliases)).map_err(failed)
}

fn text(aliases: &BTreeMap<String, String>) -> String {
    let bare = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = |name: &str| if bare(name) { name.to_owned() } else { quoted(name) };
    let lines = aliases.iter().map(|(name, target)| format!("  {} = {}\n", key(name), quoted(target)));
    format!("\n[aliases]\n{}", lines.collect::<String>())
}

fn quoted(text: &str) -> String {
    // A basic string of TOML has the escapes of JSON.
    serde_json::Value::from(text).to_string()
}

fn replace(path: &Path, parent: &Path, text: &str) -> io::Result<()> {
    let unique = getrandom::u64().map_err(io::Error::other)?;
    let temporary = parent.join(format!(".short-name-aliases-{unique:016x}"));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&temporary, path)
    })();
    // It may not have been made at all.
    written.inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_leads_from_a_short_name_to_a_repository() {
        let registry = "must contain registry and repository";
        for (name, target, want) in [
            ("x", "q.io/x", ""),
            ("ns/x", "localhost:5000/ns/x", ""),
            ("x", "", ""),
            ("x:1", "q.io/x", "invalid short name \"x:1\": must not contain tag"),
            ("x@sha256:0", "q.io/x", "invalid short name \"x@sha256:0\": must not contain digest"),
            ("q.io/x", "q.io/x", "invalid short name \"q.io/x\": must not contain registry"),
            ("x", "q.io/x:1", "invalid alias \"q.io/x:1\": must not contain tag"),
            ("x", "q.io/x@sha256:0", "invalid alias \"q.io/x@sha256:0\": must not contain digest"),
            ("x", "y", &format!("invalid alias \"y\": {registry}")),
            ("x", "ns/y", &format!("invalid alias \"ns/y\": {registry}")),
            ("x", "q.io/X", "parsing alias \"q.io/X\": repository name must be lowercase"),
        ] {
            let found = check(name, target).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(found, want, "{name} = {target}");
        }
    }

    #[test]
    fn what_is_recorded_is_read_again_beside_what_was_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cache/containers/short-name-aliases.conf");
        for (name, target) in [("b", "q.io/b"), ("ns/a.b", "q.io/a"), ("b", "r.io:1/b")] {
            record(&path, name, target).expect("recorded");
        }
        let text = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(text, "\n[aliases]\n  b = \"r.io:1/b\"\n  \"ns/a.b\" = \"q.io/a\"\n");
        let names = read(&path, &parse(&path, &text).expect("TOML")).expect("aliases");
        assert_eq!(names.len(), 2);
        let mut beside: Vec<_> = std::fs::read_dir(path.parent().expect("a parent")).expect("listed").flatten().collect();
        beside.retain(|entry| entry.path() != path);
        assert!(beside.iter().all(|entry| entry.path().extension().is_some_and(|end| end == "lock")), "{beside:?}");
    }

    #[test]
    fn a_damaged_file_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("aliases.conf");
        std::fs::write(&path, "[aliases").expect("written");
        assert!(record(&path, "x", "q.io/x").is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "[aliases");
    }
}
