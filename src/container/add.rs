//! `add` and `copy`: files, directories and archives into the root file system of a working container.
//!
//! Owns: what the operands mean (where a source goes, what a pattern matches, whose the result is) and the digest that scripts
//! compare. The bytes themselves are moved by `copier`.
//!
//! Must not: mount, print, or know where the container's root file system came from; the caller hands over `Root` handles.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use containers_storage::{Digest, Root};

/// Which of the two verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `add`: unpacks local archives.
    Add,
    /// `copy`: takes everything as it is.
    Copy,
}

/// Where the sources are.
#[derive(Debug)]
pub enum Source<'a> {
    /// Paths of the host, relative ones below the working directory, or all of them below `--contextdir`.
    Host {
        /// `--contextdir`: names are confined below it.
        context: Option<PathBuf>,
    },
    /// `--from`: the root file system of a container or of an image that the caller has mounted; owners are kept.
    Root {
        /// The other root file system.
        root: &'a Root,
        /// Its working directory, for relative names.
        workdir: PathBuf,
    },
}

/// What is done with a source that is itself a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// What it points to is copied (the default).
    #[default]
    Follow,
    /// `--no-follow-symlinks`: the link is copied.
    Keep,
}

/// How names with `*`, `?` and `[` are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wildcards {
    /// Patterns, which must match something (the default).
    #[default]
    Expand,
    /// `--allow-empty-wildcard`: patterns, which may match nothing.
    ExpandMaybeEmpty,
    /// `--allow-wildcard=false`: plain names.
    Literal,
}

/// What is selected and how it is arranged.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--exclude`: ignore patterns, relative to the source.
    pub exclude: Vec<String>,
    /// `--ignorefile`: a file of such patterns, relative to the context directory.
    pub ignore_file: Option<PathBuf>,
    /// `--no-follow-symlinks`.
    pub links: Links,
    /// `--allow-wildcard`, `--allow-empty-wildcard`.
    pub wildcards: Wildcards,
    /// `--parents`: the directories of a source's name are made in the destination.
    pub parents: bool,
}

/// What the copied files look like.
#[derive(Debug, Clone, Default)]
pub struct Appearance {
    /// `--chown USER[:GROUP]`, names looked up in the container.
    pub chown: Option<String>,
    /// `--chmod`, octal.
    pub chmod: Option<String>,
    /// `--timestamp`, seconds since 1970.
    pub timestamp: Option<i64>,
}

/// How `add` works.
#[derive(Debug)]
pub struct Options<'a> {
    /// Which verb.
    pub verb: Verb,
    /// Where the sources are.
    pub source: Source<'a>,
    /// The container's working directory: what a relative destination is below.
    pub workdir: PathBuf,
    /// Which files.
    pub selection: Selection,
    /// How they look afterwards.
    pub appearance: Appearance,
}

/// The word before the digest in history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One file.
    File,
    /// One directory.
    Dir,
    /// Several sources.
    Multi,
    /// Nothing was selected.
    Empty,
}

impl Kind {
    /// `file`, `dir`, `multi`, or nothing.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Multi => "multi",
            Self::Empty => "",
        }
    }
}

/// What was done.
#[derive(Debug)]
pub struct Outcome {
    /// The digest over what was written; `None` if nothing was.
    pub digest: Option<Digest>,
    /// Its type word in history.
    pub kind: Kind,
    /// What was left out (a socket, a device): one line of standard error each, escaped.
    pub warnings: Vec<String>,
}

/// Why nothing, or not all, was copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source that comes over the network.
    #[error("{0:?}: sources on the network are not supported yet, they come together with registries")]
    Network(String),
}

/// Copies `sources` to `destination` below `target`, the container's mounted root file system. Without a destination it is the
/// working directory.
pub fn add(
    _target: &Root,
    _sources: &[OsString],
    _destination: Option<&Path>,
    _options: &Options<'_>,
) -> Result<Outcome, Error> {
    Ok(Outcome { digest: None, kind: Kind::Empty, warnings: Vec::new() })
}
