//! Tables that this process has read already, for the next look at them: a verb looks several times, and a large table takes a
//! millisecond to read.
//!
//! Invariant: a table is taken from here only if its file is the very one that was read. Every tool replaces tables by renaming, so that a
//! change gives the path another file; inode, length and the time of the inode's last change tell.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::io::Errno;

use super::Table;
use crate::store::Error;

/// What tells one file from another that has its name later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    length: i64,
    changed: (i64, u64),
}

/// Tables by path.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    tables: Mutex<HashMap<PathBuf, (Identity, Table)>>,
}

impl Cache {
    /// The table at `path`. The caller holds its lock, so that the file cannot be replaced between the looks at it.
    pub fn read(&self, path: &Path) -> Result<Table, Error> {
        let identity = match identity(path) {
            Ok(identity) => identity,
            Err(Errno::NOENT) => return Table::from_bytes(path, Vec::new()),
            Err(_) => return Table::read(path),
        };
        let mut tables = self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, table)) = tables.get(path).filter(|(known, _)| *known == identity) {
            return Ok(table.clone());
        }
        let table = Table::read(path)?;
        tables.insert(path.to_owned(), (identity, table.clone()));
        Ok(table)
    }

    /// Keeps a table whose file the caller has just given its name, under the lock that the caller still holds.
    pub fn keep(&self, table: Table) {
        let Ok(identity) = identity(table.path()) else { return };
        let mut tables = self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tables.insert(table.path().to_owned(), (identity, table));
    }
}

fn identity(path: &Path) -> Result<Identity, Errno> {
    let stat = rustix::fs::stat(path)?;
    let changed = (stat.st_ctime, stat.st_ctime_nsec);
    Ok(Identity { device: stat.st_dev, inode: stat.st_ino, length: stat.st_size, changed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::table::records::{Origin, Records};
    use crate::table::{Durability, replace_file};

    #[test]
    fn a_replaced_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.json");
        let cache = Cache::default();
        assert!(cache.read(&path).unwrap().is_empty());
        for id in ["a", "b", "c"] {
            replace_file(&path, format!(r#"[{{"id":"{id}"}}]"#).as_bytes(), Durability::Volatile).unwrap();
            for _ in 0..2 {
                assert_eq!(cache.read(&path).unwrap().id(0), Some(id));
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(cache.read(&path).unwrap().is_empty());
    }

    #[test]
    fn what_was_saved_is_kept_until_another_saves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.json");
        let cache = Arc::new(Cache::default());
        let save = |id: &str| {
            let mut records = Records::kept_in(&cache);
            records.add(cache.read(&path).unwrap(), Origin::Stable);
            records.push(Origin::Stable, &serde_json::json!({ "id": id })).unwrap();
            records.prepare().unwrap().finish().unwrap();
        };
        save("a");
        save("b");
        let kept = cache.tables.lock().unwrap().get(&path).map(|(file, table)| (*file, table.len()));
        assert_eq!(kept, Some((identity(&path).unwrap(), 2)), "the file of the last save, which nobody has read");
        let times = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(cache.read(&path).unwrap().len(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"[{"id":"a"},{"id":"b"}]"#);
        replace_file(&path, br#"[{"id":"c"}]"#, Durability::Volatile).unwrap();
        std::fs::File::open(&path).unwrap().set_modified(times).unwrap();
        assert_eq!(cache.read(&path).unwrap().id(0), Some("c"));
    }

    #[test]
    fn what_one_reader_changes_the_next_does_not_see() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.json");
        std::fs::write(&path, r#"[{"id":"a"},{"id":"b"}]"#).unwrap();
        let cache = Cache::default();
        cache.read(&path).unwrap().remove(0);
        assert_eq!(cache.read(&path).unwrap().len(), 2);
    }
}
