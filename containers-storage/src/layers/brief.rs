//! What sums over layers need of the record of each, taken from its text: to parse thousands of them would be most of a list's time.
//!
//! Invariant: the quick way and the thorough one see the same; a record that the quick way could misread is left to the other.

use memchr::memmem::Finder;

use crate::table::scan;

/// What sums over layers need of each.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Brief<'a> {
    /// The layer below; empty for none.
    pub parent: &'a str,
    /// Length of the uncompressed tar in bytes; 0 when unknown.
    pub size: i64,
}

impl<'a> Brief<'a> {
    /// Takes it from a raw record.
    pub fn read(record: &'a str, keys: &BriefKeys) -> Self {
        keys.read(record).unwrap_or_else(|| Self::read_any(record))
    }

    fn read_any(record: &'a str) -> Self {
        let mut brief = Self { parent: "", size: 0 };
        let mut has_digest = false;
        for (name, value) in scan::members(record).map_while(Result::ok) {
            match name {
                "parent" if value != "null" => brief.parent = value.trim_matches('"'),
                "diff-digest" => has_digest = true,
                "diff-size" => brief.size = value.parse::<i64>().unwrap_or(0).max(0),
                _ => {}
            }
        }
        // A size is only valid beside a digest (containers/storage, ImageSize).
        if !has_digest {
            brief.size = 0;
        }
        brief
    }
}

/// Searches for the members of a `Brief`. A list of images reads thousands of records, and of each needs three members of a dozen.
pub(super) struct BriefKeys {
    parent: Finder<'static>,
    digest: Finder<'static>,
    size: Finder<'static>,
}

impl BriefKeys {
    pub fn new() -> Self {
        Self { parent: Finder::new("\"parent\""), digest: Finder::new("\"diff-digest\""), size: Finder::new("\"diff-size\"") }
    }

    /// Takes it from a record without an object or an escape in it, where a quoted key before a colon can only be a member of the record.
    /// `None` for any other.
    fn read<'a>(&self, record: &'a str) -> Option<Brief<'a>> {
        if memchr::memrchr2(b'{', b'\\', record.as_bytes()) != Some(0) {
            return None;
        }
        let parent = match value(record, &self.parent)? {
            Some(rest) if rest.starts_with('"') => rest.split('"').nth(1)?,
            _ => "",
        };
        let (digest, size) = (value(record, &self.digest)?, value(record, &self.size)?);
        let digits =
            size.filter(|_| digest.is_some()).map_or("", |rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
        Some(Brief { parent, size: digits.parse().unwrap_or(0) })
    }
}

/// What stands behind a key, or the inner `None` where the key is not there. The outer `None`: the text is there, and is no key.
fn value<'a>(record: &'a str, key: &Finder<'_>) -> Option<Option<&'a str>> {
    match key.find(record.as_bytes()) {
        Some(at) => {
            record[at + key.needle().len()..].trim_ascii_start().strip_prefix(':').map(|rest| Some(rest.trim_ascii_start()))
        }
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_look_at_a_record_sees_what_a_thorough_one_sees() {
        let digest = r#""diff-digest":"sha256:00""#;
        let records = [
            r#"{"id":"a","parent":"b","diff-size":7}"#.to_owned(),
            format!(r#"{{"id":"a","names":["parent"],{digest},"diff-size":7,"parent":"b"}}"#),
            format!(r#"{{"id":"a","parent":null,{digest},"diff-size":-7}}"#),
            format!("{{ \"id\" : \"a\",\n\t\"parent\" : \"b\" , {digest} ,\"diff-size\": 7 }}"),
            format!(r#"{{"id":"a","new":{{"parent":"c","diff-size":8}},"parent":"b",{digest},"diff-size":7}}"#),
            format!(r#"{{"id":"a","metadata":"\"parent\":","parent":"b",{digest},"diff-size":7,"flags":{{"x":1}}}}"#),
            format!(r#"{{"id":"a","parent":"",{digest},"diff-size":99999999999999999999}}"#),
            format!(r#"{{"parent":"b",{digest},"compressed-size":3,"new":[[1,"diff-size"]]}}"#),
        ];
        for record in &records {
            assert_eq!(Brief::read(record, &BriefKeys::new()), Brief::read_any(record), "{record}");
        }
        let quick = records.iter().filter(|record| BriefKeys::new().read(record).is_some()).count();
        assert_eq!(quick, 4, "compact and spaced records are read in the quick way");
    }
}
