//! Finding the command in the container and executing it; and, when the kernel refuses, saying why.
//!
//! Invariant: the look-up happens below the container's root, with the container's own `PATH`; a path that leads through a magic
//! link (`/proc/self/exe` would be our own binary) is refused. The kernel looks the path up once more, and the interpreters that it
//! names: by then this process is the trampoline, so that no such link leads to our binary (CVE-2019-5736).

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers_storage::Root;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use oci_spec::runtime::Process;
use rustix::fs::FileType;

use super::report::{Kind, Report};
use crate::run::environment::DEFAULT_PATH;
use crate::sys::descriptors::duplicate_to;
use crate::sys::trampoline::REPORT;

/// A command that was found.
pub(super) struct Command {
    name: String,
    /// Absolute paths below the root, in the order to try.
    candidates: Vec<PathBuf>,
    args: Vec<CString>,
    env: Vec<CString>,
}

/// Looks the command up.
pub(super) fn find(root: &Root, process: &Process) -> Result<Command, Report> {
    let words = process.args().as_deref().unwrap_or_default();
    let name = words.first().cloned().unwrap_or_default();
    let env = process.env().as_deref().unwrap_or_default();
    let candidates = if name.contains('/') {
        vec![process.cwd().join(&name)]
    } else {
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        path.split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|directory| Path::new(directory).join(&name))
            .collect()
    };
    let mut refused = Errno::ENOENT;
    let mut usable = Vec::new();
    for candidate in candidates {
        match executable(root, &candidate) {
            Ok(()) => usable.push(candidate),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => refused = errno,
        }
    }
    if usable.is_empty() {
        let kind = if refused == Errno::ENOENT { Kind::NotFound } else { Kind::NotExecutable };
        return Err(Report::new(kind, refused, name));
    }
    let strings = |words: &[String]| words.iter().filter_map(|word| CString::new(word.as_str()).ok()).collect();
    Ok(Command { name, candidates: usable, args: strings(words), env: strings(env) })
}

fn executable(root: &Root, path: &Path) -> Result<(), Errno> {
    let stat = root.metadata(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_mode & 0o111 != 0 => Ok(()),
        FileType::Directory => Err(Errno::EISDIR),
        _ => Err(Errno::EACCES),
    }
}

impl Command {
    /// Becomes the command. Returns only to say why not; the trampoline reports for itself.
    pub(super) fn execute(&self, ends: Ends) -> Result<Infallible, Report> {
        let failed = |errno: Errno| Report::new(Kind::NotExecutable, errno, self.name.clone());
        let Some(path) = self.candidates.first().and_then(|path| CString::new(path.as_os_str().as_encoded_bytes()).ok()) else {
            return Err(failed(Errno::ENOENT));
        };
        let Some((trampoline, report)) = ends.0 else {
            return match nix::unistd::execve(&path, &self.args, &self.env) {
                Err(errno) => Err(failed(errno)),
                Ok(never) => match never {},
            };
        };
        duplicate_to(report.as_fd(), REPORT).map_err(Report::step("moving a descriptor"))?;
        let mut words = vec![path];
        words.extend_from_slice(&self.args);
        match nix::unistd::execveat(&trampoline, c"", &words, &self.env, AtFlags::AT_EMPTY_PATH) {
            Err(errno) => Err(Report::new(Kind::Setup, errno, "executing the trampoline")),
            Ok(never) => match never {},
        }
    }
}

/// The trampoline and where it reports, if there is one: out of the way of the number that it reports to.
pub(super) struct Ends(Option<(OwnedFd, OwnedFd)>);

impl Ends {
    pub(super) fn new(trampoline: Option<OwnedFd>, report: BorrowedFd<'_>) -> Result<Self, Report> {
        let moved =
            |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, REPORT + 1).map_err(Report::step("moving a descriptor"));
        let pair = trampoline.map(|trampoline| Ok((moved(trampoline.as_fd())?, moved(report)?)));
        Ok(Self(pair.transpose()?))
    }
}

/// In the parent: what the trampoline's bare error number means, by the first bytes of the command.
pub(super) fn explain(root: &Root, process: &Process, report: &Report) -> Report {
    let errno = Errno::from_raw(report.errno);
    let name = process.args().iter().flatten().next().cloned().unwrap_or_default();
    let reason = find(root, process).ok().and_then(|command| reason(root, command.candidates.first()?, errno, &name));
    reason.unwrap_or_else(|| Report::new(Kind::NotExecutable, errno, name))
}

fn reason(root: &Root, path: &Path, errno: Errno, name: &str) -> Option<Report> {
    let mut head = [0u8; 256];
    let mut file = root.open_file(path).ok()?;
    let length = file.read(&mut head).ok()?;
    let head = head.get(..length)?;
    match errno {
        Errno::ENOENT => {
            let interpreter = interpreter_of_script(head).unwrap_or_else(|| "the dynamic loader".to_string());
            Some(Report::new(Kind::NoInterpreter, errno, format!("{name}\0{interpreter}")))
        }
        Errno::ENOEXEC => {
            let machine = elf_machine(head).filter(|machine| *machine != native_machine())?;
            Some(Report::new(Kind::ForeignMachine, errno, format!("{name}\0{}", machine_name(machine))))
        }
        _ => None,
    }
}

fn interpreter_of_script(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let text = String::from_utf8_lossy(line);
    text.split_whitespace().next().map(str::to_string)
}

/// `e_machine` of an ELF file (elf(5)), in its own byte order.
fn elf_machine(head: &[u8]) -> Option<u16> {
    let bytes: [u8; 2] = head.strip_prefix(b"\x7fELF")?.get(14..16)?.try_into().ok()?;
    match head.get(5)? {
        1 => Some(u16::from_le_bytes(bytes)),
        2 => Some(u16::from_be_bytes(bytes)),
        _ => None,
    }
}

const MACHINES: &[(u16, &str)] = &[
    (3, "386"),
    (8, "mips"),
    (21, "ppc64le"),
    (22, "s390x"),
    (40, "arm"),
    (62, "amd64"),
    (183, "arm64"),
    (243, "riscv64"),
    (258, "loong64"),
];

fn machine_name(machine: u16) -> String {
    MACHINES
        .iter()
        .find(|(number, _)| *number == machine)
        .map_or_else(|| format!("machine {machine}"), |(_, name)| name.to_string())
}

fn native_machine() -> u16 {
    match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        "riscv64" => 243,
        "s390x" => 22,
        "powerpc64" => 21,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_machine_and_interpreter() {
        for (order, machine, expected) in [(1, [183, 0], Some(183)), (2, [0, 22], Some(22)), (3, [183, 0], None)] {
            let mut elf = b"\x7fELF\x02\x01".to_vec();
            elf[5] = order;
            elf.resize(18, 0);
            elf.extend_from_slice(&machine);
            assert_eq!(elf_machine(&elf), expected);
            assert_eq!(elf_machine(&elf[..19]), None);
        }
        assert_eq!(machine_name(183), "arm64");
        assert_eq!(interpreter_of_script(b"#! /bin/nope -x\nrest").as_deref(), Some("/bin/nope"));
        assert_eq!(interpreter_of_script(b"plain"), None);
    }
}
