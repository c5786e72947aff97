//! `coracle push`: an image of the store to another place.

use std::path::PathBuf;
use std::process::ExitCode;

use super::access::{self, EncryptArgs, RegistryArgs, RetryArgs, SignatureArgs};
use super::from::write_id;
use super::progress;
use super::run_environment::containers_conf;
use super::{CommandError, Context, Ui};
use crate::conf::ContainersConf;
use crate::container::push::{self, Afterwards, Options};
use crate::image::Format;
use crate::transport::compression::{Algorithm, Method};
use crate::transport::copy::{Instances, LayerCompression, Platform, Recompress, Uncompressed, Variants};

/// Push an image of the store to another place
///
/// The place is docker://NAME at a registry, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR or
/// containers-storage:NAME; a name alone is one at a registry, and without it the image's own is meant. Layers that were compressed
/// before are written as they were.
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

/// How layers are compressed.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct CompressionArgs {
    /// Compression of layers that are not compressed: gzip, zstd or zstd:chunked
    #[arg(long, value_name = "FORMAT")]
    compression_format: Option<String>,

    /// Level of that compression: 1 to 9 for gzip, 1 to 20 for zstd
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<i32>,

    /// Compress layers anew that are compressed in another format
    #[arg(long)]
    force_compression: bool,
}

impl CompressionArgs {
    /// Whether anything was asked for.
    pub(super) fn is_given(&self) -> bool {
        self.compression_format.is_some() || self.compression_level.is_some() || self.force_compression
    }

    /// Whether a format was named, and not said what becomes of layers in another.
    pub(super) fn names_a_format(&self) -> bool {
        self.compression_format.is_some()
    }

    /// The same, with what containers.conf says where nothing names a format.
    pub(super) fn or(&self, conf: &ContainersConf) -> Self {
        let mut compression = self.clone();
        if compression.compression_format.is_none() {
            compression.compression_format = conf.engine.compression_format.clone().filter(|format| !format.is_empty());
            compression.compression_level = compression.compression_level.or(conf.engine.compression_level);
        }
        compression
    }

    /// What was asked for.
    pub(super) fn resolve(&self) -> Result<LayerCompression, CommandError> {
        let method = match (self.compression_format.as_deref(), self.compression_level) {
            (None, None) => None,
            (None, level) => Some(Method::new(Algorithm::Gzip, level)?),
            (Some("zstd:chunked"), level) => Some(Method::chunked(level)?),
            (Some(word), level) => Some(Method::new(word.parse()?, level)?),
        };
        let recompress = if self.force_compression { Recompress::OtherAlgorithm } else { Recompress::Never };
        Ok(LayerCompression { method, recompress, uncompressed: Uncompressed::default(), variants: Variants::NONE })
    }
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
    // Also for a directory, which by itself would keep them as they are.
    let uncompressed = if args.disable_compression { Uncompressed::Keep } else { Uncompressed::Compress };
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
        compression: LayerCompression { uncompressed, ..args.compression(&conf).resolve()? },
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
    /// How layers are compressed: as the flags say, else as containers.conf does, whose words do not count for what has a compression of
    /// its own.
    fn compression(&self, conf: &ContainersConf) -> CompressionArgs {
        let fixed = self.operands.get(1).is_some_and(|place| place.starts_with("docker-archive:"))
            || self.format.as_deref().is_some_and(|word| !word.is_empty());
        if fixed { self.compression.clone() } else { self.compression.or(conf) }
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

    fn resolved(format: Option<&str>, level: Option<i32>) -> Result<LayerCompression, String> {
        let args = CompressionArgs {
            compression_format: format.map(str::to_owned),
            compression_level: level,
            force_compression: false,
        };
        args.resolve().map_err(|error| error.text())
    }

    #[test]
    fn a_level_alone_is_one_of_gzip() {
        assert_eq!(resolved(None, None).map(|compression| compression.method), Ok(None));
        let gzip = Method::new(Algorithm::Gzip, Some(9)).unwrap();
        assert_eq!(resolved(None, Some(9)).map(|compression| compression.method), Ok(Some(gzip)));
        assert!(resolved(None, Some(19)).is_err());
        assert!(resolved(Some("zstd"), Some(19)).is_ok());
        assert!(resolved(Some("lz4"), None).unwrap_err().contains("lz4"));
    }

    #[test]
    fn formats_are_buildahs_without_the_oldest() {
        assert!(matches!(format("oci"), Ok(Format::Oci)));
        assert!(matches!(format("v2s2"), Ok(Format::Docker)));
        assert!(matches!(format("docker"), Ok(Format::Docker)));
        assert!(format("v2s1").is_err() && format("zz").is_err());
    }
}
