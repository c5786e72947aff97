//! The cipher of layers: AES-256 in counter mode, and an HMAC-SHA256 of what comes out, under the same key.
//!
//! Invariant: who reads a [`Decrypting`] to its end and gets no error has read what was encrypted. Must not: keep more than a read's
//! bytes; show a key.

use std::io::{self, Read};

use aes::Aes256;
use containers_storage::Digest;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use ring::hmac;
use sha2::{Digest as _, Sha256};

/// Key and first counter of a layer.
#[derive(Clone)]
pub(super) struct LayerKey {
    pub(super) key: [u8; 32],
    pub(super) nonce: [u8; 16],
}

impl LayerKey {
    pub(super) fn random() -> io::Result<Self> {
        let (mut key, mut nonce) = ([0; 32], [0; 16]);
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        Ok(Self { key, nonce })
    }

    fn cipher(&self) -> Ctr128BE<Aes256> {
        Ctr128BE::new(&self.key.into(), &self.nonce.into())
    }

    fn mac(&self) -> hmac::Context {
        hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.key))
    }
}

/// What is read from it is what was read from its input, encrypted.
pub(in crate::transport) struct Encrypting<R> {
    input: R,
    cipher: Ctr128BE<Aes256>,
    mac: hmac::Context,
    plain: Sha256,
}

impl<R: Read> Encrypting<R> {
    pub(super) fn new(input: R, key: &LayerKey) -> Self {
        Self { input, cipher: key.cipher(), mac: key.mac(), plain: Sha256::new() }
    }

    /// The HMAC, and the digest of what was read. To be asked at the end.
    pub(in crate::transport) fn finish(self) -> (Vec<u8>, Digest) {
        (self.mac.sign().as_ref().to_vec(), Digest::from_sha256(self.plain.finalize().into()))
    }
}

impl<R: Read> Read for Encrypting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(into)?;
        let bytes = &mut into[..length];
        self.plain.update(&*bytes);
        self.cipher.try_apply_keystream(bytes).map_err(io::Error::other)?;
        self.mac.update(bytes);
        Ok(length)
    }
}

/// What is read from it is what was encrypted.
pub(in crate::transport) struct Decrypting<R> {
    input: R,
    cipher: Ctr128BE<Aes256>,
    mac: Option<hmac::Context>,
    expected: Vec<u8>,
}

impl<R: Read> Decrypting<R> {
    pub(super) fn new(input: R, key: &LayerKey, expected: Vec<u8>) -> Self {
        Self { input, cipher: key.cipher(), mac: Some(key.mac()), expected }
    }

    /// Reads what is left, so that all of it is compared.
    pub(in crate::transport) fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let length = self.input.read(into)?;
        let Some(mac) = &mut self.mac else { return Ok(0) };
        if length > 0 {
            mac.update(&into[..length]);
            self.cipher.try_apply_keystream(&mut into[..length]).map_err(io::Error::other)?;
            return Ok(length);
        }
        let found = self.mac.take().map(hmac::Context::sign);
        if !found.is_some_and(|found| equal(found.as_ref(), &self.expected)) {
            let text = "could not properly decrypt the layer: its HMAC is another one than was announced";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(0)
    }
}

/// Whether both are the same. Neither is secret.
fn equal(one: &[u8], other: &[u8]) -> bool {
    !one.is_empty() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: LayerKey = LayerKey { key: [7; 32], nonce: [0xff; 16] };

    fn encrypted(plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut all = Vec::new();
        let mut stream = Encrypting::new(plain, &KEY);
        stream.read_to_end(&mut all).unwrap();
        let (mac, digest) = stream.finish();
        assert_eq!(digest, Digest::of(plain));
        (all, mac)
    }

    #[test]
    fn what_was_encrypted_comes_back_whatever_its_length() {
        for length in [0_usize, 1, 15, 16, 17, 70_000] {
            let plain: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let (sealed, mac) = encrypted(&plain);
            assert!(sealed.len() == length && (length < 15 || sealed != plain));
            let mut all = Vec::new();
            Decrypting::new(&sealed[..], &KEY, mac).read_to_end(&mut all).unwrap();
            assert_eq!(all, plain);
        }
    }

    #[test]
    fn a_changed_byte_or_another_hmac_is_an_error_at_the_end() {
        let (mut sealed, mac) = encrypted(b"some layer");
        let read = |sealed: &[u8], mac: &[u8]| Decrypting::new(sealed, &KEY, mac.to_vec()).finish();
        assert!(read(&sealed, &mac).is_ok());
        assert!(read(&sealed[1..], &mac).is_err() && read(&sealed, b"").is_err() && read(&sealed, &mac[1..]).is_err());
        sealed[3] ^= 1;
        assert!(read(&sealed, &mac).unwrap_err().to_string().contains("HMAC"));
    }
}
