//! The body of an answer: bounded, and given up when it trickles.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::{Error, Origin, error};

/// A server that sends less than this in the time of `Settings::stall` is held to be stuck (known attacks A110: one byte every ten seconds).
const LEAST_BYTES: u64 = 4 << 10;
/// A document comes whole in so many times that: it has some megabytes at most, and whoever sends it at the slowest rate that is no
/// standstill could hold us for a day.
const DOCUMENT: u32 = 10;

/// The bytes of a body as they come. An error of it is a [`Error`] inside of an `io::Error`.
pub struct BodyReader {
    inner: Box<dyn Read + Send>,
    origin: Origin,
    stall: Duration,
    since: Instant,
    in_window: u64,
    /// When all of it must be there, if it is a document.
    until: Option<Instant>,
}

impl std::fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyReader").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl BodyReader {
    pub(super) fn new(body: ureq::Body, origin: Origin, stall: Duration) -> Self {
        Self { inner: Box::new(body.into_reader()), origin, stall, since: Instant::now(), in_window: 0, until: None }
    }

    /// Reads all of it, at most `limit` bytes.
    pub(super) fn read_all(mut self, limit: usize, url: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.until = Some(Instant::now() + self.stall * DOCUMENT);
        let origin = self.origin.clone();
        let read = (&mut self).take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| unwrapped(source, origin))?;
        if bytes.len() > limit {
            return Err(Error::TooLarge { url: url.to_owned(), limit });
        }
        Ok(bytes)
    }
}

impl Read for BodyReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into).map_err(|error| wrapped(error, &self.origin))?;
        self.in_window += length as u64;
        let now = Instant::now();
        let timeout = || Err(io::Error::other(Error::Timeout { origin: self.origin.clone() }));
        if length > 0 && self.until.is_some_and(|until| now >= until) {
            return timeout();
        }
        if now.duration_since(self.since) >= self.stall {
            if self.in_window < LEAST_BYTES && length > 0 {
                return timeout();
            }
            (self.since, self.in_window) = (now, 0);
        }
        Ok(length)
    }
}

/// An error of the client library as one of ours.
fn wrapped(error: io::Error, origin: &Origin) -> io::Error {
    match error.downcast::<ureq::Error>() {
        Ok(inner) => io::Error::other(error::of(inner, origin)),
        Err(error) => io::Error::other(error::of(ureq::Error::Io(error), origin)),
    }
}

/// The error that `BodyReader` put into an `io::Error`.
pub fn unwrapped(error: io::Error, origin: Origin) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Broken { origin, source },
    }
}
