//! `Session`: one repository at one registry. Finds out how the registry is spoken to and what it wants to see, and asks again what can
//! be asked again.
//!
//! ```text
//! first request  https ──(no TLS to be had, and the registry may be insecure)──▶ http
//! 401            challenge ─▶ password, or token for the scopes ─▶ the same request once more
//! 429, 5xx, cut  pause (Retry-After, else growing) ─▶ the same request: `send`
//! ```
//!
//! `send_once` leaves the last line to its caller, who repeats more than the request: the upload of a layer (`copy::layers`), of a small
//! blob (`signatures`), and a blob on its way here (`download`). Nothing is repeated by two: N retries are N + 1 requests.
//!
//! Invariant: credentials and tokens go to the origin of the registry and, as `token` says, of its token server.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::challenge::{self, Challenge};
use super::error::{self, Error};
use super::token::{self, Realm, Token};
use super::{Network, TlsVerify};
use crate::conf::auth::Credentials;
use crate::conf::registries::Endpoint;
use crate::conf::{Auth, certs};
use crate::http::{
    self, Authorization, Client, Method, Origin, Payload, Request, Response, Retry, Scheme, Trust, Url, Verification,
};
use crate::transport::Silence;
use crate::transport::stop::Stop;

/// Where the images of Docker Hub really are.
const HUB_HOST: &str = "registry-1.docker.io";

/// One repository at one registry.
pub(super) struct Session {
    client: Arc<Client>,
    environment: crate::conf::Environment,
    auth: Auth,
    retry: Retry,
    /// As names have it: with `docker.io`.
    domain: String,
    path: String,
    insecure: bool,
    /// Whether a registry where nobody listens is asked again.
    awaited: bool,
    trust: Arc<Trust>,
    scheme: Mutex<Option<Scheme>>,
    credentials: OnceLock<Option<Credentials>>,
    access: Mutex<Access>,
    stop: Stop,
}

/// What the registry wants to see.
#[derive(Default)]
struct Access {
    challenge: Option<Known>,
    tokens: HashMap<Vec<String>, Token>,
}

#[derive(Clone)]
enum Known {
    Basic,
    Bearer(Realm),
}

/// What is asked.
pub(super) struct Call<'c> {
    pub(super) method: Method,
    /// Path and query below the registry's address, or a whole address that the registry gave.
    pub(super) target: Target,
    pub(super) headers: Vec<(&'static str, String)>,
    /// What a token must allow.
    pub(super) scopes: Vec<String>,
    pub(super) body: Body<'c>,
}

/// Where something is asked.
#[derive(Clone)]
pub(super) enum Target {
    Path(String),
    At(Url),
}

/// What is sent.
pub(super) enum Body<'c> {
    None,
    Bytes(&'c [u8]),
    /// Sent once only.
    Stream {
        reader: &'c mut dyn Read,
        length: Option<u64>,
    },
}

impl Session {
    /// A session for the repository of `endpoint`. Reads certificates, and asks nobody. `named` is the registry in the name that the
    /// person gave: credentials of the command line are for that one.
    pub(super) fn new(network: &Network, endpoint: &Endpoint, named: &str) -> Result<Self, Error> {
        let (domain, path) = endpoint.repository.split_once('/').unwrap_or((&endpoint.repository, ""));
        let insecure = match network.tls_verify {
            TlsVerify::Required => false,
            TlsVerify::Off => true,
            TlsVerify::BySettings => endpoint.insecure,
        };
        let verification = if insecure { Verification::Off } else { Verification::Required };
        let directory = network.cert_dir.clone().or_else(|| certs::directory_of(&network.environment, domain));
        let trust = match (directory, verification) {
            (None, Verification::Required) => Trust::system(),
            (directory, verification) => Arc::new(Trust::with_directory(verification, directory.as_deref())?),
        };
        let auth = if domain == named { network.auth.clone() } else { network.auth.without_given() };
        Ok(Self {
            client: Arc::clone(&network.client),
            environment: network.environment.clone(),
            auth,
            retry: network.retry,
            domain: domain.to_owned(),
            path: path.to_owned(),
            insecure,
            awaited: false,
            trust,
            scheme: Mutex::default(),
            credentials: OnceLock::new(),
            access: Mutex::default(),
            stop: Stop::default(),
        })
    }

    /// The same with a registry that is asked again as if it were busy where nobody listens yet.
    pub(super) fn with(self, silence: Silence) -> Self {
        // Names of images that were made here have this host, which nobody means to ask.
        Self { awaited: silence == Silence::Awaited && self.domain != "localhost", ..self }
    }

    /// The registry as names have it.
    pub(super) fn host(&self) -> &str {
        &self.domain
    }

