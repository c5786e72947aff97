//! The typed instructions.

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

/// One instruction. Words are as written, quotes and escapes resolved, variables not yet replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `CMD`
    Cmd(Command),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `ENV name=value …`
    Env(Vec<(String, String)>),
    /// `LABEL key=value …`
    Label(Vec<(String, String)>),
    /// `EXPOSE port…`
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

/// Parses one instruction as `commit --change` takes it. `env` answers what `$NAME` stands for.
pub fn parse_change(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Instruction, ParseError> {
    let _ = env;
    Err(ParseError { kind: ParseErrorKind::Empty, span: Span { start: 0, end: text.len() } })
}
