//! A control group of one run: made, joined by its first process, removed.
//!
//! Where: below the group that was named, else below the caller's own or the nearest group above it that the caller may add to
//! and whose controllers reach its children (cgroups(7): a group with processes hands no controllers on).

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{self, Setting};
use super::{Limits, Options};

/// The group's directories: one in the unified hierarchy, or one for each hierarchy that a limit needs. Dropped, they are removed.
#[derive(Debug)]
pub(in crate::run) struct Group {
    directories: Vec<PathBuf>,
}

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Where it is mounted.
    mount: PathBuf,
    /// Which group is at the top of the mount.
    top: PathBuf,
    /// Controllers of version 1; empty for the unified hierarchy.
    controllers: Vec<String>,
}

impl Group {
    /// Makes the group of a run called `name` and sets its limits. `None` if there are none to set.
    ///
    /// # Errors
    /// What kept the limits from being applied; nothing is left of the group then.
    pub(in crate::run) fn create(options: &Options, name: &str) -> Result<Option<Self>, String> {
        if options.limits.is_empty() {
            return Ok(None);
        }
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("reading {path}: {}", words(&error)));
        let hierarchies = hierarchies(&read("/proc/self/mountinfo")?);
        let own = read("/proc/self/cgroup")?;
        let unified = hierarchies.iter().find(|hierarchy| hierarchy.controllers.is_empty());
        let mut group = Self { directories: Vec::new() };
        let wanted = files::unified(&options.limits);
        match unified.filter(|hierarchy| has_controllers(&hierarchy.mount, &wanted)) {
            Some(hierarchy) => group.create_unified(hierarchy, &own, &options.parent, name, &wanted)?,
            None => group.create_separate(&hierarchies, &own, &options.parent, name, &options.limits)?,
        }
        Ok(Some(group))
    }

    /// The files through which a process joins, each by writing 0.
    pub(in crate::run) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |dir: &PathBuf| fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs")).map(OwnedFd::from);
        self.directories.iter().map(open).collect()
    }

    fn create_unified(
        &mut self,
        hierarchy: &Hierarchy,
        own: &str,
        parent: &str,
        name: &str,
        wanted: &[Setting],
    ) -> Result<(), String> {
        let start = match parent {
            "" => hierarchy.directory(&own_group(own, "")),
            parent => hierarchy.mount.join(parent.trim_start_matches('/')),
        };
        let mut problem = String::new();
        for above in start.ancestors().take_while(|path| path.starts_with(&hierarchy.mount)) {
            match self.try_below(above, name, wanted) {
                Ok(()) => return Ok(()),
                // The first refusal is about the group that was meant.
                Err(refusal) if problem.is_empty() => problem = refusal,
                Err(_) => {}
            }
            if !parent.is_empty() {
                break;
            }
        }
        Err(problem)
    }

    fn try_below(&mut self, above: &Path, name: &str, wanted: &[Setting]) -> Result<(), String> {
        for setting in wanted {
            let control = above.join("cgroup.subtree_control");
            if !lists(&control, setting.controller) {
                write(&control, &format!("+{}", setting.controller))?;
            }
        }
        self.add(above.join(name))?;
        let set = wanted.iter().try_for_each(|setting| write(&above.join(name).join(setting.file), &setting.value));
        if set.is_err() {
            self.remove();
        }
        set
    }

    fn create_separate(
        &mut self,
        hierarchies: &[Hierarchy],
        own: &str,
        parent: &str,
        name: &str,
        limits: &Limits,
    ) -> Result<(), String> {
        for setting in files::separate(limits) {
            let controller = setting.controller;
            let hierarchy = hierarchies.iter().find(|hierarchy| hierarchy.controllers.iter().any(|known| known == controller));
            let hierarchy = hierarchy.ok_or_else(|| format!("no {controller} controller is mounted"))?;
            let above = match parent {
                "" => hierarchy.directory(&own_group(own, controller)),
                parent => hierarchy.mount.join(parent.trim_start_matches('/')),
            };
            let directory = above.join(name);
            if !self.directories.contains(&directory) {
                self.add(directory.clone())?;
                if controller == "cpuset" {
                    // A new group has no processors and no memory, and admits no process until it has both.
                    for file in ["cpuset.cpus", "cpuset.mems"] {
                        let inherited = fs::read_to_string(above.join(file)).unwrap_or_default();
                        write(&directory.join(file), inherited.trim())?;
                    }
                }
            }
            write(&directory.join(setting.file), &setting.value)?;
        }
        Ok(())
    }

    fn add(&mut self, directory: PathBuf) -> Result<(), String> {
        fs::create_dir(&directory)
            .map_err(|error| format!("making the control group {}: {}", directory.display(), words(&error)))?;
        self.directories.push(directory);
        Ok(())
    }

    fn remove(&mut self) {
        for directory in self.directories.drain(..) {
            // The last process may not be gone altogether when its parent hears of its end.
            for _ in 0..100 {
                match fs::remove_dir(&directory) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(Duration::from_millis(2)),
                    _ => break,
                }
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Hierarchy {
    /// Where the group `path` is seen.
    fn directory(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.top).or_else(|_| path.strip_prefix("/")).unwrap_or(Path::new(""));
        self.mount.join(below)
    }
}

fn write(path: &Path, value: &str) -> Result<(), String> {
    let opened = fs::OpenOptions::new().write(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| format!("writing {}: {}", path.display(), words(&error)))
}

/// The kernel's answer without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn lists(path: &Path, word: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.split_ascii_whitespace().any(|known| known == word))
}

