//! The bytes of a blob, taken up again where they broke off.

use std::io::{self, Read};
use std::sync::Arc;

use containers_storage::Digest;

use super::error::{self, Error};
use super::session::{Body, Call, Session, Target};
use crate::http::{self, BodyReader, Method};

/// How much is thrown away at a time where a server knows no ranges.
const PIECE: u64 = 64 << 10;

/// A blob on its way. Not verified: that is `BlobStream`'s.
pub(super) struct Download {
    session: Arc<Session>,
    digest: Digest,
    size: u64,
    at: u64,
    reader: Option<BodyReader>,
    /// Attempts since the last byte.
    attempts: u32,
}

impl Download {
    /// Asks for the blob. An answer that has another length is an error at once.
    pub(super) fn start(session: Arc<Session>, digest: &Digest, size: u64) -> Result<Self, Error> {
        let mut download = Self { session, digest: digest.clone(), size, at: 0, reader: None, attempts: 0 };
        download.reader = Some(download.ask()?);
        Ok(download)
    }

    /// The bytes from `at` on.
    fn ask(&self) -> Result<BodyReader, Error> {
        let path = format!("/v2/{}/blobs/{}", self.session.path(), self.digest);
        let range = (self.at > 0).then(|| ("Range", format!("bytes={}-", self.at)));
        let response = self.session.send(Call {
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

    /// Pauses and asks again, or gives `error` back.
    fn resume(&mut self, error: io::Error) -> io::Result<()> {
        let transient =
            error.get_ref().and_then(|inner| inner.downcast_ref::<http::Error>()).is_none_or(http::Error::is_transient);
        // The first attempt after some bytes came is made at once.
        let pause = match self.attempts {
            0 => Some(std::time::Duration::ZERO),
            attempts => self.session.retry().pause(attempts, None),
        };
        let (true, Some(pause)) = (transient && self.session.retry().count > 0, pause) else { return Err(error) };
        self.attempts += 1;
        log::debug!("blob {} broke off after {} of {} bytes: {error}", self.digest, self.at, self.size);
        if !self.session.pause(pause) {
            return Err(error);
        }
        match self.ask() {
            Ok(reader) => self.reader = Some(reader),
            Err(again) if again.is_transient() => log::debug!("blob {}: {again}", self.digest),
            Err(again) => return Err(io::Error::other(again)),
        }
        Ok(())
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
                        if length > 0 {
                            self.attempts = 0;
                        }
                        self.at = self.at.saturating_add(length as u64);
                        return Ok(length);
                    }
                    Err(error) => error,
                },
            };
            self.reader = None;
            self.resume(broken)?;
        }
    }
}
