//! `coracle manifest rm`

use std::process::ExitCode;

use super::find;
use crate::commands::removal::{InUse, Removal};
use crate::commands::{CommandError, Context, Ui, args};

/// Remove manifest lists from the store
///
/// Its images stay. Of a list with several names only the given one goes. Prints what went.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Lists to remove
    #[arg(value_name = "LIST…")]
    operands: Vec<String>,
}

pub(crate) fn rm(ctx: &Context, ui: &mut Ui, args: &RmArgs) -> Result<ExitCode, CommandError> {
    args::at_least(1, &args.operands)?;
    let mut removal = Removal::new(ctx, InUse::Refuse)?;
    for operand in &args.operands {
        match find(ctx, operand) {
            Ok(_) => removal.remove(operand),
            Err(error) => removal.failed(error),
        }
    }
    removal.finish(ui)?;
    Ok(ExitCode::SUCCESS)
}
