//! The list in a lease file: which process uses the mount, and how.
//!
//! ```text
//! user 4711 883412 6e1c…-boot-id 4026531836
//! ```
//!
//! Invariant: a line that does not parse is skipped.

use crate::process::Process;

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
    pub process: Process,
}

impl Entry {
    /// The entry of a process of this pid namespace.
    pub fn of(pid: u32, kind: Kind) -> Self {
        Self { kind, process: Process::of(pid) }
    }
}

pub(super) fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let (kind, process) = line.split_once(' ')?;
    let kind = match kind {
        "user" => Kind::User,
        "session" => Kind::Session,
        _ => return None,
    };
    Some(Entry { kind, process: process.parse().ok()? })
}

pub(super) fn format(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let kind = match entry.kind {
            Kind::User => "user",
            Kind::Session => "session",
        };
        format!("{kind} {}\n", entry.process)
    };
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_file_and_other_lines_do_not() {
        let own = Entry::of(std::process::id(), Kind::Session);
        assert_eq!(parse(&format(std::slice::from_ref(&own))), std::slice::from_ref(&own));
        assert!(parse("user 1 2\nuser x 2 b 4\nowner 1 2 b 4\nuser 1 2 b 4 5\n\n").is_empty());
    }
}
