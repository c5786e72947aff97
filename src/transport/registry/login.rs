//! Whether a user and a password are right.

use super::Network;
use super::error::{self, Error};
use super::session::{Body, Call, Session, Target};
use crate::conf::Registries;
use crate::http::Method;
use crate::transport::Silence;

/// Asks `registry` (a host with an optional port, perhaps with a namespace) whether it takes the credentials that `network` has.
pub fn check_login(network: &Network, registries: &Registries, registry: &str) -> Result<(), Error> {
    let host = registry.split('/').next().unwrap_or(registry);
    let endpoint = registries.endpoints()?.of(host, false)?.into_iter().rfind(|endpoint| !endpoint.is_mirror);
    let Some(endpoint) = endpoint else { return Ok(()) };
    let session = Session::new(network, &endpoint, host)?.with(Silence::Awaited);
    let (method, target) = (Method::Get, Target::Path("/v2/".to_owned()));
    let (headers, scopes, body) = (Vec::new(), Vec::new(), Body::None);
    match session.send(Call { method, target, headers, scopes, body }) {
        Ok(response) if response.is_success() => Ok(()),
        Ok(response) => Err(error::of(response, session.host())),
        Err(Error::Refused { status: 401, .. }) => Err(Error::InvalidLogin),
        Err(Error::Token { source, .. }) if matches!(*source, Error::Refused { status: 401 | 403, .. }) => {
            Err(Error::InvalidLogin)
        }
        Err(error) => Err(error),
    }
}
