//! `/etc/subuid` and `/etc/subgid` (subuid(5)): which ids a user may hand out in a user namespace.
//!
//! Invariant: what `select` returns are ranges of this user only, without overlap, without id 0, the user's own id or
//! 4294967295, sorted by start, as containers/storage lays them out (format reference 10.3). Pure: the files are read by `enter`.

use std::fmt;

/// The kernel takes at most 340 lines in a map (user_namespaces(7)); the first is the user's own id.
const MAX_RANGES: usize = 339;

/// Subordinate ids, `start` to `start + length - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first id.
    pub start: u32,
    /// How many; never 0.
    pub length: u32,
}

impl Range {
    fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.length)
    }

    fn contains(self, id: u32) -> bool {
        id >= self.start && u64::from(id) < self.end()
    }

    fn overlaps(self, other: Range) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.start, self.length)
    }
}

/// Who the ranges are for.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The login name, if it is known. `/etc/subgid` is looked up by it as well.
    pub name: Option<&'a str>,
    /// The user id.
    pub uid: u32,
    /// The id that container id 0 will be: the user id, or the group id for `/etc/subgid`.
    pub own_id: u32,
}

impl Owner<'_> {
    fn is(&self, field: &str) -> bool {
        self.name == Some(field) || field.parse() == Ok(self.uid)
    }
}

/// What is wrong with the subordinate ids of a user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line for this user is not `name:start:count`.
    #[error("{file}:{line}: {text:?} is not `name:start:count`")]
    Syntax {
        /// The file.
        file: &'static str,
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A line for this user reaches an id that must not be handed out.
    #[error("{file}:{line}: the range {range} {problem}")]
    Forbidden {
        /// The file.
        file: &'static str,
        /// Counted from 1.
        line: usize,
        /// The range, as it is written.
        range: String,
        /// What it reaches.
        problem: &'static str,
    },
    /// Two lines for this user share ids.
    #[error("{file}: the ranges {first} and {second} of one user overlap")]
    Overlap {
        /// The file.
        file: &'static str,
        /// The one.
        first: Range,
        /// The other.
        second: Range,
    },
}

impl Error {
    /// Lines that say what to do.
    pub fn hints(&self) -> Vec<String> {
        let (Self::Syntax { file, .. } | Self::Forbidden { file, .. } | Self::Overlap { file, .. }) = self;
        vec![format!("correct {file}; a usual line is `name:100000:65536`, with a start of its own for each user")]
    }
}

/// The ranges of one user, and what the person should know about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// The ranges, sorted by start.
    pub ranges: Vec<Range>,
    /// A range that is also another user's, in words.
    pub overlaps: Vec<String>,
}

/// The ranges that `text` gives `name`, in the order of the file; lines that can't be parsed give nothing.
pub fn ranges_of(text: &str, name: &str) -> Vec<Range> {
    let own = text.lines().map(str::trim).filter(|line| line.split(':').next() == Some(name));
    own.filter_map(|line| parse_range(line).ok().flatten()).collect()
}

/// The ranges of `owner` in `text`, the content of `file`. `users` are login names with their ids from `/etc/passwd`: a range
/// that covers the id of another user is reported (CVE-2024-56433). Lines of other users that can't be parsed are passed over,
/// since they give this user nothing.
pub fn select(file: &'static str, text: &str, owner: Owner<'_>, users: &[(&str, u32)]) -> Result<Selected, Error> {
    let mut own = Vec::new();
    let mut foreign = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_text = line.trim();
        if line_text.is_empty() || line_text.starts_with('#') {
            continue;
        }
        let name = line_text.split(':').next().unwrap_or_default();
        if owner.is(name) {
            own.extend(own_range(file, index + 1, line_text, owner)?);
        } else if let Ok(Some(range)) = parse_range(line_text) {
            foreign.push((name, range));
        }
    }
    let ranges = without_overlap(file, own)?;
    let overlaps = describe_overlaps(file, &ranges, &foreign, users);
    Ok(Selected { ranges, overlaps })
}

/// The first id of 65536 that could be a new user's: above all that `texts`, the contents of both files, hand out, or where none is
/// left above, the lowest that are free. The first is 100000, as useradd(8) has it, or a multiple of 65536.
pub fn free_start(texts: [&str; 2]) -> Option<u32> {
    const LENGTH: u32 = 65_536;
    let lines = texts.into_iter().flat_map(str::lines);
    let taken: Vec<Range> = lines.filter_map(|line| parse_range(line.trim()).ok().flatten()).collect();
    let highest = taken.iter().map(|range| range.end()).max().unwrap_or_default();
    // The last of all would hold 4294967295, which is no id.
    let starts = || std::iter::once(100_000).chain((2..u32::MAX / LENGTH).map(|block| block * LENGTH));
    let is_free = |&start: &u32| !taken.iter().any(|range| range.overlaps(Range { start, length: LENGTH }));
    starts().find(|&start| u64::from(start) >= highest).or_else(|| starts().find(is_free))
}

/// One line's range: `None` if it is empty.
fn parse_range(line: &str) -> Result<Option<Range>, &'static str> {
    let mut fields = line.split(':');
    let (Some(_), Some(start), Some(count), None) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
        return Err("syntax");
    };
    let (start, count) = (number(start).ok_or("syntax")?, number(count).ok_or("syntax")?);
    if count == 0 {
        return Ok(None);
    }
    // 4294967295 is "no id" in every system call (setresuid(2)).
    if start.checked_add(count).is_none_or(|end| end > u64::from(u32::MAX)) {
        return Err("goes beyond 4294967294");
    }
    match (u32::try_from(start), u32::try_from(count)) {
        (Ok(start), Ok(length)) => Ok(Some(Range { start, length })),
        _ => Err("goes beyond 4294967294"),
    }
}

