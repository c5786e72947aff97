//! Which files are the Dockerfiles of a build, and their texts.
//!
//! ```text
//! no -f ▶ Containerfile, else Dockerfile, at the top of the context
//! -f -  ▶ standard input        -f http(s)://… ▶ fetched        -f P ▶ P as the caller sees it, else P in the context
//! ```
//!
//! Invariant: only what the caller named is looked up outside of the context's handle.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use containers_storage::Root;
use rustix::fs::FileType;

use super::{Author, Content, Error, LONGEST_TEXT, Opened, Place, Request, Text, fetch, preprocess};

/// At the top of a context, the one that counts first.
const NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];
/// What the caller has open already, under a name that leads nowhere else.
const DESCRIPTORS: [&str; 4] = ["/dev/stdin", "/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"];

/// All Dockerfiles.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) texts: Vec<Text>,
    /// Where each was, for the ignore file beside it.
    pub(super) places: Vec<Found>,
    pub(super) author: Author,
    pub(super) warnings: Vec<String>,
}

/// Where a Dockerfile was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Here, by the caller's name for it.
    Here(PathBuf),
    /// In the context.
    Inside(PathBuf),
    /// Nothing can be beside it.
    Nowhere,
}

impl Found {
    /// Its name for messages.
    pub(super) fn shown(&self) -> &Path {
        match self {
            Self::Here(path) | Self::Inside(path) => path,
            Self::Nowhere => Path::new("-"),
        }
    }
}

/// One Dockerfile, as it was read.
struct One {
    name: String,
    bytes: Vec<u8>,
    found: Found,
    author: Author,
}

/// Reads all of them.
pub(super) fn read(context: &Opened, request: &Request<'_>) -> Result<Files, Error> {
    let ones = match request.files {
        [] => vec![found(context, request)?],
        files => files.iter().map(|file| named(file, context, request)).collect::<Result<_, _>>()?,
    };
    let mut files = Files { texts: Vec::new(), places: Vec::new(), author: Author::Here, warnings: Vec::new() };
    for mut one in ones {
        if one.bytes.is_empty() {
            return Err(Error::Empty(PathBuf::from(one.name)));
        }
        if one.name.ends_with(".in") {
            one.bytes = preprocessed(&one, context, request, &mut files.warnings)?;
        }
        if one.author == Author::Elsewhere {
            files.author = Author::Elsewhere;
        }
        files.texts.push(text(one.name, one.bytes, &mut files.warnings));
        files.places.push(one.found);
    }
    Ok(files)
}

/// The one that the context has.
fn found(context: &Opened, request: &Request<'_>) -> Result<One, Error> {
    let names = match &context.file {
        Some(name) => vec![name.as_os_str()],
        None => NAMES.iter().map(OsStr::new).collect(),
    };
    let is_there = |name: &&OsStr| context.root.symlink_metadata(Path::new(name)).is_ok();
    let Some(name) = names.into_iter().find(is_there) else {
        return Err(Error::NoDockerfile { context: context.shown.clone() });
    };
    inside(Path::new(name), context, request)
}

/// The one that `-f` names.
fn named(file: &Path, context: &Opened, request: &Request<'_>) -> Result<One, Error> {
    let name = file.display().to_string();
    let reading = |source| Error::Read { path: file.to_path_buf(), source };
    if file.as_os_str() == "-" {
        let bytes = super::read_bounded(io::stdin()).map_err(reading)?;
        return Ok(One { name, bytes, found: Found::Nowhere, author: Author::Here });
    }
    if fetch::is_address(file.as_os_str()) {
        return elsewhere(file, request);
    }
    if DESCRIPTORS.iter().any(|prefix| file.starts_with(prefix)) {
        let bytes = File::open(file).and_then(super::read_bounded).map_err(reading)?;
        return Ok(One { name, bytes, found: Found::Nowhere, author: Author::Here });
    }
    let Ok(metadata) = std::fs::metadata(file) else {
        return in_context(file, context, request);
    };
    if metadata.is_dir() {
        return Err(Error::Directory(file.to_path_buf()));
    }
    if !metadata.is_file() {
        return Err(Error::NotRegular(file.to_path_buf()));
    }
    let whole = super::absolute(file);
    let bytes = Root::open(Path::new("/")).and_then(|root| root.read_file(&whole, LONGEST_TEXT)).map_err(reading)?;
    Ok(One { name, bytes, found: Found::Here(file.to_path_buf()), author: Author::Here })
}

