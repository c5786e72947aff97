//! Which image a step left: an index from everything that a step depends on to the image of an earlier build.
//!
//! ```text
//! <graph root>/coracle/steps/keys/<digest of all inputs>      the image's ID, and what the image is to the next step (`identity`)
//! <graph root>/coracle/steps/last/<parent and words>          each input of the last times, to say which one differs
//! <graph root>/coracle/steps/trees/<image and what is copied>  the digest of that: an image does not change
//! <graph root>/coracle/steps/signed/<image, name and key>     nothing: a build has signed the image so
//! <graph root>/coracle/steps/files                            digests of files by what stat(2) says of them
//! ```
//!
//! Invariant: an entry is only an opinion. The image must be there, and an image's ID is a digest of its content; whatever else is wrong
//! with an entry costs a step that is taken again. Deleting the directory costs time only.

mod files;
pub(super) mod identity;
pub mod place;
mod remote;
pub mod tidy;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use containers_storage::store::{self, Store};
use containers_storage::{Digest, ImageId};
use jiff::Timestamp;

pub(super) use self::files::FileDigests;
use super::event::Missed;
use super::options::Reuse;
use crate::container::add::Selection;
use crate::container::find_image::Found;
use crate::container::pull::Obtained;

/// Changes whenever steps have other results for the same inputs.
const VERSION: &str = "coracle steps 3";
/// More than any list of inputs is long.
const LONGEST: u64 = 8 << 20;

/// What stands between two lists of inputs.
const BETWEEN: &str = "\n\n";
/// How many lists of a step are remembered.
const REMEMBERED: usize = 4;

/// What the result of a step depends on, each with a name for people.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    text: String,
    /// Where the step stands: which one it is, whatever it depends on.
    place: Digest,
    all: Vec<(String, Digest)>,
    /// What nobody can say whether it has changed.
    distrusted: Option<String>,
    /// Whether there are files among them that may change while the step is taken.
    has_files: bool,
}

impl Inputs {
    /// Those of the step that is written `text`, on an image of that identity.
    pub(super) fn of_step(below: &Digest, text: &str) -> Self {
        let mut inputs =
            Self { text: text.to_owned(), place: Digest::of(b""), all: Vec::new(), distrusted: None, has_files: false };
        inputs.add("the version of the cache", VERSION.as_bytes());
        inputs.add("the instruction as written", text.as_bytes());
        inputs.set_below(below);
        inputs
    }

    /// Says on which image the step is taken, where that is known after all the rest.
    pub(super) fn set_below(&mut self, below: &Digest) {
        const NAME: &str = "the image below";
        self.place = Digest::of(format!("{below}\n{}", self.text).as_bytes());
        self.all.retain(|(name, _)| name != NAME);
        self.all.insert(1.min(self.all.len()), (NAME.to_owned(), Digest::of(below.as_str().as_bytes())));
    }

    /// Adds one.
    pub(super) fn add(&mut self, name: impl Into<String>, value: &[u8]) {
        self.all.push((name.into().replace(['\n', '\t'], " "), Digest::of(value)));
    }

    /// Adds files of a context.
    pub(super) fn add_files(&mut self, name: impl Into<String>, digest: &Digest) {
        self.add(name, digest.hex().as_bytes());
        self.has_files = true;
    }

    /// Whether it is worth asking again after the step.
    pub(super) fn has_files(&self) -> bool {
        self.has_files
    }

    /// Adds one that may change without a sign, so that no image can be found for the step.
    pub(super) fn distrust(&mut self, name: String) {
        self.distrusted.get_or_insert(name);
    }

    fn listed(&self) -> String {
        self.all.iter().map(|(name, digest)| format!("{}\t{name}\n", digest.hex())).collect()
    }

    /// The digest of all of them: the same on every machine. None where an image cannot be found by it.
    pub(super) fn key(&self) -> Option<Digest> {
        self.distrusted.is_none().then(|| Digest::of(self.listed().as_bytes()))
    }
}

