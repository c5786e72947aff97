//! `coracle from`: a working container on an image, or on nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use super::access::{DecryptArgs, Images, RegistryArgs, RetryArgs};
use super::info::note_driver;
use super::platform::PlatformArgs;
use super::pull_policy::PullArgs;
use super::run_environment::{RunEnvironmentArgs, containers_conf};
use super::user_namespace::UserNamespaceArgs;
use super::{CommandError, Context, Ui, args};
use crate::container::fetch::{self, Repository};
use crate::container::from;
use crate::container::on_build;
use crate::image::Format;

/// Make a working container from an image
///
/// The image is one of the store, else one of a registry or of another place (oci:DIR, docker-archive:FILE, …), which is pulled
/// first, or the word scratch for an empty root directory. Prints the container's name.
#[derive(Debug, clap::Args)]
pub(crate) struct FromArgs {
    /// Image, or scratch
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,

    /// Write the container's ID to this file
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    cidfile: Option<PathBuf>,

    #[command(flatten)]
    decryption: DecryptArgs,

    /// Format that the container notes: oci or docker (what a commit writes is its own --format; default: oci)
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Name of the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    pull: PullArgs,

    /// Be quiet about progress
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    retries: RetryArgs,

    #[command(flatten)]
    platform: PlatformArgs,

    #[command(flatten)]
    environment: RunEnvironmentArgs,

    #[command(flatten)]
    user_namespace: UserNamespaceArgs,
}

pub(crate) fn from(ctx: &Context, ui: &mut Ui, args: &FromArgs) -> Result<ExitCode, CommandError> {
    let Some(image) = args.operands.first() else {
        return Err(CommandError::usage("an image name (or \"scratch\") must be specified"));
    };
    if args.operands.len() > 1 {
        return Err(CommandError::usage("too many arguments specified"));
    }
    let store = ctx.store()?;
    let rootless = store.conf().rootless;
    let conf = containers_conf(ctx, rootless)?;
    let user_namespace = args.user_namespace.resolve(ctx, &conf)?;
    let wish = args.platform.resolve()?;
    let options = from::Options {
        // As with Buildah, where no name is that of no image.
        image: if image.is_empty() { "scratch".to_owned() } else { image.clone() },
        name: args.name.clone().filter(|name| !name.is_empty()),
        format: format(ctx, args.format.as_deref())?,
        environment: args.environment.resolve(ctx, &conf, rootless, &user_namespace)?,
        user_namespace,
        labels: args.environment.labels(&conf)?,
        platform: wish.platform.clone(),
    };
    // Said once, with the first container of a store; `info` says it again.
    let is_first = !store.containers_dir().exists();
    let network = args.registry.network(ctx, &args.retries.or(&conf))?;
    let policy = args.pull.resolve()?;
    wish.warning.into_iter().for_each(|warning| ui.warning(warning));
    let images = Images::new(ctx, wish.platform, args.quiet.into(), network.clone())?.with_keys(&args.decryption)?;
    let outcome = from::from(store, &options, &images.fetch(policy))?;
    outcome.notices.iter().for_each(|notice| ui.note(notice));
    outcome.warnings.iter().for_each(|warning| ui.warning(warning));
    if is_first {
        note_driver(ui, store.conf());
    }
    if let Some(path) = args::given(&args.cidfile) {
        std::fs::write(path, outcome.id.as_str()).map_err(|error| {
            let doing = format!("failed to write container ID file {path:?}: open {}", path.display());
            CommandError::from(error).context(doing)
        })?;
    }
    let id = outcome.id.as_str();
    let temp_dir = ctx.temp_dir();
    let repository = Repository::default();
    let fetch = fetch::Options { network: &network, checksum: None, temp_dir: &temp_dir, repository, secrets: &[] };
    let means = on_build::Means { conf: &conf, fetch };
    for (step, trigger) in outcome.on_build.iter().enumerate() {
        if !args.quiet {
            ui.note(format!("STEP {}: {}", step + 1, trigger.lines().next().unwrap_or_default()));
        }
        on_build::execute(store, id, trigger, &means, &mut |line| ui.note(line)).map_err(failed_trigger)?;
    }
    if !outcome.on_build.is_empty() {
        on_build::clear(store, id)?;
    }
    ui.data(&outcome.name)?;
    Ok(ExitCode::SUCCESS)
}

/// The value of `--format`, else `BUILDAH_FORMAT`, else OCI.
pub(super) fn format(ctx: &Context, given: Option<&str>) -> Result<Format, CommandError> {
    Ok(given.or_else(|| ctx.environment().engine("FORMAT")).unwrap_or_default().parse()?)
}

/// Files with an ID end without a newline: scripts read them whole.
pub(super) fn write_id(path: &std::path::Path, id: &str) -> Result<(), CommandError> {
    std::fs::write(path, id).map_err(|error| CommandError::from(error).context(format!("writing {path:?}")))
}

/// The status of a trigger's command is that of the verb, as with Buildah.
fn failed_trigger(error: on_build::Error) -> CommandError {
    let status = if let on_build::Error::Status { status, .. } = error { status } else { super::error::FAILURE };
    CommandError::from(error).with_status(status)
}
