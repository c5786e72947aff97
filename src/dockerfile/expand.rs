//! A word as written to its value: quotes and escapes resolved, variables replaced.
//!
//! The rules are the Dockerfile reference's ("Environment replacement"): single quotes keep everything, double quotes keep all but
//! `$` and the backslash before `"`, `$`, `\`. Nothing is replaced twice, and the result is bounded.

/// The most bytes that a word may become: 1 MiB.
pub const MAX_VALUE: usize = 1 << 20;
/// The deepest `${a:-${b:-…}}`.
const MAX_DEPTH: usize = 32;

/// The most characters of a value that a pattern with `*` is tried on: trying is quadratic.
const MAX_STARRED: usize = 4096;

/// Why a word has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A quote without its end.
    #[error("unexpected end of statement while looking for matching {0}-quote")]
    Quote(&'static str),
    /// A `${` that is not closed, or has no name.
    #[error("syntax error: missing or bad name in ${{…}}")]
    Name,
    /// A modifier that does not exist.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    /// `${name:?text}` and no value.
    #[error("{name}: {text}")]
    Required {
        /// The variable.
        name: String,
        /// The text after `?`.
        text: String,
    },
    /// More than [`MAX_VALUE`] or too deep.
    #[error("value is too long or nested too deeply")]
    TooLarge,
}

/// What a variable stands for; `None` is unset.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of `word`. An unset variable is empty.
pub fn expand(word: &str, lookup: Lookup<'_>) -> Result<String, Error> {
    let mut expander = Expander { rest: word, lookup, depth: 0 };
    expander.until(None)
}

struct Expander<'a> {
    rest: &'a str,
    lookup: Lookup<'a>,
    depth: usize,
}

impl<'a> Expander<'a> {
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
                None if end.is_some() => return Err(Error::Name),
                None => return Ok(out),
                Some(c) if Some(c) == end => return Ok(out),
                Some('\'') => out.push_str(self.single()?),
                Some('"') => self.double(&mut out)?,
                Some('$') => out.push_str(&self.variable()?),
                Some('\\') => out.push(self.next().unwrap_or('\\')),
                Some(c) => out.push(c),
            }
            if out.len() > MAX_VALUE {
                return Err(Error::TooLarge);
            }
        }
    }

    /// A pattern up to one of `ends` (which is taken), and which it was. A backslash stays before what it makes a literal.
    fn pattern(&mut self, ends: &[char]) -> Result<(Vec<char>, char), Error> {
        let mut out = Vec::new();
        loop {
            match self.next().ok_or(Error::Name)? {
                c if ends.contains(&c) => return Ok((out, c)),
                '\\' => match self.next().ok_or(Error::Name)? {
                    c @ ('*' | '?' | '\\') => out.extend(['\\', c]),
                    c => out.push(c),
                },
                '$' => out.extend(self.variable()?.chars()),
                c => out.push(c),
            }
            if out.len() > MAX_VALUE {
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
                '\\' => match self.next().ok_or(Error::Quote("double"))? {
                    c @ ('"' | '$' | '\\') => out.push(c),
                    c => out.extend(['\\', c]),
                },
                c => out.push(c),
            }
            if out.len() > MAX_VALUE {
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
        let name = self.name();
        if name.is_empty() { Ok("$".to_owned()) } else { Ok((self.lookup)(name).unwrap_or_default()) }
    }

    /// The longest name at the front: a special character, digits, or a C identifier.
    fn name(&mut self) -> &'a str {
        let bytes = self.rest.as_bytes();
        let length = match bytes.first() {
            Some(b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!') => 1,
            Some(b'0'..=b'9') => bytes.iter().take_while(|b| b.is_ascii_digit()).count(),
            _ => bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count(),
        };
        let (name, rest) = self.rest.split_at(length);
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
            return Err(Error::Name);
        }
        let value = (self.lookup)(name);
        let result = match self.next() {
            Some('}') => value.unwrap_or_default(),
            Some(':') => {
                let modifier = self.next().ok_or(Error::Name)?;
                self.default(name, value.filter(|value| !value.is_empty()), modifier)?
            }
            Some(modifier @ ('-' | '+' | '?')) => self.default(name, value, modifier)?,
            Some(modifier @ ('#' | '%')) => self.trimmed(value.unwrap_or_default(), modifier)?,
            Some('/') => self.replaced(&value.unwrap_or_default())?,
            Some(other) => return Err(Error::Modifier(other.to_string())),
            None => return Err(Error::Name),
        };
        self.depth -= 1;
        Ok(result)
    }

    /// `-word`, `+word`, `?word`, where an unwanted value has become `None`.
    fn default(&mut self, name: &str, value: Option<String>, modifier: char) -> Result<String, Error> {
        let word = self.until(Some('}'))?;
        match modifier {
            '-' => Ok(value.unwrap_or(word)),
            '+' => Ok(value.map(|_| word).unwrap_or_default()),
            '?' => value.ok_or_else(|| Error::Required { name: name.to_owned(), text: word }),
            other => Err(Error::Modifier(format!(":{other}"))),
        }
    }

    /// `#p`, `##p`, `%p`, `%%p`: the value without the shortest or longest match of the pattern at its start or end.
    fn trimmed(&mut self, value: String, side: char) -> Result<String, Error> {
        let longest = self.rest.starts_with(side);
        if longest {
            self.next();
        }
        let (pattern, _) = self.pattern(&['}'])?;
        let text: Vec<char> = value.chars().collect();
        let mut cuts: Vec<usize> = match fixed_length(&pattern) {
            Some(length) if side == '#' => vec![length.min(text.len())],
            Some(length) => vec![text.len().saturating_sub(length)],
            None if text.len() > MAX_STARRED => return Err(Error::TooLarge),
            None => (0..=text.len()).collect(),
        };
        if longest == (side == '#') {
            cuts.reverse();
        }
        let kept = cuts.into_iter().find_map(|cut| {
            let (head, tail) = text.split_at(cut);
            let (matched, kept) = if side == '#' { (head, tail) } else { (tail, head) };
            matches(&pattern, matched).then(|| kept.iter().collect::<String>())
        });
        Ok(kept.unwrap_or(value))
    }

    /// `/p/r`, `//p/r`, `/#p/r`, `/%p/r`: the first, every, the leading or the trailing match replaced.
    fn replaced(&mut self, value: &str) -> Result<String, Error> {
        let place = self.rest.chars().next().filter(|c| matches!(c, '/' | '#' | '%'));
        if place.is_some() {
            self.next();
        }
        let (pattern, end) = self.pattern(&['/', '}'])?;
        let with = if end == '/' { self.until(Some('}'))? } else { String::new() };
        let text: Vec<char> = value.chars().collect();
        let fixed = fixed_length(&pattern);
        if fixed.is_none() && text.len() > MAX_STARRED {
            return Err(Error::TooLarge);
        }
        let mut out = String::new();
        let mut at = 0;
        while at < text.len() {
            let ends = fixed.map_or(at + 1..=text.len(), |length| at + length.max(1)..=(at + length).min(text.len()));
            let end = ends.rev().find(|end| matches(&pattern, &text[at..*end]));
            match end.filter(|end| place != Some('%') || *end == text.len()) {
                Some(end) => {
                    out.push_str(&with);
                    at = end;
                    if place != Some('/') {
                        break;
                    }
                }
                None => {
                    out.push(text[at]);
                    at += 1;
                    if place == Some('#') {
                        break;
                    }
                }
            }
            if out.len() > MAX_VALUE {
                return Err(Error::TooLarge);
            }
        }
        out.extend(&text[at.min(text.len())..]);
        Ok(out)
    }
}