    /// Path of the repository at the registry.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn retry(&self) -> Retry {
        self.retry
    }

    /// The scope for pulling from the repository `path`.
    pub(super) fn pull_scope(path: &str) -> String {
        format!("repository:{path}:pull")
    }

    /// The scope for pushing to this repository.
    pub(super) fn push_scope(&self) -> String {
        format!("repository:{}:pull,push", self.path)
    }

    /// Whom to trust at `origin`: only the registry itself has its settings.
    pub(super) fn trust_for(&self, origin: &Origin) -> Result<Arc<Trust>, Error> {
        if self.origin().as_ref() == Some(origin) {
            return Ok(Arc::clone(&self.trust));
        }
        let host = host_of(origin);
        match certs::directory_of(&self.environment, &host) {
            Some(directory) => Ok(Arc::new(Trust::with_directory(Verification::Required, Some(&directory))?)),
            None => Ok(Trust::system()),
        }
    }

    /// Whom the registry's address speaks to, once that is known.
    pub(super) fn origin(&self) -> Option<Origin> {
        let scheme = *lock(&self.scheme);
        self.base(scheme.unwrap_or(Scheme::Https), "/").ok().map(|url| url.origin().clone())
    }

    /// What the files say of this repository. Read once.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, Error> {
        if let Some(known) = self.credentials.get() {
            return Ok(known.clone());
        }
        let found = self.auth.find(&self.domain, &self.path)?.map(|found| found.credentials);
        Ok(self.credentials.get_or_init(|| found).clone())
    }

    /// What the files say of another host: its own credentials, and never those of the registry or of the command line.
    pub(super) fn credentials_of(&self, origin: &Origin) -> Result<Option<Credentials>, Error> {
        Ok(self.auth.without_given().find(&host_of(origin), "")?.map(|found| found.credentials))
    }

    fn base(&self, scheme: Scheme, target: &str) -> Result<Url, Error> {
        let host = if self.domain == "docker.io" { HUB_HOST } else { &self.domain };
        Ok(Url::at(scheme, host, target).map_err(http::Error::from)?)
    }

    /// Asks, again if need be, and answers with any status but those of [`error::is_busy`] and 401, which are errors in the end. A
    /// stream cannot be sent again.
    pub(super) fn send(&self, mut call: Call<'_>) -> Result<Response, Error> {
        self.repeated(|| self.attempt(&mut call))
    }

    /// The same with one attempt.
    pub(super) fn send_once(&self, mut call: Call<'_>) -> Result<Response, Error> {
        self.attempt(&mut call)
    }

    fn attempt(&self, call: &mut Call<'_>) -> Result<Response, Error> {
        let response = self.authorized(call)?;
        if error::is_busy(response.status()) { Err(error::of(response, &self.domain)) } else { Ok(response) }
    }

    /// Does `attempt` until it succeeds or is not worth it any more.
    pub(super) fn repeated<T>(&self, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut number = 0;
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            number += 1;
            let pause = if error.is_transient() { self.retry.pause(number, error.asked_pause()) } else { None };
            let Some(pause) = pause else { return Err(error) };
            log::debug!("{}: {error}: trying again in {} ms", self.domain, pause.as_millis());
            if !self.pause(pause) {
                return Err(error);
            }
        }
    }

    /// Waits; `false` if nothing is worth waiting for any more.
    #[must_use]
    pub(super) fn pause(&self, length: Duration) -> bool {
        self.stop.pause(length)
    }

    /// Nothing is asked again from now on, and nobody waits for an answer any longer.
    pub(super) fn give_up(&self) {
        self.stop.say();
        self.client.interrupt();
    }

    /// Asks with what the registry wants to see.
    fn authorized(&self, call: &mut Call<'_>) -> Result<Response, Error> {
        let mut fresh = false;
        loop {
            let shown = self.authorization(&call.scopes)?;
            let response = self.once(call, shown.as_ref())?;
            if response.status() != 401 {
                return Ok(response);
            }
            // A stream was read; what is refused with a new token is refused; and what a server wants that the registry led to is not
            // the registry's wish: it gets nothing (known attacks A99, CVE-2020-15157).
            let streamed = matches!(call.body, Body::Stream { .. });
            let elsewhere = self.origin().as_ref() != Some(response.url().origin());
            if streamed || fresh || elsewhere || !self.learn(&response, &call.scopes)? {
                return Err(error::of(response, &self.domain));
            }
            // Read to its end, so that the connection can be used again.
            drop(response.read_all(64 << 10));
            fresh = true;
        }
    }

    /// Takes the challenge of an answer in; `false` if nothing can be shown for it.
    fn learn(&self, response: &Response, scopes: &[String]) -> Result<bool, Error> {
        let known = match challenge::choose(response.headers("WWW-Authenticate")) {
            Some(Challenge::Basic) => Known::Basic,
            Some(Challenge::Bearer { realm, service, .. }) => Known::Bearer(Realm::parse(self, &realm, &service)?),
            None => return Ok(false),
        };
        let shows = match known {
            Known::Basic => matches!(self.credentials()?, Some(Credentials::Password { .. })),
            Known::Bearer(_) => true,
        };
        let mut access = lock(&self.access);
        access.tokens.remove(scopes);
        access.challenge = Some(known);
        Ok(shows)
    }

    fn authorization(&self, scopes: &[String]) -> Result<Option<Authorization>, Error> {
        if let Some(Credentials::RegistryToken(token)) = self.credentials()? {
            return Ok(Some(Authorization::bearer(token.expose())));
        }
        let challenge = lock(&self.access).challenge.clone();
        match challenge {
            None => Ok(None),
            Some(Known::Basic) => Ok(match self.credentials()? {
                Some(Credentials::Password { user, password }) => Some(Authorization::basic(&user, password.expose())),
                _ => None,
            }),
            Some(Known::Bearer(realm)) => {
                // Held while the token is fetched: several layers want the same one.
                let mut access = lock(&self.access);
                if let Some(token) = access.tokens.get(scopes).filter(|token| token.until > Instant::now()) {
                    return Ok(Some(token.authorization.clone()));
                }
                let token = token::get(self, &realm, scopes)?;
                let authorization = token.authorization.clone();
                access.tokens.insert(scopes.to_vec(), token);
                Ok(Some(authorization))
            }
        }
    }

    /// Asks once, but for a registry that is awaited and did not answer yet: nobody listens there until it does.
    fn once(&self, call: &mut Call<'_>, authorization: Option<&Authorization>) -> Result<Response, Error> {
        for number in 1.. {
            let answered = self.by_its_scheme(call, authorization);
            let refused = matches!(&answered, Err(Error::Http(error)) if error.is_refused());
            let waits = refused && self.awaited && lock(&self.scheme).is_none();
            let Some(pause) = self.retry.pause(number, None).filter(|_| waits) else { return answered };
            log::debug!("{}: connection refused: trying again in {} ms", self.domain, pause.as_millis());
            if !self.pause(pause) {
                return answered;
            }
        }
        self.by_its_scheme(call, authorization)
    }

    fn by_its_scheme(&self, call: &mut Call<'_>, authorization: Option<&Authorization>) -> Result<Response, Error> {
        let known = *lock(&self.scheme);
        match (known, self.insecure) {
            (Some(scheme), _) => self.by(scheme, call, authorization),
            (None, false) => {
                let response = self.by(Scheme::Https, call, authorization)?;
                *lock(&self.scheme) = Some(Scheme::Https);
                Ok(response)
            }
            (None, true) => {
                let (scheme, answered) = match self.by(Scheme::Https, call, authorization) {
                    Err(Error::Http(error)) if error.is_without_tls() => {
                        log::debug!("{}: {error}: trying http", self.domain);
                        (Scheme::Http, self.by(Scheme::Http, call, authorization))
                    }
                    answered => (Scheme::Https, answered),
                };
                let response = answered?;
                *lock(&self.scheme) = Some(scheme);
                Ok(response)
            }
        }
    }

    fn by(&self, scheme: Scheme, call: &mut Call<'_>, authorization: Option<&Authorization>) -> Result<Response, Error> {
        let own = self.base(scheme, "/")?;
        let url = match &call.target {
            Target::Path(path) => self.base(scheme, path)?,
            Target::At(url) => url.clone(),
        };
        // An upload may be sent elsewhere; what authorizes it is not (known attacks A101).
        let at_home = url.origin() == own.origin();
        if own.origin().scheme == Scheme::Https && url.origin().scheme == Scheme::Http {
            let (from, to) = (own.shown(), url.shown());
            return Err(http::Error::Redirect { from, to, reason: "that would be in the clear" }.into());
        }
        let trust = if at_home { Arc::clone(&self.trust) } else { Trust::system() };
        let payload = match &mut call.body {
            Body::None => Payload::None,
            Body::Bytes(bytes) => Payload::Bytes(bytes),
            Body::Stream { reader, length } => Payload::Stream { reader: &mut **reader, length: *length },
        };
        let headers = call.headers.clone();
        let authorization = authorization.filter(|_| at_home);
        Ok(self.client.send(Request { method: call.method, url, headers, authorization, trust: &trust, payload })?)
    }
}

/// The host as files name it.
fn host_of(origin: &Origin) -> String {
    if origin.port == 443 { origin.host.clone() } else { format!("{}:{}", origin.host, origin.port) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
