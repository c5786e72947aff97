//! The one logger: writes what the `log` facade gets to stderr, one line each.
//!
//! What is meant for everybody reads like the program's other lines, `warning: TEXT`; what explains how it works, from level info on, has
//! the form of the other tools' logs (logrus): `time="…" level=debug msg="…"`.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::CommandError;
use super::args::GlobalArgs;
use super::error::spoken;
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
            let text = record.args().to_string();
            let line = match record.level() {
                Level::Error => format!("error: {}\n", escape(&spoken(&text))),
                Level::Warn => format!("warning: {}\n", escape(&spoken(&text))),
                level => explanation(level, &text),
            };
            // In one write, so that lines of several threads or processes do not mix.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// A line of a log. Words without blanks are not quoted, as with logrus.
fn explanation(level: Level, text: &str) -> String {
    let text = escape(text);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    let quoted = if text.bytes().all(is_plain) {
        text.into_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    };
    let level = level.as_str().to_ascii_lowercase();
    format!("time=\"{:.0}\" level={level} msg={quoted}\n", jiff::Timestamp::now())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_a_line_of_logrus() {
        let line = explanation(Level::Debug, "read \"a\\b\"\n\u{1b}[31m");
        let (time, rest) = line.split_at("time=\"2026-11-22T10:00:00Z\"".len());
        assert!(time.starts_with("time=\"2") && time.ends_with("Z\""), "{line}");
        assert_eq!(rest, " level=debug msg=\"read \\\"a\\\\b\\\"\\\\n\\\\u{1b}[31m\"\n");
        assert!(explanation(Level::Info, "plain").ends_with(" level=info msg=plain\n"));
    }
}
