//! `coracle manifest push`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{InsecureArgs, find, name};
use crate::commands::access::{self, RegistryArgs, RetryArgs, SignatureArgs};
use crate::commands::compression::{CompressionArgs, Unsaid};
use crate::commands::from::write_id;
use crate::commands::progress;
use crate::commands::push::format;
use crate::commands::run_environment::containers_conf;
use crate::commands::{CommandError, Context, Ui, args};
use crate::conf::ContainersConf;
use crate::container::push::{self as verb, Afterwards, Options};
use crate::transport::compression::Method;
use crate::transport::copy::{Instances, Uncompressed, Variants};
use crate::userns;

/// Push a manifest list and its images to another place
///
/// The place is docker://NAME at a registry, oci:DIR[:NAME], oci-archive:FILE[:NAME] or dir:DIR. Images that lie elsewhere than in the store are read from there.
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// List, and where to
    #[arg(value_name = "LIST [DESTINATION]")]
    operands: Vec<String>,

    /// Push each image in this compression as well, if none of its platform has it: gzip, zstd or zstd:chunked
    #[arg(long, value_name = "FORMAT")]
    add_compression: Vec<String>,

    /// Push the images with the list; without, they must be there already (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    all: Option<bool>,

    #[command(flatten)]
    compression: CompressionArgs,

    /// Write the digest of the pushed list to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    /// Format of the list and its images: oci, or v2s2 for docker
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Be quiet about progress
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    signatures: SignatureArgs,

    /// Remove the list from the store after it was pushed
    #[arg(long, alias = "purge")]
    rm: bool,

    /// Date what is in an oci-archive this many seconds after 1970 began (default: 0); of other places nothing is dated
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<u64>,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    retries: RetryArgs,

    #[command(flatten)]
    insecure: InsecureArgs,
}

pub(crate) fn push(ctx: &Context, ui: &mut Ui, args: &PushArgs) -> Result<ExitCode, CommandError> {
    args::at_least(1, &args.operands)?;
    let (list, destination) = match args.operands.as_slice() {
        [list] => (name(list)?, None),
        [list, destination] => (name(list)?, Some(name(destination)?)),
        _ => return Err(CommandError::usage("Only two arguments are necessary to push: source and destination")),
    };
    let conf = containers_conf(ctx, userns::is_rootless())?;
    let network = args.insecure.applied(args.registry.network(ctx, &args.retries.or(&conf))?);
    // As with Buildah, whose settings for images do not count for lists.
    let mut compression = args.compression.resolve(Unsaid::Usual, Uncompressed::AsDestination)?;
    let instances = if args.all.unwrap_or(true) { Instances::All } else { Instances::IndexOnly };
    compression.variants = args.variants(&conf)?;
    if instances == Instances::IndexOnly && !args.add_compression.is_empty() {
        return Err(CommandError::usage("cannot set --add-compression together with --all=false: it pushes images"));
    }
    find(ctx, list)?;
    let trust = access::policy_file(ctx)?;
    let temp_dir = ctx.temp_dir();
    let options = Options {
        image: list,
        destination,
        registries: ctx.registries()?,
        trust: &trust,
        temp_dir: &temp_dir,
        network: &network,
        instances,
        format: args.format.as_deref().filter(|word| !word.is_empty()).map(format).transpose()?,
        compression,
        signatures: args.signatures.resolve(),
        encrypt: None,
        list: if args.rm { Afterwards::Remove } else { Afterwards::Keep },
        archive_time: args.timestamp.unwrap_or_default(),
    };
    let outcome = verb::push(ctx.store()?, &options, progress::reporter(args.quiet.into()).as_ref())?;
    outcome.warnings.iter().for_each(|warning| ui.warning(warning));
    if let (Some(path), Some(manifest)) = (&args.digestfile, &outcome.manifest) {
        write_id(path, &manifest.digest.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl PushArgs {
    /// In which compressions each image is wanted: as the flags say, else as containers.conf does where that can be had.
    fn variants(&self, conf: &ContainersConf) -> Result<Variants, CommandError> {
        if !self.add_compression.is_empty() {
            let words = self.add_compression.iter().flat_map(|words| words.split(','));
            return Ok(words.map(|word| Method::named(word, None)).collect::<Result<_, _>>()?);
        }
        if self.format.is_some() || self.all == Some(false) {
            return Ok(Variants::NONE);
        }
        let configured = conf.engine.add_compression.iter().flatten();
        Ok(configured.map(|word| Method::named(word, None)).collect::<Result<_, _>>()?)
    }
}
