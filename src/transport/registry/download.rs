//! The bytes of a blob, taken up again where they broke off.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use containers_storage::Digest;

use super::error::{self, Error};
use super::session::{Body, Call, Session, Target};
use crate::http::{self, BodyReader, Method};

/// A connection on which less came is as good as one on which nothing came: a server could end each after a byte (known attacks A110).
const LEAST_BYTES: u64 = 4 << 10;

/// How much is thrown away at a time where a server knows no ranges.
const PIECE: u64 = 64 << 10;

/// A blob on its way. Not verified: that is `BlobStream`'s.
pub(super) struct Download {
    session: Arc<Session>,
    digest: Digest,
    size: u64,
    at: u64,
    /// Whether the server may be asked for a part.
    ranges: bool,
    reader: Option<BodyReader>,
    /// Where the connection that is read now began.
    begun_at: u64,
    /// Repetitions since something came.
    attempts: u32,
}

impl Download {
    /// Asks for the blob. An answer that has another length is an error at once.
    pub(super) fn start(session: Arc<Session>, digest: &Digest, size: u64) -> Result<Self, Error> {
        let digest = digest.clone();
        let mut download = Self { session, digest, size, at: 0, ranges: true, reader: None, begun_at: 0, attempts: 0 };
        loop {
            match download.ask() {
                Ok(reader) => {
                    download.reader = Some(reader);
                    return Ok(download);
                }
                Err(error) => {
                    let pause = download.pause_after(&error);
                    if !pause.is_some_and(|pause| download.waited(pause, &error)) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The pause before the next repetition after an answer that is an error; none if there is no other.
    fn pause_after(&self, error: &Error) -> Option<Duration> {
        let next = self.attempts.saturating_add(1);
        self.session.retry().pause(next, error.asked_pause()).filter(|_| error.is_transient())
    }

    /// Waits before a repetition, and counts it; `false` if there is nothing to wait for any more.
    fn waited(&mut self, pause: Duration, error: &dyn std::error::Error) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        log::debug!("blob {}, after {} of {} bytes: {error}: trying again", self.digest, self.at, self.size);
        self.session.pause(pause)
    }

    /// The bytes from `at` on.
    fn ask(&mut self) -> Result<BodyReader, Error> {
        let path = format!("/v2/{}/blobs/{}", self.session.path(), self.digest);
        let range = (self.at > 0 && self.ranges).then(|| ("Range", format!("bytes={}-", self.at)));
        let response = self.session.send_once(Call {
            method: Method::Get,
            target: Target::Path(path),
            headers: range.into_iter().collect(),
            scopes: vec![Session::pull_scope(self.session.path())],
            body: Body::None,
        })?;
        let wrong = |problem: String| Error::Answer { host: self.session.host().to_owned(), problem };
        let length = response.header("Content-Length").and_then(|length| length.parse::<u64>().ok());
        let (mut skipped, expected) = match response.status() {
            206 if self.at > 0 => {
                let range = response.header("Content-Range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {}-", self.at)) {
                    return Err(wrong(format!("asked for the blob from byte {} on, it sent {range:?}", self.at)));
                }
                (0, self.size.saturating_sub(self.at))
            }
            // The server knows no ranges: everything comes again.
            200 => (self.at, self.size),
            // It knows them and gives none of this blob (RFC 9110, section 15.5.17).
            416 if self.at > 0 && self.ranges => {
                self.ranges = false;
                return self.ask();
            }
            _ => return Err(error::of(response, self.session.host())),
        };
        if let Some(length) = length.filter(|length| *length != expected) {
            return Err(wrong(format!("blob {} has {length} bytes instead of {expected}", self.digest)));
        }
        let origin = response.url().origin().clone();
        let mut reader = response.into_reader();
        let mut piece = vec![0; PIECE.min(skipped) as usize];
        while skipped > 0 {
            let most = piece.len().min(usize::try_from(skipped).unwrap_or(usize::MAX));
            let read = reader.read(&mut piece[..most]).map_err(|error| http::unwrapped(error, origin.clone()))?;
            if read == 0 {
                let source = io::ErrorKind::UnexpectedEof.into();
                return Err(http::Error::Broken { origin, source }.into());
            }
            skipped -= read as u64;
        }
        Ok(reader)
    }

    /// Pauses and asks again until there is an answer, or gives the last error back.
    fn resume(&mut self, error: io::Error) -> io::Result<()> {
        let transient =
            error.get_ref().and_then(|inner| inner.downcast_ref::<http::Error>()).is_none_or(http::Error::is_transient);
        let pause = self.session.retry().pause(self.attempts.saturating_add(1), None).filter(|_| transient);
        // The first repetition after some bytes came is made at once.
        let pause = pause.map(|pause| if self.attempts == 0 { Duration::ZERO } else { pause });
        if !pause.is_some_and(|pause| self.waited(pause, &error)) {
            return Err(error);
        }
        loop {
            match self.ask() {
                Ok(reader) => {
                    self.reader = Some(reader);
                    return Ok(());
                }
                Err(again) => {
                    let pause = self.pause_after(&again);
                    if !pause.is_some_and(|pause| self.waited(pause, &again)) {
                        return Err(io::Error::other(again));
                    }
                }
            }
        }
    }
}

impl Read for Download {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let broken = match &mut self.reader {
                None => io::Error::from(io::ErrorKind::UnexpectedEof),
                Some(reader) => match reader.read(into) {
                    Ok(0) if self.at < self.size && !into.is_empty() => io::Error::from(io::ErrorKind::UnexpectedEof),
                    Ok(length) => {
                        self.at = self.at.saturating_add(length as u64);
                        if self.at.saturating_sub(self.begun_at) >= LEAST_BYTES {
                            self.attempts = 0;
                        }
                        return Ok(length);
                    }
                    Err(error) => error,
                },
            };
            self.reader = None;
            self.begun_at = self.at;
            self.resume(broken)?;
        }
    }
}
