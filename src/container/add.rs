//! `add` and `copy`: files, directories and archives into the root file system of a working container.
//!
//! ```text
//!  operands ─ sources ─▶ what matches, with handles ─┐
//!  DEST ─── destination ─▶ directory and name ───────┴─ copier::tree, or archive::unpack ─▶ digest, warnings
//! ```
//!
//! Owns: what the operands mean (where a source goes, what a pattern matches, whose the result is). The bytes themselves are
//! moved by `copier`.
//!
//! Must not: mount, print, or know where the container's root file system came from; the caller hands over `Root` handles.

mod archive;
mod destination;
mod error;
mod fingerprint;
mod remote;
mod sources;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::archive::unpack::Devices;
use containers_storage::{Digest, Root};
use jiff::Timestamp;
use rustix::fs::{Timespec, Timestamps};

use super::fetch::Fetched;
use crate::copier::digest::{Composite, SourceKind, Total};
use crate::copier::ignore::Ignore;
use crate::copier::names::{Names, Owner};
use crate::copier::tree::{self, Filter, Look, Maps, Place, Session};
use destination::Target;
pub use error::Error;
pub use fingerprint::fingerprint;
use sources::{Item, Origin};

/// Which of the two verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `add`: unpacks local archives.
    Add,
    /// `copy`: takes everything as it is.
    Copy,
}

/// What is left out of the context of a build.
#[derive(Debug, Clone, Default)]
pub struct ContextIgnore {
    /// Patterns, in their order.
    pub patterns: Vec<String>,
    /// The file that they are from, for messages.
    pub file: Option<PathBuf>,
}

/// Where the sources are.
#[derive(Debug)]
pub enum Source<'a> {
    /// Paths of the host, relative ones below the working directory, or all of them below `--contextdir`.
    Host {
        /// `--contextdir`: names are confined below it.
        context: Option<PathBuf>,
    },
    /// Of a build: files below a directory that the caller has opened. What they may do as another user is not kept.
    Context {
        /// The directory; nothing outside of it can be reached.
        root: &'a Root,
        /// Its name, for messages.
        shown: &'a Path,
        /// What is left out.
        ignore: &'a ContextIgnore,
    },
    /// `--from`: the root file system of a container or of an image that the caller has mounted; owners are kept.
    Root {
        /// The other root file system. Relative names begin there as well.
        root: &'a Root,
        /// Whose it is.
        owner: RootOwner,
    },
}

/// Whose root file system sources lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootOwner {
    /// Another container's, or an image's.
    Another,
    /// That of the container that is copied into.
    Itself,
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

/// Which archives `add` unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Archives {
    /// Those that are here, not those that were fetched (the default).
    #[default]
    Here,
    /// All (`ADD --unpack`).
    All,
    /// None (`ADD --unpack=false`).
    None,
}

/// What is selected and how it is arranged.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--exclude`: ignore patterns, relative to the source or to the context directory.
    pub exclude: Vec<String>,
    /// `--include`: patterns of the same kind; with any, files that none matches are left out.
    pub include: Vec<String>,
    /// `--required-path`: names below a source that must be copied.
    pub required: Vec<PathBuf>,
    /// `--ignorefile`: a file of the host with such patterns, which are relative to the context directory. Without it, the
    /// `.containerignore` or else `.dockerignore` of the context directory is taken.
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
    /// `--chmod`: octal, or changes as in `u+x,go-w`.
    pub chmod: Option<String>,
    /// `--timestamp`, seconds since 1970.
    pub timestamp: Option<i64>,
}

/// Where the copies are made.
#[derive(Debug, Clone, Copy, Default)]
pub enum Landing<'a> {
    /// In the container.
    #[default]
    Container,
    /// `--link`: in an empty tree that becomes a layer of its own. The container says only what is a directory there and who
    /// has which name; no link of it is followed, and nothing depends on its owners and modes.
    Layer(&'a Root),
}

