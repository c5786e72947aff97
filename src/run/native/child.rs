//! The process between `fork` and `exec`: from a copy of us to the container's command.
//!
//! Invariant: non-dumpable from the first instruction on, so that nobody inside can attach to it or open its descriptors
//! (CVE-2016-9962); privileges only ever shrink; every step that fails ends it with a report. The order is the content of this
//! file: mounts need capabilities, capabilities need the user id, the filter comes when nothing it forbids is left to do.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use containers_storage::Root;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use oci_spec::runtime::{Process, Spec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{DumpableBehavior, Signal};

use super::command::Ends;
use super::filesystem::{self, Tree};
use super::hand_over::send_descriptor;
use super::lsm::Confinement;
use super::output::Output;
use super::plan::Plan;
use super::privileges::{self, Groups, Privileges};
use super::report::{Kind, Report};
use super::{Ground, command, plain, terminal};
use crate::conf::hooks::Stage;
use crate::run::RootChange;
use crate::run::hooks::Runner;
use crate::sys;
use crate::sys::seccomp::Instruction;

/// What the child inherits.
pub(super) struct Inheritance<'a> {
    pub plan: &'a Plan,
    pub ground: Ground,
    pub spec: &'a Spec,
    pub process: &'a Process,
    pub root_change: RootChange,
    /// The compiled system call filter.
    pub filter: Option<&'a [Instruction]>,
    /// Keep off the abstract sockets of the host's network.
    pub scope_abstract_sockets: bool,
    /// Keep the caller's supplementary groups.
    pub keep_groups: bool,
    /// Input is this instead of the caller's.
    pub input: Option<&'a OwnedFd>,
    /// Where it joins its control groups.
    pub groups: &'a [OwnedFd],
    /// Where the terminal's other end goes; present if a terminal is wanted.
    pub console: Option<&'a OwnedFd>,
    /// What stands for the caller's output.
    pub output: &'a Output,
    /// Where failures are reported.
    pub report: BorrowedFd<'a>,
    /// Takes the network namespace to the parent, which answers with a byte when it is connected.
    pub network: Option<&'a OwnedFd>,
    /// Some are run in here.
    pub hooks: Option<&'a Runner<'a>>,
}

impl Inheritance<'_> {
    fn run_hooks(&self, stage: Stage) -> Result<(), Report> {
        let Some(hooks) = self.hooks else { return Ok(()) };
        hooks.inside(stage).map_err(|(path, words)| {
            let text = format!("{}\0{}\0{words}", path.display(), stage.name());
            Report { kind: Kind::Hook, errno: 0, text }
        })
    }
}

/// Sets everything up and executes the command. Returns only to say what failed.
pub(super) fn become_container(inherited: &Inheritance<'_>) -> Result<Infallible, Report> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Report::step("hiding from ptrace"))?;
    bind(inherited.report)?;
    let plan = inherited.plan;
    for group in inherited.groups {
        // 0 is whoever writes it (cgroups(7)).
        rustix::io::write(group, b"0").map_err(Report::step("joining a control group"))?;
    }
    if plan.new.contains(CloneFlags::CLONE_NEWCGROUP) {
        nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).map_err(Report::step("making a control group namespace"))?;
    }
    for (namespace, kind) in &plan.join {
        nix::sched::setns(namespace.as_fd(), *kind).map_err(Report::step("joining a namespace"))?;
    }
    rustix::process::setsid().map_err(Report::step("starting a session"))?;
    if plan.new.contains(CloneFlags::CLONE_NEWNET) {
        sys::loopback::bring_up().map_err(Report::step("bringing the loopback interface up"))?;
    }
    if let Some(link) = inherited.network {
        let restore = skip_address_detection(plan);
        connect(link)?;
        restore();
    }
    let confinement = Confinement::open(inherited.process)?;
    // Asked here: the container may have no `/proc`.
    let groups = if inherited.keep_groups { Groups::Kept } else { privileges::groups_to_set() };
    let (root, trampoline) = match inherited.ground {
        Ground::Mounts => change_root(inherited)?,
        Ground::Directory => {
            inherited.run_hooks(Stage::CreateContainer)?;
            plain::change_root(plan.rootfs.as_fd(), inherited.console)?
        }
    };
    if inherited.console.is_none()
        && let Some(input) = inherited.input
    {
        rustix::stdio::dup2_stdin(input).map_err(Report::step("replacing standard input"))?;
    }
    inherited.output.replace().map_err(Report::step("replacing standard output"))?;
    let umask = inherited.process.user().umask().unwrap_or(crate::run::DEFAULT_UMASK);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
    working_directory(&root, inherited.process)?;
    finish(inherited, &root, trampoline, (groups, confinement))
}

