//! One HTTP client, for registries and for everything else that is fetched.
//!
//! ```text
//! client  requests, redirects by our own rules      url    addresses and origins (pure)
//! trust   roots, client certificates, --cert-dir    proxy  HTTP_PROXY, HTTPS_PROXY, NO_PROXY
//! tls     connections whose certificates are verified      socks  through a SOCKS proxy
//! body    bounded, given up when it trickles        retry  how often, after which pause
//! tls_limits  less of TLS than there is
//! ```
//!
//! Invariant: credentials have an origin (scheme, host, port) and go nowhere else (known attacks, invariant 9). Whatever a server sends
//! has a limit. A client that is not used costs nothing: no file is read, no thread started.
//!
//! Must not: know registries, settings files or the environment.

mod body;
mod client;
mod error;
mod proxy;
mod retry;
mod socks;
mod tls;
mod tls_limits;
mod trust;
mod url;

pub use self::body::{BodyReader, unwrapped};
pub use self::client::{Authorization, Client, Method, Payload, Request, Response, Settings};
pub use self::error::Error;
pub use self::proxy::Proxies;
pub use self::retry::{Retry, retry_after};
pub use self::tls_limits::{NothingLeft, TlsLimits};
pub use self::trust::{CertificateError, Trust, Verification};
pub use self::url::{InvalidUrl, Origin, Scheme, Url, encoded};

#[cfg(test)]
mod tests;
