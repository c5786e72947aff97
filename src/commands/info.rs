//! `coracle info`: Show the store and the machine

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Show the store and the machine
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// None
    #[arg(value_name = "OPERAND")]
    operands: Vec<String>,
}

pub(crate) fn info(_ctx: &Context, _ui: &mut Ui, args: &InfoArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("info {:?} is not built yet", args.operands)))
}
