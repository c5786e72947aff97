//! `docker://`: images at a registry (OCI distribution specification 1.1, Docker's registry API version 2).
//!
//! ```text
//! Network    what the command line and the environment say of reaching registries; shared by all of a command
//! session    one repository at one registry: https or http, challenges, tokens, attempts      token, challenge
//! source     mirrors and the registry itself, the first that answers; manifests, blobs       download: resumed where it broke off
//! destination  only what is not there: HEAD, mount from another repository, upload            upload
//! tags       all tags of a repository            login     whether a password is right
//! signatures beside the registry (lookaside) and in it, as registries.d says
//! ```
//!
//! Invariants: what a server says of a digest is never believed: bytes are hashed (known attacks A106). A layer's `urls` are not
//! followed (A99). Credentials and tokens go to the registry that they are for (`session`, `token`).

mod challenge;
mod destination;
mod download;
mod error;
mod login;
mod lookaside;
mod session;
mod signatures;
mod source;
mod tags;
mod token;
mod upload;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) use self::destination::RegistryDestination;
pub use self::error::{Error, Relevance};
pub use self::login::check_login;
pub(super) use self::source::RegistrySource;
pub use self::tags::tags;
use super::Means;
use crate::conf::registries::Endpoint;
use crate::conf::{Auth, Environment};
use crate::http::{Client, Retry, Settings};
use crate::image::Reference;

/// `--tls-verify`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVerify {
    /// Not given: certificates are verified, but for registries that registries.conf calls insecure.
    #[default]
    BySettings,
    /// Certificates are verified.
    Required,
    /// They are not, and a registry without TLS will do.
    Off,
}

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Network {
    client: Arc<Client>,
    environment: Environment,
    auth: Auth,
    /// `--tls-verify`.
    pub tls_verify: TlsVerify,
    /// `--cert-dir`, in place of certs.d.
    pub cert_dir: Option<PathBuf>,
    /// `--retry`, `--retry-delay`.
    pub retry: Retry,
    /// Layers at a time (containers.conf, `image_parallel_copies`), also between other places; none for [`Network::PARALLEL`].
    pub parallel: Option<NonZeroU32>,
}

/// Where the image of `reference` is, in the order of asking, if it may be asked for at all.
fn places(reference: &Reference, means: Means<'_>) -> Result<Vec<Endpoint>, Error> {
    let insecure = means.registries.allows(reference.domain())?;
    if insecure && means.network.tls_verify == TlsVerify::Required {
        return Err(Error::InsecureAllowed);
    }
    let mut places = means.registries.endpoints()?.of(&reference.repository(), reference.digest().is_some())?;
    for place in places.iter_mut().filter(|place| !place.is_mirror) {
        place.insecure |= insecure;
    }
    Ok(places)
}

impl Network {
    /// As many layers at a time as usual: with fewer the network would be waited for, and more gain nothing.
    pub const PARALLEL: usize = 4;

    /// The same on the way out, where each layer that is compressed has buffers of its own.
    pub const PARALLEL_OUT: usize = 3;

    /// How many layers are on their way here at a time.
    pub(super) fn layers_at_once(&self) -> usize {
        self.said().unwrap_or(Self::PARALLEL)
    }

    /// How many layers are on their way out at a time.
    pub(super) fn layers_out_at_once(&self) -> usize {
        self.said().unwrap_or(Self::PARALLEL_OUT)
    }

    fn said(&self) -> Option<usize> {
        usize::try_from(self.parallel?.get()).ok()
    }

    /// Everything as usual. No I/O.
    pub fn new(environment: Environment, auth: Auth, settings: Settings) -> Self {
        Self {
            client: Arc::new(Client::new(settings)),
            environment,
            auth,
            tls_verify: TlsVerify::default(),
            cert_dir: None,
            retry: Retry::default(),
            parallel: None,
        }
    }

    /// The client, for what is fetched from other servers.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}
