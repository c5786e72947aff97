//! `coracle run`: a command in a working container.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use containers_storage::Root;

use super::args::{CapabilityArgs, NamespaceArgs};
use super::run_environment::{check_source, conf_environment, containers_conf, temp_dir};
use super::{CommandError, Context, Ui, args, isolation};
use crate::conf::{self, ContainersConf, mounts::Subscription};
use crate::container::run::{self, Confinement, HistoryChoice, Names, NamespaceWords, TerminalChoice};
use crate::run::devices::DeviceRequest;
use crate::run::environment::PROXY_NAMES;
use crate::run::mount_args::MountRequest;
use crate::run::{MountOptions, RootChange};
use crate::userns;

/// Run a command in a working container
///
/// Its exit status is the command's. Words after the container's name belong to the command; put -- before one that begins with a
/// minus.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Working container, command, arguments
    #[arg(value_name = "OPERAND", trailing_var_arg = true, allow_hyphen_values = true)]
    operands: Vec<String>,

    /// Add the command to the image's history
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    add_history: Option<bool>,

    #[command(flatten)]
    capabilities: CapabilityArgs,

    #[command(flatten)]
    namespaces: NamespaceArgs,

    /// Directory below which all sources of --mount type=bind are
    #[arg(long, value_name = "DIR", value_parser = args::path())]
    contextdir: Option<PathBuf>,

    /// Device of the host: SOURCE[:TARGET[:rwm]] (can be repeated)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,

    /// Environment variable: NAME=VALUE, or NAME or NAME* to hand the caller's on (can be repeated)
    #[arg(short, long, value_name = "VARIABLE")]
    env: Vec<String>,

    /// Supplementary group, or keep-groups for the caller's (can be repeated)
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    group_add: Vec<String>,

    /// Host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// How the process is kept apart from the machine: default, rootless, oci or chroot
    #[arg(long, value_name = "ISOLATION")]
    isolation: Option<String>,

    /// Mount: type=bind|tmpfs|cache,KEY=VALUE,… (can be repeated)
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,

    /// Leave the image's own /etc/hostname in place
    #[arg(long)]
    no_hostname: bool,

    /// Leave the image's own /etc/hosts in place
    #[arg(long)]
    no_hosts: bool,

    /// Use chroot where pivot_root does not work, on an initial ramfs
    #[arg(long)]
    no_pivot: bool,

    /// External runtime to run the command with: crun, runc, youki, a name of containers.conf, or a path
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<String>,

    /// Flag for the external runtime, without its leading -- (can be repeated)
    #[arg(long, value_name = "FLAG", value_delimiter = ',')]
    runtime_flag: Vec<String>,

    /// Security option: seccomp=FILE, label=…, apparmor=…, mask=…, unmask=…, no-new-privileges (can be repeated)
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,

    /// Give the command a terminal of its own
    #[arg(
        short, long, alias = "tty", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    terminal: Option<bool>,

    /// Which permissions new files of the command do not have, in octal (default: 0022)
    #[arg(long, value_name = "MASK")]
    umask: Option<String>,

    /// User: NAME|UID[:GROUP|GID]
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Exit codes that count as success (can be repeated; default: 0)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    valid_exit_codes: Vec<i32>,

    /// Directory or file of the host: SOURCE:TARGET[:OPTIONS] (can be repeated)
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,

    /// Directory that the command starts in
    #[arg(long, value_name = "DIR")]
    workingdir: Option<String>,
}

pub(crate) fn run(ctx: &Context, ui: &mut Ui, args: &RunArgs) -> Result<ExitCode, CommandError> {
    let Some((container, command)) = args.operands.split_first() else {
        return Err(CommandError::usage("container ID must be specified"));
    };
    if command.is_empty() {
        return Err(CommandError::usage("command must be specified"));
    }
    let store = ctx.store()?;
    let conf = containers_conf(ctx, store.conf().rootless)?;
    let options = options(ctx, &conf, args, command)?;
    ui.finish()?;
    let outcome = run::run(store, container, &options, &conf, &mut |line| ui.note(line)).map_err(failed)?;
    exit_status(args, outcome.status.code())
}

/// 0 outside the list of valid codes is a failure of ours; any other code outside it is the answer.
fn exit_status(args: &RunArgs, code: u8) -> Result<ExitCode, CommandError> {
    let valid = if args.valid_exit_codes.is_empty() { &[0][..] } else { &args.valid_exit_codes };
    if valid.contains(&i32::from(code)) {
        return Ok(ExitCode::SUCCESS);
    }
    if code == 0 {
        return Err(CommandError::usage("exit status 0 is not in the valid exit codes list"));
    }
    Err(CommandError::usage(format!("while running runtime: exit status {code}")).with_status(code))
}

fn failed(error: run::Error) -> CommandError {
    let status = match &error {
        run::Error::Run(error) => error.exit_code(),
        _ => super::error::FAILURE,
    };
    let hint = match &error {
        run::Error::Run(error) => error.hint(),
        _ => None,
    };
    CommandError::from(error).hinting(hint).with_status(status)
}

