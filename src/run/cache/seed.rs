//! What a new cache begins with (`from=`): a copy of a directory of a stage, an image or a context.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use containers_storage::Root;

use crate::run::namespaces::User;
use crate::run::native::copy_tree;

/// Copies the directory `source` of `root`, all of it for an empty path, to `directory`, which looks like it then.
pub(super) fn copy(root: &Root, source: &Path, directory: &OwnedFd, user: &User) -> io::Result<()> {
    let source = if source.as_os_str().is_empty() { Path::new(".") } else { source };
    let from = root.subdir(source)?;
    // Files of images have the ids that are inside; those of a container with ids of its own are others on disk.
    let owner = |uid: u32, gid: u32| user.owner(uid, gid).map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text));
    copy_tree(from.as_fd(), directory.as_fd(), &owner)
}
