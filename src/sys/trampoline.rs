//! A program of some hundred bytes that stands between this one and a container's command.
//!
//! A script that begins with `#!/proc/self/exe` makes the kernel execute the program that called `execve`. Were that this program,
//! the container would hold a handle on the caller's own binary (CVE-2019-5736). So the container's process first becomes the
//! trampoline, and it is the trampoline that `/proc/self/exe` stands for when the command is executed.
//!
//! ```text
//!   argv: path, argument 0, argument 1, …     descriptor 3: where a failure is reported
//!   fcntl(3, F_SETFD, FD_CLOEXEC); execve(argv[0], argv + 1, envp); write(3, {3, errno}, 5); exit_group(127)
//! ```
//!
//! Executed from inside, by such a script, it finds descriptor 3 closed and ends at once.

use std::arch::global_asm;

/// The descriptor that failures are reported to.
pub const REPORT: i32 = 3;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .rodata.coracle_trampoline, \"a\"",
    "coracle_trampoline_start:",
    "mov edi, 3",
    "mov esi, 2",
    "mov edx, 1",
    "mov eax, 72", // fcntl
    "syscall",
    "test eax, eax",
    "js 2f",
    "mov rcx, [rsp]",
    "mov rdi, [rsp + 8]",
    "lea rsi, [rsp + 16]",
    "lea rdx, [rsp + rcx * 8 + 16]",
    "mov eax, 59", // execve
    "syscall",
    "neg eax",
    "shl rax, 8",
    "or rax, 3",
    "push rax",
    "mov rsi, rsp",
    "mov edi, 3",
    "mov edx, 5",
    "mov eax, 1", // write
    "syscall",
    "2: mov edi, 127",
    "mov eax, 231", // exit_group
    "syscall",
    "coracle_trampoline_end:",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .rodata.coracle_trampoline, \"a\"",
    ".balign 4",
    "coracle_trampoline_start:",
    "mov x0, #3",
    "mov x1, #2",
    "mov x2, #1",
    "mov x8, #25", // fcntl
    "svc #0",
    "tbnz w0, #31, 2f",
    "ldr x9, [sp]",
    "ldr x0, [sp, #8]",
    "add x1, sp, #16",
    "add x2, x1, x9, lsl #3",
    "mov x8, #221", // execve
    "svc #0",
    "neg w0, w0",
    "lsl x0, x0, #8",
    "orr x0, x0, #3",
    "str x0, [sp, #-16]!",
    "mov x1, sp",
    "mov x0, #3",
    "mov x2, #5",
    "mov x8, #64", // write
    "svc #0",
    "2: mov x0, #127",
    "mov x8, #94", // exit_group
    "svc #0",
    "coracle_trampoline_end:",
    ".popsection",
);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn code() -> Option<&'static [u8]> {
    unsafe extern "C" {
        static coracle_trampoline_start: u8;
        static coracle_trampoline_end: u8;
    }
    let (start, end) = (&raw const coracle_trampoline_start, &raw const coracle_trampoline_end);
    let length = end.addr().checked_sub(start.addr())?;
    // SAFETY: both labels are in one read-only section of this program, the end after the start (they are assembled together
    // above), so the bytes between them are initialised, never written, and live as long as the program.
    Some(unsafe { std::slice::from_raw_parts(start, length) })
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn code() -> Option<&'static [u8]> {
    None
}

/// Where the program is loaded; any page that is free in an empty address space.
const ADDRESS: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// The trampoline as an ELF file (elf(5)); `None` on an architecture that it is not written for.
pub fn program() -> Option<Vec<u8>> {
    let code = code()?;
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::with_capacity(256);
    // Identification: 64 bits, little endian, version 1.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&2u16.to_le_bytes()); // an executable
    file.extend_from_slice(&machine.to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes());
    file.extend_from_slice(&(ADDRESS + HEADERS).to_le_bytes()); // entry
    file.extend_from_slice(&64u64.to_le_bytes()); // program headers
    file.extend_from_slice(&0u64.to_le_bytes()); // section headers
    file.extend_from_slice(&0u32.to_le_bytes());
    for field in [64u16, 56, 1, 0, 0, 0] {
        file.extend_from_slice(&field.to_le_bytes());
    }
    // One segment: the whole file, readable and executable.
    file.extend_from_slice(&1u32.to_le_bytes());
    file.extend_from_slice(&5u32.to_le_bytes());
    for field in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        file.extend_from_slice(&field.to_le_bytes());
    }
    file.extend_from_slice(code);
    Some(file)
}
