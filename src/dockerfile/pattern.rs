//! Patterns in `${name#p}` and its relatives: `*`, `?`, and everything else for itself (brackets, too, as in BuildKit's frontend).
//!
//! Invariant: each comparison of a character with a place of the pattern is paid for from a budget, since both may be foreign.

/// One place of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// This character.
    One(char),
    /// `?`
    Any,
    /// `*`
    Star,
}

/// A pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Place>);

/// Which of several matches is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The one with the fewest characters.
    Shortest,
    /// The one with the most.
    Longest,
}

/// Which matches are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// The first one.
    First,
    /// Each.
    Every,
    /// The one at the start, if there is one.
    Start,
    /// The one at the end, if there is one.
    End,
}

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent;

/// How much work is left.
#[derive(Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    /// Pays for `work`.
    pub(super) fn take(&mut self, work: usize) -> Result<(), Spent> {
        self.0 = self.0.checked_sub(work).ok_or(Spent)?;
        Ok(())
    }
}

impl Pattern {
    pub(super) fn push(&mut self, place: Place) {
        // Two stars are one.
        if place != Place::Star || self.0.last() != Some(&Place::Star) {
            self.0.push(place);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The only text that matches, if there is only one.
    fn literal(&self) -> Option<String> {
        let one = |place: &Place| if let Place::One(one) = place { Some(*one) } else { None };
        self.0.iter().map(one).collect()
    }

    fn reversed(&self) -> Self {
        Self(self.0.iter().rev().copied().collect())
    }

    /// `value` without the match at its start.
    pub(super) fn without_prefix<'v>(&self, value: &'v str, reach: Reach, budget: &mut Budget) -> Result<&'v str, Spent> {
        if let Some(literal) = self.literal() {
            return Ok(value.strip_prefix(&literal).unwrap_or(value));
        }
        let taken = self.prefix(value.chars(), reach, budget)?.unwrap_or_default();
        let kept = value.char_indices().nth(taken).map_or(value.len(), |(at, _)| at);
        Ok(value.get(kept..).unwrap_or_default())
    }

