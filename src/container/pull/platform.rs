//! What an image is for, and whether that is what was wished for.

use containers_storage::store::Store;

use super::{Error, Fetch};
use crate::container::find_image::Found;
use crate::container::from;
use crate::golang::goarch;
use crate::transport::Platform;

/// Why an image of the store will not do, if another platform was wished for.
pub(super) fn misfit(store: &Store, operand: &str, found: &Found, fetch: &Fetch<'_>) -> Result<Option<Error>, Error> {
    let Some(wished) = fetch.platform else { return Ok(None) };
    // Many images do not say truly what they are for, so that the machine's own platform is not insisted on.
    let own = Platform::of_this_machine();
    let of_image = of_image(store, found)?;
    let fits = |wished: &str, own: &str, found: &str| wished == own || wished == found;
    if fits(&wished.os, &own.os, &of_image.os)
        && fits(&wished.architecture, &own.architecture, &of_image.architecture)
        && fits(&wished.variant, "", &of_image.variant)
    {
        return Ok(None);
    }
    let (wished, found) = (shown(wished), shown(&of_image));
    Ok(Some(Error::OtherPlatform { operand: operand.to_owned(), wished, found, source: None }))
}

/// What the image's config says that it is for.
pub(super) fn of_image(store: &Store, found: &Found) -> Result<Platform, Error> {
    let (_, config) = from::read_base(store, found).map_err(Box::new)?;
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    Ok(Platform {
        os: or(&config.os, "linux"),
        architecture: or(&config.architecture, goarch()),
        variant: config.variant.clone(),
    })
}

pub(super) fn shown(platform: &Platform) -> String {
    let Platform { os, architecture, variant } = platform;
    if variant.is_empty() { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") }
}
