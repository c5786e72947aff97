//! Standard output and error that the command may open again.
//!
//! `/dev/stdout` is a link to the descriptor's file, and opening it asks that file's owner: a server that logs to `/dev/stderr` fails
//! where the caller's pipe or log file belongs to another user than the one it runs as. Such a descriptor is replaced by a pipe that
//! belongs to the command's user, and this process passes on what arrives. Anything else is inherited: it costs nothing, and a terminal
//! or `/dev/null` can be opened by anybody.
//!
//! A process with an SELinux label of its own may not even keep what the caller's policy does not share with it: the kernel closes such
//! descriptors when it is executed. It gets pipes, which carry the label of its own, for all three.
//!
//! Invariant: two descriptors on one file get one pipe, so that the order of what is written stays; when the reader of our output goes
//! away, so does the pipe's, and the command learns it as it would without us.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use containers_storage::id_map::IdMaps;
use containers_storage::selinux;
use nix::poll::{PollFd, PollFlags};
use oci_spec::runtime::User;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::pipe::PipeFlags;

use super::input::Feed;

/// What an id that is not mapped shows as (user_namespaces(7)).
const UNMAPPED: u32 = 65534;

/// The pipes, before the command exists.
#[derive(Debug, Default)]
pub(in crate::run) struct Output {
    /// Files that take the place of the caller's descriptors, which are 1 or 2.
    given: Vec<(OwnedFd, i32)>,
    pipes: Vec<Pipe>,
    /// In the place of standard input: what the command reads from, and where the caller's is passed on to.
    input: Option<(OwnedFd, OwnedFd)>,
}

/// The command at the other end of the pipes.
#[derive(Debug)]
pub(in crate::run) struct Reader<'a> {
    /// Its user.
    pub user: &'a User,
    /// Its user namespace.
    pub maps: &'a IdMaps,
    /// The SELinux label of its pipes, if it is to have nothing else.
    pub label: Option<String>,
    /// Its input is not the caller's.
    pub has_input: bool,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Where what arrives goes.
    to: OwnedFd,
    /// The first of the descriptors it stands for, 1 or 2.
    first: i32,
    /// Whether it stands for both.
    both: bool,
}

