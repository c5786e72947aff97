//! Buildah's verbs and flags that this program has not: each is refused by name, with the reason, so that nobody takes one for
//! a typing error or, worse, believes that it had an effect.
//!
//! The list is `man/buildah-flags.tsv`, every verb and flag of the newest Buildah. What our own parsers know is never looked up
//! here, so a verb or flag that is implemented needs no change in this file. `tests/buildah_table.rs` keeps both in step with
//! `man/coracle-buildah.7`.

use super::CommandError;

/// Every verb and flag of the newest Buildah, as text.
const TABLE: &str = include_str!("../../man/buildah-flags.tsv");

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its number in the file, from 1.
    pub line: usize,
    /// The verb, with its subverb after a blank; empty for the flags before any verb.
    pub verb: &'static str,
    /// The flag without dashes; empty for the verb itself.
    pub flag: &'static str,
    /// Its letter; empty if it has none.
    pub short: &'static str,
    /// `verb`, `alias of X`, or the kind of value with its default: `switch =true`, `list`, `text (hidden)`.
    pub kind: &'static str,
    /// `1.28` if Debian 12 has it, else `newer`.
    pub since: &'static str,
    /// What it belongs to; `default` for what has another default here; empty for what every version of this program must have.
    pub topic: &'static str,
}

/// The topic of what is here, with another default than Buildah's on purpose.
pub const OTHER_DEFAULT: &str = "default";

/// All lines of the table.
pub fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).filter_map(|(at, line)| {
        let mut cells = line.split('\t').map(|cell| if cell == "-" { "" } else { cell });
        let mut next = || cells.next();
        let (verb, flag, short) = (next()?, next()?, next()?);
        Some(Row { line: at + 1, verb, flag, short, kind: next()?, since: next()?, topic: next()? })
    })
}

/// Why a verb or flag of Buildah's is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A later version has it.
    Coming {
        /// What this version lacks.
        reason: &'static str,
    },
    /// No version will.
    Never {
        /// Why it makes no sense here.
        reason: &'static str,
        /// What serves the same end.
        instead: &'static str,
    },
}

impl Refusal {
    /// The error for `what`, as in `flag --x of "coracle run"`.
    pub(super) fn error(self, what: &str) -> CommandError {
        match self {
            Self::Coming { reason } => {
                CommandError::usage(format!("{what} is not available in this version of coracle: {reason}"))
            }
            Self::Never { reason, instead } => {
                CommandError::usage(format!("{what} is not part of coracle: {reason}")).hinting(Some(instead.to_owned()))
            }
        }
    }
}

/// The topics of the table and what is said about each.
pub const TOPICS: &[(&str, Refusal)] = &[
    (
        "cw",
        never(
            "it makes no images for confidential virtual machines, which need libkrun and its kernel on the machine that builds",
            "commit the image without it, and convert that with \"buildah mkcw\", which reads the same store",
        ),
    ),
    (
        "mkcw",
        never(
            "it makes no images for confidential virtual machines, which need libkrun and its kernel on the machine that builds",
            "\"buildah mkcw\" reads the same store",
        ),
    ),
    ("cdi", never(crate::run::devices::NO_CDI, "give the device with --device and what belongs to it with --volume and --env")),
    (
        "blob-cache",
        never(
            "the store keeps what it needs to push a blob again as it was pulled, so that a second copy would be of no use",
            "leave the flag out",
        ),
    ),
    (
        "source",
        never(
            "source images are an experiment of Buildah's that other tools do not read",
            "keep sources beside the image: a directory or archive added with \"coracle add\" to an image of its own",
        ),
    ),
    (
        "dumpbolt",
        never(
            "it reads no database of podman's, and none of the store's files is one",
            "the store's tables are JSON files; see \"coracle info\" for the place",
        ),
    ),
    (
        "rpc",
        never(
            "there is no service: each verb does its work and ends",
            "call the verbs themselves, as \"coracle from\" and \"coracle run\"",
        ),
    ),
    (
        "sftp",
        never(
            "files go in and out by verbs of their own, and no server is left behind a mount",
            "\"coracle copy\" and \"coracle unshare --mount\" reach a container's files, \"coracle mount\" inside \"coracle unshare\" shows them",
        ),
    ),
    ("suffix", never("it is an aid of Buildah's own tests", "give the name with --name")),
    (
        "timeout",
        never(
            "a verb goes on until it is done or told to stop",
            "timeout(1) stops it after a time: \"timeout 60 coracle ...\"",
        ),
    ),
    ("profile", never("it has no profiler of its own", "perf record or strace -f shows where the time goes")),
];

const fn never(reason: &'static str, instead: &'static str) -> Refusal {
    Refusal::Never { reason, instead }
}

/// What is said about a topic.
pub fn refusal(topic: &str) -> Option<Refusal> {
    TOPICS.iter().find(|(name, _)| *name == topic).map(|(_, refusal)| *refusal)
}

/// Why the verb `name` is refused; `None` if it is no verb of Buildah's.
pub(super) fn verb(name: &str) -> Option<Refusal> {
    rows().find(|row| row.flag.is_empty() && row.verb == name).and_then(|row| refusal(row.topic))
}

/// Why the flag `--name` of `verb` (empty: before any verb) is refused; `None` if Buildah does not have it there either.
pub(super) fn flag(verb: &str, name: &str) -> Option<Refusal> {
    let here = rows().find(|row| row.verb == verb && row.flag == name);
    let row = here.or_else(|| rows().find(|row| row.verb.is_empty() && row.flag == name))?;
    refusal(row.topic)
}

/// Why the flag `-letter` of `verb` is refused.
pub(super) fn short_flag(verb: &str, letter: char) -> Option<Refusal> {
    let row = rows().find(|row| row.verb == verb && row.short.chars().eq([letter]))?;
    refusal(row.topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert!(rows().count() > 550);
        for row in rows() {
            assert!(["1.28", "newer"].contains(&row.since), "line {}: since {:?}", row.line, row.since);
            assert!(
                row.topic.is_empty() || row.topic == OTHER_DEFAULT || refusal(row.topic).is_some(),
                "line {}: no topic {:?}",
                row.line,
                row.topic
            );
            let twin = rows().any(|other| other.line != row.line && (other.verb, other.flag) == (row.verb, row.flag));
            assert!(!twin, "line {}: {} {} is listed twice", row.line, row.verb, row.flag);
            let kind = row.kind.split([' ', '(']).next().unwrap_or_default();
            let kinds: &[&str] = if row.flag.is_empty() {
                &["verb", "alias"]
            } else {
                &["switch", "text", "number", "repeated", "list", "numbers", "alias"]
            };
            assert!(kinds.contains(&kind), "line {}: kind {:?}", row.line, row.kind);
        }
    }

    #[test]
    fn refusals_say_why_and_what_to_do() {
        let text = |refusal: Option<Refusal>| refusal.map(|refusal| refusal.error("it").text()).unwrap_or_default();
        assert!(text(flag("commit", "cw")).starts_with("it is not part of coracle: "));
        assert!(verb("source").is_some_and(|refusal| !refusal.error("source").hints().is_empty()));
        assert_eq!((verb("frobnicate"), flag("commit", "frobnicate"), short_flag("commit", 'Z')), (None, None, None));
        assert_eq!(flag("images", "cpu-profile"), flag("", "cpu-profile"));
        assert_eq!(short_flag("from", 'm'), flag("from", "memory"));
    }
}
