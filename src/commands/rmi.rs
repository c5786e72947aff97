//! `coracle rmi`: Remove images

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Remove images
#[derive(Debug, clap::Args)]
pub(crate) struct RmiArgs {
    /// Images
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,
}

pub(crate) fn rmi(_ctx: &Context, _ui: &mut Ui, args: &RmiArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("rmi {:?} is not built yet", args.operands)))
}
