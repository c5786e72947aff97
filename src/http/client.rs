//! `Client`: requests, and redirects followed by our own rules.
//!
//! Invariant: what authorizes a request goes to the origin of its address and nowhere else: a redirect to another origin loses it, and
//! no later hop gets it back (known attacks A100, CVE-2024-45336). From https no redirect leads to http. What a person trusts beyond the
//! system's roots holds for the first origin only.
//!
//! Connections are kept and used again, one pool for each way to connect. Nothing is read or opened before the first request.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use ureq::config::AutoHeaderValue;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, ProxyProtocol, SendBody};

use super::body::BodyReader;
use super::error::{self, STALL};
use super::{Error, Origin, Proxies, Scheme, TlsLimits, Trust, Url, Verification, socks, tls, trust};

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// The most bytes of an answer's head.
const MAX_HEAD: usize = 64 << 10;
/// How long a server may take to answer after an upload: it may move the whole blob then.
const LONG_ANSWER: Duration = Duration::from_secs(15 * 60);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(30);
/// Idle connections that are kept for each server.
const IDLE: usize = 16;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A document or blob.
    Get,
    /// Whether there is one.
    Head,
    /// The beginning of an upload, or a form.
    Post,
    /// A part of an upload.
    Patch,
    /// A document, or the end of an upload.
    Put,
    /// To take something away.
    Delete,
}

impl Method {
    fn name(self) -> ureq::http::Method {
        use ureq::http::Method as M;
        match self {
            Self::Get => M::GET,
            Self::Head => M::HEAD,
            Self::Post => M::POST,
            Self::Patch => M::PATCH,
            Self::Put => M::PUT,
            Self::Delete => M::DELETE,
        }
    }

    fn changes(self) -> bool {
        !matches!(self, Self::Get | Self::Head)
    }
}

/// What authorizes a request: the value of a header, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(String);

impl Authorization {
    /// A user name and password (RFC 7617).
    pub fn basic(user: &str, password: &str) -> Self {
        Self(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))))
    }

    /// A token (RFC 6750).
    pub fn bearer(token: &str) -> Self {
        Self(format!("Bearer {token}"))
    }

    /// The value of the header as somebody gave it.
    pub fn header(value: &str) -> Self {
        Self(value.to_owned())
    }

    /// The value of the header, to be handed to another program and never shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

/// What is sent with a request.
pub enum Payload<'a> {
    /// Nothing.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A stream; without its length it is sent in chunks. Such a request is sent once: no redirect is followed.
    Stream {
        /// The bytes.
        reader: &'a mut dyn Read,
        /// How many, if that is known.
        length: Option<u64>,
    },
}

/// A request.
pub struct Request<'a> {
    /// What is asked for.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// Headers beyond those that the client sends by itself.
    pub headers: Vec<(&'static str, String)>,
    /// What authorizes it, for the origin of `url`.
    pub authorization: Option<&'a Authorization>,
    /// Whom the connection trusts, for the origin of `url`.
    pub trust: &'a Arc<Trust>,
    /// What is sent.
    pub payload: Payload<'a>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: ureq::http::HeaderMap,
    url: Url,
    body: BodyReader,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status says that it was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers of this name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Where it came from, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// All of the body, at most `limit` bytes.
    pub fn read_all(self, limit: usize) -> Result<Vec<u8>, Error> {
        let url = self.url.shown();
        self.body.read_all(limit, &url)
    }

    /// The body as it comes.
    pub fn into_reader(self) -> BodyReader {
        self.body
    }
}

/// How a client presents itself and gets out.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `User-Agent`.
    pub user_agent: String,
    /// The proxies of the environment.
    pub proxies: Proxies,
    /// How long a server may send nothing, or next to nothing, and take for the head of an answer.
    pub stall: Duration,
    /// Which of TLS may be spoken, to whomever.
    pub tls: TlsLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { user_agent: String::new(), proxies: Proxies::default(), stall: STALL, tls: TlsLimits::default() }
    }
}

/// One way to connect; each has a pool of its own.
struct Way {
    trust: Arc<Trust>,
    proxy: Option<String>,
    scheme: Scheme,
    changes: bool,
    agent: Agent,
}

