//! Which image a step left: an index from everything that a step depends on to the image of an earlier build.
//!
//! ```text
//! <graph root>/coracle/steps/keys/<digest of all inputs>      the image's ID
//! <graph root>/coracle/steps/last/<parent and words>          each input of the last time, to say which one differs
//! <graph root>/coracle/steps/files                            digests of files by what stat(2) says of them
//! ```
//!
//! Invariant: an entry is only an opinion. The image must be there, and an image's ID is a digest of its content; whatever else is wrong
//! with an entry costs a step that is taken again. Deleting the directory costs time only.

mod files;

use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use containers_storage::store::{self, Store};
use containers_storage::{Digest, ImageId};
use jiff::Timestamp;

pub(super) use self::files::FileDigests;
use super::event::Missed;
use super::options::Reuse;
use crate::container::find_image::Found;
use crate::container::pull::Obtained;

/// Changes whenever steps have other results for the same inputs.
const VERSION: &str = "coracle steps 1";
/// More than any list of inputs is long.
const LONGEST: u64 = 8 << 20;

/// What the result of a step depends on, each with a name for people.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    text: String,
    /// Where the step stands: which one it is, whatever it depends on.
    place: Digest,
    all: Vec<(String, Digest)>,
    /// What nobody can say whether it has changed.
    distrusted: Option<String>,
}

impl Inputs {
    /// Those of the step that is written `text`, on an image.
    pub(super) fn of_step(parent: Option<&ImageId>, text: &str) -> Self {
        let mut inputs = Self { text: text.to_owned(), place: Digest::of(b""), all: Vec::new(), distrusted: None };
        inputs.add("the version of the cache", VERSION.as_bytes());
        inputs.add("the instruction as written", text.as_bytes());
        inputs.set_parent(parent);
        inputs
    }

    /// Says on which image the step is taken, where that is known after all the rest.
    pub(super) fn set_parent(&mut self, parent: Option<&ImageId>) {
        const NAME: &str = "the image below";
        let parent = parent.map_or("scratch", |parent| parent.as_str());
        self.place = Digest::of(format!("{parent}\n{}", self.text).as_bytes());
        self.all.retain(|(name, _)| name != NAME);
        self.all.insert(1.min(self.all.len()), (NAME.to_owned(), Digest::of(parent.as_bytes())));
    }

    /// Adds one.
    pub(super) fn add(&mut self, name: impl Into<String>, value: &[u8]) {
        self.all.push((name.into().replace(['\n', '\t'], " "), Digest::of(value)));
    }

    /// Adds one that may change without a sign, so that no image can be found for the step.
    pub(super) fn distrust(&mut self, name: String) {
        self.distrusted.get_or_insert(name);
    }

    fn listed(&self) -> String {
        self.all.iter().map(|(name, digest)| format!("{}\t{name}\n", digest.hex())).collect()
    }

    fn key(&self) -> Digest {
        Digest::of(self.listed().as_bytes())
    }
}

/// The index of a store.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    files: RefCell<FileDigests>,
}

impl Cache {
    /// That of `store`. Nothing is opened yet.
    pub(super) fn of(store: &Store) -> Self {
        let directory = store.conf().graph_root.join("coracle/steps");
        let files = RefCell::new(FileDigests::new(directory.join("files")));
        Self { directory, files }
    }

    /// Digests of files.
    pub(super) fn files(&self) -> &RefCell<FileDigests> {
        &self.files
    }

    fn key_path(&self, key: &Digest) -> PathBuf {
        self.directory.join("keys").join(key.hex())
    }

    fn last_path(&self, place: &Digest) -> PathBuf {
        self.directory.join("last").join(place.hex())
    }

    /// The image that a step with these inputs left, or why there is none.
    pub(super) fn find(&self, store: &Store, inputs: &Inputs, reuse: Reuse) -> Result<Result<Obtained, Missed>, store::Error> {
        if let Some(input) = &inputs.distrusted {
            return Ok(Err(Missed::Changed { input: input.clone() }));
        }
        let path = self.key_path(&inputs.key());
        let Some(id) = read(&path).and_then(|text| text.trim().parse::<ImageId>().ok()) else {
            return Ok(Err(self.reason(inputs)));
        };
        let image = match store.images()?.get(&id) {
            Ok(image) => image,
            Err(_) => {
                // Nobody needs the entry any more; should it stay, that does no harm.
                let _ = fs::remove_file(path);
                return Ok(Err(Missed::ImageGone));
            }
        };
        if let Reuse::Younger(nanoseconds) = reuse {
            let age = age_of(&image.created);
            if age.is_none_or(|age| age > i128::from(nanoseconds)) {
                return Ok(Err(Missed::TooOld));
            }
        }
        Ok(Ok(Obtained { found: Found { id, name: None, image }, transport: None, warnings: Vec::new() }))
    }

