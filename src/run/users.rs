//! Who the process runs as: `--user` resolved with the image's own `/etc/passwd` and `/etc/group`.
//!
//! Invariant: the files are read by our own reader, below the root's handle, as regular files of bounded size (CVE-2024-9676);
//! a number is a number, never a name (CVE-2016-3697), and what is neither is an error, never 0. Only `root`, where no line has that name,
//! is 0: images without these files are common.

use std::collections::HashSet;
use std::path::Path;

use containers_storage::Root;

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessUser {
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Home directory, `/` if there is none.
    pub home: String,
    /// Keep the caller's supplementary groups (`--group-add keep-groups`).
    pub keep_groups: bool,
}

/// Why a user could not be determined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such name in the image.
    #[error("determining run uid: user: unknown user error looking up user {0:?}")]
    UnknownUser(String),
    /// No such group in the image.
    #[error("determining run gid: group: unknown group error looking up group {0:?}")]
    UnknownGroup(String),
    /// Neither a name nor a number that an id can have.
    #[error("determining run uid: {0:?} is not a valid user or group")]
    Invalid(String),
    /// A database of the image cannot be read.
    #[error("reading {path} of the container")]
    Database {
        /// `/etc/passwd` or `/etc/group`.
        path: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// Bytes of a user database that are read at most. The largest seen in images have some hundred lines.
const DATABASE_LIMIT: u64 = 4 << 20;

/// The largest id that is accepted: what a signed 32-bit number holds (CVE-2024-40635).
const LARGEST_ID: u32 = i32::MAX as u32;

/// The one name that every machine knows.
const ROOT: &str = "root";
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Resolves `user` (`NAME|UID[:GROUP|GID]`, empty for root) and the names or numbers of `group_add` in `rootfs`.
///
/// Without a group, also with an empty one (`1000:`), the group and the supplementary groups are those that the image gives the user; a number that the image
/// does not know has group 0.
pub fn resolve(rootfs: &Root, user: &str, group_add: &[String]) -> Result<ProcessUser, Error> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let passwd = database(rootfs, PASSWD)?;
    let entries = || passwd.lines().filter_map(PasswdEntry::parse);
    let (uid, entry) = match id(name)? {
        Some(uid) => (uid, entries().find(|entry| entry.uid == uid)),
        None => match entries().find(|entry| entry.name == name) {
            Some(entry) => (entry.uid, Some(entry)),
            None if name == ROOT => (0, None),
            None => return Err(Error::UnknownUser(name.to_string())),
        },
    };
    let groups_file = Lazy::new(rootfs);
    let (gid, mut groups) = match (group, &entry) {
        (Some(group), _) => (groups_file.id_of(group)?, Vec::new()),
        (None, Some(entry)) => (entry.gid, groups_file.of_member(entry.name)?),
        (None, None) => (0, Vec::new()),
    };
    let keep_groups = group_add.iter().any(|group| group == "keep-groups");
    for group in group_add.iter().filter(|group| *group != "keep-groups") {
        groups.push(groups_file.id_of(group)?);
    }
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    // A file of the image may name a hundred thousand groups.
    let mut seen = HashSet::with_capacity(groups.len());
    groups.retain(|gid| seen.insert(*gid));
    let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/') && !home.contains(char::is_control));
    Ok(ProcessUser { uid, gid, groups, home: home.unwrap_or("/").to_string(), keep_groups })
}

/// `/etc/group`, read when it is first needed.
struct Lazy<'a> {
    rootfs: &'a Root,
    text: std::cell::OnceCell<String>,
}

impl<'a> Lazy<'a> {
    fn new(rootfs: &'a Root) -> Self {
        Self { rootfs, text: std::cell::OnceCell::new() }
    }

    fn text(&self) -> Result<&str, Error> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let text = database(self.rootfs, GROUP)?;
        Ok(self.text.get_or_init(|| text))
    }

    fn id_of(&self, group: &str) -> Result<u32, Error> {
        if let Some(gid) = id(group)? {
            return Ok(gid);
        }
        let found = self.text()?.lines().filter_map(GroupEntry::parse).find(|entry| entry.name == group);
        let found = found.map(|entry| entry.gid).or((group == ROOT).then_some(0));
        found.ok_or_else(|| Error::UnknownGroup(group.to_string()))
    }

    fn of_member(&self, name: &str) -> Result<Vec<u32>, Error> {
        let entries = self.text()?.lines().filter_map(GroupEntry::parse);
        Ok(entries.filter(|entry| entry.members.split(',').any(|member| member == name)).map(|entry| entry.gid).collect())
    }
}

/// A missing database is an empty one; one that is a FIFO, a device or too long is an error.
fn database(rootfs: &Root, path: &'static str) -> Result<String, Error> {
    match rootfs.read_file(Path::new(path), DATABASE_LIMIT) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Error::Database { path, source }),
    }
}

/// The id that `word` writes, `None` if it is a name. A word of digits that is no id, and a word that no name can be, is an error.
fn id(word: &str) -> Result<Option<u32>, Error> {
    let invalid = || Error::Invalid(word.to_string());
    if word.is_empty()
        || word.starts_with(['+', '-'])
        || word.contains(|c: char| c.is_control() || c.is_whitespace() || c == ':')
    {
        return Err(invalid());
    }
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match word.parse::<u32>() {
        Ok(id) if id <= LARGEST_ID => Ok(Some(id)),
        _ => Err(invalid()),
    }
}

