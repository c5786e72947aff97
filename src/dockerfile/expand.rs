//! A word as written to its value: quotes and escapes resolved, variables replaced.
//!
//! The rules are the Dockerfile reference's ("Environment replacement"): single quotes keep everything, double quotes keep all but
//! `$` and the escape character before `"`, `$` and itself. Nothing is replaced twice, and both the result and the work are bounded.

use super::pattern::{Budget, Pattern, Place, Reach, Spent, Where};

/// The most bytes that a word may become: 2 MiB, as a line.
pub const MAX_VALUE: usize = super::MAX_LINE;
/// The deepest `${a:-${b:-…}}`.
const MAX_DEPTH: usize = 64;
/// How many bytes of values may be looked at for one word.
const MAX_LOOKED_AT: usize = 8 * MAX_VALUE;
/// How often a character may be compared with a place of a pattern for one word.
const MAX_STEPS: usize = 4 << 20;

/// Why a word has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A quote without its end.
    #[error("unexpected end of statement while looking for matching {0}-quote")]
    Quote(&'static str),
    /// A `${` that is not closed.
    #[error("syntax error: missing '}}' in ${{…}}")]
    Open,
    /// A `${` without a name.
    #[error("syntax error: bad substitution: missing or bad name in ${{…}}")]
    Name,
    /// A modifier that does not exist.
    #[error("unsupported modifier ({}) in substitution", .0.escape_debug())]
    Modifier(String),
    /// `${name:?text}` and no value.
    #[error("{name}: {text}")]
    Required {
        /// The variable.
        name: String,
        /// The text after `?`, or what stands for it.
        text: String,
    },
    /// More than [`MAX_VALUE`], too deep, or too much work.
    #[error("value is too long or nested too deeply")]
    TooLarge,
}

impl From<Spent> for Error {
    fn from(_: Spent) -> Self {
        Self::TooLarge
    }
}

/// What a variable stands for; `None` is unset.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of `word`. An unset variable is empty.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<String, Error> {
    Expander::new(word, escape, Quotes::Special, Some(lookup)).until(None)
}

/// Finds what is wrong with `word` whatever variables stand for.
pub fn check(word: &str, escape: char) -> Result<(), Error> {
    Expander::new(word, escape, Quotes::Special, None).until(None).map(drop)
}

/// The value of a here-document: variables are replaced, quotes stay, and the escape character is one only before `$` and itself.
/// (BuildKit's frontend takes it away before anything else, too, Buildah never: an author who sees that quotes the name. This is the
/// shell's rule, under which text written for either comes out as it was meant.)
pub fn expand_body(content: &str, escape: char, lookup: Lookup<'_>) -> Result<String, InBody> {
    Expander::new(content, escape, Quotes::Plain, Some(lookup)).body()
}

/// Finds what is wrong with a here-document whatever variables stand for.
pub fn check_body(content: &str, escape: char) -> Result<(), InBody> {
    Expander::new(content, escape, Quotes::Plain, None).body().map(drop)
}

/// What is wrong with a here-document, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct InBody {
    /// What.
    pub error: Error,
    /// The offset of the variable that it is about.
    pub offset: usize,
}

/// Whether quotes mean anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Special,
    Plain,
}

struct Expander<'a> {
    rest: &'a str,
    escape: char,
    quotes: Quotes,
    /// None if only the form matters.
    lookup: Option<Lookup<'a>>,
    depth: usize,
    /// How long the rest was at the last `$` that is not itself in a variable's braces.
    dollar: usize,
    /// The most bytes of the result.
    limit: usize,
    /// What is left of [`MAX_LOOKED_AT`].
    bytes: Budget,
    /// What is left of [`MAX_STEPS`].
    steps: Budget,
}

