//! `coracle tag`: more names for an image.

use std::process::ExitCode;

use containers_storage::store::NameChange;

use crate::container::find_image::find_image;
use crate::image::Reference;

use super::{CommandError, Context, Ui, args};

/// Give an image more names
///
/// A name that another image has moves to this one. A name without a domain becomes `localhost/NAME`, one without a tag gets
/// `latest`.
#[derive(Debug, clap::Args)]
pub(crate) struct TagArgs {
    /// An image, and new names for it
    #[arg(value_name = "IMAGE NAME…")]
    operands: Vec<String>,
}

pub(crate) fn tag(ctx: &Context, _ui: &mut Ui, args: &TagArgs) -> Result<ExitCode, CommandError> {
    args::at_least(2, &args.operands)?;
    let store = ctx.store()?;
    let Some((image, names)) = args.operands.split_first() else { return Ok(ExitCode::SUCCESS) };
    let found = find_image(store, ctx.registries()?, image)?;
    let mut full = Vec::new();
    for name in names {
        let reference = Reference::for_new_image(name)
            .map_err(|error| CommandError::from(error).context(format!("normalizing name {name:?}")))?;
        if reference.digest().is_some() {
            return Err(CommandError::usage(format!("{name}: tag by digest not supported")));
        }
        // One after the other, each before those that the image has: so today's Buildah leaves them.
        full.insert(0, reference.to_string());
    }
    store.change_image_names(&found.id, NameChange::Add, &full)?;
    Ok(ExitCode::SUCCESS)
}
