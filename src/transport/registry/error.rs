//! What a registry answers instead of what was asked for, in words for people.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::conf::auth;
use crate::conf::registries::{Blocked, Denied};
use crate::http;
use crate::{conf, image::reference};

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection, TLS, a redirect, or what came is no HTTP.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// An answer that says why.
    #[error("{text}")]
    Refused {
        /// The status.
        status: u16,
        /// The code of the distribution specification, as `MANIFEST_UNKNOWN`; empty if there is none.
        code: String,
        /// The words.
        text: String,
        /// The pause that it asks for.
        pause: Option<Duration>,
    },
    /// Too many requests.
    #[error("toomanyrequests: {host} limits how much may be pulled or asked: {text}")]
    RateLimited {
        /// The registry.
        host: String,
        /// Its words.
        text: String,
        /// The pause that it asks for.
        pause: Option<Duration>,
    },
    /// Somebody who is not the registry would get the password.
    #[error("{host} wants the credentials to be sent to {realm}: {reason}")]
    Realm {
        /// The registry.
        host: String,
        /// Where they would go.
        realm: String,
        /// Why they don't.
        reason: &'static str,
    },
    /// No token was given.
    #[error("getting a token for {host} from {realm}")]
    Token {
        /// The registry.
        host: String,
        /// The token server.
        realm: String,
        /// Why.
        source: Box<Error>,
    },
    /// An answer that cannot be understood.
    #[error("{host}: {problem}")]
    Answer {
        /// The registry.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// User and password are wrong. The words are the other tools'.
    #[error("invalid username/password")]
    InvalidLogin,
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] auth::Error),
    /// The certificates cannot be read.
    #[error(transparent)]
    Certificates(#[from] http::CertificateError),
    /// registries.conf cannot be read.
    #[error(transparent)]
    Settings(#[from] conf::Error),
    /// An address of signatures in registries.d that is none, or not for this.
    #[error("the place {address:?} for signatures: {problem}")]
    Lookaside {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// registries.d does not want signatures of sigstore at the registry. The words are the other tools'.
    #[error(
        "writing sigstore attachments is disabled by configuration: set use-sigstore-attachments in registries.d, or use --remove-signatures"
    )]
    NoAttachments,
    /// A form of signatures that has no place.
    #[error("a signature has a form that is not known here: use --remove-signatures")]
    UnknownSignature,
    /// registries.conf says no.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// `BUILD_REGISTRY_SOURCES` says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It calls a registry insecure that the flags want to be secure. The words are the other tools'.
    #[error("can't require tls verification on an insecured registry")]
    InsecureAllowed,
    /// What registries.conf makes of a name is none.
    #[error("{name:?}, which registries.conf has for it, is no repository")]
    Rewritten {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: reference::Error,
    },
}

/// How much an answer tells. Of several places the first with the most is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relevance {
    /// It is not there.
    NotThere,
    /// The place could not be asked.
    NotAsked,
    /// The place refused.
    Refused,
    /// It would have answered at another time.
    Limited,
}

impl Error {
    /// Whether the same may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Http(error) => error.is_transient(),
            Self::Refused { status, .. } => is_busy(*status),
            Self::RateLimited { .. } => true,
            Self::Token { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// How long the server wants to be left alone (`Retry-After`).
    pub fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Refused { pause, .. } | Self::RateLimited { pause, .. } => *pause,
            Self::Token { source, .. } => source.asked_pause(),
            _ => None,
        }
    }

    /// How much it tells.
    pub fn relevance(&self) -> Relevance {
        match self {
            Self::Refused { status: 404, .. } => Relevance::NotThere,
            Self::Http(_) => Relevance::NotAsked,
            Self::RateLimited { .. } => Relevance::Limited,
            Self::Token { source, .. } => source.relevance(),
            _ => Relevance::Refused,
        }
    }
}

