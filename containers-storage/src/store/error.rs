//! What can go wrong in a store, in words for people.

use std::io;
use std::path::{Path, PathBuf};

use crate::private::Unfit;
use crate::{ContainerId, ImageId, LayerId, driver, lock, selinux};

/// Why a store cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the store cannot be used.
    #[error("{action} {path:?}")]
    Io {
        /// What was tried, as "reading".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A table is no JSON of the expected form. It is left as it is.
    #[error("{path:?} is damaged at byte {offset}: {problem}")]
    Corrupt {
        /// The table.
        path: PathBuf,
        /// Where.
        offset: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The graph root or the run root is not this user's alone.
    #[error("the {what} {path:?} cannot be used: {reason}")]
    NotPrivate {
        /// Which of the two.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: Unfit,
    },
    /// A lock cannot be taken.
    #[error(transparent)]
    Lock(lock::Error),
    /// The store lies on a read-only file system, or belongs to someone else.
    #[error("the store cannot be changed, {path:?} is read-only")]
    ReadOnly {
        /// The lock file that could not be opened for writing.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The graph driver failed.
    #[error(transparent)]
    Driver(#[from] driver::Error),
    /// More than one object has an ID that starts so.
    #[error("{text:?} is ambiguous: {}", .candidates.join(", "))]
    Ambiguous {
        /// The prefix.
        text: String,
        /// Full IDs.
        candidates: Vec<String>,
    },
    /// No such layer.
    #[error("layer {0} not known")]
    NoLayer(LayerId),
    /// A layer is its own ancestor.
    #[error("the layers below {0} form a loop")]
    BrokenChain(LayerId),
    /// No such image.
    #[error("image {0} not known")]
    NoImage(ImageId),
    /// The image is in an additional store, which nobody writes to. Scripts look for this phrase.
    #[error("cannot remove read-only image \"{0}\"")]
    ReadOnlyImage(ImageId),
    /// An image with this ID and other layers exists.
    #[error("image {0} exists with another top layer")]
    ImageConflict(ImageId),
    /// The image has no data under this key.
    #[error("image {image} has no {key:?}")]
    NoData {
        /// The image.
        image: ImageId,
        /// The key.
        key: String,
    },
    /// Data of the image is not what its record says.
    #[error("{key:?} of image {image} is damaged: its size or digest is not the recorded one")]
    WrongData {
        /// The image.
        image: ImageId,
        /// The key.
        key: String,
    },
    /// No such container.
    #[error("container {0} not known")]
    NoContainer(ContainerId),
    /// Nothing that this text could stand for.
    #[error("container {0:?} not known")]
    UnknownContainer(String),
    /// The name is taken by another container.
    #[error("the container name {name:?} is already in use by {id}")]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        id: ContainerId,
    },
    /// A container cannot have SELinux labels.
    #[error(transparent)]
    Labels(#[from] selinux::Error),
    /// Something cannot be deleted, or built upon, while others use it.
    #[error("{what} is in use by {}", .users.join(", "))]
    InUse {
        /// What, with its kind.
        what: String,
        /// IDs of the users.
        users: Vec<String>,
    },
}

impl Error {
    /// An `Io` error, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: source.into() }
    }

    /// Whether the kernel refused because of an owner.
    pub(crate) fn is_permission_denied(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::PermissionDenied)
    }

    /// Whether there is no room for another block or file, or the quota allows none.
    pub(crate) fn is_out_of_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
        matches!(self.io_kind(), Some(StorageFull | QuotaExceeded | WriteZero))
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } | Self::Lock(lock::Error::Io { source, .. }) => Some(source.kind()),
            Self::Driver(error) => error.io_kind(),
            _ => None,
        }
    }
}

impl From<lock::Error> for Error {
    fn from(error: lock::Error) -> Self {
        match error {
            lock::Error::ReadOnly { path, source } => Self::ReadOnly { path, source },
            other => Self::Lock(other),
        }
    }
}
