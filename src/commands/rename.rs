//! `coracle rename`: another name for a working container.

use std::process::ExitCode;

use crate::container;

use super::{CommandError, Context, Ui, args};

/// Give a working container another name
#[derive(Debug, clap::Args)]
pub(crate) struct RenameArgs {
    /// A working container, and its new name
    #[arg(value_name = "CONTAINER NEW-NAME")]
    operands: Vec<String>,
}

pub(crate) fn rename(ctx: &Context, _ui: &mut Ui, args: &RenameArgs) -> Result<ExitCode, CommandError> {
    args::exactly(2, &args.operands)?;
    if let [name, new_name] = args.operands.as_slice() {
        container::rename::rename(ctx.store()?, name, new_name)?;
    }
    Ok(ExitCode::SUCCESS)
}
