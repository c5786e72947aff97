//! Reading an image of a registry.
//!
//! Invariant: an image that was asked for by digest is the one whose manifest has that digest, whatever mirrors or headers say.

use std::sync::Arc;

use containers_storage::Digest;

use super::download::Download;
use super::error::{self, Error as RegistryError, Relevance};
use super::session::{Body, Call, Session, Target};
use super::signatures::Signatures;
use crate::conf::registries::Endpoint;
use crate::http::Method;
use crate::image::manifest::{self, Descriptor};
use crate::image::{Location, Reference};
use crate::transport::{BlobId, BlobStream, Error, Means, RawManifest, Silence, Source, causes};

/// Every kind of manifest that is understood.
const ACCEPT: [&str; 4] = [manifest::OCI_INDEX, manifest::OCI_MANIFEST, manifest::DOCKER_LIST, manifest::DOCKER_MANIFEST];
/// Kinds that are not; the parser says so.
const OLD: [&str; 2] =
    ["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.docker.distribution.manifest.v1+json"];

/// An image at a registry.
pub(in crate::transport) struct RegistrySource {
    reference: Reference,
    session: Arc<Session>,
    manifest: RawManifest,
    signatures: Signatures,
}

impl RegistrySource {
    /// Asks the mirrors of the registry and then the registry itself for the image's manifest.
    pub(in crate::transport) fn open(reference: &Reference, means: Means<'_>) -> Result<Self, Error> {
        let by_settings = |source| Error::Registry {
            doing: format!(
                "initializing source docker://{reference}: reading manifest {} in {}",
                selector(reference),
                reference.repository()
            ),
            source: Box::new(source),
        };
        let mut missed = Vec::new();
        let places = super::places(reference, means).map_err(by_settings)?;
        // Who has mirrors is not waited for: the next of them may have the image.
        let silence = if places.len() == 1 { means.silence } else { Silence::Told };
        for endpoint in places {
            let opened = Session::new(means.network, &endpoint, reference.domain()).and_then(|session| {
                let session = session.with(silence);
                let manifest = read_manifest(&session, &selector(reference), reference.digest())?;
                Ok((session, manifest))
            });
            match opened {
                Ok((session, manifest)) => {
                    let signatures = Signatures::new(&means.network.environment, scopes_at(&endpoint.repository, reference));
                    return Ok(Self { reference: reference.clone(), session: Arc::new(session), manifest, signatures });
                }
                Err(error) => {
                    if endpoint.is_mirror {
                        log::debug!("mirror {}: {}", endpoint.repository, causes(&error));
                    }
                    missed.push((endpoint, error));
                }
            }
        }
        Err(nowhere(reference, missed))
    }

    fn failed(&self, doing: String, source: RegistryError) -> Error {
        Error::Registry { doing, source: Box::new(source) }
    }
}

/// The answer that tells most: that of the registry itself, unless only a mirror refused. The others are told of beside it, in words
/// of the other tools where they are mirrors'.
fn nowhere(reference: &Reference, mut missed: Vec<(Endpoint, RegistryError)>) -> Error {
    // A mirror that is down says nothing of the image.
    let tells = |(endpoint, error): &(Endpoint, RegistryError)| match error.relevance() {
        Relevance::NotAsked if endpoint.is_mirror => Relevance::NotThere,
        relevance => relevance,
    };
    let most = missed.iter().map(tells).max();
    let Some(chosen) = missed.iter().rposition(|place| Some(tells(place)) == most) else {
        let reason = "there is no place to ask".to_owned();
        return Error::NoImage { place: format!("docker://{reference}"), reason };
    };
    let (endpoint, source) = missed.remove(chosen);
    let others: Vec<String> =
        missed.iter().map(|(other, error)| format!("[{}: {}]", other.repository, causes(error))).collect();
    let others = match (others.is_empty(), endpoint.is_mirror) {
        (true, _) => String::new(),
        (false, false) => format!("(Mirrors also failed: {}): ", others.join(" ")),
        (false, true) => format!("(Others also failed: {}): ", others.join(" ")),
    };
    let (selector, repository) = (selector(reference), endpoint.repository);
    let doing = format!("initializing source docker://{reference}: {others}reading manifest {selector} in {repository}");
    Error::Registry { doing, source: Box::new(source) }
}

/// The digest or tag that names the image.
fn selector(reference: &Reference) -> String {
    let digest = reference.digest().map(ToString::to_string);
    digest.or_else(|| reference.tag().map(str::to_owned)).unwrap_or_else(|| "latest".to_owned())
}

