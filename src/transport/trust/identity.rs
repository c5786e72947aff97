//! Does the name in a signature fit an image (containers-policy.json(5), `signedIdentity`). Pure.

use crate::conf::policy::Identity;
use crate::image::Reference;

/// Whether an image called `image` may have a signature for `signed`. An image without a name fits only what names one itself.
pub(super) fn fits(identity: &Identity, image: Option<&Reference>, signed: &str) -> bool {
    let Ok(signed) = Reference::named(signed) else { return false };
    match identity {
        Identity::Exact => image.is_some_and(|image| exact(image, &signed)),
        Identity::RepoDigestOrExact => image.is_some_and(|image| repo_digest_or_exact(image, &signed)),
        Identity::Repository => image.is_some_and(|image| image.repository() == signed.repository()),
        Identity::ExactReference(wanted) => Reference::named(wanted).is_ok_and(|wanted| exact(&wanted, &signed)),
        Identity::ExactRepository(wanted) => {
            Reference::named(wanted).is_ok_and(|wanted| wanted.repository() == signed.repository())
        }
        Identity::Remap { prefix, signed_prefix } => {
            let remapped = image.and_then(|image| remapped(image, prefix, signed_prefix));
            remapped.is_some_and(|image| repo_digest_or_exact(&image, &signed))
        }
    }
}

/// A name without tag and digest means no image.
fn is_whole(name: &Reference) -> bool {
    name.tag().is_some() || name.digest().is_some()
}

fn exact(image: &Reference, signed: &Reference) -> bool {
    is_whole(image) && is_whole(signed) && image == signed
}

fn repo_digest_or_exact(image: &Reference, signed: &Reference) -> bool {
    match (image.tag(), image.digest()) {
        (Some(_), _) => is_whole(signed) && image == signed,
        (None, Some(_)) => image.repository() == signed.repository(),
        (None, None) => false,
    }
}

/// The name with another beginning; as it is if it has not the one that is replaced. Only whole parts of the name count, and a host's
/// port belongs to the host.
fn remapped(image: &Reference, prefix: &str, signed_prefix: &str) -> Option<Reference> {
    let (repository, whole) = (image.repository(), image.to_string());
    match repository.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let selector = whole.strip_prefix(&repository)?;
            Reference::named(&format!("{signed_prefix}{rest}{selector}")).ok()
        }
        _ => Some(image.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_the_policy_says() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let by_digest = format!("q.io/a/b@{digest}");
        let remap = |prefix: &str, signed: &str| Identity::Remap { prefix: prefix.into(), signed_prefix: signed.into() };
        let cases = [
            (Identity::Exact, "q.io/a/b:1", "q.io/a/b:1", true),
            (Identity::Exact, "q.io/a/b:1", "q.io/a/b:2", false),
            (Identity::Exact, "q.io/a/b:1", "q.io/a/b", false),
            (Identity::Exact, "docker.io/library/b:1", "b:1", true),
            (Identity::Exact, by_digest.as_str(), "q.io/a/b:1", false),
            (Identity::RepoDigestOrExact, by_digest.as_str(), "q.io/a/b:1", true),
            (Identity::RepoDigestOrExact, "q.io/a/b:1", "q.io/a/b:2", false),
            (Identity::RepoDigestOrExact, by_digest.as_str(), "q.io/a/c:1", false),
            (Identity::Repository, "q.io/a/b:1", "q.io/a/b:2", true),
            (Identity::Repository, "q.io/a/b:1", "q.io/a/bc:1", false),
            (Identity::ExactReference("q.io/x:1".into()), "", "q.io/x:1", true),
            (Identity::ExactReference("q.io/x".into()), "", "q.io/x", false),
            (Identity::ExactRepository("q.io/x".into()), "", "q.io/x:9", true),
            (Identity::ExactRepository("q.io/x".into()), "", "q.io/y:9", false),
            (Identity::Exact, "", "q.io/x:1", false),
            (Identity::RepoDigestOrExact, "", "q.io/x:1", false),
            (remap("m.io/v", "q.io"), "m.io/v/a/b:1", "q.io/a/b:1", true),
            (remap("m.io/v", "q.io"), "m.io/vv/a:1", "q.io/v/a:1", false),
            (remap("m.io", "q.io"), "m.io:5000/a:1", "q.io:5000/a:1", false),
            (remap("m.io", "q.io"), "n.io/a:1", "n.io/a:1", true),
            (Identity::Exact, "q.io/a:1", "../q.io/a:1", false),
        ];
        for (identity, image, signed, want) in cases {
            let image = (!image.is_empty()).then(|| Reference::named(image).unwrap());
            assert_eq!(fits(&identity, image.as_ref(), signed), want, "{identity:?} {image:?} {signed}");
        }
    }
}
