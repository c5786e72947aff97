//! The records of one kind: those of the stable file, of the volatile one, and of read-only stores, looked up as one list.
//!
//! Invariant: of records with the same ID the first counts, in the order in which the files were given (format, section 3.1).

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cache::Cache;
use super::{Durability, PendingFile, Table};
use crate::store::Error;

/// Whose file a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `layers.json`, `images.json`, `containers.json`.
    Stable,
    /// `volatile-*.json`.
    Volatile,
    /// The file of the root that has the other kind of things, where images lie apart from containers (format, section 2.5): the image
    /// store's `layers.json`, the graph root's `images.json`.
    Apart,
    /// A file of an additional, read-only store.
    Additional,
    /// `volatile-containers.json` of the mode, transient or not, that the store is not used in: under another lock. Its containers keep
    /// what they use; they are not listed and not changed.
    Elsewhere,
}

impl Origin {
    fn is_fixed(self) -> bool {
        matches!(self, Self::Additional | Self::Elsewhere)
    }
}

/// Where a record is: index of its file, index in that file.
pub type Place = (usize, usize);

/// Several tables of one kind of record.
#[derive(Debug, Default)]
pub struct Records {
    sources: Vec<Source>,
    /// Where tables are kept once they are saved.
    cache: Option<Arc<Cache>>,
}

#[derive(Debug)]
struct Source {
    table: Table,
    origin: Origin,
    changed: bool,
}

impl Records {
    /// No records; what is saved of those that are added is kept in `cache` for the next look.
    pub(crate) fn kept_in(cache: &Arc<Cache>) -> Self {
        Self { sources: Vec::new(), cache: Some(Arc::clone(cache)) }
    }

    /// Appends the records of a file behind those that are there.
    pub fn add(&mut self, table: Table, origin: Origin) {
        self.sources.push(Source { table, origin, changed: false });
    }

    /// The place of every record, but for those elsewhere. A repeated ID is left out.
    pub fn places(&self) -> Vec<Place> {
        let several = self.have_several_files();
        let mut seen = std::collections::HashSet::new();
        let mut places = Vec::new();
        for (source, table) in self.sources.iter().enumerate().filter(|(_, source)| source.origin != Origin::Elsewhere) {
            for index in 0..table.table.len() {
                if !several || seen.insert(table.table.id(index)) {
                    places.push((source, index));
                }
            }
        }
        places
    }

    fn have_several_files(&self) -> bool {
        self.sources.iter().filter(|source| !source.table.is_empty()).count() > 1
    }

    /// The places of the records that mention `needle`, as `Table::mentioning` finds them. A repeated ID is left out.
    pub fn mentioning(&self, needle: &str) -> Vec<Place> {
        let several = self.have_several_files();
        let mut places = Vec::new();
        for (source, table) in self.sources.iter().enumerate() {
            places.extend(table.table.mentioning(needle).into_iter().map(|index| (source, index)));
        }
        places.retain(|place| !several || self.find(self.id(*place)) == Some(*place));
        places
    }

    /// The place of the record with this ID.
    pub fn find(&self, id: &str) -> Option<Place> {
        self.sources.iter().enumerate().find_map(|(source, table)| Some((source, table.table.find(id)?)))
    }

    /// The ID of a record.
    pub fn id(&self, place: Place) -> &str {
        self.sources.get(place.0).and_then(|source| source.table.id(place.1)).unwrap_or_default()
    }

    /// One member of a record, parsed; `None` if it is absent or of another type.
    pub fn member<'a, T: serde::Deserialize<'a>>(&'a self, place: Place, name: &str) -> Option<T> {
        self.sources.get(place.0)?.table.member(place.1, name)
    }

    /// The members of a record, unparsed, in its order; ends at the first error.
    pub fn members(&self, place: Place) -> impl Iterator<Item = (&str, &str)> {
        super::scan::members(self.raw(place)).map_while(Result::ok)
    }

    /// A record as JSON text.
    pub fn raw(&self, place: Place) -> &str {
        self.sources.get(place.0).map_or("", |source| source.table.raw(place.1))
    }

    /// Whose record it is.
    pub fn origin(&self, place: Place) -> Origin {
        self.sources.get(place.0).map_or(Origin::Stable, |source| source.origin)
    }

    /// A record, parsed.
    pub fn parse<T: DeserializeOwned>(&self, place: Place) -> Result<T, Error> {
        match self.sources.get(place.0) {
            Some(source) => source.table.parse(place.1),
            None => Err(Error::Corrupt { path: std::path::PathBuf::new(), offset: 0, problem: "no such record".into() }),
        }
    }

