//! One path component against a pattern, as Go's `filepath.Match` does it: `*`, `?`, `[…]`, and `\` before a literal character.
//!
//! Invariant: time is at most pattern times name; nothing is tried twice from the same place. Must not: do I/O.

/// A pattern that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// What one place of a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// This character.
    Literal(char),
    /// Any one character but a slash.
    AnyOne,
    /// One character in, or not in, these ranges.
    Class {
        /// Whether the ranges are what is not meant.
        negated: bool,
        /// First and last character of each.
        ranges: Vec<(char, char)>,
    },
}

impl Place {
    /// Whether this place stands for `c`.
    pub(super) fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::AnyOne => c != '/',
            Self::Class { negated, ranges } => ranges.iter().any(|&(low, high)| low <= c && c <= high) != *negated,
        }
    }
}

/// A pattern for one component.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// What is between the stars.
    runs: Vec<Vec<Place>>,
}

/// Whether a component has to be taken as a pattern.
pub fn has_meta(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut runs = vec![Vec::new()];
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c == '*' {
                runs.push(Vec::new());
                continue;
            }
            let place = place(c, &mut rest)?;
            if let Some(run) = runs.last_mut() {
                run.push(place);
            }
        }
        Ok(Self { runs })
    }

    /// Whether the whole of `name` is what the pattern describes. A byte that is not UTF-8 counts as U+FFFD.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let Some((first, others)) = self.runs.split_first() else { return false };
        if !starts_with(&name, first) {
            return false;
        }
        let Some((last, middle)) = others.split_last() else { return name.len() == first.len() };
        let mut at = first.len();
        // Between two stars the leftmost fit is the best one: whatever it leaves out, the next star can take.
        for run in middle {
            match (at..=name.len()).find(|&start| starts_with(&name[start..], run)) {
                Some(start) => at = start + run.len(),
                None => return false,
            }
        }
        name.len() >= at + last.len() && starts_with(&name[name.len() - last.len()..], last) && !name[..].contains(&'/')
    }
}

fn starts_with(name: &[char], run: &[Place]) -> bool {
    name.len() >= run.len() && run.iter().zip(name).all(|(place, &c)| place.takes(c))
}

/// The place that begins with `c`.
pub(super) fn place(c: char, rest: &mut std::str::Chars<'_>) -> Result<Place, BadPattern> {
    match c {
        '?' => Ok(Place::AnyOne),
        '\\' => rest.next().map(Place::Literal).ok_or(BadPattern),
        '[' => class(rest),
        c => Ok(Place::Literal(c)),
    }
}

fn class(rest: &mut std::str::Chars<'_>) -> Result<Place, BadPattern> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if rest.as_str().starts_with(']') && !ranges.is_empty() {
            rest.next();
            return Ok(Place::Class { negated, ranges });
        }
        let low = class_character(rest)?;
        let mut high = low;
        if rest.as_str().starts_with('-') {
            rest.next();
            high = class_character(rest)?;
        }
        ranges.push((low, high));
    }
}

fn class_character(rest: &mut std::str::Chars<'_>) -> Result<char, BadPattern> {
    match rest.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => rest.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_against_patterns() {
        let cases = [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("a*a", "a", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a\u{263a}b", true),
            ("a???b", "a\u{263a}b", false),
            ("[a-\u{3b6}]*", "\u{3b1}", true),
            ("*[a-\u{3b6}]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("*x", "xxx", true),
            (".*", ".hidden", true),
            ("*", ".hidden", true),
            ("?", "", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::parse(pattern).expect("valid").matches(name), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_read() {
        for pattern in ["[", "[a", "[]", "[]a]", "[-]", "[x-]", "[-x]", "\\", "a[^", "[^]x]"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn many_stars_take_no_more_time_than_few() {
        let pattern = Pattern::parse(&"a*".repeat(60)).expect("valid");
        let start = std::time::Instant::now();
        assert!(!Pattern::parse(&format!("{}b", "a*".repeat(60))).expect("valid").matches(&"a".repeat(5000)));
        assert!(pattern.matches(&"a".repeat(5000)));
        assert!(start.elapsed().as_secs() < 2);
    }
}
