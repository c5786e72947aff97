//! The typed instructions, one file each, and the way from a line to one of them.

mod cmd;
mod entrypoint;
mod env;
mod expose;
mod healthcheck;
mod label;
mod maintainer;
mod on_build;
mod shell;
mod stop_signal;
mod user;
mod volume;
mod workdir;

use super::expand::Lookup;
use super::lines::{Line, logical_lines};
use super::words::{Arguments, cut};
use super::{ParseError, ParseErrorKind, Span};

/// A command line in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A text for the shell.
    Shell(String),
    /// Words, from a JSON array.
    Exec(Vec<String>),
}

/// A health check instruction; durations in ns, 0 where not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`
    None,
    /// `HEALTHCHECK [flags] CMD …`
    Check {
        /// The test.
        command: Command,
        /// `--interval`
        interval: i64,
        /// `--timeout`
        timeout: i64,
        /// `--start-period`
        start_period: i64,
        /// `--start-interval`
        start_interval: i64,
        /// `--retries`
        retries: i64,
    },
}

/// One instruction. Quotes and escapes are resolved and variables replaced where the Dockerfile reference says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `CMD`; without arguments an empty `Exec`.
    Cmd(Command),
    /// `ENTRYPOINT`; without arguments an empty `Exec`.
    Entrypoint(Command),
    /// `ENV name=value …`
    Env(Vec<(String, String)>),
    /// `LABEL key=value …`
    Label(Vec<(String, String)>),
    /// `EXPOSE port…`, as written.
    Expose(Vec<String>),
    /// `VOLUME path…`
    Volume(Vec<String>),
    /// `USER user[:group]`
    User(String),
    /// `WORKDIR path`
    Workdir(String),
    /// `ONBUILD instruction`
    OnBuild(String),
    /// `STOPSIGNAL signal`
    StopSignal(String),
    /// `HEALTHCHECK …`
    Healthcheck(Healthcheck),
    /// `SHELL ["word", …]`
    Shell(Vec<String>),
    /// `MAINTAINER name`
    Maintainer(String),
}

/// A reader of one instruction's arguments.
type Parse = for<'a> fn(&Arguments<'a>) -> Result<Instruction, ParseError>;

/// Every keyword; those without a reader do work, and need more than the configuration.
const KEYWORDS: [(&str, Option<Parse>); 18] = [
    ("ADD", None),
    ("ARG", None),
    ("CMD", Some(cmd::parse)),
    ("COPY", None),
    ("ENTRYPOINT", Some(entrypoint::parse)),
    ("ENV", Some(env::parse)),
    ("EXPOSE", Some(expose::parse)),
    ("FROM", None),
    ("HEALTHCHECK", Some(healthcheck::parse)),
    ("LABEL", Some(label::parse)),
    ("MAINTAINER", Some(maintainer::parse)),
    ("ONBUILD", Some(on_build::parse)),
    ("RUN", None),
    ("SHELL", Some(shell::parse)),
    ("STOPSIGNAL", Some(stop_signal::parse)),
    ("USER", Some(user::parse)),
    ("VOLUME", Some(volume::parse)),
    ("WORKDIR", Some(workdir::parse)),
];

/// The logical lines of what `commit --change` takes: one instruction or several.
pub fn change_lines(text: &str) -> Result<Vec<Line>, ParseError> {
    logical_lines(text, '\\')
}

/// Parses a logical line that may only change metadata. `env` answers what `$NAME` stands for.
pub fn parse_line(line: &Line, env: Lookup<'_>) -> Result<Instruction, ParseError> {
    let (word, text) = line.text.split_once(char::is_whitespace).unwrap_or((&line.text, ""));
    let Some((keyword, parse)) = KEYWORDS.into_iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word)) else {
        let keyword = cut(word).to_uppercase();
        let nearest = nearest_keyword(&keyword);
        let span = Span { start: line.span.start, end: line.span.start + word.len() };
        return Err(ParseError { kind: ParseErrorKind::Unknown { keyword, nearest }, span });
    };
    let arguments = Arguments { keyword, text: text.trim(), span: line.span, env };
    match parse {
        Some(parse) => parse(&arguments),
        None => Err(ParseError { kind: ParseErrorKind::NotAChange(keyword), span: line.span }),
    }
}

/// The keyword that `word` was probably meant to be: at most a third of its letters differ.
fn nearest_keyword(word: &str) -> Option<&'static str> {
    let word = word.split(|c: char| !c.is_alphabetic()).next().unwrap_or(word);
    let candidates = KEYWORDS.iter().map(|(keyword, _)| (distance(keyword, word), *keyword));
    let (distance, keyword) = candidates.min()?;
    (distance <= keyword.len().div_ceil(3)).then_some(keyword)
}

/// How many letters must be inserted, deleted or exchanged to make `b` of `a` (Levenshtein). Both are short.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "A").then(|| "1".to_owned())
    }

    /// The first instruction of a text.
    fn parse_change(text: &str, env: Lookup<'_>) -> Result<Instruction, ParseError> {
        let lines = change_lines(text)?;
        parse_line(lines.first().expect("a text with an instruction"), env)
    }

    /// What a text becomes, or its error's text.
    pub(super) fn parsed(text: &str) -> Result<Instruction, String> {
        parse_change(text, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn keywords_in_any_case_and_with_any_blanks() {
        for text in ["USER x", "user x", "  User \t x  \n", "# c\nUSER x", "USER \\\n x"] {
            assert_eq!(parsed(text), Ok(Instruction::User("x".into())), "{text:?}");
        }
    }

    #[test]
    fn every_keyword_is_known_and_some_do_work() {
        for (keyword, parse) in KEYWORDS {
            let found = parse_change(&format!("{keyword} x"), &env);
            let not_a_change = matches!(found, Err(ParseError { kind: ParseErrorKind::NotAChange(_), .. }));
            assert_eq!(not_a_change, parse.is_none(), "{keyword}");
        }
    }

    #[test]
    fn unknown_keywords_name_the_nearest() {
        let cases =
            [("LABLE a=b", Some("LABEL")), ("ENTRYPONT x", Some("ENTRYPOINT")), ("CMD=x", Some("CMD")), ("XYZZY", None)];
        for (text, expected) in cases {
            let Err(ParseError { kind: ParseErrorKind::Unknown { nearest, .. }, span }) = parse_change(text, &env) else {
                panic!("{text:?}")
            };
            assert_eq!(nearest, expected, "{text:?}");
            assert_eq!(span, Span { start: 0, end: text.split(' ').next().unwrap().len() });
        }
        assert_eq!(parsed("foo x"), Err("Unknown instruction: \"FOO\"".into()));
    }

    #[test]
    fn errors_point_into_the_whole_text() {
        let lines = change_lines("# c\nUSER x\nFOO y\n").unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(parse_line(&lines[1], &env).unwrap_err().span, Span { start: 11, end: 14 });
        assert_eq!(change_lines("# nothing\n"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_text_is_an_instruction_or_an_error(keyword in 0..KEYWORDS.len(), text in "[-a-z =\\[\\]\"',$A{}\\\\\\n0-9/é]{0,40}") {
            for line in change_lines(&format!("{} {text}\n{text}", KEYWORDS[keyword].0)).unwrap() {
                let _ = parse_line(&line, &env);
            }
        }
    }
}
