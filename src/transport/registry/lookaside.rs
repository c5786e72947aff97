//! Simple signatures of images at registries: files beside the registry, below an address that registries.d has.
//!
//! ```text
//! <base>/<path of the repository>@sha256=<hex>/signature-1, signature-2, …        (containers/image, signature-protocols)
//! ```
//!
//! Invariant: what is read has limits, and no credentials of the registry are shown to the server of the signatures. Only files are
//! written.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use containers_storage::Digest;

use super::error::{self, Error};
use super::session::Session;
use crate::http::{Method, Payload, Request, Url};
use crate::image::signature::{MAX_BYTES, MAX_COUNT};
use crate::transport::files::{DirFiles, Files as _};
use crate::transport::staging::Staging;

/// A place for the signatures of one registry's images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lookaside {
    /// A directory.
    Files(PathBuf),
    /// A server.
    Web(Url),
}

impl Lookaside {
    /// Reads an address of registries.d.
    pub(super) fn parse(address: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Lookaside { address: address.to_owned(), problem: reason.to_owned() };
        match address.split_once("://") {
            Some(("file", path)) if path.starts_with('/') && !path.contains(['%', '?', '#']) => Ok(Self::Files(path.into())),
            Some(("file", _)) => Err(wrong("want file:// and an absolute path, as it is")),
            Some(("http" | "https", rest)) if !rest.contains(['?', '#']) => {
                Url::parse(address.trim_end_matches('/')).map(Self::Web).map_err(|error| wrong(error.reason))
            }
            // An old example of the other tools' has a bare path.
            None if address.starts_with('/') => Ok(Self::Files(address.into())),
            _ => Err(wrong("want file://, http:// or https://")),
        }
    }

    /// All signatures of a manifest of the repository at `path`.
    pub(super) fn read(
        &self,
        session: &Session,
        path: &str,
        manifest: &Digest,
    ) -> Result<Vec<Vec<u8>>, crate::transport::Error> {
        let directory = directory(path, manifest);
        match self {
            Self::Files(base) => read_files(&base.join(directory)),
            Self::Web(base) => read_web(session, base, &directory).map_err(|source| crate::transport::Error::Registry {
                doing: format!("reading signatures of {manifest} from {}", base.shown()),
                source: Box::new(source),
            }),
        }
    }

    /// The directory in which signatures are written.
    pub(super) fn writable(&self) -> Result<&Path, Error> {
        match self {
            Self::Files(base) => Ok(base),
            Self::Web(base) => Err(Error::Lookaside {
                address: base.shown(),
                problem: "signatures are written to files only: registries.d must have a lookaside-staging that is one"
                    .to_owned(),
            }),
        }
    }
}

/// The directory of a manifest's signatures. Both parts were checked when they were read.
fn directory(path: &str, manifest: &Digest) -> String {
    format!("{path}@{}={}", manifest.algorithm(), manifest.hex())
}

fn name(number: usize) -> String {
    format!("signature-{number}")
}

fn read_files(directory: &Path) -> Result<Vec<Vec<u8>>, crate::transport::Error> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let files = DirFiles::open(directory)?;
    let names = (1..=MAX_COUNT).map(name).take_while(|name| files.contains(name));
    names.map(|name| files.read(&name, MAX_BYTES)).collect()
}

fn read_web(session: &Session, base: &Url, directory: &str) -> Result<Vec<Vec<u8>>, Error> {
    let trust = session.trust_for(base.origin())?;
    let mut found = Vec::new();
    for number in 1..=MAX_COUNT {
        let target = format!("{}/{directory}/{}", base.path().trim_end_matches('/'), name(number));
        let url = Url::parse(&format!("{}{target}", base.origin())).map_err(crate::http::Error::from)?;
        let bytes = session.repeated(|| -> Result<Option<Vec<u8>>, Error> {
            let (url, headers, payload) = (url.clone(), Vec::new(), Payload::None);
            let request = Request { method: Method::Get, url, headers, authorization: None, trust: &trust, payload };
            let response = session.client().send(request)?;
            match response.status() {
                200 => Ok(Some(response.read_all(MAX_BYTES)?)),
                404 => Ok(None),
                _ => Err(error::of(response, &base.origin().host)),
            }
        })?;
        let Some(bytes) = bytes else { break };
        found.push(bytes);
    }
    Ok(found)
}

/// Writes the signatures of a manifest in the place of those that were there.
pub(super) fn write(base: &Path, path: &str, manifest: &Digest, signatures: &[Vec<u8>]) -> Result<(), crate::transport::Error> {
    let directory = base.join(directory(path, manifest));
    let failed = |source: io::Error| crate::transport::Error::Io { action: "writing", path: directory.clone(), source };
    DirBuilder::new().recursive(true).mode(0o755).create(&directory).map_err(failed)?;
    let staging = Staging::create(&directory)?;
    for (bytes, number) in signatures.iter().zip(1..) {
        staging.put_bytes(&name(number), bytes)?;
        staging.publish(&name(number), &name(number))?;
    }
    for number in signatures.len() + 1..=MAX_COUNT {
        match fs::remove_file(directory.join(name(number))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            removed => removed.map_err(failed)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_files_or_servers() {
        assert_eq!(Lookaside::parse("file:///a/b").unwrap(), Lookaside::Files("/a/b".into()));
        assert_eq!(Lookaside::parse("/a").unwrap(), Lookaside::Files("/a".into()));
        assert!(matches!(Lookaside::parse("https://r.io:1/s/"), Ok(Lookaside::Web(url)) if url.path() == "/s"));
        for address in
            ["file://host/a", "file:a", "ftp://x/", "http://u@h/", "http://h/?q", "a", "", "file:///a%2e", "unix:///x"]
        {
            assert!(Lookaside::parse(address).is_err(), "{address}");
        }
    }

    #[test]
    fn older_signatures_do_not_stay_behind_newer_ones() {
        let base = tempfile::tempdir().unwrap();
        let manifest = Digest::of(b"m");
        let sets = [vec![b"1".to_vec(), b"2".to_vec(), b"3".to_vec()], vec![b"4".to_vec()]];
        for set in sets {
            write(base.path(), "ns/app", &manifest, &set).unwrap();
            let directory = base.path().join(format!("ns/app@sha256={}", manifest.hex()));
            assert_eq!(read_files(&directory).unwrap(), set);
            assert_eq!(fs::read_dir(directory).unwrap().count(), set.len());
        }
    }
}
