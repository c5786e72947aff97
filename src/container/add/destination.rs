//! Where sources go: into a directory, or to one name (inventory 3.3).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use containers_storage::Root;
use rustix::fs::FileType;

use super::error::Error;
use super::sources::{Item, Origin};
use super::{Landing, Options, archive};

/// What the destination has to hold. A pattern counts as one source, whatever it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Something that can have the destination's name.
    One,
    /// Something that needs a directory: several sources, a directory, an archive to unpack, or a name kept with its parents.
    Tree,
}

impl Shape {
    /// The shape of `operands` sources, of which the first matched `first`.
    pub(super) fn of(origin: &Origin<'_>, operands: usize, first: Option<&Item<'_>>, options: &Options<'_>) -> Self {
        let Some(first) = first.filter(|_| operands == 1) else { return Self::Tree };
        let tree = first.is_directory || first.keeps_parents || archive::is_unpacked(origin, first, options);
        if tree { Self::Tree } else { Self::One }
    }
}

/// The directory that sources go into, and the name that a file gets there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    directory: PathBuf,
    name: Option<OsString>,
}

impl Target {
    /// Where the content of a directory goes, or the file.
    pub(super) fn directory_for(&self, item: &Item<'_>) -> PathBuf {
        match &self.name {
            // A pattern that matched files first and then a directory: its content goes to the same name.
            Some(name) if item.is_directory => self.directory.join(name),
            _ => self.directory.clone(),
        }
    }

    /// The same place as it is written, without a look at links: for a tree of its own.
    pub(super) fn cleaned(self) -> Self {
        Self { directory: cleaned(&self.directory), ..self }
    }

    /// The directory that sources go into and all above it but the root, deepest first.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directory.ancestors().filter(|path| path.file_name().is_some())
    }

    /// Whether a file can be named.
    pub(super) fn names(&self, item: &Item<'_>) -> bool {
        self.name.is_some() || item.path.file_name().is_some()
    }

    /// The name of a file: that of the destination, or its own.
    pub(super) fn name_for(&self, item: &Item<'_>) -> OsString {
        let own = || item.path.file_name().unwrap_or_default().to_os_string();
        self.name.clone().unwrap_or_else(own)
    }
}

/// What is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    /// A link that leads to nothing: to Buildah it is a directory, and that is made.
    LinkToNothing,
    Other,
}

/// Applies the rules to what is there now.
pub(super) fn arrange(target: &Root, destination: Option<&Path>, options: &Options<'_>, shape: Shape) -> Result<Target, Error> {
    let (path, as_directory) = full_path(destination, &options.workdir);
    let there = match target.metadata(&path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => There::Directory,
        Ok(_) => There::Other,
        Err(error) if error.kind() == io::ErrorKind::NotFound => match (target.symlink_metadata(&path), options.landing) {
            (Ok(_), Landing::Container) => There::LinkToNothing,
            _ => There::Nothing,
        },
        // The slash at the end of a file's name.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && is_file(target, &path) => There::Other,
        Err(source) => return Err(Error::Destination { path, source }),
    };
    let needs_directory = as_directory || shape == Shape::Tree;
    let has_slash = destination.is_some_and(|destination| destination.as_os_str().as_bytes().ends_with(b"/"));
    decide(path, there, needs_directory).map_err(|error| match error {
        Error::NotADirectory(shown) if has_slash => Error::NotADirectory(shown + "/"),
        other => other,
    })
}

/// Whether the name is a file's, if it ends where its last component does.
fn is_file(target: &Root, path: &Path) -> bool {
    let plain: PathBuf = path.components().collect();
    target.metadata(&plain).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory)
}

/// The destination below the container's root, and whether it is written as a directory.
fn full_path(destination: Option<&Path>, workdir: &Path) -> (PathBuf, bool) {
    let given = destination.unwrap_or(Path::new(""));
    let bytes = given.as_os_str().as_bytes();
    // `join` with an absolute path takes that one. What a `..` takes back is not looked at, let alone made.
    let workdir = cleaned(&Path::new("/").join(workdir));
    let path = cleaned(&workdir.join(given));
    let written = bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let as_directory = written || bytes.ends_with(b"/..") || path == workdir;
    (path, as_directory)
}

