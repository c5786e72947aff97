//! `coracle commit`: an image from a working container.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use containers_storage::{Digest, ImageId};

use super::access::{self, EncryptArgs, RegistryArgs, RetryArgs};
use super::compression::{CompressionArgs, Unsaid};
use super::from::{format, write_id};
use super::progress;
use super::run_environment::{conf_environment, containers_conf};
use super::sbom::{self, SbomArgs, ScannerPullArgs};
use super::{CommandError, Context, Ui, args};
use crate::conf::Policy;
use crate::conf::policy::Verdict;
use crate::container::commit::{self, Afterwards, Clock, Documents, Edit, Export, HistoryPolicy, LayerPolicy, Outcome};
use crate::container::{find_image, push};
use crate::image::{Change, Location, merge, setting};
use crate::transport::copy::{Instances, LayerCompression, Platform, Signatures, Uncompressed};
use crate::transport::encryption::Encryption;
use crate::transport::registry::Network;

/// Make an image from a working container
///
/// Without a name the image has none. Prints the image's ID.
#[derive(Debug, clap::Args)]
pub(crate) struct CommitArgs {
    /// Working container; name of the image, or its place, as oci:DIR:NAME
    #[arg(value_name = "CONTAINER [IMAGE]")]
    operands: Vec<String>,

    /// File of the host to add: SOURCE[:PATH] (can be repeated)
    #[arg(long, value_name = "FILE")]
    add_file: Vec<String>,

    /// Annotation of the manifest: KEY=VALUE (can be repeated)
    #[arg(long, value_name = "ANNOTATION")]
    annotation: Vec<String>,

    /// Instruction that changes the image's settings, as "CMD /app" (can be repeated)
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,

    /// File with settings to merge into those of the image: Docker's config object, as JSON
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    config: Option<PathBuf>,

    /// Note the time of creation as an annotation (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    created_annotation: Option<bool>,

    /// Format: oci or docker (default: oci)
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Add the label that says what made the image (default: true, but not with a fixed time)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    identity_label: Option<bool>,

    /// Write the image's ID to this file instead of printing it
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    iidfile: Option<PathBuf>,

    /// Manifest list to add the image to; it is made if there is none
    #[arg(long, value_name = "LIST")]
    manifest: Option<String>,

    /// Write what was made to this file, as JSON
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    metadata_file: Option<PathBuf>,

    /// Leave out the history
    #[arg(long)]
    omit_history: bool,

    /// The same as --timestamp 0
    #[arg(long, hide = true)]
    omit_timestamp: bool,

    /// Be quiet about progress
    #[arg(short, long)]
    quiet: bool,

    /// File whose time of change is that of the image and of every file in the new layer
    #[arg(long, value_name = "FILE", value_parser = args::path(), hide = true)]
    reference_time: Option<PathBuf>,

    /// Give files no later time than that of --source-date-epoch
    #[arg(long)]
    rewrite_timestamp: bool,

    /// Remove the container afterwards
    #[arg(long)]
    rm: bool,

    /// Time of the image in seconds since 1970; files keep theirs
    #[arg(long, value_name = "SECONDS")]
    source_date_epoch: Option<String>,

    /// One layer instead of one more
    #[arg(long)]
    squash: bool,

    /// Time of the image and of every file in the new layer, in seconds since 1970
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    timestamp: Option<i64>,

    /// Annotation to remove (can be repeated)
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    unsetannotation: Vec<String>,

    /// Environment variable to remove (can be repeated)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    unsetenv: Vec<String>,

    #[command(flatten)]
    compression: CompressionArgs,

    /// Write layers uncompressed to another place than the store (default: true, but for a registry)
    #[arg(short = 'D', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_compression: Option<bool>,

    #[command(flatten)]
    encryption: EncryptArgs,

    /// Sign the image with this key of gpg
    #[arg(long, value_name = "FINGERPRINT")]
    sign_by: Option<String>,

    #[command(flatten)]
    sbom: SbomArgs,