impl<'a> Expander<'a> {
    fn new(text: &'a str, escape: char, quotes: Quotes, lookup: Option<Lookup<'a>>) -> Self {
        let limit = match quotes {
            Quotes::Special => MAX_VALUE,
            // A here-document may be longer than a line; what variables add to it may not.
            Quotes::Plain => MAX_VALUE.max(text.len().saturating_mul(2)),
        };
        let (bytes, steps) = (Budget(MAX_LOOKED_AT), Budget(MAX_STEPS));
        Self { rest: text, escape, quotes, lookup, depth: 0, dollar: text.len(), limit, bytes, steps }
    }

    /// The whole text.
    fn body(mut self) -> Result<String, InBody> {
        let length = self.rest.len();
        self.until(None).map_err(|error| InBody { error, offset: length - self.dollar })
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let c = characters.next();
        self.rest = characters.as_str();
        c
    }

    /// Everything up to `end` (which is taken), or to the end of the text if there is none.
    fn until(&mut self, end: Option<char>) -> Result<String, Error> {
        let mut out = String::new();
        loop {
            match self.next() {
                None if end.is_some() => return Err(Error::Open),
                None => return Ok(out),
                Some(c) if Some(c) == end => return Ok(out),
                Some('\'') if self.quotes == Quotes::Special => out.push_str(self.single()?),
                Some('"') if self.quotes == Quotes::Special => self.double(&mut out)?,
                Some('$') => {
                    if self.depth == 0 {
                        self.dollar = self.rest.len() + 1;
                    }
                    out.push_str(&self.variable()?);
                }
                Some(c) if c == self.escape => self.escaped(end, &mut out),
                Some(c) => out.push(c),
            }
            if out.len() > self.limit {
                return Err(Error::TooLarge);
            }
        }
    }

    /// What follows an escape character that is not in quotes. At the end of the text it is dropped.
    fn escaped(&mut self, end: Option<char>, out: &mut String) {
        let next = self.rest.chars().next();
        let is_escaped =
            self.quotes == Quotes::Special || next == Some('$') || next == Some(self.escape) || next.is_some() && next == end;
        if is_escaped {
            out.extend(self.next());
        } else {
            out.push(self.escape);
        }
    }

    /// A pattern up to one of `ends` (which is taken), and which it was. What is quoted or escaped stands for itself.
    fn pattern(&mut self, ends: &[char]) -> Result<(Pattern, char), Error> {
        let mut pattern = Pattern::default();
        loop {
            match self.next().ok_or(Error::Open)? {
                c if ends.contains(&c) => return Ok((pattern, c)),
                '\'' if self.quotes == Quotes::Special => self.single()?.chars().for_each(|c| pattern.push(Place::One(c))),
                '"' if self.quotes == Quotes::Special => {
                    let mut text = String::new();
                    self.double(&mut text)?;
                    text.chars().for_each(|c| pattern.push(Place::One(c)));
                }
                '$' => self.variable()?.chars().for_each(|c| pattern.push(place(c))),
                c if c == '\\' || c == self.escape => pattern.push(Place::One(self.next().ok_or(Error::Open)?)),
                c => pattern.push(place(c)),
            }
            if pattern.len() > MAX_VALUE {
                return Err(Error::TooLarge);
            }
        }
    }

