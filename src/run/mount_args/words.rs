//! The words of a mount: `KEY`, `KEY=VALUE`, separated by commas, and what they may be. Pure.
//!
//! A field that begins with a quote ends with one, and holds what a comma would end elsewhere (CSV, RFC 4180); in any other a quote is a
//! character like others, as it is for Buildah.

use std::str::Chars;

use crate::spelling::nearest;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub key: String,
    /// After the first `=`; `None` where there is none.
    pub value: Option<String>,
}

/// The words of `text`.
pub(super) fn split(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.chars();
    loop {
        let (field, is_last) = field(&mut rest).ok_or_else(|| format!("{text:?}: extraneous or missing \" in quoted-field"))?;
        words.push(match field.split_once('=') {
            Some((key, value)) => Word { key: key.to_owned(), value: Some(value.to_owned()) },
            None => Word { key: field, value: None },
        });
        if is_last {
            return Ok(words);
        }
    }
}

/// The next field, and whether it is the last one; `None` for quotes that do not match.
fn field(rest: &mut Chars<'_>) -> Option<(String, bool)> {
    let mut field = String::new();
    let Some(mut quoted) = rest.as_str().strip_prefix('"').map(str::chars) else {
        for letter in rest.by_ref() {
            match letter {
                ',' => return Some((field, false)),
                other => field.push(other),
            }
        }
        return Some((field, true));
    };
    loop {
        match quoted.next()? {
            '"' => match quoted.next() {
                Some('"') => field.push('"'),
                end @ (None | Some(',')) => {
                    *rest = quoted;
                    return Some((field, end.is_none()));
                }
                Some(_) => return None,
            },
            other => field.push(other),
        }
    }
}

impl Word {
    /// Its value, which may not be empty.
    pub(super) fn needed(&self) -> Result<&str, String> {
        let value = self.value.as_deref().filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{}: must provide an argument for option", self.key))
    }

    /// Refuses a value.
    pub(super) fn bare(&self) -> Result<(), String> {
        if self.value.is_none() { Ok(()) } else { Err(format!("{}: must not provide an argument for option", self.key)) }
    }

    /// A switch; Buildah's have no value, the Dockerfile reference's have one, in any of the spellings of Go.
    pub(super) fn truth(&self) -> Result<bool, String> {
        match self.value.as_deref() {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(format!("invalid value {other:?} of {}", self.key)),
        }
    }

    /// The id of a user or group, as `what` has it.
    pub(super) fn number(&self, what: &str) -> Result<u32, String> {
        let value = self.needed()?;
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse::<u32>().ok().filter(|id| digits && *id <= i32::MAX as u32);
        number.ok_or_else(|| format!("unable to parse {what} {} {value:?}: not a number that an id can be", self.key))
    }

    /// Permission bits in octal, as `what` has them.
    pub(super) fn mode(&self, what: &str) -> Result<u32, String> {
        let value = self.needed()?;
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(value, 8).ok().filter(|mode| digits && *mode <= 0o7777);
        mode.ok_or_else(|| format!("unable to parse {what} mode {value:?}: not an octal number of at most 7777"))
    }

    /// Refuses the word; `known` are those that there are.
    pub(super) fn unknown(&self, known: &[&str]) -> String {
        refusal(format!("{}: invalid mount option", self.key), &self.key, known)
    }
}

/// `text`, with the word of `known` that was probably meant by `word`.
pub(super) fn refusal(text: String, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()).filter(|_| !word.is_empty()) {
        Some(meant) => format!("{text}: did you mean {meant}?"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_field_may_hold_a_comma() {
        let words = |text: &str| {
            let words = split(text)?;
            Ok::<_, String>(words.into_iter().map(|word| (word.key, word.value.unwrap_or("-".into()))).collect::<Vec<_>>())
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(words("a=1,b").unwrap(), [pair("a", "1"), pair("b", "-")]);
        assert_eq!(words("\"a=1,2\",b=").unwrap(), [pair("a", "1,2"), pair("b", "")]);
        assert_eq!(words("\"a=\"\"q\"\"\"").unwrap(), [pair("a", "\"q\"")]);
        assert_eq!(words("a=\"1\",b=x=y").unwrap(), [pair("a", "\"1\""), pair("b", "x=y")]);
        assert_eq!(words("").unwrap(), [pair("", "-")]);
        assert_eq!(words("a,").unwrap(), [pair("a", "-"), pair("", "-")]);
        for text in ["\"a", "\"a\"b,c", "x,\"", "\"\"\""] {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_typing_error_names_the_word_that_was_meant() {
        let known = ["target", "source", "ro", "sharing", "U"];
        for (word, meant) in [
            ("tagret", Some("target")),
            ("sorce", Some("source")),
            ("sharin", Some("sharing")),
            ("rx", None),
            ("zz", None),
            ("", None),
        ] {
            let meant = meant.map(|meant| format!(": did you mean {meant}?")).unwrap_or_default();
            assert_eq!(refusal("no".to_owned(), word, &known), format!("no{meant}"), "{word}");
        }
        assert_eq!(refusal("no".to_owned(), &"t".repeat(100_000), &known), "no");
        let word = Word { key: "tagret".into(), value: None };
        assert_eq!(word.unknown(&known), "tagret: invalid mount option: did you mean target?");
    }
}
