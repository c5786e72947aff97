//! `coracle run`: Run a command in a working container

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Run a command in a working container
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Container and command
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn run(_ctx: &Context, _ui: &mut Ui, args: &RunArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("run {:?} is not built yet", args.operands)))
}