/// Builds the tree and makes it `/`.
fn change_root(inherited: &Inheritance<'_>) -> Result<(Root, Option<OwnedFd>), Report> {
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let hooks = inherited.hooks.filter(|hooks| hooks.has(Stage::CreateContainer));
    let mut tree = filesystem::begin(inherited.plan, hooks.map(Runner::root))?;
    tree.populate(inherited.plan)?;
    kernel_settings(inherited.spec, &tree)?;
    hide(inherited.spec, &tree)?;
    inherited.console.map(|console| terminal::open(&tree, console)).transpose()?;
    let trampoline = tree.trampoline()?;
    if hooks.is_some() {
        // The staging directory covers what a program needs, and everything that is in it is held by handles.
        nix::mount::umount2("/proc", MntFlags::MNT_DETACH).map_err(Report::step("detaching the staging directory"))?;
        inherited.run_hooks(Stage::CreateContainer)?;
    }
    Ok((enter(tree, inherited.root_change)?, trampoline))
}

/// Whether an address is somebody else's too need not be found out in a network of one: it would take a second or two, in which the
/// address cannot be used. Answers with what puts the setting back; a machine without IPv6 has none.
fn skip_address_detection(plan: &Plan) -> impl FnOnce() + use<> {
    const SETTING: &str = "/proc/sys/net/ipv6/conf/default/accept_dad";
    let is_own = plan.new.contains(CloneFlags::CLONE_NEWNET);
    let before = if is_own { std::fs::read(SETTING).ok() } else { None };
    let changed = before.filter(|_| std::fs::write(SETTING, "0").is_ok());
    move || {
        if let Some(value) = changed {
            let _ = std::fs::write(SETTING, value);
        }
    }
}

