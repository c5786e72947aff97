//! What lists of images ask about layers, noted for the next list: `<graph root>/coracle/stacks`.
//!
//! ```text
//! coracle stacks 2
//! file <device> <inode> <length> <modified> <changed> "<path>"      each table of layers; "none" for one that is not there
//! <ID> <ID of the layer below, or -> <bytes of both and all below>  one line for each image's top layer
//! end
//! ```
//!
//! To look at thousands of layers takes longer than all the rest of a list. The note stands for the tables as long as what it says of
//! them is true: every tool replaces tables by renaming. A table that was changed in the last moments is not noted, so that a change within
//! one tick of the clock cannot go unseen. Stamps of the locks say nothing here: other tools renew them when they only read.
//!
//! Invariant: an answer is what the tables give. Deleting the note costs time only; one that is torn, damaged or another version's is none.
//! Must not: be made where it saves nothing (small stores).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use super::memo::Memo;
use super::{Error, Store};
use crate::LayerId;
use crate::layers::Stack;
use crate::lock::{Access, Rank};

/// With fewer layers the tables themselves are read as quickly.
const MANY_LAYERS: usize = 256;
/// How long a table must have been left alone before it is noted: longer than a tick of the kernel's clock, 10 ms at most.
const SETTLED: Duration = Duration::from_millis(100);
/// The same where a file system may keep whole seconds only, as ext4 does with small inodes. Longer than the coarsest one (2 s, FAT).
const SETTLED_IN_SECONDS: Duration = Duration::from_secs(3);
/// A longer note is none: 100,000 images have 14 MB.
const MAX_BYTES: u64 = 64 << 20;
const NO_PARENT: &str = "-";

impl Store {
    /// What lies below each of `tops`, as [`Layers::stacks`](crate::layers::Layers::stacks).
    pub fn stacks<'a>(&self, tops: impl Iterator<Item = &'a LayerId> + Clone) -> Result<HashMap<LayerId, Stack>, Error> {
        let lock = self.lock(Rank::Layers, Access::Shared)?;
        // Taken before the tables are read: should one of a read-only store change in between, the note is out of date when it is made.
        let state = self.state_of_layers()?;
        if let Some(noted) = self.noted_stacks(&state.text, tops.clone()) {
            return Ok(noted);
        }
        let layers = self.load_layers()?;
        drop(lock);
        let stacks = layers.stacks(tops);
        if state.is_settled && layers.count() >= MANY_LAYERS {
            // A note saves time, and is worth no failure.
            let _ = self.note_stacks(state.text, &stacks);
        }
        Ok(stacks)
    }

    fn state_of_layers(&self) -> Result<State, Error> {
        let mut state = State { text: "coracle stacks 2\n".to_owned(), is_settled: true };
        let now = SystemTime::now();
        for tables in self.tables_of_layers() {
            let _lock = tables.lock_if_additional()?;
            tables.names.iter().for_each(|name| state.add_table(&tables.dir.join(name), now));
        }
        Ok(state)
    }

    fn noted_stacks<'a>(&self, state: &str, mut tops: impl Iterator<Item = &'a LayerId>) -> Option<HashMap<LayerId, Stack>> {
        let text = String::from_utf8(self.memo(Memo::Stacks, MAX_BYTES)?).ok()?;
        let lines = text.strip_prefix(state)?.strip_suffix("end\n")?;
        let stacks: HashMap<LayerId, Stack> = lines.lines().map(read_line).collect::<Option<_>>()?;
        tops.all(|top| stacks.contains_key(top)).then_some(stacks)
    }

    fn note_stacks(&self, state: String, stacks: &HashMap<LayerId, Stack>) -> io::Result<()> {
        let mut text = state;
        for (id, stack) in stacks {
            let parent = stack.parent.as_ref().map_or(NO_PARENT, LayerId::as_str);
            let _ = writeln!(text, "{id} {parent} {}", stack.bytes);
        }
        text.push_str("end\n");
        self.keep_memo(Memo::Stacks, text.as_bytes())
    }
}

fn read_line(line: &str) -> Option<(LayerId, Stack)> {
    let (id, rest) = line.split_once(' ')?;
    let (parent, bytes) = rest.split_once(' ')?;
    let parent = if parent == NO_PARENT { None } else { Some(parent.parse().ok()?) };
    Some((id.parse().ok()?, Stack { parent, bytes: bytes.parse().ok()? }))
}

/// What the tables of layers are like now.
struct State {
    text: String,
    /// Whether no table was changed in the last moments.
    is_settled: bool,
}

impl State {
    fn add_table(&mut self, path: &Path, now: SystemTime) {
        // On a network file system only what is opened is sure to be looked at anew.
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        let Ok(stat) = opened.and_then(rustix::fs::fstat) else {
            let _ = writeln!(self.text, "file none {path:?}");
            return;
        };
        let (device, inode, length) = (stat.st_dev, stat.st_ino, stat.st_size);
        let (modified, changed) = ((stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec));
        let _ = writeln!(self.text, "file {device} {inode} {length} {modified:?} {changed:?} {path:?}");
        // Times without a fraction are a coarse clock's, and seldom a fine one's.
        let long_enough = if changed.1 == 0 { SETTLED_IN_SECONDS } else { SETTLED };
        let since_epoch = u64::try_from(changed.0).ok().zip(u32::try_from(changed.1).ok());
        let changed_at = since_epoch.map(|(seconds, nanoseconds)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds));
        // A time that is still to come is no reason to trust it.
        let age = changed_at.and_then(|at| now.duration_since(at).ok());
        self.is_settled &= age.is_some_and(|age| age >= long_enough);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Conf;
    use crate::id_map;
    use crate::lock::make_private_dir;
    use crate::table::{Durability, replace_file};

