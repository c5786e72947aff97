//! `Ui`: the only writer. Data goes to stdout, notes and errors to stderr; text from outside is escaped before a person or a
//! terminal sees it (CVE-2025-58160, CVE-2024-52005), JSON is written as it is.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use super::CommandError;
use super::error::spoken;

/// The only writer of a command.
#[derive(Debug)]
pub struct Ui {
    out: BufWriter<Stdout>,
    loss: Loss,
}

/// What it means that stdout was closed before the program began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// What is printed is said by the way, and nobody wants it.
    Unnoticed,
    /// What is printed was asked for: an error.
    Failure,
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

impl Ui {
    /// A writer on this process's stdout and stderr.
    pub fn new() -> Self {
        Self { out: BufWriter::new(io::stdout()), loss: Loss::Unnoticed }
    }

    /// What is written from now on is what the person asked for: a closed stdout is an error. Verbs that only mention what they did go on,
    /// as Buildah's do.
    pub fn answers(&mut self) {
        self.loss = Loss::Failure;
    }

    /// Writes one line of data to stdout, with control characters escaped.
    pub fn data(&mut self, line: impl Display) -> Result<(), CommandError> {
        let line = line.to_string();
        self.exact(escape(&line).as_bytes())?;
        self.exact(b"\n")
    }

    /// Writes lines of text for a person: each escaped, the last ended.
    pub fn lines(&mut self, text: &str) -> Result<(), CommandError> {
        text.lines().try_for_each(|line| self.data(line))
    }

    /// Writes bytes to stdout as they are: JSON, the result of a template, a script.
    pub fn exact(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        if self.loss == Loss::Failure && crate::sys::stdio::stdout_was_closed() {
            return Err(write_error(io::Error::from_raw_os_error(libc::EBADF)));
        }
        self.out.write_all(bytes).map_err(write_error)
    }

    /// Writes a JSON document and a newline: exactly, but to a terminal with its unprintable characters as JSON escapes.
    pub fn json(&mut self, document: &str) -> Result<(), CommandError> {
        if self.stdout_is_terminal() {
            self.exact(escape_json(document).as_bytes())?;
        } else {
            self.exact(document.as_bytes())?;
        }
        self.exact(b"\n")
    }

    /// Writes a line to stderr that is not an error: what is being done, a warning.
    pub fn note(&mut self, line: impl Display) {
        Self::progress(line);
    }

    /// Writes a warning to stderr, unless `--log-level` asks for errors only.
    pub fn warning(&mut self, text: impl Display) {
        if log::max_level() >= log::LevelFilter::Warn {
            Self::progress(format!("warning: {}", spoken(&text.to_string())));
        }
    }

    /// Asks a person for something: a line on stderr that is not ended. What was written before is handed over first.
    pub fn prompt(&mut self, words: impl Display) {
        let _ = self.out.flush();
        Self::ask(words);
    }

    /// The same where nothing was written before.
    pub fn ask(words: impl Display) {
        let _ = io::stderr().write_all(escape(&words.to_string()).as_bytes());
    }

    /// Puts `lines` on the terminal that is stderr, in place of the last `drawn` lines there.
    pub fn redraw(drawn: usize, lines: &[String]) {
        let mut text = String::from(if drawn > 0 { "\r" } else { "" });
        if drawn > 0 {
            text.push_str(&format!("\x1b[{drawn}A\x1b[J"));
        }
        // A line that goes on in the next one would be counted wrongly.
        let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { 80 } else { columns.max(2) };
        for line in lines {
            text.extend(escape(line).chars().take(columns - 1));
            text.push_str("\r\n");
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// The same from any thread: what a long operation is doing.
    pub fn progress(line: impl Display) {
        let mut line = escape(&line.to_string()).into_owned();
        // In one write, so that lines of several threads or processes do not mix.
        line.push('\n');
        // Nothing sensible is left to do when stderr itself fails.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    /// A JSON document in a line of standard error. What a terminal must not get is written as JSON writes it.
    pub(super) fn document(document: &serde_json::Value) {
        let _ = io::stderr().write_all((escape_json(&document.to_string()) + "\n").as_bytes());
    }

    /// Writes to a terminal what moves its cursor: lines that are drawn again. What is foreign in it was escaped before.
    pub(super) fn draw(text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Standard output as a file, for data of any length. What was written before is handed over first.
    pub(super) fn handle(&mut self) -> Result<std::fs::File, CommandError> {
        use std::os::fd::AsFd as _;
        if crate::sys::stdio::stdout_was_closed() {
            return Err(write_error(io::Error::from_raw_os_error(libc::EBADF)));
        }
        if self.stdout_is_terminal() {
            return Err(CommandError::usage(
                "an archive is not written to a terminal: redirect standard output, or name a file",
            ));
        }
        self.finish()?;
        let own = io::stdout().as_fd().try_clone_to_owned().map_err(write_error)?;
        Ok(std::fs::File::from(own))
    }

    /// Whether stdout is a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Hands over what is still buffered. Before a child process uses the same stdout, and at the end.
    pub fn finish(&mut self) -> Result<(), CommandError> {
        self.out.flush().map_err(write_error)
    }

    /// Prints an error and its hints; first what is still buffered, so that both are in order.
    pub fn failure(&mut self, error: &CommandError) {
        if error.is_silent() {
            return;
        }
        let _ = self.out.flush();
        let hints = error.hints();
        let mut text = format!("Error: {}\n", error.text());
        text.push_str(error.excerpt().unwrap_or_default());
        if !hints.is_empty() {
            // A list of failures ends with an empty line, which would tear the hints off.
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for hint in hints {
            text.push_str(&format!("hint: {}\n", escape(&hint)));
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn write_error(error: io::Error) -> CommandError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CommandError::broken_pipe();
    }
    CommandError::from(error).context("write /dev/stdout")
}

/// `text` with everything escaped that could move the cursor, hide text, or break a line: C0 and C1 controls, DEL, line and
/// paragraph separators, bidirectional and zero-width controls.
pub fn escape(text: &str) -> Cow<'_, str> {
    // Nearly all text is plain ASCII, which takes no decoding to see.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain || !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_unprintable(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// A JSON document with the unprintable characters of its strings as `\uXXXX`. Line feeds are the document's own.
fn escape_json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for letter in document.chars() {
        if letter != '\n' && is_unprintable(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(letter);
        }
    }
    out
}

fn is_unprintable(letter: char) -> bool {
    matches!(letter,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_for_a_terminal_stays_json() {
        let document = "{\n    \"a\": \"\u{9b}31m\u{202e}\u{e0001}x\"\n}";
        let shown = escape_json(document);
        assert_eq!(shown, "{\n    \"a\": \"\\u009b31m\\u202e\\udb40\\udc01x\"\n}");
        let (a, b): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(document).expect("JSON"), serde_json::from_str(&shown).expect("JSON"));
        assert_eq!(a, b);
    }

    #[test]
    fn escape_leaves_words_and_disarms_the_rest() {
        let cases = [
            ("localhost/app:1", "localhost/app:1"),
            ("größe 世界", "größe 世界"),
            ("a\x1b]0;x\x07b", "a\\u{1b}]0;x\\u{7}b"),
            ("a\nb\r\t", "a\\nb\\r\\t"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\u{7f}\u{8}", "\\u{7f}\\u{8}"),
        ];
        for (text, want) in cases {
            assert_eq!(escape(text), want, "{text:?}");
        }
    }
}
