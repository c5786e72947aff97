//! `coracle images`: List images

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// List images
#[derive(Debug, clap::Args)]
pub(crate) struct ImagesArgs {
    /// Image
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,
}

pub(crate) fn images(_ctx: &Context, _ui: &mut Ui, args: &ImagesArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("images {:?} is not built yet", args.operands)))
}
