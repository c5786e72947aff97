//! Names below a root that match a pattern: `filepath.Match` for each component, `**` for directories at any depth.
//!
//! Invariant: every directory is opened below the root (CVE-2019-10152: patterns were once expanded in the host's view); links
//! are followed inside it as the kernel does, but `**` does not walk through them. Must not: open anything but directories.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use containers_storage::Root;
use rustix::fs::{FileType, Mode, OFlags};

use super::pattern::{BadPattern, Pattern, has_meta};

/// A pattern that matches more than this is a mistake or an attack.
const MOST_MATCHES: usize = 1 << 20;

/// Why a pattern can't be expanded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("pattern {0:?}: syntax error in pattern")]
    Syntax(PathBuf),
    /// It matches too much.
    #[error("pattern {0:?} matches more than {MOST_MATCHES} names")]
    TooMany(PathBuf),
    /// Something that is there can't be looked at.
    #[error("{path:?}")]
    Look {
        /// The name.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The names below `root` that `pattern` matches, in order of the pattern's components. An absolute pattern begins at the root
/// as well. Nothing matched is an empty list.
pub fn expand(root: &Root, pattern: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => OsStr::new(".."),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        let text = name.to_string_lossy();
        found = if text == "**" {
            directories(root, found)
        } else if has_meta(&text) {
            let matcher = Pattern::parse(&text).map_err(|BadPattern| Error::Syntax(pattern.to_path_buf()))?;
            matching(root, found, &matcher)
        } else {
            found.into_iter().map(|directory| directory.join(name)).collect()
        };
        if found.len() > MOST_MATCHES {
            return Err(Error::TooMany(pattern.to_path_buf()));
        }
    }
    existing(root, found)
}

/// The plain name `path` below `root`, if there is something.
pub fn literal(root: &Root, path: &Path) -> Result<Vec<PathBuf>, Error> {
    let inside = path.components().filter(|component| !matches!(component, Component::RootDir | Component::CurDir)).collect();
    existing(root, vec![inside])
}

fn existing(root: &Root, found: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let mut there = Vec::with_capacity(found.len());
    for path in found {
        let looked = match path.components().next_back() {
            Some(Component::Normal(_)) => root.symlink_metadata(&path),
            _ => root.metadata(&path),
        };
        match looked {
            Ok(_) => there.push(path),
            Err(error) if is_absent(&error) => {}
            Err(source) => return Err(Error::Look { path, source }),
        }
    }
    Ok(there)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn matching(root: &Root, found: Vec<PathBuf>, matcher: &Pattern) -> Vec<PathBuf> {
    let mut next = Vec::new();
    for directory in found {
        // What is no directory, or closed to us, has no names in it, as for Go's Glob.
        let Ok(names) = root.subdir(&directory).and_then(|handle| entries(&handle)) else { continue };
        let fitting = names.into_iter().filter(|(name, _)| matcher.matches(&name.to_string_lossy()));
        next.extend(fitting.map(|(name, _)| directory.join(name)));
    }
    next
}

/// The directories in `found` and all below them.
fn directories(root: &Root, found: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for top in found {
        let mut waiting = vec![top];
        while let Some(directory) = waiting.pop() {
            let Ok(names) = root.subdir(&directory).and_then(|handle| entries(&handle)) else { continue };
            let below = names.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
            // The last in is the first out.
            waiting.extend(below.rev().map(|(name, _)| directory.join(name)));
            all.push(directory);
            if all.len() > MOST_MATCHES {
                return all;
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|directory| seen.insert(directory.clone()));
    all
}

/// The names in a directory with their types, sorted by bytes.
fn entries(directory: &Root) -> io::Result<Vec<(OsString, FileType)>> {
    let readable = rustix::fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    names_in(readable)
}

/// The same for an open directory. A file system that does not tell the type is asked for each name.
pub(super) fn names_in(directory: OwnedFd) -> io::Result<Vec<(OsString, FileType)>> {
    let mut names = Vec::new();
    let mut listing = rustix::fs::Dir::new(directory)?;
    while let Some(entry) = listing.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
    }
    for (name, kind) in names.iter_mut().filter(|(_, kind)| *kind == FileType::Unknown) {
        let stat = rustix::fs::statat(listing.fd()?, name.as_os_str(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        *kind = FileType::from_raw_mode(stat.st_mode);
    }
    names.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for directory in ["a/x", "a/y/z", "b", "a-b"] {
            std::fs::create_dir_all(dir.path().join(directory)).expect("created");
        }
        for file in ["a/1.txt", "a/x/2.txt", "a/y/z/3.txt", "b/4.txt", "a-b/5.txt", ".hidden", "st*r"] {
            std::fs::write(dir.path().join(file), "").expect("written");
        }
        std::os::unix::fs::symlink("/a", dir.path().join("inside")).expect("linked");
        std::os::unix::fs::symlink("/../../../../etc", dir.path().join("outside")).expect("linked");
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).expect("linked");
        let root = Root::open(dir.path()).expect("opened");
        (dir, root)
    }

    fn expanded(root: &Root, pattern: &str) -> Vec<String> {
        let found = expand(root, Path::new(pattern)).expect("valid");
        found.into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn patterns_are_expanded_below_the_root() {
        let (_dir, root) = fixture();
        let cases: &[(&str, &[&str])] = &[
            ("/a/*.txt", &["a/1.txt"]),
            ("*/*.txt", &["a/1.txt", "a-b/5.txt", "b/4.txt", "inside/1.txt"]),
            ("**/*.txt", &["a/1.txt", "a/x/2.txt", "a/y/z/3.txt", "a-b/5.txt", "b/4.txt"]),
            ("a/**", &["a", "a/x", "a/y", "a/y/z"]),
            ("a/**/**/3*", &["a/y/z/3.txt"]),
            ("a/../b/*", &["a/../b/4.txt"]),
            ("st\\*r", &["st*r"]),
            ("[ab]", &["a", "b"]),
            ("d*", &["dangling"]),
            ("outside/passw*", &[]),
            ("../../../etc/passw*", &[]),
            ("nothing*", &[]),
            ("a/1.txt/*", &[]),
            (".h*", &[".hidden"]),
        ];
        for (pattern, expected) in cases {
            let mut found = expanded(&root, pattern);
            if pattern.starts_with('*') {
                let order = |name: &String| expected.iter().position(|known| known == name);
                assert!(found.iter().all(|name| order(name).is_some()), "{pattern}: {found:?}");
                found.sort_by_key(order);
            }
            assert_eq!(found, *expected, "{pattern}");
        }
    }

    #[test]
    fn a_literal_name_may_hold_stars() {
        let (_dir, root) = fixture();
        assert_eq!(literal(&root, Path::new("/st*r")).expect("looked"), [PathBuf::from("st*r")]);
        assert!(literal(&root, Path::new("s*")).expect("looked").is_empty());
        assert!(literal(&root, Path::new("outside/passwd")).expect("looked").is_empty());
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_an_error() {
        let (_dir, root) = fixture();
        assert!(matches!(expand(&root, Path::new("a[")), Err(Error::Syntax(_))));
    }
}
