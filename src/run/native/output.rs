//! Standard output and error that the command may open again.
//!
//! `/dev/stdout` is a link to the descriptor's file, and opening it asks that file's owner: a server that logs to `/dev/stderr` fails
//! where the caller's pipe or log file belongs to another user than the one it runs as. Such a descriptor is replaced by a pipe that
//! belongs to the command's user, and this process passes on what arrives. Anything else is inherited: it costs nothing, and a terminal
//! or `/dev/null` can be opened by anybody.
//!
//! Invariant: two descriptors on one file get one pipe, so that the order of what is written stays; when the reader of our output goes
//! away, so does the pipe's, and the command learns it as it would without us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use containers_storage::id_map::IdMaps;
use nix::poll::{PollFd, PollFlags};
use oci_spec::runtime::User;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::pipe::PipeFlags;

/// What an id that is not mapped shows as (user_namespaces(7)).
const UNMAPPED: u32 = 65534;

/// The pipes, before the command exists.
#[derive(Debug, Default)]
pub(in crate::run) struct Output {
    pipes: Vec<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// The first of the descriptors it stands for, 1 or 2.
    first: i32,
    /// Whether it stands for both.
    both: bool,
}

impl Output {
    /// Pipes for those of the two that `user` of a user namespace with these maps could not open again.
    pub(in crate::run) fn for_user(user: &User, maps: &IdMaps) -> io::Result<Self> {
        let [stdout, stderr] = stats().map(|stat| stat.filter(|stat| closed_to(stat, user.uid(), maps)));
        Self::of(stdout, stderr, maps.owner_on_disk(user.uid(), user.gid())?)
    }

    /// The same, and in any case one for standard error: an external runtime says on it why it failed, besides in its log, and hands it
    /// on to the command.
    pub(in crate::run) fn for_runtime(user: &User, maps: &IdMaps) -> io::Result<Self> {
        let [stdout, stderr] = stats();
        let shared = |stat: &Stat| stderr.is_some_and(|other| is_same(stat, &other));
        let stdout = stdout.filter(|stat| closed_to(stat, user.uid(), maps) || shared(stat));
        Self::of(stdout, stderr, maps.owner_on_disk(user.uid(), user.gid())?)
    }

    fn of(stdout: Option<Stat>, stderr: Option<Stat>, owner: (u32, u32)) -> io::Result<Self> {
        let same = matches!((stdout, stderr), (Some(one), Some(other)) if is_same(&one, &other));
        let mut pipes = Vec::new();
        if stdout.is_some() {
            pipes.push(Pipe::new(1, same, owner)?);
        }
        if stderr.is_some() && !same {
            pipes.push(Pipe::new(2, false, owner)?);
        }
        Ok(Self { pipes })
    }

    /// In the child: puts the pipes in the place of the caller's descriptors.
    pub(in crate::run) fn replace(&self) -> rustix::io::Result<()> {
        for pipe in &self.pipes {
            if pipe.first == 1 {
                rustix::stdio::dup2_stdout(&pipe.write)?;
            }
            if pipe.first == 2 || pipe.both {
                rustix::stdio::dup2_stderr(&pipe.write)?;
            }
        }
        Ok(())
    }

    /// What has been written so far, if it is not much.
    pub(in crate::run) fn so_far(&self) -> String {
        let mut buffer = [0u8; 4096];
        let read = self.pipes.iter().filter_map(|pipe| rustix::io::read(&pipe.read, &mut buffer[..]).ok()).last();
        read.map(|length| String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).trim().to_owned())
            .unwrap_or_default()
    }

    /// In the parent, when the child has its copies: the ends to read from.
    pub(in crate::run) fn into_streams(self) -> Streams {
        Streams(self.pipes.into_iter().map(|pipe| (pipe.read, pipe.first)).collect())
    }
}

/// Of standard output and error.
fn stats() -> [Option<Stat>; 2] {
    [rustix::fs::fstat(rustix::stdio::stdout()).ok(), rustix::fs::fstat(rustix::stdio::stderr()).ok()]
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

impl Pipe {
    fn new(first: i32, both: bool, (uid, gid): (u32, u32)) -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&read, rustix::fs::fcntl_getfl(&read)? | OFlags::NONBLOCK)?;
        let owner = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&write, Some(owner.0), Some(owner.1))?;
        Ok(Self { read, write, first, both })
    }
}

/// Whether a process of user `uid`, who may be the namespace's root, cannot open the file again for writing.
fn closed_to(stat: &Stat, uid: u32, maps: &IdMaps) -> bool {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !matches!(kind, FileType::Fifo | FileType::Socket | FileType::RegularFile) || stat.st_mode & 0o002 != 0 {
        return false;
    }
    // CAP_DAC_OVERRIDE reaches inodes whose ids are mapped (capabilities(7)).
    let is_mapped = maps.uid.to_container(stat.st_uid).is_some() && maps.gid.to_container(stat.st_gid).is_some();
    let by_root = uid == 0 && is_mapped && stat.st_uid != UNMAPPED && stat.st_gid != UNMAPPED;
    // No socket can be opened by a name.
    kind == FileType::Socket || !(by_root || maps.uid.to_host(uid) == Some(stat.st_uid))
}

/// The ends that the command's output arrives at.
#[derive(Debug, Default)]
pub(in crate::run) struct Streams(Vec<(OwnedFd, i32)>);

impl Streams {
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.0.iter().map(|(read, _)| PollFd::new(read.as_fd(), PollFlags::POLLIN))
    }

    /// Passes on what has arrived; a stream that has ended, or that nobody wants any more, is closed.
    pub(super) fn step(&mut self) {
        self.0.retain(|(read, number)| pass_on(read.as_fd(), *number));
    }
}

/// `false` at the end of the stream.
fn pass_on(read: BorrowedFd<'_>, number: i32) -> bool {
    let to = if number == 1 { rustix::stdio::stdout() } else { rustix::stdio::stderr() };
    let mut buffer = [0u8; 16384];
    loop {
        match rustix::io::read(read, &mut buffer) {
            Ok(0) => return false,
            Ok(length) if super::supervise::write_all(to, buffer.get(..length).unwrap_or_default()).is_ok() => {}
            Err(rustix::io::Errno::AGAIN) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use containers_storage::id_map::{IdMap, IdRange};

    use super::*;

    #[test]
    fn files_of_others_are_closed_and_devices_are_not() {
        let stat_of = |path: &str| rustix::fs::stat(path).expect("a file");
        let mut own = tempfile::NamedTempFile::new().map(|file| stat_of(&file.path().to_string_lossy())).expect("a file");
        own.st_uid = 1000;
        own.st_gid = 1000;
        let same = IdMaps::default();
        assert!(!closed_to(&own, 1000, &same), "the owner");
        assert!(!closed_to(&own, 0, &same), "root of the namespace");
        assert!(closed_to(&own, 33, &same), "another user");
        let range = IdMap(vec![IdRange { container_id: 0, host_id: 900, size: 200 }]);
        let maps = IdMaps { uid: range.clone(), gid: range };
        assert!(!closed_to(&own, 100, &maps) && !closed_to(&own, 0, &maps) && closed_to(&own, 101, &maps), "by the maps");
        own.st_uid = UNMAPPED;
        assert!(closed_to(&own, 0, &same), "an owner that this namespace lacks");
        assert!(closed_to(&own, 0, &maps), "an owner that the container's namespace lacks");
        assert!(!closed_to(&stat_of("/dev/null"), 33, &maps), "a device");
    }
}