/// How `add` works.
#[derive(Debug)]
pub struct Options<'a> {
    /// Which verb.
    pub verb: Verb,
    /// Which archives `Verb::Add` unpacks.
    pub archives: Archives,
    /// Where the sources are.
    pub source: Source<'a>,
    /// Where the copies are made.
    pub landing: Landing<'a>,
    /// The container's working directory: what a relative destination is below.
    pub workdir: PathBuf,
    /// Which files.
    pub selection: Selection,
    /// How they look afterwards.
    pub appearance: Appearance,
    /// Those of the sources that are addresses, fetched before. They belong to root, and neither ignore file nor `--exclude` holds
    /// for a file among them.
    pub fetched: &'a [Fetched],
    /// Those whose content is given; the same holds for them.
    pub inline: &'a [Inline],
    /// The id maps of the container, and of the other one that the sources are in.
    pub maps: Maps<'a>,
    /// The container's own layer on disk, where the root file system that is written to is a mount of it.
    pub layer: Option<PathBuf>,
}

/// A source whose content is given: a here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inline {
    /// Which of the sources it is: what stands there.
    pub operand: OsString,
    /// The name of the file.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
}

/// The word before the digest in history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One file.
    File,
    /// One directory.
    Dir,
    /// One file or repository from the network.
    Remote,
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
            Self::Remote | Self::Empty => "",
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
    /// The latest time of change among the sources themselves; `None` if all were left out.
    pub latest: Option<Timestamp>,
    /// What was left out (a socket, a device): one line of standard error each, escaped.
    pub warnings: Vec<String>,
}

/// What was done, where the digest of what was copied last may still be in the making.
#[derive(Debug)]
pub struct Unhashed {
    digests: Composite,
    latest: Option<Timestamp>,
    /// As in `Outcome`.
    pub warnings: Vec<String>,
}

impl Unhashed {
    /// Waits for the digest.
    pub fn hashed(self) -> Result<Outcome, Error> {
        let (kind, digest) = match self.digests.complete().map_err(Error::Hash)? {
            Total::Nothing => (Kind::Empty, None),
            Total::One(SourceKind::File, digest) => (Kind::File, Some(digest)),
            Total::One(SourceKind::Dir, digest) => (Kind::Dir, Some(digest)),
            Total::One(SourceKind::Remote, digest) => (Kind::Remote, Some(digest)),
            Total::Multi(digest) => (Kind::Multi, Some(digest)),
        };
        Ok(Outcome { digest, kind, latest: self.latest, warnings: self.warnings })
    }
}

/// Copies `sources` to `destination` below `target`, the container's mounted root file system. Without a destination it is the
/// working directory. Namespaces have to be entered before: a large source is hashed by a second thread.
///
/// # Errors
/// Everything that can be checked is checked before the first file is made. What fails later leaves what was copied so far.
pub fn add(target: &Root, sources: &[OsString], destination: Option<&Path>, options: &Options<'_>) -> Result<Outcome, Error> {
    add_unhashed(target, sources, destination, options)?.hashed()
}

/// The same, but for the digest. What was copied must stay as it is until that is there; nothing that is mounted is held by it.
pub fn add_unhashed(
    target: &Root,
    sources: &[OsString],
    destination: Option<&Path>,
    options: &Options<'_>,
) -> Result<Unhashed, Error> {
    let origin = Origin::open(&options.source)?;
    let (ignore, ignore_file) = context_ignore(&options.selection, &options.source, &origin)?;
    let exclude = Ignore::new(options.selection.exclude.iter().map(String::as_str)).map_err(Error::Excludes)?;
    let include = Ignore::new(options.selection.include.iter().map(String::as_str)).map_err(Error::Includes)?;
    let groups = groups(&origin, sources, options)?;
    let look = look(target, &options.source, &options.appearance)?;
    let shape = destination::Shape::of(&origin, sources.len(), groups.first().and_then(|group| group.items.first()), options);
    let arranged = destination::arrange(target, destination, options, shape)?;
    let nameless = |item: &Item<'_>| {
        !item.is_here() && !item.is_directory && !arranged.names(item) && !archive::is_unpacked(&origin, item, options)
    };
    if let Some(group) = groups.iter().find(|group| group.items.iter().any(nameless)) {
        return Err(Error::NoName(group.spec.clone()));
    }
    let (landing, arranged, copies) = match options.landing {
        Landing::Container => (target, arranged, options.maps.copies),
        // A layer has the ids inside.
        Landing::Layer(tree) => (tree, arranged.cleaned(), None),
    };
    let maps = Maps { copies, ..options.maps };

    let names = Names::read(&origin.root).map_err(|source| Error::Owners { source })?;
    let filter = Filter {
        context: Some(&ignore).filter(|patterns| !patterns.is_empty()),
        source: Some(&exclude).filter(|patterns| !patterns.is_empty()),
        include: Some(&include).filter(|patterns| !patterns.is_empty()),
    };
    let devices = if crate::userns::is_rootless() { Devices::Skip } else { Devices::Create };
    let mut job = Job {
        session: Session::new(landing, &names, look, filter, devices)
            .with_maps(maps)
            .with_destination(options.layer.as_deref())
            .with_sources_in_target(own_root(options))
            .with_required(&options.selection.required),
        origin: &origin,
        options,
        arranged: &arranged,
        ignore_file: ignore_file.as_deref(),
        digests: Composite::default(),
        latest: None,
    };
    for group in &groups {
        job.copy_group(group)?;
    }
    if let Some(missing) = job.session.required.first() {
        return Err(Error::Required(missing.clone()));
    }
    if let Landing::Layer(tree) = options.landing {
        job.date_directories(tree)?;
    }
    Ok(Unhashed { digests: job.digests, latest: job.latest, warnings: job.session.warnings })
}

