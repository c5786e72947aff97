//! `coracle umount`: takes down what `coracle mount` left.

use std::process::ExitCode;

use super::{CommandError, Context, Ui};
use crate::container::mount::mounted;
use crate::container::umount;

/// Unmount working containers
///
/// Prints the ID of each that was mounted.
#[derive(Debug, clap::Args)]
pub(crate) struct UmountArgs {
    /// Names or IDs of working containers
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,

    /// Unmount all that are mounted here
    #[arg(short, long)]
    all: bool,
}

pub(crate) fn umount(ctx: &Context, ui: &mut Ui, args: &UmountArgs) -> Result<ExitCode, CommandError> {
    let names = match (args.all, args.operands.is_empty()) {
        (true, false) => return Err(CommandError::usage("when using the --all switch, you may not pass any container IDs")),
        (false, true) => return Err(CommandError::usage("at least one container ID must be specified")),
        (false, false) => args.operands.clone(),
        (true, true) => mounted(ctx.store()?)?.into_iter().map(|point| point.id.to_string()).collect(),
    };
    let mut last = None;
    for name in names {
        match umount::umount(ctx.store()?, &name) {
            Ok(Some(id)) => ui.data(&id)?,
            Ok(None) => {}
            Err(error) => {
                if let Some(earlier) = last.replace(CommandError::from(error)) {
                    ui.note(earlier.text());
                }
            }
        }
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}