/// The manifest of that tag or digest; one asked for by digest is verified.
pub(super) fn read_manifest(session: &Session, selector: &str, digest: Option<&Digest>) -> Result<RawManifest, RegistryError> {
    let accepted = ACCEPT.into_iter().chain(OLD).map(str::to_owned).collect::<Vec<_>>();
    let (media_type, bytes) = session.repeated(|| {
        let response = session.send_once(Call {
            method: Method::Get,
            target: Target::Path(format!("/v2/{}/manifests/{selector}", session.path())),
            headers: vec![("Accept", accepted.join(", "))],
            scopes: vec![Session::pull_scope(session.path())],
            body: Body::None,
        })?;
        if response.status() != 200 {
            return Err(error::of(response, session.host()));
        }
        let declared = response.header("Content-Type").unwrap_or_default();
        let declared = declared.split(';').next().unwrap_or_default().trim();
        // Registries send plain JSON types for what they do not know: then the document says by itself what it is.
        let media_type = ACCEPT.into_iter().chain(OLD).find(|known| *known == declared).map(str::to_owned);
        Ok((media_type, response.read_all(manifest::MAX_BYTES)?))
    })?;
    let wrong = |problem: String| RegistryError::Answer { host: session.host().to_owned(), problem };
    if let Some(digest) = digest {
        let found = Digest::of(&bytes);
        if digest.algorithm() != found.algorithm() {
            return Err(wrong(format!("the digest {digest} cannot be verified: only sha256 is")));
        }
        if found != *digest {
            return Err(wrong(format!("manifest has the digest {found} instead of {digest}")));
        }
    }
    Ok(RawManifest { bytes, media_type })
}

impl Source for RegistrySource {
    fn name(&self) -> String {
        Location::Registry(self.reference.clone()).to_string()
    }

    fn transport(&self) -> &'static str {
        "docker"
    }

    fn policy_scopes(&self) -> Vec<String> {
        scopes(&self.reference)
    }

    fn reference(&self) -> Option<Reference> {
        Some(self.reference.clone())
    }

    fn names(&self) -> Vec<String> {
        vec![self.reference.to_string()]
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, Error> {
        let Some(digest) = instance else { return Ok(self.manifest.clone()) };
        let read = read_manifest(&self.session, digest.as_str(), Some(digest));
        read.map_err(|source| self.failed(format!("reading manifest {digest} of {}", self.name()), source))
    }

    fn signatures(&self, instance: Option<&Digest>) -> Result<Vec<Vec<u8>>, Error> {
        match instance {
            Some(digest) => self.signatures.read(&self.session, digest),
            None => self.signatures.read(&self.session, &Digest::of(&self.manifest.bytes)),
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<BlobStream<'static>, Error> {
        if ["foreign", "nondistributable"].iter().any(|word| blob.media_type.contains(word)) {
            let problem = format!("is a foreign layer ({}), which is not fetched from where it says", blob.media_type);
            return Err(Error::Blob { place: self.name(), digest: blob.digest.clone(), problem });
        }
        let download = Download::start(Arc::clone(&self.session), &blob.digest, blob.size)
            .map_err(|source| self.failed(format!("reading blob {} of {}", blob.digest, self.name()), source))?;
        Ok(BlobStream::new(Box::new(download), BlobId { digest: blob.digest.clone(), size: blob.size }))
    }

    fn give_up(&self) {
        self.session.give_up();
    }
}

/// The scopes of policy.json that an image is in (containers-policy.json(5), docker): itself, its repository, the namespaces above, the
/// registry, and the domains above that with an asterisk.
fn scopes(reference: &Reference) -> Vec<String> {
    scopes_at(&reference.repository(), reference)
}

/// The same for the image at `repository`, where a mirror has it.
pub(super) fn scopes_at(repository: &str, reference: &Reference) -> Vec<String> {
    let name = reference.to_string();
    let selector = name.strip_prefix(&reference.repository()).unwrap_or_default();
    let mut scopes = vec![format!("{repository}{selector}"), repository.to_owned()];
    scopes.extend(repository.rmatch_indices('/').map(|(at, _)| repository[..at].to_owned()));
    let host = repository.split(['/', ':']).next().unwrap_or_default();
    scopes.extend(host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..])));
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_get_wider() {
        let reference = Reference::parse_qualified("a.r.io:5000/ns/app:1").unwrap();
        let want = ["a.r.io:5000/ns/app:1", "a.r.io:5000/ns/app", "a.r.io:5000/ns", "a.r.io:5000", "*.r.io", "*.io"];
        assert_eq!(scopes(&reference), want);
    }
}
