//! `coracle prune`: Remove unused images

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Remove unused images
#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    /// None
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn prune(_ctx: &Context, _ui: &mut Ui, args: &PruneArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("prune {:?} is not built yet", args.operands)))
}
