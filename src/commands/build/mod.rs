//! `coracle build`: an image from a Dockerfile.
//!
//! ```text
//! flags ─▶ groups (one file each) ─▶ build::Options ─▶ build::build ─ Event ─▶ report
//! operand, -f, --build-context ─▶ build::context::prepare ─▶ Inputs
//! ```

mod answer;
mod every_platform;
mod image;
mod input;
mod layering;
mod output;
mod places;
mod processes;
mod report;
mod screen;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::ExitCode;

use containers_storage::Digest;

use self::output::Destination;
use self::places::{Sending, Tags};
use self::report::{Reporter, Style, Terminal};
use super::access::{DecryptArgs, Images, RegistryArgs, RetryArgs};
use super::commit::{Described, description, require_policy};
use super::error::FAILURE;
use super::from::write_id;
use super::platform::PlatformArgs;
use super::pull_policy::PullArgs;
use super::run_environment::containers_conf;
use super::sbom::SbomArgs;
use super::{CommandError, Context, Ui, args, hint};
use crate::build::context::{self, Request};
use crate::build::options::{Following, ImageOptions, Layering, Layers, NamedContext, RunOptions, Sbom, Selection, Stay};
use crate::build::source_policy::SourcePolicy;
use crate::build::{self, Options};
use crate::container::commit::sbom::Scan;
use crate::container::export;
use crate::container::pull::PullPolicy;
use crate::container::{fetch, find_image};
use crate::dockerfile;
use crate::image::Format;
use crate::image::manifest::Document;
use crate::run::secrets::Secret;
use crate::run::streams::Output;
use crate::transport::copy::{LayerCompression, Platform, Uncompressed};
use crate::transport::registry::Network;

/// Build an image from a Dockerfile
///
/// The context is a directory, a tar archive (- for one on standard input), or the address of an archive or of a git repository
/// (https://....git[#REF[:DIR]]). Without -f its Containerfile or Dockerfile is built. Prints the image's ID after the progress.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// Context
    #[arg(value_name = "CONTEXT")]
    operands: Vec<OsString>,

    #[command(flatten)]
    input: input::InputArgs,

    #[command(flatten)]
    image: image::ImageArgs,

    /// Write the files of the image, too: DIR, type=local,dest=DIR, type=tar,dest=FILE, or - for a tar archive (can be repeated)
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<String>,

    #[command(flatten)]
    answer: answer::AnswerArgs,

    #[command(flatten)]
    platform: PlatformArgs,

    /// Build for each platform for which all base images are there, as their lists say
    #[arg(long)]
    all_platforms: bool,

    #[command(flatten)]
    pull: PullArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    retries: RetryArgs,

    #[command(flatten)]
    decryption: DecryptArgs,

    #[command(flatten)]
    layering: layering::LayeringArgs,

    #[command(flatten)]
    processes: processes::ProcessArgs,

    #[command(flatten)]
    sbom: SbomArgs,

    /// Accepted for scripts: layers in the store are never compressed (default: true)
    #[arg(short = 'D', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_compression: Option<bool>,
}

/// What is the same for all platforms.
struct Prepared<'p> {
    inputs: &'p context::Inputs,
    selection: Selection,
    layering: Layering,
    image: ImageOptions,
    run: RunOptions<'p>,
    source_policy: SourcePolicy,
    policy: PullPolicy,
    following: Following,
}

impl Prepared<'_> {
    /// A build for one platform; none for this machine's.
    fn options<'o>(&'o self, images: &'o Images<'o>, platform: Option<Platform>) -> Options<'o> {
        Options {
            texts: self.inputs.texts.clone(),
            author: self.inputs.author,
            context: &self.inputs.context,
            named_contexts: &self.inputs.named,
            selection: Selection { platform, ..self.selection.clone() },
            layering: self.layering.clone(),
            image: self.image.clone(),
            run: self.run.clone(),
            source_policy: self.source_policy.clone(),
            fetch: images.fetch(self.policy),
            explain: super::error::explained,
            following: self.following,
        }
    }

    /// The directories that instructions take files from, for who scans them.
    fn contexts(&self) -> Vec<PathBuf> {
        let named = self.inputs.named.iter().filter_map(|(_, context)| match context {
            NamedContext::Files(context) => Some(context),
            NamedContext::Image(_) => None,
        });
        let place = |context: &build::options::Context| {
            std::fs::read_link(format!("/proc/self/fd/{}", context.root.as_fd().as_raw_fd())).ok()
        };
        std::iter::once(&self.inputs.context).chain(named).filter_map(place).collect()
    }
}

