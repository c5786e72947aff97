//! The pseudo terminal of `-t`: opened from the container's own devpts, relayed to the caller's terminal.
//!
//! Invariant: the container never holds the caller's terminal (CVE-2017-5226); both ends are reached by handle, never through a
//! path that the image could have made a link (CVE-2025-52565); the caller's terminal leaves raw mode on every way out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};

use super::filesystem::Tree;
use super::hand_over::send_descriptor;
use super::report::Report;

/// In the child: a terminal of the container's own devpts, which is `/dev/console` as well.
pub(super) fn open(tree: &Tree, console: &OwnedFd) -> Result<(), Report> {
    let missing = || Report::step("opening a terminal")(io::Error::from_raw_os_error(libc::ENODEV));
    let pts = tree.pts.as_ref().ok_or_else(missing)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(pts, "ptmx", flags, Mode::empty()).map_err(Report::step("opening a terminal"))?;
    let slave = adopt(&master, console)?;
    tree.console(slave.as_fd()).map_err(Report::step("binding /dev/console"))
}

/// In the child, where nothing can be mounted: a terminal of the surrounding machine.
pub(super) fn open_surrounding(console: &OwnedFd) -> Result<(), Report> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(rustix::fs::CWD, "/dev/ptmx", flags, Mode::empty());
    adopt(&master.map_err(Report::step("opening a terminal"))?, console).map(drop)
}

/// Makes the terminal this session's, and standard input and output; sends its other end to the parent.
fn adopt(master: &OwnedFd, console: &OwnedFd) -> Result<OwnedFd, Report> {
    rustix::pty::unlockpt(master).map_err(Report::step("unlocking the terminal"))?;
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(master, peer).map_err(Report::step("opening the terminal's inner end"))?;
    send_descriptor(console.as_fd(), master.as_fd()).map_err(Report::step("handing the terminal over"))?;
    rustix::process::ioctl_tiocsctty(&slave).map_err(Report::step("making the terminal the session's"))?;
    rustix::stdio::dup2_stdin(&slave).map_err(Report::step("replacing standard input"))?;
    rustix::stdio::dup2_stdout(&slave).map_err(Report::step("replacing standard output"))?;
    rustix::stdio::dup2_stderr(&slave).map_err(Report::step("replacing standard error"))?;
    Ok(slave)
}

/// The caller's terminal in raw mode; dropping it restores the mode.
pub(super) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// `None` if `terminal` is none.
    pub(super) fn enter(terminal: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Ok(before) = rustix::termios::tcgetattr(terminal) else { return Ok(None) };
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Some(Self { terminal: terminal.try_clone_to_owned()?, before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Gives the container's terminal the size of the caller's.
pub(super) fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    if let Ok(size) = rustix::termios::tcgetwinsize(from) {
        // The size is a courtesy: a terminal that refuses it still works.
        let _ = rustix::termios::tcsetwinsize(to, size);
    }
}