/// One line of passwd(5).
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    /// `None` for comments, NIS lines and whatever else is no entry.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
        let (_gecos, home, _shell) = (fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty() && fields.next().is_none()).then_some(Self { name, uid, gid, home })
    }
}

/// One line of group(5).
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, number(fields.next()?)?);
        let members = fields.next()?;
        (!name.is_empty() && fields.next().is_none()).then_some(Self { name, gid, members })
    }
}

fn number(field: &str) -> Option<u32> {
    id(field).ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PASSWD_TEXT: &str = "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0:trap:/:/bin/sh\nbob:x:1001:1002:B:/home/bob:/bin/sh\n\
        bob:x:0:0:second:/root:/bin/sh\nbad:x:-1:0::/:/x\nbig:x:4294967296:0::/:/x\nshort:x:0\n#c:x:0:0::/:/x\nnl:x:5:5::relative:/x\n";
    const GROUP_TEXT: &str = "root:x:0:\nwheel:x:10:root,bob\nbob:x:1002:\nvideo:x:44:bob\nvideo:x:0:\nbobby:x:7:bobby\n";

    fn image() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), PASSWD_TEXT).unwrap();
        fs::write(dir.path().join("etc/group"), GROUP_TEXT).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn words_resolve_to_ids() {
        let (_dir, root) = image();
        for (word, uid, gid, groups, home) in [
            ("", 0u32, 0u32, &[0u32, 10][..], "/root"),
            ("root", 0, 0, &[0, 10][..], "/root"),
            ("bob", 1001, 1002, &[1002, 10, 44][..], "/home/bob"),
            ("1001", 1001, 1002, &[1002, 10, 44][..], "/home/bob"),
            ("bob:video", 1001, 44, &[44][..], "/home/bob"),
            ("bob:5", 1001, 5, &[5][..], "/home/bob"),
            ("1000", 1000, 0, &[0][..], "/"),
            ("1000:1000", 1000, 1000, &[1000][..], "/"),
            ("1000:", 1000, 0, &[0][..], "/"),
            ("bob:", 1001, 1002, &[1002, 10, 44][..], "/home/bob"),
            ("2147483647", 2_147_483_647, 0, &[0][..], "/"),
            ("nl", 5, 5, &[5][..], "/"),
        ] {
            let user = resolve(&root, word, &[]).unwrap();
            assert_eq!((user.uid, user.gid, user.groups.as_slice(), user.home.as_str()), (uid, gid, groups, home), "{word:?}");
        }
        let user = resolve(&root, "bob", &["7".into(), "wheel".into(), "keep-groups".into()]).unwrap();
        assert_eq!((user.groups, user.keep_groups), (vec![1002, 10, 44, 7], true));
    }

    #[test]
    fn what_is_no_user_is_an_error_and_never_root() {
        let (_dir, root) = image();
        for word in [
            "4294967296",
            "2147483648",
            "4294967295",
            "-1",
            ":bad",
            "+0",
            " 0",
            "0 ",
            "0x0",
            "1e3",
            "nobody",
            "bad",
            "big",
            "short",
            "#c:x",
            "bob:nogroup",
            "bob:-1",
            "bob:1:2",
            "root\n",
            "\0",
        ] {
            assert!(resolve(&root, word, &[]).is_err(), "{word:?} was accepted");
        }
        assert!(resolve(&root, "root", &["nope".into()]).is_err());
    }

    #[test]
    fn an_image_without_databases_knows_numbers_and_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(resolve(&root, "", &[]).unwrap().uid, 0);
        assert_eq!(resolve(&root, "7:8", &[]).unwrap().groups, [8]);
        for word in ["root", "root:root", "0:root"] {
            let user = resolve(&root, word, &[]).unwrap();
            assert_eq!((user.uid, user.gid, user.groups.as_slice(), user.home.as_str()), (0, 0, &[0][..], "/"), "{word}");
        }
        let error = resolve(&root, "daemon", &[]).unwrap_err().to_string();
        assert_eq!(error, "determining run uid: user: unknown user error looking up user \"daemon\"");
    }

    /// A136: the time is linear in what the image may write.
    #[test]
    fn a_user_in_very_many_groups_is_found_in_time() {
        let lines: String = (0..200_000).map(|gid| format!("g{gid}:x:{gid}:bob\n")).collect();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "bob:x:7:7::/:/bin/sh\n").unwrap();
        fs::write(dir.path().join("etc/group"), lines).unwrap();
        let start = std::time::Instant::now();
        let groups = resolve(&Root::open(dir.path()).unwrap(), "bob", &["g5".into(), "9".into()]).unwrap().groups;
        assert_eq!((groups.len(), groups[7]), (200_000, 7));
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn a_database_that_is_no_regular_file_is_refused_at_once() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("passwd"), PASSWD_TEXT).unwrap();
        for kind in ["fifo", "link", "zero", "huge"] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("etc")).unwrap();
            let passwd = dir.path().join("etc/passwd");
            match kind {
                "fifo" => nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap(),
                "link" => std::os::unix::fs::symlink(outside.path().join("passwd"), &passwd).unwrap(),
                "zero" => std::os::unix::fs::symlink("/dev/zero", &passwd).unwrap(),
                _ => fs::File::create(&passwd).unwrap().set_len(2 << 30).unwrap(),
            }
            let root = Root::open(dir.path()).unwrap();
            assert!(resolve(&root, "bob", &[]).is_err(), "{kind}");
        }
    }
}
