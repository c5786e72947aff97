//! One JSON table of a store: an array of records, kept as text.
//!
//! ```text
//! read     file → one string → ranges of raw records          (nothing is parsed)
//! change   one record: parse, edit, serialise, merge           (members that the edit did not touch keep their bytes)
//! save     .tmp-<name><random> beside it → fdatasync → chmod 0600 → rename
//! ```
//!
//! Invariant: a record or member that was not changed keeps its bytes, known or not. A damaged table is an error with the
//! place, and is never written over.
//!
//! Must not: take locks; the caller holds the table's lock for a read, and exclusively and with a fresh stamp for a save.

pub mod cache;
pub mod fields;
pub mod records;
pub mod scan;

use std::io::{IoSlice, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, CWD, Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::Error;

/// Tables beyond this are refused: a store of 100,000 layers has 60 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Whether a save waits until the bytes are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `fdatasync` before the rename.
    Synced,
    /// No sync: for the volatile tables (format, section 5.4).
    Volatile,
}

/// A table in memory. A clone shares the text that was read.
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
    text: Arc<String>,
    records: Vec<Slot>,
}

#[derive(Debug, Clone)]
enum Slot {
    Read(Range<usize>),
    Written(String),
}

impl Table {
    /// Reads the table at `path`. A file that does not exist is an empty table.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = match read_limited(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::Io { action: "reading", path: path.to_owned(), source }),
        };
        Self::from_bytes(path, bytes)
    }

    /// The table at `path` whose content is `bytes`.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
        let corrupt = |offset, problem: &str| Error::Corrupt { path: path.to_owned(), offset, problem: problem.to_owned() };
        let text = String::from_utf8(bytes).map_err(|error| corrupt(error.utf8_error().valid_up_to(), "no UTF-8"))?;
        let records = scan::objects(&text).map_err(|error| corrupt(error.offset, error.problem))?;
        Ok(Self { path: path.to_owned(), text: Arc::new(text), records: records.into_iter().map(Slot::Read).collect() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Indexes of the records in whose text `needle` occurs: all that can have it as a value, found without looking into each. A
    /// value that is written with escapes is not recognised; no tool writes IDs, digests and names so.
    pub fn mentioning(&self, needle: &str) -> Vec<usize> {
        let finder = memchr::memmem::Finder::new(needle);
        // Records that were read lie in the text in their order: one pass over it serves them all.
        let mut hits = finder.find_iter(self.text.as_bytes()).peekable();
        let mut mentions = |slot: &Slot| match slot {
            Slot::Read(range) => {
                while hits.next_if(|at| *at < range.start).is_some() {}
                hits.peek().is_some_and(|at| *at < range.end)
            }
            Slot::Written(text) => finder.find(text.as_bytes()).is_some(),
        };
        self.records.iter().enumerate().filter_map(|(index, slot)| mentions(slot).then_some(index)).collect()
    }

    /// The record at `index` as JSON text; empty if there is none.
    pub fn raw(&self, index: usize) -> &str {
        match self.records.get(index) {
            Some(Slot::Read(range)) => self.text.get(range.clone()).unwrap_or_default(),
            Some(Slot::Written(text)) => text,
            None => "",
        }
    }

    /// One member of the record at `index`, parsed. `None` if it is absent or of another type.
    pub fn member<'a, T: serde::Deserialize<'a>>(&'a self, index: usize, name: &str) -> Option<T> {
        serde_json::from_str(scan::member(self.raw(index), name)?).ok()
    }

    /// The first record whose member `id` is `id`.
    pub fn find(&self, id: &str) -> Option<usize> {
        (0..self.len()).find(|index| self.id(*index) == Some(id))
    }

    /// The member `id` of the record at `index`. It holds no escapes where it is valid, so its text is its value.
    pub fn id(&self, index: usize) -> Option<&str> {
        let raw = self.raw(index);
        // All tools write it first.
        let quoted = match raw.strip_prefix("{\"id\":\"") {
            Some(rest) => return rest.get(..memchr::memchr(b'"', rest.as_bytes())?),
            None => scan::member(raw, "id")?,
        };
        quoted.strip_prefix('"')?.strip_suffix('"')
    }

    /// The record at `index`, parsed. One without an ID, or with an escape in it, is damaged: look-ups would not find it.
    pub fn parse<T: DeserializeOwned>(&self, index: usize) -> Result<T, Error> {
        let start = match self.records.get(index) {
            Some(Slot::Read(range)) => range.start,
            _ => 0,
        };
        let corrupt = |offset, problem| Error::Corrupt { path: self.path.clone(), offset, problem };
        if self.id(index).is_none_or(|id| id.contains('\\')) {
            return Err(corrupt(start, "a record without a plain ID".to_owned()));
        }
        serde_json::from_str(self.raw(index)).map_err(|error| {
            // Records are one line in every tool's output; then the column is the offset.
            let within = if error.line() <= 1 { error.column().saturating_sub(1) } else { 0 };
            corrupt(start + within, error.to_string())
        })
    }

    /// Appends a record.
    pub fn push<T: Serialize>(&mut self, record: &T) -> Result<(), Error> {
        let text = serde_json::to_string(record).map_err(|error| self.unwritable(&error))?;
        self.records.push(Slot::Written(text));
        Ok(())
    }

    /// Parses the record at `index`, lets `edit` change it, and puts it back. Members whose value `edit` left alone keep their
    /// bytes, and so do members that `T` does not know.
    pub fn update<T: Serialize + DeserializeOwned>(&mut self, index: usize, edit: impl FnOnce(&mut T)) -> Result<T, Error> {
        let mut record: T = self.parse(index)?;
        let before = serde_json::to_string(&record).map_err(|error| self.unwritable(&error))?;
        edit(&mut record);
        let after = serde_json::to_string(&record).map_err(|error| self.unwritable(&error))?;
        if before != after {
            let merged = merge(self.raw(index), &before, &after);
            if let Some(slot) = self.records.get_mut(index) {
                *slot = Slot::Written(merged);
            }
        }
        Ok(record)
    }

    /// Takes the record at `index` out.
    pub fn remove(&mut self, index: usize) {
        if index < self.records.len() {
            self.records.remove(index);
        }
    }

    /// Replaces the file by what is in memory.
    pub fn save(&self, durability: Durability) -> Result<(), Error> {
        let pending = self.write()?;
        if durability == Durability::Synced {
            pending.sync()?;
        }
        pending.commit()
    }

    /// Writes what is in memory beside the file, which stays as it is until the result is committed.
    pub fn write(&self) -> Result<PendingFile, Error> {
        let mut parts: Vec<&[u8]> = vec![b"["];
        parts.extend(self.parts().into_iter().map(str::as_bytes));
        parts.push(b"]");
        PendingFile::write(&self.path, &parts)
    }

    /// The records with a comma between each two. What lies together in the text that was read is one part: of a large table little
    /// has changed, and the rest is not copied.
    fn parts(&self) -> Vec<&str> {
        let mut parts = Vec::new();
        let mut run: Option<Range<usize>> = None;
        let flush = |run: Option<Range<usize>>| run.and_then(|range| self.text.get(range));
        for (index, slot) in self.records.iter().enumerate() {
            match slot {
                Slot::Read(range) => match &mut run {
                    Some(open) if self.text.get(open.end..range.start) == Some(",") => open.end = range.end,
                    _ => {
                        parts.extend(flush(run.take()));
                        parts.extend((index > 0).then_some(","));
                        run = Some(range.clone());
                    }
                },
                Slot::Written(text) => {
                    parts.extend(flush(run.take()));
                    parts.extend((index > 0).then_some(","));
                    parts.push(text);
                }
            }
        }
        parts.extend(flush(run));
        parts
    }

    fn unwritable(&self, error: &serde_json::Error) -> Error {
        Error::Io {
            action: "serialising a record for",
            path: self.path.clone(),
            source: std::io::Error::other(error.to_string()),
        }
    }
}

/// The members of `original` with those that differ between `before` and `after` taken from `after`. All three are objects.
fn merge(original: &str, before: &str, after: &str) -> String {
    let same = |key: &str| scan::member(before, key) == scan::member(after, key);
    let kept = scan::members(original).flatten().filter(|(key, _)| same(key));
    let changed = scan::members(after).flatten().filter(|(key, _)| !same(key));
    let mut merged = String::with_capacity(original.len() + 64);
    merged.push('{');
    for (key, value) in kept.chain(changed) {
        if merged.len() > 1 {
            merged.push(',');
        }
        merged.push('"');
        merged.push_str(key);
        merged.push_str("\":");
        merged.push_str(value);
    }
    merged.push('}');
    merged
}

/// Writes `bytes` to `path` so that a reader, or a machine that lost power, sees the old file or the new one, never a part. Mode 0600.
pub fn replace_file(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), Error> {
    let pending = PendingFile::write(path, &[bytes])?;
    if durability == Durability::Synced {
        pending.sync()?;
    }
    pending.commit()
}

/// A file that is written beside its final name. Dropped uncommitted, it is deleted.
#[derive(Debug)]
pub struct PendingFile {
    file: std::fs::File,
    length: usize,
    temporary: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl PendingFile {
    /// Writes `parts`, one behind the other, to `.tmp-<name><random>` in the directory of `path`, mode 0600 whatever the umask.
    pub fn write(path: &Path, parts: &[&[u8]]) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|error| io_error("creating", path, std::io::Error::other(error)))?;
        let temporary = path.with_file_name(format!(".tmp-{name}{}", u64::from_le_bytes(random)));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd =
            rustix::fs::openat(CWD, &temporary, flags, mode).map_err(|error| io_error("creating", &temporary, error.into()))?;
        let length = parts.iter().map(|part| part.len()).sum();
        let mut pending = Self { file: fd.into(), length, temporary, path: path.to_owned(), committed: false };
        let written = write_all(&mut pending.file, parts).and_then(|()| Ok(rustix::fs::fchmod(&pending.file, mode)?));
        written.map_err(|source| io_error("writing", path, source))?;
        Ok(pending)
    }

    /// Has the kernel begin to write the content to the disk, and does not wait for it: of several files that are synced one after
    /// the other, each would cost the file system a commit of its journal, while files that are on their way share one.
    pub fn start_sync(&self) {
        // DONTNEED begins with that (mm/fadvise.c), and then drops what is clean; pages on their way to the disk are not. Ending one byte
        // early still writes the last page, but does not look at it for dropping. It is advice: without it only time is lost.
        if let Some(length) = NonZeroU64::new((self.length as u64).saturating_sub(1)) {
            let _ = rustix::fs::fadvise(&self.file, 0, Some(length), Advice::DontNeed);
        }
    }

    /// Waits until the content is on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        rustix::fs::fdatasync(&self.file).map_err(|error| io_error("writing", &self.path, error.into()))
    }

    /// Gives the file its name.
    pub fn commit(mut self) -> Result<(), Error> {
        std::fs::rename(&self.temporary, &self.path).map_err(|source| io_error("replacing", &self.path, source))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.committed {
            // Best effort: what stays is a `.tmp-` leftover that `check --repair` collects.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes all of `parts`, in as few calls as the kernel lets.
fn write_all(file: &mut std::fs::File, parts: &[&[u8]]) -> std::io::Result<()> {
    /// IOV_MAX of Linux (writev(2)).
    const MOST: usize = 1024;
    for parts in parts.chunks(MOST) {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = slices.as_mut_slice();
        // Leading empty ones are dropped, so that nothing written means a full disk.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(length) => IoSlice::advance_slices(&mut left, length),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

/// The whole of the regular file `path`, if it has at most `limit` bytes. Anything else is refused, and never waited for.
pub(crate) fn read_limited(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    let unusual = |what| std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(unusual("not a regular file"));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let length = usize::try_from(stat.st_size).ok().filter(|length| *length <= limit).ok_or_else(|| unusual("too large"))?;
    // With room for one byte more, one call reads the file and the next one sees its end.
    let mut bytes = Vec::with_capacity(length + 1);
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(4096);
        }
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() > limit => return Err(unusual("too large")),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Row {
        id: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
    }

    fn table(text: &str) -> Table {
        Table::from_bytes(Path::new("/store/t.json"), text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn an_update_keeps_every_byte_it_did_not_change() {
        let mut t = table(r#"[{"id":"a","future": {"x" : 1.50},"names":["n"]},{"odd":1e3,"id":"b"}]"#);
        t.update(0, |row: &mut Row| row.names.push("m".into())).unwrap();
        assert_eq!(t.raw(0), r#"{"id":"a","future":{"x" : 1.50},"names":["n","m"]}"#);
        t.update(0, |row: &mut Row| row.names.clear()).unwrap();
        assert_eq!(t.raw(0), r#"{"id":"a","future":{"x" : 1.50}}"#);
        t.update(1, |_: &mut Row| {}).unwrap();
        assert_eq!(t.raw(1), r#"{"odd":1e3,"id":"b"}"#);
    }

    #[test]
    fn records_are_found_by_what_they_mention() {
        let mut t = table(r#"[{"id":"a","p":"x1"},{"id":"b"},{"id":"c","p":["x1","x1"]},{"id":"d","p":"x2"}]"#);
        assert_eq!((t.mentioning("x1"), t.mentioning("x"), t.mentioning("y")), (vec![0, 2], vec![0, 2, 3], vec![]));
        t.update(1, |row: &mut Row| row.names.push("x1".into())).unwrap();
        t.remove(0);
        t.push(&Row { id: "x1".into(), names: vec![] }).unwrap();
        assert_eq!(t.mentioning("x1"), [0, 1, 3]);
    }

    #[test]
    fn ids_are_found_wherever_the_writer_put_them() {
        let t = table(r#"[{"id":"a"},{"x":{"id":"c"},"id": "b"}]"#);
        assert_eq!((t.find("a"), t.find("b"), t.find("c")), (Some(0), Some(1), None));
    }

    #[test]
    fn damage_is_named_with_file_and_place() {
        let error = Table::from_bytes(Path::new("/store/t.json"), b"[{\"id\":\"a\"},{\"id\"".to_vec()).unwrap_err();
        assert!(error.to_string().starts_with("\"/store/t.json\" is damaged at byte 17"), "{error}");
        let error = table(r#"[{"id":"a"},{"id":"b","names":7}]"#).parse::<Row>(1).unwrap_err();
        assert!(error.to_string().contains("byte 30"), "{error}");
        for id in [r#"[{"names":[]}]"#, r#"[{"id":"\u0061"}]"#] {
            assert!(matches!(table(id).parse::<Row>(0), Err(Error::Corrupt { offset: 1, .. })), "{id}");
        }
        let error = Table::from_bytes(Path::new("/t"), b"[{\"a\":\"\xff\"}]".to_vec()).unwrap_err();
        assert!(error.to_string().contains("byte 7"), "{error}");
    }

    #[test]
    fn a_save_replaces_the_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.json");
        let mut t = Table::read(&path).unwrap();
        t.push(&Row { id: "a".into(), names: vec![] }).unwrap();
        t.push(&Row { id: "b".into(), names: vec!["x".into()] }).unwrap();
        t.save(Durability::Synced).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"[{"id":"a"},{"id":"b","names":["x"]}]"#);
        let mut t = Table::read(&path).unwrap();
        t.remove(0);
        t.save(Durability::Volatile).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"[{"id":"b","names":["x"]}]"#);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_save_keeps_the_bytes_between_what_it_removes_changes_and_adds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.json");
        let saved = |text: &str, edit: &dyn Fn(&mut Table)| {
            std::fs::write(&path, text).unwrap();
            let mut t = Table::read(&path).unwrap();
            edit(&mut t);
            t.save(Durability::Volatile).unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        let five = r#"[{"id":"a"},{"id":"b"}, {"id":"c"},{"id":"d"},{"id":"e"}]"#;
        let rename = |t: &mut Table, index| drop(t.update(index, |row: &mut Row| row.names.push("n".into())).unwrap());
        type Edit<'a> = &'a dyn Fn(&mut Table);
        let cases: [(Edit<'_>, &str); 6] = [
            (&|_| {}, r#"[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"},{"id":"e"}]"#),
            (&|t| t.remove(0), r#"[{"id":"b"},{"id":"c"},{"id":"d"},{"id":"e"}]"#),
            (&|t| t.remove(3), r#"[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"e"}]"#),
            (&|t| t.remove(4), r#"[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]"#),
            (&|t| rename(t, 3), r#"[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d","names":["n"]},{"id":"e"}]"#),
            (&|t| (0..5).for_each(|_| t.remove(0)), "[]"),
        ];
        for (edit, want) in cases {
            assert_eq!(saved(five, edit), want);
        }
        let many: Vec<String> = (0..3000).map(|number| format!(r#"{{"id":"{number}"}}"#)).collect();
        let all = format!("[{}]", many.join(",\n"));
        assert_eq!(saved(&all, &|_| {}), all.replace('\n', ""), "more parts than one call takes");
    }

    #[test]
    fn a_fifo_in_place_of_a_table_is_an_error_and_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.json");
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(Table::read(&path).is_err());
    }
}
