//! All tags of a repository.

use std::collections::HashSet;

use serde::Deserialize;

use super::Error as RegistryError;
use super::error;
use super::session::{Body, Call, Session, Target};
use crate::http::{Method, Response, Url};
use crate::image::Reference;
use crate::transport::{Error, Means};

/// The longest page of tags that is read.
const MAX_BYTES: usize = 4 << 20;
/// The most pages.
const MAX_PAGES: usize = 1000;
/// The most tags, and bytes of all pages: all of them are in memory at once (known attacks A110).
const MAX_TAGS: usize = 500_000;
const MAX_ALL_BYTES: usize = 32 << 20;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// The tags of the repository of `reference`, in the registry's order.
pub fn tags(reference: &Reference, means: Means<'_>) -> Result<Vec<String>, Error> {
    let repository = reference.repository();
    let failed = |source| Error::Registry { doing: format!("listing the tags of {repository}"), source: Box::new(source) };
    let places = super::places(reference, means).map_err(failed)?;
    let nowhere = || Error::NoImage { place: repository.clone(), reason: "there is no place to ask".to_owned() };
    // A mirror may have some of them only.
    let endpoint = places.into_iter().rfind(|endpoint| !endpoint.is_mirror).ok_or_else(nowhere)?;
    let session = Session::new(means.network, &endpoint, reference.domain()).map_err(failed)?;
    all(&session.with(means.silence)).map_err(failed)
}

fn all(session: &Session) -> Result<Vec<String>, RegistryError> {
    let path = format!("/v2/{}/tags/list", session.path());
    let wrong = |problem: &str| RegistryError::Answer { host: session.host().to_owned(), problem: problem.to_owned() };
    let mut tags = Vec::new();
    let mut seen = HashSet::new();
    let mut next: Option<Url> = None;
    let mut read = 0;
    for _ in 0..MAX_PAGES {
        let target = next.clone().map_or_else(|| Target::Path(path.clone()), Target::At);
        let (following, page) = session.repeated(|| {
            let scopes = vec![Session::pull_scope(session.path())];
            let (method, headers, body) = (Method::Get, Vec::new(), Body::None);
            let response = session.send_once(Call { method, target: target.clone(), headers, scopes, body })?;
            if response.status() != 200 {
                return Err(error::of(response, session.host()));
            }
            let following = following(&response, &path).map_err(wrong)?;
            Ok((following, response.read_all(MAX_BYTES)?))
        })?;
        read += page.len();
        let page: Page = serde_json::from_slice(&page).map_err(|_| wrong("the list of tags is not JSON"))?;
        tags.extend(page.tags.unwrap_or_default());
        if tags.len() > MAX_TAGS || read > MAX_ALL_BYTES {
            return Err(wrong("the list of tags is too long"));
        }
        match following {
            None => return Ok(tags),
            Some(url) if seen.insert(url.to_string()) => next = Some(url),
            Some(_) => return Err(wrong("the list of tags goes round in a circle")),
        }
    }
    Err(wrong("the list of tags has no end"))
}

/// The next page, which must be one of the same list (known attacks A102).
fn following(response: &Response, path: &str) -> Result<Option<Url>, &'static str> {
    let Some(link) = response.headers("Link").find(|link| link.contains("rel=\"next\"") || link.contains("rel=next")) else {
        return Ok(None);
    };
    let address = link.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address);
    let url = address.and_then(|address| response.url().join(address).ok()).ok_or("the next page of tags has no address")?;
    if url.origin() != response.url().origin() || url.path() != path {
        return Err("the next page of tags is somewhere else");
    }
    Ok(Some(url))
}