    /// `value` without the match at its end.
    pub(super) fn without_suffix<'v>(&self, value: &'v str, reach: Reach, budget: &mut Budget) -> Result<&'v str, Spent> {
        if let Some(literal) = self.literal() {
            return Ok(value.strip_suffix(&literal).unwrap_or(value));
        }
        let taken = self.reversed().prefix(value.chars().rev(), reach, budget)?.unwrap_or_default();
        let first = taken.checked_sub(1).and_then(|last| value.char_indices().rev().nth(last));
        Ok(value.get(..first.map_or(value.len(), |(at, _)| at)).unwrap_or_default())
    }

    /// `value` with the longest matches replaced by `with`. A match of nothing is none.
    pub(super) fn replace(&self, value: &str, with: &str, place: Where, budget: &mut Budget) -> Result<String, Spent> {
        match (place, self.literal()) {
            (_, Some(literal)) if literal.is_empty() => Ok(value.to_owned()),
            (Where::First, Some(literal)) => Ok(value.replacen(&literal, with, 1)),
            (Where::Every, Some(literal)) => {
                budget.take(value.matches(&literal).count().saturating_mul(with.len()))?;
                Ok(value.replace(&literal, with))
            }
            (Where::Start, _) => match self.without_prefix(value, Reach::Longest, budget)? {
                kept if kept.len() < value.len() => Ok([with, kept].concat()),
                _ => Ok(value.to_owned()),
            },
            (Where::End, _) => match self.without_suffix(value, Reach::Longest, budget)? {
                kept if kept.len() < value.len() => Ok([kept, with].concat()),
                _ => Ok(value.to_owned()),
            },
            (Where::First | Where::Every, None) => self.replace_inside(value, with, place, budget),
        }
    }

    fn replace_inside(&self, value: &str, with: &str, place: Where, budget: &mut Budget) -> Result<String, Spent> {
        let mut out = String::new();
        let mut rest = value;
        while let Some(first) = rest.chars().next() {
            budget.take(1)?;
            match self.prefix(rest.chars(), Reach::Longest, budget)?.filter(|taken| *taken > 0) {
                Some(taken) => {
                    budget.take(with.len())?;
                    out.push_str(with);
                    rest = rest.char_indices().nth(taken).and_then(|(at, _)| rest.get(at..)).unwrap_or_default();
                    if place == Where::First {
                        break;
                    }
                }
                // What a leading star could not reach from here can't be reached from further on.
                None if self.0.first() == Some(&Place::Star) => break,
                None => {
                    out.push(first);
                    rest = rest.get(first.len_utf8()..).unwrap_or_default();
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// How many characters at the start of `text` match; `None` if not even none do.
    fn prefix(&self, text: impl Iterator<Item = char>, reach: Reach, budget: &mut Budget) -> Result<Option<usize>, Spent> {
        let end = self.0.len();
        // The places that may be next, in rising order.
        let (mut live, mut next) = (Vec::new(), Vec::new());
        self.arrive(0, &mut live);
        let mut found = live.ends_with(&[end]).then_some(0);
        for (index, c) in text.enumerate() {
            if live.is_empty() || found.is_some() && reach == Reach::Shortest {
                break;
            }
            budget.take(live.len())?;
            next.clear();
            for &place in &live {
                match self.0.get(place) {
                    Some(Place::Star) => self.arrive(place, &mut next),
                    Some(Place::One(one)) if *one == c => self.arrive(place + 1, &mut next),
                    Some(Place::Any) => self.arrive(place + 1, &mut next),
                    _ => {}
                }
            }
            std::mem::swap(&mut live, &mut next);
            if live.ends_with(&[end]) {
                found = Some(index + 1);
            }
        }
        Ok(found)
    }

    /// Adds a place, and what can be reached from it without a character. Nothing is added twice: places come in rising order.
    fn arrive(&self, place: usize, live: &mut Vec<usize>) {
        let after = if self.0.get(place) == Some(&Place::Star) { place + 1 } else { place };
        for reached in place..=after {
            if live.last().is_none_or(|last| *last < reached) {
                live.push(reached);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        let mut pattern = Pattern::default();
        for c in text.chars() {
            pattern.push(match c {
                '*' => Place::Star,
                '?' => Place::Any,
                c => Place::One(c),
            });
        }
        pattern
    }

    fn prefix(text: &str, value: &str, reach: Reach) -> Option<usize> {
        pattern(text).prefix(value.chars(), reach, &mut Budget(1 << 20)).expect("within the budget")
    }

    #[test]
    fn prefixes() {
        let cases = [
            ("", "abc", Some(0), Some(0)),
            ("a", "abc", Some(1), Some(1)),
            ("b", "abc", None, None),
            ("*", "abc", Some(0), Some(3)),
            ("*b", "abab", Some(2), Some(4)),
            ("a*", "abc", Some(1), Some(3)),
            ("?b", "abab", Some(2), Some(2)),
            ("??", "a", None, None),
            ("*?", "abc", Some(1), Some(3)),
            ("a**b", "axbxb", Some(3), Some(5)),
            ("[a]", "a", None, None),
        ];
        for (text, value, shortest, longest) in cases {
            assert_eq!(prefix(text, value, Reach::Shortest), shortest, "{text:?} {value:?}");
            assert_eq!(prefix(text, value, Reach::Longest), longest, "{text:?} {value:?}");
        }
    }

    #[test]
    fn work_is_bounded() {
        let hostile = pattern(&"*a".repeat(1000));
        let value = "a".repeat(100_000);
        assert_eq!(hostile.prefix(value.chars(), Reach::Longest, &mut Budget(1 << 20)), Err(Spent));
    }

    /// By trying everything.
    fn matches(pattern: &[Place], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([Place::Star, rest @ ..], text) => (0..=text.len()).any(|taken| matches(rest, &text[taken..])),
            ([Place::Any, rest @ ..], [_, text @ ..]) => matches(rest, text),
            ([Place::One(one), rest @ ..], [c, text @ ..]) => one == c && matches(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn prefixes_are_what_trying_everything_finds(text in "[ab*?]{0,8}", value in "[ab]{0,12}") {
            let characters: Vec<char> = value.chars().collect();
            let places = pattern(&text).0;
            let found: Vec<usize> = (0..=characters.len()).filter(|end| matches(&places, &characters[..*end])).collect();
            prop_assert_eq!(prefix(&text, &value, Reach::Shortest), found.first().copied());
            prop_assert_eq!(prefix(&text, &value, Reach::Longest), found.last().copied());
        }
    }
}
