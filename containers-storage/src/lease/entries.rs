//! The list in a lease file: which process, proved by start time, boot and pid namespace.
//!
//! ```text
//! user 4711 883412 6e1c…-boot-id 4026531836
//! ```
//!
//! Invariant: a line that does not parse is skipped. An entry of another pid namespace can't be judged, so it counts as living.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Why a process is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It holds the users lock.
    User,
    /// The mount stays in its namespaces; it holds no lock.
    Session,
}

/// One listed process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub kind: Kind,
    pub pid: u32,
    /// Field 22 of /proc/pid/stat, clock ticks after boot; 0 if it could not be read.
    start: u64,
    boot: String,
    /// Inode of the pid namespace in which `pid` means something.
    namespace: u64,
}

impl Entry {
    /// The entry of a process of this pid namespace.
    pub fn of(pid: u32, kind: Kind) -> Self {
        Self { kind, pid, start: start_time(pid).unwrap_or(0), boot: boot_id(), namespace: pid_namespace() }
    }

    /// Whether the process lives, or can't be judged from this pid namespace.
    pub fn may_live(&self) -> bool {
        self.boot == boot_id() && (!self.is_here() || start_time(self.pid) == Some(self.start))
    }

    /// Whether the pid means something in this process's pid namespace.
    pub fn is_here(&self) -> bool {
        self.namespace == pid_namespace()
    }
}

pub(super) fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "user" => Kind::User,
        "session" => Kind::Session,
        _ => return None,
    };
    let entry = Entry {
        kind,
        pid: words.next()?.parse().ok()?,
        start: words.next()?.parse().ok()?,
        boot: words.next()?.to_owned(),
        namespace: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(entry)
}

pub(super) fn format(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let kind = match entry.kind {
            Kind::User => "user",
            Kind::Session => "session",
        };
        format!("{kind} {} {} {} {}\n", entry.pid, entry.start, entry.boot, entry.namespace)
    };
    entries.iter().map(line).collect()
}

/// The start time of a process that runs; `None` if there is none, or only its zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&stat))
}

/// Field 2, the command in parentheses, may hold anything: fields are counted from the last parenthesis (proc_pid_stat(5)).
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() { "unknown".to_owned() } else { id.to_owned() }
}

fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |stat| stat.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_field_22_whatever_the_command_is_called() {
        let tail = (4..=30).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(parse_stat(&format!("7 (a) b) S {tail}")), Some(22));
        assert_eq!(parse_stat(&format!("7 (a) Z {tail}")), None);
        assert_eq!(parse_stat("7 (a) S 1 2"), None);
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn own_entry_survives_the_file_and_lives() {
        let own = Entry::of(std::process::id(), Kind::Session);
        let read = parse(&format(std::slice::from_ref(&own)));
        assert_eq!(read, std::slice::from_ref(&own));
        assert!(own.may_live() && own.is_here());
    }

    #[test]
    fn entries_of_another_start_boot_or_form_are_dead() {
        let own = Entry::of(std::process::id(), Kind::User);
        assert!(!Entry { start: own.start + 1, ..own.clone() }.may_live());
        assert!(!Entry { boot: "another".into(), ..own.clone() }.may_live());
        let foreign = Entry { namespace: own.namespace + 1, start: 1, ..own };
        assert!(foreign.may_live() && !foreign.is_here());
        assert!(parse("user 1 2\nuser x 2 b 4\nowner 1 2 b 4\nuser 1 2 b 4 5\n\n").is_empty());
    }
}
