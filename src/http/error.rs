//! What can go wrong between us and a server, in words for people. An address is shown without its query, which may be a password.

use std::io;
use std::time::Duration;

use rustls::AlertDescription as Alert;

use super::{InvalidUrl, Origin};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The server's name has no address.
    #[error("looking up {host}: no such host")]
    NoHost {
        /// The name.
        host: String,
    },
    /// No connection.
    #[error("connecting to {origin}")]
    Connect {
        /// The server.
        origin: Origin,
        /// Why.
        source: io::Error,
    },
    /// The proxy of the environment is none, or did not connect us.
    #[error("connecting to {origin} through the proxy of the environment: {problem}")]
    Proxy {
        /// The server.
        origin: Origin,
        /// Why.
        problem: String,
    },
    /// TLS was asked for, and something else answered. The words are Go's, since people search for them.
    #[error("{origin}: http: server gave HTTP response to HTTPS client")]
    NotTls {
        /// The server.
        origin: Origin,
    },
    /// The server's certificate is not trusted, or TLS failed.
    #[error("{origin}: tls: {problem}")]
    Tls {
        /// The server.
        origin: Origin,
        /// What the TLS library says.
        problem: String,
    },
    /// The server does not speak what [`super::TlsLimits`] allow.
    #[error("{origin}: tls: {problem}")]
    TlsLimits {
        /// The server.
        origin: Origin,
        /// What is allowed, and what the TLS library says.
        problem: String,
    },
    /// The server wants a certificate of its client, or not the one that it got.
    #[error("{origin}: tls: the server does not take the client's certificate, or wants one ({alert})")]
    ClientCertificate {
        /// The server.
        origin: Origin,
        /// What it said.
        alert: String,
    },
    /// Nothing came for too long.
    #[error("{origin}: no answer in time")]
    Timeout {
        /// The server.
        origin: Origin,
    },
    /// The connection broke off.
    #[error("speaking to {origin}")]
    Broken {
        /// The server.
        origin: Origin,
        /// Why.
        source: io::Error,
    },
    /// What came is no HTTP.
    #[error("{origin}: the answer is no valid HTTP: {problem}")]
    Protocol {
        /// The server.
        origin: Origin,
        /// What is wrong.
        problem: String,
    },
    /// The body of the request could not be read on our side.
    #[error("reading what is to be sent")]
    Body(#[source] io::Error),
    /// A redirect to where we do not go.
    #[error("{from} redirects to {to}: {reason}")]
    Redirect {
        /// Who said so.
        from: String,
        /// Where to.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// An answer has more bytes than it may.
    #[error("the answer of {url} has more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
        /// How many it may have.
        limit: usize,
    },
    /// The header has a letter that cannot be sent.
    #[error("{0} cannot be sent: it has a control character")]
    Header(&'static str),
}

impl Error {
    /// Whether the same request may succeed a little later. A server that is not there at all is not worth the wait.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Broken { .. } => true,
            Self::Connect { source, .. } => source.kind() != io::ErrorKind::ConnectionRefused,
            _ => false,
        }
    }

    /// Whether nobody listens there: who was told to go there may want to wait until the server is up.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether there is no TLS to be had from this server, so that one that may be insecure can be asked in the clear. Limits never lead
    /// there.
    pub fn is_without_tls(&self) -> bool {
        matches!(
            self,
            Self::NotTls { .. }
                | Self::Tls { .. }
                | Self::Connect { .. }
                | Self::Proxy { .. }
                | Self::Broken { .. }
                | Self::Protocol { .. }
        )
    }

    /// The same of a request to `origin` that goes through a proxy: it is the proxy's name that was looked up, and the proxy that was
    /// connected to.
    pub(super) fn at_proxy(self, origin: &Origin) -> Self {
        let problem = match &self {
            Self::NoHost { .. } => "there is no host of its name",
            error if error.is_refused() => "connection refused",
            _ => return self,
        };
        Self::Proxy { origin: origin.clone(), problem: problem.to_owned() }
    }
}

/// From the client library's error to ours.
pub(super) fn of(error: ureq::Error, origin: &Origin) -> Error {
    let origin = origin.clone();
    match error {
        ureq::Error::HostNotFound => Error::NoHost { host: origin.host },
        ureq::Error::Timeout(ureq::Timeout::Connect) => {
            Error::Connect { origin, source: io::Error::new(io::ErrorKind::TimedOut, "no answer in time") }
        }
        ureq::Error::Timeout(_) => Error::Timeout { origin },
        ureq::Error::ConnectionFailed => Error::Connect { origin, source: io::Error::other("no connection") },
        ureq::Error::InvalidProxyUrl => Error::Proxy { origin, problem: "it is no address".to_owned() },
        ureq::Error::ConnectProxyFailed(problem) => Error::Proxy { origin, problem },
        ureq::Error::Rustls(error) => of_tls(&error, origin),
        ureq::Error::Tls(problem) => Error::Tls { origin, problem: problem.to_owned() },
        ureq::Error::Io(error) => of_io(error, origin),
        ureq::Error::BodyStalled => Error::Timeout { origin },
        other => Error::Protocol { origin, problem: other.to_string() },
    }
}

/// What the TLS library says, if it is about that.
pub(super) fn tls_of(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => within(error),
        _ => None,
    }
}

fn within(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn of_io(error: io::Error, origin: Origin) -> Error {
    if let Some(tls) = within(&error) {
        return of_tls(tls, origin);
    }
    if is_of_lookup(&error) {
        return Error::NoHost { host: origin.host };
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout { origin },
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => Error::Connect { origin, source: error },
        _ => Error::Broken { origin, source: error },
    }
}

/// Whether it is the resolver's, whose errors have no kind.
pub(super) fn is_of_lookup(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address")
}

fn of_tls(error: &rustls::Error, origin: Origin) -> Error {
    match error {
        rustls::Error::InvalidMessage(_) => Error::NotTls { origin },
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            // The words that the other tools have, too.
            Error::Tls { origin, problem: "failed to verify certificate: certificate signed by unknown authority".to_owned() }
        }
        rustls::Error::InvalidCertificate(problem) => {
            Error::Tls { origin, problem: format!("failed to verify certificate: {problem}") }
        }
        rustls::Error::AlertReceived(alert @ (Alert::BadCertificate | Alert::CertificateRequired | Alert::UnknownCA)) => {
            Error::ClientCertificate { origin, alert: format!("{alert:?}") }
        }
        other => Error::Tls { origin, problem: other.to_string() },
    }
}

/// How long nothing may come.
pub(super) const STALL: Duration = Duration::from_secs(60);