/// How commands are run that nobody gave flags for.
pub(super) fn plain_options(ctx: &Context) -> Result<run::Options, CommandError> {
    let environment = ctx.environment();
    let proxy = PROXY_NAMES.iter().filter_map(|name| Some(((*name).to_owned(), environment.text(name)?.to_owned()))).collect();
    Ok(run::Options {
        proxy,
        confinement: Confinement { runtime: isolation::runtime(ctx, None, &[])?, ..Confinement::default() },
        registries: ctx.registries()?.clone(),
        subscriptions: subscriptions(ctx)?,
        ..run::Options::default()
    })
}

fn options(ctx: &Context, conf: &ContainersConf, args: &RunArgs, command: &[String]) -> Result<run::Options, CommandError> {
    let environment = ctx.environment();
    let proxy = PROXY_NAMES.iter().filter_map(|name| Some(((*name).to_owned(), environment.text(name)?.to_owned()))).collect();
    let history = args.add_history.unwrap_or_else(|| environment.engine_switch("HISTORY"));
    Ok(run::Options {
        command: command.to_vec(),
        user: args.user.clone(),
        workdir: args.workingdir.clone(),
        umask: umask(args.umask.as_deref())?,
        env: environment.assigned(&args.env).iter().map(|(name, value)| format!("{name}={value}")).collect(),
        proxy,
        terminal: match args.terminal {
            Some(true) => TerminalChoice::Always,
            Some(false) => TerminalChoice::Never,
            None => TerminalChoice::Automatic,
        },
        confinement: confinement(ctx, args)?,
        mounts: mounts(ctx, conf, args)?,
        registries: ctx.registries()?.clone(),
        subscriptions: subscriptions(ctx)?,
        names: Names { hostname: args.hostname.clone(), no_hosts: args.no_hosts, no_hostname: args.no_hostname },
        history: if history { HistoryChoice::Note } else { HistoryChoice::Silent },
        ..run::Options::default()
    })
}

/// `--umask`: octal, at most 777.
fn umask(text: Option<&str>) -> Result<Option<u32>, CommandError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mask = u32::from_str_radix(text, 8).ok().filter(|mask| is_octal && *mask <= 0o777);
    mask.map(Some)
        .ok_or_else(|| CommandError::usage(format!("invalid value for umask: {text:?} is not an octal number of at most 777")))
}

fn confinement(ctx: &Context, args: &RunArgs) -> Result<Confinement, CommandError> {
    let no_pivot = args.no_pivot || ctx.environment().engine("NOPIVOT").is_some_and(|value| !value.is_empty());
    Ok(Confinement {
        cap_add: args.capabilities.cap_add.clone(),
        cap_drop: args.capabilities.cap_drop.clone(),
        security: args.security_opt.clone(),
        groups: args.group_add.clone(),
        namespaces: NamespaceWords {
            cgroup: args.namespaces.cgroupns.clone(),
            ipc: args.namespaces.ipc.clone(),
            network: args.namespaces.network.clone(),
            pid: args.namespaces.pid.clone(),
            uts: args.namespaces.uts.clone(),
        },
        isolation: isolation::chosen(ctx, args.isolation.as_deref())?,
        runtime: isolation::runtime(ctx, args.runtime.as_deref(), &args.runtime_flag)?,
        root_change: if no_pivot { RootChange::MoveMount } else { RootChange::Pivot },
        emulation: isolation::emulation(ctx),
    })
}

/// What mounts.conf lists, or the file in its place.
pub(super) fn subscriptions(ctx: &Context) -> Result<Vec<Subscription>, CommandError> {
    let environment = conf_environment(ctx, ctx.store()?.conf().rootless);
    Ok(conf::mounts::load(&environment, ctx.global().default_mounts_file.as_deref())?)
}

/// Buildah's place: the caches are shared with it.
pub(super) fn cache_dir(ctx: &Context, conf: &ContainersConf) -> Result<PathBuf, CommandError> {
    let parent = temp_dir(ctx, conf)?;
    // Buildah looks at it for every command.
    if ctx.environment().text("TMPDIR").is_some() {
        std::fs::metadata(&parent).map_err(|error| CommandError::from(error).context(format!("stat {}", parent.display())))?;
    }
    Ok(parent.join(format!("buildah-cache-{}", userns::outer_ids()?.uid)))
}

fn context(path: &Path) -> Result<Arc<Root>, CommandError> {
    let root = Root::open(path).map_err(|error| CommandError::from(error).context(format!("opening {path:?}")))?;
    Ok(Arc::new(root))
}

fn mounts(ctx: &Context, conf: &ContainersConf, args: &RunArgs) -> Result<MountOptions, CommandError> {
    let mut requests = Vec::new();
    for word in &args.volume {
        let request = MountRequest::parse_volume(word).map_err(CommandError::usage)?;
        check_source(&request)?;
        requests.push(request);
    }
    for word in &args.mount {
        let request = MountRequest::parse_mount(word).map_err(CommandError::usage)?;
        if args::given(&args.contextdir).is_none() {
            check_source(&request)?;
        }
        requests.push(request);
    }
    let devices = args.device.iter().map(|word| DeviceRequest::parse(word)).collect::<Result<_, _>>();
    Ok(MountOptions {
        requests,
        devices: devices.map_err(CommandError::usage)?,
        context: args::given(&args.contextdir).map(context).transpose()?,
        cache_dir: Some(cache_dir(ctx, conf)?),
        ..MountOptions::default()
    })
}
