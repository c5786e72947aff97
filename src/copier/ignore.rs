//! Ignore patterns: `.containerignore`, `.dockerignore`, `--exclude` (Dockerfile reference, ".dockerignore file").
//!
//! A pattern is matched against the whole relative path and against each directory above it; the last pattern that matches
//! decides, and one that begins with `!` takes back. `**` stands for any number of components.
//!
//! Invariant: time is at most pattern times path for each pattern (a set of places moves along the path; nothing is tried again),
//! since patterns come from foreign contexts. Must not: do I/O.

use super::pattern::{self, BadPattern, Place};

/// Why a list of patterns can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A `!` with nothing behind it.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneExclamation,
    /// A pattern that can't be read.
    #[error("pattern {0:?}: syntax error in pattern")]
    Syntax(String),
}

/// A list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    takes_back: bool,
    steps: Vec<Step>,
    /// The longest text that every path which matches has in it.
    needle: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// One character.
    One(Place),
    /// Any characters but slashes.
    Star,
    /// Any characters at all: `**` at the end.
    Rest,
    /// Nothing, or whole components with the slash behind: `**/`.
    Components,
}

impl Ignore {
    /// The patterns of an ignore file: one a line; `#` at the start of a line makes it a comment.
    pub fn parse_file(text: &str) -> Result<Self, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self::new(text.lines().filter(|line| !line.starts_with('#')))
    }

    /// A list of patterns; empty ones mean nothing.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut rules = Vec::new();
        for text in patterns {
            let (takes_back, text) = match text.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, text.trim()),
            };
            let path = clean(text);
            match (path.as_str(), takes_back) {
                ("", true) => return Err(Error::LoneExclamation),
                ("", false) => {}
                (path, takes_back) => {
                    let steps = steps(path).map_err(|BadPattern| Error::Syntax(text.to_owned()))?;
                    let needle = longest_text(&steps);
                    rules.push(Rule { takes_back, steps, needle });
                }
            }
        }
        Ok(Self { rules })
    }

    /// Whether there is nothing to match.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether something below an excluded directory may be taken back, so that the directory has to be walked.
    pub fn takes_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.takes_back)
    }

    /// Whether `path`, relative and without `.` or `..`, is left out.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // A rule that could only confirm what is known already is not worth its time.
            if rule.takes_back == excluded && rule.matches_path_or_parent(path) {
                excluded = !rule.takes_back;
            }
        }
        excluded
    }
}

/// A path as `path.Clean` writes it, without a slash at the start.
fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if text.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn steps(path: &str) -> Result<Vec<Step>, BadPattern> {
    let mut steps = Vec::new();
    let mut rest = path.chars();
    while let Some(c) = rest.next() {
        if c != '*' {
            steps.push(Step::One(pattern::place(c, &mut rest)?));
            continue;
        }
        let stars = 1 + rest.as_str().bytes().take_while(|&byte| byte == b'*').count();
        if stars == 1 {
            steps.push(Step::Star);
            continue;
        }
        for _ in 1..stars {
            rest.next();
        }
        if rest.as_str().starts_with('/') {
            rest.next();
        }
        steps.push(if rest.as_str().is_empty() { Step::Rest } else { Step::Components });
    }
    Ok(steps)
}

/// The longest run of characters that stand for themselves.
fn longest_text(steps: &[Step]) -> String {
    let literal = |step: &Step| match step {
        Step::One(Place::Literal(c)) => Some(*c),
        Step::One(_) | Step::Star | Step::Rest | Step::Components => None,
    };
    let runs = steps.split(|step| literal(step).is_none());
    runs.map(|run| run.iter().filter_map(literal).collect()).max_by_key(String::len).unwrap_or_default()
}

impl Rule {
    /// The places that can be reached, before any character and after each one; a match of a parent directory is a match that
    /// ends where a slash follows.
    fn matches_path_or_parent(&self, path: &str) -> bool {
        // Most rules begin with a character with which most paths do not: nothing is allocated for these.
        if let Some(Step::One(place)) = self.steps.first()
            && !path.chars().next().is_some_and(|first| place.takes(first))
        {
            return false;
        }
        // And most of the others have a name in them that few paths have.
        if !path.contains(&self.needle) {
            return false;
        }
        let end = self.steps.len();
        // `fresh[i]`: step i is next. `inside[i]`: step i, a `**/`, has taken part of a component.
        let (mut fresh, mut inside) = (vec![false; end + 1], vec![false; end + 1]);
        if let Some(first) = fresh.first_mut() {
            *first = true;
        }
        self.skip_empty(&mut fresh);
        let (mut next, mut next_inside) = (vec![false; end + 1], vec![false; end + 1]);
        for c in path.chars() {
            if c == '/' && fresh.last() == Some(&true) {
                return true;
            }
            next.fill(false);
            next_inside.fill(false);
            for (index, step) in self.steps.iter().enumerate() {
                match step {
                    Step::One(place) if fresh[index] && place.takes(c) => next[index + 1] = true,
                    Step::Star if fresh[index] && c != '/' => next[index] = true,
                    Step::Rest if fresh[index] => next[index] = true,
                    Step::Components if fresh[index] || inside[index] => {
                        next_inside[index] = true;
                        next[index + 1] |= c == '/';
                    }
                    _ => {}
                }
            }
            self.skip_empty(&mut next);
            if !next.contains(&true) && !next_inside.contains(&true) {
                return false;
            }
            std::mem::swap(&mut fresh, &mut next);
            std::mem::swap(&mut inside, &mut next_inside);
        }
        fresh.last() == Some(&true)
    }

