//! fork(2) for a process without threads.
//!
//! Owns: the one safe way to get a child that goes on in our own code. It is for children that must exist before a namespace is
//! entered and act after it; everything else uses `std::process::Command`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use nix::unistd::{ForkResult, Pid};

/// How long a thread that was joined may take to be gone, on a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often that is asked.
const PAUSE: Duration = Duration::from_micros(200);

/// Runs `child` in a copy of this process, which ends with the status that `child` returns. The copy of `unneeded`, which `child`
/// must not use, is closed before: a pipe's write end that lived on there would keep its reader waiting. Refused with `EINVAL`
/// if this process has threads, as `unshare(CLONE_NEWUSER)` would be.
pub fn fork_alone(unneeded: BorrowedFd<'_>, child: impl FnOnce() -> i32) -> io::Result<Pid> {
    wait_until_alone()?;
    // SAFETY: the process has one thread, this one, so no lock is held by a thread that the copy lacks, and nobody can start
    // another one between the check and the call.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // SAFETY: the number is open, since it is borrowed. Its owner lives in this copy too, but is never dropped: the
            // copy ends by _exit below, and until then runs nothing but `child`.
            unsafe { libc::close(unneeded.as_raw_fd()) };
            // An unwinding panic must not run the rest of the parent's program a second time.
            let status = catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: _exit(2) has no preconditions; buffers and exit handlers belong to the parent and are not run.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Waits for threads that are ending: the kernel wakes whoever joins one before it forgets it. `EINVAL` if one stays.
fn wait_until_alone() -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    // A directory has two links and one more for each directory in it; each thread is one (proc_pid_task(5)).
    while std::fs::metadata("/proc/self/task")?.nlink() > 3 {
        if Instant::now() >= end {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// As `fork_into`, but the copy is a sibling of this process: a child of this process's own parent, which is told of its end (`CLONE_PARENT`,
/// clone(2)). Refused with `EINVAL` if this process has threads.
pub fn fork_sibling(namespaces: CloneFlags, unneeded: &[BorrowedFd<'_>], child: impl FnOnce() -> i32) -> io::Result<Pid> {
    clone((namespaces, CloneFlags::CLONE_PARENT), unneeded, child)
}

/// Runs `child` in a copy of this process that is created in the new namespaces `namespaces` (`CLONE_NEW*`; other flags are
/// dropped): process 1, if a pid namespace is among them. It ends with the status that `child` returns, unless it executes a
/// program. The copies of `unneeded`, which `child` must not use, are closed before: who holds the other ends sees the parent end.
/// Refused with `EINVAL` if this process has threads.
pub fn fork_into(namespaces: CloneFlags, unneeded: &[BorrowedFd<'_>], child: impl FnOnce() -> i32) -> io::Result<Pid> {
    clone((namespaces, CloneFlags::empty()), unneeded, child)
}

fn clone(
    (namespaces, more): (CloneFlags, CloneFlags),
    unneeded: &[BorrowedFd<'_>],
    child: impl FnOnce() -> i32,
) -> io::Result<Pid> {
    wait_until_alone()?;
    let kinds = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    let flags = (namespaces & kinds | more).bits() | libc::SIGCHLD;
    // SAFETY: with a null stack and without CLONE_VM (`more` is CLONE_PARENT or nothing) this is fork: the child goes on on its own copy of the stack and of memory.
    // The process has one thread, so no lock is held by a thread that the copy lacks. The other arguments are null pointers,
    // which these flags never read, so their order, which differs between architectures, does not matter.
    let pid =
        super::checked(unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0usize, 0usize, 0usize, 0usize) })?;
    if pid != 0 {
        return i32::try_from(pid).map(Pid::from_raw).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    for descriptor in unneeded {
        // SAFETY: as in `fork_alone`; a program that is executed has nothing of the owners.
        unsafe { libc::close(descriptor.as_raw_fd()) };
    }
    // An unwinding panic must not run the rest of the parent's program a second time.
    let status = catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
    // SAFETY: as in `fork_alone`.
    unsafe { libc::_exit(status) }
}
