//! Which word was probably meant by one that is unknown.
//!
//! Invariant: pure, and bounded however long the unknown word is.

/// The known name that is nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    let limit = (letters / 3).clamp(1, 3);
    known
        // Of two letters one is half the word: what begins so may be meant, and nothing else.
        .filter(|name| letters > 2 || name.starts_with(word))
        .map(|name| (if name.starts_with(word) && letters > 1 { 1 } else { distance(word, name) }, name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The number of letters to insert, delete, replace or swap with the next (optimal string alignment). Of each the first 64 count.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typing_errors_only() {
        let verbs = ["images", "inspect", "info", "run", "rm", "rmi"];
        let cases = [
            ("imagez", Some("images")),
            ("iamges", Some("images")),
            ("inspct", Some("inspect")),
            ("ru", Some("run")),
            ("rx", None),
            ("frobnicate", None),
            ("x", None),
        ];
        for (word, want) in cases {
            assert_eq!(nearest(word, verbs.into_iter()), want, "{word}");
        }
    }

    #[test]
    fn two_letters_that_changed_places_are_one_mistake() {
        for (a, b, want) in [("chwon", "chown", 1), ("chwon", "chmod", 2), ("", "abc", 3), ("same", "same", 0), ("a", "b", 1)] {
            assert_eq!((distance(a, b), distance(b, a)), (want, want), "{a} {b}");
        }
        assert_eq!(distance(&"x".repeat(100_000), "x"), 63);
    }
}