impl Output {
    /// Pipes for those of `files`, standard output and error, that the command's user could not open again.
    pub(in crate::run) fn for_user(reader: &Reader<'_>, files: [BorrowedFd<'_>; 2]) -> io::Result<Self> {
        let outputs = stats(files).map(|stat| stat.filter(|stat| reader.is_kept_from(stat)));
        Self::of(outputs, files, reader)
    }

    /// The same, and in any case one for standard error: an external runtime says on it why it failed, besides in its log, and hands it
    /// on to the command.
    pub(in crate::run) fn for_runtime(reader: &Reader<'_>, files: [BorrowedFd<'_>; 2]) -> io::Result<Self> {
        let [stdout, stderr] = stats(files);
        let shared = |stat: &Stat| stderr.is_some_and(|other| is_same(stat, &other));
        Self::of([stdout.filter(|stat| reader.is_kept_from(stat) || shared(stat)), stderr], files, reader)
    }

    fn of([stdout, stderr]: [Option<Stat>; 2], files: [BorrowedFd<'_>; 2], reader: &Reader<'_>) -> io::Result<Self> {
        let same = matches!((stdout, stderr), (Some(one), Some(other)) if is_same(&one, &other));
        let mut pipes = Vec::new();
        if stdout.is_some() {
            pipes.push(Pipe::new((1, files[0]), same, reader)?);
        }
        if stderr.is_some() && !same {
            pipes.push(Pipe::new((2, files[1]), false, reader)?);
        }
        let stdin = rustix::fs::fstat(rustix::stdio::stdin()).ok().filter(|_| !reader.has_input && reader.label.is_some());
        let input = stdin.filter(|stat| !is_memory_device(stat)).map(|_| reader.pipe()).transpose()?;
        let given = [1, 2].into_iter().zip(files).filter(|(number, file)| file.as_raw_fd() != *number);
        let given = given.map(|(number, file)| Ok((file.try_clone_to_owned()?, number))).collect::<io::Result<_>>()?;
        Ok(Self { given, pipes, input })
    }

    /// In the child: puts the pipes in the place of the caller's descriptors.
    pub(in crate::run) fn replace(&self) -> rustix::io::Result<()> {
        if let Some((read, _)) = &self.input {
            rustix::stdio::dup2_stdin(read)?;
        }
        for (file, number) in &self.given {
            match number {
                1 => rustix::stdio::dup2_stdout(file)?,
                _ => rustix::stdio::dup2_stderr(file)?,
            }
        }
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

    /// In the parent, when the child has its copies: the ends to read from, and the one that input is passed on to.
    pub(in crate::run) fn into_streams(self) -> Streams {
        // Whoever has no standard input passes on that it has ended.
        let input = self.input.and_then(|(_, write)| {
            let from = rustix::stdio::stdin().try_clone_to_owned().ok()?;
            Feed::new(from, write).ok()
        });
        Streams { outputs: self.pipes.into_iter().map(|pipe| (pipe.read, pipe.to)).collect(), input }
    }
}

/// Of standard output and error, which may be closed.
fn stats(files: [BorrowedFd<'_>; 2]) -> [Option<Stat>; 2] {
    files.map(|file| rustix::fs::fstat(file).ok())
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

impl Pipe {
    fn new((first, to): (i32, BorrowedFd<'_>), both: bool, reader: &Reader<'_>) -> io::Result<Self> {
        let (read, write) = reader.pipe()?;
        let to = to.try_clone_to_owned()?;
        rustix::fs::fcntl_setfl(&read, rustix::fs::fcntl_getfl(&read)? | OFlags::NONBLOCK)?;
        Ok(Self { read, write, to, first, both })
    }
}

impl Reader<'_> {
    fn is_kept_from(&self, stat: &Stat) -> bool {
        closed_to(stat, self.user.uid(), self.maps) || (self.label.is_some() && !is_memory_device(stat))
    }

    /// A pipe of its user's, with its label.
    fn pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (uid, gid) = self.maps.owner_on_disk(self.user.uid(), self.user.gid())?;
        let owner = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        match rustix::fs::fchown(&write, Some(owner.0), Some(owner.1)) {
            // No id of this user namespace (chown(2)): nobody can become it, and the step that tries says which one it is.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
        if let Some(label) = &self.label {
            rustix::fs::fsetxattr(&write, selinux::ATTRIBUTE, label.as_bytes(), rustix::fs::XattrFlags::empty())?;
        }
        Ok((read, write))
    }
}

/// `/dev/null` and its like, which every process may use.
fn is_memory_device(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && rustix::fs::major(stat.st_rdev) == 1
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

/// The ends that the command's output arrives at, and that its input goes to.
#[derive(Debug, Default)]
pub(in crate::run) struct Streams {
    outputs: Vec<(OwnedFd, OwnedFd)>,
    input: Option<Feed>,
}

impl Streams {
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let outputs = self.outputs.iter().map(|(read, _)| PollFd::new(read.as_fd(), PollFlags::POLLIN));
        outputs.chain(self.input.iter().map(Feed::interest))
    }

    /// Passes on what has arrived; a stream that has ended, or that nobody wants any more, is closed.
    pub(super) fn step(&mut self) {
        self.outputs.retain(|(read, to)| pass_on(read.as_fd(), to.as_fd()));
        self.input = self.input.take().and_then(|mut feed| feed.step().then_some(feed));
    }
}

/// `false` at the end of the stream.
fn pass_on(read: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
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
    fn a_labelled_command_is_handed_devices_of_memory_only() {
        let user = User::default();
        let of = |label: Option<&str>| {
            Reader { user: &user, maps: &IdMaps::default(), label: label.map(str::to_owned), has_input: true }
                .is_kept_from(&rustix::fs::stat("/").expect("a directory"))
        };
        assert!(of(Some("u:r:t")) && !of(None));
        assert!(is_memory_device(&rustix::fs::stat("/dev/null").expect("a device")));
        let ptmx = rustix::fs::stat("/dev/ptmx");
        assert!(!ptmx.is_ok_and(|stat| is_memory_device(&stat)), "a terminal is the caller's");
    }

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
