//! The program that connects a private network namespace: pasta or slirp4netns, started for one run and ended with it.
//!
//! Invariant: it gets the namespace by descriptor, an empty environment, no descriptor but its own, and can gain no privilege;
//! the host's loopback is not reachable through it (CVE-2021-20199).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};
use rustix::pipe::PipeFlags;

use super::Error;
use super::network::{Helper, HelperProgram};
use crate::sys;

/// A running helper; dropping it ends it.
#[derive(Debug)]
pub(super) struct Service {
    pid: Pid,
    /// The helper's namespace handle is looked up through this process, so it stays open as long as the helper runs.
    _namespace: OwnedFd,
}

impl Service {
    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only if it is gone, or, for a daemon, not a child of ours.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// Starts `program` for the network namespace `namespace` and waits until it is ready.
pub(super) fn start(program: &HelperProgram, namespace: OwnedFd) -> Result<Service, Error> {
    let failed = |source: io::Error| Error::prepare(format!("the network program {:?}", program.path), source);
    let started = match program.kind {
        Helper::Slirp4netns => slirp4netns(program, &namespace),
        Helper::Pasta | Helper::Any => pasta(program, &namespace),
    };
    let pid = started.map_err(failed)?;
    Ok(Service { pid, _namespace: namespace })
}

/// How the helper names the namespace: through our own descriptor table, since it closes what it inherits.
fn namespace_path(namespace: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

/// slirp4netns(1): says `1` on the ready descriptor when the interface is up.
fn slirp4netns(program: &HelperProgram, namespace: &OwnedFd) -> io::Result<Pid> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let arguments = [
        "--configure".to_string(),
        "--mtu=65520".to_string(),
        "--disable-host-loopback".to_string(),
        "--enable-sandbox".to_string(),
        "--enable-seccomp".to_string(),
        "--netns-type=path".to_string(),
        format!("--ready-fd={READY}"),
        namespace_path(namespace),
        "tap0".to_string(),
    ];
    let pid = spawn(program, &arguments, Some(&write))?;
    drop(write);
    let mut byte = [0u8; 1];
    match rustix::io::read(&read, &mut byte) {
        Ok(1) => Ok(pid),
        _ => Err(io::Error::other(match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => format!("it ended with status {code} before the network was there"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("{signal} ended it before the network was there"),
            _ => "it ended before the network was there".to_string(),
        })),
    }
}

/// pasta(1): goes to the background when the interface is up, and writes its process id to a file, here one in memory.
fn pasta(program: &HelperProgram, namespace: &OwnedFd) -> io::Result<Pid> {
    use std::io::{Read, Seek};
    let pid_file = rustix::fs::memfd_create("coracle-pasta", MemfdFlags::CLOEXEC)?;
    let mut arguments: Vec<String> =
        ["--config-net", "--quiet", "--no-map-gw", "--dns-forward", "169.254.1.1"].map(String::from).into();
    for ports in ["--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"] {
        arguments.extend([ports.to_string(), "none".to_string()]);
    }
    arguments.extend(["--pid".to_string(), format!("/proc/{}/fd/{}", std::process::id(), pid_file.as_raw_fd())]);
    arguments.extend(["--netns-only".to_string(), "--netns".to_string(), namespace_path(namespace)]);
    let launcher = spawn(program, &arguments, None)?;
    match waitpid(launcher, None)? {
        WaitStatus::Exited(_, 0) => {}
        status => return Err(io::Error::other(format!("it ended with {status:?}"))),
    }
    let mut file = std::fs::File::from(pid_file);
    file.rewind()?;
    let mut text = String::new();
    file.take(32).read_to_string(&mut text)?;
    let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
    pid.map(Pid::from_raw).ok_or_else(|| io::Error::other("it did not say its process id"))
}

/// The number that the ready descriptor has in the helper.
const READY: i32 = 3;

fn spawn(program: &HelperProgram, arguments: &[String], ready: Option<&OwnedFd>) -> io::Result<Pid> {
    let path = CString::new(program.path.as_os_str().as_bytes())?;
    let mut words = vec![path.clone()];
    for argument in arguments {
        words.push(CString::new(argument.as_str())?);
    }
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let unneeded = null.try_clone()?;
    sys::fork::fork_alone(unneeded.as_fd(), || match confine_and_execute(&path, &words, ready, &null) {
        Ok(never) => match never {},
        Err(_) => 127,
    })
}

fn confine_and_execute(
    path: &CString,
    words: &[CString],
    ready: Option<&OwnedFd>,
    null: &OwnedFd,
) -> io::Result<std::convert::Infallible> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    // A signal for the command, from the terminal, is not one for its network.
    rustix::process::setsid()?;
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    sys::signals::restore_sigpipe()?;
    rustix::process::chdir("/")?;
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)?;
    sys::descriptors::close_on_exec_from(3)?;
    if let Some(ready) = ready {
        sys::descriptors::duplicate_to(ready.as_fd(), READY)?;
    }
    nix::unistd::execve(path, words, &[] as &[CString]).map_err(io::Error::from)
}
