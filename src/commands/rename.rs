//! `coracle rename`: Rename a working container

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Rename a working container
#[derive(Debug, clap::Args)]
pub(crate) struct RenameArgs {
    /// Container and new name
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn rename(_ctx: &Context, _ui: &mut Ui, args: &RenameArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("rename {:?} is not built yet", args.operands)))
}
