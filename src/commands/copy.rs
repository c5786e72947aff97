//! `coracle copy` and `coracle add`: files into a working container.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::access::{DecryptArgs, Images, RegistryArgs, RetryArgs};
use super::{CommandError, Context, Ui, args};
use crate::container::add::{Appearance, Archives, Links, Selection, Verb, Wildcards};
use crate::container::copy::{self, Layering, Options, Origin};
use crate::container::fetch::{self, Checksum, Commit, GitDirectory, Remote, Repository};
use crate::container::pull::PullPolicy;
use crate::container::run::HistoryChoice;

/// Copy files into a working container
///
/// Of a directory the contents are copied. Without a destination the container's working directory is meant; one that ends in a
/// slash is made if need be. Prints a digest over what was copied.
#[derive(Debug, clap::Args)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    shared: TransferArgs,

    /// Make the directories of a source's name in the destination
    #[arg(long)]
    parents: bool,
}

/// Copy files into a working container, and unpack archives
///
/// A local tar archive, compressed or not, is unpacked into the destination. A source may be the address of a file (http, https) or of a
/// git repository (https://....git[#REF[:DIR]]). Everything else is as with copy.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    shared: TransferArgs,

    /// Keep the directory .git of a repository
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    keep_git_dir: Option<bool>,
}

/// What one of the two verbs alone decides.
struct Own {
    verb: Verb,
    parents: bool,
    git_directory: GitDirectory,
}

/// What `copy` and `add` have in common.
#[derive(Debug, clap::Args)]
struct TransferArgs {
    /// Working container, sources, destination
    #[arg(value_name = "OPERAND")]
    operands: Vec<OsString>,

    /// Add this step to the image's history
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    add_history: Option<bool>,

    /// Accept a pattern that matches nothing
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_empty_wildcard: Option<bool>,

    /// Take *, ? and [ in sources as patterns (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_wildcard: Option<bool>,

    /// What the file at an address must be: sha256:, sha384: or sha512: and its digits; of a repository, how its commit begins
    #[arg(long, value_name = "DIGEST")]
    checksum: Option<String>,

    /// Permissions of what is copied: octal, or changes as in u+x,go-w
    #[arg(long, value_name = "MODE")]
    chmod: Option<String>,

    /// Owner of what is copied: USER[:GROUP], names or numbers of the container
    #[arg(long, value_name = "OWNER")]
    chown: Option<String>,

    /// Directory below which all sources are
    #[arg(long, value_name = "DIR", value_parser = args::path())]
    contextdir: Option<PathBuf>,

    #[command(flatten)]
    decryption: DecryptArgs,

    /// Leave out what matches this pattern (can be repeated)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    exclude: Vec<String>,

    /// Copy from this container or image instead of the host; an image of another place, as oci:DIR, is pulled first
    #[arg(long, value_name = "NAME")]
    from: Option<String>,

    /// Copy only those files that match this pattern (can be repeated)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    include: Vec<String>,

    /// File with patterns to leave out; needs --contextdir
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    ignorefile: Option<PathBuf>,

    /// Make a layer of its own of what is copied, which does not depend on what is below
    #[arg(long)]
    link: bool,

    /// Copy a source that is a symbolic link as a link
    #[arg(long)]
    no_follow_symlinks: bool,

    /// Do not print the digest
    #[arg(short, long)]
    quiet: bool,

    /// Name below a source that must be among what --include selects (can be repeated)
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    required_path: Vec<PathBuf>,

    /// Time of everything that is copied, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<i64>,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    retries: RetryArgs,

    /// Accepted for scripts: no signatures are kept
    #[arg(long, hide = true)]
    remove_signatures: bool,
}

pub(crate) fn copy(ctx: &Context, ui: &mut Ui, args: &CopyArgs) -> Result<ExitCode, CommandError> {
    transfer(ctx, ui, &args.shared, &Own { verb: Verb::Copy, parents: args.parents, git_directory: GitDirectory::Remove })
}

pub(crate) fn add(ctx: &Context, ui: &mut Ui, args: &AddArgs) -> Result<ExitCode, CommandError> {
    let git_directory = if args.keep_git_dir == Some(true) { GitDirectory::Keep } else { GitDirectory::Remove };
    transfer(ctx, ui, &args.shared, &Own { verb: Verb::Add, parents: false, git_directory })
}

