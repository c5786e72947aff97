//! An external runtime: crun, runc, youki, or any program that speaks their protocol.
//!
//! ```text
//!   bundle (private directory, tmpfs): config.json rootfs/ mounts/N files/N state/ log
//!   RUNTIME [flags] create --bundle B --pid-file F [--console-socket S] ID ─ connect the network ─ start ─ wait ─ delete
//! ```
//!
//! Invariant: what the runtime mounts is pinned and lies ready in the bundle, so that it resolves no path of the host and none
//! that the image could have made a link; the bundle, the runtime's state and the container end with the run, also where this
//! process is killed.

mod bundle;
mod console;
mod protocol;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use rustix::mount::MountAttrFlags;

use super::cgroups::{self, Manager};
use super::engine::run_name;
use super::etc_files::ExtraFile;
use super::guardian::Guardian;
use super::native::{self, Output, Placeholders, Signals};
use super::network_program::Service;
use super::program::{SYSTEM_DIRS, is_program};
use super::ssh::Socket;
use super::{Error, RootChange, Status, hooks, lsm};
use crate::userns;
use bundle::Bundle;
use protocol::Program;

/// Which runtime, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Its name or path; `None` for the first of the usual ones that is installed.
    pub program: Option<String>,
    /// Paths of runtimes by name (`[engine.runtimes]` of containers.conf).
    pub known: BTreeMap<String, Vec<PathBuf>>,
    /// Flags before the command, without their leading dashes.
    pub flags: Vec<String>,
    /// Words for the runtime alone, `name=value` (`annotations` of containers.conf).
    pub annotations: Vec<String>,
    /// Who makes control groups.
    pub cgroup_manager: Option<Manager>,
    /// The directory that the bundle is made in.
    pub temp_dir: PathBuf,
}

/// Runtimes in the order of preference, as the other tools have it.
const USUAL: [&str; 3] = ["crun", "runc", "youki"];

impl Options {
    /// The program.
    pub fn find(&self) -> Result<PathBuf, Error> {
        match self.program.as_deref() {
            Some(path) if path.contains('/') => {
                let path =
                    std::path::absolute(path).map_err(|source| Error::prepare(format!("the runtime {path:?}"), source))?;
                if is_program(&path) { Ok(path) } else { Err(Error::NoRuntime(path.to_string_lossy().into_owned())) }
            }
            Some(name) => self.named(name).ok_or_else(|| Error::NoRuntime(name.to_owned())),
            None => {
                let found = USUAL.iter().filter(|name| **name != "crun" || !is_hybrid()).find_map(|name| self.named(name));
                found.ok_or_else(|| Error::NoRuntime("crun or runc".to_owned()))
            }
        }
    }

    fn named(&self, name: &str) -> Option<PathBuf> {
        let configured = self.known.get(name).into_iter().flatten().filter(|path| path.is_absolute()).cloned();
        let usual = SYSTEM_DIRS.iter().map(|dir| Path::new(dir).join(name));
        configured.chain(usual).find(|path| is_program(path))
    }
}

/// Whether both versions of control groups are mounted, which crun refuses.
fn is_hybrid() -> bool {
    Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists()
}

/// What can be done about a refusal of `runtime`, said in `words`.
pub(super) fn hint(runtime: &Path, words: &str) -> String {
    if words.contains("hybrid") {
        return "this runtime wants control groups of one version: take another one, as --runtime runc".to_owned();
    }
    if words.contains("executable file not found") {
        return "the command is looked up in the container, with the container's PATH".to_owned();
    }
    format!(
        "--runtime-flag debug lets {} say more; --isolation rootless runs the command without it",
        runtime.file_name().unwrap_or(runtime.as_os_str()).to_string_lossy()
    )
}

/// A specification and what it cannot carry.
pub(super) struct Job<'a> {
    /// The root file system, attached in the caller's mount namespace.
    pub rootfs: &'a Root,
    pub spec: Spec,
    /// Sources of binds that were found below a directory handle, by target.
    pub sources: Vec<(PathBuf, OwnedFd)>,
    pub files: Vec<ExtraFile>,
    pub sockets: Vec<Socket>,
    pub cgroups: &'a cgroups::Options,
    pub hooks: &'a hooks::Options,
    pub root_change: RootChange,
    /// `Request::guards`
    pub guards: MountAttrFlags,
    /// Children of this process that are none of the container's.
    pub servants: Vec<Pid>,
    pub scope_abstract_sockets: bool,
    pub keep_groups: bool,
    /// Standard input, where it is not the caller's.
    pub input: Option<OwnedFd>,
    /// Where standard output and error lead.
    pub output: [BorrowedFd<'a>; 2],
    /// Connects the network namespace that it is given; what it answers with ends the service when dropped.
    pub network: Option<&'a dyn Fn(OwnedFd) -> Result<Option<Service>, Error>>,
}

