//! The program that connects a private network namespace: pasta or slirp4netns, started for one run and ended with it.
//!
//! Invariant: it gets the namespace by descriptor, an empty environment, no descriptor but its own, and can gain no privilege;
//! the host's loopback is not reachable through it (CVE-2021-20199) unless its options say so.

use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;

use super::Error;
use super::network::{HelperProgram, Shape};
use super::program::{self, FIRST, Launch, null};
use super::slirp::Slirp;

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
fn path_of(file: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// slirp4netns(1): says `1` on the ready descriptor when the interface is up.
fn slirp4netns(program: &HelperProgram, slirp: &Slirp, namespace: &OwnedFd) -> io::Result<Pid> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let mut arguments: Vec<String> =
        ["--configure", "--enable-sandbox", "--enable-seccomp", "--netns-type=path"].map(String::from).into();
    arguments.extend(slirp.arguments());
    arguments.extend([format!("--ready-fd={FIRST}"), path_of(namespace), "tap0".to_string()]);
    let pid = spawn(program, &arguments, &[&write], &null()?)?;
    drop(write);
    let mut byte = [0u8; 1];
    match rustix::io::read(&read, &mut byte) {
        Ok(1) => Ok(pid),
        _ => Err(io::Error::other(ended(&waitpid(pid, None)?))),
    }
}

/// By whose descriptors pasta finds what it is told to open.
///
/// It gives capabilities up before, and `/proc/PID/fd` of a process that has more is closed to it (ptrace(2), access mode checking):
/// Debian 12's finds the namespace only among its own descriptors. Newer ones close what they inherit, but keep the capability to look.
#[derive(Debug, Clone, Copy)]
enum Descriptors {
    /// Those that it inherits.
    Its,
    /// Those of this process.
    Ours,
}

/// pasta(1): goes to the background when the interface is up, and writes its process id to a file, here one in memory.
fn pasta(program: &HelperProgram, words: &[String], namespace: &OwnedFd) -> io::Result<Pid> {
    let words = pasta_arguments(words);
    pasta_once(program, &words, namespace, Descriptors::Its).or_else(|first| {
        log::debug!("pasta with inherited descriptors: {first}");
        pasta_once(program, &words, namespace, Descriptors::Ours)
    })
}

fn pasta_once(program: &HelperProgram, words: &[String], namespace: &OwnedFd, whose: Descriptors) -> io::Result<Pid> {
    let pid_file = rustix::fs::memfd_create("coracle-pasta", MemfdFlags::CLOEXEC)?;
    let said = rustix::fs::memfd_create("coracle-pasta-error", MemfdFlags::CLOEXEC)?;
    let (pid_path, namespace_path, kept) = match whose {
        Descriptors::Its => {
            (format!("/proc/self/fd/{FIRST}"), format!("/proc/self/fd/{}", FIRST + 1), vec![&pid_file, namespace])
        }
        Descriptors::Ours => (path_of(&pid_file), path_of(namespace), Vec::new()),
    };
    let mut arguments = words.to_vec();
    arguments.extend(["--pid".to_owned(), pid_path, "--netns-only".to_owned(), "--netns".to_owned(), namespace_path]);
    let launcher = spawn(program, &arguments, &kept, &said)?;
    let status = waitpid(launcher, None)?;
    if !matches!(status, WaitStatus::Exited(_, 0)) {
        let ended = ended(&status);
        return Err(io::Error::other(match first_line(said) {
            Some(words) => format!("{ended}: {words}"),
            None => ended,
        }));
    }
    let pid = written(pid_file)?.trim().parse().ok().filter(|pid| *pid > 1);
    pid.map(Pid::from_raw).ok_or_else(|| io::Error::other("it did not say its process id"))
}

fn ended(status: &WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("it ended with status {code} before the network was there"),
        WaitStatus::Signaled(_, signal, _) => format!("{signal} ended it before the network was there"),
        _ => "it ended before the network was there".to_owned(),
    }
}

/// What was written to a file in memory; a short text.
fn written(file: OwnedFd) -> io::Result<String> {
    let mut file = std::fs::File::from(file);
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first words of a program that failed, before it explains its use, without those about the log that it could not reach.
fn first_line(said: OwnedFd) -> Option<String> {
    let text = written(said).ok()?;
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.contains("syslog")).map(str::to_owned)
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

/// Starts the program with `kept` as its descriptors from `FIRST` on, and `stderr`.
fn spawn(program: &HelperProgram, arguments: &[String], kept: &[&OwnedFd], stderr: &OwnedFd) -> io::Result<Pid> {
    let null = null()?;
    program::spawn(&Launch {
        path: &program.path,
        arguments,
        environment: &[],
        directory: None,
        stdin: null.as_fd(),
        stdout: null.as_fd(),
        stderr: stderr.as_fd(),
        kept,
    })
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
