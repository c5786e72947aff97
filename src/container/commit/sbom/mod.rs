//! Lists of an image's contents (`--sbom`): scanners look at a working container, and what they write becomes files of the image and of
//! the host.
//!
//! ```text
//! container ─ /.rootfs, read only ─┐
//! contexts  ─ /.context0 …        ─┼▶ command in a container of the scanner's image ─ /.scans/scan0.json ─▶ merge ─▶ list, purls
//! ```
//!
//! `preset` has the scanners with names, `merge` makes one list of several (pure).
//!
//! Invariants: what is scanned is only read. A scanner's container is removed, whether it succeeded or not; nothing that it writes is
//! followed out of the directory for it, and no more than [`MAX_LIST_BYTES`] of it are read. Its standard output is no output of ours.

mod merge;
mod preset;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containers_storage::Root;
use containers_storage::store::Store;

pub use self::merge::{Error as MergeError, MergeStrategy, Merged, UnknownStrategy};
use crate::conf::ContainersConf;
use crate::container::pull::Fetch;
use crate::container::run::{Named, TerminalChoice, Tree};
use crate::container::state::StagedTree;
use crate::container::{WorkingContainer, from, remove, run, state};
use crate::image::setting;
use crate::run::mount_args::MountRequest;
use crate::run::streams::{Input, Output, Streams};

/// The longest list that a scanner may write: 64 MiB.
pub const MAX_LIST_BYTES: u64 = 64 << 20;

/// What scans, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanner {
    /// The image with the scanner.
    pub image: String,
    /// Commands in it. `{ROOTFS}` and `{CONTEXT}` stand for what is to be scanned, `{OUTPUT}` for the file to write.
    pub commands: Vec<String>,
    /// How the lists of several scans become one.
    pub merge: MergeStrategy,
}

/// Where the list goes, and its package URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// `--sbom-output`: a file of the host.
    pub host: Option<PathBuf>,
    /// `--sbom-purl-output`
    pub host_purls: Option<PathBuf>,
    /// `--sbom-image-output`: a path in the image.
    pub image: Option<PathBuf>,
    /// `--sbom-image-purl-output`
    pub image_purls: Option<PathBuf>,
}

/// A scan.
#[derive(Debug, Clone)]
pub struct Scan {
    /// What scans.
    pub scanner: Scanner,
    /// Where the result goes.
    pub outputs: Outputs,
    /// Build contexts that are scanned besides.
    pub contexts: Vec<PathBuf>,
}

