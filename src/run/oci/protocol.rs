//! The words that are spoken with a runtime: `create`, `start`, `delete`.
//!
//! Invariant: it starts with an environment of a few names, no descriptor but the standard ones, in the bundle; what it says when
//! it fails is read from its log, since its standard error is the command's.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, OFlags};

use super::bundle::Bundle;
use super::{Options, console};
use crate::run::Error;
use crate::run::cgroups::Manager;
use crate::run::native::Output;
use crate::sys;

/// Variables of the caller that a runtime may need; the command's are in the specification.
const VARIABLES: [&str; 5] = ["PATH", "HOME", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// Bytes of the log that are read at most.
const LOG_LIMIT: u64 = 256 << 10;

/// A runtime, ready to be spoken to about one container.
pub(super) struct Program {
    path: PathBuf,
    id: String,
    /// Its path, and the flags before the command.
    words: Vec<CString>,
    environment: Vec<CString>,
    bundle: PathBuf,
    directory: OwnedFd,
    scope_abstract_sockets: bool,
}

/// How the container is created.
pub(super) struct Create {
    pub terminal: Option<console::Listener>,
    pub output: Output,
    /// Standard input, where it is not the caller's.
    pub input: Option<OwnedFd>,
    pub no_pivot: bool,
    pub no_keyring: bool,
}

/// Standard input, output and error of a call.
#[derive(Clone, Copy)]
enum Stdio<'a> {
    /// Those of the command, which it inherits from the runtime.
    Command(&'a Create),
    /// None.
    Null,
}

impl Program {
    pub(super) fn new(
        path: PathBuf,
        options: &Options,
        bundle: &Bundle,
        id: &str,
        scope_abstract_sockets: bool,
    ) -> Result<Self, Error> {
        let failed = |source| Error::prepare("the runtime's arguments", source);
        let own = |name: &str| bundle.path().join(name).to_string_lossy().into_owned();
        let mut flags = vec![path.to_string_lossy().into_owned()];
        flags.extend([format!("--root={}", own("state")), format!("--log={}", own("log")), "--log-format=json".to_owned()]);
        if options.cgroup_manager == Some(Manager::Systemd) {
            flags.push("--systemd-cgroup".to_owned());
        }
        flags.extend(options.flags.iter().map(|flag| format!("--{}", flag.trim_start_matches("--"))));
        let mut environment = Vec::new();
        for name in VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                environment.push(
                    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).map_err(|error| failed(error.into()))?,
                );
            }
        }
        let words = flags.into_iter().map(CString::new).collect::<Result<_, _>>().map_err(|error| failed(error.into()))?;
        let directory = bundle.handle().try_clone_to_owned().map_err(failed)?;
        let (id, bundle) = (id.to_owned(), bundle.path().to_path_buf());
        Ok(Self { path, id, words, environment, bundle, directory, scope_abstract_sockets })
    }

    /// Creates the container; answers with its first process, which waits.
    pub(super) fn create(&self, create: &Create) -> Result<Pid, Error> {
        let bundle = self.bundle.to_string_lossy();
        let pid_file = self.bundle.join("pid");
        let pid_name = pid_file.to_string_lossy();
        let mut words = vec!["create", "--bundle", &bundle, "--pid-file", &pid_name];
        if create.no_keyring {
            words.push("--no-new-keyring");
        }
        if create.no_pivot {
            words.push("--no-pivot");
        }
        if create.terminal.is_some() {
            words.extend(["--console-socket", console::NAME]);
        }
        words.push(&self.id);
        self.call("creating", &words, Stdio::Command(create))?;
        let failed = |source| Error::prepare("the container's process id", source);
        let text = std::fs::read_to_string(&pid_file).map_err(failed)?;
        let pid = text.trim().parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw);
        pid.ok_or_else(|| failed(io::Error::other(format!("{text:?} is none"))))
    }

    /// Lets it go.
    pub(super) fn start(&self) -> Result<(), Error> {
        self.call("starting", &["start", &self.id], Stdio::Null)
    }

    /// Ends what is left of it, and removes what the runtime knows about it.
    pub(super) fn delete(&self) {
        // A container that was never created cannot be deleted, and that is no failure.
        if let Err(error) = self.call("deleting", &["delete", "--force", &self.id], Stdio::Null) {
            log::debug!("{error}");
        }
    }

    fn call(&self, action: &'static str, words: &[&str], stdio: Stdio<'_>) -> Result<(), Error> {
        let failed = |source| Error::prepare(format!("the runtime {:?}", self.path), source);
        let ended = self.spawn(words, stdio).and_then(|pid| Ok(waitpid(pid, None)?)).map_err(failed)?;
        let ending = match ended {
            WaitStatus::Exited(_, 0) => return Ok(()),
            WaitStatus::Exited(_, 127) => "it could not be executed".to_owned(),
            WaitStatus::Exited(_, code) => format!("exit status {code}"),
            WaitStatus::Signaled(_, signal, _) => format!("{signal} ended it"),
            other => format!("{other:?}"),
        };
        let printed = || match stdio {
            Stdio::Command(create) => Some(create.output.so_far()).filter(|text| !text.is_empty()),
            Stdio::Null => None,
        };
        let words = self.last_words().or_else(printed).unwrap_or(ending);
        Err(Error::Runtime { runtime: self.path.clone(), action, words })
    }

    /// The last error in its log (JSON, a record a line).
    fn last_words(&self) -> Option<String> {
        use io::Read;
        let mut text = String::new();
        std::fs::File::open(self.bundle.join("log")).ok()?.take(LOG_LIMIT).read_to_string(&mut text).ok()?;
        let message = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_error =
                record.get("level").and_then(|level| level.as_str()).is_none_or(|level| level == "error" || level == "fatal");
            record.get("msg")?.as_str().filter(|_| is_error).map(str::to_owned)
        };
        text.lines().rev().find_map(message)
    }

    fn spawn(&self, words: &[&str], stdio: Stdio<'_>) -> io::Result<Pid> {
        let mut all = self.words.clone();
        for word in words {
            all.push(CString::new(*word)?);
        }
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let unneeded = null.try_clone()?;
        sys::fork::fork_alone(unneeded.as_fd(), || match self.become_runtime(&path, &all, stdio, &null) {
            Ok(never) => match never {},
            Err(_) => 127,
        })
    }

    fn become_runtime(
        &self,
        path: &CString,
        words: &[CString],
        stdio: Stdio<'_>,
        null: &OwnedFd,
    ) -> io::Result<std::convert::Infallible> {
        // The terminal's keys are for the command: a runtime that Ctrl-C ends leaves half a container.
        rustix::process::setpgid(None, None)?;
        nix::sys::signal::SigSet::empty().thread_set_mask()?;
        sys::signals::restore_sigpipe()?;
        rustix::process::fchdir(&self.directory)?;
        match stdio {
            Stdio::Command(create) => {
                create.output.replace()?;
                if let Some(input) = &create.input {
                    rustix::stdio::dup2_stdin(input)?;
                }
            }
            Stdio::Null => {
                rustix::stdio::dup2_stdin(null)?;
                rustix::stdio::dup2_stdout(null)?;
                rustix::stdio::dup2_stderr(null)?;
            }
        }
        sys::descriptors::close_on_exec_from(3)?;
        if self.scope_abstract_sockets {
            sys::landlock::scope_abstract_sockets()?;
        }
        nix::unistd::execve(path, words, &self.environment).map_err(io::Error::from)
    }
}
