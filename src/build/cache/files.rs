//! Digests of files that were read once: as long as the kernel says the same of a file, it is not read again.
//!
//! One file of fixed records, little endian: device, inode, size, time of modification, time of change (8 bytes each), digest (32).
//! Read when it is first asked, written at the end if something came new; what others wrote meanwhile is kept.
//!
//! Invariant: a file that changed shortly before it was read may change again without another time of change, so that it is not
//! written (the resolution of times is that of the kernel's clock tick). As long as the process lives its digest is known all the same, for
//! whoever asks whether something has changed since; but for files of the very last moment.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::replace;
use crate::copier::fingerprint::{FileId, Known};

/// Bytes of a record.
const RECORD: usize = 5 * 8 + 32;
/// What the file begins with: another layout has another number.
const MAGIC: &[u8; 8] = b"coracle1";
/// Records that are kept; beyond that all are forgotten. 72 MB.
const MOST: usize = 1_000_000;
/// How long a file must have been left alone to be remembered, ns.
const SETTLED: i64 = 2_000_000_000;
/// The same for the time of the process: some ticks of a slow clock.
const LEFT_ALONE: i64 = 50_000_000;

/// The digests of a store's builds.
#[derive(Debug)]
pub(in crate::build) struct FileDigests {
    path: PathBuf,
    known: Option<HashMap<FileId, [u8; 32]>>,
    /// Those that are not written.
    fresh: HashMap<FileId, [u8; 32]>,
    is_changed: bool,
    now: i64,
    /// When a digest was last asked for that is not known: before the file is read.
    asked: i64,
}

impl FileDigests {
    /// Those in the file at `path`, which is not opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: None, fresh: HashMap::new(), is_changed: false, now: now(), asked: i64::MAX }
    }

    fn known(&mut self) -> &mut HashMap<FileId, [u8; 32]> {
        self.known.get_or_insert_with(|| std::fs::read(&self.path).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default())
    }

    /// Writes what came new.
    pub(in crate::build) fn save(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.is_changed) {
            return Ok(());
        }
        let path = self.path.clone();
        // Another stage, or build, may have written it meanwhile.
        let others = std::fs::read(&path).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        let known = self.known();
        if known.len() + others.len() <= MOST {
            for (file, digest) in others {
                known.entry(file).or_insert(digest);
            }
        }
        replace(&path, &serialise(known))
    }
}

/// ns since 1970.
fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn parse(bytes: &[u8]) -> Option<HashMap<FileId, [u8; 32]>> {
    let records = bytes.strip_prefix(MAGIC)?;
    if !records.len().is_multiple_of(RECORD) || records.len() / RECORD > MOST {
        return None;
    }
    let mut known = HashMap::with_capacity(records.len() / RECORD);
    for record in records.chunks_exact(RECORD) {
        let (numbers, digest) = record.split_at(RECORD - 32);
        let mut numbers = numbers.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let mut next = || numbers.next();
        let (device, inode, size) = (next()?, next()?, next()?);
        let (modified, changed) = (next()?.cast_signed(), next()?.cast_signed());
        known.insert(FileId { device, inode, size, modified, changed }, digest.try_into().ok()?);
    }
    Some(known)
}

fn serialise(known: &HashMap<FileId, [u8; 32]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + known.len() * RECORD);
    bytes.extend_from_slice(MAGIC);
    for (file, digest) in known {
        let numbers = [file.device, file.inode, file.size, file.modified.cast_unsigned(), file.changed.cast_unsigned()];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.extend_from_slice(digest);
    }
    bytes
}

impl Known for FileDigests {
    fn get(&mut self, file: &FileId) -> Option<[u8; 32]> {
        let fresh = self.fresh.get(file).copied();
        let digest = fresh.or_else(|| self.known().get(file).copied());
        if digest.is_none() {
            self.asked = now();
        }
        digest
    }

    fn put(&mut self, file: &FileId, digest: [u8; 32]) {
        let last = file.changed.max(file.modified);
        if last > self.now.saturating_sub(SETTLED) {
            if last <= self.asked.saturating_sub(LEFT_ALONE) && self.fresh.len() < MOST {
                self.fresh.insert(*file, digest);
            }
            return;
        }
        if self.known().len() >= MOST {
            self.known().clear();
        }
        self.known().insert(*file, digest);
        self.is_changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, changed: i64) -> FileId {
        FileId { device: 1, inode, size: 3, modified: 4, changed }
    }

    #[test]
    fn digests_outlive_the_process_but_not_what_the_kernel_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/files");
        let mut first = FileDigests::new(path.clone());
        first.put(&file(1, 5), [7; 32]);
        first.save().unwrap();
        let mut second = FileDigests::new(path.clone());
        assert_eq!(second.get(&file(1, 5)), Some([7; 32]));
        assert_eq!((second.get(&file(1, 6)), second.get(&file(2, 5))), (None, None));
        std::fs::write(&path, b"coracle1 broken").unwrap();
        assert_eq!(FileDigests::new(path).get(&file(1, 5)), None);
    }

    #[test]
    fn what_has_just_changed_is_not_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("files");
        let mut digests = FileDigests::new(path.clone());
        let (recent, newest) = (file(1, digests.now - SETTLED + 1), file(2, digests.now));
        for file in [recent, newest] {
            assert_eq!(digests.get(&file), None);
            digests.put(&file, [7; 32]);
        }
        // The first one is known until the process ends.
        assert_eq!((digests.get(&recent), digests.get(&newest)), (Some([7; 32]), None));
        digests.put(&file(3, 5), [8; 32]);
        digests.save().unwrap();
        let mut next = FileDigests::new(path);
        assert_eq!((next.get(&recent), next.get(&file(3, 5))), (None, Some([8; 32])));
    }
}
