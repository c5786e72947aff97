//! What a build says, and where: standard output, files with IDs, a log.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::report::Style;
use crate::commands::progress::is_dumb;
use crate::commands::{CommandError, Ui, args};
use crate::transport::copy::Platform;

/// What a build says, and where.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AnswerArgs {
    /// Print the image's ID only
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// How progress is shown: auto, tty (in place, on a terminal), plain, which says why a step is not from the cache, or json (default: auto)
    #[arg(long, value_name = "STYLE")]
    progress: Option<String>,

    /// Write the image's ID to this file instead of printing it
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    iidfile: Option<PathBuf>,

    /// The same without the algorithm before it
    #[arg(long, alias = "raw-iidfile", value_name = "FILE", value_parser = args::path())]
    iidfile_raw: Option<PathBuf>,

    /// Write what was made to this file, as JSON
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    metadata_file: Option<PathBuf>,

    /// Write what the build and its commands print to this file
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    logfile: Option<PathBuf>,

    /// Write one such file for each platform: FILE_OS_ARCH
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    logsplit: Option<bool>,

    /// Accepted for scripts: the context is never compressed
    #[arg(long, hide = true)]
    compress: bool,

    /// Accepted for scripts: there is no content trust
    #[arg(long, hide = true)]
    disable_content_trust: bool,

    /// Accepted for scripts: see --log-level
    #[arg(long, value_name = "LEVEL", hide = true)]
    loglevel: Option<i64>,
}

impl AnswerArgs {
    /// Refuses what contradicts itself.
    pub(super) fn check(&self, platforms: usize) -> Result<(), CommandError> {
        if self.logsplit == Some(true) && args::given(&self.logfile).is_none() {
            return Err(CommandError::usage("cannot use --logsplit without --logfile"));
        }
        if platforms > 1 {
            let one = |what: &str, path: &Path, holds: &str| {
                let path = path.display().to_string();
                CommandError::usage(format!("building multiple images, but {what} {path:?} can only be used to store {holds}"))
            };
            for (flag, path) in [("iidfile", &self.iidfile), ("iidfile-raw", &self.iidfile_raw)] {
                if let Some(path) = args::given(path) {
                    return Err(one(flag, path, "one image ID"));
                }
            }
            if let Some(path) = args::given(&self.metadata_file) {
                return Err(one("metadata file", path, "information about one image"));
            }
        }
        self.style().map(drop)
    }

    /// Whether a program reads what is said.
    pub(super) fn is_for_programs(&self) -> bool {
        matches!(self.progress.as_deref(), Some("json" | "rawjson"))
    }

    /// How progress is shown.
    pub(super) fn style(&self) -> Result<Style, CommandError> {
        match self.progress.as_deref().unwrap_or("auto") {
            _ if self.quiet => Ok(Style::Quiet),
            "auto" | "tty" | "" if self.has_terminal() => Ok(Style::Terminal),
            "auto" | "tty" | "" => Ok(Style::Usual),
            "plain" => Ok(Style::Explained),
            "json" | "rawjson" => Ok(Style::Json),
            "quiet" | "none" => Ok(Style::Quiet),
            other => {
                let hint = "there are auto, plain, tty, json and quiet".to_owned();
                Err(CommandError::usage(format!("invalid progress mode {other:?}")).hinting(Some(hint)))
            }
        }
    }

    /// Whether all that is said goes to a terminal whose cursor can be moved, and nobody else writes there.
    fn has_terminal(&self) -> bool {
        let is_one = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        is_one && !is_dumb() && args::given(&self.logfile).is_none() && log::max_level() < log::LevelFilter::Debug
    }

    /// Whether the ID is written instead of printed.
    pub(super) fn writes_id(&self) -> bool {
        self.id_files().next().is_some()
    }

    /// The files for the ID, each with what comes before it.
    fn id_files(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        let whole = args::given(&self.iidfile).map(|path| (path, "sha256:"));
        whole.into_iter().chain(args::given(&self.iidfile_raw).map(|path| (path, "")))
    }

