//! `coracle containers`: List working containers

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// List working containers
#[derive(Debug, clap::Args)]
pub(crate) struct ContainersArgs {
    /// None
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn containers(_ctx: &Context, _ui: &mut Ui, args: &ContainersArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("containers {:?} is not built yet", args.operands)))
}
