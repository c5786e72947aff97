//! What is asked of a layer's directory before it is packed, without reading a file: whether it is large, and that its times are those that
//! the archive will say.

use std::io;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::walk::{Step, Walk};
use super::{Times, members};
use crate::Root;
use crate::archive::entry::Time;

/// How much a directory may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of all files together.
    pub bytes: u64,
    /// Entries of any kind, at any depth.
    pub entries: u64,
}

/// Whether `source` holds more than that. Looks no further than it must.
pub fn exceeds(source: &Root, limits: Limits) -> io::Result<bool> {
    let (mut bytes, mut entries) = (0u64, 0u64);
    let mut is_more = false;
    each(source, &mut |_, stat| {
        entries += 1;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            bytes = bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
        }
        is_more = bytes > limits.bytes || entries > limits.entries;
        Ok(!is_more)
    })?;
    Ok(is_more)
}

/// Gives all entries of `source` the times that an archive of it says, as `OnDisk::SetTimes` does while it packs: for a directory that is
/// looked at by others meanwhile, who are not to see some of the times change.
pub fn settle_times(source: &Root, times: Times) -> io::Result<()> {
    each(source, &mut |walk, stat| {
        let seconds = members::archived_seconds(times, stat.st_mtime);
        if (stat.st_mtime, stat.st_mtime_nsec as i64) != (seconds, 0) {
            let times = Time::from_seconds(seconds).timestamps();
            rustix::fs::utimensat(walk.directory(), walk.name(), &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(true)
    })
}

/// Shows `look` each entry until it answers `false`. What has gone since its directory was listed is passed over.
fn each(source: &Root, look: &mut dyn FnMut(&Walk, &Stat) -> io::Result<bool>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut walk = Walk::new(rustix::fs::openat(source, ".", flags, Mode::empty())?)?;
    while let Some(step) = walk.next()? {
        let Step::Entry(kind) = step else { continue };
        let stat = match rustix::fs::statat(walk.directory(), walk.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other?,
        };
        if !look(&walk, &stat)? {
            return Ok(());
        }
        if kind == FileType::Directory {
            let directory = rustix::fs::openat(walk.directory(), walk.name(), flags, Mode::empty())?;
            walk.enter(directory, (stat.st_dev, stat.st_ino))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn files_count_by_length_and_everything_by_number() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), [0; 100]).unwrap();
        std::os::unix::fs::symlink("x", dir.path().join("link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let is_more = |bytes, entries| exceeds(&root, Limits { bytes, entries }).unwrap();
        assert!(!is_more(100, 4));
        assert!(is_more(99, 4));
        assert!(is_more(100, 3));
    }

    #[test]
    fn times_are_whole_seconds_and_not_later_than_they_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let (early, late) = (dir.path().join("early"), dir.path().join("late"));
        for (path, seconds) in [(&early, 1_000), (&late, 3_000)] {
            let file = fs::File::create(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(seconds, 5)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let time = |path| fs::metadata(path).unwrap().modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        settle_times(&root, Times::Clamp(2_000)).unwrap();
        assert_eq!((time(&early), time(&late)), (Duration::from_secs(1_000), Duration::from_secs(2_000)));
        settle_times(&root, Times::Force(7)).unwrap();
        assert_eq!((time(&early), time(&late)), (Duration::from_secs(7), Duration::from_secs(7)));
    }
}
