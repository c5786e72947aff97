//! `--checksum`: an algorithm and what it must give, in the form of digests of images. Pure but for the reader it is given.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// What the bytes of a source must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// A text that is no checksum. The words before the colon are Buildah's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Of a file.
    #[error("invalid checksum flag: {0:?} is not sha256:, sha384: or sha512: with the digits that this has")]
    Digest(String),
    /// Of a repository.
    #[error("invalid checksum flag: {0:?} is not a valid Git commit SHA")]
    Commit(String),
}

impl std::str::FromStr for Checksum {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::Digest(text.chars().take(200).collect());
        let (algorithm, hex) = text.split_once(':').ok_or_else(invalid)?;
        let (algorithm, length) = match algorithm {
            "sha256" => (Algorithm::Sha256, 64),
            "sha384" => (Algorithm::Sha384, 96),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(invalid()),
        };
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != length || !hex.bytes().all(digit) {
            return Err(invalid());
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        };
        write!(f, "{name}:{}", self.hex)
    }
}

/// How the commit of a repository must begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit(String);

impl Commit {
    /// Reads hexadecimal digits, 4 (git's own shortest) to 64 of them.
    pub fn read(text: &str) -> Result<Self, Invalid> {
        let is_commit = (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_commit { Ok(Self(text.to_ascii_lowercase())) } else { Err(Invalid::Commit(text.chars().take(200).collect())) }
    }

    /// Hexadecimal digits in lower case, 4 to 64 of them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Checksum {
    /// What this algorithm gives for the bytes of `reader`.
    pub(super) fn found(&self, reader: impl Read) -> io::Result<Self> {
        let hex = match self.algorithm {
            Algorithm::Sha256 => sum(Sha256::new(), reader),
            Algorithm::Sha384 => sum(Sha384::new(), reader),
            Algorithm::Sha512 => sum(Sha512::new(), reader),
        };
        Ok(Self { algorithm: self.algorithm, hex: hex? })
    }
}

fn sum<D: sha2::Digest>(mut hash: D, mut reader: impl Read) -> io::Result<String> {
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => hash.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hash.finalize().as_slice().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_may_be_shortened() {
        for text in ["0123", "0123abc", "0123ABC", &"a".repeat(40), &"f".repeat(64)] {
            assert_eq!(Commit::read(text).unwrap().as_str(), text.to_lowercase());
        }
        for text in ["", "012", &"a".repeat(65), "012g", "sha256:0123abc", "--upload"] {
            assert!(Commit::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn checksums_are_whole_or_refused() {
        let sha256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sha512 = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        for text in [sha256, sha512] {
            let checksum: Checksum = text.parse().unwrap();
            assert_eq!(checksum.to_string(), text);
            assert_eq!(checksum.found(&b"abc"[..]).unwrap(), checksum);
            assert_ne!(checksum.found(&b"abd"[..]).unwrap(), checksum);
        }
        for text in
            ["", "sha256:", "ba78", &sha256[..70], &sha256.to_uppercase(), &sha256.replace("sha256", "md5"), "sha512:ba"]
        {
            assert!(text.parse::<Checksum>().is_err(), "{text}");
        }
    }
}
