//! How RUN runs.

use std::path::PathBuf;

use crate::build::options::RunOptions;
use crate::commands::run::{cache_dir, subscriptions};
use crate::commands::run_environment::RunEnvironmentArgs;
use crate::commands::user_namespace::UserNamespaceArgs;
use crate::commands::{CommandError, Context, isolation};
use crate::conf::ContainersConf;
use crate::container::run::{Allowed, Confinement, Names};
use crate::container::state::Isolation;
use crate::run::environment::PROXY_NAMES;
use crate::run::mount_args::StepMount;
use crate::run::secrets::{Secret, SecretSource};
use crate::run::ssh::Agent;
use crate::run::streams::{Input, Streams};
use crate::run::{MountOptions, RootChange};

/// How RUN runs.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Flags for runs")]
pub(super) struct ProcessArgs {
    #[command(flatten)]
    environment: RunEnvironmentArgs,

    #[command(flatten)]
    user_namespace: UserNamespaceArgs,

    /// What RUN may ask for that weakens the separation from the machine: security.insecure (can be repeated)
    #[arg(long, value_name = "RIGHT", value_delimiter = ',')]
    allow: Vec<String>,

    /// Undo after each RUN what it changed below a VOLUME
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compat_volumes: Option<bool>,

    /// Mount of every RUN, in the words of RUN --mount (can be repeated)
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,

    /// Leave the image's own /etc/hostname in place
    #[arg(long)]
    no_hostname: bool,

    /// Leave the image's own /etc/hosts in place
    #[arg(long)]
    no_hosts: bool,

    /// External runtime: crun, runc, youki, a name of containers.conf, or a path
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<String>,

    /// Flag for the external runtime, without its leading -- (can be repeated)
    #[arg(long, value_name = "FLAG", value_delimiter = ',')]
    runtime_flag: Vec<String>,

    /// Secret that RUN may mount: id=ID[,src=FILE][,env=VARIABLE] (can be repeated)
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,

    /// SSH agent that RUN may mount: default, or ID[=SOCKET|KEY[,KEY…]] (can be repeated)
    #[arg(long, value_name = "AGENT")]
    ssh: Vec<String>,

    /// Let RUN read the standard input of the build; without --jobs one stage is built at a time then
    #[arg(long)]
    stdin: bool,
}

impl ProcessArgs {
    /// Whether RUN shall read what the build is given.
    pub(super) fn reads_input(&self) -> bool {
        self.stdin
    }

    /// What was asked for. Every word is checked here, before anything is fetched.
    pub(super) fn resolve<'c>(&self, ctx: &Context, conf: &'c ContainersConf) -> Result<RunOptions<'c>, CommandError> {
        let rootless = ctx.store()?.conf().rootless;
        let user_namespace = self.user_namespace.resolve(ctx, conf)?;
        let environment = self.environment.resolve(ctx, conf, rootless, &user_namespace)?;
        self.check_network(environment.isolation)?;
        if self.no_hosts && self.environment.adds_hosts() {
            return Err(CommandError::usage("--no-hosts and --add-host conflict, can not be used together"));
        }
        let proxy = |name: &&str| Some(((*name).to_owned(), ctx.environment().text(name)?.to_owned()));
        Ok(RunOptions {
            conf,
            proxy: PROXY_NAMES.iter().filter_map(proxy).filter(|_| environment.common.http_proxy).collect(),
            environment,
            user_namespace,
            labels: self.environment.labels(conf)?,
            confinement: self.confinement(ctx)?,
            names: Names { hostname: None, no_hosts: self.no_hosts, no_hostname: self.no_hostname },
            mounts: MountOptions { cache_dir: Some(cache_dir(ctx, conf)?), ..MountOptions::default() },
            step_mounts: self.step_mounts()?,
            secrets: self.secret.iter().map(|word| secret(ctx, word)).collect::<Result<_, _>>()?,
            ssh: self.ssh.iter().map(|word| agent(ctx, word)).collect::<Result<_, _>>()?,
            allowed: self.allowed()?,
            compat_volumes: self.compat_volumes == Some(true),
            // A log is standard output and standard error of the whole program.
            streams: Streams { input: if self.stdin { Input::Inherit } else { Input::Nothing }, ..Streams::default() },
            subscriptions: subscriptions(ctx)?,
        })
    }

    fn confinement(&self, ctx: &Context) -> Result<Confinement, CommandError> {
        Ok(Confinement {
            runtime: isolation::runtime(ctx, self.runtime.as_deref(), &self.runtime_flag)?,
            root_change: match ctx.environment().engine_switch("NOPIVOT") {
                true => RootChange::MoveMount,
                false => RootChange::Pivot,
            },
            emulation: isolation::emulation(ctx),
            ..Confinement::default()
        })
    }

    /// Refuses words about the network that contradict each other, as Buildah does.
    fn check_network(&self, isolation: Isolation) -> Result<(), CommandError> {
        let network = self.environment.network();
        if network == Some("none")
            && let Some(flag) = self.environment.dns_flag()
        {
            return Err(CommandError::usage(format!("the --{flag} option cannot be used with --network=none")));
        }
        if isolation == Isolation::Chroot && network.is_some_and(|word| word != "host") {
            return Err(CommandError::usage("cannot set --network other than host with --isolation chroot"));
        }
        Ok(())
    }

    fn step_mounts(&self) -> Result<Vec<String>, CommandError> {
        for word in &self.mount {
            StepMount::parse(word).map_err(CommandError::usage)?;
        }
        Ok(self.mount.clone())
    }

    fn allowed(&self) -> Result<Allowed, CommandError> {
        let mut allowed = Allowed::default();
        for word in self.allow.iter().filter(|word| !word.is_empty()) {
            match word.as_str() {
                "security.insecure" => allowed.insecure = true,
                // What BuildKit asks for, and every build may have here.
                "network.host" | "device" => {}
                other => {
                    let hint = "known are security.insecure, network.host and device".to_owned();
                    return Err(CommandError::usage(format!("invalid entitlement {other:?}")).hinting(Some(hint)));
                }
            }
        }
        Ok(allowed)
    }
}

/// A secret; that its file is there is found out now, not at the step that wants it.
fn secret(ctx: &Context, word: &str) -> Result<Secret, CommandError> {
    let is_set = |name: &str| ctx.environment().get(name).is_some();
    let mut secret = Secret::parse(word, &is_set).map_err(CommandError::usage)?;
    if let SecretSource::File(path) = &mut secret.source {
        *path = there(path).map_err(|error| error.context("could not parse secrets"))?;
    }
    Ok(secret)
}

fn agent(ctx: &Context, word: &str) -> Result<Agent, CommandError> {
    let mut agent = Agent::parse(word, ctx.environment().text("SSH_AUTH_SOCK")).map_err(CommandError::usage)?;
    for path in &mut agent.paths {
        *path = there(path)?;
        if path.is_dir() {
            return Err(CommandError::usage(format!("read {}: is a directory", path.display())));
        }
    }
    Ok(agent)
}

/// The path, absolute, if there is something.
fn there(path: &std::path::Path) -> Result<PathBuf, CommandError> {
    let absolute = std::path::absolute(path)?;
    let looked = std::fs::metadata(&absolute);
    looked.map_err(|error| CommandError::from(error).context(format!("stat {}", absolute.display())))?;
    Ok(absolute)
}
