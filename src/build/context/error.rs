//! Why a build cannot begin. Phrases that scripts look for are Buildah's (inventory 1.2.1).

use std::io;
use std::path::PathBuf;

use crate::container::fetch;

/// Why a build cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The context is not there.
    #[error("discovering Containerfile: stat {}", path.display())]
    Find {
        /// Where it was looked for.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something is there and cannot be opened.
    #[error("opening {path:?}")]
    Open {
        /// Its name.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something cannot be read.
    #[error("reading {path:?}")]
    Read {
        /// Its name.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A FIFO, a socket or a device.
    #[error("{0:?} is neither a directory nor a regular file: no context can be made of it")]
    NoContext(PathBuf),
    /// An address of another kind.
    #[error("no context comes by {scheme}")]
    Scheme {
        /// How it begins.
        scheme: &'static str,
    },
    /// Standard input has one end.
    #[error("the context and a Containerfile cannot both come over standard input")]
    StdinTwice,
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// An archive that is no good.
    #[error("unpacking the context {path:?}")]
    Archive {
        /// Its name.
        path: PathBuf,
        /// The cause.
        source: containers_storage::archive::Error,
    },
    /// There is no room for what is unpacked.
    #[error("unpacking the context {path:?}: {dir:?} is full")]
    Full {
        /// Its name.
        path: PathBuf,
        /// The directory for temporary files.
        dir: PathBuf,
        /// The cause.
        source: containers_storage::archive::Error,
    },
    /// No directory for what is unpacked.
    #[error("making a directory for the context in {dir:?}")]
    Scratch {
        /// The directory for temporary files.
        dir: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no Dockerfile.
    #[error(
        "cannot find Containerfile or Dockerfile in context directory: stat {}: no such file or directory",
        context.join("Dockerfile").display()
    )]
    NoDockerfile {
        /// The context.
        context: PathBuf,
    },
    /// The Dockerfile that was named is not there.
    #[error("stat {}: no such file or directory", path.display())]
    NotThere {
        /// Where it was looked for last.
        path: PathBuf,
    },
    /// `-f` with a directory.
    #[error("containerfile: {0:?} cannot be path to a directory")]
    Directory(PathBuf),
    /// A Dockerfile that is a FIFO, a socket or a device.
    #[error("containerfile: {0:?} is not a regular file")]
    NotRegular(PathBuf),
    /// A Dockerfile that is a link out of its context.
    #[error("containerfile: {path:?} is a link that leads out of the context, or to nothing")]
    LinkOut {
        /// Its name.
        path: PathBuf,
        /// Whether `--file` would follow it.
        is_callers: bool,
    },
    /// `-f` with a name that climbs, for a context that came from elsewhere.
    #[error("containerfile: {0:?} is not below the context")]
    Outside(PathBuf),
    /// An empty Dockerfile.
    #[error("no contents in {0:?}")]
    Empty(PathBuf),
    /// `cpp` failed, or there is none.
    #[error("preprocessing {path:?}: {problem}")]
    Preprocess {
        /// The Dockerfile.
        path: PathBuf,
        /// What happened.
        problem: String,
    },
    /// The ignore file.
    #[error("reading ignore file {path:?}")]
    Ignore {
        /// Its name.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line of the ignore file that is no pattern.
    #[error("ignore file {path:?}, line {line}: {problem}")]
    Pattern {
        /// Its name.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// `--build-context` without `=`.
    #[error("while parsing additional build context: [{0:?}], accepts value in the form of key=value")]
    NamedForm(String),
    /// `--build-context` whose value is no context.
    #[error("additional build context {name:?}: {problem}")]
    NamedValue {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// `--build-context` that cannot be opened.
    #[error("additional build context {name:?}")]
    Named {
        /// Its name.
        name: String,
        /// Why.
        source: Box<Error>,
    },
}

impl Error {
    /// What the user can do about it, one line each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::NoContext(_) => vec!["an archive or a Containerfile of a pipe is read by: coracle build - < PIPE".to_owned()],
            Self::Scheme { scheme } => vec![format!("give the path without {scheme}")],
            Self::LinkOut { is_callers: true, .. } => {
                vec!["a link is followed if it is named: coracle build -f FILE".to_owned()]
            }
            Self::NoDockerfile { .. } => vec!["name another file with -f".to_owned()],
            Self::Named { source, .. } => source.hints(),
            Self::Fetch(error) => error.hints(),
            Self::Full { dir, .. } => vec![fetch::room_elsewhere(dir)],
            Self::Scratch { dir, source } if fetch::is_full(source) => vec![fetch::room_elsewhere(dir)],
            _ => Vec::new(),
        }
    }
}
