//! `coracle manifest exists`

use std::process::ExitCode;

use super::name;
use crate::commands::{CommandError, Context, Ui, args};
use crate::container::find_image;
use crate::container::manifest_list::{self, Error};

/// Say by the exit status whether there is a manifest list
///
/// The status is 0 if there is one, 1 if not, and 125 if the name is that of one image.
#[derive(Debug, clap::Args)]
pub(crate) struct ExistsArgs {
    /// Name or ID of a list
    #[arg(value_name = "LIST")]
    operands: Vec<String>,
}

pub(crate) fn exists(ctx: &Context, _ui: &mut Ui, args: &ExistsArgs) -> Result<ExitCode, CommandError> {
    args::exactly(1, &args.operands)?;
    let word = args.operands.first().map_or("", String::as_str);
    match manifest_list::find(ctx.store()?, ctx.registries()?, name(word)?) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(Error::Find(find_image::Error::NotKnown { .. })) => Err(CommandError::status(1)),
        Err(error) => Err(super::failed(error)),
    }
}
