//! What a build reads: its context, further contexts by name, the Dockerfiles, the ignore files.
//!
//! ```text
//! operand ─ Operand::of ─┬─ directory ────────────────────────────────────▶ a handle on it
//!                        ├─ tar archive: file, http(s), stdin ─ unpack ───▶ a handle on a scratch directory
//!                        ├─ Dockerfile:  http(s), stdin ──────────────────▶ the same, with nothing else in it
//!                        └─ git repository ─ container::fetch ────────────▶ the same
//! handle ─▶ dockerfile (which, read, through cpp) ─▶ ignore (which, read) ─▶ Inputs
//! ```
//!
//! Invariants: what lies in a context is found and opened below its handle only, and only if it is a regular file (known attacks A04, A06,
//! A07, A14); what came from another machine can make nothing else of this machine be read. Everything that is read whole is bounded.
//!
//! Must not: print, know flags, or enter a namespace: contexts belong to the caller.

mod dockerfile;
mod error;
mod ignore;
mod named;
mod operand;
mod preprocess;
mod unpacked;

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use containers_storage::Root;

pub use self::error::Error;
pub use self::operand::Operand;
pub use self::preprocess::words as cpp_words;
use super::options::{Author, Context, NamedContext, Text};
use crate::container::fetch::{self, Content, Scratch};

/// Longest Dockerfile and ignore file, in bytes: what `dockerfile` reads.
pub const LONGEST_TEXT: u64 = 16 << 20;

/// What was asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The operand; without one the working directory.
    pub operand: Option<OsString>,
    /// `--file`, in their order.
    pub files: &'a [PathBuf],
    /// `--ignorefile`
    pub ignore_file: Option<&'a Path>,
    /// `--build-context`: name and value.
    pub named: &'a [(String, String)],
    /// Flags for `cpp`: of the environment, then of the command line.
    pub cpp_flags: &'a [String],
    /// How what is elsewhere is fetched.
    pub fetch: &'a fetch::Options<'a>,
}

/// What a build reads.
#[derive(Debug)]
pub struct Inputs {
    /// The Dockerfiles.
    pub texts: Vec<Text>,
    /// The build context.
    pub context: Context,
    /// Further contexts.
    pub named: Vec<(String, NamedContext)>,
    /// Who wrote the Dockerfiles.
    pub author: Author,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Directories that go with this value.
    _scratch: Vec<Scratch>,
}

/// A context that is open.
#[derive(Debug)]
struct Opened {
    root: Root,
    /// Its name for messages; that of a local one is its real path.
    shown: PathBuf,
    place: Place,
    /// Who wrote what is in it.
    author: Author,
    /// The operand was this file and the context is its directory.
    file: Option<OsString>,
    scratch: Option<Scratch>,
}

/// What a stream of bytes was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Archive,
    Text,
}

/// Where a context was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A directory of this machine.
    Here,
    /// It was unpacked or fetched.
    Elsewhere,
}

/// Opens and reads everything that the build needs before it begins.
///
/// # Errors
/// Something is missing, is not what it should be, cannot be fetched, or is longer than [`LONGEST_TEXT`].
pub fn prepare(request: &Request<'_>) -> Result<Inputs, Error> {
    let operand = Operand::of(request.operand.as_deref().unwrap_or(".".as_ref()))?;
    if operand == Operand::Stdin && request.files.iter().any(|file| file.as_os_str() == "-") {
        return Err(Error::StdinTwice);
    }
    // A mistake in a name is found before anything is fetched.
    let values = named::parse(request.named)?;
    let opened = open(&operand, request)?;
    let found = dockerfile::read(&opened, request)?;
    let ignore = ignore::of_build(&opened, &found.places, request.ignore_file)?;
    let mut scratch: Vec<Scratch> = Vec::new();
    let mut named = Vec::new();
    for (name, value) in values {
        let (context, own) = named::open(&name, value, request)?;
        scratch.extend(own);
        named.push((name, context));
    }
    scratch.extend(opened.scratch);
    Ok(Inputs {
        texts: found.texts,
        context: Context { root: opened.root, path: opened.shown, ignore },
        named,
        author: found.author,
        warnings: found.warnings,
        _scratch: scratch,
    })
}

/// Opens a context.
fn open(operand: &Operand, request: &Request<'_>) -> Result<Opened, Error> {
    match operand {
        Operand::Path(path) => local(path, request),
        Operand::Stdin => {
            let (opened, form) = unpacked::stream(&mut io::stdin(), Path::new("-"), request.fetch.temp_dir)?;
            // A text that the caller typed or made, as with -f -; an archive is somebody's.
            let author = if form == Form::Text { Author::Here } else { Author::Elsewhere };
            Ok(Opened { author, ..opened })
        }
        Operand::Remote(address) => {
            let content = fetched(address, request.fetch)?;
            let shown = PathBuf::from(operand.shown());
            match content {
                Content::Tree { root, scratch } => {
                    let (place, author) = (Place::Elsewhere, Author::Elsewhere);
                    Ok(Opened { root, shown, place, author, file: None, scratch: Some(scratch) })
                }
                Content::File { mut file, .. } => {
                    unpacked::stream(&mut file, &shown, request.fetch.temp_dir).map(|(opened, _)| opened)
                }
            }
        }
    }
}

/// A directory, a Dockerfile in one, or an archive.
fn local(path: &Path, request: &Request<'_>) -> Result<Opened, Error> {
    let looked = |source| Error::Find { path: absolute(path), source };
    // The caller's own name may be a link; from here on what it leads to is the root.
    let real = std::fs::canonicalize(path).map_err(looked)?;
    let metadata = std::fs::metadata(&real).map_err(looked)?;
    let opened = |path: &Path, file| {
        let root = Root::open(path).map_err(|source| Error::Open { path: path.to_path_buf(), source })?;
        Ok(Opened { root, shown: path.to_path_buf(), place: Place::Here, author: Author::Here, file, scratch: None })
    };
    if metadata.is_dir() {
        return opened(&real, None);
    }
    let (Some(parent), Some(name), true) = (real.parent(), real.file_name(), metadata.is_file()) else {
        return Err(Error::NoContext(path.to_path_buf()));
    };
    let context = opened(parent, Some(name.to_os_string()))?;
    let file = context.root.open_file(Path::new(name));
    let mut file = file.map_err(|source| Error::Open { path: path.to_path_buf(), source })?;
    if unpacked::is_archive(&mut file).map_err(|source| Error::Read { path: path.to_path_buf(), source })? {
        return unpacked::stream(&mut file, path, request.fetch.temp_dir).map(|(opened, _)| opened);
    }
    Ok(context)
}

/// What lies at an address.
fn fetched(address: &OsString, options: &fetch::Options<'_>) -> Result<Content, Error> {
    let mut fetched = fetch::fetch(std::slice::from_ref(address), options)?;
    fetched.pop().map(|one| one.content).ok_or_else(|| Error::NoContext(PathBuf::from(address)))
}

/// The path as Buildah names it in its errors.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Reads at most [`LONGEST_TEXT`] bytes; more are an error.
fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_TEXT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {LONGEST_TEXT} bytes")));
    }
    Ok(bytes)
}
