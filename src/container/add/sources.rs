//! What the operands match: names below the host's root, a context directory, or another root file system.
//!
//! Invariant: a name is confined below the origin's root; for a context directory and `--from` that is a safety boundary, so what
//! a name leads to, and not how it is written, decides whether a pattern leaves it out (known attack A08).
//! No descriptor is held for what matched: a pattern may match more names than a process may have files open.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use containers_storage::Root;
use jiff::Timestamp;
use rustix::fs::{FileType, MemfdFlags, Mode};

use super::error::Error;
use super::{Group, Inline, Links, Selection, Source, Wildcards};
use crate::container::fetch::{Content, Fetched};
use crate::copier::glob;
use crate::copier::pattern::has_meta;
use crate::spelling::nearest;

/// An ignore file is read by people: this is more than any has.
const LONGEST_IGNORE_FILE: u64 = 4 << 20;

/// Below what the operands are looked up.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    /// Its root.
    pub(super) root: OriginRoot<'a>,
    /// What relative operands are below, without a slash at the start.
    base: PathBuf,
    /// Its name for messages.
    shown: PathBuf,
}

/// A root that is ours or the caller's.
#[derive(Debug)]
pub(super) enum OriginRoot<'a> {
    /// Opened for this call.
    Own(Root),
    /// The caller's.
    Callers(&'a Root),
}

impl std::ops::Deref for OriginRoot<'_> {
    type Target = Root;

    fn deref(&self) -> &Root {
        match self {
            Self::Own(root) => root,
            Self::Callers(root) => root,
        }
    }
}

/// One thing that an operand matched.
#[derive(Debug)]
pub(super) struct Item<'g> {
    /// Its name below the origin's root.
    pub(super) path: PathBuf,
    /// Its parents that `--parents` keeps; empty without.
    pub(super) kept: PathBuf,
    /// Whether `--parents` was given.
    pub(super) keeps_parents: bool,
    /// Whether it is a directory, after links were followed or not.
    pub(super) is_directory: bool,
    /// Whether it is a regular file.
    pub(super) is_regular: bool,
    /// From where.
    pub(super) came: Came<'g>,
    /// When its content last changed; `None` for a time that no calendar has.
    pub(super) modified: Option<Timestamp>,
}

/// Where an item is from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Came<'g> {
    /// It is below the origin's root, and what a link of its name leads to is meant or not.
    Here(Links),
    /// It was fetched: a file, or the files of a repository.
    Fetched(&'g Fetched),
    /// It was given.
    Inline(&'g Inline),
}

impl Item<'_> {
    /// Whether its operand is a name of a file.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.came, Came::Here(_))
    }
}

/// What was fetched as if an operand had matched it.
pub(super) fn fetched(fetched: &Fetched) -> Group<'_> {
    let (path, modified, is_directory) = match &fetched.content {
        Content::File { name, modified, .. } => (name.clone().unwrap_or_default(), Some(*modified), false),
        Content::Tree { .. } => (OsString::new(), None, true),
    };
    elsewhere(&fetched.operand, path, Came::Fetched(fetched), modified, is_directory)
}

/// The same for a source whose content is given.
pub(super) fn inline(inline: &Inline) -> Group<'_> {
    let is_plain = !matches!(inline.name.as_str(), "" | "." | "..") && !inline.name.contains(['/', '\0']);
    let name = if is_plain { OsString::from(&inline.name) } else { OsString::new() };
    elsewhere(&inline.operand, name, Came::Inline(inline), Some(Timestamp::UNIX_EPOCH), false)
}

fn elsewhere<'g>(
    operand: &OsStr,
    path: OsString,
    came: Came<'g>,
    modified: Option<Timestamp>,
    is_directory: bool,
) -> Group<'g> {
    let (path, kept) = (path.into(), PathBuf::new());
    let item = Item { path, kept, keeps_parents: false, is_directory, is_regular: !is_directory, came, modified };
    Group { spec: PathBuf::from(operand), items: vec![item] }
}

/// A file in memory, 0644.
fn in_memory(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create(c"inline", MemfdFlags::CLOEXEC)?);
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    file.write_all(content)?;
    Ok(file.into())
}

/// Whether an operand that is no file here may be meant as one elsewhere.
fn is_elsewhere(operand: &OsStr) -> bool {
    [&b"git://"[..], b"git@", b"ssh://"].iter().any(|scheme| operand.as_bytes().starts_with(scheme))
}

