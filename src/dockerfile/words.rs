//! The arguments of an instruction, cut into what its grammar has: words, pairs, a JSON array, flags.

use super::expand::{self, Lookup};
use super::{ParseError, ParseErrorKind, Span};

/// What follows a keyword, with what is needed to read it.
pub(super) struct Arguments<'a> {
    /// The keyword, upper case.
    pub(super) keyword: &'static str,
    /// The text after it, without blanks around it.
    pub(super) text: &'a str,
    /// Where it stands.
    pub(super) span: Span,
    /// What variables stand for.
    pub(super) env: Lookup<'a>,
}

impl<'a> Arguments<'a> {
    /// An error about these arguments.
    pub(super) fn error(&self, problem: impl Into<String>) -> ParseError {
        ParseError { kind: ParseErrorKind::Arguments { keyword: self.keyword, problem: problem.into() }, span: self.span }
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
        self.expand(self.text)
    }

    /// The value of a word.
    pub(super) fn expand(&self, word: &str) -> Result<String, ParseError> {
        expand::expand(word, self.env).map_err(|error| self.error(format!("{:?}: {error}", cut(word))))
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

    /// The text as a JSON array, or else its words, variables replaced in both.
    pub(super) fn list(&self) -> Result<Vec<String>, ParseError> {
        let words = match self.json()? {
            Some(words) => words,
            None => self.text.split_whitespace().map(str::to_owned).collect(),
        };
        if words.is_empty() {
            return Err(self.error("requires at least one argument"));
        }
        words.iter().map(|word| self.expand(word)).collect()
    }

    /// `name=value …`, or the old form `name value…` in which everything after the name is its value.
    pub(super) fn pairs(&self) -> Result<Vec<(String, String)>, ParseError> {
        let words = split_words(self.some()?);
        if !words.first().is_some_and(|word| word.contains('=')) {
            let (name, value) =
                self.text.split_once(char::is_whitespace).ok_or_else(|| self.error("must have two arguments"))?;
            return Ok(vec![(self.expand(name)?, self.expand(value.trim_start())?)]);
        }
        words
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some((name, value)) => Ok((self.expand(name)?, self.expand(value)?)),
                None => Err(self.error(format!("can't find = in {:?}. Must be of the form: name=value", cut(word)))),
            })
            .collect()
    }
}

/// The first 100 characters, for an error.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Words at blanks that are neither quoted nor escaped; quotes and escapes stay in them. An open quote goes to the end, where
/// expanding the word finds it.
fn split_words(text: &str) -> Vec<&str> {
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
            (None | Some('"'), '\\') => drop(characters.next()),
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
            assert_eq!(split_words(text), words, "{text:?}");
        }
    }
}
