//! The program that connects a private network namespace: pasta or slirp4netns, started for one run and ended with it.
//!
//! Invariant: it gets the namespace by descriptor, an empty environment, no descriptor but its own, and can gain no privilege;
//! the host's loopback is not reachable through it (CVE-2021-20199) unless its options say so.

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
use super::network::{HelperProgram, Shape};
use super::slirp::Slirp;
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
    let started = match &program.shape {
        Shape::Slirp(slirp) => slirp4netns(program, slirp, &namespace),
        Shape::Pasta(words) => pasta(program, words, &namespace),
    };
    let pid = started.map_err(failed)?;
    Ok(Service { pid, _namespace: namespace })
}

/// How the helper names the namespace: through our own descriptor table, since it closes what it inherits.
fn namespace_path(namespace: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

/// slirp4netns(1): says `1` on the ready descriptor when the interface is up.
fn slirp4netns(program: &HelperProgram, slirp: &Slirp, namespace: &OwnedFd) -> io::Result<Pid> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let mut arguments: Vec<String> =
        ["--configure", "--enable-sandbox", "--enable-seccomp", "--netns-type=path"].map(String::from).into();
    arguments.extend(slirp.arguments());
    arguments.extend([format!("--ready-fd={READY}"), namespace_path(namespace), "tap0".to_string()]);
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
fn pasta(program: &HelperProgram, words: &[String], namespace: &OwnedFd) -> io::Result<Pid> {
    use std::io::{Read, Seek};
    let pid_file = rustix::fs::memfd_create("coracle-pasta", MemfdFlags::CLOEXEC)?;
    let mut arguments = pasta_arguments(words);
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

/// What an option of pasta is unless its words say it, in either spelling.
const PASTA_DEFAULTS: [(&str, &str, &str); 5] = [
    ("--dns-forward", "--dns-forward", "169.254.1.1"),
    ("-t", "--tcp-ports", "none"),
    ("-u", "--udp-ports", "none"),
    ("-T", "--tcp-ns", "none"),
    ("-U", "--udp-ns", "none"),
];

/// The words that were asked for, and the defaults of the other tools. `--map-gw` is a word of theirs and not of pasta's own: the
/// machine's loopback is not to be hidden.
fn pasta_arguments(words: &[String]) -> Vec<String> {
    let mut arguments = vec!["--config-net".to_owned(), "--quiet".to_owned()];
    arguments.extend(words.iter().filter(|word| *word != "--map-gw").cloned());
    let has = |name: &str| words.iter().any(|word| word.split('=').next() == Some(name));
    for (short, long, value) in PASTA_DEFAULTS {
        if !has(short) && !has(long) {
            arguments.extend([long.to_owned(), value.to_owned()]);
        }
    }
    if !has("--map-gw") {
        arguments.push("--no-map-gw".to_owned());
    }
    arguments
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

#[cfg(test)]
mod tests {
    use super::pasta_arguments;

    #[test]
    fn words_for_pasta_replace_the_defaults() {
        let arguments = |words: &[&str]| pasta_arguments(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).join(" ");
        let ports = "--tcp-ports none --udp-ports none --tcp-ns none --udp-ns none";
        assert_eq!(arguments(&[]), format!("--config-net --quiet --dns-forward 169.254.1.1 {ports} --no-map-gw"));
        assert_eq!(
            arguments(&["--map-gw", "-t", "auto", "--udp-ports=53", "--dns-forward", "10.0.0.1"]),
            "--config-net --quiet -t auto --udp-ports=53 --dns-forward 10.0.0.1 --tcp-ns none --udp-ns none"
        );
    }
}