fn transfer(ctx: &Context, ui: &mut Ui, args: &TransferArgs, own: &Own) -> Result<ExitCode, CommandError> {
    let Some((container, rest)) = args.operands.split_first() else {
        return Err(CommandError::usage("requires at least 1 arg(s), only received 0"));
    };
    let (sources, destination) = match rest {
        [] => return Err(CommandError::usage("src must be specified")),
        [source] => (vec![source.clone()], None),
        [sources @ .., destination] => (sources.to_vec(), Some(PathBuf::from(destination))),
    };
    // An empty value is that of a variable that is not set, and no value.
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let context = args::given(&args.contextdir).map(Path::to_path_buf);
    if args::given(&args.ignorefile).is_some() && context.is_none() {
        return Err(CommandError::usage("--ignorefile option requires that you specify a context dir using --contextdir"));
    }
    if sources.iter().any(|source| source.is_empty()) {
        return Err(CommandError::usage("empty source location"));
    }
    if args.include.is_empty() && !args.required_path.is_empty() {
        return Err(CommandError::usage("--required-path must be used with --include"));
    }
    // Only what is fetched can need another attempt.
    let is_fetched = given(&args.from).is_some() || sources.iter().any(|source| fetch::is_address(source));
    let retries = if is_fetched { args.retries.configured(ctx)? } else { args.retries.clone() };
    let network = args.registry.network(ctx, &retries)?;
    let (checksum, commit) = expected(given(&args.checksum).as_deref(), &sources)?;
    let temp_dir = ctx.temp_dir();
    let repository = Repository { git_directory: own.git_directory, commit, ..Repository::default() };
    let fetch = fetch::Options { network: &network, checksum, temp_dir: &temp_dir, repository, secrets: &[] };
    let images = Images::new(ctx, None, args.quiet.into(), network.clone())?.with_keys(&args.decryption)?;
    let history = args.add_history.unwrap_or_else(|| ctx.environment().engine_switch("HISTORY"));
    let options = Options {
        verb: own.verb,
        archives: Archives::default(),
        sources,
        destination,
        origin: match given(&args.from) {
            None => Origin::Host(context),
            Some(name) => Origin::Named { name, fetch: images.fetch(PullPolicy::Missing) },
        },
        selection: selection(args, own.parents),
        appearance: Appearance { chown: given(&args.chown), chmod: given(&args.chmod), timestamp: args.timestamp },
        layering: if args.link { Layering::Linked } else { Layering::Container },
        history: if history { HistoryChoice::Note } else { HistoryChoice::Silent },
        fetch,
        inline: Vec::new(),
    };
    let container = container.to_string_lossy();
    let outcome = copy::copy(ctx.store()?, &container, &options, &mut |line| ui.note(line))?;
    outcome.warnings.iter().for_each(|line| ui.warning(line));
    if let (Some(digest), false) = (&outcome.digest, args.quiet) {
        ui.data(digest.hex())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What `--checksum` says, which for repositories is the beginning of a commit.
fn expected(text: Option<&str>, sources: &[OsString]) -> Result<(Option<Checksum>, Option<Commit>), CommandError> {
    let Some(text) = text else { return Ok((None, None)) };
    let refused = |error: fetch::Invalid| CommandError::usage(error.to_string());
    let is_repository = |source: &OsString| matches!(Remote::of(source), Ok(Some(Remote::Git { .. })));
    if sources.iter().any(is_repository) {
        return Ok((None, Some(Commit::read(text).map_err(refused)?)));
    }
    Ok((Some(text.parse().map_err(refused)?), None))
}

fn selection(args: &TransferArgs, parents: bool) -> Selection {
    Selection {
        exclude: args.exclude.clone(),
        include: args.include.clone(),
        required: args.required_path.clone(),
        ignore_file: args::given(&args.ignorefile).map(Path::to_path_buf),
        links: if args.no_follow_symlinks { Links::Keep } else { Links::Follow },
        wildcards: match (args.allow_wildcard, args.allow_empty_wildcard) {
            (Some(false), _) => Wildcards::Literal,
            (_, Some(true)) => Wildcards::ExpandMaybeEmpty,
            _ => Wildcards::Expand,
        },
        parents,
    }
}
