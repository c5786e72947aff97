//! mount(2) with one option string, for kernels whose overlayfs has no `lowerdir+` (before 6.7).
//!
//! The string must fit a page, so it holds short relative names: `l/<LINK>` for each lower, seen from the driver's home. A thread
//! with a working directory of its own goes there; the process's is left alone.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Overlay, Plan, chain};
use crate::id_map;

/// The kernel copies one page and wants a NUL in it.
const MAX_DATA: usize = 4095;

/// Mounts the plan at `target`. E2BIG: too many lowers for a page.
pub(super) fn mount(overlay: &Overlay, target: &Path, plan: &Plan) -> Result<(), Errno> {
    match mount_once(overlay, target, plan, plan.volatile) {
        // `volatile` came with 5.10.
        Err(Errno::INVAL) if plan.volatile => mount_once(overlay, target, plan, false),
        other => other,
    }
}

fn mount_once(overlay: &Overlay, target: &Path, plan: &Plan, volatile: bool) -> Result<(), Errno> {
    let home = &overlay.config.home;
    let data = option_string(home, plan, volatile);
    if data.len() > MAX_DATA {
        return Err(Errno::TOOBIG);
    }
    let flags = flags_of(plan.attributes);
    let in_home = || -> Result<(), nix::errno::Errno> {
        nix::sched::unshare(CloneFlags::CLONE_FS)?;
        nix::unistd::chdir(home.as_path())?;
        nix::mount::mount(Some("overlay"), target, Some("overlay"), flags, Some(data.as_slice()))
    };
    let answer = std::thread::scope(|scope| scope.spawn(in_home).join());
    match answer {
        Ok(result) => result.map_err(|errno| Errno::from_raw_os_error(errno as i32)),
        Err(_) => Err(Errno::IO),
    }
}

/// The probe of `in_use` for kernels without fsopen(2) (before 5.2).
pub(super) fn probe(diff: &Path) -> Result<(), Errno> {
    let mut data = Vec::new();
    for key in ["lowerdir=", ",upperdir=", ",workdir="] {
        data.extend_from_slice(key.as_bytes());
        push_escaped(&mut data, diff);
    }
    data.extend_from_slice(b",index=on");
    if id_map::is_rootless() {
        data.extend_from_slice(b",userxattr");
    }
    nix::mount::mount(Some("overlay"), diff, Some("overlay"), MsFlags::empty(), Some(data.as_slice()))
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

fn option_string(home: &Path, plan: &Plan, volatile: bool) -> Vec<u8> {
    let mut data = b"lowerdir=".to_vec();
    for (n, lower) in plan.lowers.iter().enumerate() {
        if n > 0 {
            data.push(b':');
        }
        push_short(&mut data, home, lower);
    }
    if let Some((upper, work)) = &plan.upper {
        data.extend_from_slice(b",upperdir=");
        push_relative(&mut data, home, upper);
        data.extend_from_slice(b",workdir=");
        push_relative(&mut data, home, work);
    }
    for (key, value) in &plan.options {
        data.push(b',');
        data.extend_from_slice(key.as_bytes());
        if let Some(value) = value {
            // A label may have commas; overlayfs takes it quoted.
            let quote = if value.contains(',') { "\"" } else { "" };
            data.extend_from_slice(format!("={quote}{value}{quote}").as_bytes());
        }
    }
    if volatile {
        data.extend_from_slice(b",volatile");
    }
    data
}

/// `l/<LINK>` if the link of that layer is there and leads to it.
fn push_short(data: &mut Vec<u8>, home: &Path, lower: &Path) {
    let link =
        (lower.file_name() == Some("diff".as_ref())).then(|| lower.parent()).flatten().filter(|dir| dir.parent() == Some(home));
    let link = link.and_then(|dir| chain::read_link_name(dir).ok().flatten()).map(|name| Path::new("l").join(name));
    match link {
        Some(link) if fs::canonicalize(home.join(&link)).is_ok_and(|to| fs::canonicalize(lower).is_ok_and(|it| it == to)) => {
            push_escaped(data, &link);
        }
        _ => push_relative(data, home, lower),
    }
}

fn push_relative(data: &mut Vec<u8>, home: &Path, path: &Path) {
    push_escaped(data, path.strip_prefix(home).unwrap_or(path));
}

fn push_escaped(data: &mut Vec<u8>, path: &Path) {
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            data.push(b'\\');
        }
        data.push(*byte);
    }
}

fn flags_of(attributes: MountAttrFlags) -> MsFlags {
    let pairs = [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, MsFlags::MS_RDONLY),
        (MountAttrFlags::MOUNT_ATTR_NODEV, MsFlags::MS_NODEV),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, MsFlags::MS_NOSUID),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, MsFlags::MS_NOEXEC),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, MsFlags::MS_NOATIME),
        (MountAttrFlags::MOUNT_ATTR_NODIRATIME, MsFlags::MS_NODIRATIME),
        (MountAttrFlags::MOUNT_ATTR_STRICTATIME, MsFlags::MS_STRICTATIME),
    ];
    pairs.into_iter().filter(|(attribute, _)| attributes.contains(*attribute)).map(|(_, flag)| flag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_with_a_meaning_are_escaped() {
        let mut data = Vec::new();
        push_escaped(&mut data, Path::new("/a:b,c\\d/e"));
        assert_eq!(data, br"/a\:b\,c\\d/e");
    }

    #[test]
    fn two_hundred_links_would_not_fit_a_page_but_one_hundred_and_thirty_do() {
        let one = "l/4MTCU2N4GJTEQPDWOR3MG2POMW:".len();
        assert!(one * 130 + 300 < MAX_DATA);
        assert!(one * 200 > MAX_DATA);
    }
}
