//! `CommandError`: what went wrong, which exit status that is, and what may help.
//!
//! A verb returns any error with `?`; this file alone knows which kinds earn a hint. The text is the chain of causes in one
//! line, with foreign control characters escaped.

use std::borrow::Cow;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use containers_storage::conf::lies_on_overlayfs;
use containers_storage::{driver, store};
use nix::sys::signal::Signal;

use super::ui::escape;
use crate::build;
use crate::build::options::Explained;
use crate::container::machine::GRAPH_ROOT_ELSEWHERE;
use crate::container::pull::Missed;
use crate::container::{self, mounted};
use crate::transport::{self, registry};
use crate::{http, userns};

/// The exit status of every failure that carries none of its own.
pub const FAILURE: u8 = 125;

/// A failed command.
#[derive(Debug)]
pub struct CommandError {
    kind: Kind,
    hints: Vec<String>,
    status: u8,
    /// The part of a file that is to blame, several lines that can be printed as they are.
    excerpt: Option<String>,
}

#[derive(Debug)]
enum Kind {
    /// The command line is wrong.
    Usage(String),
    /// An operation failed.
    Failed(Box<dyn Error + Send + Sync>),
    /// Several did, and the rest was done.
    Several(Vec<CommandError>),
    /// The reader of stdout went away: nobody wants to hear about it.
    BrokenPipe,
    /// Everything worth saying was printed; leave with this status.
    Status(u8),
}

impl CommandError {
    /// A wrong command line, in words.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { kind: Kind::Usage(text.into()), hints: Vec::new(), status: FAILURE, excerpt: None }
    }

    /// Leave with `status` and print nothing.
    pub fn status(status: u8) -> Self {
        Self { kind: Kind::Status(status), hints: Vec::new(), status: FAILURE, excerpt: None }
    }

    /// Several failures of one command that went on after each, printed as Buildah's `rmi` does.
    pub fn several(errors: Vec<CommandError>) -> Self {
        Self { kind: Kind::Several(errors), hints: Vec::new(), status: FAILURE, excerpt: None }
    }

    /// The reader of stdout went away.
    pub(super) fn broken_pipe() -> Self {
        Self { kind: Kind::BrokenPipe, hints: Vec::new(), status: FAILURE, excerpt: None }
    }

    /// Adds a hint, if there is one.
    #[must_use]
    pub fn hinting(mut self, hint: Option<String>) -> Self {
        self.hints.extend(hint);
        self
    }

    /// Leaves with `status` instead of 125: that of a child.
    #[must_use]
    pub fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// Shows these lines below the error: the part of a file that is to blame. They must be escaped.
    #[must_use]
    pub fn showing(mut self, excerpt: Option<String>) -> Self {
        self.excerpt = excerpt;
        self
    }

    /// The part of a file that is to blame.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_deref()
    }

    /// Says what was being done when this happened.
    #[must_use]
    pub fn context(self, doing: impl Into<String>) -> Self {
        let hints = self.hints.clone();
        match self.kind {
            Kind::BrokenPipe | Kind::Status(_) => self,
            _ if self.signal().is_some() => self,
            kind => {
                let inner = Self { kind, hints: Vec::new(), status: FAILURE, excerpt: None };
                let kind = Kind::Usage(format!("{}: {}", doing.into(), inner.text()));
                Self { kind, hints, status: self.status, excerpt: self.excerpt }
            }
        }
    }

    /// The exit status of the program, for who ends it.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_status())
    }

    /// The exit status of the program.
    pub fn exit_status(&self) -> u8 {
        match self.kind {
            // What the shell shows for a process that SIGPIPE ended.
            Kind::BrokenPipe => 141,
            Kind::Status(status) => status,
            _ => self.status,
        }
    }

    /// Whether there is nothing to print.
    pub fn is_silent(&self) -> bool {
        matches!(self.kind, Kind::BrokenPipe | Kind::Status(_))
    }

    /// What happened: the chain of causes, outermost first.
    pub fn text(&self) -> String {
        match &self.kind {
            Kind::Usage(text) => escape(&spoken(text)).into_owned(),
            Kind::Failed(error) => chain(error.as_ref()),
            Kind::Several(errors) => {
                let count = errors.len();
                let plural = if count == 1 { "" } else { "s" };
                let lines: String = errors.iter().map(|error| format!("\t* {}\n", error.text())).collect();
                format!("{count} error{plural} occurred:\n{lines}\n")
            }
            Kind::BrokenPipe | Kind::Status(_) => String::new(),
        }
    }

    /// What may help, each one line.
    pub fn hints(&self) -> Vec<String> {
        let mut hints = self.hints.clone();
        match &self.kind {
            Kind::Failed(error) => hints.extend(hints_for(error.as_ref())),
            Kind::Several(errors) => hints.extend(errors.iter().flat_map(CommandError::hints)),
            _ => {}
        }
        // A hint may be that of an error and of its cause.
        let mut seen = std::collections::HashSet::new();
        hints.retain(|hint| seen.insert(hint.clone()));
        hints
    }

    /// The error that a module gave, if this is one.
    pub fn source<E: Error + 'static>(&self) -> Option<&E> {
        match &self.kind {
            Kind::Failed(error) => causes(error.as_ref()).find_map(|cause| cause.downcast_ref()),
            _ => None,
        }
    }

    /// The signal that ended what was going on, and that the program is to end of.
    pub fn signal(&self) -> Option<Signal> {
        let Kind::Failed(error) = &self.kind else { return None };
        causes(error.as_ref()).find_map(|cause| {
            let boxed = || cause.downcast_ref::<Box<transport::Error>>().map(AsRef::as_ref);
            match cause.downcast_ref::<transport::Error>().or_else(boxed) {
                Some(transport::Error::Interrupted(signal)) => Some(*signal),
                _ => None,
            }
        })
    }

    /// The kernel's answer at the root of this, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match &self.kind {
            Kind::Failed(error) => causes(error.as_ref()).find_map(errno_of),
            Kind::Several(errors) => errors.iter().find_map(CommandError::errno),
            _ => None,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self { kind: Kind::Failed(Box::new(error)), hints: Vec::new(), status: FAILURE, excerpt: None }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// The texts of an error and its causes in one line, but for the answers of several registries, which are a list. A cause that its
