//! Programs that end with the process that started them.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

/// Has the kernel kill the program when the thread that starts it ends, however that ends (`PR_SET_PDEATHSIG`, prctl(2)). A program that
/// gains privilege by being executed is not bound.
pub fn end_with_this_process(command: &mut Command) -> &mut Command {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec the closure makes two system calls and builds an error without allocating; it touches no lock and no
    // memory but its own copy of a number.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have ended before the call.
            if nix::unistd::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ECANCELED));
            }
            Ok(())
        })
    }
}
