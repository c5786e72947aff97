//! Why nothing, or not all, was copied. Scripts look for these phrases (inventory 3.3): keep them.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::copier::{glob, ignore, names, tree};

/// Why nothing, or not all, was copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source that would come over the network by other means.
    #[error(
        "{0:?}: no such file or directory; from elsewhere come http and https addresses, and repositories whose address ends with .git"
    )]
    Network(String),
    /// An address that gives its file no name.
    #[error("reading {0:?}: the address has no name for a file: give the destination one")]
    NoName(PathBuf),
    /// `--ignorefile` alone.
    #[error("--ignorefile option requires that you specify a context dir using --contextdir")]
    IgnoreFileWithoutContext,
    /// The ignore file.
    #[error("reading ignore file {path:?}")]
    IgnoreFile {
        /// Its name.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A pattern that can't be read.
    #[error("processing excludes list")]
    Excludes(#[source] ignore::Error),
    /// A pattern of `--include` that can't be read.
    #[error("processing includes list")]
    Includes(#[source] ignore::Error),
    /// What `--required-path` names was not there, or was left out.
    #[error("required path {0:?} was not copied: no such file or directory")]
    Required(PathBuf),
    /// What was copied could not be read again.
    #[error("hashing what was copied")]
    Hash(#[source] io::Error),
    /// The context directory, or the working directory.
    #[error("opening {path:?}")]
    Context {
        /// Its name.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no such source.
    #[error("checking on sources under {context:?}: copier: stat: {name:?}: no such file or directory")]
    Missing {
        /// Below what names are looked up.
        context: PathBuf,
        /// The name.
        name: PathBuf,
        /// What was probably meant.
        nearest: Option<PathBuf>,
    },
    /// A pattern matches nothing.
    #[error("checking on sources under {context:?}: copier: stat: globs [{glob}] matched nothing: no such file or directory")]
    NoMatch {
        /// Below what names are looked up.
        context: PathBuf,
        /// The pattern, escaped.
        glob: String,
        /// The pattern for the one file whose name it is, if there is one.
        literal: Option<PathBuf>,
    },
    /// A link that leads to nothing below the context directory.
    #[error(
        "checking on sources under {context:?}: possible escaping context directory error: copier: stat: {name:?}: no such file or directory"
    )]
    Dangling {
        /// Below what names are looked up.
        context: PathBuf,
        /// The name.
        name: PathBuf,
    },
    /// A source that can't be looked at.
    #[error("checking on sources under {context:?}: copier: stat: {name:?}")]
    Look {
        /// Below what names are looked up.
        context: PathBuf,
        /// The name.
        name: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A pattern that can't be used.
    #[error("checking on sources under {context:?}: copier: stat")]
    Glob {
        /// Below what names are looked up.
        context: PathBuf,
        /// The cause.
        source: glob::Error,
    },
    /// `--parents` with a name that leaves the directories to be kept.
    #[error("{0:?}: `..` can't be kept by --parents")]
    ParentsOutside(PathBuf),
    /// A source whose content is given could not become a file.
    #[error("writing the here-document {name:?}")]
    Inline {
        /// Its name.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// All that matched was left out.
    #[error("no items matching glob {glob:?} copied ({count} filtered out{using}): no such file or directory")]
    Filtered {
        /// The operand.
        glob: PathBuf,
        /// How much matched it.
        count: usize,
        /// ` using FILE`, escaped, or nothing.
        using: String,
    },
    /// `--chown`.
    #[error("looking up UID/GID for {spec:?}")]
    Chown {
        /// As given.
        spec: String,
        /// The cause.
        source: names::Error,
    },
    /// `--chmod`.
    #[error("parsing chmod {0:?}: neither an octal mode of at most 7777 nor changes like u+x,go-w")]
    Chmod(String),
    /// The names of the sources' owners.
    #[error("looking up the owners of the sources")]
    Owners {
        /// The cause.
        source: names::Error,
    },
    /// A file where a directory is needed.
    #[error("destination {0} already exists but is not a directory")]
    NotADirectory(String),
    /// A pattern matched a directory besides files, which all would get the name of the destination.
    #[error(
        "{pattern:?} matches files and a directory: the destination {destination:?} must be a directory, with a slash at its end"
    )]
    NeedsDirectory {
        /// The operand.
        pattern: PathBuf,
        /// The destination, as given.
        destination: PathBuf,
    },
    /// The destination can't be looked at.
    #[error("checking on destination {path:?}")]
    Destination {
        /// Its name in the container.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The destination can't be made.
    #[error("ensuring target directory exists: {path:?}")]
    EnsureDirectory {
        /// Its name in the container.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Reading or writing.
    #[error("copying {name:?}")]
    Copy {
        /// The source.
        name: PathBuf,
        /// The cause.
        source: tree::Error,
    },
    /// An archive that is unpacked.
    #[error("extracting {name:?}")]
    Archive {
        /// The source.
        name: PathBuf,
        /// The cause.
        source: containers_storage::archive::Error,
    },
}

impl Error {
    /// The source that it is about, below its root.
    pub fn operand(&self) -> Option<&Path> {
        match self {
            Self::Missing { name, .. } | Self::Dangling { name, .. } => Some(name),
            Self::NoMatch { glob, .. } => Some(Path::new(glob)),
            Self::Filtered { glob, .. } => Some(glob),
            _ => None,
        }
    }

    /// What may help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { nearest: Some(nearest), .. } => Some(format!("did you mean {nearest:?}?")),
            Self::NoMatch { literal: Some(pattern), .. } => {
                Some(format!("there is a file of that name, and {pattern:?} is the pattern for it alone"))
            }
            _ => None,
        }
    }

    /// Whether a source that is not there was looked for by a name with `..` in it.
    pub fn leads_upwards(&self) -> bool {
        let upwards = |name: &Path| name.components().any(|component| component == Component::ParentDir);
        match self {
            Self::Missing { name, .. } | Self::Dangling { name, .. } => upwards(name),
            _ => false,
        }
    }
}
