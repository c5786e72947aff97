//! Splits JSON text without parsing it: an array into its elements, an object into its members.
//!
//! Invariant: every answer is a range of the input on character boundaries. Pure, never recursive, linear in the input. What is inside an element is
//! only balanced, not checked; whoever parses it later finds what is wrong there.

use std::ops::Range;

/// What is wrong with a text, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanError {
    /// Offset in bytes.
    pub offset: usize,
    /// What was found, or is missing.
    pub problem: &'static str,
}

/// The elements of the array `text`, each an object. Empty text and `null` are an empty array: the other tools write and accept both.
pub fn objects(text: &str) -> Result<Vec<Range<usize>>, ScanError> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    if at == bytes.len() || &bytes[at..] == b"null" {
        return Ok(Vec::new());
    }
    expect(bytes, at, b'[', "no JSON array")?;
    at = skip_space(bytes, at + 1);
    let mut found = Vec::new();
    if bytes.get(at) != Some(&b']') {
        loop {
            expect(bytes, at, b'{', "not an object where a record should be")?;
            let end = skip_value(bytes, at)?;
            found.push(at..end);
            at = skip_space(bytes, end);
            match bytes.get(at) {
                Some(b',') => at = skip_space(bytes, at + 1),
                Some(b']') => break,
                Some(_) => return Err(ScanError { offset: at, problem: "neither a comma nor the end of the array" }),
                None => return Err(ScanError { offset: at, problem: "the file ends within the array" }),
            }
        }
    }
    at = skip_space(bytes, at + 1);
    if at == bytes.len() { Ok(found) } else { Err(ScanError { offset: at, problem: "text after the array" }) }
}

/// The value of the first member called `name` of the object `record`, as JSON text. A key that is written with escapes is
/// not recognised; no tool writes the format's keys so.
pub fn member<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    members(record).find_map(|found| found.ok().filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// The members of the object `record`: key as written between its quotes, and value as JSON text. Ends at the first error.
pub fn members(record: &str) -> Members<'_> {
    let at = skip_space(record.as_bytes(), 0);
    Members { text: record, at, state: State::Start }
}

/// Iterator over the members of an object.
#[derive(Debug)]
pub struct Members<'a> {
    text: &'a str,
    at: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Within,
    End,
}

impl<'a> Members<'a> {
    fn step(&mut self) -> Result<Option<(&'a str, &'a str)>, ScanError> {
        let bytes = self.text.as_bytes();
        match self.state {
            State::End => return Ok(None),
            State::Start => {
                expect(bytes, self.at, b'{', "no JSON object")?;
                self.at = skip_space(bytes, self.at + 1);
                if bytes.get(self.at) == Some(&b'}') {
                    self.state = State::End;
                    return Ok(None);
                }
            }
            State::Within => {
                self.at = skip_space(bytes, self.at);
                match bytes.get(self.at) {
                    Some(b',') => self.at = skip_space(bytes, self.at + 1),
                    Some(b'}') => {
                        self.state = State::End;
                        return Ok(None);
                    }
                    _ => return Err(ScanError { offset: self.at, problem: "neither a comma nor the end of the object" }),
                }
            }
        }
        self.state = State::Within;
        expect(bytes, self.at, b'"', "no key where a member should be")?;
        let key_end = skip_string(bytes, self.at)?;
        let key = self.text.get(self.at + 1..key_end - 1).unwrap_or_default();
        let colon = skip_space(bytes, key_end);
        expect(bytes, colon, b':', "no colon after a key")?;
        let start = skip_space(bytes, colon + 1);
        self.at = skip_value(bytes, start)?;
        Ok(Some((key, self.text.get(start..self.at).unwrap_or_default())))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(&'a str, &'a str), ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.state = State::End;
        }
        step.transpose()
    }
}

fn expect(bytes: &[u8], at: usize, byte: u8, problem: &'static str) -> Result<(), ScanError> {
    if bytes.get(at) == Some(&byte) { Ok(()) } else { Err(ScanError { offset: at, problem }) }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The offset behind the value that starts at `at`.
fn skip_value(bytes: &[u8], at: usize) -> Result<usize, ScanError> {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => skip_nested(bytes, at),
        Some(_) => {
            let rest = &bytes[at..];
            let length = rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
            match length.unwrap_or(rest.len()) {
                0 => Err(ScanError { offset: at, problem: "no value" }),
                length => Ok(at + length),
            }
        }
        None => Err(ScanError { offset: at, problem: "the text ends where a value should be" }),
    }
}

