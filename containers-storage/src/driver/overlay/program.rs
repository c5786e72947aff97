//! Mounting by a program in the kernel's place (`mount_program`, format 6.4): fuse-overlayfs, which stays and serves the mount.
//!
//! Invariant: the program gets one word of options, in which nothing but ours has a meaning, and none of our descriptors.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, UnmountFlags};

use super::mount::Plan;
use super::{Error, Overlay};
use crate::driver::is_mount_point;

/// fuse-overlayfs, in the first of these directories that has it.
pub(super) fn installed(directories: &[&str]) -> Option<PathBuf> {
    let mut files = directories.iter().map(|directory| Path::new(directory).join("fuse-overlayfs"));
    files.find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
}

/// How long the program may take to mount.
const PATIENCE: Duration = Duration::from_secs(10);

/// Mounts the plan at `target`. Returns the process that serves it. That process is not waited for: it ends with its mount.
pub(super) fn mount(overlay: &Overlay, program: &Path, target: &Path, plan: &Plan) -> Result<u32, Error> {
    let failed = |detail: String, source: std::io::Error| Error::Mount { target: target.to_path_buf(), detail, source };
    let by = || format!(" by {program:?}");
    let options = std::ffi::OsString::from_vec(option_word(plan).map_err(|source| failed(by(), source))?);
    let mut command = Command::new(program);
    command.arg("-f").arg("-o").arg(options).arg(target).current_dir(&overlay.config.home);
    // In a group of its own, so that an interrupt from the terminal does not take the mount away from those who are ending.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut server = command.spawn().map_err(|source| failed(by(), source))?;
    let deadline = Instant::now() + PATIENCE;
    while !is_mount_point(target) {
        if let Some(status) = server.try_wait().map_err(|source| failed(by(), source))? {
            return Err(failed(by(), std::io::Error::other(format!("it ended with {status}"))));
        }
        if Instant::now() > deadline {
            let _ = server.kill();
            return Err(failed(by(), std::io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(server.id())
}

/// A mount that is attached nowhere; the program ends when the last descriptor of it is closed.
pub(super) fn detached(overlay: &Overlay, program: &Path, target: &Path, plan: &Plan) -> Result<OwnedFd, Error> {
    mount(overlay, program, target, plan)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = rustix::mount::open_tree(CWD, target, flags).map_err(Error::io("detaching the mount at", target));
    rustix::mount::unmount(target, UnmountFlags::DETACH).map_err(Error::io("unmounting", target))?;
    clone
}

/// The options in one word. A path with a character that has a meaning there is refused.
fn option_word(plan: &Plan) -> std::io::Result<Vec<u8>> {
    let mut word = b"lowerdir=".to_vec();
    for (number, lower) in plan.lowers.iter().enumerate() {
        if number > 0 {
            word.push(b':');
        }
        push(&mut word, lower)?;
    }
    if let Some((upper, work)) = &plan.upper {
        word.extend_from_slice(b",upperdir=");
        push(&mut word, upper)?;
        word.extend_from_slice(b",workdir=");
        push(&mut word, work)?;
    }
    for (attribute, name) in [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, ",ro"),
        (MountAttrFlags::MOUNT_ATTR_NODEV, ",nodev"),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, ",nosuid"),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, ",noexec"),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, ",noatime"),
    ] {
        if plan.attributes.contains(attribute) {
            word.extend_from_slice(name.as_bytes());
        }
    }
    for (key, value) in &plan.options {
        word.extend_from_slice(format!(",{key}").as_bytes());
        if let Some(value) = value {
            word.extend_from_slice(format!("={value}").as_bytes());
        }
    }
    if plan.volatile {
        word.extend_from_slice(b",volatile");
    }
    Ok(word)
}

fn push(word: &mut Vec<u8>, path: &Path) -> std::io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| matches!(byte, b':' | b',' | b'\\')) {
        let reason = "the path of the store has a colon, a comma or a backslash, which the program cannot be told";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, reason));
    }
    word.extend_from_slice(bytes);
    Ok(())
}