    /// The record whose ID starts with `prefix`; more than one is `Error::Ambiguous`. Something that is no prefix of an ID has none.
    pub fn by_prefix(&self, prefix: &str) -> Result<Option<Place>, Error> {
        if prefix.is_empty() || prefix.len() > 64 || !crate::digest::is_lower_hex(prefix) {
            return Ok(None);
        }
        let found: Vec<Place> = self.places().into_iter().filter(|place| self.id(*place).starts_with(prefix)).collect();
        match found.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(*only)),
            several => Err(Error::Ambiguous {
                text: prefix.to_owned(),
                candidates: several.iter().map(|place| self.id(*place).to_owned()).collect(),
            }),
        }
    }

    /// Appends a record to the first file of this origin.
    pub fn push<T: Serialize>(&mut self, origin: Origin, record: &T) -> Result<(), Error> {
        let chosen = self.sources.iter_mut().find(|source| source.origin == origin);
        if let Some(source) = chosen {
            source.table.push(record)?;
            source.changed = true;
        }
        Ok(())
    }

    /// Changes a record in the file where it is.
    pub fn update<T: Serialize + DeserializeOwned>(&mut self, place: Place, edit: impl FnOnce(&mut T)) -> Result<T, Error> {
        match self.sources.get_mut(place.0) {
            Some(source) => {
                source.changed = true;
                source.table.update(place.1, edit)
            }
            None => Err(Error::Corrupt { path: std::path::PathBuf::new(), offset: 0, problem: "no such record".into() }),
        }
    }

    /// Takes a record out, and every later one with its ID. Places found before are not valid any more.
    pub fn remove(&mut self, id: &str) {
        for source in &mut self.sources {
            if source.origin.is_fixed() {
                continue;
            }
            while let Some(index) = source.table.find(id) {
                source.table.remove(index);
                source.changed = true;
            }
        }
    }

    /// Whether something waits for a save.
    pub fn is_changed(&self) -> bool {
        self.sources.iter().any(|source| source.changed)
    }

    /// Writes every file that has changed beside the old one. The caller holds the exclusive lock and has stamped it.
    pub(crate) fn prepare(&mut self) -> Result<Prepared, Error> {
        let mut prepared = Prepared::default();
        for source in self.sources.iter_mut().filter(|source| source.changed) {
            let durability = if source.origin == Origin::Volatile { Durability::Volatile } else { Durability::Synced };
            let kept = self.cache.as_ref().map(|cache| (Arc::clone(cache), source.table.clone()));
            prepared.files.push(PreparedFile { file: source.table.write()?, durability, kept });
            source.changed = false;
        }
        Ok(prepared)
    }
}

/// Files that are written, and get their names when they are committed. Dropped, they are deleted and nothing has changed.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Prepared {
    files: Vec<PreparedFile>,
}

#[derive(Debug)]
struct PreparedFile {
    file: PendingFile,
    durability: Durability,
    /// The table that the file holds, and who wants it then.
    kept: Option<(Arc<Cache>, Table)>,
}

impl Prepared {
    /// A file that is to be on the disk before it gets its name.
    pub fn push(&mut self, file: PendingFile) {
        self.files.push(PreparedFile { file, durability: Durability::Synced, kept: None });
    }

    /// Those of `next` as well, after these.
    pub fn append(&mut self, next: Self) {
        self.files.extend(next.files);
    }

    /// Begins to bring all of it to the disk.
    pub fn start_sync(&self) {
        self.to_be_synced().for_each(PendingFile::start_sync);
    }

    /// Waits until all of it is on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        if self.to_be_synced().nth(1).is_some() {
            self.start_sync();
        }
        self.to_be_synced().try_for_each(PendingFile::sync)
    }

    fn to_be_synced(&self) -> impl Iterator<Item = &PendingFile> {
        self.files.iter().filter(|prepared| prepared.durability == Durability::Synced).map(|prepared| &prepared.file)
    }

    /// Syncs and commits.
    pub fn finish(self) -> Result<(), Error> {
        self.sync()?;
        self.commit()
    }

    /// Gives the files their names, in order.
    pub fn commit(self) -> Result<(), Error> {
        for prepared in self.files {
            prepared.file.commit()?;
            if let Some((cache, table)) = prepared.kept {
                cache.keep(table);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(stable: &str, volatile: &str) -> Records {
        let mut records = Records::default();
        for (text, origin) in [(stable, Origin::Stable), (volatile, Origin::Volatile)] {
            let table = Table::from_bytes(std::path::Path::new("/t"), text.as_bytes().to_vec()).unwrap();
            records.add(table, origin);
        }
        records
    }

    #[test]
    fn the_stable_file_wins_over_the_volatile_one() {
        let r = records(r#"[{"id":"aa","v":1}]"#, r#"[{"id":"aa","v":2},{"id":"ab","v":3}]"#);
        let values: Vec<Option<i64>> = r.places().into_iter().map(|place| r.member(place, "v")).collect();
        assert_eq!(values, [Some(1), Some(3)]);
        assert_eq!(r.find("aa"), Some((0, 0)));
        assert_eq!(r.find("ab"), Some((1, 1)));
        assert_eq!(r.mentioning("\"v\""), [(0, 0), (1, 1)]);
    }

    #[test]
    fn prefixes_are_unique_or_refused() {
        let r = records(r#"[{"id":"aa1"},{"id":"ab2"}]"#, r#"[{"id":"aa1"}]"#);
        assert_eq!(r.by_prefix("aa").unwrap(), Some((0, 0)));
        assert_eq!(r.by_prefix("b").unwrap(), None);
        assert_eq!(r.by_prefix("").unwrap(), None);
        assert_eq!(r.by_prefix("A").unwrap(), None);
        match r.by_prefix("a") {
            Err(Error::Ambiguous { candidates, .. }) => assert_eq!(candidates, ["aa1", "ab2"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn removing_takes_the_repeated_record_too() {
        let mut r = records(r#"[{"id":"aa"},{"id":"ab"}]"#, r#"[{"id":"aa"}]"#);
        r.remove("aa");
        assert_eq!(r.places(), [(0, 0)]);
        assert_eq!(r.id((0, 0)), "ab");
    }
}
