//! Hints that need a look into the store: the name that was probably meant. Only computed after a failure.

use crate::container::{find_image, state};

use super::error::nearest;
use super::{CommandError, Context};

/// Adds the nearest known name to an error about an image or a container that is not known.
pub(super) fn with_nearest_name(context: &Context, error: CommandError) -> CommandError {
    let hint = nearest_image(context, &error).or_else(|| nearest_container(context, &error));
    error.hinting(hint)
}

fn nearest_image(context: &Context, error: &CommandError) -> Option<String> {
    let Some(find_image::Error::NotKnown { operand }) = error.source() else { return None };
    let images = context.opened_store()?.images().ok()?.all().ok()?;
    // People type the short form: compare with and without the domain and the tag.
    let names = images.iter().flat_map(|image| &image.names).flat_map(|name| {
        let untagged = name.rsplit_once(':').map_or(name.as_str(), |(repository, _)| repository);
        [last_component(untagged), last_component(name), untagged, name.as_str()]
    });
    nearest(operand, names).map(|name| format!("did you mean the image {name:?}?"))
}

fn nearest_container(context: &Context, error: &CommandError) -> Option<String> {
    let Some(state::Error::NotKnown { name }) = error.source() else { return None };
    let containers = context.opened_store()?.containers().ok()?.all().ok()?;
    let names = containers.iter().flat_map(|container| container.names.iter().map(String::as_str));
    nearest(name, names).map(|name| format!("did you mean the container {name:?}?"))
}

fn last_component(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
