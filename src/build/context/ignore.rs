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
use crate::copier::ignore::{self, Ignore};

/// Beside a Dockerfile, the one that counts first.
const BESIDE: [&str; 2] = [".dockerignore", ".containerignore"];
/// At the top of a context, the one that counts first.
const AT_TOP: [&str; 2] = [".containerignore", ".dockerignore"];

/// What a build leaves out.
pub(super) fn of_build(context: &Opened, places: &[Found], given: Option<&Path>) -> Result<ContextIgnore, Error> {
    if let Some(path) = given {
        let text = read_here(path).map_err(|source| Error::Ignore { path: path.to_path_buf(), source })?;
        return of_file(path.to_path_buf(), &text);
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
                return of_file(with_ending(place.shown(), ending), &text);
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
            return of_file(path.to_path_buf(), &text);
        }
    }
    Ok(ContextIgnore::default())
}

fn of_file(path: PathBuf, text: &str) -> Result<ContextIgnore, Error> {
    match patterns(text) {
        Ok(patterns) => Ok(ContextIgnore { patterns, file: Some(path) }),
        Err((line, problem)) => Err(Error::Pattern { path, line, problem }),
    }
}

/// The lines that are patterns, or the number of the first that can be none.
fn patterns(text: &str) -> Result<Vec<String>, (usize, &'static str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
    let pattern = |(number, line): (usize, &str)| match Ignore::new([line]) {
        Ok(_) => Ok(line.to_owned()),
        Err(ignore::Error::LoneExclamation) => Err((number, "there is nothing behind the exclamation mark")),
        Err(ignore::Error::Syntax(_)) => Err((number, "syntax error in pattern")),
    };
    lines.filter(|(_, line)| !is_all_again(line)).map(pattern).collect()
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
        assert_eq!(
            patterns("\u{feff}# a\n\n \n*\n!.\n ! ./ \n!./a\n!.b\n"),
            Ok(["*", "!./a", "!.b"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn a_line_that_can_be_no_pattern_has_its_number() {
        for (text, found) in [
            ("\u{feff}# [\n\na\n b[ \n[", (4, "syntax error in pattern")),
            ("a\\\n", (1, "syntax error in pattern")),
            ("a\r\n!\r\n", (2, "there is nothing behind the exclamation mark")),
        ] {
            assert_eq!(patterns(text), Err(found), "{text:?}");
        }
    }
}
