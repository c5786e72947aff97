//! `coracle copy`: Copy files into a working container

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Copy files into a working container
#[derive(Debug, clap::Args)]
pub(crate) struct CopyArgs {
    /// Container, sources, destination
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn copy(_ctx: &Context, _ui: &mut Ui, args: &CopyArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("copy {:?} is not built yet", args.operands)))
}

/// Copy files into a working container, unpacking archives
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// Container, sources, destination
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn add(_ctx: &Context, _ui: &mut Ui, args: &AddArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("add {:?} is not built yet", args.operands)))
}
