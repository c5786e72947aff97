//! A git repository, by way of git(1).
//!
//! Invariants (known attacks A113–A119): git is a program of the system's directories, runs in an empty environment with an empty home, sees no
//! configuration but what is given here, starts no hook, filter, helper or submodule, speaks http and https only, and asks nobody for a
//! password. What it is given from outside is an address and a reference that `address` has read, both after `--`. The directory that
//! was asked for is found below the checkout without leaving it by a link (A04).
//!
//! As with Buildah, one commit is fetched, submodules are not, and `.git` is part of what is copied unless the caller wants it gone.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use containers_storage::Root;

use super::error::Error;
use super::{Content, GitDirectory, Options, Scratch, verification};
use crate::http::{Authorization, Url, Verification};
use crate::sys::command::end_with_this_process;

const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];
/// Settings that hold whatever a repository or the machine says.
const SETTINGS: [&str; 15] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.protectNTFS=true",
    "credential.helper=",
    "protocol.allow=never",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.fsckObjects=true",
    // What old tools wrote, and harms nobody.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.badTimezone=ignore",
    "transfer.bundleURI=false",
    "gc.auto=0",
];
/// The proxies of the environment are git's too.
const PROXIES: [&str; 7] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];
/// The most letters of git's own words that are shown.
const MAX_SHOWN: usize = 400;

/// What is wanted of which repository.
pub(super) struct Wanted<'w> {
    pub(super) url: &'w Url,
    pub(super) login: Option<&'w Authorization>,
    pub(super) reference: &'w str,
    pub(super) directory: &'w Path,
    /// How the commit must begin.
    pub(super) commit: Option<&'w str>,
}

/// Fetches one commit and unpacks its files.
pub(super) fn checkout(wanted: &Wanted<'_>, options: &Options<'_>) -> Result<Content, Error> {
    let failed = |problem: String| Error::Git { url: wanted.url.shown(), problem };
    let io = |error: std::io::Error| failed(error.to_string());
    let program = DIRECTORIES.iter().map(|dir| Path::new(dir).join("git")).find(|path| path.is_file());
    let program = program.ok_or_else(|| failed("a git repository is fetched by git, which is not installed".to_owned()))?;
    let scratch = Scratch::create(options.temp_dir, "coracle-git-").map_err(io)?;
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700);
    let (home, tree) = (scratch.path().join("home"), scratch.path().join("tree"));
    for dir in [&home, &tree] {
        builder.create(dir).map_err(io)?;
    }
    let git = Git { program, home: &home, tree: &tree, wanted, options };
    git.run(&["init", "-q", "--template=", "--", "."])?;
    let reference = if wanted.reference.is_empty() { "HEAD" } else { wanted.reference };
    let url = wanted.url.to_string();
    git.run(&["remote", "add", "--", "origin", &url])?;
    git.run(&["fetch", "-q", "-u", "--no-tags", "--depth=1", "origin", "--", reference])?;
    // A branch may be called like a commit (A119).
    if let Some(want) = wanted.commit.or(is_commit(reference).then_some(reference)) {
        let found = git.run(&["rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}"])?;
        if !found.trim().starts_with(want) {
            return Err(failed(format!("the server gave the commit {:?} for {reference}, want {want}", found.trim())));
        }
    }
    git.run(&["checkout", "-q", "--detach", "FETCH_HEAD", "--"])?;
    if options.repository.git_directory == GitDirectory::Remove {
        Root::open(&tree).and_then(|root| root.remove_all(Path::new(".git"))).map_err(io)?;
    }
    let root = Root::open(&tree).and_then(|root| match wanted.directory.as_os_str().is_empty() {
        true => Ok(root),
        false => root.subdir(wanted.directory),
    });
    let root = root.map_err(|error| failed(format!("the directory {:?}: {error}", wanted.directory)))?;
    Ok(Content::Tree { root, scratch })
}

fn is_commit(reference: &str) -> bool {
    matches!(reference.len(), 40 | 64) && reference.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

struct Git<'g> {
    program: PathBuf,
    home: &'g Path,
    tree: &'g Path,
    wanted: &'g Wanted<'g>,
    options: &'g Options<'g>,
}

impl Git<'_> {
    /// Runs git; its standard output.
    fn run(&self, words: &[&str]) -> Result<String, Error> {
        let failed = |problem: String| Error::Git { url: self.wanted.url.shown(), problem };
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(self.tree).stdin(Stdio::null());
        command.env("HOME", self.home).env("PATH", DIRECTORIES.join(":")).env("LC_ALL", "C.UTF-8");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_ASKPASS", "/bin/false").env("GIT_ALLOW_PROTOCOL", "http:https").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_CEILING_DIRECTORIES", self.home.parent().unwrap_or(self.home)).env("GIT_LFS_SKIP_SMUDGE", "1");
        for name in PROXIES {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if verification(self.options.network) == Verification::Off {
            command.env("GIT_SSL_NO_VERIFY", "1");
        }
        // In the environment, which nobody else can read as they can the command line (A91).
        let redirects = if self.wanted.login.is_some() { "false" } else { "initial" };
        let mut settings = vec![("http.followRedirects".to_owned(), redirects.to_owned())];
        settings.extend(self.wanted.login.map(|login| {
            (format!("http.{}/.extraHeader", self.wanted.url.origin()), format!("Authorization: {}", login.expose()))
        }));
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (number, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let output = end_with_this_process(command.args(words)).output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let line = words.lines().find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
        let line = line.or(words.lines().next()).unwrap_or("it failed without a word");
        Err(failed(line.chars().take(MAX_SHOWN).collect()))
    }
}
