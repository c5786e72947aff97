//! Sending a blob: only what is not there.
//!
//! ```text
//! known digest    HEAD ─▶ there: done      POST ?mount&from ─▶ 201: done
//!                 POST ─▶ PUT ?digest with all bytes
//! made on the way POST ─▶ PATCH with a stream ─▶ PUT ?digest
//! ```
//!
//! An upload is asked for once, and its parts are sent once: whoever has the bytes begins anew.
//!
//! Invariant: the address that the registry gives for an upload may be another server's; what authorizes us is not sent there (known
//! attacks A101, `session`).

use containers_storage::Digest;

use super::error::{self, Error};
use super::session::{Body, Call, Session, Target};
use crate::http::{Method, Response, Url};

/// Whether the registry has the blob in this repository, and its length; not, where it cannot be asked that.
pub(super) fn find(session: &Session, digest: &Digest) -> Result<Option<u64>, Error> {
    let response = session.send(Call {
        method: Method::Head,
        target: Target::Path(format!("/v2/{}/blobs/{digest}", session.path())),
        headers: Vec::new(),
        scopes: vec![session.push_scope()],
        body: Body::None,
    })?;
    match response.status() {
        200 => Ok(response.header("Content-Length").and_then(|length| length.parse().ok())),
        404 => Ok(None),
        // A server before the registry lets no such question through: the upload shows what is missing.
        405 | 501 => Ok(None),
        _ => Err(error::of(response, session.host())),
    }
}

/// What came of an attempt to take a blob over from another repository of the registry.
pub(super) enum Mounted {
    /// It is there now.
    Yes,
    /// It is not; an upload can go on here.
    No(Url),
}

/// Has the registry take the blob over from its repository `from`.
pub(super) fn mount(session: &Session, digest: &Digest, from: &str) -> Result<Mounted, Error> {
    let target = format!("/v2/{}/blobs/uploads/?mount={digest}&from={from}", session.path());
    let scopes = vec![session.push_scope(), Session::pull_scope(from)];
    let response = session.send(post(target, scopes))?;
    match response.status() {
        201 => Ok(Mounted::Yes),
        202 => Ok(Mounted::No(location(session, &response)?)),
        _ => Err(error::of(response, session.host())),
    }
}

/// Begins an upload.
pub(super) fn begin(session: &Session) -> Result<Url, Error> {
    let target = format!("/v2/{}/blobs/uploads/", session.path());
    let response = session.send_once(post(target, vec![session.push_scope()]))?;
    if response.status() != 202 {
        return Err(error::of(response, session.host()));
    }
    location(session, &response)
}

fn post(target: String, scopes: Vec<String>) -> Call<'static> {
    Call { method: Method::Post, target: Target::Path(target), headers: Vec::new(), scopes, body: Body::None }
}

/// Sends a part of a blob, and answers with where to go on.
pub(super) fn send(session: &Session, at: &Url, body: Body<'_>) -> Result<Url, Error> {
    let response = session.send_once(Call {
        method: Method::Patch,
        target: Target::At(at.clone()),
        headers: vec![("Content-Type", "application/octet-stream".to_owned())],
        scopes: vec![session.push_scope()],
        body,
    })?;
    if !matches!(response.status(), 202 | 204 | 201) {
        return Err(error::of(response, session.host()));
    }
    location(session, &response)
}

/// Ends an upload, perhaps with all of its bytes.
pub(super) fn end(session: &Session, at: &Url, digest: &Digest, body: Body<'_>) -> Result<(), Error> {
    let at = at.with_query(&[("digest", digest.as_str())]);
    let response = session.send_once(Call {
        method: Method::Put,
        target: Target::At(at),
        headers: vec![("Content-Type", "application/octet-stream".to_owned())],
        scopes: vec![session.push_scope()],
        body,
    })?;
    if !matches!(response.status(), 201 | 204 | 202) {
        return Err(error::of(response, session.host()));
    }
    Ok(())
}

/// Sends a manifest or index. `selector` is its tag or digest.
pub(super) fn put_manifest(session: &Session, selector: &str, bytes: &[u8], media_type: &str) -> Result<(), Error> {
    let response = session.send(Call {
        method: Method::Put,
        target: Target::Path(format!("/v2/{}/manifests/{selector}", session.path())),
        headers: vec![("Content-Type", media_type.to_owned())],
        scopes: vec![session.push_scope()],
        body: Body::Bytes(bytes),
    })?;
    if response.is_success() { Ok(()) } else { Err(error::of(response, session.host())) }
}

/// Gives an upload up; the registry forgets it by itself, if it does not hear of this.
pub(super) fn cancel(session: &Session, at: &Url) {
    let scopes = vec![session.push_scope()];
    let (headers, body) = (Vec::new(), Body::None);
    if let Err(error) =
        session.send_once(Call { method: Method::Delete, target: Target::At(at.clone()), headers, scopes, body })
    {
        log::debug!("{}: giving an upload up: {error}", session.host());
    }
}

fn location(session: &Session, response: &Response) -> Result<Url, Error> {
    let wrong = |problem: String| Error::Answer { host: session.host().to_owned(), problem };
    let given = response.header("Location").ok_or_else(|| wrong("it began an upload and did not say where".to_owned()))?;
    response.url().join(given).map_err(|error| wrong(format!("an upload should go to {:?}: {}", error.text, error.reason)))
}
