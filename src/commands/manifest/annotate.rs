//! `coracle manifest annotate`

use std::process::ExitCode;

use super::{EntryArgs, Reach, failed, name};
use crate::commands::{CommandError, Context, Ui, args};
use crate::container::manifest_list::{self, Target};

/// Change what a manifest list says of an image or of itself
///
/// The image is named by the digest of its manifest, by a name, or by a file of an artifact. Prints the ID of the list, and the digest
/// if it was about an image.
#[derive(Debug, clap::Args)]
pub(crate) struct AnnotateArgs {
    /// The list, and an image of it
    #[arg(value_name = "LIST [IMAGE]")]
    operands: Vec<String>,

    /// Annotate the list itself
    #[arg(long)]
    index: bool,

    /// Image or list that the list belongs to; implies --index
    #[arg(long, value_name = "IMAGE")]
    subject: Option<String>,

    #[command(flatten)]
    entry: EntryArgs,

    /// Annotation of the image in the list, in place of all older ones (can be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
}

pub(crate) fn annotate(ctx: &Context, ui: &mut Ui, args: &AnnotateArgs) -> Result<ExitCode, CommandError> {
    let subject = args.subject.as_deref().filter(|subject| !subject.is_empty());
    let index = args.index || subject.is_some();
    args::between(1, 2, &args.operands)?;
    let overrides = args.entry.resolve(&args.annotation)?;
    let (list, target) = match args.operands.as_slice() {
        [_] if !index => {
            return Err(CommandError::usage("expected an instance digest, image name, or artifact name"));
        }
        [list] => {
            refuse_platform(&args.entry)?;
            (list, Target::Index { annotations: &overrides.annotations, subject })
        }
        [_, image] if index => {
            return Err(CommandError::usage(format!(
                "did not expect image or artifact name {image:?} when modifying the entire index"
            )));
        }
        [list, image] => (list, Target::Instance(name(image)?, &overrides)),
        _ => {
            return Err(CommandError::usage(
                "expected either a list name and --index or a list name and an image digest or image name or artifact name",
            ));
        }
    };
    let reach = Reach::usual(ctx)?;
    match manifest_list::annotate(ctx.store()?, name(list)?, &target, &reach.access()).map_err(failed)? {
        (id, Some(digest)) => ui.data(format_args!("{id}: {digest}"))?,
        (id, None) => ui.data(id)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A list has no platform.
fn refuse_platform(entry: &EntryArgs) -> Result<(), CommandError> {
    let given = [
        ("--os", entry.os.is_some()),
        ("--os-version", entry.os_version.is_some()),
        ("--os-features", !entry.os_features.is_empty()),
        ("--arch", entry.arch.is_some()),
        ("--variant", entry.variant.is_some()),
        ("--features", !entry.features.is_empty()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(CommandError::usage(format!("--index is not compatible with {flag}"))),
        None => Ok(()),
    }
}
