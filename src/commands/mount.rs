//! `coracle mount`: Mount working containers

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Mount working containers
#[derive(Debug, clap::Args)]
pub(crate) struct MountArgs {
    /// Containers
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,
}

pub(crate) fn mount(_ctx: &Context, _ui: &mut Ui, args: &MountArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("mount {:?} is not built yet", args.operands)))
}
