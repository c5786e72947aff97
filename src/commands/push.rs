//! `coracle push`: an image of the store to another place.

use std::path::PathBuf;
use std::process::ExitCode;

use super::access::{self, EncryptArgs, RegistryArgs, RetryArgs, SignatureArgs};
use super::compression::{CompressionArgs, Unsaid};
use super::from::write_id;
use super::progress;
use super::run_environment::containers_conf;
use super::{CommandError, Context, Ui};
use crate::conf::ContainersConf;
use crate::container::push::{self, Afterwards, Options};
use crate::image::Format;
use crate::transport::copy::{Instances, LayerCompression, Platform, Uncompressed};

/// Push an image of the store to another place
///
/// The place is docker://NAME at a registry, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR or
/// containers-storage:NAME; a name alone is one at a registry, and without it the image's own is meant. Layers that were compressed
/// before are written as they were, unless a compression is named.
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// Image, and where to
    #[arg(value_name = "IMAGE [DESTINATION]")]
    operands: Vec<String>,

    /// Push all images of a list with it
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    compression: CompressionArgs,

    /// Write the digest of the pushed manifest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    /// Write uncompressed layers as they are
    #[arg(short = 'D', long)]
    disable_compression: bool,

    /// Format of the manifest: oci, or v2s2 for docker
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Be quiet about progress
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    encryption: EncryptArgs,

    #[command(flatten)]
    signatures: SignatureArgs,

    /// Remove a list from the store after it was pushed
    #[arg(long)]
    rm: bool,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    retries: RetryArgs,
}

pub(crate) fn push(ctx: &Context, ui: &mut Ui, args: &PushArgs) -> Result<ExitCode, CommandError> {
    let (image, destination) = match args.operands.as_slice() {
        [] => return Err(CommandError::usage("at least a source image ID must be specified")),
        [image] => (image, None),
        [image, destination] => (image, Some(destination.as_str())),
        _ => return Err(CommandError::usage("Only two arguments are necessary to push: source and destination")),
    };
    if destination.unwrap_or(image).is_empty() {
        return Err(CommandError::usage("Invalid image name \"\", expected colon-separated transport:reference"));
    }
    let conf = containers_conf(ctx, ctx.store()?.conf().rootless)?;
    let network = args.registry.network(ctx, &args.retries.or(&conf))?;
    let encryption = args.encryption.read()?;
    let trust = access::policy_file(ctx)?;
    let temp_dir = ctx.temp_dir();
    let options = Options {
        image,
        destination,
        registries: ctx.registries()?,
        trust: &trust,
        temp_dir: &temp_dir,
        network: &network,
        instances: if args.all { Instances::All } else { Instances::Platform(Platform::of_this_machine()) },
        format: args.format.as_deref().filter(|word| !word.is_empty()).map(format).transpose()?,
        compression: args.compression(&conf)?,
        signatures: args.signatures.resolve(),
        encrypt: encryption.as_ref(),
        list: if args.rm { Afterwards::Remove } else { Afterwards::Keep },
        archive_time: 0,
    };
    let outcome = push::push(ctx.store()?, &options, progress::reporter(args.quiet.into()).as_ref())?;
    outcome.warnings.iter().for_each(|warning| ui.warning(warning));
    if let (Some(path), Some(manifest)) = (&args.digestfile, &outcome.manifest) {
        write_id(path, &manifest.digest.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl PushArgs {
    /// How layers are compressed. Settings for all images do not count for what has a compression of its own, nor against `-D`.
    fn compression(&self, conf: &ContainersConf) -> Result<LayerCompression, CommandError> {
        let fixed = self.operands.get(1).is_some_and(|place| place.starts_with("docker-archive:"))
            || matches!(self.format.as_deref(), Some("v2s2" | "docker"));
        let unsaid = if fixed || self.disable_compression { Unsaid::Usual } else { Unsaid::Configured(conf) };
        // Also for a directory, which by itself would keep them as they are.
        let uncompressed = if self.disable_compression { Uncompressed::Keep } else { Uncompressed::Compress };
        self.compression.resolve(unsaid, uncompressed)
    }
}

/// The format that a word means.
pub(super) fn format(word: &str) -> Result<Format, CommandError> {
    match word {
        "oci" => Ok(Format::Oci),
        "v2s2" | "docker" => Ok(Format::Docker),
        "v2s1" => Err(CommandError::usage("format \"v2s1\" is not written: tools have read v2s2 since 2016")),
        _ => Err(CommandError::usage(format!("unknown format {word:?}. Choose one of the supported formats: 'oci' or 'v2s2'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_buildahs_without_the_oldest() {
        assert!(matches!(format("oci"), Ok(Format::Oci)));
        assert!(matches!(format("v2s2"), Ok(Format::Docker)));
        assert!(matches!(format("docker"), Ok(Format::Docker)));
        assert!(format("v2s1").is_err() && format("zz").is_err());
    }
}