/// parent's text already ends with is not repeated.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in causes(error) {
        let text = match cause.downcast_ref::<Missed>() {
            Some(missed) => answers(missed),
            None => escape(&words(cause)).into_owned(),
        };
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

/// An error in words, for whoever has to tell of it elsewhere.
pub(super) fn explained(error: &(dyn Error + 'static)) -> Explained {
    Explained { text: chain(error), hints: hints_for(error), errno: causes(error).find_map(errno_of) }
}

/// What several registries said, one in each line as the other tools have it.
fn answers(missed: &Missed) -> String {
    match missed.errors.as_slice() {
        [one] => chain(one),
        several => {
            let lines: String = several.iter().map(|error| format!("\n * {}", chain(error))).collect();
            format!("{} errors occurred while pulling:{lines}", several.len())
        }
    }
}

/// One error's text; of a system call's without Rust's number.
fn words(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let spoken = spoken(&text);
    if error.is::<std::io::Error>() && spoken.len() < text.len() { lower_first(&spoken) } else { spoken.into_owned() }
}

/// A text with the kernel's answers in it as words only: without Rust's "(os error 2)", which helps nobody, and small after a colon.
pub(super) fn spoken(text: &str) -> Cow<'_, str> {
    const NUMBER: &str = " (os error ";
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(NUMBER) {
        let Some(after) = after.trim_start_matches(|letter: char| letter.is_ascii_digit()).strip_prefix(')') else {
            out.push_str(&rest[..before.len() + NUMBER.len()]);
            rest = after;
            continue;
        };
        match before.rsplit_once(": ") {
            // Like the cause itself, which is known by it then.
            Some((before, answer)) => out.extend([before, ": ", &lower_first(answer)]),
            None => out.push_str(before),
        }
        rest = after;
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

fn hints_for(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut hints = Vec::new();
    for cause in causes(error) {
        let boxed = || cause.downcast_ref::<Box<mounted::Error>>().map(AsRef::as_ref);
        if let Some(error) = cause.downcast_ref::<mounted::Error>().or_else(boxed) {
            hints.extend(error.hints());
        } else if let Some(error) = cause.downcast_ref::<userns::Error>() {
            hints.extend(error.hints());
        } else if let Some(container::run::Error::Volume { path, .. }) = cause.downcast_ref() {
            hints.push(format!(
                "\"coracle config --volume {}- CONTAINER\" takes the volume out of the image's settings",
                escape(&path.to_string_lossy())
            ));
        } else if let Some(error) = cause.downcast_ref::<container::from::Error>() {
            hints.extend(error.hints());
        } else if let Some(error) = cause.downcast_ref::<build::context::Error>() {
            hints.extend(error.hints());
        } else if let Some(error) = cause.downcast_ref::<container::add::Error>() {
            hints.extend(error.hint());
        } else if let Some(error) = cause.downcast_ref::<container::fetch::Error>() {
            hints.extend(error.hints());
        } else if let Some(missed) = cause.downcast_ref::<Missed>() {
            hints.extend(missed.errors.iter().flat_map(|error| hints_for(error)));
            if missed.left > 0 {
                hints.push(format!(
                    "the search ended there, and {} more of the registries were not asked: an image of that name elsewhere may be \
                     a stranger's; a name with its registry, or an alias in registries.conf, is not searched",
                    missed.left
                ));
            }
        } else if let Some(transport::Error::Sealed { problem, .. }) = transport_error(cause) {
            if problem.starts_with("missing private key") {
                hints
                    .push("--decryption-key FILE gives the private key of somebody whom the image is encrypted for".to_owned());
            }
        } else if let Some(driver::Error::Mount { target, source, .. }) = cause.downcast_ref() {
            hints.extend(hints_for_mount(target, source));
        } else if let Some(lines) = hints_for_settings(cause) {
            hints.extend(lines.iter().map(|line| (*line).to_owned()));
        } else if let Some(hint) = hint_for_registry(cause) {
            hints.push(hint);
        } else if let Some(store::Error::Corrupt { .. }) = cause.downcast_ref() {
            hints.push("\"coracle check\" says what is damaged; the file was left as it is".to_owned());
        } else if let Some(errno) = errno_of(cause) {
            hints.extend(hint_for_errno(errno));
        }
    }
    hints
}

/// The error of a copy, if it is one.
fn transport_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a transport::Error> {
    cause.downcast_ref().or_else(|| cause.downcast_ref::<Box<transport::Error>>().map(AsRef::as_ref))
}

/// What to do about the answer of a registry.
fn hint_for_registry(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<http::Error>() {
        return connection_hint(error);
    }
    let boxed = cause.downcast_ref::<Box<registry::Error>>().map(AsRef::as_ref);
    match cause.downcast_ref::<registry::Error>().or(boxed)? {
        registry::Error::RateLimited { host, .. } => {
            Some(format!("wait, or log in for a higher limit: \"coracle login {}\"", escape(host)))
        }
        registry::Error::Refused { status: 401 | 403, .. } => Some(
            "\"coracle login REGISTRY\" stores a user and password; --log-level debug says which ones were used".to_owned(),
        ),
        registry::Error::Http(error) => connection_hint(error),
        _ => None,
    }
}

/// What helps where the other side is reached and not trusted.
fn connection_hint(error: &http::Error) -> Option<String> {
    let hint = match error {
        http::Error::NotTls { .. } => {
            "--tls-verify=false allows a registry without TLS, and so does \"insecure = true\" for it in registries.conf"
        }
        http::Error::Tls { .. } => {
            "--cert-dir gives the certificate of the server's authority (a file *.crt), and so does a directory named after it, with \
             its port, in ~/.config/containers/certs.d"
        }
        http::Error::ClientCertificate { .. } => "--cert-dir gives certificate and key (client.cert and client.key)",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What to do where the kernel mounts no overlay.
fn hints_for_mount(target: &Path, source: &std::io::Error) -> Vec<String> {
    let never_mounts =
        "STORAGE_DRIVER=vfs, or --storage-driver vfs, needs no mount; it is another store, with images of its own".to_owned();
    match source.raw_os_error() {
        Some(libc::EINVAL) if lies_on_overlayfs(target) => vec![never_mounts, GRAPH_ROOT_ELSEWHERE.to_owned()],
        Some(libc::EPERM | libc::EACCES) => vec![never_mounts],
        _ => Vec::new(),
    }
}

/// What to do about settings of the store that this program does not serve.
fn hints_for_settings(cause: &(dyn Error + 'static)) -> Option<&'static [&'static str]> {
    match cause.downcast_ref() {
        Some(driver::Error::MaskWithoutProgram) => {
            Some(&["fuse-overlayfs is one: --storage-opt overlay.mount_program=/usr/bin/fuse-overlayfs beside force_mask"])
        }
        Some(driver::Error::Unsupported { feature, .. }) if feature.contains("mount_program") => Some(&[
            "once fuse-overlayfs is installed the store is used with it; --storage-opt overlay.mount_program=PATH names another program",
            "back to the kernel's overlay: with the program, commit the containers and push each image to an archive (\"coracle push \
             IMAGE oci-archive:FILE:NAME\"); pull the archives into a new store (--root), which nothing marks",
        ]),
        Some(driver::Error::Unsupported { .. }) => Some(&["another store can be given with --root and --runroot"]),
        _ => None,
    }
}

/// The kernel's answer, if the error is one.
fn errno_of(error: &(dyn Error + 'static)) -> Option<i32> {
    let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    let nix = || error.downcast_ref::<nix::errno::Errno>().map(|errno| *errno as i32);
    let rustix = || error.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error());
    io.or_else(nix).or_else(rustix)
}

fn hint_for_errno(errno: i32) -> Option<String> {
    let hint = match errno {
        libc::EROFS => "another store can be given with --root and --runroot",
        libc::EMFILE | libc::ENFILE => "too many open files: see \"ulimit -n\"",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_answer_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("storing \"/B\": {source}")]
        struct Inner {
            source: std::io::Error,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("copying")]
        struct Outer {
            source: Inner,
        }
        let source = Inner { source: std::io::Error::from_raw_os_error(libc::ENOSPC) };
        assert_eq!(CommandError::from(Outer { source }).text(), "copying: storing \"/B\": no space left on device");
    }

    #[test]
    fn the_kernels_answers_are_words_wherever_they_stand() {
        let cases = [
            ("a: No such file or directory (os error 2)", "a: no such file or directory"),
            ("[a: Connection refused (os error 111)] [b: I/O error (os error 5)]", "[a: connection refused] [b: I/O error]"),
            ("Permission denied (os error 13)", "Permission denied"),
            ("a (os error of mine): Is a directory (os error 21)", "a (os error of mine): is a directory"),
            ("(os error 2", "(os error 2"),
            ("a: B", "a: B"),
        ];
        for (text, want) in cases {
            assert_eq!(spoken(text), want);
            assert_eq!(CommandError::usage(text).text(), want);
        }
    }

    #[test]
    fn the_chain_is_one_line_without_echoes() {
        #[derive(Debug, thiserror::Error)]
        #[error("writing \u{1b}[31mx\nerr: {source}")]
        struct Outer {
            source: std::io::Error,
        }
        let error = CommandError::from(Outer { source: std::io::Error::from_raw_os_error(libc::EROFS) });
        assert!(!error.text().contains(['\u{1b}', '\n']), "{}", error.text());
        assert!(error.hints().iter().any(|hint| hint.contains("--root")));
    }
}
