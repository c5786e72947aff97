//! Hooks around a command: handed to an external runtime, or run by this program.
//!
//! ```text
//!   this process                    the container's process
//!   prestart, createRuntime ──────▶ createContainer ─▶ root directory changed, rights given up ─▶ startContainer ─▶ the command
//!   poststart ◀───────────────────────────────────────────────────────────────────────────────────────────────────┘
//!   poststop, when it has ended
//! ```
//!
//! Each gets the container's state on its standard input (runtime specification, state) and finds the specification in the
//! directory that the state calls the bundle.
//!
//! Invariant: a hook before the command that fails or takes too long ends the run; one after it is told and the run goes on. What a
//! hook writes to its standard output is no output of the command.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use containers_storage::Root;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use oci_spec::runtime::{RootBuilder, Spec};
use serde_json::json;

use super::Error;
use super::engine::run_name;
use crate::conf::hooks::{Hook, Stage};
use crate::sys;

/// The hooks of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Each with its stage, in the order in which they are run.
    pub hooks: Vec<(Stage, Hook)>,
    /// The directory that the bundle is made in.
    pub temp_dir: PathBuf,
}

/// How often a hook with a timeout is looked after.
const PAUSE: Duration = Duration::from_millis(5);

/// As an external runtime gets them; `None` if there are none.
pub(super) fn to_spec(hooks: &[(Stage, Hook)]) -> Result<Option<oci_spec::runtime::Hooks>, Error> {
    if hooks.is_empty() {
        return Ok(None);
    }
    let mut stages = serde_json::Map::new();
    for (stage, hook) in hooks {
        let mut entry = json!({ "path": hook.path });
        if !hook.args.is_empty() {
            entry["args"] = json!(hook.args);
        }
        if !hook.env.is_empty() {
            entry["env"] = json!(hook.env);
        }
        if let Some(timeout) = hook.timeout {
            entry["timeout"] = json!(timeout);
        }
        let list = stages.entry(stage.name()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(entry);
        }
    }
    let spec = serde_json::from_value(stages.into());
    spec.map(Some).map_err(|error| Error::Request(format!("hooks: {error}")))
}

/// The hooks of a run of the built-in runtime, and the bundle that they are shown; dropping it removes the bundle.
pub(super) struct Runner<'a> {
    hooks: &'a [(Stage, Hook)],
    id: String,
    bundle: PathBuf,
    /// The root file system, as the bundle names it.
    root: PathBuf,
}

impl<'a> Runner<'a> {
    /// `None` if there are no hooks.
    pub(super) fn new(options: &'a Options, rootfs: &Root, spec: &Spec) -> Result<Option<Self>, Error> {
        if options.hooks.is_empty() {
            return Ok(None);
        }
        let failed = |source: std::io::Error| Error::prepare("the bundle for hooks", source);
        let id = run_name()?;
        let parent = if options.temp_dir.as_os_str().is_empty() { Path::new("/var/tmp") } else { &options.temp_dir };
        let bundle = parent.join(&id);
        rustix::fs::mkdir(&bundle, rustix::fs::Mode::RWXU).map_err(|errno| failed(errno.into()))?;
        let handle = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(rootfs));
        let root = std::fs::read_link(format!("/proc/self/fd/{handle}")).map_err(failed)?;
        let runner = Self { hooks: &options.hooks, id, bundle, root: root.clone() };
        let mut spec = spec.clone();
        spec.set_root(Some(RootBuilder::default().path(root).readonly(false).build()?));
        spec.set_hooks(to_spec(&options.hooks)?);
        let text = serde_json::to_vec(&spec).map_err(|error| failed(error.into()))?;
        std::fs::write(runner.bundle.join("config.json"), text).map_err(failed)?;
        Ok(Some(runner))
    }

    /// Whether there are hooks of a stage.
    pub(super) fn has(&self, stage: Stage) -> bool {
        self.hooks.iter().any(|(known, _)| *known == stage)
    }

    /// Where hooks find the root file system.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Runs the hooks before the command, whose process `pid` waits.
    pub(super) fn before(&self, pid: Pid) -> Result<(), Error> {
        for wanted in [Stage::Prestart, Stage::CreateRuntime] {
            self.at(wanted, "creating", Some(pid)).map_err(|(path, words)| Error::Hook {
                path,
                stage: wanted.name(),
                words,
            })?;
        }
        Ok(())
    }

    /// Runs the hooks of a stage in the container's process, which calls this. `createContainer` finds the machine's files, in the
    /// namespaces of the container; `startContainer` finds the container's.
    pub(super) fn inside(&self, stage: Stage) -> Result<(), (PathBuf, String)> {
        let status = if stage == Stage::CreateContainer { "creating" } else { "created" };
        self.at(stage, status, Some(Pid::this()))
    }

    /// Runs the hooks that follow the command's start.
    pub(super) fn started(&self, pid: Pid) {
        self.afterwards(Stage::Poststart, "running", Some(pid));
    }

    /// Runs the hooks that follow the command's end.
    pub(super) fn stopped(&self) {
        self.afterwards(Stage::Poststop, "stopped", None);
    }

    fn afterwards(&self, stage: Stage, status: &str, pid: Option<Pid>) {
        if let Err((path, words)) = self.at(stage, status, pid) {
            log::warn!("hook {path:?} ({}): {words}", stage.name());
        }
    }

    fn at(&self, stage: Stage, status: &str, pid: Option<Pid>) -> Result<(), (PathBuf, String)> {
        let mut state = json!({ "ociVersion": "1.0.2", "id": self.id, "status": status, "bundle": self.bundle });
        if let Some(pid) = pid {
            state["pid"] = json!(pid.as_raw());
        }
        let state = state.to_string();
        for (_, hook) in self.hooks.iter().filter(|(known, _)| *known == stage) {
            execute(hook, &state).map_err(|words| (hook.path.clone(), words))?;
        }
        Ok(())
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        // Only our own file is in it; what a hook left there keeps the directory.
        let _ = std::fs::remove_file(self.bundle.join("config.json"));
        let _ = std::fs::remove_dir(&self.bundle);
    }
}

fn execute(hook: &Hook, state: &str) -> Result<(), String> {
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    // A group of its own, so that what it has started ends with it.
    command.process_group(0);
    sys::descriptors::close_on_exec_from(3).map_err(|error| error.to_string())?;
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut input) = child.stdin.take() {
        // A hook need not read its state; std leaves SIGPIPE ignored, and the state fits into a pipe.
        let _ = input.write_all(state.as_bytes());
    }
    let ended = wait(&mut child, hook.timeout).map_err(|error| error.to_string())?;
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(status.to_string()),
        None => Err(format!("it took longer than {} seconds", hook.timeout.unwrap_or_default())),
    }
}

/// Waits for the end of `child`; `None` if it took too long, and was ended.
fn wait(child: &mut Child, timeout: Option<u64>) -> std::io::Result<Option<ExitStatus>> {
    let Some(seconds) = timeout else { return child.wait().map(Some) };
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(PAUSE);
    }
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    group.map_or_else(|_| child.kill(), |group| Ok(killpg(group, Signal::SIGKILL)?))?;
    child.wait()?;
    Ok(None)
}
