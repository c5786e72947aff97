//! `coracle manifest create`

use std::process::ExitCode;

use super::{InsecureArgs, Reach, annotations, failed, name};
use crate::commands::access::RegistryArgs;
use crate::commands::{CommandError, Context, Ui, args};
use crate::container::find_image;
use crate::container::manifest_list::{self, Entries, Existing};
use crate::transport::Platform;

/// Make a manifest list
///
/// Images are those of the store, or transport:rest. Of an image that is a list the one for this machine is added. Prints the ID of
/// the list.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Name of the list, and images for it
    #[arg(value_name = "LIST [IMAGE…]")]
    operands: Vec<String>,

    /// Add all images of those that are lists
    #[arg(long)]
    all: bool,

    /// Add the images to a list that has the name already, or to an image, which becomes the first of a list
    #[arg(long, conflicts_with = "replace")]
    amend: bool,

    /// Annotation of the list (can be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,

    /// Take the name away from a list or image that has it already
    #[arg(long)]
    replace: bool,

    /// Operating system to choose from lists
    #[arg(long, value_name = "OS", hide = true)]
    os: Option<String>,

    /// Architecture to choose from lists
    #[arg(long, value_name = "ARCH", hide = true)]
    arch: Option<String>,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    insecure: InsecureArgs,
}

pub(crate) fn create(ctx: &Context, ui: &mut Ui, args: &CreateArgs) -> Result<ExitCode, CommandError> {
    args::at_least(1, &args.operands)?;
    let annotations = annotations(&args.annotation)?;
    let Some((list, images)) = args.operands.split_first() else { return Ok(ExitCode::SUCCESS) };
    if list.is_empty() {
        return Err(CommandError::usage(
            "encountered while expanding image name \"\": parsing name \"\": invalid reference format",
        ));
    }
    let mut platform = Platform::of_this_machine();
    platform.os = args.os.clone().unwrap_or(platform.os);
    platform.architecture = args.arch.clone().unwrap_or(platform.architecture);
    let which = if args.all { Entries::All } else { Entries::Platform(platform) };
    let if_exists = match (args.amend, args.replace) {
        (true, _) => Existing::Amend,
        (_, true) => Existing::Replace,
        _ => Existing::Refuse,
    };
    let list = find_image::unaliased(ctx.registries()?, list.clone())?;
    let images: Vec<_> = images.iter().map(|image| (image.as_str(), &which)).collect();
    let reach = Reach::with(ctx, &args.registry, args.insecure)?;
    let made = manifest_list::create(ctx.store()?, name(&list)?, &images, &annotations, if_exists, &reach.access());
    ui.data(made.map_err(failed)?)?;
    Ok(ExitCode::SUCCESS)
}