/// What the operands are. A pattern may match nothing if something else is there to be copied, as in `package.json *.lock`.
fn groups<'g>(origin: &Origin<'_>, sources: &[OsString], options: &Options<'g>) -> Result<Vec<Group<'g>>, Error> {
    let (mut groups, mut unmatched) = (Vec::with_capacity(sources.len()), None);
    for spec in sources {
        let inline = || options.inline.iter().find(|inline| inline.operand == *spec).map(sources::inline);
        let fetched = options.fetched.iter().find(|fetched| fetched.operand == *spec).map(sources::fetched);
        let group = match fetched.or_else(inline) {
            Some(group) => Ok(group),
            None => origin.expand(spec, &options.selection),
        };
        match group {
            Ok(group) => groups.push(group),
            Err(error @ Error::NoMatch { .. }) => drop(unmatched.get_or_insert(error)),
            Err(error) => return Err(error),
        }
    }
    match unmatched {
        Some(error) if groups.is_empty() => Err(error),
        _ => Ok(groups),
    }
}

/// `destination` as the history entry of a layer of its own names it.
pub(super) fn destination_in_history(destination: Option<&Path>, workdir: &Path, operands: usize) -> PathBuf {
    destination::in_history(destination, workdir, operands)
}

/// The patterns of the context, and the file they are from: `--ignorefile`, or what lies in the context directory.
fn context_ignore(selection: &Selection, source: &Source<'_>, origin: &Origin<'_>) -> Result<(Ignore, Option<PathBuf>), Error> {
    if let Source::Context { ignore, .. } = source {
        let patterns = ignore.patterns.iter().map(String::as_str);
        return Ok((Ignore::new(patterns).map_err(Error::Excludes)?, ignore.file.clone()));
    }
    let in_context = matches!(source, Source::Host { context: Some(_) });
    let (path, text) = match &selection.ignore_file {
        Some(_) if !in_context => return Err(Error::IgnoreFileWithoutContext),
        Some(path) => (path.clone(), sources::read_host_file(path)),
        None if in_context => match origin.own_ignore_file() {
            Some((path, text)) => (path, text),
            None => return Ok((Ignore::default(), None)),
        },
        None => return Ok((Ignore::default(), None)),
    };
    let text = text.map_err(|source| Error::IgnoreFile { path: path.clone(), source })?;
    Ok((Ignore::parse_file(&text).map_err(Error::Excludes)?, Some(path)))
}

/// The root that sources lie below, if it is that of the container that is copied into.
fn own_root<'a>(options: &Options<'a>) -> Option<&'a Root> {
    match (&options.source, options.landing) {
        (Source::Root { root, owner: RootOwner::Itself }, Landing::Container) => Some(root),
        _ => None,
    }
}