/// The build for one platform.
struct Job<'j> {
    ctx: &'j Context,
    args: &'j BuildArgs,
    options: Options<'j>,
    outputs: &'j [Destination],
    places: &'j [String],
    network: &'j Network,
    style: Style,
}

pub(crate) fn build(ctx: &Context, ui: &mut Ui, args: &BuildArgs) -> Result<ExitCode, CommandError> {
    let done = build_all(ctx, ui, args);
    match done {
        Err(error) if !error.is_silent() && args.answer.is_for_programs() => {
            // The program that reads this reads no text: the event is all that is said.
            let error = hint::from_store(ctx, "build", error);
            ui.finish()?;
            Ui::document(&report::failure(&error));
            Err(CommandError::status(error.exit_status()))
        }
        done => done,
    }
}

/// Builds for every platform that is asked for.
fn build_all(ctx: &Context, ui: &mut Ui, args: &BuildArgs) -> Result<ExitCode, CommandError> {
    args::at_most(1, &args.operands)?;
    let platforms = args.platform.all()?;
    args.answer.check(platforms.len())?;
    let outputs: Vec<Destination> = args.output.iter().map(|word| output::parse(word)).collect::<Result<_, _>>()?;
    let style = if outputs.contains(&Destination::Stdout) { Style::Quiet } else { args.answer.style()? };
    let Tags { names, places } = args.image.tags()?;
    if outputs.is_empty() && places.is_empty() {
        // What is written before may make their directory.
        args.answer.check_files()?;
    }
    let conf = containers_conf(ctx, ctx.store()?.conf().rootless)?;
    let selection = args.input.selection(ctx, args.processes.reads_input().then_some(1))?;
    let platforms = match selection.argument("TARGETPLATFORM").filter(|_| platforms.is_empty()) {
        Some(word) => target(word)?,
        None => platforms,
    };
    let image = args.image.resolve(ctx, names, selection.argument("SOURCE_DATE_EPOCH"))?;
    let layering = args.layering.resolve(ctx, &conf)?;
    let (policy, source_policy) = (args.pull.resolve()?, args.input.source_policy()?);
    if image.format == Format::Docker && layering.names_directories() {
        return Err(CommandError::usage(
            "a directory keeps steps in the OCI format only: name a repository for those of --format docker",
        ));
    }
    if args.layering.names_places_in_vain(&layering) {
        warn(ui, args, "--cache-from and --cache-to have no effect without --layers");
    }
    let mut run = args.processes.resolve(ctx, &conf)?;
    if style == Style::Quiet {
        run.streams.output = Output::errors()?;
    }
    let sbom = args.sbom.resolve()?;
    let network = args.registry.network(ctx, &args.retries.or(&conf))?;
    let inputs = inputs(ctx, args, &network, (&selection, &run.secrets))?;
    inputs.warnings.iter().for_each(|warning| warn(ui, args, warning));
    require_policy(ctx)?;
    args.answer.begin_log()?;
    let mut prepared =
        Prepared { inputs: &inputs, selection, layering, image, run, source_policy, policy, following: style.following() };
    if let Some(scan) = sbom {
        let scan = Scan { contexts: prepared.contexts(), ..scan };
        prepared.image.sbom = Some(Sbom { scan, run: super::run::plain_options(ctx)? });
    }
    let has_name = !prepared.image.tags.is_empty() || prepared.image.manifest_list.is_some();
    let is_read = !places.is_empty() || !outputs.is_empty() || args.answer.metadata_file().is_some();
    prepared.image.stay = match prepared.layering.layers {
        Layers::Stage if !places.is_empty() && !has_name => Stay::Passes,
        _ if is_read => Stay::IsRead,
        _ => Stay::Stays,
    };
    let images = |platform: Option<Platform>| {
        Images::new(ctx, platform, matches!(style, Style::Quiet | Style::Terminal).into(), network.clone())?
            .with_keys(&args.decryption)
    };
    let platforms = match args.all_platforms {
        true => every_platform::of_bases(ctx.store()?, &prepared.options(&images(None)?, None), policy)?,
        false => platforms,
    };
    args.answer.check(platforms.len())?;
    output::check(&outputs, platforms.len())?;
    let several = platforms.len() > 1;
    let platforms = if platforms.is_empty() { vec![None] } else { platforms.into_iter().map(Some).collect() };
    for platform in platforms {
        let images = images(platform.clone())?;
        let options = prepared.options(&images, platform.clone());
        let job = Job { ctx, args, options, outputs: &outputs, places: &places, network: &network, style };
        job.one(ui, platform.as_ref().filter(|_| several))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Warns before anything is built.
fn warn(ui: &mut Ui, args: &BuildArgs, text: &str) {
    match args.answer.is_for_programs() {
        true => Ui::document(&report::warning(text)),
        false => ui.warning(text),
    }
}

/// The platform that `--build-arg TARGETPLATFORM` names.
fn target(word: &str) -> Result<Vec<Platform>, CommandError> {
    let named = super::platform::named(word);
    Ok(vec![named.map_err(|error| error.context(format!("parsing TARGETPLATFORM value {word:?}")))?])
}

/// Opens and reads what is built.
fn inputs(
    ctx: &Context,
    args: &BuildArgs,
    network: &Network,
    (selection, secrets): (&Selection, &[Secret]),
) -> Result<context::Inputs, CommandError> {
    let temp_dir = ctx.temp_dir();
    let git_directory = match selection.keeps_git_directory() {
        Some(false) => fetch::GitDirectory::Remove,
        Some(true) | None => fetch::GitDirectory::Keep,
    };
    let repository = fetch::Repository { submodules: fetch::Submodules::Fetch, git_directory, ..fetch::Repository::default() };
    let fetch = fetch::Options { network, checksum: None, temp_dir: &temp_dir, repository, secrets };
    Ok(context::prepare(&Request {
        operand: args.operands.first().cloned(),
        files: &args.input.files(),
        ignore_file: args::given(&args.input.ignorefile),
        named: &args.input.contexts()?,
        cpp_flags: &args.input.cpp_flags(ctx)?,
        fetch: &fetch,
    })?)
}

impl Job<'_> {
    /// Builds one image; `platform` is what it is for, if there are several.
    fn one(&self, ui: &mut Ui, platform: Option<&Platform>) -> Result<(), CommandError> {
        let redirected = self.args.answer.redirect(ui, &self.wanted())?;
        let done = self.build(ui, platform).and_then(|outcome| self.hand_over(ui, outcome, platform));
        if let Some(redirected) = redirected {
            redirected.end(ui)?;
        }
        done
    }

    /// What the image is for.
    fn wanted(&self) -> Platform {
        self.options.selection.platform.clone().unwrap_or_else(Platform::of_this_machine)
    }

    fn build(&self, ui: &mut Ui, platform: Option<&Platform>) -> Result<build::Outcome<'_>, CommandError> {
        let hides_ids = self.args.answer.writes_id();
        let terminal = (self.style == Style::Terminal).then(|| Terminal::new(platform));
        let mut reporter = Reporter {
            ui,
            style: self.style,
            terminal,
            platform: platform.cloned(),
            hides_ids,
            is_for_programs: self.args.answer.is_for_programs(),
            at_work: BTreeSet::new(),
            failure: None,
        };
        let outcome = build::build(self.ctx.store()?, &self.options, &mut |event| reporter.tell(&event));
        reporter.end();
        match (outcome, reporter.failure) {
            (Err(error), _) => Err(self.failed(error)),
            (Ok(_), Some(failure)) => Err(failure),
            (Ok(outcome), None) => Ok(outcome),
        }
    }

    /// Says where in its file the reason of a failure stands, and what may help.
    fn failed(&self, error: build::Error) -> CommandError {
        let place = error.span().and_then(|span| {
            let text = self.options.texts.get(span.file)?;
            Some(dockerfile::render::render(&text.name, &text.text, span))
        });
        let (status, hints) = (error.exit_status().unwrap_or(FAILURE), error.hints());
        let failure = CommandError::from(error).with_status(status).showing(place);
        hints.into_iter().fold(failure, |failure, hint| failure.hinting(Some(hint)))
    }

    /// Writes what was asked for beside the image, and its ID.
    fn hand_over(&self, ui: &mut Ui, outcome: build::Outcome<'_>, platform: Option<&Platform>) -> Result<(), CommandError> {
        let id = &outcome.image.to_string();
        let sending = Sending {
            ctx: self.ctx,
            network: self.network,
            platform: self.wanted(),
            sign_by: self.args.image.sign_by(),
            compression: self.compression(),
            quiet: self.style == Style::Quiet,
        };
        let written = self.write(ui, id, platform).and_then(|()| sending.send(ui, id, self.places));
        drop(outcome.held);
        if self.options.image.stay == Stay::Passes {
            sending.release(id)?;
        }
        written?;
        self.args.answer.write_id(id)?;
        if self.outputs.contains(&Destination::Stdout) || self.args.answer.writes_id() {
            return Ok(());
        }
        ui.data(id)
    }

    /// How layers are compressed on the way to places that take them as they are. As with Buildah, a format that is named counts for more
    /// than `--disable-compression`.
    fn compression(&self) -> LayerCompression {
        let compression = self.options.layering.compression;
        let is_wanted = self.args.disable_compression == Some(false) || compression.uncompressed == Uncompressed::Compress;
        LayerCompression { uncompressed: if is_wanted { Uncompressed::Compress } else { Uncompressed::Keep }, ..compression }
    }

    /// Writes files of the host.
    fn write(&self, ui: &mut Ui, id: &str, platform: Option<&Platform>) -> Result<(), CommandError> {
        for destination in self.outputs {
            match platform {
                Some(platform) => self.export(ui, id, &destination.of(platform))?,
                None => self.export(ui, id, destination)?,
            }
        }
        if let Some(path) = self.args.answer.metadata_file() {
            write_id(path, &self.description(id)?)?;
        }
        Ok(())
    }

    /// The document of `--metadata-file`.
    fn description(&self, id: &str) -> Result<String, CommandError> {
        let (store, machine) = (self.ctx.store()?, Platform::of_this_machine());
        let found = find_image::find_one(store, self.ctx.registries()?, id, &machine)?;
        let manifest = store.image_data(&found.image, "manifest")?;
        let media_type = match Document::parse(&manifest, None)? {
            Document::Image(manifest) => manifest.media_type().to_owned(),
            Document::Index(_) => String::new(),
        };
        let described = Described { digest: &Digest::of(&manifest), media_type: &media_type, size: manifest.len() as u64 };
        Ok(description(&found.id, &described, found.image.names.first().map(String::as_str)))
    }

    fn export(&self, ui: &mut Ui, id: &str, destination: &Destination) -> Result<(), CommandError> {
        let (store, registries) = (self.ctx.store()?, self.ctx.registries()?);
        let clock = self.options.image.clock;
        let writing = |mut file: &File| export::export(store, registries, id, clock, export::Destination::Tar(&mut file));
        match destination {
            Destination::Directory(path) | Destination::Shared(path) => {
                export::export(store, registries, id, clock, export::Destination::Directory(path))?
            }
            Destination::Stdout => writing(&ui.handle()?)?,
            Destination::Tar(path) => {
                let opening = |error| CommandError::from(error).context(format!("open {}", path.display()));
                writing(&File::create(path).map_err(opening)?)?;
            }
        }
        Ok(())
    }
}
