//! `coracle pull`: images of other places into the store.

use std::process::ExitCode;

use super::access::{self, DecryptArgs, Images, RegistryArgs, RetryArgs};
use super::platform::PlatformArgs;
use super::run_environment::containers_conf;
use super::{CommandError, Context, Ui};
use crate::container::find_image;
use crate::container::pull::{self, PullPolicy};
use crate::image::Location;
use crate::transport::registry::{self, Network};
use crate::transport::{Means, Silence};

/// Pull an image from another place into the store
///
/// The place is a registry (a name, or docker://NAME), oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR or
/// tarball:FILE. An image that is in the store is looked up only, unless the policy says otherwise. Prints the image's ID.
#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// Place of an image
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,

    /// Pull all tags of a repository
    #[arg(short, long)]
    all_tags: bool,

    /// When to ask a registry: missing, never, always or newer
    #[arg(long, value_name = "POLICY", default_value = "missing")]
    policy: String,

    /// Be quiet about progress
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    decryption: DecryptArgs,

    /// Do not keep the signatures that the image has
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
    let conf = containers_conf(ctx, ctx.store()?.conf().rootless)?;
    let network = args.registry.network(ctx, &args.retries.or(&conf))?;
    let policy = policy(&args.policy)?;
    let wish = args.platform.resolve()?;
    let names = if args.all_tags { all_tags(ctx, image, &network)? } else { vec![image.clone()] };
    // Each of the tags may be another image by now.
    let policy = if args.all_tags && policy == PullPolicy::Missing { PullPolicy::Always } else { policy };
    wish.warning.into_iter().for_each(|warning| ui.warning(warning));
    let images = Images::new(ctx, wish.platform, args.quiet.into(), network)?.with_keys(&args.decryption)?;
    let images = images.with_signatures(access::existing(args.remove_signatures));
    let mut first = None;
    for name in &names {
        let obtained = pull::obtain(ctx.store()?, name, &images.fetch(policy))?;
        obtained.warnings.iter().for_each(|warning| ui.warning(warning));
        first.get_or_insert(obtained.found.id);
    }
    if let Some(id) = first {
        ui.data(&id)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fewer words than `from` knows, as with Buildah.
fn policy(word: &str) -> Result<PullPolicy, CommandError> {
    match word.to_ascii_lowercase().as_str() {
        "missing" | "always" | "never" | "newer" | "ifnewer" => Ok(word.parse()?),
        _ => Err(CommandError::usage(format!("unsupported pull policy {word:?}"))),
    }
}

/// The names of all images of a repository.
fn all_tags(ctx: &Context, image: &str, network: &Network) -> Result<Vec<String>, CommandError> {
    let reference = match Location::parse(image)? {
        Some(Location::Registry(reference)) => reference,
        Some(location) => {
            let transport = location.transport();
            return Err(CommandError::usage(format!("pulling all tags is not supported for {transport} transport")));
        }
        None => {
            let named = find_image::at_registries(ctx.registries()?, image)?.names.into_iter().next();
            named.ok_or_else(|| CommandError::usage(format!("pulling all tags of {image:?}: it is no name of a repository")))?
        }
    };
    let temp_dir = ctx.temp_dir();
    let means =
        Means { store: ctx.store()?, temp_dir: &temp_dir, registries: ctx.registries()?, network, silence: Silence::Awaited };
    let tags = registry::tags(&reference, means)?;
    // A tag or digest that the name has of its own does not matter, as with Buildah.
    Ok(tags.iter().map(|tag| format!("{}:{tag}", reference.repository())).collect())
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
