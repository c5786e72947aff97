//! `seccomp(2)`: installing a compiled filter.

use std::io;

/// One instruction of classic BPF, as the kernel takes it (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// Confines this process, for good, to what `program` allows. Needs `no_new_privs` or CAP_SYS_ADMIN in the user namespace.
///
/// # Errors
/// The kernel's; `EINVAL` also for an empty program or one of more than 65,535 instructions.
pub fn install(program: &[Instruction], flags: u32) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // `Instruction` has the layout of `sock_filter` (both repr(C): u16, u8, u8, u32).
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast::<libc::sock_filter>() };
    // SAFETY: `fprog` points to `len` initialised instructions that live through the call; the kernel copies and verifies them
    // and writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags as libc::c_ulong, &raw const fprog) };
    super::checked(result).map(drop)
}
