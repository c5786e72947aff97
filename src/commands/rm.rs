//! `coracle rm`: Remove working containers

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Remove working containers
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Containers
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,
}

pub(crate) fn rm(_ctx: &Context, _ui: &mut Ui, args: &RmArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("rm {:?} is not built yet", args.operands)))
}
