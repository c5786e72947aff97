//! A store of its own, small images, and skopeo to look at what was written.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use containers_storage::Digest;
use containers_storage::conf::Conf;
use containers_storage::id_map::is_rootless;
use containers_storage::store::Store;
use coracle::conf::{Auth, Environment, Policy, Registries};
use coracle::http::Settings;
use coracle::image::Location;
use coracle::transport::registry::Network;
use coracle::transport::{self, CopyOptions, Instances, LayerCompression, Means, Outcome, Platform, Silence};

pub struct World {
    dir: tempfile::TempDir,
    pub store: Store,
    registries: Registries,
    network: Network,
    /// The lines of the last copy.
    pub lines: Mutex<Vec<String>>,
}

/// A tar with these files, owned by whoever runs the test.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("coracle-tt").tempdir_in("/var/tmp").unwrap();
        let store = Store::open(Conf::at(&dir.path().join("g"), &dir.path().join("r"), is_rootless())).unwrap();
        let environment = Environment { rootless: true, ..Environment::default() };
        let registries = Registries::new(environment.clone(), None, None);
        let network = Network::new(environment.clone(), Auth::new(environment, None, None), Settings::default());
        Self { dir, store, registries, network, lines: Mutex::default() }
    }

    /// What the opening of a place needs, with the world's store.
    pub fn means(&self) -> Means<'_> {
        self.means_in(&self.store)
    }

    fn means_in<'m>(&'m self, store: &'m Store) -> Means<'m> {
        Means { store, temp_dir: self.dir.path(), registries: &self.registries, network: &self.network, silence: Silence::Told }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A store beside the first.
    pub fn second_store(&self) -> Store {
        Store::open(Conf::at(&self.path("g2"), &self.path("r2"), is_rootless())).unwrap()
    }

    /// `transport:` with a path below the world's directory.
    pub fn at(&self, text: &str) -> Location {
        let (transport, rest) = text.split_once(':').unwrap();
        let text = format!("{transport}:{}/{rest}", self.dir.path().display());
        Location::parse(&text).unwrap().unwrap()
    }

    pub fn options<'a>(&self, policy: &'a Policy) -> CopyOptions<'a> {
        CopyOptions {
            instances: Instances::Platform(Platform::of_this_machine()),
            format: None,
            compression: LayerCompression::default(),
            policy,
            signatures: transport::copy::Signatures::default(),
            sealing: transport::encryption::Sealing::default(),
        }
    }

    pub fn copy(&self, from: &Location, to: &Location) -> Result<Outcome, String> {
        self.copy_with(from, to, |_| {})
    }

    pub fn copy_with(
        &self,
        from: &Location,
        to: &Location,
        change: impl FnOnce(&mut CopyOptions<'_>),
    ) -> Result<Outcome, String> {
        self.copy_in(&self.store, from, to, change)
    }

    pub fn copy_in(
        &self,
        store: &Store,
        from: &Location,
        to: &Location,
        change: impl FnOnce(&mut CopyOptions<'_>),
    ) -> Result<Outcome, String> {
        self.lines.lock().unwrap().clear();
        let policy = Policy::default();
        let mut options = self.options(&policy);
        change(&mut options);
        let copied = transport::open_source(from, self.means_in(store)).and_then(|source| {
            let destination = transport::open_destination(to, self.means_in(store))?;
            transport::copy(source.as_ref(), destination, &options, &|told| self.lines.lock().unwrap().extend(told.line()))
        });
        copied.map_err(|error| {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        })
    }

    /// `oci:base` with two layers, the first gzip-compressed by somebody else.
    pub fn base(&self) -> (Location, Outcome) {
        std::fs::write(self.path("1.tar.gz"), gzip(&tar_of(&[("etc/one", b"one\n"), ("bin/sh", &[7; 70_000])]))).unwrap();
        std::fs::write(self.path("2.tar"), tar_of(&[("etc/two", b"two\n"), ("etc/.wh.one", b"")])).unwrap();
        let dir = self.dir.path().display();
        let tarball = Location::parse(&format!("tarball:{dir}/1.tar.gz:{dir}/2.tar")).unwrap().unwrap();
        let base = self.at("oci:base:a/base:1");
        let outcome = self.copy(&tarball, &base).unwrap();
        (base, outcome)
    }

    pub fn manifest(&self, location: &Location) -> Vec<u8> {
        transport::open_source(location, self.means()).unwrap().manifest(None).unwrap().bytes
    }

    pub fn digest(&self, location: &Location) -> Digest {
        Digest::of(&self.manifest(location))
    }

    /// Runs skopeo and gives back what it printed.
    pub fn skopeo(&self, words: &[&str]) -> Vec<u8> {
        let words: Vec<String> =
            words.iter().map(|word| word.replace("%/", &format!("{}/", self.dir.path().display()))).collect();
        let output = Command::new("skopeo").arg("--insecure-policy").args(&words).output().unwrap();
        assert!(output.status.success(), "skopeo {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Everything below the world's directory, but for the stores' own housekeeping: to see that nothing was left behind.
    pub fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut pending = vec![self.path(below)];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(self.dir.path()).unwrap().display().to_string());
                if path.is_dir() && !path.is_symlink() {
                    pending.push(path);
                }
            }
        }
        found.sort();
        found
    }
}
