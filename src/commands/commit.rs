//! `coracle commit`: Make an image of a working container

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Make an image of a working container
#[derive(Debug, clap::Args)]
pub(crate) struct CommitArgs {
    /// Container, image
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn commit(_ctx: &Context, _ui: &mut Ui, args: &CommitArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("commit {:?} is not built yet", args.operands)))
}
