//! The AppArmor profile and the SELinux label of the command, which take effect when it is executed.
//!
//! Invariant: the files are opened while `/proc` is the machine's own, and are proved to be the kernel's: an image that has something at
//! their place changes nothing (CVE-2019-16884, CVE-2025-52881).

use std::fs::File;
use std::io::{self, Write};

use oci_spec::runtime::Process;

use super::report::{Kind, Report};

/// What is still to be said to the kernel.
#[derive(Debug, Default)]
pub(super) struct Confinement(Vec<Attribute>);

#[derive(Debug)]
struct Attribute {
    file: File,
    value: String,
    /// The step, in runc's words.
    step: &'static str,
}

impl Confinement {
    /// Opens what `process` needs.
    pub(super) fn open(process: &Process) -> Result<Self, Report> {
        let mut attributes = Vec::new();
        if let Some(profile) = process.apparmor_profile().as_ref().filter(|profile| !profile.is_empty()) {
            let step = "unable to apply apparmor profile";
            // The module's own file since Linux 5.8; before, and with one module only, the one that all share.
            let file = open("/proc/thread-self/attr/apparmor/exec").or_else(|_| open("/proc/thread-self/attr/exec"));
            let file = file.map_err(|error| Report::new(Kind::Setup, error, step))?;
            attributes.push(Attribute { file, value: format!("exec {profile}"), step });
        }
        if let Some(label) = process.selinux_label().as_ref().filter(|label| !label.is_empty()) {
            let step = "can't set process label";
            let file = open("/proc/thread-self/attr/exec").map_err(|error| Report::new(Kind::Setup, error, step))?;
            attributes.push(Attribute { file, value: label.clone(), step });
        }
        Ok(Self(attributes))
    }

    /// Says it: the next program that this process executes is confined.
    pub(super) fn apply(&self) -> Result<(), Report> {
        for Attribute { file, value, step } in &self.0 {
            let mut file = file;
            file.write_all(value.as_bytes()).map_err(|error| Report::new(Kind::Setup, error, *step))?;
        }
        Ok(())
    }
}

fn open(path: &str) -> io::Result<File> {
    let file = File::options().write(true).open(path)?;
    match rustix::fs::fstatfs(&file)?.f_type {
        libc::PROC_SUPER_MAGIC => Ok(file),
        _ => Err(io::Error::from_raw_os_error(libc::EXDEV)),
    }
}
