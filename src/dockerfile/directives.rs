//! The comments at the top of a Dockerfile that say how to read it: `# escape=`, `# syntax=`, `# check=`.
//!
//! ```text
//! # check=skip=RULE[,RULE…] | skip=all [;experimental=RULE[,RULE…] | all] [;error=true|false]
//! ```

use super::error::cut;
use super::{ParseError, ParseErrorKind, Span};

/// What the directives say. Frontends and checks are not ours to run: what they are told is kept, if it is what they understand, and nothing
/// follows from it.
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
        let mut given: Vec<String> = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let span = Span { file, start, end: start + line.trim_end().len() };
            start += line.len();
            let Some((name, value)) = directive(line) else { break };
            let error = |problem: String| ParseError { kind: ParseErrorKind::Directive(problem), span };
            let name = name.to_ascii_lowercase();
            if given.contains(&name) {
                return Err(error(format!("only one {name} parser directive can be used")));
            }
            match name.as_str() {
                "escape" => {
                    found.escape = match value {
                        "\\" => '\\',
                        "`" => '`',
                        other => {
                            return Err(error(format!("invalid escape token {:?}: it has to be \\ or `", cut(other))));
                        }
                    };
                }
                "syntax" => found.syntax = Some(value.to_owned()),
                "check" => {
                    checked(value).map_err(error)?;
                    found.check = Some(value.to_owned());
                }
                _ => break,
            }
            given.push(name);
        }
        Ok(found)
    }
}

/// Refuses settings of checks that are none: a mistake in them would make the checks say nothing, or fail elsewhere.
fn checked(text: &str) -> Result<(), String> {
    for setting in text.split(';').map(str::trim) {
        let Some((name, value)) = setting.split_once('=') else {
            return Err(format!("invalid check option {:?}: it has to be NAME=VALUE", cut(setting)));
        };
        let value = value.trim();
        let known = match name.trim().to_ascii_lowercase().as_str() {
            "skip" | "experimental" => value.split(',').all(|rule| is_rule(rule.trim())),
            // As Go reads a truth value.
            "error" => {
                matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False")
            }
            other => return Err(format!("invalid check option {:?}: there are skip, experimental and error", cut(other))),
        };
        if !known {
            return Err(format!("invalid value {:?} of the check option {:?}", cut(value), cut(name.trim())));
        }
    }
    Ok(())
}

/// The name of a rule, or `all`.
fn is_rule(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|character| character.is_ascii_alphanumeric())
}

/// The name and the value in `# name = value`.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Directives {
        Directives::read(text, 0).expect("directives that can be followed")
    }

    #[test]
    fn directives_are_read_at_the_top_only() {
        let cases = [
            ("# escape=`\n", '`'),
            ("#escape=`", '`'),
            ("#  ESCAPE  =  `  \r\nFROM x", '`'),
            ("# syntax=docker/dockerfile:1\n# escape=`\n", '`'),
            ("# check=skip=all\n# escape = \\\n", '\\'),
            ("# a comment\n# escape=`\n", '\\'),
            ("\n# escape=`\n", '\\'),
            ("# other=x\n# escape=`\n", '\\'),
            ("FROM x\n# escape=`\n", '\\'),
            ("# escape\n# escape=`\n", '\\'),
            ("# escape=\n", '\\'),
            ("", '\\'),
        ];
        for (text, escape) in cases {
            assert_eq!(read(text).escape, escape, "{text:?}");
        }
    }

    #[test]
    fn what_frontends_and_checks_are_told_is_kept() {
        let found = read("# syntax = docker/dockerfile:1 \n# check=skip=JSONArgsRecommended;error=true\nFROM x");
        assert_eq!(found.syntax.as_deref(), Some("docker/dockerfile:1"));
        assert_eq!(found.check.as_deref(), Some("skip=JSONArgsRecommended;error=true"));
    }

    #[test]
    fn settings_of_checks_are_what_checks_understand() {
        for value in ["skip=all", "error=true", "skip=A,B;error=false", " skip = A , B ; experimental=all ;error=1", "SKIP=A"] {
            assert!(Directives::read(&format!("# check={value}\nFROM x"), 0).is_ok(), "{value}");
        }
        for (value, words) in [
            ("all", "invalid check option \"all\": it has to be NAME=VALUE"),
            ("skip=A;", "invalid check option \"\""),
            ("skip=", "invalid value \"\" of the check option \"skip\""),
            ("skip=A,,B", "invalid value \"A,,B\""),
            ("skip=A B", "invalid value \"A B\""),
            ("error=yes", "invalid value \"yes\" of the check option \"error\""),
            ("warn=A", "invalid check option \"warn\": there are skip, experimental and error"),
        ] {
            let error = Directives::read(&format!("# check={value}\nFROM x"), 0).unwrap_err();
            assert!(error.to_string().contains(words), "{value}: {error}");
            assert_eq!(error.span, Span { file: 0, start: 0, end: 8 + value.len() }, "{value}");
        }
    }

    #[test]
    fn an_escape_that_is_none_is_an_error_with_its_place() {
        let error = Directives::read("# syntax=a\n# escape=%\n", 3).unwrap_err();
        assert_eq!(error.span, Span { file: 3, start: 11, end: 21 });
        assert_eq!(error.to_string(), "invalid escape token \"%\": it has to be \\ or `");
    }

    #[test]
    fn no_directive_is_given_twice() {
        for (name, value) in [("escape", "`"), ("syntax", "a"), ("check", "skip=all")] {
            let text = format!("# {name}={value}\n# {}={value}\nFROM x\n", name.to_uppercase());
            let error = Directives::read(&text, 0).unwrap_err();
            assert_eq!(error.to_string(), format!("only one {name} parser directive can be used"));
            let start = 4 + name.len() + value.len();
            assert_eq!(error.span, Span { file: 0, start, end: 2 * start - 1 }, "{name}");
        }
        assert!(Directives::read("# syntax=a\n# note\n# syntax=a\n", 0).is_ok(), "after a comment there are no directives");
    }
}
