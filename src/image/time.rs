//! `Time`: an instant as image documents carry it, an RFC 3339 text that survives reading and writing.
//!
//! Invariant: the text is what Go's `time.Time` would write (RFC 3339 with up to nine fractional digits, trailing zeros cut),
//! because the other tools re-serialise it so and equal images must have equal bytes.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The zero of Go's `time.Time`, which stands for "no time" where a time must be written.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// An instant with the offset it was written with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Time {
    text: String,
    instant: Timestamp,
}

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time")]
pub struct ParseTimeError(pub String);

impl Time {
    /// The instant `timestamp`, in UTC.
    pub fn from_timestamp(timestamp: Timestamp) -> Self {
        Self { text: timestamp.to_string(), instant: timestamp }
    }

    /// The instant, without its offset.
    pub fn timestamp(&self) -> Timestamp {
        self.instant
    }

    /// The RFC 3339 text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What Go writes for a time that was never set.
    pub(super) fn zero_text() -> &'static str {
        ZERO
    }
}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseTimeError(text.chars().take(100).collect());
        // jiff takes more of ISO 8601 than the other tools do (lower case, blanks, week dates, missing seconds).
        if !has_rfc3339_shape(text.as_bytes()) {
            return Err(refuse());
        }
        let instant = text.parse().or_else(|_| clamp(text).ok_or_else(refuse))?;
        Ok(Self { text: cut_fraction(text), instant })
    }
}

/// The last instant that a `Timestamp` holds, for a valid time in the day and a half of year 9999 that come after it.
fn clamp(text: &str) -> Option<Timestamp> {
    let date_time: jiff::civil::DateTime = text.get(..19)?.parse().ok()?;
    (date_time >= jiff::civil::date(9999, 12, 30).at(0, 0, 0, 0)).then_some(Timestamp::MAX)
}

/// `YYYY-MM-DDThh:mm:ss[.digits](Z|±hh:mm)`, by position; ranges are the parser's business.
fn has_rfc3339_shape(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(19) else { return false };
    let fixed = date_time.iter().zip(b"0000-00-00T00:00:00").all(|(have, want)| match want {
        b'0' => have.is_ascii_digit(),
        mark => have == mark,
    });
    let fraction = match rest.split_first() {
        Some((b'.', digits)) => 1 + digits.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = match &rest[fraction..] {
        b"Z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()),
        _ => false,
    };
    fixed && zone && fraction != 1 && fraction <= 10
}

/// The text without the zeros at the end of its fraction.
pub(super) fn cut_fraction(text: &str) -> String {
    let Some((head, tail)) = text.split_once('.') else { return text.to_owned() };
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, zone) = tail.split_at(digits);
    match fraction.trim_end_matches('0') {
        "" => format!("{head}{zone}"),
        kept => format!("{head}.{kept}{zone}"),
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_go_writes() {
        let cases = [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2026-11-21T11:38:03.909319912Z", "2026-11-21T11:38:03.909319912Z"),
            ("2026-11-21T11:38:03.500000000Z", "2026-11-21T11:38:03.5Z"),
            ("2026-11-21T11:38:03.000Z", "2026-11-21T11:38:03Z"),
            ("2026-11-21T11:38:03.120+02:00", "2026-11-21T11:38:03.12+02:00"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T00:00:00Z", "9999-12-31T00:00:00Z"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<Time>().map(|t| t.to_string()).as_deref(), Ok(written));
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-11-21T11:38:03",
            "2026-11-21 11:38:03Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T11:38:03.Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn timestamps_become_utc_text() {
        let half = Timestamp::new(0, 500_000_000).unwrap();
        assert_eq!(Time::from_timestamp(half).as_str(), "1970-01-01T00:00:00.5Z");
        assert_eq!(Time::from_timestamp(Timestamp::UNIX_EPOCH).as_str(), "1970-01-01T00:00:00Z");
    }
}