    /// The file for a description of what was made.
    pub(super) fn metadata_file(&self) -> Option<&Path> {
        args::given(&self.metadata_file)
    }

    /// Refuses files that could not be written, as far as that can be told without making them: a build may take long.
    pub(super) fn check_files(&self) -> Result<(), CommandError> {
        for (path, _) in self.id_files() {
            may_write(path).map_err(|error| no_id(path, error))?;
        }
        match self.metadata_file() {
            Some(path) => may_write(path).map_err(|error| CommandError::from(error).context(format!("writing {path:?}"))),
            None => Ok(()),
        }
    }

    /// Writes the files with the ID.
    pub(super) fn write_id(&self, id: &str) -> Result<(), CommandError> {
        for (path, algorithm) in self.id_files() {
            std::fs::write(path, format!("{algorithm}{id}")).map_err(|error| no_id(path, error))?;
        }
        Ok(())
    }

    /// From now on all that is printed goes to the log file, if there is one, until the value is dropped.
    pub(super) fn redirect(&self, ui: &mut Ui, platform: &Platform) -> Result<Option<Redirected>, CommandError> {
        let Some(path) = args::given(&self.logfile) else { return Ok(None) };
        let (path, file) = match self.logsplit {
            Some(true) => {
                let path = split(path, platform);
                (path.clone(), File::create(path))
            }
            // Several platforms share it.
            _ => (path.to_path_buf(), File::options().append(true).open(path)),
        };
        let failed = |error: std::io::Error| CommandError::from(error).context(format!("open {}", path.display()));
        let file = file.map_err(failed)?;
        ui.finish()?;
        let kept =
            |fd: std::os::fd::BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|error| failed(error.into()));
        let redirected = Redirected { stdout: kept(rustix::stdio::stdout())?, stderr: kept(rustix::stdio::stderr())? };
        rustix::stdio::dup2_stdout(&file).map_err(|error| failed(error.into()))?;
        rustix::stdio::dup2_stderr(&file).map_err(|error| failed(error.into()))?;
        Ok(Some(redirected))
    }

    /// Makes the log file new: what an earlier build wrote is not this one's.
    pub(super) fn begin_log(&self) -> Result<(), CommandError> {
        let Some(path) = args::given(&self.logfile) else { return Ok(()) };
        let made = File::create(path);
        made.map(drop).map_err(|error| CommandError::from(error).context(format!("open {}", path.display())))
    }
}

/// Whether there is a file that can be written, or a directory in which one can be made.
fn may_write(path: &Path) -> std::io::Result<()> {
    let (place, access) = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(std::io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if metadata.is_file() => (path, Access::WRITE_OK),
        // A link to nothing is followed to a place that may be.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (directory.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)
        }
        Ok(_) | Err(_) => return Ok(()),
    };
    Ok(rustix::fs::access(place, access)?)
}

fn no_id(path: &Path, error: std::io::Error) -> CommandError {
    let path = path.display().to_string();
    CommandError::from(error).context(format!("failed to write image ID to file {path:?}: open {path}"))
}

/// `FILE_OS_ARCH[_VARIANT]`
fn split(path: &Path, platform: &Platform) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    for part in [&platform.os, &platform.architecture, &platform.variant] {
        if !part.is_empty() {
            name.push("_");
            // Words of the command line, which may be paths.
            name.push(part.replace('/', "_"));
        }
    }
    PathBuf::from(name)
}

/// Standard output and standard error as they were.
#[derive(Debug)]
pub(super) struct Redirected {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Redirected {
    /// Puts them back. What was printed until now goes to the log.
    pub(super) fn end(self, ui: &mut Ui) -> Result<(), CommandError> {
        let flushed = ui.finish();
        rustix::stdio::dup2_stdout(&self.stdout).map_err(std::io::Error::from)?;
        rustix::stdio::dup2_stderr(&self.stderr).map_err(std::io::Error::from)?;
        flushed
    }
}