/// Decimal digits only: `str::parse` would also take a plus sign.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn own_range(file: &'static str, line: usize, text: &str, owner: Owner<'_>) -> Result<Option<Range>, Error> {
    let forbidden = |problem| Error::Forbidden {
        file,
        line,
        range: text.split_once(':').map_or(text, |(_, range)| range).to_owned(),
        problem,
    };
    match parse_range(text) {
        Ok(Some(range)) if range.contains(0) => Err(forbidden("contains root")),
        Ok(Some(range)) if range.contains(owner.own_id) => Err(forbidden("contains the user's own id")),
        Ok(range) => Ok(range),
        Err("syntax") => Err(Error::Syntax { file, line, text: text.to_owned() }),
        Err(problem) => Err(forbidden(problem)),
    }
}

fn without_overlap(file: &'static str, mut ranges: Vec<Range>) -> Result<Vec<Range>, Error> {
    ranges.sort_unstable();
    // One range listed by name and by number is the usual way to have it twice.
    ranges.dedup();
    for pair in ranges.windows(2) {
        if let [first, second] = *pair
            && first.overlaps(second)
        {
            return Err(Error::Overlap { file, first, second });
        }
    }
    ranges.truncate(MAX_RANGES);
    Ok(ranges)
}

fn describe_overlaps(file: &str, ranges: &[Range], foreign: &[(&str, Range)], users: &[(&str, u32)]) -> Vec<String> {
    let mut found = Vec::new();
    for &range in ranges {
        for (name, other) in foreign.iter().filter(|(_, other)| other.overlaps(range)) {
            found.push(format!("{file}: your range {range} overlaps {other} of {name:?}: files of containers can be theirs"));
        }
        for (name, id) in users.iter().filter(|(_, id)| range.contains(*id)) {
            found.push(format!("{file}: your range {range} covers the id {id} of {name:?}: files of containers can be theirs"));
        }
    }
    found.truncate(3);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner<'static> = Owner { name: Some("ann"), uid: 1000, own_id: 1000 };

    fn ranges(text: &str) -> Result<Vec<Range>, Error> {
        select("/etc/subuid", text, OWNER, &[]).map(|selected| selected.ranges)
    }

    fn range(start: u32, length: u32) -> Range {
        Range { start, length }
    }

    #[test]
    fn a_line_matches_by_name_or_by_number_and_ranges_are_sorted() {
        let text = "# note\n\nbob:100000:65536\nann:300000:10\n1000:200000:5\n";
        assert_eq!(ranges(text), Ok(vec![range(200_000, 5), range(300_000, 10)]));
        assert_eq!(ranges("annie:1:1\n10001:5:5\n"), Ok(vec![]));
        assert_eq!(ranges("ann:100000:0\n"), Ok(vec![]));
    }

    #[test]
    fn a_new_range_is_one_that_nobody_has() {
        let cases = [
            (["", ""], Some(100_000)),
            (["# none\nbroken\nbob:5:x\n", ""], Some(100_000)),
            (["bob:1000:5\n", ""], Some(100_000)),
            (["bob:100000:65536\n", ""], Some(196_608)),
            (["", "bob:100000:65536\n"], Some(196_608)),
            (["bob:100000:65536\n", "eve:196608:65536\n"], Some(262_144)),
            (["bob:131072:4294836223\n", ""], None),
            (["bob:4294901760:65535\n", "eve:100000:65536\n"], Some(196_608)),
        ];
        for (texts, start) in cases {
            assert_eq!(free_start(texts), start, "{texts:?}");
        }
    }

    #[test]
    fn the_same_range_by_name_and_by_number_is_one() {
        assert_eq!(ranges("ann:100000:65536\n1000:100000:65536\n"), Ok(vec![range(100_000, 65_536)]));
    }

    #[test]
    fn lines_for_the_user_that_are_no_ranges_are_refused() {
        for text in ["ann", "ann:1", "ann:1:2:3", "ann:-1:5", "ann:+5:5", "ann:x:5", "ann:5:", "ann: 5:5"] {
            assert!(matches!(ranges(text), Err(Error::Syntax { .. })), "{text:?}");
        }
    }

    #[test]
    fn lines_of_others_give_nothing_and_break_nothing() {
        assert_eq!(ranges("bob\nbob:x:y\nann:100000:5\n"), Ok(vec![range(100_000, 5)]));
    }

    #[test]
    fn ids_that_must_not_be_handed_out_are_refused() {
        let cases = ["ann:0:5", "ann:999:5", "ann:4294967295:1", "ann:4294967290:10", "ann:100000:18446744073709551615"];
        for text in cases {
            assert!(matches!(ranges(text), Err(Error::Forbidden { .. })), "{text:?}");
        }
        assert_eq!(ranges("ann:4294967290:5"), Ok(vec![range(4_294_967_290, 5)]));
    }

    #[test]
    fn overlapping_ranges_of_one_user_are_refused() {
        assert!(matches!(ranges("ann:100000:10\nann:100009:10\n"), Err(Error::Overlap { .. })));
        assert_eq!(ranges("ann:100000:10\nann:100010:10\n").map(|r| r.len()), Ok(2));
    }

    #[test]
    fn ranges_that_are_also_somebody_elses_are_reported() {
        let text = "ann:100000:65536\nbob:165535:10\n";
        let selected = select("/etc/subuid", text, OWNER, &[("eve", 100_500), ("zoe", 5)]).expect("valid");
        assert_eq!(selected.ranges.len(), 1);
        assert_eq!(selected.overlaps.len(), 2);
        assert!(selected.overlaps[0].contains("bob") && selected.overlaps[1].contains("eve"), "{selected:?}");
    }
}
