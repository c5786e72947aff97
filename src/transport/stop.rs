//! `Stop`: what tells all threads of a copy that one of them has failed.
//!
//! Invariant: who reads through [`Stop::watch`] notices at the next read, and who pauses with [`Stop::pause`] at once. Reads of the network
//! that nothing comes of are ended by `Source::give_up` and `Destination::give_up`.

use std::io::{self, Read};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Said once, and heard by everybody.
#[derive(Debug, Default)]
pub(super) struct Stop {
    said: Mutex<bool>,
    heard: Condvar,
}

impl Stop {
    /// Says it.
    pub(super) fn say(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }

    /// Whether it was said.
    pub(super) fn is_said(&self) -> bool {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `length`; `false` if it was said, which ends the wait.
    #[must_use]
    pub(super) fn pause(&self, length: Duration) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(said, length, |said| !*said);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The bytes of `input`, until it is said: then an error.
    pub(super) fn watch<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
        Box::new(Watched { input, stop: self })
    }
}

struct Watched<'a> {
    input: Box<dyn Read + Send + 'a>,
    stop: &'a Stop,
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_said() {
            return Err(io::Error::other("another layer failed"));
        }
        self.input.read(into)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn pauses_and_reads_end_when_it_is_said() {
        let stop = Stop::default();
        let mut stream = stop.watch(Box::new(&b"ab"[..]));
        assert_eq!(stream.read(&mut [0]).unwrap(), 1);
        assert!(stop.pause(Duration::from_millis(1)));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| stop.pause(Duration::from_secs(60)));
            stop.say();
            assert!(!waiting.join().unwrap());
        });
        assert!(begun.elapsed() < Duration::from_secs(30) && stop.is_said());
        assert!(stream.read(&mut [0]).is_err());
    }
}
