//! The outcome of one command, and how a snapshot shows it: stdout, stderr, status, with what differs from run to run named.

use std::fmt;
use std::path::PathBuf;

/// What a command wrote and how it ended.
pub struct CommandOutput {
    /// Its stdout, as bytes.
    pub stdout: Vec<u8>,
    /// Its stderr, as bytes.
    pub stderr: Vec<u8>,
    /// Its exit status, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub(super) private: PathBuf,
}

impl CommandOutput {
    /// Stdout as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Stdout without its final newline; the command must have exited with 0.
    #[track_caller]
    pub fn success(&self) -> String {
        assert_eq!(self.code, Some(0), "the command failed:\n{self}");
        let out = self.out();
        out.strip_suffix('\n').unwrap_or(&out).to_owned()
    }

    /// Stderr; the command must have exited with `code`.
    #[track_caller]
    pub fn failure(&self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "an exit status of {code} was expected:\n{self}");
        self.err()
    }

    fn normalised(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace(&*self.private.to_string_lossy(), "[TEST]");
        let mut out = String::with_capacity(text.len());
        let mut run = String::new();
        for character in text.chars().chain(std::iter::once('\0')) {
            if character.is_ascii_digit() || ('a'..='f').contains(&character) {
                run.push(character);
                continue;
            }
            out.push_str(match run.len() {
                64 => "[ID]",
                12 => "[SHORT]",
                _ => &run,
            });
            run.clear();
            if character != '\0' {
                out.push(character);
            }
        }
        out
    }
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let out = self.normalised(&self.stdout);
        let err = self.normalised(&self.stderr);
        f.write_str(&out)?;
        if !out.is_empty() && !out.ends_with('\n') {
            f.write_str("[no newline]\n")?;
        }
        if !err.is_empty() {
            writeln!(f, "------- stderr -------\n{}", err.trim_end_matches('\n'))?;
        }
        match (self.code, self.signal) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => writeln!(f, "[exit status: {code}]"),
            (None, signal) => writeln!(f, "[signal: {}]", signal.unwrap_or_default()),
        }
    }
}
