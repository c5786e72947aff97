//! Credentials for sources at other machines among the secrets of a build, by the ids that BuildKit gave them.
//!
//! ```text
//! a file         HTTP_AUTH_TOKEN_HOST, HTTP_AUTH_HEADER_HOST
//! a repository   GIT_AUTH_HEADER.HOST[:PORT], GIT_AUTH_TOKEN.HOST[:PORT], GIT_AUTH_HEADER, GIT_AUTH_TOKEN
//! ```
//!
//! The first that the caller has holds, before what the address itself says.
//!
//! Invariant: a value is read when its address is fetched, and becomes an `Authorization`, which nothing prints and which goes to the
//! origin of the address alone.

use super::Error;
use crate::http::{Authorization, Url};
use crate::run::secrets::Secret;

/// The user of a token, as hosts of repositories know it.
const TOKEN_USER: &str = "x-access-token";

/// What becomes of a value.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// It is the header.
    Header,
    /// It is a token (RFC 6750).
    Bearer,
    /// It is the password of whoever has a token.
    Password,
}

/// For the file at `url`.
pub(super) fn for_file(url: &Url, secrets: &[Secret]) -> Result<Option<Authorization>, Error> {
    let host = url.origin().host.trim_start_matches('[').trim_end_matches(']');
    let ids = [(format!("HTTP_AUTH_TOKEN_{host}"), Form::Bearer), (format!("HTTP_AUTH_HEADER_{host}"), Form::Header)];
    first(&ids, secrets)
}

/// For the repository at `url`.
pub(super) fn for_repository(url: &Url, secrets: &[Secret]) -> Result<Option<Authorization>, Error> {
    // The origin without its scheme: with a port where that is not the usual one.
    let origin = url.origin().to_string();
    let place = origin.split_once("://").map_or(origin.as_str(), |(_, place)| place);
    let ids = [
        (format!("GIT_AUTH_HEADER.{place}"), Form::Header),
        (format!("GIT_AUTH_TOKEN.{place}"), Form::Password),
        ("GIT_AUTH_HEADER".to_owned(), Form::Header),
        ("GIT_AUTH_TOKEN".to_owned(), Form::Password),
    ];
    first(&ids, secrets)
}

fn first(ids: &[(String, Form)], secrets: &[Secret]) -> Result<Option<Authorization>, Error> {
    for (id, form) in ids {
        let Some(secret) = secrets.iter().rev().find(|secret| secret.id == *id) else { continue };
        let value = secret.read().map_err(|source| Error::Secret { id: id.clone(), source })?;
        let text = value.as_line().map_err(|source| Error::Secret { id: id.clone(), source })?;
        // A variable that is not set.
        if text.is_empty() {
            continue;
        }
        return Ok(Some(match form {
            Form::Header => Authorization::header(text),
            Form::Bearer => Authorization::bearer(text),
            Form::Password => Authorization::basic(TOKEN_USER, text),
        }));
    }
    Ok(None)
}
