//! The id maps of a new user namespace: what they can be on this machine, and writing them.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::pipe::PipeFlags;

use super::current::Ids;
use super::enter::{Notice, unshare_user};
use super::error::Error;
use super::subid::{self, Owner, Range};
use crate::sys::fork::fork_alone;

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// Where the process writes its own map of users.
pub(super) const UID_MAP: &str = "/proc/self/uid_map";

/// Longer than these files are anywhere: a site with 100,000 users has 3 MiB.
const FILE_LIMIT: u64 = 64 << 20;

/// How a new namespace gets its maps.
#[derive(Debug)]
pub(super) enum Plan {
    /// By newuidmap and newgidmap.
    Full(Helpers),
    /// By the process itself: one id.
    Single,
    /// Root of an ordinary container: everything it has, onto itself.
    Identity,
}

/// The two programs with what they are to write.
#[derive(Debug)]
pub(super) struct Helpers {
    uid: Helper,
    gid: Helper,
}

#[derive(Debug)]
struct Helper {
    program: PathBuf,
    argv: Vec<CString>,
}

/// What the helpers did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Both maps are there.
    Both,
    /// Neither is.
    Neither,
}

/// What this machine gives the caller.
pub(super) fn plan(own: Ids, notices: &mut Vec<Notice>) -> Result<Plan, Error> {
    let Ids { uid, gid } = own;
    if uid == 0 {
        return Ok(Plan::Identity);
    }
    let passwd = read(Path::new("/etc/passwd"))?;
    let users = login_names(&passwd);
    let environment = std::env::var("USER").ok();
    let name = users.iter().find(|(_, id)| *id == uid).map(|(name, _)| *name).or(environment.as_deref());
    let others: Vec<_> = users.iter().copied().filter(|(other, _)| Some(*other) != name).collect();

    let files = (read(Path::new(SUBUID))?, read(Path::new(SUBGID))?);
    let mut uids = subid::select(SUBUID, &files.0, Owner { name, uid, own_id: uid }, &others)?;
    let mut gids = subid::select(SUBGID, &files.1, Owner { name, uid, own_id: gid }, &[])?;
    if uids.ranges.is_empty() && gids.ranges.is_empty() && name_service_has_ranges() {
        let user = name.map_or_else(|| uid.to_string(), str::to_owned);
        uids = subid::select(SUBUID, &ask_name_service(&[&user]), Owner { name, uid, own_id: uid }, &others)?;
        gids = subid::select(SUBGID, &ask_name_service(&["-g", &user]), Owner { name, uid, own_id: gid }, &[])?;
    }
    if let Some(missing) = [(SUBUID, &uids), (SUBGID, &gids)].iter().find(|(_, found)| found.ranges.is_empty()) {
        notices.push(Notice::SingleId(no_range(missing.0, name, uid, subid::free_start([&files.0, &files.1]))));
        return Ok(Plan::Single);
    }
    let (Some(newuidmap), Some(newgidmap)) = (find_program("newuidmap"), find_program("newgidmap")) else {
        let why = "newuidmap and newgidmap are not installed (Debian, Ubuntu: uidmap; Fedora: shadow-utils)";
        notices.push(Notice::SingleId(why.to_owned()));
        return Ok(Plan::Single);
    };
    notices.extend(uids.overlaps.into_iter().chain(gids.overlaps).map(Notice::Overlap));
    Ok(Plan::Full(Helpers {
        uid: Helper { argv: arguments(&newuidmap, uid, &uids.ranges)?, program: newuidmap },
        gid: Helper { argv: arguments(&newgidmap, gid, &gids.ranges)?, program: newgidmap },
    }))
}

/// What is missing, and the command that mends it, with 65536 ids from `free` on.
fn no_range(file: &str, name: Option<&str>, uid: u32, free: Option<u32>) -> String {
    let user = name.map_or_else(|| uid.to_string(), str::to_owned);
    let Some((start, last)) = free.and_then(|start| Some((start, start.checked_add(65_535)?))) else {
        return format!("{file} has no range for {user:?}, and {SUBUID} and {SUBGID} have no 65536 ids left that are nobody's");
    };
    format!(
        "{file} has no range for {user:?}; as root, `usermod --add-subuids {start}-{last} --add-subgids {start}-{last} {user}`, \
         or add the line `{user}:{start}:65536` to {SUBUID} and to {SUBGID}"
    )
}

/// Whether `subid:` in nsswitch.conf(5) names more than the files, which were read already.
fn name_service_has_ranges() -> bool {
    let settings = read(Path::new("/etc/nsswitch.conf")).unwrap_or_default();
    let sources = settings.lines().find_map(|line| line.trim().strip_prefix("subid:"));
    sources.is_some_and(|sources| sources.split_whitespace().any(|source| source != "files"))
}

