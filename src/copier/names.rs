//! `/etc/passwd` and `/etc/group` of a root: names of owners, and owners by name (passwd(5), group(5)).
//!
//! Invariant: the files are read below the root, once, as regular files of a bounded size (CVE-2024-9676); never through NSS,
//! whose plugins a foreign root could choose.

use std::io;
use std::path::Path;

use containers_storage::Root;

/// More than any image has: a site that lists everybody has some 100,000 lines.
const LIMIT: u64 = 16 << 20;
/// The one name that every machine knows.
const ROOT: &str = "root";

/// Who owns something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Why an owner is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither user nor group is given.
    #[error("can't find uid for user {0:?}")]
    Empty(String),
    /// No such user.
    #[error("determining run uid: user: unknown user error looking up user {0:?}")]
    User(String),
    /// No such group.
    #[error("determining run gid: group: unknown group error looking up group {0:?}")]
    Group(String),
    /// One of the files is there, but can't be read.
    #[error("reading {file} of the container")]
    Read {
        /// Which file.
        file: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// The two files of one root.
#[derive(Debug, Default)]
pub struct Names {
    passwd: String,
    group: String,
}

impl Names {
    /// Reads the files of `root`; one that does not exist is empty.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let text = |file: &'static str| match root.read_file(Path::new(file), LIMIT) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(Error::Read { file, source }),
        };
        Ok(Self { passwd: text("/etc/passwd")?, group: text("/etc/group")? })
    }

    /// The login name of a user, or nothing. Ids 0 and 65534 have names without a line, as systemd's name service gives them
    /// to the other builders; root's is asked for only once there, before the root is entered, and so is never another one.
    pub fn user(&self, uid: u32) -> &str {
        match (uid, name_of(&self.passwd, uid)) {
            (0, _) => "root",
            (65534, "") => "nobody",
            (_, name) => name,
        }
    }

    /// The name of a group, or nothing.
    pub fn group(&self, gid: u32) -> &str {
        match (gid, name_of(&self.group, gid)) {
            (0, "") => "root",
            (65534, "") => "nogroup",
            (_, name) => name,
        }
    }

    /// The ids of `--chown USER[:GROUP]`. A number needs no line; a number alone is the group as well; a name alone has the
    /// user's own group. `root` is 0 where no line says otherwise: images without these files are common.
    pub fn owner(&self, spec: &str) -> Result<Owner, Error> {
        let (user, group) = match spec.split_once(':') {
            Some((user, group)) => (user, group),
            None => (spec, ""),
        };
        if user.is_empty() && group.is_empty() {
            return Err(Error::Empty(spec.to_owned()));
        }
        let (uid, own_group) = match user.parse() {
            _ if user.is_empty() => (0, 0),
            Ok(uid) => (uid, uid),
            Err(_) => self.user_line(user).or((user == ROOT).then_some((0, 0))).ok_or_else(|| Error::User(user.to_owned()))?,
        };
        let gid = match group.parse() {
            _ if group.is_empty() => own_group,
            Ok(gid) => gid,
            Err(_) => {
                let found = find(&self.group, group).map(|(gid, _)| gid).or((group == ROOT).then_some(0));
                found.ok_or_else(|| Error::Group(group.to_owned()))?
            }
        };
        // chown(2) takes this number for "leave it as it is".
        match (uid, gid) {
            (u32::MAX, _) => Err(Error::User(user.to_owned())),
            (_, u32::MAX) => Err(Error::Group(group.to_owned())),
            (uid, gid) => Ok(Owner { uid, gid }),
        }
    }

    fn user_line(&self, name: &str) -> Option<(u32, u32)> {
        let (uid, rest) = find(&self.passwd, name)?;
        Some((uid, rest.split(':').next()?.parse().ok()?))
    }
}

/// The id in the line of `name`, and what follows it.
fn find<'a>(text: &'a str, name: &str) -> Option<(u32, &'a str)> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix(':')?;
        let (_, rest) = rest.split_once(':')?;
        let (id, rest) = rest.split_once(':').unwrap_or((rest, ""));
        Some((id.parse().ok()?, rest))
    })
}

fn name_of(text: &str, id: u32) -> &str {
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    });
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:\nbroken\n4x:x:7:8::/:\n".to_owned(),
            group: "root:x:0:\nstaff:x:50:bob\nlast:x:60\n".to_owned(),
        }
    }

    #[test]
    fn owners_by_name_and_by_number() {
        let cases = [
            ("bob", 1000, 1001),
            ("bob:staff", 1000, 50),
            ("bob:7", 1000, 7),
            ("5", 5, 5),
            ("5:6", 5, 6),
            ("5:staff", 5, 50),
            (":staff", 0, 50),
            ("bob:", 1000, 1001),
            ("4x", 7, 8),
            ("root:last", 0, 60),
        ];
        for (spec, uid, gid) in cases {
            assert_eq!(names().owner(spec).expect(spec), Owner { uid, gid }, "{spec:?}");
        }
    }

    #[test]
    fn root_needs_no_line() {
        let none = Names::default();
        for spec in ["root", "root:root", "0:root", ":root"] {
            assert_eq!(none.owner(spec).expect(spec), Owner { uid: 0, gid: 0 }, "{spec:?}");
        }
        let other = Names { passwd: "root:x:5:6::/:\n".to_owned(), group: "root:x:7:\n".to_owned() };
        assert_eq!(other.owner("root").expect("a user"), Owner { uid: 5, gid: 6 });
        assert_eq!(other.owner("root:root").expect("both"), Owner { uid: 5, gid: 7 });
    }

    #[test]
    fn owners_that_nobody_knows() {
        assert!(matches!(names().owner(""), Err(Error::Empty(_))));
        assert!(matches!(names().owner(":"), Err(Error::Empty(_))));
        assert!(matches!(names().owner("eve"), Err(Error::User(_))));
        assert!(matches!(names().owner("broken"), Err(Error::User(_))));
        assert!(matches!(names().owner("bob:eve"), Err(Error::Group(_))));
        assert!(matches!(names().owner("-1"), Err(Error::User(_))));
        assert!(matches!(names().owner("99999999999"), Err(Error::User(_))));
        assert!(matches!(names().owner("4294967295"), Err(Error::User(_))));
        assert!(matches!(names().owner("bob:4294967295"), Err(Error::Group(_))));
    }

    #[test]
    fn names_of_ids() {
        assert_eq!((names().user(1000), names().user(4)), ("bob", ""));
        assert_eq!(
            (Names::default().user(0), Names::default().group(0), Names::default().user(65534)),
            ("root", "root", "nobody")
        );
        assert_eq!((names().group(50), names().group(60), names().group(4)), ("staff", "last", ""));
    }
}
