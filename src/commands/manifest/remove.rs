//! `coracle manifest remove`

use std::process::ExitCode;

use super::{Reach, failed, find};
use crate::commands::{CommandError, Context, Ui, args};
use crate::container::manifest_list;

/// Take an image out of a manifest list
///
/// The image is named by the digest of its manifest, by a name, or by a file of an artifact. It stays in the store. Prints the ID of
/// the list and the digest.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// The list, and an image of it
    #[arg(value_name = "LIST IMAGE")]
    operands: Vec<String>,
}

pub(crate) fn remove(ctx: &Context, ui: &mut Ui, args: &RemoveArgs) -> Result<ExitCode, CommandError> {
    args::at_least(2, &args.operands)?;
    let [list, image] = args.operands.as_slice() else {
        return Err(CommandError::usage(
            "At least two arguments are necessary: list and digest of instance to remove from list",
        ));
    };
    if image.is_empty() {
        return Err(CommandError::usage("Invalid instance \"\""));
    }
    let reach = Reach::usual(ctx)?;
    // What cannot be found below is the image.
    find(ctx, list)?;
    let removed = manifest_list::remove(ctx.store()?, list, image, &reach.access());
    let (id, digest) = removed.map_err(|error| {
        let unknown = matches!(error, manifest_list::Error::Find(_) | manifest_list::Error::Nowhere { .. });
        let error = failed(error);
        if unknown { error.context(format!("Invalid instance {image:?}")) } else { error }
    })?;
    ui.data(format_args!("{id}: {digest}"))?;
    Ok(ExitCode::SUCCESS)
}
