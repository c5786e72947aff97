//! Which ignore file counts, and its patterns.
//!
//! ```text
//! --ignorefile ▶ FILE.dockerignore, FILE.containerignore beside a Dockerfile ▶ .containerignore ▶ .dockerignore in the context
//! ```
//!
//! Invariant: a file of the context is read below its handle and only if it is a regular one; what is wrong with it is said without what
//! is in it and without a path of the host (CVE-2022-4122, known attacks A07).

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use containers_storage::Root;

use super::dockerfile::Found;
use super::{Error, LONGEST_TEXT, Opened};
use crate::container::add::ContextIgnore;

/// Beside a Dockerfile, the one that counts first.
const BESIDE: [&str; 2] = [".dockerignore", ".containerignore"];
/// At the top of a context, the one that counts first.
const AT_TOP: [&str; 2] = [".containerignore", ".dockerignore"];

/// What a build leaves out.
pub(super) fn of_build(context: &Opened, places: &[Found], given: Option<&Path>) -> Result<ContextIgnore, Error> {
    if let Some(path) = given {
        let text = read_here(path).map_err(|source| Error::Ignore { path: path.to_path_buf(), source })?;
        return Ok(of_file(path.to_path_buf(), &text));
    }
    for place in places {
        for ending in BESIDE {
            let text = match place {
                Found::Here(path) => present(read_here(&with_ending(path, ending)), || exists(&with_ending(path, ending))),
                Found::Inside(path) => inside(&context.root, &with_ending(path, ending)),
                Found::Nowhere => Ok(None),
            };
            let failed = |source| Error::Ignore { path: with_ending(place.shown(), ending), source };
            if let Some(text) = text.map_err(failed)? {
                return Ok(of_file(with_ending(place.shown(), ending), &text));
            }
        }
    }
    of_context(&context.root)
}

/// What the file at the top of a context leaves out.
pub(super) fn of_context(root: &Root) -> Result<ContextIgnore, Error> {
    for name in AT_TOP {
        let path = Path::new(name);
        let text = inside(root, path).map_err(|source| Error::Ignore { path: path.to_path_buf(), source })?;
        if let Some(text) = text {
            return Ok(of_file(path.to_path_buf(), &text));
        }
    }
    Ok(ContextIgnore::default())
}

fn of_file(file: PathBuf, text: &str) -> ContextIgnore {
    ContextIgnore { patterns: patterns(text), file: Some(file) }
}

/// The lines that are patterns or may be.
fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.filter(|line| !is_all_again(line)).map(str::to_owned).collect()
}

/// Whether a line takes back the context itself, which no pattern leaves out: it says nothing, as `.` does.
fn is_all_again(line: &str) -> bool {
    line.trim().strip_prefix('!').is_some_and(|rest| matches!(rest.trim(), "." | "./"))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// A file below a handle; none if nothing has that name. A link that leads to nothing is an error.
fn inside(root: &Root, path: &Path) -> io::Result<Option<String>> {
    present(root.read_file(path, LONGEST_TEXT).map(text), || root.symlink_metadata(path).is_ok())
}

/// A file that the caller named, or that stands beside one.
fn read_here(path: &Path) -> io::Result<String> {
    let absolute = std::path::absolute(path)?;
    Ok(text(Root::open(Path::new("/"))?.read_file(&absolute, LONGEST_TEXT)?))
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn present(read: io::Result<String>, exists: impl Fn() -> bool) -> io::Result<Option<String>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !exists() => Ok(None),
        read => read.map(Some),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_say_nothing_are_no_patterns() {
        assert_eq!(patterns("\u{feff}# a\n\n \n*\n!.\n ! ./ \n!./a\n!.b\n"), ["*", "!./a", "!.b"]);
    }
}