/// The client. Can be used from several threads at once.
pub struct Client {
    settings: Settings,
    ways: Mutex<Vec<Way>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// A client. No I/O.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ways: Mutex::default() }
    }

    /// Sends a request and follows its redirects. An answer with any status is no error.
    pub fn send(&self, request: Request<'_>) -> Result<Response, Error> {
        let Request { method, mut url, headers, authorization, trust, mut payload } = request;
        let first = url.origin().clone();
        let (mut authorization, mut trust) = (authorization, Arc::clone(trust));
        for _ in 0..=MAX_REDIRECTS {
            let response = self.once(method, &url, &headers, authorization, &trust, &mut payload)?;
            let next = match redirect(&response, method, &payload)? {
                None => return Ok(response),
                Some(next) => next,
            };
            log::debug!("{} redirects to {}", url.shown(), next.shown());
            if *next.origin() != first {
                // Once lost, it stays so, also on the way back.
                authorization = None;
                trust = Trust::system();
            }
            url = next;
        }
        let reason = "there were too many redirects before";
        Err(Error::Redirect { from: first.to_string(), to: url.shown(), reason })
    }

    /// Ends what is under way in all threads: who waits for a server gets an error now. What is asked later has connections of its own.
    pub fn interrupt(&self) {
        let ways = std::mem::take(&mut *self.ways.lock().unwrap_or_else(PoisonError::into_inner));
        ways.into_iter().for_each(|way| way.agent.shutdown());
    }

    fn once(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&'static str, String)],
        authorization: Option<&Authorization>,
        trust: &Arc<Trust>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Error> {
        let agent = self.agent(url.origin(), trust, method.changes())?;
        let mut request = ureq::http::Request::builder().method(method.name()).uri(url.to_string());
        for (name, value) in headers {
            request = request.header(*name, header(name, value)?);
        }
        if let Some(Authorization(value)) = authorization {
            let mut value = header("the password or token", value)?;
            value.set_sensitive(true);
            request = request.header("Authorization", value);
        }
        let mut outgoing = match payload {
            Payload::None if method.changes() => Some(Outgoing::Bytes(&[])),
            Payload::None => None,
            Payload::Bytes(bytes) => Some(Outgoing::Bytes(bytes)),
            Payload::Stream { reader, length } => Some(Outgoing::Stream(&mut **reader, *length)),
        };
        if let Some(length) = outgoing.as_ref().and_then(Outgoing::length) {
            request = request.header("Content-Length", length);
        }
        let invalid = |error: ureq::http::Error| Error::Protocol { origin: url.origin().clone(), problem: error.to_string() };
        log::debug!("{} {}", method.name(), url.shown());
        let answer = match &mut outgoing {
            None => agent.run(request.body(()).map_err(invalid)?),
            Some(outgoing) => agent.run(request.body(SendBody::from_reader(outgoing)).map_err(invalid)?),
        };
        let answer = answer.map_err(|error| match self.settings.proxies.of(url.origin()) {
            None => self.failure(error, url.origin()),
            Some(_) => self.failure(error, url.origin()).at_proxy(url.origin()),
        })?;
        let (parts, body) = answer.into_parts();
        log::debug!("{} from {}", parts.status.as_u16(), url.origin());
        known_encoding(&parts.headers).map_err(|problem| Error::Protocol { origin: url.origin().clone(), problem })?;
        let body = BodyReader::new(body, url.origin().clone(), self.settings.stall);
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, url: url.clone(), body })
    }

    /// What went wrong with a request to `origin`.
    fn failure(&self, error: ureq::Error, origin: &Origin) -> Error {
        let error = match error {
            ureq::Error::Io(error) => match error.downcast::<OurSide>() {
                Ok(OurSide(source)) => return Error::Body(source),
                Err(error) => ureq::Error::Io(error),
            },
            other => other,
        };
        match error::tls_of(&error).and_then(|error| self.settings.tls.explain(error)) {
            Some(problem) => Error::TlsLimits { origin: origin.clone(), problem },
            None => error::of(error, origin),
        }
    }

    /// The pool for a way to connect.
    fn agent(&self, origin: &Origin, trust: &Arc<Trust>, changes: bool) -> Result<Agent, Error> {
        let proxy = self.settings.proxies.of(origin);
        let scheme = origin.scheme;
        let is_it = |way: &&Way| {
            way.scheme == scheme && way.changes == changes && way.proxy.as_deref() == proxy && Arc::ptr_eq(&way.trust, trust)
        };
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = ways.iter().find(is_it) {
            return Ok(way.agent.clone());
        }
        let unusable = |problem| Error::Proxy { origin: origin.clone(), problem };
        let chosen = proxy.map(socks::proxy).transpose().map_err(unusable)?;
        // A proxy may be one with TLS where the server is none.
        let to_proxy = chosen.as_ref().is_some_and(|proxy| proxy.protocol() == ProxyProtocol::Https);
        let with_tls = scheme == Scheme::Https || to_proxy;
        let verified = with_tls && trust.verification() == Verification::Required;
        let tls = if with_tls && !verified {
            trust.unverified(&self.settings.tls)
        } else {
            ureq::tls::TlsConfig::builder().root_certs(trust::none()).build()
        };
        let answer = if changes { LONG_ANSWER } else { self.settings.stall };
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(chosen)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(self.settings.user_agent.as_str())
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .max_response_header_size(MAX_HEAD)
            .input_buffer_size(MAX_HEAD.max(128 << 10))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(answer))
            // All of the head: a server could send a letter now and then (slow-loris the other way round).
            .timeout_recv_response(Some(answer))
            .timeout_per_write(Some(self.settings.stall))
            .max_idle_connections(IDLE * 2)
            .max_idle_connections_per_host(IDLE)
            .build();
        let agent = if verified {
            let connector =
                trust.verified(&self.settings.tls).map_err(|problem| error::of(ureq::Error::Rustls(problem), origin))?;
            Agent::with_parts(config, connector, DefaultResolver::default())
        } else {
            Agent::with_parts(config, tls::unverified(), DefaultResolver::default())
        };
        let proxy = proxy.map(str::to_owned);
        ways.push(Way { trust: Arc::clone(trust), proxy, scheme, changes, agent: agent.clone() });
        Ok(agent)
    }
}

