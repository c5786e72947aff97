//! Key files without an agent: ssh-agent(1) and ssh-add(1) of this machine, for the time of one run.
//!
//! Invariant: the agent's socket is on a file system that nothing else can reach and that ends with this process, and so does the agent; keys
//! are read here and handed over through files in memory, so that no path becomes an argument.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::MemfdFlags;

use crate::run::native::private_tmpfs;
use crate::run::program::{self, Launch, null};
use crate::run::{Error, program::find};

/// The agent's socket in its directory.
const SOCKET: &str = "agent";

/// Bytes of a key file; the largest keys have some thousands.
const KEY_LIMIT: u64 = 64 << 10;

/// How long an agent may take to begin, which it does in some milliseconds.
const START_LIMIT: Duration = Duration::from_secs(10);

/// An agent; dropping it ends it.
#[derive(Debug)]
pub(super) struct KeyAgent {
    pid: Pid,
    /// Attached nowhere.
    directory: OwnedFd,
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        // Both fail only if it is gone.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

impl KeyAgent {
    /// Starts one that holds the keys in `paths`.
    pub(super) fn start(paths: &[PathBuf]) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::prepare("ssh-agent", source);
        let missing = || failed(io::Error::new(io::ErrorKind::NotFound, "it is not installed (Debian: openssh-client)"));
        let (agent, add) = find("ssh-agent").zip(find("ssh-add")).ok_or_else(missing)?;
        let started = Self::launch(&agent).map_err(failed)?;
        for path in paths {
            started.add(&add, path).map_err(|source| Error::prepare(format!("the key {path:?} for an SSH agent"), source))?;
        }
        Ok(started)
    }

    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Where this process and its children reach it.
    pub(super) fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.directory.as_raw_fd()))
    }

    fn launch(path: &Path) -> io::Result<Self> {
        let directory = private_tmpfs(None)?;
        let null = null()?;
        let said = rustix::fs::memfd_create("coracle-ssh-agent", MemfdFlags::CLOEXEC)?;
        // In the foreground, so that it is a child of this process.
        let arguments = ["-D", "-a", SOCKET].map(str::to_owned);
        let launch = Launch {
            path,
            arguments: &arguments,
            environment: &[],
            directory: Some(directory.as_fd()),
            stdin: null.as_fd(),
            stdout: null.as_fd(),
            stderr: said.as_fd(),
            kept: &[],
        };
        let agent = Self { pid: program::spawn(&launch)?, directory };
        let begun = Instant::now();
        while UnixStream::connect(agent.socket()).is_err() {
            let status = waitpid(agent.pid, Some(WaitPidFlag::WNOHANG))?;
            if status != WaitStatus::StillAlive || begun.elapsed() > START_LIMIT {
                return Err(io::Error::other(format!("it did not begin: {}", words(said))));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(agent)
    }

    fn add(&self, program: &Path, path: &Path) -> io::Result<()> {
        let key = in_memory(path)?;
        let null = null()?;
        let said = rustix::fs::memfd_create("coracle-ssh-add", MemfdFlags::CLOEXEC)?;
        let arguments = ["-q", "-"].map(str::to_owned);
        // No program is asked for a passphrase, and there is no terminal to ask at.
        let environment = [format!("SSH_AUTH_SOCK={SOCKET}"), "SSH_ASKPASS_REQUIRE=never".to_owned()];
        let pid = program::spawn(&Launch {
            path: program,
            arguments: &arguments,
            environment: &environment,
            directory: Some(self.directory.as_fd()),
            stdin: key.as_fd(),
            stdout: null.as_fd(),
            stderr: said.as_fd(),
            kept: &[],
        })?;
        match waitpid(pid, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            _ => {
                Err(io::Error::other(format!("ssh-add cannot read it (one with a passphrase needs an agent): {}", words(said))))
            }
        }
    }
}

/// A copy of the file, which need not be closed to others as ssh-add wants the files of its caller.
fn in_memory(path: &Path) -> io::Result<File> {
    // Opening a FIFO must not wait for its writer.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut key = Vec::new();
    file.take(KEY_LIMIT + 1).read_to_end(&mut key)?;
    if key.len() as u64 > KEY_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("a key may have {KEY_LIMIT} bytes")));
    }
    let mut copy = File::from(rustix::fs::memfd_create("coracle-key", MemfdFlags::CLOEXEC)?);
    copy.write_all(&key)?;
    copy.rewind()?;
    Ok(copy)
}

/// The last words of a program, on one line.
fn words(said: OwnedFd) -> String {
    let mut file = File::from(said);
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    match read.ok().and_then(|_| text.lines().map(str::trim).rfind(|line| !line.is_empty())) {
        Some(line) => format!("{line:?}"),
        None => "it said nothing".to_owned(),
    }
}
