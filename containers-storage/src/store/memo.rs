//! Memos: files that only save time, `<graph root>/coracle/<name>`. `stacks` is one; what reads images keeps others.
//!
//! Invariant: a memo is replaced whole by renaming, so that a reader finds the old one or the new one; of two writers the later one counts.
//! Whoever reads one proves that it still stands for what it was made from: here it is only bytes. All of them go when a disk is full.
//!
//! Must not: be made in a store that this user does not own or may not write, or on a disk that is nearly full.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Store;
use crate::lock::make_private_dir;
use crate::table::read_limited;
use crate::temp_dir::TempDir;

/// The file of a memo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memo {
    /// What lies below the images.
    Stacks,
    /// Which steps images were made by.
    Lineages,
}

impl Memo {
    const ALL: [Self; 2] = [Self::Stacks, Self::Lineages];

    fn file(self) -> &'static str {
        match self {
            Self::Stacks => "stacks",
            Self::Lineages => "lineages",
        }
    }
}

impl Store {
    pub(super) fn memo_path(&self, memo: Memo) -> PathBuf {
        self.private_dir().join(memo.file())
    }

    /// What was kept. None if there is nothing, or more than `limit` bytes.
    pub fn memo(&self, memo: Memo, limit: u64) -> Option<Vec<u8>> {
        read_limited(&self.memo_path(memo), limit).ok()
    }

    /// Keeps it, unless the store is not this user's to write or has no room for what only saves time. That it cannot be kept is no failure
    /// of whoever made it.
    pub fn keep_memo(&self, memo: Memo, bytes: &[u8]) -> io::Result<()> {
        // Nor by root in the store of another: what it makes would be in that user's way.
        let owner = rustix::fs::stat(&self.conf.graph_root)?.st_uid;
        if owner != rustix::process::geteuid().as_raw() || self.is_read_only() || !self.has_room_to_spare() {
            return Ok(());
        }
        // A temporary directory, so that nothing stays of a process that is killed meanwhile.
        let dir = TempDir::create(&self.temp_dirs_outside_home())?;
        let file = dir.path().join("memo");
        std::fs::write(&file, bytes)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        make_private_dir(&self.private_dir())?;
        std::fs::rename(&file, self.memo_path(memo))
    }

    /// Deletes all of them. Whether there was one.
    pub(super) fn give_up_memos(&self) -> bool {
        Memo::ALL.iter().filter(|memo| std::fs::remove_file(self.memo_path(**memo)).is_ok()).count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Conf;
    use crate::id_map;

    #[test]
    fn a_memo_is_what_was_kept_last_until_room_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Conf::at(&dir.path().join("g"), &dir.path().join("r"), id_map::is_rootless())).unwrap();
        assert_eq!((store.memo(Memo::Lineages, 9), store.give_up_memos()), (None, false));
        store.keep_memo(Memo::Lineages, b"one").unwrap();
        store.keep_memo(Memo::Lineages, b"three").unwrap();
        store.keep_memo(Memo::Stacks, b"other").unwrap();
        assert_eq!(store.memo(Memo::Lineages, 5), Some(b"three".to_vec()));
        assert_eq!(store.memo(Memo::Lineages, 4), None, "longer than it may be");
        let mode = std::fs::metadata(store.memo_path(Memo::Lineages)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(store.temp_dirs_outside_home()).unwrap().count(), 0, "nothing stays beside it");
        assert!(store.give_up_memos());
        assert_eq!((store.memo(Memo::Lineages, 9), store.memo(Memo::Stacks, 9)), (None, None));
    }
}
