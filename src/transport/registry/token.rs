//! Tokens: who may be asked for one, and what is sent there.
//!
//! Invariant (known attacks A97, A98): the realm is the server's choice, so that a password or identity token goes only to the registry's
//! own host or to a host of the same site, by https unless the registry itself is spoken to in the clear. Another host
//! gets the credentials that the person has for that very host, or is not asked. Without credentials any https server by name may be
//! asked, but no bare address.
//!
//! containers/image sends them to whatever host the registry names. The rule here takes in the token servers of the known registries
//! (registry-1.docker.io and auth.docker.io, registry.gitlab.com and gitlab.com); who has another one logs in there, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::error::{self, Error};
use super::session::Session;
use crate::conf::auth::Credentials;
use crate::http::{Authorization, Method, Origin, Payload, Request, Scheme, Trust, Url, encoded};

/// The longest answer of a token server.
const MAX_BYTES: usize = 1 << 20;
/// The longest token that is shown: servers take no heads that are longer than some 8 to 64 KiB.
const MAX_TOKEN: usize = 64 << 10;
/// How long a token is good where nothing is said (distribution, token specification).
const USUAL_LIFE: Duration = Duration::from_secs(60);
/// A token is not used for this long before its end.
const MARGIN: Duration = Duration::from_secs(10);
/// How we call ourselves where a name is wanted.
const CLIENT_ID: &str = "coracle";

/// A token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) authorization: Authorization,
    pub(super) until: Instant,
}

/// A member may be there and null, which is as good as not there.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What a challenge says of its token server.
#[derive(Debug, Clone)]
pub(super) struct Realm {
    pub(super) url: Url,
    pub(super) service: String,
}

impl Realm {
    /// Reads the realm of a challenge.
    pub(super) fn parse(session: &Session, realm: &str, service: &str) -> Result<Self, Error> {
        let host = session.host().to_owned();
        let url = Url::parse(realm).map_err(|error| Error::Realm { host, realm: error.text, reason: error.reason })?;
        Ok(Self { url, service: service.to_owned() })
    }
}

/// Gets a token for `scopes`, with one attempt: whoever repeats the request that it is for asks for it again.
pub(super) fn get(session: &Session, realm: &Realm, scopes: &[String]) -> Result<Token, Error> {
    let credentials = session.credentials()?;
    let base = session.origin();
    let credentials = match allowed(base.as_ref(), realm.url.origin(), credentials.is_some()) {
        Ok(()) => credentials,
        Err(reason) => match theirs(session, realm)? {
            Some(theirs) => Some(theirs),
            None => {
                let (host, realm) = (session.host().to_owned(), realm.url.shown());
                return Err(Error::Realm { host, realm, reason });
            }
        },
    };
    let trust = session.trust_for(realm.url.origin())?;
    let answered = match &credentials {
        Some(Credentials::IdentityToken(token)) => by_form(session, realm, scopes, token.expose(), &trust),
        Some(Credentials::Password { user, password }) => {
            by_query(session, realm, scopes, Some((user, password.expose())), &trust)
        }
        Some(Credentials::RegistryToken(_)) | None => by_query(session, realm, scopes, None, &trust),
    };
    answered.map_err(|source| Error::Token {
        host: session.host().to_owned(),
        realm: realm.url.shown(),
        source: Box::new(source),
    })
}

/// The credentials that the person has for the token server itself, which must be spoken to by https then.
fn theirs(session: &Session, realm: &Realm) -> Result<Option<Credentials>, Error> {
    match realm.url.origin().scheme {
        Scheme::Https => session.credentials_of(realm.url.origin()),
        Scheme::Http => Ok(None),
    }
}

fn by_query(
    session: &Session,
    realm: &Realm,
    scopes: &[String],
    login: Option<(&str, &str)>,
    trust: &Arc<Trust>,
) -> Result<Token, Error> {
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    if !realm.service.is_empty() {
        parameters.push(("service", &realm.service));
    }
    parameters.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
    parameters.extend(login.map(|(user, _)| ("account", user)));
    let authorization = login.map(|(user, password)| Authorization::basic(user, password));
    let url = realm.url.with_query(&parameters);
    let (method, headers, payload) = (Method::Get, Vec::new(), Payload::None);
    read(session, Request { method, url, headers, authorization: authorization.as_ref(), trust, payload })
}

fn by_form(session: &Session, realm: &Realm, scopes: &[String], token: &str, trust: &Arc<Trust>) -> Result<Token, Error> {
    let form = [
        ("grant_type", "refresh_token"),
        ("service", &realm.service),
        ("client_id", CLIENT_ID),
        ("scope", &scopes.join(" ")),
        ("refresh_token", token),
    ];
    let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let form = form.join("&");
    let headers = vec![("Content-Type", "application/x-www-form-urlencoded".to_owned())];
    // As a stream, so that no redirect gets the token.
    let (mut reader, length) = (form.as_bytes(), Some(form.len() as u64));
    let payload = Payload::Stream { reader: &mut reader, length };
    let url = realm.url.clone();
    read(session, Request { method: Method::Post, url, headers, authorization: None, trust, payload })
}

