//! A git repository, by way of git(1).
//!
//! Invariants (known attacks A113–A119): git is a program of the system's directories, runs in an environment that names what it needs, with an
//! empty home, sees no configuration but what is given here, starts no hook, filter or helper, speaks only the protocols that the
//! address stands for, never that of local files, and asks nobody for a password. What it is given from outside is an address and a
//! reference that `address` has read, both after `--`. The directory that was asked for is found below the checkout without leaving
//! it by a link (A04).
//!
//! As with Buildah, one commit is fetched, and `.git` is part of what is copied unless the caller wants it gone. Submodules are fetched
//! where the caller wants them, one commit each, with the same settings.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use containers_storage::Root;
use containers_storage::rooted::EntryKind;
use rustix::fs::{AtFlags, Timespec, Timestamps};

use super::address::{Times, Wish};
use super::error::Error;
use super::repository::RepositoryAddress;
use super::{Commit, Content, GitDirectory, Options, Scratch, Ssh, Submodules, ssh, verification};
use crate::http::{Authorization, Verification};
use crate::sys::command::end_with_this_process;

const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];
/// Settings that hold whatever a repository or the machine says.
const SETTINGS: [&str; 15] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.protectNTFS=true",
    "credential.helper=",
    "protocol.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.fsckObjects=true",
    // What old tools wrote, and harms nobody.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.badTimezone=ignore",
    "transfer.bundleURI=false",
    "gc.auto=0",
    // A server that says nothing for a minute is given up, as in all other requests.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
];
/// The proxies of the environment are git's too.
const PROXIES: [&str; 7] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];
/// The most letters of git's own words that are shown.
const MAX_SHOWN: usize = 400;

/// What programs call a full disk (strerror(3): ENOSPC, EDQUOT).
const NO_ROOM: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// What is wanted of which repository.
pub(super) struct Wanted<'w> {
    pub(super) url: &'w RepositoryAddress,
    pub(super) login: Option<&'w Authorization>,
    pub(super) wish: &'w Wish,
}

/// Fetches one commit and unpacks its files.
pub(super) fn checkout(wanted: &Wanted<'_>, options: &Options<'_>) -> Result<Content, Error> {
    let (repository, wish) = (&options.repository, wanted.wish);
    if matches!((wanted.url, &repository.ssh), (RepositoryAddress::Ssh(_), Ssh::Nobody)) {
        return Err(Error::NoKeys { url: wanted.url.shown() });
    }
    let failed = |problem: String| failure(wanted, options, problem);
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
    std::fs::write(git.settings_file(), git.settings_text()).map_err(io)?;
    git.run(&["init", "-q", "--template=", "--", "."])?;
    git.run(&["remote", "add", "--", "origin", &wanted.url.text()])?;
    let found = git.fetch()?;
    git.run(&["checkout", "-q", "--detach", &found, "--"])?;
    if wish.submodules.unwrap_or(repository.submodules) == Submodules::Fetch && tree.join(".gitmodules").exists() {
        let update = ["submodule", "--quiet", "update", "--init", "--recursive", "--checkout"];
        // Not every server gives a commit that no branch or tag ends with.
        if git.run(&[&update[..], &["--depth=1"]].concat()).is_err() {
            git.run(&update)?;
        }
    }
    if wish.times == Times::Commit {
        let seconds = git.run(&["show", "-s", "--format=%ct", &found, "--"])?;
        let seconds = seconds.trim().parse().map_err(|_| failed(format!("the commit {found} has no time")))?;
        Root::open(&tree).and_then(|root| date(&root, seconds)).map_err(io)?;
    }
    if wish.git_directory.unwrap_or(repository.git_directory) == GitDirectory::Remove {
        Root::open(&tree).and_then(|root| remove_git(&root, &tree, Path::new(""))).map_err(io)?;
    }
    let root = Root::open(&tree).and_then(|root| match wish.directory.as_os_str().is_empty() {
        true => Ok(root),
        false => root.subdir(&wish.directory),
    });
    let root = root.map_err(|error| failed(format!("the directory {:?}: {error}", wish.directory)))?;
    Ok(Content::Tree { root, scratch })
}

fn failure(wanted: &Wanted<'_>, options: &Options<'_>, problem: String) -> Error {
    let url = wanted.url.shown();
    match NO_ROOM.iter().any(|words| problem.contains(words)) {
        true => Error::NoRoom { url, dir: options.temp_dir.to_path_buf(), problem },
        false => Error::Git { url, problem },
    }
}

/// Removes `.git` of the repository and of each submodule. git checks nothing out under that name.
fn remove_git(root: &Root, tree: &Path, below: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(tree.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_name() == ".git" {
            root.remove_all(&path)?;
        } else if entry.file_type()?.is_dir() {
            remove_git(root, tree, &path)?;
        }
    }
    Ok(())
}

