//! PAX extended headers (POSIX pax, "pax Extended Header"), by length: a value may hold newlines.
//!
//! Invariant: each keyword counts once. A malformed record refuses the archive; it is never skipped (RUSTSEC-2025-0110).

use std::collections::HashSet;

use super::super::{Refusal, Time};
use super::sparse::PaxSparse;

/// What an extended header says about the next member. An empty attribute is absent, as Go has it.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

impl Pax {
    /// Parses the content of an `x` member.
    pub(super) fn parse(data: &[u8]) -> Result<Self, Refusal> {
        let mut pax = Self::default();
        let mut seen = HashSet::new();
        let mut rest = data;
        while let Some((key, value, after)) = record(rest)? {
            rest = after;
            // Sparse format 0.0 repeats these two; readers take all else from the last record, or from the first.
            let repeats = key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes";
            if !repeats && !seen.insert(key) {
                return Err(Refusal::Ambiguous("a PAX keyword given twice"));
            }
            if !value.is_empty() {
                pax.apply(key, value)?;
            } else if matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime") {
                // Go keeps the header's value, GNU tar takes an empty one.
                return Err(Refusal::Ambiguous("a PAX keyword without a value"));
            }
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match key {
            b"path" => self.path = Some(plain(value)?),
            b"linkpath" => self.link_path = Some(plain(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(signed_decimal(value)?),
            b"gid" => self.gid = Some(signed_decimal(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if name.is_empty() {
                        return Err(Refusal::Header("a PAX attribute without a name"));
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(keyword) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.apply(keyword, value)?;
                }
            }
        }
        Ok(())
    }
}

/// Checks a global header. Go ignores all of it and GNU tar applies it, so that only what changes no structure is let pass
/// (`comment` of `git archive`, times); it is then ignored.
pub(super) fn check_global(data: &[u8]) -> Result<(), Refusal> {
    let mut rest = data;
    while let Some((key, _, after)) = record(rest)? {
        rest = after;
        if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
            return Err(Refusal::Ambiguous("a global PAX header that changes names or sizes"));
        }
    }
    Ok(())
}

/// Key, value and what follows.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// The first record of `data`, `LENGTH KEY=VALUE\n` with LENGTH over all of it; `None` at the end.
fn record(data: &[u8]) -> Result<Option<Record<'_>>, Refusal> {
    const BAD: Refusal = Refusal::Header("a malformed PAX record");
    if data.is_empty() {
        return Ok(None);
    }
    let blank = data.iter().take(20).position(|&byte| byte == b' ').ok_or(BAD)?;
    let length = usize::try_from(decimal(&data[..blank])?).map_err(|_| BAD)?;
    if length <= blank + 1 || length > data.len() {
        return Err(BAD);
    }
    let (record, after) = data.split_at(length);
    let body = record[blank + 1..].strip_suffix(b"\n").ok_or(BAD)?;
    let equals = body.iter().position(|&byte| byte == b'=').ok_or(BAD)?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err(BAD);
    }
    Ok(Some((key, value, after)))
}

fn plain(value: &[u8]) -> Result<Vec<u8>, Refusal> {
    if value.contains(&0) {
        return Err(Refusal::Name("holds a NUL byte"));
    }
    Ok(value.to_vec())
}

/// A decimal number of digits only; blanks, signs and overflow are refused.
pub(super) fn decimal(text: &[u8]) -> Result<u64, Refusal> {
    if text.is_empty() {
        return Err(Refusal::Header("an empty number"));
    }
    let mut value: u64 = 0;
    for &digit in text {
        if !digit.is_ascii_digit() {
            return Err(Refusal::Header("a number with something that is no digit"));
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .ok_or(Refusal::Header("a number out of range"))?;
    }
    // The kernel's offsets are signed.
    if i64::try_from(value).is_err() { Err(Refusal::Header("a number out of range")) } else { Ok(value) }
}

fn signed_decimal(text: &[u8]) -> Result<i64, Refusal> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = i64::try_from(decimal(digits)?).map_err(|_| Refusal::Header("a number out of range"))?;
    Ok(if negative { -value } else { value })
}

/// `[-]SECONDS[.FRACTION]`; digits of the fraction after the ninth are cut off.
fn time(text: &[u8]) -> Result<Time, Refusal> {
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &text[text.len()..]),
    };
    let seconds = signed_decimal(whole)?;
    let mut nanoseconds: u32 = 0;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Header("a time with something that is no digit"));
    }
    for place in 0..9 {
        nanoseconds = nanoseconds * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'));
    }
    if whole.starts_with(b"-") && nanoseconds > 0 {
        // -1.25 is a quarter of a second before -1: seconds are rounded down.
        return Ok(Time { seconds: seconds.saturating_sub(1), nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Ok(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_newlines_and_equals_signs() {
        let pax = Pax::parse(b"16 path=a\nb=c/d\n29 SCHILY.xattr.user.k=a\n\n\0=\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb=c/d"[..]));
        assert_eq!(pax.xattrs, [(b"user.k".to_vec(), b"a\n\n\0=".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        let bad: [&[u8]; 15] = [
            b"x",
            b"12 path=a\n",
            b"9 path=ab\n",
            b"10 path=ab",
            b"11 path=abcX",
            b"+10 path=a\n",
            b" 10 path=a\n",
            b"8 path a\n",
            b"5 =a\n",
            b"3 \n",
            b"0 path=a\n",
            b"99999999999999999999 path=a\n",
            b"9 size=0x",
            b"10 size=-1\n",
            b"10 path=a\n\0\0",
        ];
        for data in bad {
            assert!(Pax::parse(data).is_err(), "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn a_keyword_counts_once() {
        assert!(Pax::parse(b"9 size=1\n9 size=1\n").is_err());
        assert!(Pax::parse(b"10 path=a\n10 path=b\n").is_err());
    }

    #[test]
    fn an_empty_attribute_is_absent_and_an_empty_name_refused() {
        assert!(Pax::parse(b"22 SCHILY.xattr.user=\n").unwrap().xattrs.is_empty());
        assert!(Pax::parse(b"8 path=\n").is_err());
    }

    #[test]
    fn times() {
        let table: [(&str, Option<(i64, u32)>); 9] = [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.", Some((1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("9223372036854775808", None),
            ("1.x", None),
            (".5", None),
        ];
        for (text, expected) in table {
            assert_eq!(time(text.as_bytes()).ok().map(|time| (time.seconds, time.nanoseconds)), expected, "{text}");
        }
    }

    #[test]
    fn global_headers_must_not_change_the_structure() {
        assert!(check_global(b"12 comment=\n").is_ok());
        assert!(check_global(b"9 size=1\n").is_err());
        assert!(check_global(b"21 GNU.sparse.size=1\n").is_err());
    }
}
