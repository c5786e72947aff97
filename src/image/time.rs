//! `Time`: an instant as image documents carry it, an RFC 3339 text that survives reading and writing.
//!
//! Invariant: the text is what Go's `time.Time` would write (RFC 3339 with up to nine fractional digits, trailing zeros cut),
//! because the other tools re-serialise it so and equal images must have equal bytes.

use jiff::Timestamp;

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
}
