//! `coracle from`: Make a working container from an image

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Make a working container from an image
#[derive(Debug, clap::Args)]
pub(crate) struct FromArgs {
    /// Image
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,
}

pub(crate) fn from(_ctx: &Context, _ui: &mut Ui, args: &FromArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("from {:?} is not built yet", args.operands)))
}