/// The image of an earlier build.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) image: Obtained,
    /// What it is to the next step, unless that has to be read from it.
    pub(super) identity: Option<Digest>,
}

impl Known {
    /// One of which nothing more was noted.
    pub(super) fn of(image: Obtained) -> Self {
        Self { image, identity: None }
    }
}

/// What an entry says: two lines, of older builds one.
fn parse_entry(text: &str) -> Option<(ImageId, Option<Digest>)> {
    let mut lines = text.lines();
    let image = lines.next()?.trim().parse().ok()?;
    Some((image, lines.next().and_then(|line| line.trim().parse().ok())))
}

fn directory(store: &Store) -> PathBuf {
    store.conf().graph_root.join("coracle/steps")
}

/// The index of a store.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    files: RefCell<FileDigests>,
    failed: remote::Failed,
}

impl Cache {
    /// That of `store`. Nothing is opened yet.
    pub(super) fn of(store: &Store) -> Self {
        let directory = directory(store);
        let files = RefCell::new(FileDigests::new(directory.join("files")));
        Self { directory, files, failed: remote::Failed::default() }
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
    pub(super) fn find(&self, store: &Store, inputs: &Inputs, reuse: Reuse) -> Result<Result<Known, Missed>, store::Error> {
        let Some(key) = inputs.key() else {
            return Ok(Err(Missed::Changed { input: inputs.distrusted.clone().unwrap_or_default() }));
        };
        let path = self.key_path(&key);
        let Some((id, identity)) = read(&path).and_then(|text| parse_entry(&text)) else {
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
        let image = Obtained { found: Found { id, name: None, image }, transport: None, warnings: Vec::new() };
        Ok(Ok(Known { image, identity }))
    }

    fn reason(&self, inputs: &Inputs) -> Missed {
        let Some(text) = read(&self.last_path(&inputs.place)) else { return Missed::New };
        let differing = |listed: &str| {
            let last: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
            let is_new = |(name, digest): &&(String, Digest)| !last.contains(&(digest.hex(), name));
            let is_gone = |(_, name): &&(&str, &str)| !inputs.all.iter().any(|(known, _)| known == name);
            let new = inputs.all.iter().filter(is_new).map(|(name, _)| name.clone());
            // All that it depends on may have been there then, and something more.
            new.chain(last.iter().filter(is_gone).map(|(_, name)| (*name).to_owned())).collect::<Vec<String>>()
        };
        // The time that is most like this one tells best what is another now.
        match text.split(BETWEEN).map(differing).min_by_key(Vec::len) {
            Some(names) => names.into_iter().next().map_or(Missed::ImageGone, |input| Missed::Changed { input }),
            None => Missed::New,
        }
    }

    /// What the step depended on the last few times, this one first.
    fn listings(&self, inputs: &Inputs) -> String {
        let path = self.last_path(&inputs.place);
        let (new, old) = (inputs.listed(), read(&path).unwrap_or_default());
        let new = new.trim_end();
        let kept = old.split(BETWEEN).map(str::trim_end).filter(|listed| !listed.is_empty() && *listed != new);
        std::iter::once(new).chain(kept.take(REMEMBERED - 1)).collect::<Vec<_>>().join(BETWEEN)
    }

    fn tree_path(&self, image: &ImageId, sources: &[OsString], selection: &Selection) -> PathBuf {
        let name = Digest::of(format!("{VERSION}\n{image}\n{sources:?}\n{selection:?}").as_bytes());
        self.directory.join("trees").join(name.hex())
    }

    /// The digest of what a copy of an image's files brings, if it was noted.
    pub(super) fn tree(&self, image: &ImageId, sources: &[OsString], selection: &Selection) -> Option<Digest> {
        read(&self.tree_path(image, sources, selection))?.trim().parse().ok()
    }

    /// Notes it.
    pub(super) fn put_tree(&self, image: &ImageId, (sources, selection): (&[OsString], &Selection), digest: &Digest) {
        if let Err(error) = replace(&self.tree_path(image, sources, selection), format!("{digest}\n").as_bytes()) {
            log::debug!("the files of {image} are not noted in {:?}: {error}", self.directory);
        }
    }

    fn signed_path(&self, image: &ImageId, name: &str, key: &str) -> PathBuf {
        self.directory.join("signed").join(Digest::of(format!("{image}\n{name}\n{key}").as_bytes()).hex())
    }

    /// Whether a build has signed the image so.
    pub(super) fn is_signed(&self, image: &ImageId, name: &str, key: &str) -> bool {
        self.signed_path(image, name, key).exists()
    }

    /// Notes that a build has signed the image so: each signature more makes the image larger, and says nothing new.
    pub(super) fn note_signed(&self, image: &ImageId, name: &str, key: &str) {
        if let Err(error) = replace(&self.signed_path(image, name, key), b"") {
            log::debug!("the signature is not noted in {:?}: {error}", self.directory);
        }
    }

    /// Notes the image of a step, and what it is to the next one. What cannot be written is found by nobody, which costs time only.
    pub(super) fn put(&self, inputs: &Inputs, image: &ImageId, identity: Option<&Digest>) {
        let noted = replace(&self.last_path(&inputs.place), self.listings(inputs).as_bytes());
        let noted = noted.and_then(|()| match inputs.key() {
            None => Ok(()),
            Some(key) => {
                let identity = identity.map(|identity| format!("{identity}\n")).unwrap_or_default();
                replace(&self.key_path(&key), format!("{image}\n{identity}").as_bytes())
            }
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
        Cache { directory: directory.to_path_buf(), files, failed: remote::Failed::default() }
    }

    fn inputs(values: &[(&str, &str)]) -> Inputs {
        let mut inputs = Inputs::of_step(&Digest::of(b"base"), "RUN x");
        values.iter().for_each(|(name, value)| inputs.add(*name, value.as_bytes()));
        inputs
    }

    #[test]
    fn the_input_that_differs_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let image: ImageId = "ab".repeat(32).parse().unwrap();
        assert_eq!(cache.reason(&inputs(&[("a", "1")])), Missed::New);
        cache.put(&inputs(&[("a", "1"), ("b", "2")]), &image, None);
        let changed = |input: &str| Missed::Changed { input: input.to_owned() };
        assert_eq!(cache.reason(&inputs(&[("a", "1"), ("b", "3")])), changed("b"));
        assert_eq!(cache.reason(&inputs(&[("a", "0"), ("b", "3")])), changed("a"));
        assert_eq!(cache.reason(&inputs(&[("a", "1"), ("b", "2"), ("c", "")])), changed("c"));
        assert_eq!(cache.reason(&inputs(&[("a", "1")])), changed("b"));
        // Of several times the one that is most like this one.
        cache.put(&inputs(&[("a", "2"), ("b", "9")]), &image, None);
        assert_eq!(cache.reason(&inputs(&[("a", "1"), ("b", "3")])), changed("b"));
        assert_eq!(cache.reason(&inputs(&[("a", "2"), ("b", "3")])), changed("b"));
        assert_eq!(cache.reason(&inputs(&[("a", "3"), ("b", "9")])), changed("a"));
    }

    #[test]
    fn an_entry_of_an_older_build_says_the_image_alone() {
        let (image, identity) = ("ab".repeat(32), Digest::of(b"x"));
        let known: ImageId = image.parse().unwrap();
        assert_eq!(parse_entry(&format!("{image}\n")), Some((known.clone(), None)));
        assert_eq!(parse_entry(&format!("{image}\n{identity}\n")), Some((known.clone(), Some(identity))));
        assert_eq!(parse_entry(&format!("{image}\nsha256:torn")), Some((known, None)));
        assert_eq!(parse_entry(""), None);
    }

    #[test]
    fn names_and_values_are_not_mixed_up() {
        let keys: Vec<Option<Digest>> = [
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
