//! `coracle tag`: Give an image another name

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Give an image another name
#[derive(Debug, clap::Args)]
pub(crate) struct TagArgs {
    /// Image and names
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn tag(_ctx: &Context, _ui: &mut Ui, args: &TagArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("tag {:?} is not built yet", args.operands)))
}
