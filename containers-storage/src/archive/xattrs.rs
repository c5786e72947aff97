//! Extended attributes: which ones a layer carries, and how they are read and set by descriptor.
//!
//! Invariant: only the allow-list of `carried` passes, in both directions (known attacks A30, A31): no labels, no access control
//! lists, nothing of overlay drivers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Stat, XattrFlags};
use rustix::io::Errno;

use super::{OF_LAYER, OF_PROGRAM, OverlayXattrs, Recorded, Refusal};

/// Longest value and longest list of names, in bytes (xattr(7): `XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const LIMIT: usize = 64 << 10;

/// What a directory has that was renamed with `redirect_dir=on`: its lower content lies under another name.
pub(crate) const REDIRECT: &str = "a redirect mark";
/// What a file has that was changed with `metacopy=on`: its content lies in a lower layer.
pub(crate) const METACOPY: &str = "a metacopy mark";

/// Whether a layer carries the attribute `name`.
pub(crate) fn carried(name: &[u8]) -> bool {
    const FOREIGN: [&[u8]; 4] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.", b"user.coracle."];
    match name {
        b"security.capability" | b"security.ima" => true,
        _ => name.starts_with(b"user.") && !FOREIGN.iter().any(|prefix| name.starts_with(prefix)),
    }
}

/// What an inode's attributes say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Those that a layer carries, by name.
    pub(crate) carried: Vec<(Vec<u8>, Vec<u8>)>,
    /// The directory hides all that lower layers have below it.
    pub(crate) opaque: bool,
    /// `run` made it to mount something on.
    pub(crate) placeholder: bool,
    /// Owner, mode and type that the inode itself does not have.
    pub(crate) recorded: Option<Recorded>,
    /// A mark that can't be expressed in a layer.
    pub(crate) foreign: Option<&'static str>,
}

/// Reads attributes with buffers that are kept.
pub(crate) struct Reader {
    names: Vec<u8>,
    value: Vec<u8>,
    /// The family of marks to look for; `None` in a merged tree, where there are none.
    marks: Option<OverlayXattrs>,
}

impl Reader {
    pub(crate) fn new(marks: Option<OverlayXattrs>) -> Self {
        Self { names: vec![0; LIMIT], value: Vec::new(), marks }
    }

    /// The attributes of the open file or directory `fd`.
    pub(crate) fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<Attributes> {
        let mut found = Attributes::default();
        let length = match rustix::fs::flistxattr(fd, &mut self.names[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(found),
            Ok(length) => length,
            Err(error) => return Err(error.into()),
        };
        self.value.resize(LIMIT, 0);
        for name in self.names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let mark = self.marks.and_then(|family| name.strip_prefix(family.prefix().as_bytes()));
            let of_program = name == OF_PROGRAM.as_bytes();
            let is_recorded = self.marks == Some(OverlayXattrs::Program) && (of_program || name == OF_LAYER.as_bytes());
            if is_recorded && !of_program && found.recorded.is_some() {
                continue;
            }
            if mark.is_none() && !carried(name) && !is_recorded {
                found.placeholder |= name == crate::placeholder::ATTRIBUTE.to_bytes();
                if let Some(reason) = foreign_program(name).filter(|_| self.marks.is_some()) {
                    found.foreign = Some(reason);
                }
                continue;
            }
            let value = match rustix::fs::fgetxattr(fd, name, &mut self.value[..]) {
                Ok(length) => &self.value[..length],
                // Removed since it was listed.
                Err(Errno::NODATA) => continue,
                Err(error) => return Err(error.into()),
            };
            if is_recorded {
                match Recorded::parse(value) {
                    Some(recorded) => found.recorded = Some(recorded),
                    None => found.foreign = Some("an owner in an attribute that nobody understands"),
                }
                continue;
            }
            match mark {
                None => found.carried.push((name.to_vec(), value.to_vec())),
                Some(b"opaque") if value == b"y" => found.opaque = true,
                Some(b"opaque") => found.foreign = Some("a mark for whiteouts in attributes"),
                Some(b"override_stat") => found.foreign = Some("an owner kept in an attribute"),
                Some(b"redirect") => found.foreign = Some(REDIRECT),
                Some(b"metacopy") => found.foreign = Some(METACOPY),
                Some(_) => {}
            }
        }
        // The order of the list is the file system's own.
        found.carried.sort_unstable();
        Ok(found)
    }
}

impl Attributes {
    /// What the file is to look like.
    pub(crate) fn shown(&self, mut stat: Stat) -> Stat {
        if let Some(recorded) = &self.recorded {
            (stat.st_uid, stat.st_gid) = (recorded.uid, recorded.gid);
            stat.st_mode = stat.st_mode & !0o7777 | recorded.mode;
        }
        stat
    }

    /// The refusal for a mark that can't be expressed.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.foreign.map(Refusal::ForeignMark)
    }
}

fn foreign_program(name: &[u8]) -> Option<&'static str> {
    match name {
        b"user.fuseoverlayfs.opaque" => Some("a mark of fuse-overlayfs"),
        name if name == OF_PROGRAM.as_bytes() || name == OF_LAYER.as_bytes() => Some("an owner kept in an attribute"),
        _ => None,
    }
}

/// Sets those of `attributes` that a layer carries. What the file system or a user namespace can't have is passed over, as the
/// other tools do (format section 7.3).
pub(crate) fn set(fd: impl AsFd, attributes: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    for (name, value) in attributes.iter().filter(|(name, _)| carried(name)) {
        match rustix::fs::fsetxattr(fd.as_fd(), name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes the open directory opaque.
pub(crate) fn set_opaque(fd: impl AsFd, family: OverlayXattrs) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(fd.as_fd(), family.opaque(), b"y", XattrFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allow_list() {
        let table = [
            ("security.capability", true),
            ("security.ima", true),
            ("user.note", true),
            ("user.overlayed", true),
            ("user.overlay.opaque", false),
            ("user.fuseoverlayfs.origin", false),
            ("user.containers.override_stat", false),
            ("trusted.overlay.redirect", false),
            ("trusted.x", false),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
        ];
        for (name, expected) in table {
            assert_eq!(carried(name.as_bytes()), expected, "{name}");
        }
    }
}
