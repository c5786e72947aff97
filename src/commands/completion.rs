//! `coracle completion`: Print a completion script

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Print a completion script
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    operands: Vec<String>,
}

pub(crate) fn completion(_ctx: &Context, _ui: &mut Ui, args: &CompletionArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("completion {:?} is not built yet", args.operands)))
}