/// How many characters a pattern without `*` matches.
fn fixed_length(pattern: &[char]) -> Option<usize> {
    let mut length = 0;
    let mut characters = pattern.iter();
    while let Some(c) = characters.next() {
        match c {
            '*' => return None,
            '\\' => drop(characters.next()),
            _ => {}
        }
        length += 1;
    }
    Some(length)
}

/// Whether the pattern (`*`, `?`, a backslash before a literal) matches all of `text`. Linear in both, but for the last star.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let literal = match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('\\') if pattern.get(p + 1) == Some(&text[t]) => Some(2),
            Some(c) if *c == text[t] => Some(1),
            _ => None,
        };
        match (literal, star) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((star_p, star_t))) => {
                star = Some((star_p, star_t + 1));
                p = star_p + 1;
                t = star_t + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|c| *c == '*')
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
            ("x\\", "x\\"),
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
            assert_eq!(expand(word, &lookup).as_deref(), Ok(value), "{word:?}");
        }
    }

    #[test]
    fn errors() {
        let cases = [
            ("\"a", "unexpected end of statement while looking for matching double-quote"),
            ("'a", "unexpected end of statement while looking for matching single-quote"),
            ("${A", "syntax error: missing or bad name in ${…}"),
            ("${}", "syntax error: missing or bad name in ${…}"),
            ("${A:-x", "syntax error: missing or bad name in ${…}"),
            ("${A:x}", "unsupported modifier (:x) in substitution"),
            ("${A!x}", "unsupported modifier (!) in substitution"),
            ("${N:?gone}", "N: gone"),
        ];
        for (word, text) in cases {
            assert_eq!(expand(word, &lookup).map_err(|e| e.to_string()), Err(text.to_owned()), "{word:?}");
        }
        let long = |name: &str| lookup(name).or_else(|| Some("y".repeat(MAX_STARRED + 1)));
        assert_eq!(expand("${L//y*z/x}", &long), Err(Error::TooLarge));
        assert_eq!(expand("${L//y/x}", &long), Ok("x".repeat(MAX_STARRED + 1)));
        let deep = format!("{}x{}", "${N:-".repeat(50), "}".repeat(50));
        assert_eq!(expand(&deep, &lookup), Err(Error::TooLarge));
        assert_eq!(expand(&"$X".repeat(3), &|_| Some("y".repeat(MAX_VALUE))), Err(Error::TooLarge));
    }

    proptest! {
        #[test]
        fn any_word_has_a_value_or_an_error(word in "[AEPN${}:+?#%/*'\"\\\\é -]{0,40}") {
            let _ = expand(&word, &lookup);
        }
    }
}
