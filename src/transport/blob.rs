//! A blob as a stream: its bytes, and the digest and size they must have.
//!
//! Invariant: whoever reads a `BlobStream` to its end without an error has read the bytes that its descriptor names: a wrong digest or
//! size is an error of the last read. A stream without a descriptor (made on the way by a compressor) says afterwards what it was.

use std::fmt;
use std::io::{self, Read};

use containers_storage::Digest;
use containers_storage::archive::Compression;
use sha2::{Digest as _, Sha256};

use super::stop::Stop;

/// How much is moved at a time.
const BUFFER: usize = 256 << 10;

/// Digest and length of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobId {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The bytes of a blob on their way.
pub struct BlobStream<'a> {
    input: Box<dyn Read + Send + 'a>,
    /// Bytes that were looked at and not read yet.
    peeked: Vec<u8>,
    expected: Option<BlobId>,
    /// The digest, where the length is not known.
    digest: Option<Digest>,
    /// The digest need not be computed, only the length.
    digest_is_verified: bool,
    sha: Sha256,
    size: u64,
    found: Option<BlobId>,
}

impl fmt::Debug for BlobStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream").field("expected", &self.expected).field("size", &self.size).finish_non_exhaustive()
    }
}

impl<'a> BlobStream<'a> {
    /// Bytes that must be `expected`.
    pub fn new(input: Box<dyn Read + Send + 'a>, expected: BlobId) -> Self {
        Self {
            input,
            peeked: Vec::new(),
            expected: Some(expected),
            digest: None,
            digest_is_verified: false,
            sha: Sha256::new(),
            size: 0,
            found: None,
        }
    }

    /// Bytes that must be `expected`, whose digest is compared by whoever makes them: a wrong one is an error of `input`.
    pub(super) fn verified_by_writer(input: Box<dyn Read + Send + 'a>, expected: BlobId) -> Self {
        Self { digest_is_verified: true, ..Self::new(input, expected) }
    }

    /// Bytes that must have this digest, of any length.
    pub fn diff(input: Box<dyn Read + Send + 'a>, digest: Digest) -> Self {
        Self { digest: Some(digest), ..Self::unknown(input) }
    }

    /// Bytes of which nothing is known before.
    pub fn unknown(input: Box<dyn Read + Send + 'a>) -> Self {
        Self {
            input,
            peeked: Vec::new(),
            expected: None,
            digest: None,
            digest_is_verified: false,
            sha: Sha256::new(),
            size: 0,
            found: None,
        }
    }

    /// The same bytes; `tell` is called with how many were read so far.
    pub(super) fn watched<'b>(self, tell: impl FnMut(u64) + Send + 'b) -> BlobStream<'b>
    where
        'a: 'b,
    {
        let mut stream: BlobStream<'b> = self;
        let input = std::mem::replace(&mut stream.input, Box::new(io::empty()));
        stream.input = Box::new(Watched { input, tell, read: 0 });
        stream
    }

    /// The same bytes, until `stop` is said.
    pub(super) fn until(self, stop: &'a Stop) -> Self {
        Self { input: stop.watch(self.input), ..self }
    }

    /// What it must be, if that is known.
    pub fn expected(&self) -> Option<&BlobId> {
        self.expected.as_ref()
    }

    /// What it was; `None` before its end was read.
    pub fn found(&self) -> Option<&BlobId> {
        self.found.as_ref()
    }

    /// The bytes, unverified, and what they must be: for a reader that computes the digest itself.
    pub fn into_unverified(self) -> (Box<dyn Read + Send + 'a>, Option<BlobId>) {
        let input: Box<dyn Read + Send + 'a> =
            if self.peeked.is_empty() { self.input } else { Box::new(io::Cursor::new(self.peeked).chain(self.input)) };
        (input, self.expected)
    }

    /// Writes all of it to `to`, and says what it was.
    pub(super) fn write_to(&mut self, to: &mut dyn io::Write) -> io::Result<BlobId> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = self.read(&mut buffer)?;
            if length == 0 {
                return self.found.clone().ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            }
            to.write_all(&buffer[..length])?;
        }
    }

    /// How the bytes are compressed, by the first of them. To be asked before any is read.
    pub fn compression(&mut self) -> io::Result<Compression> {
        let missing = Compression::MAGIC_LENGTH.saturating_sub(self.peeked.len());
        (&mut self.input).take(missing as u64).read_to_end(&mut self.peeked)?;
        Ok(Compression::detect(&self.peeked))
    }

    fn at_end(&mut self) -> io::Result<usize> {
        if self.found.is_none() {
            let sum = std::mem::take(&mut self.sha).finalize();
            let digest = match &self.expected {
                Some(expected) if self.digest_is_verified => expected.digest.clone(),
                _ => Digest::from_sha256(sum.into()),
            };
            let found = BlobId { digest, size: self.size };
            if let Some(expected) = &self.expected {
                verify(expected, &found)?;
            }
            if let Some(digest) = self.digest.as_ref().filter(|digest| **digest != found.digest) {
                let text = format!("the uncompressed layer has the digest {}, the config says {digest}", found.digest);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            self.found = Some(found);
        }
        Ok(0)
    }
}

