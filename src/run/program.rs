//! Programs of this machine that are started for one run and end with it.
//!
//! Invariant: an environment of named variables, no descriptor but those that are given, no way to gain privilege; the program ends with
//! this process, however that ends.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, OFlags};

use crate::sys;

/// Where programs are looked for: never in `PATH` (known attack A124).
pub(super) const SYSTEM_DIRS: [&str; 7] =
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin", "/run/current-system/sw/bin"];

/// How a program is started.
pub(super) struct Launch<'a> {
    /// Absolute.
    pub path: &'a Path,
    pub arguments: &'a [String],
    /// `NAME=value`
    pub environment: &'a [String],
    /// Where it starts; `/` for none.
    pub directory: Option<BorrowedFd<'a>>,
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Its descriptors from `FIRST` on.
    pub kept: &'a [&'a OwnedFd],
}

/// The number in a program of the first descriptor that it is given.
pub(super) const FIRST: i32 = 3;

/// The program `name` of the system.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    SYSTEM_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| is_program(path))
}

/// Whether `path` can be executed by somebody.
pub(super) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// `/dev/null`
pub(super) fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Starts it.
pub(super) fn spawn(launch: &Launch<'_>) -> io::Result<Pid> {
    let path = CString::new(launch.path.as_os_str().as_bytes())?;
    let strings = |words: &[String]| words.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>();
    let mut words = vec![path.clone()];
    words.extend(strings(launch.arguments)?);
    let environment = strings(launch.environment)?;
    let unneeded = null()?;
    let parent = nix::unistd::getpid();
    sys::fork::fork_alone(unneeded.as_fd(), || {
        let bound = sys::parent::end_with(parent);
        match bound.and_then(|()| confine_and_execute(launch, &path, &words, &environment)) {
            Ok(never) => match never {},
            Err(_) => 127,
        }
    })
}

fn confine_and_execute(
    launch: &Launch<'_>,
    path: &CString,
    words: &[CString],
    environment: &[CString],
) -> io::Result<Infallible> {
    rustix::thread::set_no_new_privs(true)?;
    // A signal for the command, from the terminal, is not one for what serves it.
    rustix::process::setsid()?;
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    sys::signals::restore_sigpipe()?;
    match launch.directory {
        Some(directory) => rustix::process::fchdir(directory)?,
        None => rustix::process::chdir("/")?,
    }
    rustix::stdio::dup2_stdin(launch.stdin)?;
    rustix::stdio::dup2_stdout(launch.stdout)?;
    rustix::stdio::dup2_stderr(launch.stderr)?;
    sys::descriptors::close_on_exec_from(3)?;
    // First out of the way: one of them may have the number that another one gets.
    let above = FIRST + i32::try_from(launch.kept.len()).unwrap_or(0);
    let copies = launch.kept.iter().map(|file| rustix::io::fcntl_dupfd_cloexec(file, above)).collect::<Result<Vec<_>, _>>()?;
    for (number, copy) in (FIRST..).zip(&copies) {
        sys::descriptors::duplicate_to(copy.as_fd(), number)?;
    }
    nix::unistd::execve(path, words, environment).map_err(io::Error::from)
}