    /// The text in single quotes, as it is.
    fn single(&mut self) -> Result<&'a str, Error> {
        let (text, rest) = self.rest.split_once('\'').ok_or(Error::Quote("single"))?;
        self.rest = rest;
        Ok(text)
    }

    fn double(&mut self, out: &mut String) -> Result<(), Error> {
        loop {
            match self.next().ok_or(Error::Quote("double"))? {
                '"' => return Ok(()),
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => match self.next().ok_or(Error::Quote("double"))? {
                    c if c == '"' || c == '$' || c == self.escape => out.push(c),
                    c => out.extend([self.escape, c]),
                },
                c => out.push(c),
            }
            if out.len() > self.limit {
                return Err(Error::TooLarge);
            }
        }
    }

    /// What follows a `$`.
    fn variable(&mut self) -> Result<String, Error> {
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            return self.braces();
        }
        match self.name() {
            "" => Ok("$".to_owned()),
            name => Ok(self.value(name)?.unwrap_or_default()),
        }
    }

    /// What a variable stands for.
    fn value(&mut self, name: &str) -> Result<Option<String>, Error> {
        let value = self.lookup.and_then(|lookup| lookup(name));
        self.bytes.take(value.as_ref().map_or(0, String::len))?;
        Ok(value)
    }

    /// The longest name at the front: a special character, digits, or letters, digits and underscores.
    fn name(&mut self) -> &'a str {
        let length = |taken: fn(char) -> bool| self.rest.find(|c| !taken(c)).unwrap_or(self.rest.len());
        let length = match self.rest.chars().next() {
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            Some('0'..='9') => length(|c| c.is_ascii_digit()),
            _ => length(|c| c.is_alphanumeric() || c == '_'),
        };
        let (name, rest) = self.rest.split_at_checked(length).unwrap_or(("", self.rest));
        self.rest = rest;
        name
    }

    /// What follows a `${`.
    fn braces(&mut self) -> Result<String, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::TooLarge);
        }
        let name = self.name();
        if name.is_empty() {
            return Err(if self.rest.is_empty() { Error::Open } else { Error::Name });
        }
        let value = self.value(name)?;
        let result = match self.next() {
            Some('}') => value.unwrap_or_default(),
            Some(':') => {
                let modifier = self.next().ok_or(Error::Open)?;
                self.default(name, value.filter(|value| !value.is_empty()), [":", modifier.encode_utf8(&mut [0; 4])].concat())?
            }
            Some(modifier @ ('-' | '+' | '?')) => self.default(name, value, modifier.to_string())?,
            Some(modifier @ ('#' | '%')) => self.trimmed(value.unwrap_or_default(), modifier)?,
            Some('/') => self.replaced(&value.unwrap_or_default())?,
            Some(other) => return Err(Error::Modifier(other.to_string())),
            None => return Err(Error::Open),
        };
        self.depth -= 1;
        Ok(result)
    }

    /// `-word`, `+word`, `?word`, each perhaps after a colon, where an unwanted value has become `None`.
    fn default(&mut self, name: &str, value: Option<String>, modifier: String) -> Result<String, Error> {
        let word = self.until(Some('}'))?;
        match modifier.trim_start_matches(':') {
            "-" => Ok(value.unwrap_or(word)),
            "+" => Ok(value.map(|_| word).unwrap_or_default()),
            "?" => match value {
                Some(value) => Ok(value),
                None if self.lookup.is_none() => Ok(String::new()),
                None => {
                    let usual = if modifier == "?" { "is not allowed to be unset" } else { "is not allowed to be empty" };
                    let text = if word.is_empty() { usual.to_owned() } else { word };
                    Err(Error::Required { name: name.to_owned(), text })
                }
            },
            _ => Err(Error::Modifier(modifier)),
        }
    }

    /// `#p`, `##p`, `%p`, `%%p`: the value without the shortest or longest match of the pattern at its start or end.
    fn trimmed(&mut self, value: String, side: char) -> Result<String, Error> {
        let mut reach = Reach::Shortest;
        if let Some(rest) = self.rest.strip_prefix(side) {
            self.rest = rest;
            reach = Reach::Longest;
        }
        let (pattern, _) = self.pattern(&['}'])?;
        let kept = match side {
            '#' => pattern.without_prefix(&value, reach, &mut self.steps)?,
            _ => pattern.without_suffix(&value, reach, &mut self.steps)?,
        };
        Ok(kept.to_owned())
    }

    /// `/p/r`, `//p/r`, `/#p/r`, `/%p/r`: the first, every, the leading or the trailing match replaced, each the longest.
    fn replaced(&mut self, value: &str) -> Result<String, Error> {
        let place = match self.rest.chars().next() {
            Some('/') => Where::Every,
            Some('#') => Where::Start,
            Some('%') => Where::End,
            _ => Where::First,
        };
        if place != Where::First {
            self.next();
        }
        let (pattern, end) = self.pattern(&['/', '}'])?;
        let with = if end == '/' { self.until(Some('}'))? } else { String::new() };
        Ok(pattern.replace(value, &with, place, &mut self.steps)?)
    }
}

