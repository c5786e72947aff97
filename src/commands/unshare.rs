//! `coracle unshare`: Run a command in the user namespace of the store

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Run a command in the user namespace of the store
#[derive(Debug, clap::Args)]
pub(crate) struct UnshareArgs {
    /// Command
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn unshare(_ctx: &Context, _ui: &mut Ui, args: &UnshareArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("unshare {:?} is not built yet", args.operands)))
}
