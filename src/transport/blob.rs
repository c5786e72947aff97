//! A blob as a stream: its bytes, and the digest and size they must have.
//!
//! Invariant: whoever reads a `BlobStream` to its end without an error has read the bytes that its descriptor names: a wrong digest or
//! size is an error of the last read. A stream without a descriptor (made on the way by a compressor) says afterwards what it was.

use std::fmt;
use std::io::{self, Read};

use containers_storage::Digest;
use sha2::{Digest as _, Sha256};

/// Digest and length of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobId {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The bytes of a blob on their way.
pub struct BlobStream {
    input: Box<dyn Read + Send>,
    expected: Option<BlobId>,
    sha: Sha256,
    size: u64,
    found: Option<BlobId>,
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream").field("expected", &self.expected).field("size", &self.size).finish_non_exhaustive()
    }
}

impl BlobStream {
    /// Bytes that must be `expected`.
    pub fn new(input: Box<dyn Read + Send>, expected: BlobId) -> Self {
        Self { input, expected: Some(expected), sha: Sha256::new(), size: 0, found: None }
    }

    /// Bytes of which nothing is known before.
    pub fn unknown(input: Box<dyn Read + Send>) -> Self {
        Self { input, expected: None, sha: Sha256::new(), size: 0, found: None }
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
    pub fn into_unverified(self) -> (Box<dyn Read + Send>, Option<BlobId>) {
        (self.input, self.expected)
    }

    fn at_end(&mut self) -> io::Result<usize> {
        if self.found.is_none() {
            let sum = std::mem::take(&mut self.sha).finalize();
            let found = BlobId { digest: Digest::from_sha256(sum.into()), size: self.size };
            if let Some(expected) = &self.expected {
                verify(expected, &found)?;
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

impl Read for BlobStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let length = self.input.read(into)?;
        if length == 0 {
            return self.at_end();
        }
        self.sha.update(&into[..length]);
        self.size += length as u64;
        if let Some(expected) = self.expected.as_ref().filter(|expected| self.size > expected.size) {
            let text = format!("blob {} has more than {} bytes", expected.digest, expected.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
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
    fn an_unknown_blob_says_what_it_was() {
        let mut stream = BlobStream::unknown(Box::new(&b"abc"[..]));
        assert_eq!(stream.found(), None);
        io::copy(&mut stream, &mut io::sink()).unwrap();
        assert_eq!(stream.found(), Some(&BlobId { digest: Digest::of(b"abc"), size: 3 }));
    }
}