/// An error if `found` is not what was `expected`.
pub(super) fn verify(expected: &BlobId, found: &BlobId) -> io::Result<()> {
    let wrong = |text| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    if found.size != expected.size {
        return wrong(format!("blob {} has {} bytes instead of {}", expected.digest, found.size, expected.size));
    }
    if found.digest != expected.digest {
        return wrong(format!("blob {} has the digest {}", expected.digest, found.digest));
    }
    Ok(())
}

impl Read for BlobStream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let length = if self.peeked.is_empty() {
            self.input.read(into)?
        } else {
            let length = into.len().min(self.peeked.len());
            into[..length].copy_from_slice(&self.peeked[..length]);
            self.peeked.drain(..length);
            length
        };
        if length == 0 {
            return self.at_end();
        }
        if !self.digest_is_verified {
            self.sha.update(&into[..length]);
        }
        self.size += length as u64;
        if let Some(expected) = self.expected.as_ref().filter(|expected| self.size > expected.size) {
            let text = format!("blob {} has more than {} bytes", expected.digest, expected.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(length)
    }
}

/// Tells how much was read.
struct Watched<'a, F> {
    input: Box<dyn Read + Send + 'a>,
    tell: F,
    read: u64,
}

impl<F: FnMut(u64)> Read for Watched<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(into)?;
        self.read = self.read.saturating_add(length as u64);
        (self.tell)(self.read);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8], digest: Digest, size: u64) -> io::Result<Vec<u8>> {
        let mut stream = BlobStream::new(Box::new(bytes), BlobId { digest, size });
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        assert_eq!(stream.found(), stream.expected());
        Ok(all)
    }

    #[test]
    fn only_the_announced_bytes_are_read_to_the_end() {
        assert_eq!(read(b"abc", Digest::of(b"abc"), 3).unwrap(), b"abc");
        let cases = [
            (Digest::of(b"abd"), 3, "has the digest"),
            (Digest::of(b"abc"), 2, "more than 2"),
            (Digest::of(b"abc"), 4, "3 bytes"),
        ];
        for (digest, size, words) in cases {
            let error = read(b"abc", digest, size).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn looking_at_the_first_bytes_takes_none_away() {
        let bytes = b"\x1f\x8b\x08abcdef";
        let mut stream = BlobStream::new(Box::new(&bytes[..]), BlobId { digest: Digest::of(bytes), size: 9 });
        assert_eq!(stream.compression().unwrap(), Compression::Gzip);
        assert_eq!(stream.compression().unwrap(), Compression::Gzip);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);
        let mut stream = BlobStream::unknown(Box::new(&b"ab"[..]));
        assert_eq!(stream.compression().unwrap(), Compression::None);
        all.clear();
        stream.into_unverified().0.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"ab");
    }

    #[test]
    fn an_unknown_blob_says_what_it_was() {
        let mut stream = BlobStream::unknown(Box::new(&b"abc"[..]));
        assert_eq!(stream.found(), None);
        io::copy(&mut stream, &mut io::sink()).unwrap();
        assert_eq!(stream.found(), Some(&BlobId { digest: Digest::of(b"abc"), size: 3 }));
    }
}
