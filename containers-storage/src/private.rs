//! Directories that hold state: whether they are this user's alone (known attacks A125, A126).
//!
//! Whoever may write to such a directory, or owns it, decides what the next verb finds in it. What is unfit is refused with the
//! reason; it is never given another owner, and nothing is written into it.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What makes a directory unfit to hold state. It is shown as the end of a sentence that names the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Something else stands there.
    NoDirectory,
    /// Another user's directory.
    Foreign {
        /// Who owns it.
        owner: u32,
    },
    /// Another user's symbolic link: it may point elsewhere at any time.
    ForeignLink {
        /// Who owns it.
        owner: u32,
    },
    /// Its mode lets others make and replace names in it.
    Shared,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory => f.write_str("it is no directory"),
            Self::Foreign { owner } => write!(f, "it belongs to another user, uid {owner}"),
            Self::ForeignLink { owner } => write!(f, "it is a symbolic link of another user, uid {owner}"),
            Self::Shared => f.write_str("others may write to it (chmod go-w)"),
        }
    }
}

/// What is wrong with `path` as a directory of `user`; `Ok(None)` if nothing is. Links of the user and of root are followed.
///
/// # Errors
/// Those of stat(2): there may be nothing at `path`.
pub fn unfit(path: &Path, user: u32) -> io::Result<Option<Unfit>> {
    let link = fs::symlink_metadata(path)?;
    if !link.is_symlink() {
        return Ok(judge(&link, user));
    }
    if link.uid() != user && link.uid() != 0 {
        return Ok(Some(Unfit::ForeignLink { owner: link.uid() }));
    }
    Ok(judge(&fs::metadata(path)?, user))
}

fn judge(metadata: &Metadata, user: u32) -> Option<Unfit> {
    if !metadata.is_dir() {
        return Some(Unfit::NoDirectory);
    }
    if metadata.uid() != user {
        return Some(Unfit::Foreign { owner: metadata.uid() });
    }
    (metadata.mode() & 0o022 != 0).then_some(Unfit::Shared)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_a_directory_that_others_cannot_write_to_is_fit() {
        let top = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let at = |name: &str| top.path().join(name);
        for (name, mode) in [("private", 0o700), ("readable", 0o755), ("group", 0o770), ("world", 0o1777)] {
            fs::create_dir(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(at("file"), "").unwrap();
        symlink("private", at("link")).unwrap();
        symlink("world", at("link-to-world")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        for (name, expected) in [
            ("private", None),
            ("readable", None),
            ("link", None),
            ("group", Some(Unfit::Shared)),
            ("world", Some(Unfit::Shared)),
            ("link-to-world", Some(Unfit::Shared)),
            ("file", Some(Unfit::NoDirectory)),
        ] {
            assert_eq!(unfit(&at(name), uid).unwrap(), expected, "{name}");
        }
        for missing in ["nothing", "dangling"] {
            assert_eq!(unfit(&at(missing), uid).unwrap_err().kind(), io::ErrorKind::NotFound, "{missing}");
        }
        let owner = uid;
        assert_eq!(unfit(&at("private"), uid + 1).unwrap(), Some(Unfit::Foreign { owner }));
        if owner != 0 {
            assert_eq!(unfit(&at("link"), uid + 1).unwrap(), Some(Unfit::ForeignLink { owner }));
        }
    }
}
