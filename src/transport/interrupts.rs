//! Signals that end a copy: what was begun is taken away first, and then the process ends of the signal as it would have at once.
//!
//! ```text
//! during ─┬─ work, in as many threads as it likes
//!         └─ a signal ─▶ `interrupt` makes the work fail ─▶ the verb returns its error ─▶ the program ends of the signal
//! ```
//!
//! Invariant: the signals are blocked while the work goes on, and read from a descriptor, so that no handler runs. One that the process
//! ignores stays ignored. The second one ends the process at once.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::sys::signals::is_ignored;

/// Signals by which a person, a service manager or a terminal that goes away asks for the end.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Does `work`. At a signal `interrupt` is called in another thread; `work` has to end soon after.
pub(super) fn during(work: impl FnOnce(), interrupt: impl FnOnce(Signal) + Send) {
    // Where they cannot be watched they do what they do elsewhere.
    let Ok(held) = Held::new() else { return work() };
    thread::scope(|scope| {
        let watch = thread::Builder::new().name("signals".to_owned());
        if watch.spawn_scoped(scope, || held.watch(interrupt)).is_err() {
            held.release();
        }
        // Also when the work panics: the scope waits for the thread.
        let _over = Over(&held);
        work();
    });
}

/// Signals that are blocked, until it is dropped.
struct Held {
    set: SigSet,
    before: SigSet,
    signals: SignalFd,
    over: OwnedFd,
}

impl Held {
    fn new() -> io::Result<Self> {
        let set: SigSet = ENDING.into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let over = eventfd(0, EventfdFlags::CLOEXEC)?;
        let before = SigSet::thread_get_mask()?;
        set.thread_block()?;
        Ok(Self { set, before, signals, over })
    }

    /// Waits for a signal, and then for the end of the work.
    fn watch(&self, interrupt: impl FnOnce(Signal)) {
        let mut interrupt = Some(interrupt);
        loop {
            let waits = if interrupt.is_some() { PollFlags::IN } else { PollFlags::empty() };
            let mut polled = [PollFd::new(&self.over, PollFlags::IN), PollFd::new(&self.signals, waits)];
            match poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if !polled[0].revents().is_empty() => return,
                Ok(_) => {}
            }
            let Ok(Some(info)) = self.signals.read_signal() else { continue };
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            let (Some(signal), Some(interrupt)) = (signal, interrupt.take()) else { continue };
            // This thread takes the next one as it comes.
            let _ = self.set.thread_unblock();
            interrupt(signal);
        }
    }

    fn release(&self) {
        let _ = self.before.thread_set_mask();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

/// Ends the watch when it is dropped.
struct Over<'a>(&'a Held);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.0.over, &1_u64.to_ne_bytes());
    }
}
