//! `coracle rmi`: images, or names of images, go.

use std::process::ExitCode;

use crate::build::tidy;

use super::removal::{InUse, Removal, Which};
use super::{CommandError, Context, Ui};

/// Remove images
///
/// Of an image with several names only the given one goes. An image that others were made on top of loses its name and goes
/// together with the last of them.
#[derive(Debug, clap::Args)]
pub(crate) struct RmiArgs {
    /// Images to remove
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,

    /// Remove all images
    #[arg(short, long)]
    all: bool,

    /// Remove the working containers of an image with it, and an ID with all its names
    #[arg(short, long)]
    force: bool,

    /// Remove all images that have no name and that no other was made on top of
    #[arg(short, long)]
    prune: bool,
}

pub(crate) fn rmi(ctx: &Context, ui: &mut Ui, args: &RmiArgs) -> Result<ExitCode, CommandError> {
    check_operands(args)?;
    let in_use = if args.force { InUse::RemoveContainers } else { InUse::Refuse };
    let mut removal = Removal::new(ctx, in_use)?;
    if args.all {
        removal.remove_all(Which::All)?;
    } else if args.prune {
        removal.remove_all(Which::Dangling)?;
    }
    for operand in &args.operands {
        removal.remove(operand);
    }
    removal.finish(ui)?;
    tidy::tidy(ctx.store()?, tidy::When::Due);
    Ok(ExitCode::SUCCESS)
}

fn check_operands(args: &RmiArgs) -> Result<(), CommandError> {
    let named = !args.operands.is_empty();
    match (args.all, args.prune, named) {
        (false, false, false) => Err(CommandError::usage("image name or ID must be specified")),
        (true, _, true) => Err(CommandError::usage("when using the --all switch, you may not pass any images names or IDs")),
        (true, true, false) => Err(CommandError::usage("when using the --all switch, you may not use --prune switch")),
        (false, true, true) => {
            Err(CommandError::usage("when using the --prune switch, you may not pass any images names or IDs"))
        }
        _ => Ok(()),
    }
}
