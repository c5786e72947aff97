//! The typed instructions, one file each, and the way from arguments to one of them.

pub mod add;
pub(super) mod arg;
mod cmd;
pub mod copy;
mod entrypoint;
mod env;
mod expose;
pub mod from;
mod healthcheck;
mod label;
mod maintainer;
pub(super) mod on_build;
pub mod run;
mod shell;
mod stop_signal;
mod user;
mod volume;
mod workdir;

use self::add::Add;
use self::copy::Copy;
use self::run::Run;
use super::error::cut;
use super::words::Arguments;
use super::{Keyword, ParseError};

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

/// A file whose content stands in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name: the word that ends the here-document. May hold anything but a line's end; no path that was checked.
    pub name: String,
    /// Its content.
    pub content: String,
}

/// One instruction. Quotes and escapes are resolved and variables replaced where the Dockerfile reference says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `RUN`
    Run(Run),
    /// `COPY`
    Copy(Copy),
    /// `ADD`
    Add(Add),
    /// `ARG name[=default] …`; names are not empty.
    Arg(Vec<(String, Option<String>)>),
    /// One that changes the configuration and nothing else.
    Metadata(Metadata),
}

/// An instruction that changes the configuration and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
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

/// Reads the arguments of any instruction but FROM, which begins a stage.
pub(super) fn read(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    match arguments.keyword {
        Keyword::Add => add::parse(arguments),
        Keyword::Arg => arg::parse(arguments),
        Keyword::Cmd => cmd::parse(arguments),
        Keyword::Copy => copy::parse(arguments),
        Keyword::Entrypoint => entrypoint::parse(arguments),
        Keyword::Env => env::parse(arguments),
        Keyword::Expose => expose::parse(arguments),
        Keyword::From => Err(arguments.error("begins a stage, and can not be a step of one")),
        Keyword::Healthcheck => healthcheck::parse(arguments),
        Keyword::Label => label::parse(arguments),
        Keyword::Maintainer => maintainer::parse(arguments),
        Keyword::OnBuild => on_build::parse(arguments),
        Keyword::Run => run::parse(arguments),
        Keyword::Shell => shell::parse(arguments),
        Keyword::StopSignal => stop_signal::parse(arguments),
        Keyword::User => user::parse(arguments),
        Keyword::Volume => volume::parse(arguments),
        Keyword::Workdir => workdir::parse(arguments),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Lookup, ParseErrorKind, Span, parse_changes};
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "A").then(|| "1".to_owned())
    }

    fn first(text: &str, env: Lookup<'_>) -> Result<Instruction, ParseError> {
        super::super::file::first_step(text)?.instruction(env)
    }

    /// What the first instruction of a text becomes, or its error's text.
    pub(super) fn parsed(text: &str) -> Result<Instruction, String> {
        first(text, &env).map_err(|error| error.to_string())
    }

    /// What an instruction changes that does nothing else.
    pub(super) fn changed(text: &str) -> Result<Metadata, String> {
        match parsed(text)? {
            Instruction::Metadata(metadata) => Ok(metadata),
            other => panic!("{text:?} is {other:?}"),
        }
    }

    #[test]
    fn keywords_in_any_case_and_with_any_blanks() {
        for text in ["USER x", "user x", "  User \t x  \n", "# c\nUSER x", "USER \\\n x"] {
            assert_eq!(changed(text), Ok(Metadata::User("x".into())), "{text:?}");
        }
    }

    #[test]
    fn every_keyword_is_known_and_some_do_work() {
        for keyword in Keyword::ALL {
            let found = parse_changes(&format!("{keyword} x"));
            let not_a_change = matches!(found, Err(ParseError { kind: ParseErrorKind::NotAChange(_), .. }));
            assert_eq!(not_a_change, !keyword.is_change(), "{keyword}");
        }
    }

    #[test]
    fn unknown_keywords_name_the_nearest() {
        let cases = [
            ("LABLE a=b", Some(Keyword::Label)),
            ("ENTRYPONT x", Some(Keyword::Entrypoint)),
            ("CMD=x", Some(Keyword::Cmd)),
            ("RUN\u{a0}x", Some(Keyword::Run)),
            ("XYZZY", None),
        ];
        for (text, expected) in cases {
            let Err(ParseError { kind: ParseErrorKind::Unknown { nearest, .. }, span }) = first(text, &env) else {
                panic!("{text:?}")
            };
            assert_eq!(nearest, expected, "{text:?}");
            assert_eq!(span, Span { file: 0, start: 0, end: text.split(' ').next().unwrap().len() });
        }
        assert_eq!(parsed("foo x"), Err("Unknown instruction: \"FOO\"".into()));
    }

    #[test]
    fn errors_point_into_the_whole_text() {
        assert_eq!(parse_changes("# c\nUSER x\nFOO y\n").unwrap_err().span, Span { file: 0, start: 11, end: 14 });
        assert_eq!(parse_changes("# nothing\n"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_text_is_an_instruction_or_an_error(keyword in 0..Keyword::ALL.len(), text in "[-a-z =\\[\\]\"',$A{}\\\\\\n0-9/é<]{0,40}") {
            let _ = first(&format!("{} {text}\n{text}", Keyword::ALL[keyword]), &env);
        }
    }
}