    #[command(flatten)]
    scanner_pull: ScannerPullArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn commit(ctx: &Context, ui: &mut Ui, args: &CommitArgs) -> Result<ExitCode, CommandError> {
    let Some(container) = args.operands.first() else {
        return Err(CommandError::usage("container ID must be specified"));
    };
    if args.operands.len() > 2 {
        return Err(CommandError::usage("too many arguments specified"));
    }
    let place = args
        .operands
        .get(1)
        .map(String::as_str)
        .filter(|text| !matches!(Location::parse(text), Ok(None | Some(Location::Storage(_)))));
    let retries = RetryArgs::default();
    let retries = if place.is_some() { retries.configured(ctx)? } else { retries };
    let encryption = args.encryption.read()?;
    if encryption.is_some() && place.is_none() {
        return Err(CommandError::usage(
            "images of the store are not encrypted: name another place for the image, as oci:DIR:NAME, or encrypt it with push",
        ));
    }
    let network = args.registry.network(ctx, &retries)?;
    let mut options = options(ctx, args)?;
    require_policy(ctx)?;
    let reaching = sbom::Reaching { registry: &args.registry, pull: &args.scanner_pull, quiet: args.quiet };
    let scanned = args.sbom.scan(ctx, ui, container, reaching)?;
    if let Some(scanned) = &scanned {
        options.add_files.extend(scanned.add_files.iter().cloned());
    }
    let outcome = match place {
        None => {
            if sign_by(args).is_some() && options.destination.is_none() {
                return Err(CommandError::usage("an image without a name cannot be signed: give it one"));
            }
            commit::commit(ctx.store()?, container, &options, &mut |line| ui.note(line))?
        }
        Some(place) => export(ctx, ui, args, Target { place, network: &network, encrypt: encryption.as_ref() }, &options)?,
    };
    if let Some(scanned) = &scanned {
        scanned.write_host_files()?;
    }
    for warning in &outcome.warnings {
        ui.warning(warning);
    }
    if let Some(path) = args::given(&args.metadata_file) {
        write_id(path, &metadata(&outcome))?;
    }
    match args::given(&args.iidfile) {
        Some(path) => write_id(path, &format!("sha256:{}", outcome.id))?,
        None => ui.data(&outcome.id)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the image goes that does not go into the store.
struct Target<'a> {
    place: &'a str,
    network: &'a Network,
    encrypt: Option<&'a Encryption>,
}

/// Makes the image at another place than the store. Layers stay uncompressed unless something else was asked for, as with Buildah.
fn export(
    ctx: &Context,
    ui: &mut Ui,
    args: &CommitArgs,
    target: Target<'_>,
    options: &commit::Options,
) -> Result<Outcome, CommandError> {
    if args.disable_compression == Some(true) {
        args.compression.allows_none()?;
    }
    let trust = access::policy_file(ctx)?;
    let temp_dir = ctx.temp_dir();
    let push = push::Options {
        image: "",
        destination: Some(target.place),
        registries: ctx.registries()?,
        trust: &trust,
        temp_dir: &temp_dir,
        network: target.network,
        instances: Instances::Platform(Platform::of_this_machine()),
        format: None,
        compression: compression(ctx, args, target.place)?,
        signatures: Signatures { sign_by: sign_by(args), ..Signatures::default() },
        encrypt: target.encrypt,
        list: push::Afterwards::Keep,
        archive_time: 0,
    };
    let progress = progress::reporter(args.quiet.into());
    let export = Export { push, progress: progress.as_ref() };
    let container = args.operands.first().map(String::as_str).unwrap_or_default();
    Ok(commit::export(ctx.store()?, container, options, export, &mut |line| ui.note(line))?)
}

/// How layers are compressed there. What containers.conf says counts where they are compressed: it does not ask for that.
fn compression(ctx: &Context, args: &CommitArgs, place: &str) -> Result<LayerCompression, CommandError> {
    let uncompressed = match args.disable_compression {
        // A registry gets what it wants unless something else was asked for.
        None if place.starts_with("docker://") => Uncompressed::AsDestination,
        None if !args.compression.names_a_format(Unsaid::Usual) => Uncompressed::Keep,
        Some(true) => Uncompressed::Keep,
        None | Some(false) => Uncompressed::Compress,
    };
    let conf = containers_conf(ctx, ctx.store()?.conf().rootless)?;
    let unsaid = if uncompressed == Uncompressed::Keep { Unsaid::Usual } else { Unsaid::Configured(&conf) };
    args.compression.resolve(unsaid, uncompressed)
}

fn sign_by(args: &CommitArgs) -> Option<&str> {
    args.sign_by.as_deref().filter(|key| !key.is_empty())
}

/// A policy that rejects images of the local store holds for those that are made there, as with Buildah.
pub(super) fn require_policy(ctx: &Context) -> Result<(), CommandError> {
    let rootless = ctx.store()?.conf().rootless;
    let policy = Policy::load(&conf_environment(ctx, rootless), ctx.global().signature_policy.as_deref())?;
    match policy.local_store() {
        Verdict::Accept => Ok(()),
        Verdict::Reject => Err(CommandError::usage("Source image rejected: images of the local store are rejected by policy")),
        Verdict::Unsupported => {
            Err(CommandError::usage("the policy wants signatures of images in the local store, which cannot be checked yet"))
        }
    }
}

fn options(ctx: &Context, args: &CommitArgs) -> Result<commit::Options, CommandError> {
    // Buildah's order: what is unset can be set again.
    let mut edits: Vec<Edit> = args.unsetenv.iter().cloned().map(|name| Edit::Change(Change::UnsetEnv(name))).collect();
    if let Some(path) = args::given(&args.config) {
        edits.extend(config_file(path)?.into_iter().map(Edit::Change));
    }
    edits.extend(args.change.iter().cloned().map(Edit::Instruction));
    edits.extend(args.unsetannotation.iter().cloned().map(|key| Edit::Change(Change::UnsetAnnotation(key))));
    edits.extend(args.annotation.iter().map(|word| Edit::Change(setting::annotation(word))));
    Ok(commit::Options {
        destination: match args.operands.get(1).cloned().filter(|name| !name.is_empty()) {
            Some(name) => Some(find_image::unaliased(ctx.registries()?, name)?),
            None => None,
        },
        manifest_list: args.manifest.clone().filter(|name| !name.is_empty()),
        format: format(ctx, args.format.as_deref())?,
        layer: if args.squash { LayerPolicy::Squash } else { LayerPolicy::Append },
        container: if args.rm { Afterwards::Remove } else { Afterwards::Keep },
        passing: false,
        holder: None,
        edits,
        documents: Documents {
            clock: clock(ctx, args)?,
            history: if args.omit_history { HistoryPolicy::Omit } else { HistoryPolicy::Write },
            identity_label: args.identity_label,
            created_annotation: args.created_annotation.unwrap_or(true),
        },
        add_files: args.add_file.iter().map(|word| add_file(word)).collect::<Result<_, _>>()?,
        // An image for another place is signed on its way there.
        sign_by: sign_by(args).map(str::to_owned),
    })
}

/// The changes that the file of `--config` asks for.
fn config_file(path: &Path) -> Result<Vec<Change>, CommandError> {
    let refused = |what: String| CommandError::usage(what);
    let file = std::fs::File::open(path).and_then(|file| {
        let limit = crate::image::config::MAX_BYTES as u64;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    let doing = format!("reading configuration blob from file: {}", path.display());
    let bytes = file.map_err(|error| CommandError::from(error).context(doing))?;
    merge::changes(&bytes).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        refused(format!("parsing configuration blob from {:?}: {error}{cause}", path.display().to_string()))
    })
}

fn clock(ctx: &Context, args: &CommitArgs) -> Result<Clock, CommandError> {
    let given = args.source_date_epoch.as_deref().filter(|word| !word.is_empty());
    let several = [args.timestamp.is_some(), args.omit_timestamp, args.reference_time.is_some(), given.is_some()];
    if several.into_iter().filter(|given| *given).count() > 1 {
        return Err(CommandError::usage("cannot use more then one timestamp option at a time"));
    }
    if let Some(path) = &args.reference_time {
        let time = std::fs::metadata(path).map(|meta| std::os::unix::fs::MetadataExt::mtime(&meta));
        let failed =
            |error| CommandError::from(error).context(format!("reading timestamp of file {path:?}: stat {}", path.display()));
        return time.map(Clock::Timestamp).map_err(failed);
    }
    if let Some(seconds) = args.timestamp.or(args.omit_timestamp.then_some(0)) {
        return Ok(Clock::Timestamp(seconds));
    }
    let Some(word) = given.or_else(|| ctx.environment().text("SOURCE_DATE_EPOCH")) else {
        return Ok(Clock::Now);
    };
    let seconds = word
        .parse()
        .map_err(|_| CommandError::usage(format!("parsing source date epoch {word:?}: not a number of seconds")))?;
    Ok(if args.rewrite_timestamp { Clock::EpochForFiles(seconds) } else { Clock::Epoch(seconds) })
}

fn add_file(word: &str) -> Result<(PathBuf, PathBuf), CommandError> {
    match word.split_once(':') {
        Some((source, path)) if !source.is_empty() && !path.is_empty() => Ok((source.into(), path.into())),
        None if !word.is_empty() => Ok((word.into(), word.into())),
        _ => Err(CommandError::usage(format!("parsing --add-file {word:?}: want SOURCE[:PATH]"))),
    }
}

/// The document of `--metadata-file`, with the members that `build` tools agree on.
fn metadata(outcome: &Outcome) -> String {
    let manifest = Described { digest: &outcome.digest, media_type: &outcome.media_type, size: outcome.manifest_size };
    description(&outcome.id, &manifest, outcome.name.as_deref())
}

/// A manifest, as a descriptor has it.
pub(super) struct Described<'m> {
    pub(super) digest: &'m Digest,
    pub(super) media_type: &'m str,
    /// In bytes.
    pub(super) size: u64,
}

/// The same for any image.
pub(super) fn description(id: &ImageId, manifest: &Described<'_>, name: Option<&str>) -> String {
    let digest = manifest.digest.to_string();
    let mut document = serde_json::json!({
        "containerimage.config.digest": format!("sha256:{id}"),
        "containerimage.descriptor": {"mediaType": manifest.media_type, "digest": digest, "size": manifest.size},
        "containerimage.digest": digest,
    });
    if let (Some(name), Some(members)) = (name, document.as_object_mut()) {
        members.insert("image.name".to_owned(), name.into());
    }
    document.to_string()
}