fn look(target: &Root, source: &Source<'_>, appearance: &Appearance) -> Result<Look, Error> {
    const ROOT: Owner = Owner { uid: 0, gid: 0 };
    let chown = match &appearance.chown {
        None => None,
        Some(spec) => {
            let owner = Names::read(target).and_then(|names| names.owner(spec));
            Some(owner.map_err(|source| Error::Chown { spec: spec.clone(), source })?)
        }
    };
    let unasked = match source {
        Source::Root { .. } if !crate::userns::has_single_id() => None,
        // With one id there is nobody else whose the files could be.
        Source::Root { .. } | Source::Host { .. } | Source::Context { .. } => Some(ROOT),
    };
    let mode = match &appearance.chmod {
        None => None,
        Some(text) => Some(text.parse().map_err(|()| Error::Chmod(text.clone()))?),
    };
    let kept_mode = if matches!(source, Source::Context { .. }) { 0o1777 } else { 0o7777 };
    let (owner, default_owner) = (chown.or(unasked), chown.unwrap_or(ROOT));
    Ok(Look { owner, mode, kept_mode, time: appearance.timestamp, default_owner })
}

/// What one operand matched.
#[derive(Debug)]
struct Group<'g> {
    /// The operand as an absolute name, for messages.
    spec: PathBuf,
    items: Vec<Item<'g>>,
}

struct Job<'j, 'o> {
    session: Session<'j>,
    origin: &'j Origin<'o>,
    options: &'j Options<'o>,
    arranged: &'j Target,
    ignore_file: Option<&'j Path>,
    digests: Composite,
    latest: Option<Timestamp>,
}

impl Job<'_, '_> {
    fn copy_group(&mut self, group: &Group<'_>) -> Result<(), Error> {
        let mut copied = 0;
        for item in &group.items {
            let handle = self.origin.open_item(item)?;
            if !item.is_here() {
                self.latest = self.latest.max(item.modified);
                copied += 1 + self.copy_fetched(item, handle.as_fd())?;
                continue;
            }
            let source = tree::Source { handle: handle.as_fd(), path: self.origin.real_path(item, handle.as_fd()) };
            let excluded =
                self.session.filter.context.is_some_and(|ignore| {
                    !source.path.as_os_str().is_empty() && ignore.excludes(&source.path.to_string_lossy())
                });
            if excluded && !(item.is_directory && self.session.filter.context.is_some_and(Ignore::takes_back)) {
                continue;
            }
            self.latest = self.latest.max(item.modified);
            // An empty directory is something that was copied; what is left of a directory that is excluded may be nothing.
            copied += u64::from(item.is_directory && !excluded);
            // Files before it got the name that the directory is to have.
            let explained = |error| match error {
                Error::EnsureDirectory { path, source }
                    if item.is_directory && group.items.len() > 1 && source.kind() == ErrorKind::NotADirectory =>
                {
                    Error::NeedsDirectory { pattern: group.spec.clone(), destination: path.components().collect() }
                }
                error => error,
            };
            copied += self.copy_item(item, &source).map_err(explained)?;
        }
        let may_be_empty = self.options.selection.wildcards == Wildcards::ExpandMaybeEmpty;
        if copied == 0 && !(group.items.is_empty() && may_be_empty) {
            let using = self.ignore_file.map(|path| format!(" using {}", path.display()));
            return Err(Error::Filtered {
                glob: group.spec.clone(),
                count: group.items.len(),
                using: using.unwrap_or_default().escape_debug().to_string(),
            });
        }
        Ok(())
    }

    fn copy_item(&mut self, item: &Item<'_>, source: &tree::Source<'_>) -> Result<u64, Error> {
        let failed = |error| Error::Copy { name: self.origin.shown(&item.path), source: error };
        let directory = self.arranged.directory_for(item);
        let prefix = item.kept.clone();
        if archive::is_unpacked(self.origin, item, self.options) {
            return self.unpack(item, source.handle, SourceKind::File, &directory.join(&prefix));
        }
        let into = directory.join(&prefix);
        let place = Place { directory: self.make_directory(&into)?, path: into, name: self.arranged.name_for(item), prefix };
        let copied = self.session.copy(source, &place).map_err(failed)?;
        // A file that the patterns of `--exclude` left out is no part of the digest.
        if copied.entries > 0 || copied.kind == SourceKind::Dir {
            self.digests.push(copied.kind, copied.digest).map_err(Error::Hash)?;
        }
        Ok(copied.entries)
    }

