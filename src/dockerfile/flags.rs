//! Flags before an instruction's arguments: `--name`, `--name=value`.

use super::error::{cut, nearest};
use super::words::Arguments;
use super::{Keyword, ParseError, ParseErrorKind};

/// A flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag<'a> {
    /// What stands in the line.
    pub(super) source: &'a str,
    /// Its name, without dashes.
    pub(super) name: String,
    /// What follows the equals sign. Quotes and escapes are resolved once; variables are not replaced.
    pub(super) value: Option<String>,
}

/// The flags at the start of `text` and what follows them. `--` alone ends them and is dropped.
pub(super) fn split_flags(text: &str) -> (Vec<Flag<'_>>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (source, word, after) = first_word(rest);
        rest = after.trim_start();
        let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty()) else { break };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        };
        flags.push(Flag { source, name, value });
    }
    (flags, rest.trim_end())
}

/// The first word as it stands, its value without quotes and escapes, and the rest. (The escape is a backslash whatever the
/// directive says, as in BuildKit's frontend.)
fn first_word(text: &str) -> (&str, String, &str) {
    let mut value = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                end = at;
                break;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (_, '\\') => value.extend(characters.next().map(|(_, c)| c)),
            (_, c) => value.push(c),
        }
    }
    let (source, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (source, value, rest)
}

impl<'a> Arguments<'a> {
    /// Refuses flags that the instruction does not have.
    pub(super) fn refuse_unknown_flags(&self) -> Result<(), ParseError> {
        let known = self.keyword.flags();
        match self.flags.iter().find(|flag| !known.contains(&flag.name.as_str())) {
            Some(flag) => Err(self.unknown_flag(self.keyword, flag)),
            None => Ok(()),
        }
    }

    fn unknown_flag(&self, keyword: Keyword, flag: &Flag<'_>) -> ParseError {
        let nearest = nearest(&flag.name, keyword.flags().iter().map(|name| (*name, *name)));
        let name = cut(&flag.name).escape_debug().to_string();
        ParseError { kind: ParseErrorKind::Flag { keyword, flag: name, nearest }, span: self.line.span_of(flag.source) }
    }

    /// All flags of a name, each with its value.
    pub(super) fn flag_values(&self, name: &str) -> Result<Vec<(&'a Flag<'a>, &'a str)>, ParseError> {
        let valued = |flag: &'a Flag<'a>| match &flag.value {
            Some(value) => Ok((flag, value.as_str())),
            None => Err(self.error_at(flag.source, format!("--{name} needs a value: --{name}=…"))),
        };
        self.flags.iter().filter(|flag| flag.name == name).map(valued).collect()
    }

    /// The only flag of a name.
    pub(super) fn flag(&self, name: &str) -> Result<Option<(&'a Flag<'a>, &'a str)>, ParseError> {
        match self.flag_values(name)?.as_slice() {
            [] => Ok(None),
            [flag] => Ok(Some(*flag)),
            [_, (second, _), ..] => Err(self.error_at(second.source, format!("--{name} is given more than once"))),
        }
    }

    /// The value of the only flag of a name, variables replaced.
    pub(super) fn flag_text(&self, name: &str) -> Result<Option<String>, ParseError> {
        self.flag(name)?.map(|(flag, value)| self.expand(value, flag.source)).transpose()
    }

    /// The same where nothing is no value, as in what a variable stands for that nobody has set.
    pub(super) fn flag_name(&self, name: &str) -> Result<Option<String>, ParseError> {
        let Some((flag, value)) = self.flag(name)? else { return Ok(None) };
        let filled =
            |text: String| if text.is_empty() { Err(format!("has no value specified for --{name}=")) } else { Ok(text) };
        self.value(value, flag.source, filled).map(|text| Some(text.unwrap_or_default()))
    }

    /// `--name`, `--name=true` or `--name=false`.
    pub(super) fn switch(&self, name: &str) -> Result<Option<bool>, ParseError> {
        let mut found = None;
        for flag in self.flags.iter().filter(|flag| flag.name == name) {
            if found.is_some() {
                return Err(self.error_at(flag.source, format!("--{name} is given more than once")));
            }
            found = Some(match flag.value.as_deref() {
                None => true,
                Some(word) if word.eq_ignore_ascii_case("true") => true,
                Some(word) if word.eq_ignore_ascii_case("false") => false,
                Some(other) => {
                    let problem = format!("--{name} expects true or false, not {:?}", cut(other));
                    return Err(self.error_at(flag.source, problem));
                }
            });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_where_the_arguments_begin() {
        let cases = [
            ("", &[][..], ""),
            ("a --b", &[], "a --b"),
            ("--a --b=c d --e", &[("a", None), ("b", Some("c"))], "d --e"),
            ("--a=\"b c\" d", &[("a", Some("b c"))], "d"),
            ("--a='b\"c'\\ d e", &[("a", Some("b\"c d"))], "e"),
            ("--a=b=c", &[("a", Some("b=c"))], ""),
            ("--a= x", &[("a", Some(""))], "x"),
            ("--a -- --b", &[("a", None)], "--b"),
            ("-- b", &[], "b"),
            ("-a b", &[], "-a b"),
            ("--a\\", &[("a", None)], ""),
            ("--a=\"b", &[("a", Some("b"))], ""),
        ];
        for (text, flags, rest) in cases {
            let (found, found_rest) = split_flags(text);
            let found: Vec<_> = found.iter().map(|flag| (flag.name.as_str(), flag.value.as_deref())).collect();
            assert_eq!((found.as_slice(), found_rest), (flags, rest), "{text:?}");
        }
    }
}
