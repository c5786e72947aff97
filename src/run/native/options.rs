//! fstab-style words of a mount, as the runtime specification carries them, to attributes of the new mount API. Pure.

use crate::sys::mount_attr::{Attributes, Reach};

/// Parsed words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct Parsed {
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Whether mounts below a bind's source come along, and are changed alike.
    pub reach: Reach,
    /// Start a tmpfs with what the image has there.
    pub copy_up: bool,
    /// What the file system itself takes: `key=value`, or a flag.
    pub data: Vec<(String, Option<String>)>,
}

impl Default for Parsed {
    fn default() -> Self {
        let attributes = Attributes { set: 0, clear: 0, propagation: libc::MS_PRIVATE };
        Self { attributes, reach: Reach::Mount, copy_up: false, data: Vec::new() }
    }
}

/// Keys that tmpfs, devpts and the like are given; anything else is an error (CVE-2024-9407).
const DATA: &[&str] = &["mode", "size", "gid", "uid", "ptmxmode", "newinstance", "nr_inodes"];

/// Parses `words`.
pub(super) fn parse(words: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let attributes = &mut parsed.attributes;
    for word in words {
        match word.as_str() {
            "bind" => parsed.reach = Reach::Mount,
            "rbind" => parsed.reach = Reach::Tree,
            "ro" => attributes.set |= libc::MOUNT_ATTR_RDONLY,
            "nosuid" => attributes.set |= libc::MOUNT_ATTR_NOSUID,
            "nodev" => attributes.set |= libc::MOUNT_ATTR_NODEV,
            "noexec" => attributes.set |= libc::MOUNT_ATTR_NOEXEC,
            // Cleared on nothing: a bind keeps what its source has, and what a less privileged user may not lift.
            "rw" | "suid" | "dev" | "exec" | "relatime" => {}
            "noatime" => time(attributes, libc::MOUNT_ATTR_NOATIME),
            "strictatime" => time(attributes, libc::MOUNT_ATTR_STRICTATIME),
            "private" | "rprivate" => attributes.propagation = libc::MS_PRIVATE,
            "slave" | "rslave" => attributes.propagation = libc::MS_SLAVE,
            "shared" | "rshared" => attributes.propagation = libc::MS_SHARED,
            "unbindable" | "runbindable" => attributes.propagation = libc::MS_UNBINDABLE,
            "tmpcopyup" => parsed.copy_up = true,
            // The maps themselves say it, and `rbind` how far it reaches.
            "idmap" | "ridmap" => {}
            other => {
                let (key, value) = match other.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_string())),
                    None => (other, None),
                };
                if !DATA.contains(&key) {
                    return Err(format!("unknown mount option {other:?}"));
                }
                parsed.data.push((key.to_string(), value));
            }
        }
    }
    Ok(parsed)
}

fn time(attributes: &mut Attributes, choice: u64) {
    attributes.set |= choice;
    attributes.clear |= libc::MOUNT_ATTR__ATIME;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_attributes_and_unknown_ones_are_refused() {
        let words = |text: &str| text.split(',').map(str::to_string).collect::<Vec<_>>();
        let parsed = parse(&words("rbind,ro,nosuid,rslave")).unwrap();
        assert_eq!(parsed.reach, Reach::Tree);
        assert_eq!(parsed.attributes.set, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID);
        assert_eq!(parsed.attributes.propagation, libc::MS_SLAVE);
        assert_eq!(parse(&words("mode=755,newinstance")).unwrap().data.len(), 2);
        for bad in ["", "suid,xyz", "upperdir=/x", "lowerdir=/", "context=x"] {
            assert!(parse(&words(bad)).is_err(), "{bad:?} was accepted");
        }
    }
}