/// Whether a status says that the server has a difficulty of its own.
pub(super) fn is_busy(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// The longest body of an error that is read.
const MAX_BYTES: usize = 64 << 10;
/// The most letters of it that are shown.
const MAX_SHOWN: usize = 400;

/// Members that are no text say nothing; what is beside them still does.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    errors: Value,
    /// Of token servers and of some registries.
    #[serde(default)]
    details: Value,
    #[serde(default)]
    message: Value,
}

/// The error that an answer is. Reads its body.
pub(super) fn of(response: http::Response, host: &str) -> Error {
    let status = response.status();
    let pause = response.header("Retry-After").and_then(|value| http::retry_after(value, Timestamp::now()));
    let body = response.read_all(MAX_BYTES).unwrap_or_default();
    let (code, text) = words(status, &body);
    if status == 429 {
        return Error::RateLimited { host: host.to_owned(), text, pause };
    }
    Error::Refused { status, code, text, pause }
}

/// The code of the first error in a body, and what to print.
fn words(status: u16, body: &[u8]) -> (String, String) {
    let shortened = |text: &str| text.trim().chars().take(MAX_SHOWN).collect::<String>();
    let document: Option<Document> = serde_json::from_slice(body).ok();
    if let Some(entry) = document.as_ref().and_then(|document| document.errors.get(0)) {
        let member = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let given = shortened(member("code"));
        let code = given.replace('_', " ").to_ascii_lowercase();
        let message = shortened(member("message"));
        let text = match (code.as_str(), message.as_str()) {
            ("", "") => standard(status),
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) if message.eq_ignore_ascii_case(code) => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        return (given, text);
    }
    let told = document.as_ref().map(|document| [&document.details, &document.message]);
    let told = told.into_iter().flatten().filter_map(Value::as_str).find(|text| !text.is_empty());
    match told {
        Some(text) => (String::new(), format!("{}: {}", standard(status), shortened(text))),
        None => (String::new(), standard(status)),
    }
}

fn standard(status: u16) -> String {
    let words = match status {
        401 => "unauthorized: authentication required",
        403 => "denied: requested access to the resource is denied",
        404 => "not found",
        405 => "the registry does not support this",
        413 => "the registry takes no blob of that size",
        429 => "too many requests",
        500..=599 => "the registry has a difficulty",
        _ => "unexpected answer",
    };
    format!("{words} (status {status})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_own_words_are_used() {
        let text = |status, body: &str| words(status, body.as_bytes()).1;
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        assert_eq!(text(404, unknown), "manifest unknown");
        let denied = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        assert_eq!(text(401, denied), "unauthorized: authentication required");
        assert_eq!(text(401, "<html>"), "unauthorized: authentication required (status 401)");
        assert_eq!(
            text(401, r#"{"details":"incorrect username or password"}"#),
            format!("{}: incorrect username or password", standard(401))
        );
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert_eq!(text(500, &long).len(), MAX_SHOWN);
        assert_eq!(text(500, &long.replace("message", "code")).len(), MAX_SHOWN);
        assert_eq!(text(500, r#"{"errors":[{}]}"#), standard(500));
        for (body, words) in [
            (r#"{"errors":[{"code":403,"message":"no quota"}]}"#, "no quota"),
            (r#"{"errors":[{"code":"DENIED","message":null}]}"#, "denied"),
            (r#"{"errors":["x"]}"#, &standard(403)),
            (r#"{"errors":null}"#, &standard(403)),
            (r#"{"errors":[],"message":"in words","details":{"x":1}}"#, &format!("{}: in words", standard(403))),
            ("null", &standard(403)),
            ("[]", &standard(403)),
        ] {
            assert_eq!(text(403, body), words, "{body}");
        }
    }

    #[test]
    fn a_rate_limit_tells_more_than_a_missing_image() {
        let refused = |status| Error::Refused { status, code: String::new(), text: String::new(), pause: None }.relevance();
        let limited = Error::RateLimited { host: String::new(), text: String::new(), pause: None }.relevance();
        assert!(limited > refused(403) && refused(403) == refused(401) && refused(401) > refused(404));
        assert!(Error::Http(http::Error::NoHost { host: "x".into() }).relevance() > refused(404));
    }
}