    fn reason(&self, inputs: &Inputs) -> Missed {
        let Some(last) = read(&self.last_path(&inputs.place)) else { return Missed::New };
        let last: Vec<(&str, &str)> = last.lines().filter_map(|line| line.split_once('\t')).collect();
        let is_new = |(name, digest): &&(String, Digest)| !last.contains(&(digest.hex(), name));
        match inputs.all.iter().find(is_new) {
            Some((name, _)) => Missed::Changed { input: name.clone() },
            // All that it depends on was there the last time, and something more.
            None => {
                let is_gone = |(_, name): &&(&str, &str)| !inputs.all.iter().any(|(known, _)| known == name);
                let gone = last.iter().find(is_gone);
                gone.map_or(Missed::New, |(_, name)| Missed::Changed { input: (*name).to_owned() })
            }
        }
    }

    /// Notes the image of a step. What cannot be written is found by nobody, which costs time only.
    pub(super) fn put(&self, inputs: &Inputs, image: &ImageId) {
        let noted = replace(&self.last_path(&inputs.place), inputs.listed().as_bytes());
        let noted = noted.and_then(|()| match inputs.distrusted {
            Some(_) => Ok(()),
            None => replace(&self.key_path(&inputs.key()), format!("{image}\n").as_bytes()),
        });
        if let Err(error) = noted {
            log::debug!("the step is not noted in {:?}: {error}", self.directory);
        }
    }
}

fn age_of(created: &str) -> Option<i128> {
    let created: Timestamp = created.parse().ok()?;
    Some(Timestamp::now().as_nanosecond() - created.as_nanosecond())
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes a file whole: who reads it finds the old content or the new one.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let temporary = directory.join(format!(".{}-{:08x}", std::process::id(), getrandom::u32().unwrap_or_default()));
    let create = || fs::OpenOptions::new().write(true).create_new(true).open(&temporary);
    let file = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            containers_storage::lock::make_private_dir(directory)?;
            create()
        }
        other => other,
    };
    let written = file.and_then(|mut file| file.write_all(content)).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(directory: &Path) -> Cache {
        let files = RefCell::new(FileDigests::new(directory.join("files")));
        Cache { directory: directory.to_path_buf(), files }
    }

    fn inputs(values: &[(&str, &str)]) -> Inputs {
        let mut inputs = Inputs::of_step(None, "RUN x");
        values.iter().for_each(|(name, value)| inputs.add(*name, value.as_bytes()));
        inputs
    }

    #[test]
    fn the_input_that_differs_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let image: ImageId = "ab".repeat(32).parse().unwrap();
        assert_eq!(cache.reason(&inputs(&[("a", "1")])), Missed::New);
        cache.put(&inputs(&[("a", "1"), ("b", "2")]), &image);
        let changed = |input: &str| Missed::Changed { input: input.to_owned() };
        assert_eq!(cache.reason(&inputs(&[("a", "1"), ("b", "3")])), changed("b"));
        assert_eq!(cache.reason(&inputs(&[("a", "0"), ("b", "3")])), changed("a"));
        assert_eq!(cache.reason(&inputs(&[("a", "1"), ("b", "2"), ("c", "")])), changed("c"));
        assert_eq!(cache.reason(&inputs(&[("a", "1")])), changed("b"));
    }

    #[test]
    fn names_and_values_are_not_mixed_up() {
        let keys: Vec<Digest> = [
            inputs(&[("a", "1"), ("b", "2")]),
            inputs(&[("b", "2"), ("a", "1")]),
            inputs(&[("a", "12")]),
            inputs(&[("a", "1\tb")]),
            inputs(&[("a\n", "1")]),
            inputs(&[]),
        ]
        .iter()
        .map(Inputs::key)
        .collect();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(at));
        }
    }
}
