//! SSH agents of the caller's (`--ssh`) that a command may ask.
//!
//! ```text
//!   command ─▶ socket in its own file system ─▶ relay (a process of ours) ─▶ the caller's agent, or ssh-agent with the caller's keys
//! ```
//!
//! The caller's own socket is not mounted: it would let the command add and remove keys, and its owner and mode are the caller's. Keys
//! without an agent go to ssh-agent(1), which reads every format that OpenSSH has; it is started for the run and ends with it.
//!
//! Invariant: no key enters the container; the command may ask for public keys and signatures, and for nothing else.

mod keys;
mod relay;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::fs::Mode;
use rustix::pipe::PipeFlags;

use self::keys::KeyAgent;
use super::Error;
use super::mount_args::Place;
use super::spec::checked_target;
use crate::sys;

/// `--ssh`: an agent that a command may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name; `default` unless given.
    pub id: String,
    /// A socket of an agent, or key files that one is started for. Not empty.
    pub paths: Vec<PathBuf>,
}

/// An agent on its way to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Where its keys are: the socket of one agent, or key files.
    pub paths: Vec<PathBuf>,
    /// The socket inside, absolute.
    pub target: PathBuf,
    /// Whose that is.
    pub place: Place,
}

impl Agent {
    /// Parses the value of `--ssh`: `ID[=SOCKET|KEY[,KEY]]`; `socket` is the caller's `SSH_AUTH_SOCK`.
    pub fn parse(text: &str, socket: Option<&str>) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let id = if id.is_empty() { "default" } else { id };
        let mut paths: Vec<PathBuf> = paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        if paths.is_empty() {
            let socket = socket.filter(|path| !path.is_empty()).ok_or("$SSH_AUTH_SOCK not set")?;
            paths.push(PathBuf::from(socket));
        }
        Ok(Self { id: id.to_owned(), paths })
    }

    /// Whether its paths are one socket, or files.
    ///
    /// # Errors
    /// There is no such path, or the paths are of both kinds.
    pub fn kind(&self) -> io::Result<Kind> {
        kind(&self.paths)
    }
}

/// What an agent is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An agent that runs.
    Socket,
    /// Keys.
    Keys,
}

fn kind(paths: &[PathBuf]) -> io::Result<Kind> {
    let mut sockets = 0;
    for path in paths {
        let found = std::fs::metadata(path).map_err(|error| io::Error::new(error.kind(), format!("stat {path:?}: {error}")))?;
        sockets += usize::from(found.file_type().is_socket());
    }
    match sockets {
        0 => Ok(Kind::Keys),
        1 if paths.len() == 1 => Ok(Kind::Socket),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "only a single socket allowed, and no keys beside it")),
    }
}

/// The socket inside, before it has a name: whoever makes the container's mounts gives it one.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    /// Where it appears.
    pub target: PathBuf,
    /// Whose it is; the owner is for the one who mounts it to set.
    pub place: Place,
    listener: Arc<OwnedFd>,
    ready: Arc<OwnedFd>,
}

/// The process that passes on what is asked; dropping it ends it.
#[derive(Debug)]
pub(super) struct Relay {
    pid: Pid,
    keys: Option<KeyAgent>,
}

impl Socket {
    /// Makes it at `path`, in a directory of ours that nobody else sees, and begins to listen.
    pub(super) fn bind(&self, path: &str) -> io::Result<()> {
        nix::sys::socket::bind(self.listener.as_raw_fd(), &UnixAddr::new(path)?)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(self.place.mode))?;
        nix::sys::socket::listen(&self.listener, Backlog::new(relay::CONNECTIONS)?)?;
        rustix::io::write(&*self.ready, b"r")?;
        Ok(())
    }
}

impl Relay {
    /// The processes that serve the command.
    pub(super) fn processes(&self) -> impl Iterator<Item = Pid> {
        [self.pid].into_iter().chain(self.keys.as_ref().map(KeyAgent::pid))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Both fail only if it is gone.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// Starts what serves `agent`.
pub(super) fn forward(agent: &Passed) -> Result<(Socket, Relay), Error> {
    let target = checked_target(&agent.target)?;
    let failed = |source: io::Error| Error::prepare("an SSH agent (--ssh)", source);
    let (keys, upstream) = match (kind(&agent.paths).map_err(failed)?, agent.paths.as_slice()) {
        (Kind::Socket, [socket, ..]) => (None, socket.clone()),
        (_, paths) => {
            let agent = KeyAgent::start(paths)?;
            let socket = agent.socket();
            (Some(agent), socket)
        }
    };
    let (listener, ready, pid) = relay(upstream).map_err(failed)?;
    let (listener, ready) = (Arc::new(listener), Arc::new(ready));
    Ok((Socket { target, place: agent.place, listener, ready }, Relay { pid, keys }))
}

/// The process, the socket that it waits at, and where it is told that this has begun to listen.
fn relay(upstream: PathBuf) -> io::Result<(OwnedFd, OwnedFd, Pid)> {
    let (kind, flags) = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let listener = nix::sys::socket::socket(AddressFamily::Unix, kind, flags, None)?;
    let inner = listener.try_clone()?;
    let (wait, ready) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let pid = sys::fork::fork_alone(ready.as_fd(), move || relay::serve(inner, &wait, &upstream))?;
    Ok((listener, ready, pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_a_socket_or_keys() {
        let parsed = |text: &str| Agent::parse(text, Some("/run/agent")).map(|agent| (agent.id, agent.paths));
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(parsed("default").unwrap(), ("default".into(), paths(&["/run/agent"])));
        assert_eq!(parsed("").unwrap(), ("default".into(), paths(&["/run/agent"])));
        assert_eq!(parsed("a=/x,/y").unwrap(), ("a".into(), paths(&["/x", "/y"])));
        assert_eq!(parsed("=/x").unwrap().0, "default");
        assert_eq!(Agent::parse("a", None).unwrap_err(), "$SSH_AUTH_SOCK not set");
        assert_eq!(Agent::parse("a=", Some("")).unwrap_err(), "$SSH_AUTH_SOCK not set");
    }
}
