//! What an image is for, and whether that is what was wished for.

use containers_storage::store::Store;

use super::{Error, Fetch};
use crate::container::find_image::Found;
use crate::container::from;
use crate::golang::goarch;
use crate::transport::Platform;

/// Why an image of the store will not do, if a platform was wished for (containers/common, `libimage`: `LookupImage`). Whoever names an
/// image by its ID knows which one it is.
pub(super) fn misfit(store: &Store, operand: &str, found: &Found, fetch: &Fetch<'_>) -> Result<Option<Error>, Error> {
    let Some(wished) = fetch.platform.filter(|_| !is_id_of(operand, found)) else { return Ok(None) };
    let of_image = of_image(store, found)?;
    let is_for = (&of_image.os, &of_image.architecture) == (&wished.os, &wished.architecture);
    if is_for && (wished.variant.is_empty() || wished.variant == of_image.variant) {
        return Ok(None);
    }
    let (wished, found) = (shown(wished), shown(&of_image));
    Ok(Some(Error::OtherPlatform { operand: operand.to_owned(), wished, found, source: None }))
}

/// What to say of an image of the store that is for another machine than this one, where no platform was wished for.
pub(super) fn unlike_this_machine(store: &Store, operand: &str, found: &Found, fetch: &Fetch<'_>) -> Option<String> {
    if fetch.platform.is_some() || is_id_of(operand, found) {
        return None;
    }
    // What is wrong with an image is told where it is used.
    difference(&Platform::of_this_machine(), &of_image(store, found).ok()?)
}

/// The words about an image for another machine than the one that was expected.
pub(super) fn difference(expected: &Platform, found: &Platform) -> Option<String> {
    if (&expected.os, &expected.architecture) == (&found.os, &found.architecture) {
        return None;
    }
    Some(format!("image platform ({}) does not match the expected platform ({})", shown(found), shown(expected)))
}

fn is_id_of(operand: &str, found: &Found) -> bool {
    found.id.as_str().starts_with(operand.strip_prefix("sha256:").unwrap_or(operand))
}

/// What the image's config says that it is for.
pub(super) fn of_image(store: &Store, found: &Found) -> Result<Platform, Error> {
    let (_, config) = from::read_base(store, found).map_err(Box::new)?;
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let architecture = or(&config.architecture, goarch());
    // As in the platform that is wished for.
    let variant = or(&config.variant, if architecture == "arm" { "v7" } else { "" });
    Ok(Platform { os: or(&config.os, "linux"), architecture, variant })
}

fn shown(platform: &Platform) -> String {
    let Platform { os, architecture, variant } = platform;
    if variant.is_empty() { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") }
}
