//! `coracle config`: Change the configuration of a working container

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Change the configuration of a working container
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Container
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,
}

pub(crate) fn config(_ctx: &Context, _ui: &mut Ui, args: &ConfigArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("config {:?} is not built yet", args.operands)))
}
