//! The parent's watch: signals forwarded, terminal relayed, end awaited, nothing left behind.
//!
//! Invariant: signals are blocked before the process exists and read from a descriptor, so that none is lost and no handler runs;
//! when this returns, no process of the container lives.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::output::Streams;
use super::terminal::{self, RawMode};
use crate::run::Status;

/// Signals that are passed on to the command.
const FORWARDED: &[Signal] =
    &[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Origin of a signal that the kernel sent: the terminal's keys (sigaction(2), `si_code`).
const SI_KERNEL: i32 = 0x80;

/// Signals that arrive here while it lives; dropping it gives the caller its mask back.
pub(in crate::run) struct Signals {
    descriptor: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks them and opens the descriptor.
    pub(in crate::run) fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in FORWARDED.iter().chain(&[Signal::SIGCHLD, Signal::SIGWINCH]) {
            set.add(*signal);
        }
        let before = SigSet::thread_get_mask()?;
        set.thread_block()?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { descriptor, before })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Cannot fail: the mask was read from the kernel.
        let _ = self.before.thread_set_mask();
    }
}

/// Waits until `pipe` has something to say.
///
/// # Errors
/// `Interrupted`, when a signal that ends us arrives before that.
pub(super) fn await_answer(pipe: BorrowedFd<'_>, signals: &Signals) -> io::Result<()> {
    loop {
        let mut polled = [PollFd::new(pipe, PollFlags::POLLIN), PollFd::new(signals.descriptor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if polled.first().and_then(|pipe| pipe.any()).unwrap_or(false) {
            return Ok(());
        }
        while let Some(info) = signals.descriptor.read_signal()? {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
            if Signal::try_from(number).is_ok_and(|signal| ends.contains(&signal)) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }
}

/// Waits for the end of `pid`, the command.
pub(in crate::run) fn watch(pid: Pid, signals: &Signals, console: Option<OwnedFd>, mut output: Streams) -> io::Result<Status> {
    let mut relay = console.map(Relay::start).transpose()?;
    loop {
        if let Some(status) = reap(pid)? {
            if let Some(relay) = &mut relay {
                relay.drain();
            }
            output.step();
            return Ok(status);
        }
        let mut polled = vec![PollFd::new(signals.descriptor.as_fd(), PollFlags::POLLIN)];
        if let Some(relay) = &relay {
            polled.extend(relay.interests());
        }
        polled.extend(output.interests());
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        drop(polled);
        while let Some(info) = signals.descriptor.read_signal()? {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) | Err(_) => {}
                Ok(Signal::SIGWINCH) => relay.iter().for_each(Relay::resize),
                // Ctrl-C is for all that the command runs in the foreground, as if this process were not in between.
                Ok(signal) if info.ssi_code == SI_KERNEL && handles(pid, signal) => send(group(pid), signal),
                Ok(signal) => forward(pid, signal),
            }
        }
        if let Some(relay) = &mut relay {
            relay.step();
        }
        output.step();
    }
}

/// Ends `pid`, which failed to start or must not go on, and waits for it.
pub(super) fn end(pid: Pid) {
    // Both may fail only because it is gone already.
    let _ = kill(pid, Signal::SIGKILL);
    let _ = waitpid(pid, None);
}

fn reap(pid: Pid) -> io::Result<Option<Status>> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Ok(Some(Status::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)))),
        Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(Status::Killed(signal as i32))),
        Ok(_) | Err(Errno::EINTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Passes `signal` on. The first process of a pid namespace is immune to signals it has no handler for (pid_namespaces(7)); a
/// user who presses Ctrl-C wants `sleep` to end all the same, so such a process is killed.
fn forward(pid: Pid, signal: Signal) {
    let immune = !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) && !handles(pid, signal);
    send(pid, if immune { Signal::SIGKILL } else { signal });
}

fn send(to: Pid, signal: Signal) {
    // It may just have ended.
    let _ = kill(to, signal);
}

/// The process group of the command, which leads a session of its own (kill(2)).
fn group(pid: Pid) -> Pid {
    Pid::from_raw(-pid.as_raw())
}

/// Whether `pid` catches or ignores `signal` (proc_pid_status(5): `SigIgn`, `SigCgt`).
fn handles(pid: Pid, signal: Signal) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigIgn:").or_else(|| line.strip_prefix("SigCgt:")));
    let bit = 1u64 << (signal as u32 - 1);
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & bit != 0)
}

/// Ends what a command without a pid namespace of its own has left behind. Orphans become our children, since we are a subreaper
/// (prctl(2)); `spare` are children of ours that are none of the container's.
pub(in crate::run) fn end_leftovers(spare: &[Pid]) {
    // A process can fork while we look: until a round finds nothing, and not for ever.
    for _ in 0..1000 {
        let children = children();
        let left: Vec<Pid> = children.into_iter().filter(|pid| !spare.contains(pid)).collect();
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(end);
    }
}

fn children() -> Vec<Pid> {
    let me = nix::unistd::getpid();
    let list = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// The caller's terminal and the container's, bytes going both ways.
struct Relay {
    master: OwnedFd,
    typed: Vec<u8>,
    input_open: bool,
    _raw: Option<RawMode>,
}

impl Relay {
    fn start(master: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK)?;
        let relay = Self { master, typed: Vec::new(), input_open: true, _raw: RawMode::enter(rustix::stdio::stdin())? };
        relay.resize();
        Ok(relay)
    }

    fn resize(&self) {
        terminal::copy_size(rustix::stdio::stdin(), self.master.as_fd());
    }

    /// Input is read only when the last of it is delivered, so that a command that does not read cannot make us hold much.
    fn interests(&self) -> Vec<PollFd<'_>> {
        let mut interests = vec![PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if !self.typed.is_empty() {
            interests.push(PollFd::new(self.master.as_fd(), PollFlags::POLLOUT));
        } else if self.input_open {
            interests.push(PollFd::new(rustix::stdio::stdin(), PollFlags::POLLIN));
        }
        interests
    }

    fn step(&mut self) {
        self.output();
        if self.typed.is_empty() && self.input_open && readable(rustix::stdio::stdin()) {
            let mut buffer = [0u8; 1024];
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                Ok(0) | Err(_) => {
                    self.input_open = false;
                    // What Ctrl-D sends: the command reads an end of file.
                    self.typed.push(4);
                }
                Ok(length) => self.typed.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            }
        }
        if let Ok(written) = rustix::io::write(&self.master, &self.typed) {
            self.typed.drain(..written.min(self.typed.len()));
        }
    }

    /// Everything that the container has written so far; `false` at its end.
    fn output(&mut self) -> bool {
        let mut buffer = [0u8; 8192];
        loop {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(0) => return false,
                // A reader of our output that is gone is as a closed terminal: the command goes on.
                Ok(length) => drop(write_all(rustix::stdio::stdout(), buffer.get(..length).unwrap_or_default())),
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                // EIO: the last process that had it open is gone.
                Err(_) => return false,
            }
        }
    }

    fn drain(&mut self) {
        self.output();
    }
}

/// Whether reading does not wait.
pub(super) fn readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(descriptor, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Writes all of it; an error means that nobody reads it any more.
pub(super) fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => wait_writable(to)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The descriptor may be non-blocking: it is the caller's, who may have made it so.
fn wait_writable(to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(rustix::io::Errno::from_raw_os_error(errno as i32)),
    }
}