/// A text file of the host that the caller named; anything but a regular file is refused before it is opened.
pub(super) fn read_host_file(path: &Path) -> io::Result<String> {
    let absolute = std::env::current_dir()?.join(path);
    let bytes = Root::open(Path::new("/"))?.read_file(&absolute, LONGEST_IGNORE_FILE)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl<'a> Origin<'a> {
    pub(super) fn open(source: &Source<'a>) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Context { path, source }
        };
        match source {
            Source::Root { root, .. } => {
                Ok(Self { root: OriginRoot::Callers(root), base: PathBuf::new(), shown: PathBuf::from("/") })
            }
            Source::Context { root, shown, .. } => {
                Ok(Self { root: OriginRoot::Callers(root), base: PathBuf::new(), shown: shown.to_path_buf() })
            }
            Source::Host { context: None } => {
                let base = std::env::current_dir().map_err(failed(Path::new(".")))?;
                let root = Root::open(Path::new("/")).map_err(failed(Path::new("/")))?;
                Ok(Self { root: OriginRoot::Own(root), base: relative(&base), shown: PathBuf::from("/") })
            }
            Source::Host { context: Some(directory) } => {
                // The caller's own directory may be a link; from here on it is the root.
                let shown = std::fs::canonicalize(directory).map_err(failed(directory))?;
                let root = Root::open(&shown).map_err(failed(directory))?;
                Ok(Self { root: OriginRoot::Own(root), base: PathBuf::new(), shown })
            }
        }
    }

    /// The ignore file at the top of a context directory: its name, and its text or why it can't be read. It is read below the
    /// directory and only if it is a regular file, since a context may be foreign (CVE-2022-4122).
    pub(super) fn own_ignore_file(&self) -> Option<(PathBuf, io::Result<String>)> {
        let name = [".containerignore", ".dockerignore"].into_iter().map(Path::new);
        let name = name.into_iter().find(|name| self.root.symlink_metadata(name).is_ok())?;
        let bytes = self.root.read_file(name, LONGEST_IGNORE_FILE);
        Some((self.shown(name), bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
    }

    /// A name below the root as people would write it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        self.shown.join(path)
    }

    /// What `spec` matches.
    pub(super) fn expand(&self, spec: &OsStr, selection: &Selection) -> Result<Group<'static>, Error> {
        let (given, pivot) = self.below_root(Path::new(spec));
        let literal = selection.wildcards == Wildcards::Literal || !has_meta(&given.to_string_lossy());
        let found = if literal { glob::literal(&self.root, &given) } else { glob::expand(&self.root, &given) };
        let found = found.map_err(|source| Error::Glob { context: self.shown.clone(), source })?;
        let shown = Path::new("/").join(&given);
        if found.is_empty() && selection.wildcards != Wildcards::ExpandMaybeEmpty {
            let context = self.shown.clone();
            return Err(match literal {
                true if is_elsewhere(spec) => Error::Network(spec.to_string_lossy().into_owned()),
                true => Error::Missing { context, name: shown, nearest: self.nearest(&given) },
                false => Error::NoMatch {
                    context,
                    glob: shown.display().to_string().escape_debug().to_string(),
                    literal: self.pattern_of_name(&given),
                },
            });
        }
        let items = found.into_iter().map(|path| self.item(path, pivot, selection)).collect::<Result<_, _>>()?;
        Ok(Group { spec: shown, items })
    }

    /// The name beside one that is not there that was probably meant.
    fn nearest(&self, given: &Path) -> Option<PathBuf> {
        let (parent, name) = (given.parent()?, given.file_name()?.to_str()?);
        let names = self.root.read_dir(parent).ok()?;
        let known = names.iter().filter_map(|entry| entry.name.to_str());
        nearest(name, known).map(|name| parent.join(name))
    }

    /// The pattern that matches nothing but the name `given`, if there is such a file.
    fn pattern_of_name(&self, given: &Path) -> Option<PathBuf> {
        let is_there = glob::literal(&self.root, given).is_ok_and(|found| !found.is_empty());
        let letter = |letter: char| match letter {
            '*' | '?' | '[' => format!("[{letter}]"),
            other => other.to_string(),
        };
        is_there.then(|| given.to_string_lossy().chars().map(letter).collect::<String>().into())
    }

    /// An operand below the root, and how many of its components `--parents` does not keep.
    fn below_root(&self, spec: &Path) -> (PathBuf, usize) {
        // Buildah takes an absolute name both ways: as the host knows it, if that is in the context, else as below the context.
        let spec = match spec.strip_prefix(&self.shown) {
            Ok(inside) if spec.is_absolute() && self.shown != Path::new("/") => inside,
            _ => spec,
        };
        let bytes = spec.as_os_str().as_bytes();
        let base = if spec.is_absolute() { Path::new("") } else { self.base.as_path() };
        let full = base.join(relative(spec));
        let before_pivot = bytes.windows(3).position(|window| window == b"/./").map_or(&b""[..], |at| &bytes[..at]);
        let dropped = relative(Path::new(OsStr::from_bytes(before_pivot)));
        let count = base.components().count() + dropped.components().count();
        (full, count)
    }

    fn item(&self, path: PathBuf, pivot: usize, selection: &Selection) -> Result<Item<'static>, Error> {
        let handle = self.open_path(&path, selection.links)?;
        let stat = rustix::fs::fstat(&handle).map_err(|source| Error::Look {
            context: self.shown.clone(),
            name: Path::new("/").join(&path),
            source: source.into(),
        })?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        let mut kept = PathBuf::new();
        if selection.parents {
            // Nothing is above the root: what leads up from there leads nowhere, and is not kept either.
            let ascends = path.starts_with("..");
            let rest = path.components().skip(pivot);
            let whole: PathBuf = rest.skip_while(|component| ascends && *component == Component::ParentDir).collect();
            let whole = if is_directory { whole } else { whole.parent().map(Path::to_path_buf).unwrap_or_default() };
            if whole.components().any(|component| component == Component::ParentDir) {
                return Err(Error::ParentsOutside(path));
            }
            kept = whole;
        }
        let is_regular = kind == FileType::RegularFile;
        let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let modified = Timestamp::new(stat.st_mtime, nanoseconds).ok();
        let came = Came::Here(selection.links);
        Ok(Item { path, kept, keeps_parents: selection.parents, is_directory, is_regular, came, modified })
    }

    /// A bare handle on the item, for as long as it is copied.
    pub(super) fn open_item(&self, item: &Item<'_>) -> Result<OwnedFd, Error> {
        let failed = |source| Error::Context { path: item.path.clone(), source };
        match item.came {
            Came::Here(links) => self.open_again(item, links),
            Came::Fetched(fetched) => match &fetched.content {
                Content::File { file, .. } => file.as_fd().try_clone_to_owned().map_err(failed),
                Content::Tree { root, .. } => root.as_fd().try_clone_to_owned().map_err(failed),
            },
            Came::Inline(inline) => {
                in_memory(&inline.content).map_err(|source| Error::Inline { name: inline.name.clone(), source })
            }
        }
    }

    /// What was looked at decided where it goes: it must be of the same kind still.
    fn open_again(&self, item: &Item<'_>, links: Links) -> Result<OwnedFd, Error> {
        let handle = self.open_path(&item.path, links)?;
        let is_directory = rustix::fs::fstat(&handle)
            .map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
            .map_err(io::Error::from);
        let changed = || io::Error::other("it was replaced while it was copied");
        match is_directory.and_then(|now| if now == item.is_directory { Ok(handle) } else { Err(changed()) }) {
            Ok(handle) => Ok(handle),
            Err(source) => Err(Error::Look { context: self.shown.clone(), name: Path::new("/").join(&item.path), source }),
        }
    }

    fn open_path(&self, path: &Path, links: Links) -> Result<OwnedFd, Error> {
        let plain = matches!(path.components().next_back(), Some(Component::Normal(_)));
        let opened = match links {
            Links::Keep if plain => self.root.resolve_nofollow(path),
            _ => self.root.resolve(path),
        };
        opened.map_err(|source| {
            let (context, name) = (self.shown.clone(), Path::new("/").join(path));
            match source.kind() {
                io::ErrorKind::NotFound => Error::Dangling { context, name },
                _ => Error::Look { context, name, source },
            }
        })
    }

    /// The name that an item really has below the root, whatever way led there.
    pub(super) fn real_path(&self, item: &Item<'_>, handle: BorrowedFd<'_>) -> PathBuf {
        if let Ok(inside) = self.root.name_of(handle) {
            return inside;
        }
        relative(&item.path)
    }
}

/// The path without a slash at the start and without `.`; `..` stays, and is clamped by the kernel.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|component| !matches!(component, Component::RootDir | Component::CurDir)).collect()
}