/// What getsubids(1) says, as lines of subuid(5). The plugins of the name service are loaded by that program and not by us. A
/// failure is no ranges: the notice then says what is missing.
fn ask_name_service(arguments: &[&str]) -> String {
    let Some(program) = find_program("getsubids") else { return String::new() };
    let output = std::process::Command::new(program).args(arguments).env_clear().output();
    output.map(|output| lines_of_getsubids(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default()
}

/// `0: ann 100000 65536` is `ann:100000:65536`.
fn lines_of_getsubids(text: &str) -> String {
    let lines = text.lines().filter_map(|line| {
        let (_, range) = line.split_once(": ")?;
        Some(range.split_whitespace().collect::<Vec<_>>().join(":") + "\n")
    });
    lines.collect()
}

/// The content of a file of the machine's settings; one that does not exist is empty.
fn read(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(failed(error)),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Names and ids of `/etc/passwd` (passwd(5)). Not through NSS: its plugins start threads and processes.
fn login_names(passwd: &str) -> Vec<(&str, u32)> {
    fn user(line: &str) -> Option<(&str, u32)> {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    }
    passwd.lines().filter_map(user).collect()
}

/// Where the machine's administrator installs programs, setuid ones on NixOS and Guix included. `PATH` is not asked (known
/// attack A124): its first entry may be a directory that a build wrote to.
const PROGRAM_DIRECTORIES: &[&str] = &[
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/sbin",
    "/run/wrappers/bin",
    "/run/privileged/bin",
    "/run/setuid-programs",
    "/run/current-system/sw/bin",
];

/// The absolute path of a program of the machine.
fn find_program(name: &str) -> Option<PathBuf> {
    let mut files = PROGRAM_DIRECTORIES.iter().map(|directory| Path::new(directory).join(name));
    files.find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
}

/// `newuidmap PID 0 ID 1 1 START LENGTH …`: the caller is 0, the ranges follow from 1 on without a gap.
fn arguments(program: &Path, own: u32, ranges: &[Range]) -> Result<Vec<CString>, Error> {
    let mut words =
        vec![rustix::process::getpid().as_raw_nonzero().to_string(), "0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside: u32 = 1;
    for range in ranges {
        // Ids above 4294967294 do not exist inside either; such a tail can't be mapped.
        let Some(next) = inside.checked_add(range.length) else { break };
        words.extend([inside.to_string(), range.start.to_string(), range.length.to_string()]);
        inside = next;
    }
    let mut argv = vec![CString::new(program.as_os_str().as_bytes())];
    argv.extend(words.into_iter().map(CString::new));
    argv.into_iter().collect::<Result<_, _>>().map_err(|error| Error::Ids { what: "newuidmap", source: error.into() })
}

impl Helpers {
    /// Enters a new user namespace while the helpers, which stay outside, write its maps.
    pub(super) fn enter(self, notices: &mut Vec<Notice>) -> Result<Written, Error> {
        let (gate_read, gate_write) = pipe()?;
        let (errors_read, errors_write) = pipe()?;
        let uid = self.uid.start(&gate_read, &gate_write, &errors_write)?;
        let gid = match self.gid.start(&gate_read, &gate_write, &errors_write) {
            Ok(gid) => gid,
            Err(error) => {
                drop(gate_write);
                succeeded(uid);
                return Err(error);
            }
        };
        drop(errors_write);
        let unshared = unshare_user();
        if unshared.is_ok() {
            // One byte for each helper; a gate that closes without one tells them to go home.
            File::from(gate_write).write_all(b"gg").map_err(|source| Error::Ids { what: "pipe", source })?;
        } else {
            drop(gate_write);
        }
        let mut message = Vec::new();
        // What the helpers say only makes an error clearer; their status decides.
        let _ = File::from(errors_read).take(2048).read_to_end(&mut message);
        let done = (succeeded(uid), succeeded(gid));
        unshared?;
        let message = String::from_utf8_lossy(&message).lines().collect::<Vec<_>>().join("; ").escape_debug().to_string();
        match done {
            (true, true) => Ok(Written::Both),
            (false, false) if no_map_yet() => {
                notices.push(Notice::SingleId(format!("{} failed: {message}", self.uid.program.display())));
                Ok(Written::Neither)
            }
            (false, _) => Err(Error::Helper { program: self.uid.program, message }),
            (true, false) => Err(Error::Helper { program: self.gid.program, message }),
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|source| Error::Ids { what: "pipe", source: source.into() })
}

/// Whether the first map is still to be written: a map can be written once only.
fn no_map_yet() -> bool {
    std::fs::read("/proc/self/uid_map").is_ok_and(|map| map.is_empty())
}

fn succeeded(pid: Pid) -> bool {
    loop {
        match waitpid(pid, None) {
            Err(nix::Error::EINTR) => {}
            other => return matches!(other, Ok(WaitStatus::Exited(_, 0))),
        }
    }
}

impl Helper {
    /// Forks the process that becomes the program once the gate opens.
    fn start(&self, gate: &OwnedFd, gate_write: &OwnedFd, errors: &OwnedFd) -> Result<Pid, Error> {
        let child = || {
            if !gate_opens(gate) || nix::unistd::dup2_stderr(errors).is_err() {
                return 1;
            }
            // A setuid program gets nothing of the caller's environment.
            let _ = nix::unistd::execve(&self.argv[0], &self.argv, &[] as &[CString]);
            let _ = rustix::io::write(errors, b"cannot be executed");
            1
        };
        fork_alone(gate_write.as_fd(), child).map_err(|source| Error::Ids { what: "fork", source })
    }
}

/// Waits for one byte; false if the other process ended or changed its mind.
fn gate_opens(gate: &OwnedFd) -> bool {
    let mut byte = [0];
    matches!(rustix::io::read(gate, &mut byte), Ok(1))
}

/// The map `0 <id> 1` for the user and for the group, written from inside; `own` are the ids of before. Supplementary groups can
/// then not be dropped, which could lift a denial (CVE-2014-8989): the kernel takes the group map only after that.
pub(super) fn write_single(own: Ids) -> Result<(), Error> {
    let write = |what: &'static str, text: String| std::fs::write(what, text).map_err(|source| Error::Ids { what, source });
    write("/proc/self/setgroups", "deny".to_owned())?;
    write(UID_MAP, format!("0 {} 1", own.uid))?;
    write("/proc/self/gid_map", format!("0 {} 1", own.gid))
}

/// Root without CAP_SYS_ADMIN: a namespace in which it has it, with all the ids that it had. A child that stays outside writes
/// the maps, which takes CAP_SETUID and CAP_SETGID there.
pub(super) fn enter_with_all_ids(notices: &mut Vec<Notice>) -> Result<Written, Error> {
    let uid_map = onto_itself(UID_MAP)?;
    let gid_map = onto_itself("/proc/self/gid_map")?;
    let process = PathBuf::from(format!("/proc/{}", rustix::process::getpid().as_raw_nonzero()));
    let (gate_read, gate_write) = pipe()?;
    let child = || {
        let write = |file: &str, text: &str| std::fs::write(process.join(file), text).is_ok();
        i32::from(!(gate_opens(&gate_read) && write("gid_map", &gid_map) && write("uid_map", &uid_map)))
    };
    let helper = fork_alone(gate_write.as_fd(), child).map_err(|source| Error::Ids { what: "fork", source })?;
    let unshared = unshare_user();
    if unshared.is_ok() {
        File::from(gate_write).write_all(b"g").map_err(|source| Error::Ids { what: "pipe", source })?;
    } else {
        drop(gate_write);
    }
    let done = succeeded(helper);
    unshared?;
    match done {
        true => Ok(Written::Both),
        false if no_map_yet() => {
            notices.push(Notice::SingleId("this container lacks CAP_SETUID or CAP_SETGID".to_owned()));
            Ok(Written::Neither)
        }
        false => Err(Error::Ids { what: UID_MAP, source: io::ErrorKind::PermissionDenied.into() }),
    }
}

/// The map that gives a child namespace every id that this one has, under the same number.
fn onto_itself(path: &'static str) -> Result<String, Error> {
    let text = read(Path::new(path))?;
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (inside, _, length) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{inside} {inside} {length}\n"))
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_names_come_with_their_ids() {
        let text = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:\nbroken\nworse:x:\n:x:5:5\n";
        assert_eq!(login_names(text), [("root", 0), ("ann", 1000), ("", 5)]);
    }

    #[test]
    fn what_getsubids_prints_is_read_as_lines_of_the_file() {
        let text = "0: ann 100000 65536\n1: ann 300000 10\nError fetching ranges\n";
        assert_eq!(lines_of_getsubids(text), "ann:100000:65536\nann:300000:10\n");
    }

    #[test]
    fn the_command_for_who_has_no_range_names_free_ids() {
        let said = no_range(SUBUID, Some("ann"), 1000, Some(196_608));
        let range = "196608-262143";
        assert!(said.contains(&format!("usermod --add-subuids {range} --add-subgids {range} ann")), "{said}");
        assert!(said.contains("`ann:196608:65536`") && !said.contains("100000"), "{said}");
        assert!(!no_range(SUBUID, None, 1000, None).contains("usermod"));
    }

    #[test]
    fn ranges_follow_the_own_id_without_a_gap() {
        let ranges = [Range { start: 100_000, length: 10 }, Range { start: 300_000, length: 5 }];
        let argv = arguments(Path::new("/usr/bin/newuidmap"), 1000, &ranges).expect("no NUL");
        let words: Vec<_> = argv.iter().map(|word| word.to_str().expect("text")).collect();
        assert_eq!(words[0], "/usr/bin/newuidmap");
        assert_eq!(words[2..], ["0", "1000", "1", "1", "100000", "10", "11", "300000", "5"]);
    }
}
