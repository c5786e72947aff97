//! `coracle check`: Check the store

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Check the store
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// None
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn check(_ctx: &Context, _ui: &mut Ui, args: &CheckArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("check {:?} is not built yet", args.operands)))
}
