//! The one logger: writes what the `log` facade gets to stderr, one line each.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

use super::CommandError;
use super::args::GlobalArgs;
use super::ui::escape;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What the HTTP library tells may hold addresses that are signed, which is as good as a password.
        let is_ours = ["coracle", "containers_storage"].iter().any(|name| metadata.target().starts_with(name));
        metadata.level() <= log::max_level() && is_ours
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            let _ = writeln!(std::io::stderr(), "{level}: {}", escape(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Installs the logger at the level of `--log-level` or `--debug`.
pub(super) fn start(global: &GlobalArgs) -> Result<(), CommandError> {
    let level = if global.debug { LevelFilter::Debug } else { parse_level(&global.log_level)? };
    log::set_max_level(level);
    // Fails only when a logger is installed already, and that one is ours.
    let _ = log::set_logger(&Stderr);
    Ok(())
}

/// The level that `word` names, in any case. `fatal` and `panic` are the quietest ones: what they would show ends the program
/// and is printed anyway.
fn parse_level(word: &str) -> Result<LevelFilter, CommandError> {
    match word.to_ascii_lowercase().as_str() {
        "trace" => Ok(LevelFilter::Trace),
        "debug" => Ok(LevelFilter::Debug),
        "info" => Ok(LevelFilter::Info),
        "warn" | "warning" => Ok(LevelFilter::Warn),
        "error" => Ok(LevelFilter::Error),
        "fatal" | "panic" => Ok(LevelFilter::Off),
        _ => Err(CommandError::usage(format!("unable to parse log level: not a valid logrus Level: {word:?}"))
            .hinting(Some("the levels are trace, debug, info, warn, error, fatal and panic".to_owned()))),
    }
}
