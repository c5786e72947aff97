//! The child's part where nothing can be mounted and no namespace made: the directory becomes `/` by `chroot(2)` alone.
//!
//! Invariant: a root user who may call `chroot` leaves such a root directory at will (chroot(2), notes), so that capability is
//! taken away by whoever builds the specification; no descriptor of the outside survives; and where the kernel has Landlock, the
//! directory is also the only one that files can be opened below, whatever `/` is.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use containers_storage::Root;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};

use super::report::Report;
use super::terminal;
use crate::sys;

/// Makes the directory `/`. Also answers with the trampoline.
pub(super) fn change_root(rootfs: BorrowedFd<'_>, console: Option<&OwnedFd>) -> Result<(Root, Option<OwnedFd>), Report> {
    console.map(terminal::open_surrounding).transpose()?;
    // Without it `/proc/self/exe` of the command would be this program; there is no `/proc`, but the image may bring one.
    let trampoline = trampoline().map_err(Report::step("installing the trampoline"))?;
    rustix::process::fchdir(rootfs).map_err(Report::step("entering the root file system"))?;
    rustix::process::chroot(".").map_err(Report::step("changing the root directory (chroot)"))?;
    rustix::process::chdir("/").map_err(Report::step("entering the new root directory"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, "/", flags, Mode::empty()).map_err(Report::step("opening the new root directory"))?;
    Ok((Root::from(root), trampoline))
}

/// The trampoline in memory, sealed: what can be opened through `/proc/self/exe` cannot be written.
fn trampoline() -> io::Result<Option<OwnedFd>> {
    let Some(program) = sys::trampoline::program() else { return Ok(None) };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create("coracle-trampoline", flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 know no such flag.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("coracle-trampoline", flags)?,
        other => other?,
    };
    io::Write::write_all(&mut std::fs::File::from(file.try_clone()?), &program)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    // A description that is open for writing cannot be executed.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    Ok(Some(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Confines the process to what is below `root`, where the kernel can.
pub(super) fn confine(root: &Root) -> Result<(), Report> {
    rustix::thread::set_no_new_privs(true).map_err(Report::step("setting no_new_privs"))?;
    sys::landlock::confine_below(std::os::fd::AsFd::as_fd(root))
        .map_err(Report::step("confining the process (Landlock)"))
        .map(drop)
}
