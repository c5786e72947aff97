//! Emulators of other processors: the machine's rules (binfmt.d(5)), registered in a binfmt_misc of our user namespace's own, so that
//! the kernel hands such programs of a container to them. It takes the place of the machine's for everything in the namespace.
//!
//! Sources: the kernel's `Documentation/admin-guide/binfmt-misc.rst`; one for each user namespace since Linux 6.7.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// Where rules are; of files with one name the first counts.
const DIRECTORIES: [&str; 3] = ["/etc/binfmt.d", "/run/binfmt.d", "/usr/lib/binfmt.d"];

/// Whether the machine's rules are registered before a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emulation {
    /// What is registered stays as it is.
    #[default]
    Leave,
    /// They are, unless programs of one of the processors that they are for can be run already.
    IfMissing,
    /// They are.
    Register,
}

/// Does what is asked for, once in a process. A command that needs no emulator is none the worse if it fails.
pub(super) fn prepare(emulation: Emulation) {
    /// The rules go with the last handle on their file system.
    static REGISTERED: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let is_wanted = |rules: &[String]| match emulation {
        Emulation::Leave => false,
        Emulation::Register => !rules.is_empty(),
        Emulation::IfMissing => {
            let programs: Vec<_> = rules.iter().filter_map(|rule| program_of(rule)).collect();
            !programs.is_empty() && !programs.iter().any(|program| can_be_run(program))
        }
    };
    if emulation == Emulation::Leave {
        return;
    }
    REGISTERED.get_or_init(|| {
        let rules = rules();
        let registered = is_wanted(&rules).then(|| register(&rules)).transpose();
        registered.unwrap_or_else(|error| {
            let level = if emulation == Emulation::Register { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "emulators of other processors are not registered: {error}");
            None
        })
    });
}

/// The lines of the machine's files, by the files' names.
fn rules() -> Vec<String> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for entry in DIRECTORIES.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "conf") {
            files.entry(entry.file_name()).or_insert(entry.path());
        }
    }
    let texts = files.values().filter_map(|path| fs::read_to_string(path).ok());
    let lines = texts.flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])).collect()
}

fn register(rules: &[String]) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    for rule in rules {
        let file = rustix::fs::openat(&mount, "register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::io::write(&file, rule.as_bytes()) {
            // Another process of this build was faster.
            Ok(_) | Err(rustix::io::Errno::EXIST) => log::debug!("registered with binfmt_misc: {rule}"),
            Err(errno) => log::warn!("binfmt_misc does not take {rule:?}: {}", io::Error::from(errno)),
        }
    }
    Ok(mount)
}

/// The beginning of a program that the rule is for, if that is an ELF file (elf(5)) by its first bytes.
fn program_of(rule: &str) -> Option<Vec<u8>> {
    let fields: Vec<&str> = rule.split(rule.chars().next()?).collect();
    let [_, _name, "M", "" | "0", magic, ..] = fields[..] else { return None };
    let mut bytes = Vec::new();
    let mut rest = magic;
    while let Some(first) = rest.bytes().next() {
        let escaped = rest.strip_prefix("\\x").and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = rest.get(if escaped.is_some() { 4 } else { 1 }..)?;
    }
    bytes.starts_with(b"\x7fELF").then_some(bytes)
}

/// Whether something takes such a program. An emulator fails with it, there being no more than its header, but it is started.
fn can_be_run(header: &[u8]) -> bool {
    let Ok(program) = in_memory(header) else { return true };
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let started = Command::new(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    !started.is_err_and(|error| error.raw_os_error() == Some(libc::ENOEXEC))
}

/// A program that can be executed: nobody holds it for writing any more.
fn in_memory(header: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("program", MemfdFlags::CLOEXEC | MemfdFlags::EXEC)?);
    file.write_all(header)?;
    file.write_all(&[0; 512])?;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_for_other_processors_tell_their_programs() {
        let rule = r":qemu-s390x:M::\x7fELF\x02\x02\x01\x00:\xff\xff\xff\xff\xff\xff\xff\x00:/usr/libexec/x:OCF";
        assert_eq!(program_of(rule).as_deref(), Some(&b"\x7fELF\x02\x02\x01\0"[..]));
        assert_eq!(program_of(r"!x!M!0!\x7fELF!!/bin/x!").as_deref(), Some(&b"\x7fELF"[..]));
        for other in [r":python:M::\xa7\x0d::/usr/bin/python:", ":jar:E::jar::/usr/bin/java:", ":x:M:4:\\x7fELF::/x:", "", ":x"]
        {
            assert_eq!(program_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_program_that_nothing_takes_is_known() {
        // e_machine 0xfffe is nobody's.
        assert!(!can_be_run(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xfe\xff"));
        assert!(can_be_run(b"#!/bin/sh\nexit 3\n#"));
    }
}