/// What a scan needs of the caller.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// How the scanner's image is obtained.
    pub fetch: &'a Fetch<'a>,
    /// containers.conf
    pub conf: &'a ContainersConf,
    /// How commands are run; what they are and what they see is filled in.
    pub run: &'a run::Options,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container that is scanned cannot be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// No container of the scanner's image.
    #[error("creating temporary working container to run scanner")]
    From(#[source] Box<from::Error>),
    /// A command could not be run.
    #[error("running scanning command {command:?}")]
    Run {
        /// The command.
        command: Vec<String>,
        /// What failed.
        source: Box<run::Error>,
    },
    /// It failed.
    #[error("running scanning command {command:?}: exit status {status}")]
    Failed {
        /// The command.
        command: Vec<String>,
        /// Its exit status.
        status: u8,
    },
    /// A path that cannot be mounted.
    #[error("{0}")]
    Mount(String),
    /// No command looks at anything.
    #[error("no scanner command mentions {{ROOTFS}}, or {{CONTEXT}} where there is one")]
    NothingScanned,
    /// A command wrote no list.
    #[error("reading what {command:?} wrote")]
    NoList {
        /// The command.
        command: Vec<String>,
        /// Why not.
        source: std::io::Error,
    },
    /// The lists cannot be merged.
    #[error("merging lists of contents")]
    Merge(#[from] MergeError),
    /// A file cannot be written.
    #[error("writing {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
}

/// What was found, until it is at its places.
#[derive(Debug)]
pub struct Scanned {
    /// Files for the image: source, path in it (`Options::add_files`). They are there as long as this value is.
    pub add_files: Vec<(PathBuf, PathBuf)>,
    host_files: Vec<(PathBuf, Vec<u8>)>,
    _directory: StagedTree,
}

impl Scanned {
    /// Writes the files of the host.
    pub fn write_host_files(&self) -> Result<(), Error> {
        for (path, bytes) in &self.host_files {
            write(path, bytes)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Has the container `name` scanned. `note` is given lines for the person.
pub fn scan(store: &Store, name: &str, scan: &Scan, means: Means<'_>, note: &mut dyn FnMut(String)) -> Result<Scanned, Error> {
    let container = WorkingContainer::open(store, name)?;
    let directory = StagedTree::create(store, name)?;
    let scans = directory.path().join("scans");
    // Whoever the scanner is inside, it may write there; who is outside does not get so far.
    let made = fs::create_dir(&scans).and_then(|()| fs::set_permissions(&scans, fs::Permissions::from_mode(0o777)));
    made.map_err(|source| Error::Write { path: scans.clone(), source })?;
    let scanner = TemporaryContainer::create(store, &container, &scan.scanner.image, means, note)?;
    let merged =
        scanner.lists(&container, scan, &scans, means, note).and_then(|lists| Ok(merge::merge(scan.scanner.merge, &lists)?));
    drop(scanner);
    let Merged { list, purls } = merged?;

    let (mut add_files, mut host_files) = (Vec::new(), Vec::new());
    let outputs = &scan.outputs;
    for (file, bytes, image, host) in
        [("list", list, &outputs.image, &outputs.host), ("purls", purls, &outputs.image_purls, &outputs.host_purls)]
    {
        if let Some(path) = image {
            let source = directory.path().join(file);
            write(&source, &bytes)?;
            add_files.push((source, path.clone()));
        }
        if let Some(path) = host {
            host_files.push((path.clone(), bytes));
        }
    }
    Ok(Scanned { add_files, host_files, _directory: directory })
}

/// A container that is there for one scan.
struct TemporaryContainer<'s> {
    store: &'s Store,
    id: String,
}

impl<'s> TemporaryContainer<'s> {
    fn create(
        store: &'s Store,
        scanned: &WorkingContainer,
        image: &str,
        means: Means<'_>,
        note: &mut dyn FnMut(String),
    ) -> Result<Self, Error> {
        let mut environment = scanned.environment()?;
        // Its files are not for the scanner, but for its own commands.
        environment.common.volumes.clear();
        let options = from::Options {
            image: image.to_owned(),
            name: None,
            format: scanned.state().draft.format,
            user_namespace: from::UserNamespace::Host,
            platform: None,
            environment,
            labels: None,
        };
        let made = from::from(store, &options, means.fetch).map_err(|source| Error::From(Box::new(source)))?;
        made.notices.iter().for_each(|notice| note(notice.to_string()));
        made.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        Ok(Self { store, id: made.id.to_string() })
    }

    /// What the commands write, in their order.
    fn lists(
        &self,
        scanned: &WorkingContainer,
        scan: &Scan,
        scans: &Path,
        means: Means<'_>,
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<Vec<u8>>, Error> {
        let shell = WorkingContainer::open(self.store, &self.id)?.state().draft.config.config.shell.clone();
        let commands = commands(&scan.scanner.commands, &shell, scan.contexts.len());
        if commands.is_empty() {
            return Err(Error::NothingScanned);
        }
        let mut options = run::Options {
            terminal: TerminalChoice::Never,
            streams: Streams { input: Input::Nothing, output: to_stderr()? },
            ..means.run.clone()
        };
        options.named.push(Named { name: "scanned".to_owned(), tree: Tree::Container(scanned.id().to_string()) });
        options.mounts.requests = mounts(scans, &scan.contexts)?;
        for (command, _) in &commands {
            log::debug!("running scan command {command:?}");
            options.command.clone_from(command);
            let outcome = run::run(self.store, &self.id, &options, means.conf, note)
                .map_err(|source| Error::Run { command: command.clone(), source: Box::new(source) })?;
            if outcome.status != crate::run::Status::Exited(0) {
                return Err(Error::Failed { command: command.clone(), status: outcome.status.code() });
            }
        }
        let root = Root::open(scans).map_err(|source| Error::Write { path: scans.to_owned(), source })?;
        let read = |(command, file): &(Vec<String>, String)| {
            let list = root.read_file(Path::new(file), MAX_LIST_BYTES);
            list.map_err(|source| Error::NoList { command: command.clone(), source })
        };
        commands.iter().map(read).collect()
    }
}

impl Drop for TemporaryContainer<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove::remove(self.store, &self.id) {
            log::warn!("removing temporary scanner container {}: {error}", self.id);
        }
    }
}

/// Our standard error for both: standard output is data.
fn to_stderr() -> Result<Output, Error> {
    let both = std::io::stderr().as_fd().try_clone_to_owned();
    let both = Arc::new(both.map_err(|source| Error::Write { path: "/dev/stderr".into(), source })?);
    Ok(Output::To { stdout: Arc::clone(&both), stderr: both })
}

/// What the commands find mounted.
fn mounts(scans: &Path, contexts: &[PathBuf]) -> Result<Vec<MountRequest>, Error> {
    let volume = |source: &Path, target: &str, options: &str| {
        MountRequest::parse_volume(&format!("{}:{target}:{options}", source.display())).map_err(Error::Mount)
    };
    let rootfs = MountRequest::parse_mount("type=bind,from=scanned,source=/,target=/.rootfs").map_err(Error::Mount)?;
    let mut mounts = vec![volume(scans, "/.scans", "rw,z")?, rootfs];
    for (at, context) in contexts.iter().enumerate() {
        mounts.push(volume(context, &format!("/.context{at}"), "ro")?);
    }
    Ok(mounts)
}

/// The commands as they are run, each with the name of the file that it writes. One that mentions contexts is run for each.
fn commands(texts: &[String], shell: &[String], contexts: usize) -> Vec<(Vec<String>, String)> {
    let mut commands = Vec::new();
    for text in texts {
        let words = words(text, shell);
        let mentions = |what: &str| words.iter().any(|word| word.contains(what));
        let mut add = |what: &str, path: &str| {
            let file = format!("scan{}.json", commands.len());
            let output = format!("/.scans/{file}");
            let command = words.iter().map(|word| word.replace(what, path).replace("{OUTPUT}", &output)).collect();
            commands.push((command, file));
        };
        if mentions("{CONTEXT}") && contexts > 0 {
            (0..contexts).for_each(|at| add("{CONTEXT}", &format!("/.context{at}")));
        } else if mentions("{ROOTFS}") {
            add("{ROOTFS}", "/.rootfs");
        }
    }
    commands
}

/// A command as words: its own where it needs no shell, which an image may lack.
fn words(text: &str, shell: &[String]) -> Vec<String> {
    const OPERATORS: [char; 8] = ['<', '>', '|', ';', '&', '$', '`', '('];
    if !text.contains(OPERATORS)
        && let Ok(words) = setting::split("--sbom-scanner-command", text)
    {
        return words;
    }
    let usual = ["/bin/sh".to_owned(), "-c".to_owned()];
    let shell = if shell.is_empty() { &usual } else { shell };
    shell.iter().cloned().chain([text.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn commands_are_run_once_for_each_thing_to_scan() {
        let both = texts(&["scan '{ROOTFS}' -o {OUTPUT}", "scan {CONTEXT} -o {OUTPUT}", "nothing"]);
        let found = commands(&both, &[], 2);
        let lines: Vec<String> = found.iter().map(|(words, _)| words.join(" ")).collect();
        let want = [
            "scan /.rootfs -o /.scans/scan0.json",
            "scan /.context0 -o /.scans/scan1.json",
            "scan /.context1 -o /.scans/scan2.json",
        ];
        assert_eq!(lines, want);
        assert_eq!(found[2].1, "scan2.json");
        assert_eq!(commands(&both, &[], 0).len(), 1);
        assert!(commands(&both[1..], &[], 0).is_empty());
    }

    #[test]
    fn a_shell_is_only_used_where_it_is_needed() {
        assert_eq!(words("a 'b c' d", &texts(&["x"])), ["a", "b c", "d"]);
        assert_eq!(words("a > {OUTPUT}", &[]), ["/bin/sh", "-c", "a > {OUTPUT}"]);
        assert_eq!(words("a; b", &texts(&["/bin/bash", "-ec"])), ["/bin/bash", "-ec", "a; b"]);
        assert_eq!(words("a 'b", &[]), ["/bin/sh", "-c", "a 'b"]);
    }
}