fn header(name: &'static str, value: &str) -> Result<ureq::http::HeaderValue, Error> {
    ureq::http::HeaderValue::from_str(value).map_err(|_| Error::Header(name))
}

/// Refuses a body in an encoding of the transfer that is not undone: its bytes would be taken for the document (RFC 9112, section 6.1).
fn known_encoding(headers: &ureq::http::HeaderMap) -> Result<(), String> {
    let encodings = headers.get_all("Transfer-Encoding").iter();
    match encodings.into_iter().find(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        Some(other) => Err(format!("the transfer encoding {other:?} is none that was asked for")),
        None => Ok(()),
    }
}

/// Where an answer sends us; `None` if it is the answer.
fn redirect(response: &Response, method: Method, payload: &Payload<'_>) -> Result<Option<Url>, Error> {
    let follows = match response.status {
        301..=303 => !method.changes(),
        307 | 308 => !matches!(payload, Payload::Stream { .. }),
        _ => false,
    };
    let Some(location) = response.header("Location").filter(|_| follows) else { return Ok(None) };
    let from = || response.url.shown();
    let refused = |to: String, reason| Error::Redirect { from: from(), to, reason };
    let next = response.url.join(location).map_err(|error| refused(error.text.clone(), error.reason))?;
    if response.url.origin().scheme == Scheme::Https && next.origin().scheme == Scheme::Http {
        return Err(refused(next.shown(), "that would be in the clear"));
    }
    Ok(Some(next))
}

/// What is sent; the errors of a stream can be told from those of the network.
enum Outgoing<'a> {
    Bytes(&'a [u8]),
    Stream(&'a mut dyn Read, Option<u64>),
}

impl Outgoing<'_> {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Stream(_, length) => *length,
        }
    }
}

/// An error of the stream that was to be sent.
#[derive(Debug)]
struct OurSide(io::Error);

impl fmt::Display for OurSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for OurSide {}

impl Read for Outgoing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => bytes.read(into),
            Self::Stream(reader, _) => reader.read(into).map_err(|error| io::Error::other(OurSide(error))),
        }
    }
}
