//! `coracle rm`: working containers go, images stay.

use std::process::ExitCode;

use super::{CommandError, Context, Ui};
use crate::container;
use crate::container::list::{Scope, list};

/// Remove working containers
///
/// The images they were made from stay. Prints the ID of each removed container.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Names or IDs of working containers
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,

    /// Remove all working containers
    #[arg(short, long)]
    all: bool,
}

pub(crate) fn rm(ctx: &Context, ui: &mut Ui, args: &RmArgs) -> Result<ExitCode, CommandError> {
    let names = match (args.all, args.operands.is_empty()) {
        (true, false) => {
            return Err(CommandError::usage("when using the --all switch, you may not pass any containers names or IDs"));
        }
        (false, true) => return Err(CommandError::usage("container ID must be specified")),
        (false, false) => args.operands.clone(),
        (true, true) => list(ctx.store()?, Scope::Working)?.into_iter().map(|listed| listed.id.to_string()).collect(),
    };
    let mut last = None;
    for name in names {
        match container::remove::remove(ctx.store()?, &name) {
            Ok(id) => ui.data(&id)?,
            Err(error) => {
                // All but the last failure are shown at once; the last one ends the program.
                if let Some(earlier) = last.replace(CommandError::from(error)) {
                    ui.note(earlier.text());
                }
            }
        }
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}
