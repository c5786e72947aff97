//! The process between a command and an agent: it passes on what the command may ask (draft-ietf-sshm-ssh-agent).
//!
//! ```text
//!   message = length (4 bytes, most significant first) · kind (1 byte) · content
//! ```
//!
//! Invariant: a question is of a kind that changes nothing, or is answered here with a failure; each connection is served by a process of
//! its own, so that none waits for another one; nothing of the command's is kept in memory but one message.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{DumpableBehavior, Signal};

use crate::sys;

/// Connections that are served at a time; whoever comes after them waits.
pub(super) const CONNECTIONS: i32 = 64;

/// Bytes of a message, as in OpenSSH.
const LIMIT: u32 = 256 << 10;

/// `SSH_AGENTC_REQUEST_IDENTITIES`, `SSH_AGENTC_SIGN_REQUEST`
const ALLOWED: [u8; 2] = [11, 13];

/// `SSH_AGENT_FAILURE`
const FAILURE: &[u8] = &[5];

/// Serves `listener`, once `ready` says that it listens, until this process is ended.
pub(super) fn serve(listener: OwnedFd, ready: &OwnedFd, upstream: &Path) -> i32 {
    let confined = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .and_then(|()| rustix::process::setsid());
    // Nothing in the container may attach to it, and it may not outlive the run.
    if confined.is_err() || SigSet::empty().thread_set_mask().is_err() {
        return 1;
    }
    if rustix::io::read(ready, &mut [0u8; 1]) != Ok(1) {
        return 0;
    }
    let listener = UnixListener::from(listener);
    let mut served = 0;
    loop {
        served -= ended(served);
        let Ok((connection, _)) = listener.accept() else { return 1 };
        let started = sys::fork::fork_alone(listener.as_fd(), || {
            // The command notices when nobody answers.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            i32::from(converse(&connection, upstream).is_err())
        });
        served += i32::from(started.is_ok());
    }
}

/// How many of `served` connections have ended; waits for one if there may be no more.
fn ended(served: i32) -> i32 {
    let mut ended = 0;
    while ended < served {
        let flags = if served - ended >= CONNECTIONS { WaitPidFlag::empty() } else { WaitPidFlag::WNOHANG };
        match waitpid(Pid::from_raw(-1), Some(flags)) {
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => ended += 1,
            Ok(_) | Err(_) => break,
        }
    }
    ended
}

fn converse(mut command: &UnixStream, upstream: &Path) -> io::Result<()> {
    let mut agent = UnixStream::connect(upstream)?;
    while let Some(question) = receive(&mut command)? {
        if question.first().is_none_or(|kind| !ALLOWED.contains(kind)) {
            send(&mut command, FAILURE)?;
            continue;
        }
        send(&mut agent, &question)?;
        let answer = receive(&mut agent)?;
        send(&mut command, answer.as_deref().unwrap_or(FAILURE))?;
    }
    Ok(())
}

/// The next message, without its length; `None` at the end.
fn receive(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0u8; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length);
    if length > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long a message"));
    }
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

fn send(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command hears from an agent that answers each question with itself, to each of `questions`.
    fn answers(questions: &[&[u8]]) -> Vec<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut asked, _) = listener.accept().unwrap();
            while let Ok(Some(question)) = receive(&mut asked) {
                send(&mut asked, &question).unwrap();
            }
        });
        let (mut command, relay) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || converse(&relay, &path));
        let heard = questions.iter().map_while(|question| {
            send(&mut command, question).ok()?;
            receive(&mut command).ok().flatten()
        });
        let heard = heard.collect();
        drop(command);
        // How it ended shows in what was heard.
        let _ = serving.join().unwrap();
        heard
    }

    #[test]
    fn public_keys_and_signatures_are_asked_for_and_nothing_else() {
        let sign: &[u8] = &[13, 1, 2, 3];
        // Add, remove, remove all, lock, unlock, extension; of no kind.
        for refused in [&[17u8, 0][..], &[18], &[19], &[22], &[23], &[25], &[27], &[]] {
            assert_eq!(answers(&[refused, &[11], sign]), [FAILURE, &[11], sign], "{refused:?}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_ends_the_connection() {
        let mut long = vec![0; LIMIT as usize + 1];
        long[0] = 13;
        assert_eq!(answers(&[&long, &[11]]), Vec::<Vec<u8>>::new());
        long.pop();
        assert_eq!(answers(&[&long]), [long]);
    }

    #[test]
    fn half_a_message_is_no_message() {
        for bytes in [&b""[..], b"\0\0", b"\0\0\0\x02a"] {
            let read = receive(&mut &bytes[..]);
            assert!(!matches!(read, Ok(Some(_))), "{bytes:?}");
        }
    }
}