fn has_controllers(mount: &Path, wanted: &[Setting]) -> bool {
    wanted.iter().all(|setting| lists(&mount.join("cgroup.controllers"), setting.controller))
}

/// The hierarchies in a table of mounts (proc_pid_mountinfo(5)).
fn hierarchies(table: &str) -> Vec<Hierarchy> {
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let (mut fields, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (top, mount) = (unescaped(fields.next()?), unescaped(fields.next()?));
        let controllers = match after.next()? {
            "cgroup2" => Vec::new(),
            "cgroup" => after.nth(1)?.split(',').map(str::to_owned).collect(),
            _ => return None,
        };
        Some(Hierarchy { mount, top, controllers })
    };
    table.lines().filter_map(parse).collect()
}

/// A name of that table, in which blanks and backslashes are written in octal.
fn unescaped(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match after.get(..3).and_then(octal).filter(|_| byte == b'\\') {
            Some(meant) => {
                bytes.push(meant);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The caller's group for `controller`, empty for the unified hierarchy, in a table of `/proc/PID/cgroup` (cgroups(7)).
fn own_group(table: &str, controller: &str) -> PathBuf {
    let parse = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers.split(',').any(|known| known == controller).then(|| PathBuf::from(path))
    };
    table.lines().find_map(parse).unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        31 24 0:27 /docker/a /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        32 24 0:28 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n33 1 0:2 / / rw - ext4 /dev/vda rw\n";

    #[test]
    fn hierarchies_and_groups_are_found_in_the_kernels_tables() {
        let found = hierarchies(MOUNTS);
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].directory(Path::new("/docker/a/b")), Path::new("/sys/fs/cgroup/cpu,cpuacct/b"));
        assert_eq!(found[2].mount, Path::new("/sys/fs/cgroup/uni fied"));
        let own = "3:memory:/x/y\n2:cpu,cpuacct:/docker/a/b\n0::/user.slice/a b\n";
        assert_eq!(found[0].directory(&own_group(own, "memory")), Path::new("/sys/fs/cgroup/memory/x/y"));
        assert_eq!(found[2].directory(&own_group(own, "")), Path::new("/sys/fs/cgroup/uni fied/user.slice/a b"));
        assert_eq!(own_group(own, "cpuset"), Path::new("/"));
    }

    /// A directory that looks like a unified hierarchy whose upper group hands its controllers on, and whose inner one does not.
    #[test]
    fn a_unified_group_is_made_where_the_controllers_reach() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("slice/scope")).unwrap();
        fs::write(dir.path().join("slice/cgroup.subtree_control"), "memory cpu\n").unwrap();
        let hierarchy = Hierarchy { mount: dir.path().into(), top: "/".into(), controllers: Vec::new() };
        let wanted = files::unified(&Limits::of(100, 0));
        let mut group = Group { directories: Vec::new() };
        // No file of a real group exists here: what is made is taken back when the limit cannot be written.
        let refusal = group.create_unified(&hierarchy, "0::/slice/scope\n", "", "run", &wanted).unwrap_err();
        assert!(refusal.contains("scope/cgroup.subtree_control"), "{refusal}");
        assert!(!dir.path().join("slice/run").exists() && !dir.path().join("slice/scope/run").exists());
        let refusal = group.create_unified(&hierarchy, "", "slice", "run", &wanted).unwrap_err();
        assert!(refusal.contains("slice/run/memory.max"), "{refusal}");
    }
}
