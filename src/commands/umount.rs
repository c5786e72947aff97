//! `coracle umount`: Unmount working containers

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Unmount working containers
#[derive(Debug, clap::Args)]
pub(crate) struct UmountArgs {
    /// Containers
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,
}

pub(crate) fn umount(_ctx: &Context, _ui: &mut Ui, args: &UmountArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("umount {:?} is not built yet", args.operands)))
}
