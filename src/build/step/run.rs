//! `RUN`

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::{Done, Next, flags, source};
use crate::build::cache::Inputs;
use crate::build::error::StepError;
use crate::build::event::{Event, Tell};
use crate::build::late::CreatedBy;
use crate::build::stage::Stage;
use crate::container::add::{self, ContextIgnore, Selection, Wildcards};
use crate::container::run::{self, Confidential, HistoryChoice, Named, Names, StepFlags, TerminalChoice, Tree};
use crate::dockerfile::instruction::Command;
use crate::dockerfile::instruction::run::{Mount, Network, Run, RunForm, Security};
use crate::run::mount_args::{Bind, MountFlags, MountKind, MountRequest, Propagation, Source, StepMount, Writes};

/// The words before a text for the shell, unless the image has a `SHELL`.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Does it.
pub(super) fn take(stage: &mut Stage<'_, '_>, next: &Next<'_>, run: &Run, tell: Tell<'_>) -> Result<Done, StepError> {
    let name = stage.container(tell)?;
    let options = options(stage, run)?;
    let conf = stage.build.options.run.conf;
    let outcome = run::run(stage.build.store, &name, &options, conf, &mut |line| tell(Event::Notice(line)));
    let outcome = outcome.map_err(Box::new)?;
    match outcome.status.code() {
        0 => Ok(Done { created_by: CreatedBy::Known(created_by(stage, next)), files: true, linked: false }),
        status => Err(StepError::Status(status)),
    }
}

/// The words of its history entry: arguments, the usual shell whatever `SHELL` says, and the text as written.
pub(super) fn created_by(stage: &Stage<'_, '_>, next: &Next<'_>) -> String {
    let arguments = stage.scope.values(&|name| stage.draft.config.config.env(name).map(str::to_owned));
    let text = next.arguments();
    match arguments.len() {
        0 => format!("/bin/sh -c {text}"),
        count => format!("|{count} {} /bin/sh -c {text}", arguments.join(" ")),
    }
}

fn options(stage: &Stage<'_, '_>, run: &Run) -> Result<run::Options, StepError> {
    let build = &stage.build.options.run;
    let mut mounts = build.mounts.clone();
    let context = &stage.build.options.context.root;
    mounts.context = Some(Arc::new(context.try_clone().map_err(|source| io("opening the build context", source))?));
    let mut options = run::Options {
        env: stage.scope.environment(&|name| stage.draft.config.config.env(name).map(str::to_owned)),
        proxy: build.proxy.clone(),
        terminal: TerminalChoice::Never,
        streams: stage.build.streams.borrow().clone(),
        confinement: build.confinement.clone(),
        mounts,
        named: named(stage, run)?,
        confidential: Confidential { secrets: build.secrets.clone(), agents: build.ssh.clone(), ..Confidential::default() },
        registries: stage.build.options.fetch.registries.clone(),
        subscriptions: build.subscriptions.clone(),
        names: Names { hostname: hostname(stage), ..build.names.clone() },
        history: HistoryChoice::Silent,
        ..run::Options::default()
    };
    let texts: Vec<String> = build.step_mounts.iter().cloned().chain(run.mounts.iter().map(Mount::joined)).collect();
    let flags = StepFlags {
        mounts: texts.iter().map(String::as_str).collect(),
        network: run.network.map(|network| match network {
            Network::Default => "default",
            Network::None => "none",
            Network::Host => "host",
        }),
        security: run.security.map(|security| match security {
            Security::Sandbox => "sandbox",
            Security::Insecure => "insecure",
        }),
        devices: run.devices.iter().map(String::as_str).collect(),
    };
    options.add_step(&flags, build.allowed).map_err(StepError::Word)?;
    if let Some(namespace) = stage.build.options.selection.cache_namespace() {
        options.mounts.requests.iter_mut().for_each(|request| separate(request, namespace));
    }
    if build.compat_volumes {
        keep_volumes(stage, &mut options.mounts.requests);
    }
    options.command = match &run.form {
        RunForm::Command(command) => words(stage, command),
        RunForm::Program(file) => vec![options.add_script(&file.name, file.content.clone().into_bytes())],
    };
    Ok(options)
}

fn hostname(stage: &Stage<'_, '_>) -> Option<String> {
    let options = stage.build.options;
    options.run.names.hostname.clone().or_else(|| options.selection.hostname().map(str::to_owned))
}

/// Gives a cache a name that only builds with the same word have.
fn separate(request: &mut MountRequest, namespace: &str) {
    if let MountKind::Cache(cache) = &mut request.kind {
        let name = cache.id.take().unwrap_or_else(|| request.target.to_string_lossy().into_owned());
        cache.id = Some(format!("{namespace}/{name}"));
    }
}