/// One that `-f` names and that is not where the caller is.
fn in_context(file: &Path, context: &Opened, request: &Request<'_>) -> Result<One, Error> {
    if file.components().any(|component| component == Component::ParentDir) {
        // By handle it would be somewhere below the context, where nobody meant it to be.
        return Err(match context.place {
            Place::Here => Error::NotThere { path: super::absolute(file) },
            Place::Elsewhere => Error::Outside(file.to_path_buf()),
        });
    }
    let below: PathBuf = file.components().filter(|component| matches!(component, Component::Normal(_))).collect();
    if context.root.symlink_metadata(&below).is_err() {
        return Err(Error::NotThere { path: context.shown.join(below) });
    }
    inside(&below, context, request)
}

/// A name below the context.
fn inside(path: &Path, context: &Opened, request: &Request<'_>) -> Result<One, Error> {
    let directory = match (&request.operand, context.place, &context.file) {
        (Some(operand), Place::Here, None) if operand.as_bytes() != b"." => PathBuf::from(operand),
        (Some(operand), Place::Here, Some(_)) => Path::new(operand).parent().map(Path::to_path_buf).unwrap_or_default(),
        _ => PathBuf::new(),
    };
    let shown = directory.join(path);
    let handle = context.root.resolve(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::LinkOut { path: shown.clone(), is_callers: context.place == Place::Here },
        _ => Error::Open { path: shown.clone(), source },
    })?;
    let opening = |source| Error::Open { path: shown.clone(), source };
    let stat = rustix::fs::fstat(&handle).map_err(|errno| opening(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Error::Directory(shown)),
        _ => return Err(Error::NotRegular(shown)),
    }
    let bytes = context.root.read_file(path, LONGEST_TEXT).map_err(|source| Error::Read { path: shown.clone(), source })?;
    Ok(One { name: shown.display().to_string(), bytes, found: Found::Inside(path.to_path_buf()), author: context.author })
}

/// One at an address.
fn elsewhere(file: &Path, request: &Request<'_>) -> Result<One, Error> {
    let address = file.as_os_str().to_os_string();
    let name = super::Operand::of(&address)?.shown();
    let bytes = match super::fetched(&address, request.fetch)? {
        Content::File { file, .. } => super::read_bounded(file),
        Content::Tree { .. } => return Err(Error::Directory(PathBuf::from(name))),
    };
    let bytes = bytes.map_err(|source| Error::Read { path: PathBuf::from(&name), source })?;
    Ok(One { name, bytes, found: Found::Nowhere, author: Author::Elsewhere })
}

fn preprocessed(one: &One, context: &Opened, request: &Request<'_>, warnings: &mut Vec<String>) -> Result<Vec<u8>, Error> {
    let failed = |problem: String| Error::Preprocess { path: PathBuf::from(&one.name), problem };
    if one.author == Author::Elsewhere {
        let problem = "it came from elsewhere, and its #include could read any file of this machine";
        return Err(failed(problem.to_owned()));
    }
    // What is quoted is looked for in the context, if that is a directory of this machine.
    let quoted = (context.place == Place::Here).then_some(context.shown.as_path());
    let (bytes, said) = preprocess::preprocess(&one.bytes, quoted, request.cpp_flags).map_err(failed)?;
    warnings.extend(said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(failed("nothing is left of it".to_owned()));
    }
    Ok(bytes)
}

/// A text of bytes; what is not UTF-8 in it is said, since it would get lost in silence.
fn text(name: String, bytes: Vec<u8>, warnings: &mut Vec<String>) -> Text {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            warnings.push(format!("{name}:{line}: bytes that are not UTF-8 are read as U+FFFD"));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }
    };
    Text { name, text }
}
