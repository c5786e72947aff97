//! The arguments of an instruction, cut into what its grammar has: words, pairs, a JSON array, flags.

use super::error::cut;
use super::expand::{self, Lookup};
use super::flags::Flag;
use super::lines::{Line, is_blank};
use super::{Heredoc, Keyword, ParseError, ParseErrorKind};

/// Whether values are known.
#[derive(Clone, Copy)]
pub(super) enum Reading<'a> {
    /// Not yet: only what is wrong whatever the values are is to be found.
    Check,
    /// Now.
    With(Lookup<'a>),
}

/// What follows a keyword, with what is needed to read it.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    /// The keyword.
    pub(super) keyword: Keyword,
    /// The text after the flags, without blanks around it.
    pub(super) text: &'a str,
    /// The flags before it.
    pub(super) flags: &'a [Flag<'a>],
    /// The here-documents behind it.
    pub(super) heredocs: &'a [Heredoc],
    /// The line in which all this stands.
    pub(super) line: &'a Line,
    /// The escape character.
    pub(super) escape: char,
    /// What variables stand for.
    pub(super) reading: Reading<'a>,
}

impl<'a> Arguments<'a> {
    /// An error about these arguments.
    pub(super) fn error(&self, problem: impl Into<String>) -> ParseError {
        self.error_at(self.text, problem)
    }

    /// An error about `part` of the line.
    pub(super) fn error_at(&self, part: &str, problem: impl Into<String>) -> ParseError {
        let kind = ParseErrorKind::Arguments { keyword: self.keyword, problem: problem.into() };
        ParseError { kind, span: self.line.span_of(part) }
    }

    /// Refuses an empty text.
    pub(super) fn some(&self) -> Result<&'a str, ParseError> {
        if self.text.is_empty() { Err(self.error("requires at least one argument")) } else { Ok(self.text) }
    }

    /// The whole text as one word, variables replaced.
    pub(super) fn only(&self) -> Result<String, ParseError> {
        if self.text.is_empty() {
            return Err(self.error("requires exactly one argument"));
        }
        self.expand(self.text, self.text)
    }

    /// The value of `word`, which stands in `part`.
    pub(super) fn expand(&self, word: &str, part: &str) -> Result<String, ParseError> {
        let value = match self.reading {
            Reading::Check => expand::check(word, self.escape).map(|()| String::new()),
            Reading::With(lookup) => expand::expand(word, self.escape, lookup),
        };
        value.map_err(|error| self.error_at(part, format!("{:?}: {error}", cut(word))))
    }

    /// Reads the value of `word`, which stands in `part`. `None` if it is not known yet.
    pub(super) fn value<T>(
        &self,
        word: &str,
        part: &str,
        read: impl FnOnce(String) -> Result<T, String>,
    ) -> Result<Option<T>, ParseError> {
        let value = match self.reading {
            Reading::Check if word.contains('$') => return self.expand(word, part).map(|_| None),
            Reading::Check => expand::expand(word, self.escape, &|_| None)
                .map_err(|error| self.error_at(part, format!("{:?}: {error}", cut(word))))?,
            Reading::With(_) => self.expand(word, part)?,
        };
        read(value).map(Some).map_err(|problem| self.error_at(part, problem))
    }

    /// The text as a JSON array of strings. `None` if it is no JSON array; an array of other things is an error, since nobody
    /// means it as a text for the shell.
    pub(super) fn json(&self) -> Result<Option<Vec<String>>, ParseError> {
        if !self.text.starts_with('[') {
            return Ok(None);
        }
        match (serde_json::from_str::<Vec<String>>(self.text), serde_json::from_str::<Vec<serde::de::IgnoredAny>>(self.text)) {
            (Ok(words), _) => Ok(Some(words)),
            (Err(_), Ok(_)) => Err(self.error("when using JSON array syntax, arrays must be comprised of strings only")),
            (Err(_), Err(_)) => Ok(None),
        }
    }

    /// The text as a JSON array, or else its words, each with where it stands; nothing is replaced in them yet.
    pub(super) fn list(&self) -> Result<Vec<(String, &'a str)>, ParseError> {
        Ok(match self.json()? {
            Some(words) => words.into_iter().map(|word| (word, self.text)).collect(),
            None => self.text.split(is_blank).filter(|word| !word.is_empty()).map(|word| (word.to_owned(), word)).collect(),
        })
    }

    /// `name=value …`, or the old form `name value…` in which everything after the name is its value.
    pub(super) fn pairs(&self) -> Result<Vec<(String, String)>, ParseError> {
        let words = split_words(self.some()?, self.escape);
        if !words.first().is_some_and(|word| word.contains('=')) {
            let (name, value) = self.text.split_once(is_blank).ok_or_else(|| self.error("must have two arguments"))?;
            let value = value.trim_start();
            return Ok(vec![(self.name(name)?, self.expand(value, value)?)]);
        }
        let pair = |word: &'a str| match word.split_once('=') {
            Some((name, value)) => Ok((self.name(name)?, self.expand(value, word)?)),
            None => Err(self.error_at(word, format!("can't find = in {:?}. Must be of the form: name=value", cut(word)))),
        };
        words.into_iter().map(pair).collect()
    }

    /// The name of a pair. Without one it would be lost, and with a NUL it can't be put into an environment.
    pub(super) fn name(&self, word: &str) -> Result<String, ParseError> {
        let name = self.value(word, word, |name| {
            if name.is_empty() || name.contains('\0') { Err("names can not be blank".to_owned()) } else { Ok(name) }
        })?;
        Ok(name.unwrap_or_default())
    }
}

/// Words at blanks that are neither quoted nor escaped; quotes and escapes stay in them. An open quote goes to the end, where
/// expanding the word finds it.
pub(super) fn split_words(text: &str, escape: char) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                words.extend(start.take().and_then(|start: usize| text.get(start..at)));
                continue;
            }
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), c) if c == escape => drop(characters.next()),
            _ => {}
        }
        start.get_or_insert(at);
    }
    words.extend(start.and_then(|start| text.get(start..)));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        let cases = [
            ("", &[][..]),
            ("a b", &["a", "b"]),
            ("X=\"a b\" Y=c\\ d", &["X=\"a b\"", "Y=c\\ d"]),
            ("'a b' \"c 'd\" e", &["'a b'", "\"c 'd\"", "e"]),
            ("a\"b", &["a\"b"]),
            ("\"x\\\" y\" z", &["\"x\\\" y\"", "z"]),
            ("'x\\' y", &["'x\\'", "y"]),
            ("a\\", &["a\\"]),
        ];
        for (text, words) in cases {
            assert_eq!(split_words(text, '\\'), words, "{text:?}");
        }
        assert_eq!(split_words("a` b\\ c", '`'), ["a` b\\", "c"]);
    }
}
