//! `coracle pull`: images of other places into the store.

use std::process::ExitCode;

use super::access::{self, Images, RegistryArgs, RetryArgs};
use super::platform::PlatformArgs;
use super::{CommandError, Context, Ui};
use crate::container::pull::{self, PullPolicy};
use crate::image::Location;

/// Pull an image from another place into the store
///
/// The place is oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR or tarball:FILE. An image of the store
/// is looked up only. Prints the image's ID.
#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// Place of an image
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,

    /// Pull all tags of a repository; needs a registry
    #[arg(short, long)]
    all_tags: bool,

    /// When to ask a registry: missing, never, always or newer
    #[arg(long, value_name = "POLICY", default_value = "missing")]
    policy: String,

    /// Be quiet about progress
    #[arg(short, long)]
    quiet: bool,

    /// Accepted for scripts: no signatures are kept
    #[arg(long)]
    remove_signatures: bool,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    retries: RetryArgs,

    #[command(flatten)]
    platform: PlatformArgs,
}

pub(crate) fn pull(ctx: &Context, ui: &mut Ui, args: &PullArgs) -> Result<ExitCode, CommandError> {
    let image = match args.operands.as_slice() {
        [] => return Err(CommandError::usage("an image name must be specified")),
        [image] => image,
        _ => return Err(CommandError::usage("too many arguments specified")),
    };
    args.registry.check()?;
    args.retries.check()?;
    let policy = policy(&args.policy)?;
    let wish = args.platform.resolve()?;
    if args.all_tags {
        return Err(all_tags(image)?);
    }
    wish.warning.into_iter().for_each(|warning| ui.note(format!("warning: {warning}")));
    let images = Images::new(ctx, wish.platform, args.quiet.into())?;
    let obtained = pull::obtain(ctx.store()?, image, &images.fetch(policy)).map_err(|error| {
        let hint = access::hint(&error);
        CommandError::from(error).hinting(hint)
    })?;
    obtained.warnings.iter().for_each(|warning| ui.note(format!("WARNING: {warning}")));
    ui.data(&obtained.found.id)?;
    Ok(ExitCode::SUCCESS)
}

/// Fewer words than `from` knows, as with Buildah.
fn policy(word: &str) -> Result<PullPolicy, CommandError> {
    match word.to_ascii_lowercase().as_str() {
        "missing" | "always" | "never" | "newer" | "ifnewer" => Ok(word.parse()?),
        _ => Err(CommandError::usage(format!("unsupported pull policy {word:?}"))),
    }
}

/// Why `--all-tags` cannot be done for `image`.
fn all_tags(image: &str) -> Result<CommandError, CommandError> {
    Ok(match Location::parse(image)? {
        Some(location) => {
            CommandError::usage(format!("pulling all tags is not supported for {} transport", location.transport()))
        }
        None => CommandError::usage(format!("pulling all tags of {image:?}: it speaks to no registry yet")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_buildahs_four() {
        for word in ["missing", "always", "never", "ifnewer", "newer", "Missing"] {
            assert!(policy(word).is_ok(), "{word}");
        }
        assert_eq!(policy("zz").unwrap_err().text(), "unsupported pull policy \"zz\"");
    }
}