/// The destination as Buildah's history names it: absolute, and with a slash at its end where a relative one is a directory.
pub(super) fn in_history(destination: Option<&Path>, workdir: &Path, operands: usize) -> PathBuf {
    let given = destination.unwrap_or(Path::new(""));
    if given.is_absolute() {
        return given.to_path_buf();
    }
    let bytes = given.as_os_str().as_bytes();
    let mut path = cleaned(&Path::new("/").join(workdir).join(given));
    if bytes.is_empty() || operands > 1 || bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        path.as_mut_os_string().push("/");
    }
    path
}

/// An absolute path without `.`, and with what a `..` takes back left out.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn decide(path: PathBuf, there: There, needs_directory: bool) -> Result<Target, Error> {
    if there == There::Other && needs_directory {
        return Err(Error::NotADirectory(path.display().to_string().escape_debug().to_string()));
    }
    if needs_directory || matches!(there, There::Directory | There::LinkToNothing) {
        return Ok(Target { directory: path, name: None });
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(Target { directory: parent.to_path_buf(), name: Some(name.to_os_string()) }),
        _ => Ok(Target { directory: path, name: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_below_the_working_directory_and_may_say_directory() {
        let cases = [
            (None, "/w", "/w", true),
            (Some(""), "/w", "/w", true),
            (Some("x"), "/w", "/w/x", false),
            (Some("x/"), "/w", "/w/x", true),
            (Some("x/."), "/w", "/w/x", true),
            (Some("/x"), "/w", "/x", false),
            (Some("/w"), "/w", "/w", true),
            (Some("/"), "/w", "/", true),
            (Some("."), "/w", "/w", true),
            (Some(".."), "/w", "/", true),
            (Some("/x/y/../z"), "/w", "/x/z", false),
            (Some("../w"), "/w/", "/w", true),
            (Some("x"), "", "/x", false),
            (None, "", "/", true),
        ];
        for (given, workdir, path, as_directory) in cases {
            let found = full_path(given.map(Path::new), Path::new(workdir));
            assert_eq!(found, (PathBuf::from(path), as_directory), "{given:?} {workdir:?}");
        }
    }

    #[test]
    fn history_has_the_absolute_destination() {
        let cases = [
            (None, "/w", 1, "/w/"),
            (Some("x"), "/w", 1, "/w/x"),
            (Some("x"), "/w", 2, "/w/x/"),
            (Some("x/"), "/w", 1, "/w/x/"),
            (Some("../x/."), "/w", 1, "/x/"),
            (Some("/x/../y/"), "/w", 1, "/x/../y/"),
            (Some("/x"), "/w", 2, "/x"),
        ];
        for (given, workdir, operands, path) in cases {
            let found = in_history(given.map(Path::new), Path::new(workdir), operands);
            assert_eq!(found, PathBuf::from(path), "{given:?} {workdir:?} {operands}");
        }
    }

    #[test]
    fn a_cleaned_place_never_leaves_its_root() {
        let place = |path: &str| Target { directory: path.into(), name: None }.cleaned().directory;
        assert_eq!(place("/a/../../b/./c/"), PathBuf::from("/b/c"));
        assert_eq!(place("/../.."), PathBuf::from("/"));
    }

    #[test]
    fn one_file_is_renamed_unless_the_destination_is_a_directory() {
        let renamed = |directory: &str, name: &str| Target { directory: directory.into(), name: Some(name.into()) };
        let into = |directory: &str| Target { directory: directory.into(), name: None };
        let path = || PathBuf::from("/d/x");
        assert_eq!(decide(path(), There::Nothing, false).expect("allowed"), renamed("/d", "x"));
        assert_eq!(decide(path(), There::Other, false).expect("allowed"), renamed("/d", "x"));
        assert_eq!(decide(path(), There::Directory, false).expect("allowed"), into("/d/x"));
        assert_eq!(decide(path(), There::LinkToNothing, false).expect("allowed"), into("/d/x"));
        assert_eq!(decide(path(), There::Nothing, true).expect("allowed"), into("/d/x"));
        assert_eq!(decide(path(), There::Directory, true).expect("allowed"), into("/d/x"));
        let refused = decide(path(), There::Other, true).expect_err("a file is in the way").to_string();
        assert_eq!(refused, "destination /d/x already exists but is not a directory");
    }
}