/// Gives everything below `directory` this time; links are not followed.
fn date(directory: &Root, seconds: i64) -> std::io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    for entry in directory.read_dir(Path::new(""))? {
        if entry.kind == Some(EntryKind::Directory) {
            date(&directory.subdir(Path::new(&entry.name))?, seconds)?;
        }
        rustix::fs::utimensat(directory, &entry.name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn is_commit(reference: &str) -> bool {
    matches!(reference.len(), 40 | 64) && is_hexadecimal(reference)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

struct Git<'g> {
    program: PathBuf,
    home: &'g Path,
    tree: &'g Path,
    wanted: &'g Wanted<'g>,
    options: &'g Options<'g>,
}

impl Git<'_> {
    fn failed(&self, problem: String) -> Error {
        failure(self.wanted, self.options, problem)
    }

    /// Fetches the commit that is wanted; its name.
    fn fetch(&self) -> Result<String, Error> {
        let wish = self.wanted.wish;
        let reference = match &wish.commit {
            Some(commit) if wish.by_commit || wish.reference.is_empty() => commit,
            _ if wish.reference.is_empty() => "HEAD",
            _ => wish.reference.as_str(),
        };
        let fetched = self.run(&["fetch", "-q", "-u", "--no-tags", "--depth=1", "origin", "--", reference]);
        let name = match fetched {
            Ok(_) => "FETCH_HEAD",
            // The beginning of a commit's name is known to no server, and some give no commit by its whole name.
            Err(_) if (7..=64).contains(&reference.len()) && is_hexadecimal(reference) => {
                self.run(&["fetch", "-q", "-u", "--tags", "origin", "--", "+refs/heads/*:refs/remotes/origin/*"])?;
                reference
            }
            Err(error) => return Err(error),
        };
        let found = self.run(&["rev-parse", "--verify", "-q", "--end-of-options", &format!("{name}^{{commit}}")]);
        let found = found.map_err(|_| self.failed(format!("couldn't find remote ref {reference}")))?.trim().to_owned();
        let asked = self.options.repository.commit.as_ref().map(Commit::as_str);
        // A branch may be called like a commit (A119).
        if let Some(want) = asked.or(wish.commit.as_deref()).or(is_commit(reference).then_some(reference))
            && !found.starts_with(want)
        {
            return Err(self.failed(format!("the server gave the commit {found:?} for {reference}, want {want}")));
        }
        Ok(found)
    }

    fn settings_file(&self) -> PathBuf {
        self.home.join("settings")
    }

    /// What holds here and in submodules, of which git runs other processes.
    fn settings(&self) -> impl Iterator<Item = String> {
        let allowed = self.wanted.url.protocols().iter().map(|protocol| format!("protocol.{protocol}.allow=always"));
        SETTINGS.iter().map(ToString::to_string).chain(allowed)
    }

    /// The same as the text of a file (git-config(1)).
    fn settings_text(&self) -> String {
        let section = |setting: String| {
            let (key, value) = setting.split_once('=')?;
            let (section, name) = key.rsplit_once('.')?;
            let section = section.split_once('.').map_or(section.to_owned(), |(first, rest)| format!("{first} \"{rest}\""));
            Some(format!("[{section}]\n\t{name} = {value}\n"))
        };
        self.settings().filter_map(section).collect()
    }

    /// Runs git; its standard output.
    fn run(&self, words: &[&str]) -> Result<String, Error> {
        let failed = |problem: String| self.failed(problem);
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(self.tree).stdin(Stdio::null());
        command.env("HOME", self.home).env("PATH", DIRECTORIES.join(":")).env("LC_ALL", "C.UTF-8");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", self.settings_file());
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "/bin/false").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_ALLOW_PROTOCOL", self.wanted.url.protocols().join(":"));
        if matches!(self.wanted.url, RepositoryAddress::Ssh(_)) {
            ssh::configure(&mut command, &self.options.repository.ssh);
        }
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
        if let (RepositoryAddress::Web(url), Some(login)) = (self.wanted.url, self.wanted.login) {
            settings.push((format!("http.{}/.extraHeader", url.origin()), format!("Authorization: {}", login.expose())));
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (number, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        for setting in self.settings() {
            command.args(["-c", &setting]);
        }
        let output = end_with_this_process(command.args(words)).output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(reason(&String::from_utf8_lossy(&output.stderr)).chars().take(MAX_SHOWN).collect()))
    }
}

/// The line of git's words that says why. Where it was ssh that failed, git only says that it did, and a full disk is named where it was
/// met first.
fn reason(words: &str) -> &str {
    let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    let at = lines.iter().position(|line| line.starts_with("fatal:") || line.starts_with("error:")).unwrap_or(0);
    if let Some(line) = lines.iter().find(|line| NO_ROOM.iter().any(|words| line.contains(words))) {
        return line;
    }
    let line = lines.get(at).copied().unwrap_or("it failed without a word");
    if line.contains("Could not read from remote repository") {
        return at.checked_sub(1).and_then(|before| lines.get(before)).copied().unwrap_or(line);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_with_the_reason_is_shown() {
        for (words, want) in [
            ("fatal: couldn't find remote ref x\n", "fatal: couldn't find remote ref x"),
            ("warning: a\nerror: b\nfatal: c\n", "error: b"),
            (
                "Host key verification failed.\r\nfatal: Could not read from remote repository.\n\nPlease make sure",
                "Host key verification failed.",
            ),
            ("fatal: Could not read from remote repository.\n", "fatal: Could not read from remote repository."),
            ("", "it failed without a word"),
        ] {
            assert_eq!(reason(words).trim_end(), want);
        }
    }
}