fn skip_nested(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut depth = 0usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(ScanError { offset: bytes.len(), problem: "the text ends within an object or array" })
}

/// The offset behind the string that starts with the quote at `start`. Nearly all bytes of a table are in strings.
fn skip_string(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut at = start + 1;
    // Most keys are behind us, word by word, before a search by vectors has begun.
    for _ in 0..2 {
        let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { break };
        match first_of(u64::from_le_bytes(*word), *b"\"\\") {
            None => at += 8,
            Some(offset) if word[offset] == b'"' => return Ok(at + offset + 1),
            Some(offset) => at += offset + 2,
        }
    }
    while let Some(rest) = bytes.get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(offset) if rest.get(offset) == Some(&b'"') => return Ok(at + offset + 1),
            Some(offset) => at += offset + 2,
            None => break,
        }
    }
    Err(ScanError { offset: bytes.len(), problem: "the text ends within a string" })
}

/// Which byte of a little-endian word is the first to be one of `sought`. A borrow can only mark bytes above one that is rightly marked.
fn first_of(word: u64, sought: [u8; 2]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let zeros = |differences: u64| differences.wrapping_sub(ONES) & !differences & (ONES << 7);
    let hits = sought.into_iter().fold(0, |hits, byte| hits | zeros(word ^ (ONES * u64::from(byte))));
    (hits != 0).then(|| (hits.trailing_zeros() / 8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Vec<&str>, ScanError> {
        Ok(objects(text)?.into_iter().map(|range| &text[range]).collect())
    }

    #[test]
    fn splits_arrays_into_raw_records() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("null", &[]),
            (" \n[ ]\n", &[]),
            ("[{}]", &["{}"]),
            (r#"[{"a":1},{"b":"}"}]"#, &[r#"{"a":1}"#, r#"{"b":"}"}"#]),
            (r#"[ {"a":"\""} , {"b":"\\"} ]"#, &[r#"{"a":"\""}"#, r#"{"b":"\\"}"#]),
            (r#"[{"a":[{"b":[]},"]"]}]"#, &[r#"{"a":[{"b":[]},"]"]}"#]),
            ("[{\"long\":\"0123456789abcdef\u{e9}\\\"0123456789\"}]", &["{\"long\":\"0123456789abcdef\u{e9}\\\"0123456789\"}"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_where_an_array_is_damaged() {
        let cases = [
            ("{}", 0),
            ("[", 1),
            ("[1]", 1),
            ("[{},]", 4),
            ("[{} {}]", 4),
            ("[{}]x", 4),
            (r#"[{"a":"b"#, 8),
            (r#"[{"a":"b\"#, 9),
            ("[{\"a\":{}", 8),
            ("\0\0\0", 0),
        ];
        for (text, offset) in cases {
            assert_eq!(split(text).map_err(|e| e.offset), Err(offset), "{text:?}");
        }
    }

    #[test]
    fn finds_members_at_the_top_only() {
        let record = r#"{ "x" : {"id":"inner"}, "id" : "outer", "n":-1 ,"l":["id"], "e":"" }"#;
        let cases =
            [("id", Some(r#""outer""#)), ("n", Some("-1")), ("l", Some(r#"["id"]"#)), ("e", Some(r#""""#)), ("inner", None)];
        for (name, value) in cases {
            assert_eq!(member(record, name), value, "{name}");
        }
    }

    #[test]
    fn damaged_objects_end_the_members() {
        for text in ["", "{", "{1:2}", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":1 "b":2}"#, r#"{"a":1,"#, "[1]"] {
            assert!(members(text).any(|m| m.is_err()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_parser(values in proptest::collection::vec("[ -~é]{0,40}", 0..6)) {
            let records: Vec<_> = values.iter().map(|v| serde_json::json!({ "id": v, "more": [v, {"x": v}] })).collect();
            let text = serde_json::to_string(&records).unwrap();
            let parsed: Vec<serde_json::Value> = split(&text).unwrap().iter().map(|r| serde_json::from_str(r).unwrap()).collect();
            proptest::prop_assert_eq!(parsed, records);
        }

        #[test]
        fn never_panics(text in "[\\[\\]{}\",:\\\\ an0-9é]{0,60}") {
            let _ = objects(&text).map(|ranges| ranges.into_iter().map(|r| members(&text[r]).count()).sum::<usize>());
        }
    }
}
