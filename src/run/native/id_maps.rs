//! A user namespace of the command's own: this process, which is root in the one outside, writes its maps, and the new process waits
//! for them before it does anything else.
//!
//! Invariant: the maps are those of the specification, complete or not at all; until they are written the new process is nobody.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use containers_storage::id_map::{IdMap, IdMaps, IdRange};
use nix::unistd::{Gid, Pid, Uid};
use oci_spec::runtime::{LinuxIdMapping, Spec};
use rustix::io::Errno;

use super::report::{Kind, Report};
use crate::run::Error;

/// Writes the maps of the process `pid` and lets it go on.
pub(super) fn write(pid: Pid, spec: &Spec, gate: OwnedFd) -> Result<(), Error> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    for (name, map) in [("uid_map", linux.uid_mappings()), ("gid_map", linux.gid_mappings())] {
        let path = format!("/proc/{pid}/{name}");
        let text: String = map.iter().flatten().map(line).collect();
        // One write(2) for the whole map: the kernel takes no second one (user_namespaces(7)).
        let written = std::fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| Error::prepare(format!("the map of ids {path:?}"), source))?;
    }
    File::from(gate).write_all(b"m").map_err(|source| Error::prepare("the user namespace", source))
}

/// The maps of the specification; empty ones if it has no user namespace of its own.
pub(in crate::run) fn of(spec: &Spec) -> IdMaps {
    let map = |mappings: &Option<Vec<LinuxIdMapping>>| IdMap(mappings.iter().flatten().map(range).collect());
    spec.linux()
        .as_ref()
        .map_or_else(IdMaps::default, |linux| IdMaps { uid: map(linux.uid_mappings()), gid: map(linux.gid_mappings()) })
}

pub(super) fn range(mapping: &LinuxIdMapping) -> IdRange {
    IdRange { container_id: mapping.container_id(), host_id: mapping.host_id(), size: mapping.size() }
}

fn line(mapping: &LinuxIdMapping) -> String {
    format!("{} {} {}\n", mapping.container_id(), mapping.host_id(), mapping.size())
}

/// Waits for the maps and becomes root in the new namespace.
pub(super) fn await_maps(gate: &OwnedFd) -> Result<(), Report> {
    let failed = |error: io::Error| Report::new(Kind::Setup, error, "waiting for the maps of ids");
    let mut byte = [0u8; 1];
    let mut gate = File::from(gate.try_clone().map_err(failed)?);
    match gate.read(&mut byte).map_err(failed)? {
        1 => {}
        _ => return Err(failed(Errno::PIPE.into())),
    }
    nix::unistd::setgroups(&[]).map_err(Report::step("dropping the supplementary groups"))?;
    let root = (Gid::from_raw(0), Uid::from_raw(0));
    nix::unistd::setresgid(root.0, root.0, root.0).map_err(Report::step("becoming the group of root"))?;
    nix::unistd::setresuid(root.1, root.1, root.1).map_err(Report::step("becoming root"))
}