    /// Steps that may take nothing.
    fn skip_empty(&self, fresh: &mut [bool]) {
        for (index, step) in self.steps.iter().enumerate() {
            if fresh[index] && !matches!(step, Step::One(_)) {
                fresh[index + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_against_one_pattern() {
        let cases = [
            ("foo", "foo", true),
            ("foo", "foo/bar", true),
            ("foo", "sub/foo", false),
            ("*.o", "x.o", true),
            ("*.o", "sub/x.o", false),
            ("**/*.o", "x.o", true),
            ("**/*.o", "a/b/x.o", true),
            ("**/*.o", "a/b/x.c", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "anything/at/all", true),
            ("**foo", "x/foo", true),
            ("foo**", "foobar/baz", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("a/**/b", "a/x/b/c", true),
            ("?", "x", true),
            ("?", "xy", false),
            ("/abs", "abs", true),
            ("./rel/", "rel/x", true),
            ("a/../b", "b", true),
            ("[ab]*", "b1", true),
            ("[^a]*", "a1", false),
            ("a.c", "abc", false),
            ("a$b+", "a$b+", true),
            ("\\*x", "*x", true),
            ("\\*x", "yx", false),
            ("  spaced  ", "spaced", true),
            (".", "anything", false),
        ];
        for (pattern, path, expected) in cases {
            let ignore = Ignore::new([pattern]).expect("valid");
            assert_eq!(ignore.excludes(path), expected, "{pattern:?} {path:?}");
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let ignore = Ignore::parse_file("\u{feff}# note\n*\n!keep\n! keep2 \nkeep/secret\n\n").expect("valid");
        for (path, expected) in [("x", true), ("keep", false), ("keep2", false), ("keep/a", false), ("keep/secret", true)] {
            assert_eq!(ignore.excludes(path), expected, "{path:?}");
        }
        assert!(ignore.takes_back());
    }

    #[test]
    fn lists_that_cannot_be_read() {
        assert_eq!(Ignore::new(["!"]).err(), Some(Error::LoneExclamation));
        assert!(matches!(Ignore::new(["a["]), Err(Error::Syntax(_))));
        assert!(Ignore::new(["", "  ", "/"]).is_ok_and(|ignore| ignore.is_empty()));
    }

    #[test]
    fn hostile_patterns_take_no_more_than_pattern_times_path() {
        let ignore = Ignore::new(["**/*a*a*a*a*a*a*a*a*a*a*a*a*b"]).expect("valid");
        let start = std::time::Instant::now();
        assert!(!ignore.excludes(&"a/a".repeat(1300)));
        assert!(start.elapsed().as_secs() < 2);
    }

    #[test]
    fn a_pattern_whose_text_is_not_in_a_path_costs_nothing() {
        let rule = |pattern: &str| longest_text(&steps(pattern).expect("valid"));
        let cases = [
            ("a/bc*d[ef]ghij?k", "ghij"),
            ("**/node_modules/**/x", "node_modules/"),
            ("\\*\\?*a", "*?"),
            ("**", ""),
            ("[ab]?", ""),
        ];
        for (pattern, text) in cases {
            assert_eq!(rule(pattern), text, "{pattern}");
        }
        let patterns: Vec<String> = (0..2000).flat_map(|n| [format!("!x{n}/y*"), format!("**/z{n}")]).collect();
        let ignore = Ignore::new(patterns.iter().map(String::as_str)).expect("valid");
        let start = std::time::Instant::now();
        assert!((0..1000).all(|n| !ignore.excludes(&format!("directory/below/file{n}"))));
        assert!(ignore.excludes("directory/z1999/file") && !ignore.excludes("x7/yz/file"));
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_list_of_patterns_or_an_error(
            text in "(\\*|\\*\\*|/|!|#|\\?|\\[|\\]|-|\\^|\\\\|[ab.é]|\n){0,40}",
            path in "[ab]{1,3}(/[ab.é]{1,3}){0,6}",
        ) {
            if let Ok(ignore) = Ignore::parse_file(&text) {
                let _ = ignore.excludes(&path);
                // A last pattern for everything decides.
                let all = Ignore::parse_file(&format!("{text}\n**")).unwrap();
                proptest::prop_assert!(all.excludes(&path));
            }
        }
    }
}
