//! The comments at the top of a Dockerfile that say how to read it: `# escape=`, `# syntax=`, `# check=`.

use super::error::cut;
use super::{ParseError, ParseErrorKind, Span};

/// What the directives say. Frontends and checks are not ours to run: what they are told is kept and nothing follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the image of the frontend that the author thought of.
    pub syntax: Option<String>,
    /// `# escape=`: backslash or backtick.
    pub escape: char,
    /// `# check=`: the settings of the frontend's checks.
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: None }
    }
}

impl Directives {
    /// Reads the comments at the start of `text` (the number of which is `file`), up to the first line that is no directive.
    pub(super) fn read(text: &str, file: usize) -> Result<Self, ParseError> {
        let mut found = Self::default();
        let mut escape_given = false;
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let span = Span { file, start, end: start + line.trim_end().len() };
            start += line.len();
            let Some((name, value)) = directive(line) else { break };
            let error = |problem: String| ParseError { kind: ParseErrorKind::Directive(problem), span };
            match name.to_ascii_lowercase().as_str() {
                "escape" if escape_given => return Err(error("only one escape parser directive can be used".to_owned())),
                "escape" => {
                    found.escape = match value {
                        "\\" => '\\',
                        "`" => '`',
                        other => {
                            return Err(error(format!("invalid escape token {:?}: it has to be \\ or `", cut(other))));
                        }
                    };
                    escape_given = true;
                }
                "syntax" => found.syntax = Some(value.to_owned()),
                "check" => found.check = Some(value.to_owned()),
                _ => break,
            }
        }
        Ok(found)
    }
}

/// The name and the value in `# name = value`.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}