/// A character of a pattern that is neither quoted nor escaped.
fn place(c: char) -> Place {
    match c {
        '*' => Place::Star,
        '?' => Place::Any,
        c => Place::One(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "E" => Some(String::new()),
            "P" => Some("/usr/lib/lib.so.1".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn values() {
        let cases = [
            ("plain", "plain"),
            ("$A", "1"),
            ("${A}x", "1x"),
            ("$NOPE|", "|"),
            ("a$", "a$"),
            ("$ x", "$ x"),
            ("'$A'", "$A"),
            ("\"$A\"", "1"),
            ("\"\\$A\"", "$A"),
            ("\\$A", "$A"),
            ("c\\ d", "c d"),
            ("a\\nb", "anb"),
            ("\"a\\nb\"", "a\\nb"),
            ("\"say \\\"x\\\"\"", "say \"x\""),
            ("x\\", "x"),
            ("`a`", "`a`"),
            ("${A:-q}${N:-d}${A:+p}${N:+p}", "1dp"),
            ("${E:-q}${E-q}${E:+p}${E+p}", "qp"),
            ("${N:-$A}${N:-${N:-z}}", "1z"),
            ("${N:-'}'}", "}"),
            ("${P#*/}", "usr/lib/lib.so.1"),
            ("${P##*/}", "lib.so.1"),
            ("${P%.*}", "/usr/lib/lib.so"),
            ("${P%%.*}", "/usr/lib/lib"),
            ("${P%x}", "/usr/lib/lib.so.1"),
            ("${P/lib/L}", "/usr/L/lib.so.1"),
            ("${P//lib/L}", "/usr/L/L.so.1"),
            ("${P/#\\/usr/U}", "U/lib/lib.so.1"),
            ("${P/%1/2}", "/usr/lib/lib.so.2"),
            ("${P//l?b}", "/usr//.so.1"),
            ("${P/\\*}", "/usr/lib/lib.so.1"),
        ];
        for (word, value) in cases {
            assert_eq!(expand(word, '\\', &lookup).as_deref(), Ok(value), "{word:?}");
        }
    }

    #[test]
    fn errors() {
        let cases = [
            ("\"a", "unexpected end of statement while looking for matching double-quote"),
            ("'a", "unexpected end of statement while looking for matching single-quote"),
            ("${A", "syntax error: missing '}' in ${…}"),
            ("${}", "syntax error: bad substitution: missing or bad name in ${…}"),
            ("${A:-x", "syntax error: missing '}' in ${…}"),
            ("${A:x}", "unsupported modifier (:x) in substitution"),
            ("${A!x}", "unsupported modifier (!) in substitution"),
            ("${N:?gone}", "N: gone"),
        ];
        for (word, text) in cases {
            assert_eq!(expand(word, '\\', &lookup).map_err(|e| e.to_string()), Err(text.to_owned()), "{word:?}");
        }
    }

    #[test]
    fn results_and_work_are_bounded() {
        let deep = format!("{}x{}", "${N:-".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        assert_eq!(expand(&deep, '\\', &lookup).as_deref(), Ok("x"));
        assert_eq!(expand(&format!("${{N:-{deep}}}"), '\\', &lookup), Err(Error::TooLarge));
        let long = |_: &str| Some("y".repeat(MAX_VALUE));
        for word in [
            "$X$X",
            "${L//y*z/x}",
            &format!("${{L##{}z}}", "*y".repeat(20)),
            &"${X:+}".repeat(10),
            "${L//y?yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyz/x}",
            "${L//y/xx}",
        ] {
            assert!(expand(word, '\\', &long) == Err(Error::TooLarge), "{word:?}");
        }
        assert!(expand("${L//y/x}", '\\', &long) == Ok("x".repeat(MAX_VALUE)));
    }

    proptest! {
        #[test]
        fn any_word_has_a_value_or_an_error(word in "[AEPN${}:+?#%/*'\"\\\\é -]{0,40}") {
            let _ = expand(&word, '\\', &lookup);
        }
    }
}