/// Runs the specification and waits for its end.
pub(super) fn execute(mut job: Job<'_>, options: &Options, made: &mut Placeholders) -> Result<Status, Error> {
    let path = options.find()?;
    adapt(&mut job, options, &path)?;
    let plan = native::plan((job.rootfs.as_fd(), job.guards), &job.spec, &job.sources, job.files.clone(), job.sockets.clone())?;
    native::refuse_links(job.rootfs, &plan)?;
    let cwd = working_directory(&job, &plan)?;
    native::make_targets(job.rootfs, &plan, made)?;
    let maps = native::id_maps_of(&job.spec);
    let mut output = Output::default();
    let label = lsm::pipe_label(&job.spec)?;
    if let Some(process) = job.spec.process_mut() {
        process.set_cwd(cwd);
        let reader = native::Reader { user: process.user(), maps: &maps, label, has_input: job.input.is_some() };
        output = Output::for_runtime(&reader, job.output).map_err(|source| Error::prepare("the command's output", source))?;
    }
    let id = run_name()?;
    let bundle = Bundle::create(&options.temp_dir, &id, job.spec, &plan)?;
    // The bundle has what it needs; what is pinned here would only be open in vain.
    drop(plan);
    let program = Program::new(path, options, &bundle, &id, job.scope_abstract_sockets)?;
    native::adopt_orphans()?;
    let signals = Signals::block().map_err(|source| Error::prepare("signals", source))?;
    let guardian = Guardian::start(|| {
        program.delete();
        bundle.remove();
    });
    let guardian = guardian.map_err(|source| Error::prepare("a guard of the run", source))?;
    let create = protocol::Create {
        terminal: bundle.wants_terminal().then(|| console::Listener::bind(&bundle)).transpose()?,
        output,
        input: job.input,
        no_pivot: job.root_change == RootChange::MoveMount,
        no_keyring: userns::is_rootless(),
    };
    let status = supervise(&program, create, job.network, &signals);
    program.delete();
    let spare: Vec<Pid> = job.servants.iter().copied().chain([guardian.pid()]).collect();
    native::end_leftovers(&spare);
    guardian.dismiss();
    status
}

/// Creates and starts the container, and waits for its end.
fn supervise(
    program: &Program,
    create: protocol::Create,
    network: Option<&dyn Fn(OwnedFd) -> Result<Option<Service>, Error>>,
    signals: &Signals,
) -> Result<Status, Error> {
    let pid = program.create(&create)?;
    // The service ends when this function does.
    let _service = network.map(|serve| serve(network_of(pid)?)).transpose()?.flatten();
    let console = create.terminal.as_ref().map(console::Listener::receive).transpose()?;
    program.start()?;
    native::watch(pid, signals, console, create.output.into_streams())
        .map_err(|source| Error::prepare("waiting for the command", source))
}

fn network_of(pid: Pid) -> Result<OwnedFd, Error> {
    let file = std::fs::File::open(format!("/proc/{pid}/ns/net"));
    file.map(OwnedFd::from).map_err(|source| Error::prepare("the container's network namespace", source))
}