    fn id(number: usize) -> LayerId {
        format!("{number:064x}").parse().unwrap()
    }

    /// A store of `count` layers, each of `size` bytes upon the one before.
    fn store(dir: &Path, count: usize, size: i64) -> Store {
        let store = Store::open(Conf::at(&dir.join("g"), &dir.join("r"), id_map::is_rootless())).unwrap();
        make_private_dir(&store.layers_dir()).unwrap();
        replace_file(&store.layers_dir().join("layers.json"), table(count, size).as_bytes(), Durability::Volatile).unwrap();
        store
    }

    fn table(count: usize, size: i64) -> String {
        let parent = |number: usize| if number == 0 { String::new() } else { id(number - 1).to_string() };
        let record = |number| {
            let (id, parent) = (id(number), parent(number));
            format!(r#"{{"id":"{id}","parent":"{parent}","diff-digest":"sha256:{id}","diff-size":{size}}}"#)
        };
        format!("[{}]", (0..count).map(record).collect::<Vec<_>>().join(","))
    }

    /// Notes what nobody could have read from the tables.
    fn note(store: &Store, top: &LayerId) {
        let stack = Stack { parent: None, bytes: -1 };
        store.note_stacks(store.state_of_layers().unwrap().text, &HashMap::from([(top.clone(), stack)])).unwrap();
        assert_eq!(bytes(store, top), -1, "the note answers");
    }

    fn bytes(store: &Store, top: &LayerId) -> i64 {
        store.stacks([top].into_iter()).unwrap()[top].bytes
    }

    /// The clock of a file system goes on in steps.
    fn let_the_clock_go_on() {
        std::thread::sleep(Duration::from_millis(20));
    }

    #[test]
    fn a_note_answers_until_somebody_changes_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let (store, top) = (store(dir.path(), 3, 5), id(2));
        let path = store.layers_dir().join("layers.json");
        assert_eq!(store.stacks([&top].into_iter()).unwrap()[&top], Stack { parent: Some(id(1)), bytes: 15 });

        note(&store, &top);
        replace_file(&path, table(3, 6).as_bytes(), Durability::Volatile).unwrap();
        assert_eq!(bytes(&store, &top), 18, "by a file of the same length in its place");

        note(&store, &top);
        let_the_clock_go_on();
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, table(3, 7)).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(bytes(&store, &top), 21, "in the file itself, with its length and time");

        note(&store, &top);
        replace_file(&store.layers_dir().join("volatile-layers.json"), b"[]", Durability::Volatile).unwrap();
        assert_eq!(bytes(&store, &top), 21, "by another table");

        note(&store, &top);
        assert_eq!(store.stacks([&top, &id(1)].into_iter()).unwrap()[&id(1)].bytes, 14, "or when more is asked than it says");
    }

    #[test]
    fn a_damaged_note_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (store, top) = (store(dir.path(), 2, 5), id(1));
        note(&store, &top);
        let path = store.memo_path(Memo::Stacks);
        let whole = std::fs::read_to_string(&path).unwrap();
        let damaged = [
            whole.trim_end().to_owned(),
            whole[..whole.len() / 2].to_owned(),
            whole.replace(" -1\n", " \n"),
            whole.replace(" - -1\n", " ../x -1\n"),
            whole.replace("stacks 2", "stacks 1"),
            "\0".repeat(whole.len()),
            String::new(),
        ];
        for text in damaged {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(bytes(&store, &top), 10, "{text:?}");
        }
    }

    #[test]
    fn it_is_made_for_large_tables_that_were_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (store, top) = (store(dir.path(), MANY_LAYERS, 1), id(MANY_LAYERS - 1));
        assert_eq!(bytes(&store, &top), 256);
        assert!(!store.memo_path(Memo::Stacks).exists(), "the table was changed a moment ago");
        let mut state = State { text: String::new(), is_settled: true };
        let table = store.layers_dir().join("layers.json");
        state.add_table(&table, SystemTime::now() + SETTLED_IN_SECONDS + Duration::from_secs(1));
        assert!(state.is_settled);
        state.add_table(&table, SystemTime::UNIX_EPOCH);
        assert!(!state.is_settled, "by a clock that was set back");

        std::thread::sleep(SETTLED_IN_SECONDS + Duration::from_secs(1));
        assert_eq!((bytes(&store, &top), store.memo_path(Memo::Stacks).exists()), (256, true));
        assert_eq!(bytes(&store, &top), 256, "from the note");
        note(&store, &top);
        store.lock(Rank::Layers, Access::Exclusive).unwrap().stamp().unwrap();
        assert_eq!(bytes(&store, &top), -1, "a stamp alone is no change");
    }
}
