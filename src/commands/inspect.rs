//! `coracle inspect`: Show the configuration of a container or an image

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Show the configuration of a container or an image
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Container or image
    #[arg(value_name = "NAME")]
    operands: Vec<String>,
}

pub(crate) fn inspect(_ctx: &Context, _ui: &mut Ui, args: &InspectArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("inspect {:?} is not built yet", args.operands)))
}