/// What an external runtime is told in other words, or cannot be told.
fn adapt(job: &mut Job<'_>, options: &Options, runtime: &Path) -> Result<(), Error> {
    let rootless = userns::is_rootless();
    let mut mounts = job.spec.mounts().clone().unwrap_or_default();
    // Without privilege there is no group to be seen: runtimes of the time of version 1 fail on it.
    mounts.retain(|mount| !(rootless && mount.typ().as_deref() == Some("cgroup")));
    if userns::has_single_id() {
        for mount in mounts.iter_mut().filter(|mount| mount.typ().as_deref() == Some("devpts")) {
            // The terminals' group is not mapped; that of the owner serves.
            let words = mount.options().iter().flatten().filter(|word| !word.starts_with("gid=")).cloned().collect();
            mount.set_options(Some(words));
        }
    }
    job.spec.set_mounts(Some(mounts));
    let words = options.annotations.iter().filter_map(|word| word.split_once('='));
    let mut annotations: HashMap<String, String> = words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if job.keep_groups {
        if runtime.file_name().is_none_or(|name| name != "crun") {
            return Err(Error::Request("--group-add keep-groups with an external runtime needs crun".to_owned()));
        }
        // crun(1), annotations.
        annotations.insert("run.oci.keep_original_groups".to_owned(), "1".to_owned());
    }
    job.spec.set_annotations((!annotations.is_empty()).then_some(annotations));
    job.spec.set_hooks(hooks::to_spec(&job.hooks.hooks)?);
    let Some(linux) = job.spec.linux_mut() else { return Ok(()) };
    if rootless && !job.cgroups.limits.is_empty() {
        log::warn!(
            "limits of memory and processors are not applied: without privilege an external runtime has no control groups"
        );
    } else if !rootless {
        linux.set_resources(job.cgroups.limits.to_spec()?);
        linux.set_cgroups_path(cgroups_path(&job.cgroups.parent, options.cgroup_manager)?);
    }
    Ok(())
}

/// `linux.cgroupsPath`, in the notation of the manager (runc, `docs/systemd.md`); `None` leaves it to the runtime.
fn cgroups_path(parent: &str, manager: Option<Manager>) -> Result<Option<PathBuf>, Error> {
    if parent.is_empty() {
        return Ok(None);
    }
    let id = run_name()?;
    Ok(Some(match manager {
        Some(Manager::Systemd) => PathBuf::from(format!("{parent}:coracle:{id}")),
        _ => Path::new("/").join(parent).join(id),
    }))
}

/// The working directory, made where it is missing and not below a mount; without the links that lead there, so that the runtime
/// finds no way out by one (CVE-2024-21626).
fn working_directory(job: &Job<'_>, plan: &native::Plan) -> Result<PathBuf, Error> {
    let Some(process) = job.spec.process() else { return Err(Error::Request("the specification has no process".into())) };
    let path = process.cwd().clone();
    let failed = |source| Error::WorkingDirectory { path: path.clone(), source };
    if plan.mounts_at_or_above(&super::spec::lexically_clean(&path)) {
        // It is in one of the mounts: the kernel's own hold no directories to work in.
        let kernels = ["/proc", "/dev", "/sys"].iter().any(|tree| path.starts_with(tree));
        return if kernels && path.components().count() > 2 {
            Err(failed(std::io::Error::from_raw_os_error(libc::EXDEV)))
        } else {
            Ok(path)
        };
    }
    let (uid, gid) = (process.user().uid(), process.user().gid());
    let (uid, gid) = native::id_maps_of(&job.spec).owner_on_disk(uid, gid).map_err(failed)?;
    let give = |handle: std::os::fd::BorrowedFd<'_>, _: &Path| native::give(handle, uid, gid, 0o755);
    job.rootfs.mkdir_all(&path, give).map_err(failed)?;
    let found = job.rootfs.subdir(&path).map_err(failed)?;
    let resolved = bundle::path_below(job.rootfs.as_fd(), found.as_fd()).map_err(failed)?;
    if plan.mounts_at_or_above(&resolved) && ["/proc", "/dev", "/sys"].iter().any(|tree| resolved.starts_with(tree)) {
        return Err(failed(std::io::Error::from_raw_os_error(libc::EXDEV)));
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_named_by_path_or_found_in_fixed_directories() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("own");
        std::fs::write(&program, "").unwrap();
        let named = |name: &str| Options {
            program: Some(name.to_owned()),
            known: [("mine".to_owned(), vec!["relative".into(), program.clone()])].into(),
            ..Options::default()
        };
        let path = program.to_string_lossy().into_owned();
        assert!(named(&path).find().is_err(), "not executable");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(named(&path).find().unwrap(), program);
        assert_eq!(named("mine").find().unwrap(), program);
        assert!(named("own").find().is_err(), "a plain name is not looked up in the working directory or PATH");
        assert_eq!(named("nope").find().unwrap_err().exit_code(), 1);
    }

    #[test]
    fn group_paths_are_in_the_managers_notation() {
        assert_eq!(cgroups_path("", None).unwrap(), None);
        assert!(cgroups_path("/a", None).unwrap().unwrap().starts_with("/a"));
        let systemd = cgroups_path("user.slice", Some(Manager::Systemd)).unwrap().unwrap();
        assert!(systemd.to_string_lossy().starts_with("user.slice:coracle:coracle-"), "{systemd:?}");
    }
}