/// What the command changes below a volume goes to a layer that ends with it.
fn keep_volumes(stage: &Stage<'_, '_>, requests: &mut Vec<MountRequest>) {
    for volume in &stage.draft.config.config.volumes {
        let target = Path::new("/").join(volume);
        if requests.iter().any(|request| request.target == target) {
            continue;
        }
        let bind = Bind {
            source: Source::Rootfs(target.clone()),
            recursive: false,
            propagation: Propagation::Private,
            chown: false,
            writes: Writes::Discarded,
            relabel: None,
            no_follow: false,
            id_map: None,
        };
        requests.push(MountRequest { kind: MountKind::Bind(bind), target, flags: MountFlags::default() });
    }
}

fn words(stage: &Stage<'_, '_>, command: &Command) -> Vec<String> {
    let shell = &stage.draft.config.config.shell;
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) if shell.is_empty() => SHELL.iter().map(ToString::to_string).chain([text.clone()]).collect(),
        Command::Shell(text) => shell.iter().cloned().chain([text.clone()]).collect(),
    }
}

/// The value of an option of a mount by one of its names.
fn option<'a>(mount: &'a Mount, names: &[&str]) -> Option<&'a str> {
    mount.options.iter().rev().find(|(name, _)| names.contains(&name.as_str())).and_then(|(_, value)| value.as_deref())
}

fn named(stage: &Stage<'_, '_>, run: &Run) -> Result<Vec<Named>, StepError> {
    let own = run.mounts.iter().filter_map(|mount| option(mount, &["from"]).map(str::to_owned));
    let of_all =
        stage.build.options.run.step_mounts.iter().filter_map(|word| StepMount::parse(word).ok()?.from().map(str::to_owned));
    own.chain(of_all)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let tree = match stage.source(Some(&name))? {
                source::Source::Context(context) => {
                    let root = context.root.try_clone().map_err(|source| io("opening a build context", source))?;
                    Tree::Directory(Arc::new(root))
                }
                source::Source::Image(image) => Tree::Image(image.found.id.to_string()),
                source::Source::Container(id) => Tree::Container(id.to_string()),
                source::Source::Nothing => Tree::Nothing,
            };
            Ok(Named { name, tree })
        })
        .collect()
}

fn io(action: &str, source: std::io::Error) -> StepError {
    StepError::Io { action: action.to_owned(), source }
}

/// What it depends on: the command, what the command sees of arguments, and what is mounted for it to read. Of secrets and agents the
/// instruction names the ids.
pub(super) fn inputs(stage: &Stage<'_, '_>, run: &Run, inputs: &mut Inputs) -> Result<(), StepError> {
    let build = &stage.build.options.run;
    if let RunForm::Command(command) = &run.form {
        inputs.add("the shell", words(stage, command).join("\0").as_bytes());
    }
    for variable in stage.scope.counted(&|name| stage.draft.config.config.env(name).map(str::to_owned)) {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        inputs.add(format!("argument {name}"), value.as_bytes());
    }
    flags::inputs(build, inputs);
    // Only where it is given, so that other builds keep their keys.
    if let Some(name) = stage.build.options.selection.hostname() {
        inputs.add("the name of the host", name.as_bytes());
    }
    for mount in &run.mounts {
        let kind = option(mount, &["type"]).unwrap_or("bind");
        let from = option(mount, &["from"]).filter(|from| !from.is_empty());
        if !(kind == "bind" || kind == "cache" && from.is_some()) {
            continue;
        }
        let source = option(mount, &["source", "src"]).unwrap_or("/");
        let selection = Selection { wildcards: Wildcards::Literal, ..Selection::default() };
        match stage.source(from)? {
            source::Source::Context(context) => {
                // A mount shows what the ignore file leaves out of copies.
                let everything = ContextIgnore::default();
                let place = add::Source::Context { root: &context.root, shown: &context.path, ignore: &everything };
                let digest = stage.build.fingerprint(&place, &[OsString::from(source)], &selection)?;
                inputs.add_files(format!("{source:?}, which is mounted"), &digest);
            }
            // What was built to the same files is the same; what somebody else built is known by its id, and may be large.
            source::Source::Image(image) if stage.is_stage(from) => {
                let digest = stage.build.contents(&image.found.image, &[OsString::from(source)], &selection)?;
                inputs.add(format!("{source:?} of {}", from.unwrap_or_default()), digest.hex().as_bytes());
            }
            source::Source::Image(image) => inputs
                .add(format!("the image that from={} names", from.unwrap_or_default()), image.found.id.as_str().as_bytes()),
            source::Source::Container(id) => inputs.distrust(format!("the container {id}")),
            source::Source::Nothing => inputs.add(format!("{source:?} of an empty stage"), b""),
        }
    }
    Ok(())
}
