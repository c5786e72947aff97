//! One process, named so that another one that gets its number later is not taken for it: by number, start time, boot and pid namespace.
//!
//! ```text
//! 4711 883412 6e1c…-boot-id 4026531836
//! ```
//!
//! Invariant: what cannot be judged counts as living: a process of another pid namespace under this boot.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

/// A process, living or dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: u32,
    /// Field 22 of /proc/pid/stat, clock ticks after boot; 0 if it could not be read.
    start: u64,
    boot: String,
    /// Inode of the pid namespace in which `pid` means something.
    namespace: u64,
}

impl Process {
    /// The process `pid` of this pid namespace.
    pub fn of(pid: u32) -> Self {
        Self { pid, start: start_time(pid).unwrap_or(0), boot: boot_id(), namespace: pid_namespace() }
    }

    /// This process.
    pub fn own() -> Self {
        Self::of(std::process::id())
    }

    /// Whether it lives, or can't be judged from this pid namespace.
    pub fn may_live(&self) -> bool {
        self.boot == boot_id() && (!self.is_here() || start_time(self.pid) == Some(self.start))
    }

    /// Whether the pid means something in this process's pid namespace.
    pub fn is_here(&self) -> bool {
        self.namespace == pid_namespace()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.pid, self.start, self.boot, self.namespace)
    }
}

/// A text that names no process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoProcess;

impl FromStr for Process {
    type Err = NoProcess;

    fn from_str(text: &str) -> Result<Self, NoProcess> {
        let words: Vec<&str> = text.split(' ').collect();
        let [pid, start, boot, namespace] = words[..] else { return Err(NoProcess) };
        Ok(Self {
            pid: pid.parse().map_err(|_| NoProcess)?,
            start: start.parse().map_err(|_| NoProcess)?,
            boot: boot.to_owned(),
            namespace: namespace.parse().map_err(|_| NoProcess)?,
        })
    }
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
    fn this_process_survives_its_text_and_lives() {
        let own = Process::own();
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        assert!(own.may_live() && own.is_here());
    }

    #[test]
    fn another_start_or_boot_is_another_process() {
        let own = Process::own();
        assert!(!Process { start: own.start + 1, ..own.clone() }.may_live());
        assert!(!Process { boot: "another".into(), ..own.clone() }.may_live());
        let foreign = Process { namespace: own.namespace + 1, start: 1, ..own };
        assert!(foreign.may_live() && !foreign.is_here());
        for text in ["", "1 2 b", "x 2 b 4", "1 2 b 4 5", "1 2 b 4 "] {
            assert_eq!(text.parse::<Process>(), Err(NoProcess), "{text:?}");
        }
    }
}