/// Has the parent connect this process's network namespace. By descriptor: nobody else may look into `/proc` for it, since this
/// process is not dumpable.
fn connect(link: &OwnedFd) -> Result<(), Report> {
    let own = rustix::fs::openat(CWD, "/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Report::step("opening the network namespace"))?;
    send_descriptor(link.as_fd(), own.as_fd()).map_err(Report::step("handing the network namespace over"))?;
    match rustix::io::read(link, &mut [0u8; 1]) {
        Ok(1) => Ok(()),
        Ok(_) => Err(Report { kind: Kind::Setup, errno: libc::EPIPE, text: "waiting for the network".to_string() }),
        Err(error) => Err(Report::new(Kind::Setup, error, "waiting for the network")),
    }
}

fn kernel_settings(spec: &Spec, tree: &Tree) -> Result<(), Report> {
    if let Some(name) = spec.hostname() {
        match nix::unistd::sethostname(name) {
            // The filter of a surrounding container: the namespace's owner may. The name of that container stays, which tells nobody
            // anything that the process does not see anyway.
            Err(Errno::EPERM) => log::info!("the host name {name:?} cannot be set here: that of the machine stays"),
            other => other.map_err(Report::step("setting the host name"))?,
        }
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    for (name, value) in linux.sysctl().iter().flatten() {
        let failed = |error: std::io::Error| Report::new(Kind::Setup, error, format!("setting sysctl {name}"));
        let proc = tree.proc.as_ref().ok_or_else(|| failed(std::io::Error::from_raw_os_error(libc::ENODEV)))?;
        // Our own procfs (CVE-2025-52881); the name was checked to consist of letters, digits, dots, dashes and underlines.
        let path = format!("sys/{}", name.replace('.', "/"));
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(proc, path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        File::from(file).write_all(value.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

fn hide(spec: &Spec, tree: &Tree) -> Result<(), Report> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    tree.make_read_only(linux.readonly_paths().as_deref().unwrap_or_default())?;
    tree.mask(linux.masked_paths().as_deref().unwrap_or_default())
}

/// Makes the tree `/` and lets go of the old one, the last way back to the host.
fn enter(tree: Tree, change: RootChange) -> Result<Root, Report> {
    rustix::process::fchdir(&tree.root).map_err(Report::step("entering the root file system"))?;
    drop(tree);
    match change {
        RootChange::Pivot => {
            // Both names are the new root: the old one ends up on top of it, and is what `.` stands for until it is detached
            // (pivot_root(2), notes).
            nix::unistd::pivot_root(".", ".").map_err(Report::step("changing the root directory (pivot_root)"))?;
            nix::mount::umount2(".", MntFlags::MNT_DETACH).map_err(Report::step("detaching the old root directory"))?;
        }
        RootChange::MoveMount => {
            nix::mount::mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
                .map_err(Report::step("moving the root file system"))?;
            nix::unistd::chroot(".").map_err(Report::step("changing the root directory (chroot)"))?;
        }
    }
    nix::unistd::chdir("/").map_err(Report::step("entering the new root directory"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, "/", flags, Mode::empty()).map_err(Report::step("opening the new root directory"))?;
    Ok(Root::from(root))
}

/// Enters the working directory; made, as the user's, where it is missing. The handle is what was found below the root without
/// magic links: `/proc/self/fd/7` is refused (CVE-2024-21626).
fn working_directory(root: &Root, process: &Process) -> Result<(), Report> {
    let path: &Path = process.cwd();
    let failed = |error: std::io::Error| Report::new(Kind::WorkingDirectory, error, path.display().to_string());
    let directory = root.subdir(path).map(|directory| directory.as_fd().try_clone_to_owned());
    let handle = match directory {
        Ok(handle) => handle.map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (uid, gid) = (process.user().uid(), process.user().gid());
            let made = |handle: BorrowedFd<'_>, _: &Path| privileges::give(handle, uid, gid, 0o755);
            root.mkdir_all(path, made).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    rustix::process::fchdir(&handle).map_err(|errno| failed(errno.into()))?;
    // What getcwd answers starts at the root, or with "(unreachable)" (getcwd(3)).
    let reached = rustix::process::getcwd(Vec::new()).map_err(|errno| failed(errno.into()))?;
    if reached.as_bytes().first() != Some(&b'/') {
        return Err(failed(std::io::Error::from_raw_os_error(libc::EXDEV)));
    }
    Ok(())
}

fn finish(
    inherited: &Inheritance<'_>,
    root: &Root,
    trampoline: Option<OwnedFd>,
    (groups, confinement): (Groups, Confinement),
) -> Result<Infallible, Report> {
    let process = inherited.process;
    let command = command::find(root, process)?;
    if inherited.scope_abstract_sockets {
        sys::landlock::scope_abstract_sockets().map_err(Report::step("keeping off abstract sockets"))?;
    }
    sys::signals::restore_sigpipe().map_err(Report::step("resetting signals"))?;
    nix::sys::signal::SigSet::empty().thread_set_mask().map_err(Report::step("resetting signals"))?;
    if inherited.ground == Ground::Directory {
        plain::confine(root)?;
    }
    let ends = Ends::new(trampoline, inherited.report)?;
    sys::descriptors::close_on_exec_from(3).map_err(Report::step("closing descriptors"))?;
    // The number of descriptors is among the limits: nothing of ours may need another one from here on.
    privileges::set_limits(process)?;
    // Before capabilities go and the filter comes, as in other runtimes; it counts from the next program on.
    confinement.apply()?;
    let privileges = Privileges::of(process, groups);
    // A change of ids clears the bond (prctl(2)).
    privileges.shrink(inherited.filter, &|| bind(inherited.report))?;
    // A program of the container's, which therefore gets no more than the command does.
    inherited.run_hooks(Stage::StartContainer)?;
    command.execute(ends)
}

/// Has the kernel kill this process when the parent ends. That it has not ended before is seen by the report, which it alone can read:
/// nobody outside of a pid namespace has a number in it.
fn bind(report: BorrowedFd<'_>) -> Result<(), Report> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Report::step("binding to the parent"))?;
    let mut polled = [PollFd::new(report, PollFlags::empty())];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(0) | Err(Errno::EINTR) => Ok(()),
        Ok(_) => Err(Report::step("binding to the parent")(Errno::EPIPE)),
        Err(errno) => Err(Report::step("binding to the parent")(errno)),
    }
}
