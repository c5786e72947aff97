//! Values of the `config` verb's flags, each read into the `Change`s that it means.
//!
//! The forms are Buildah's: a JSON array where one is allowed, shell words for `--cmd`, `NAME-` to remove, `-` to remove all.

use super::Change;

/// Why a flag's value could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `--env NAME` and the caller has no such variable.
    #[error("setting env {0:?}: no value given")]
    NoEnvValue(String),
    /// `--cmd` with an open quote.
    #[error("parsing --cmd {0:?}: {1}")]
    Words(String, &'static str),
    /// A duration that is none.
    #[error("parsing {flag} {value:?}: invalid duration")]
    Duration {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
    },
}

/// `--entrypoint`: a JSON array, a text for `/bin/sh -c`, or nothing.
pub fn entrypoint(text: &str) -> Change {
    let _ = text;
    Change::Entrypoint(Vec::new())
}

/// `--cmd`: a JSON array, or words.
pub fn cmd(text: &str) -> Result<Change, Error> {
    let _ = text;
    Ok(Change::Cmd(Vec::new()))
}

/// `--env`: `NAME=template`, `NAME` (taken from `caller`), `NAME-`, `-`. `caller` is asked for variables of the process.
pub fn env(text: &str, caller: &dyn Fn(&str) -> Option<String>) -> Result<Change, Error> {
    let _ = (text, caller);
    Ok(Change::ClearEnv)
}

/// `--label`: `key=value`, `key`, `key-`, `-`.
pub fn label(text: &str) -> Change {
    let _ = text;
    Change::ClearLabels
}

/// `--annotation`: as `--label`.
pub fn annotation(text: &str) -> Change {
    let _ = text;
    Change::ClearAnnotations
}

/// `--port`: `port[/protocol]` kept as it is, `port-`, `-`.
pub fn port(text: &str) -> Change {
    let _ = text;
    Change::ClearPorts
}

/// `--volume`: a path kept as it is, `path-`, `-`.
pub fn volume(text: &str) -> Change {
    let _ = text;
    Change::ClearVolumes
}

/// `--os-feature`: a name, `name-`, `-`.
pub fn os_feature(text: &str) -> Change {
    let _ = text;
    Change::ClearOsFeatures
}

/// `--shell`: words.
pub fn shell(text: &str) -> Result<Change, Error> {
    let _ = text;
    Ok(Change::Shell(Vec::new()))
}

/// `--onbuild`: one instruction, or nothing to remove all.
pub fn onbuild(text: &str) -> Change {
    let _ = text;
    Change::ClearOnBuild
}

/// `--healthcheck`: `NONE`, `CMD word…`, `CMD-SHELL text`, split at blanks.
pub fn healthcheck(text: &str) -> Change {
    let _ = text;
    Change::Healthcheck(None)
}

/// A Go duration (`1h30m`, `300ms`, `1.5s`) in nanoseconds. `flag` is for the error.
pub fn duration(flag: &'static str, text: &str) -> Result<i64, Error> {
    Err(Error::Duration { flag, value: text.to_owned() })
}