fn read(session: &Session, request: Request<'_>) -> Result<Token, Error> {
    let host = request.url.origin().host.clone();
    let response = session.client().send(request)?;
    if !response.is_success() {
        return Err(error::of(response, &host));
    }
    let body = response.read_all(MAX_BYTES)?;
    let wrong = |problem: &str| Error::Answer { host: host.clone(), problem: problem.to_owned() };
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| wrong("the token server's answer is not JSON"))?;
    let given = answer.token.filter(|token| !token.is_empty());
    let token = given.or(answer.access_token).unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("the token server gave no token"));
    }
    if token.len() > MAX_TOKEN {
        return Err(wrong("the token server gave a token that is too long to be shown to anybody"));
    }
    let life = Duration::from_secs(answer.expires_in.unwrap_or_default()).clamp(USUAL_LIFE, Duration::from_secs(24 * 3600));
    Ok(Token { authorization: Authorization::bearer(&token), until: Instant::now() + life - MARGIN })
}

/// Whether the token server of a registry at `base` may be asked, and be shown credentials.
fn allowed(base: Option<&Origin>, realm: &Origin, with_credentials: bool) -> Result<(), &'static str> {
    let own = base.is_some_and(|base| base.host == realm.host);
    let in_the_clear = base.is_some_and(|base| base.scheme == Scheme::Http);
    if realm.scheme == Scheme::Http && !(own && in_the_clear) {
        return Err("that would be in the clear");
    }
    if own {
        return Ok(());
    }
    if realm.is_address() {
        return Err("it is a bare address and not the registry's own");
    }
    if with_credentials && !base.is_some_and(|base| same_site(&base.host, &realm.host)) {
        return Err("that host is not the registry's; they were not sent");
    }
    Ok(())
}

/// Below these, neighbours are strangers.
const SHARED: [&str; 20] = [
    "azurecr.io",
    "amazonaws.com",
    "pkg.dev",
    "gcr.io",
    "github.io",
    "cloudfront.net",
    "run.app",
    "herokuapp.com",
    "azure.com",
    "azurewebsites.net",
    "windows.net",
    "appspot.com",
    "web.app",
    "workers.dev",
    "pages.dev",
    "fly.dev",
    "vercel.app",
    "onrender.com",
    "nip.io",
    "sslip.io",
];

/// Whether two hosts are of one owner, as `registry-1.docker.io` and `auth.docker.io`: they agree in the last two labels, or in three
/// where the last but one is a category, as in `co.uk`.
fn same_site(a: &str, b: &str) -> bool {
    fn site(host: &str) -> Option<&str> {
        let labels: Vec<&str> = host.split('.').collect();
        let second = labels.len().checked_sub(2).and_then(|at| labels.get(at))?;
        let wanted = if second.len() <= 3 && labels.last().is_some_and(|last| last.len() == 2) { 3 } else { 2 };
        let mut from_the_end = host.rmatch_indices('.').map(|(at, _)| at + 1);
        if labels.len() < wanted { None } else { host.get(from_the_end.nth(wanted - 1).unwrap_or(0)..) }
    }
    let shared = |host: &str| SHARED.iter().any(|shared| host.strip_suffix(shared).is_some_and(|rest| rest.ends_with('.')));
    site(a).is_some() && site(a) == site(b) && !shared(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A97, A98.
    #[test]
    fn credentials_go_to_the_registrys_own_token_server_only() {
        let origin = |text: &str| Url::parse(text).unwrap().origin().clone();
        let cases = [
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true, true),
            ("https://r.io", "https://r.io/token", true, true),
            ("https://r.io", "https://r.io:8443/token", true, true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true, true),
            ("https://r.example.co.uk", "https://auth.example.co.uk", true, true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/t", true, true),
            ("https://r.io", "https://evil/t", false, true),
            ("https://r.io", "https://evilr.io/t", false, true),
            ("https://r.io", "https://r.io.evil/t", false, true),
            ("https://a.co.uk", "https://b.co.uk/t", false, true),
            ("https://mine.azurecr.io", "https://evil.azurecr.io/t", false, true),
            ("https://mine.fly.dev", "https://evil.fly.dev/t", false, true),
            ("https://r.io", "http://r.io/t", false, false),
            ("https://r.io", "https://169.254.169.254/t", false, false),
            ("https://r.io", "https://[fd00::1]/t", false, false),
            ("http://127.0.0.1:5000", "http://127.0.0.2/t", false, false),
            ("http://r.io", "http://evil/t", false, false),
        ];
        for (base, realm, with_credentials, without) in cases {
            let found = |credentials| allowed(Some(&origin(base)), &origin(realm), credentials).is_ok();
            assert_eq!((found(true), found(false)), (with_credentials, without), "{base} {realm}");
        }
    }
}