    fn unpack(&mut self, item: &Item<'_>, handle: BorrowedFd<'_>, kind: SourceKind, into: &Path) -> Result<u64, Error> {
        self.make_directory(into)?;
        let asked = self.options.appearance.chown.as_ref().and(self.session.look.owner);
        let unpacked = archive::unpack(&mut self.session, asked, handle, into);
        let (digest, entries) = unpacked.map_err(|source| Error::Archive { name: self.origin.shown(&item.path), source })?;
        self.digests.push(kind, digest.into()).map_err(Error::Hash)?;
        Ok(entries.max(1))
    }

    /// What was fetched, as root's; its digest has the time that the server said.
    fn copy_fetched(&mut self, item: &Item<'_>, handle: BorrowedFd<'_>) -> Result<u64, Error> {
        if archive::is_unpacked(self.origin, item, self.options) {
            return self.unpack(item, handle, SourceKind::Remote, &self.arranged.directory_for(item));
        }
        let failed = |error| Error::Copy { name: item.path.clone(), source: error };
        let (look, sources, filter) = (self.session.look, self.session.maps.sources, self.session.filter);
        self.session.look.owner = Some(look.owner.unwrap_or(look.default_owner));
        self.session.maps.sources = None;
        if !item.is_directory {
            self.session.filter = Filter::default();
        }
        let path = self.arranged.directory_for(item);
        let directory = self.make_directory(&path)?;
        let (name, prefix) = (self.arranged.name_for(item), PathBuf::new());
        let source = tree::Source { handle, path: item.path.clone() };
        let copied = self.session.copy(&source, &Place { directory, path, name: name.clone(), prefix });
        let owner = self.session.look.default_owner;
        (self.session.look, self.session.maps.sources, self.session.filter) = (look, sources, filter);
        let copied = copied.map_err(failed)?;
        let digest = match item.is_directory {
            true => copied.digest,
            false => {
                let modified = || item.modified.map_or(0, Timestamp::as_second);
                let seconds = u64::try_from(look.time.unwrap_or_else(modified)).unwrap_or(0);
                let described = remote::Described { name: &name, owner, mode: look.mode, seconds };
                let digest = remote::digest(handle, &described).map_err(|source| Error::Copy {
                    name: item.path.clone(),
                    source: tree::Error::Read { path: item.path.clone(), source },
                })?;
                digest.into()
            }
        };
        self.digests.push(SourceKind::Remote, digest).map_err(Error::Hash)?;
        Ok(copied.entries)
    }

    /// The directory that something goes into; what is missing of it is made, 0755.
    fn make_directory(&self, path: &Path) -> Result<OwnedFd, Error> {
        let made = self.session.target.mkdir_all(path, |handle, _| {
            let directory = tree::open_directory(handle.as_fd())?;
            self.session.finish_new_directory(directory.as_fd())
        });
        made.map_err(|source| Error::EnsureDirectory { path: path.to_path_buf(), source })
    }

    /// The directories that lead to the copies in a layer of its own get the time that was asked for, or that of the latest
    /// source: the present would make each layer another one.
    fn date_directories(&self, tree: &Root) -> Result<(), Error> {
        let asked = self.options.appearance.timestamp.map(|seconds| Timespec { tv_sec: seconds, tv_nsec: 0 });
        let latest = self.latest.map(|time| Timespec { tv_sec: time.as_second(), tv_nsec: time.subsec_nanosecond().into() });
        let Some(time) = asked.or(latest) else { return Ok(()) };
        let times = Timestamps { last_access: time, last_modification: time };
        for path in self.arranged.directories() {
            let dated = tree.subdir(path).and_then(|directory| {
                let directory = tree::open_directory(directory.as_fd())?;
                Ok(rustix::fs::futimens(&directory, &times)?)
            });
            dated.map_err(|source| Error::EnsureDirectory { path: path.to_path_buf(), source })?;
        }
        Ok(())
    }
}
