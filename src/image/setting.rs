//! Values of the `config` verb's flags, each read into the `Change` that it means.
//!
//! The forms are Buildah's: a JSON array where one is allowed, shell words for `--cmd`, `NAME-` to remove, `-` to remove all.

use super::Change;
use super::change::HealthcheckEdit;
use crate::golang::duration::{ParseDurationError, parse_duration};

/// Why a flag's value could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `--env NAME` and the caller has no such variable.
    #[error("setting env {0:?}: no value given")]
    NoEnvValue(String),
    /// Words with an open quote or a backslash at the end.
    #[error("parsing {flag} {value:?}: invalid command line string")]
    Words {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
    },
    /// A duration that is none.
    #[error("parsing {flag} {value:?}: time: {}", .problem.about(.value))]
    Duration {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: ParseDurationError,
    },
}

/// `--entrypoint`: a JSON array, a text for `/bin/sh -c`, or nothing.
pub fn entrypoint(text: &str) -> Change {
    if text.trim().is_empty() {
        return Change::Entrypoint(Vec::new());
    }
    Change::Entrypoint(json_words(text).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), text.into()]))
}

/// `--cmd`: a JSON array, or words.
pub fn cmd(text: &str) -> Result<Change, Error> {
    if text.trim().is_empty() {
        return Ok(Change::Cmd(Vec::new()));
    }
    Ok(Change::Cmd(match json_words(text) {
        Some(words) => words,
        None => words("--cmd", text)?,
    }))
}

/// `--env`: `NAME=template`, `NAME` (taken from `caller`), `NAME-`, `-`. `caller` is asked for variables of the process.
pub fn env(text: &str, caller: &dyn Fn(&str) -> Option<String>) -> Result<Change, Error> {
    if let Some((name, template)) = text.split_once('=') {
        return Ok(Change::ExpandEnv { name: name.into(), template: template.into() });
    }
    match removal(text) {
        Removal::All => Ok(Change::ClearEnv),
        Removal::One(name) => Ok(Change::UnsetEnv(name.into())),
        // A variable that is empty is none, as Go's Getenv has it.
        Removal::None => match caller(text).filter(|value| !value.is_empty()) {
            Some(value) => Ok(Change::SetEnv { name: text.into(), value }),
            None => Err(Error::NoEnvValue(text.into())),
        },
    }
}

/// `--label`: `key=value`, `key`, `key-`, `-`.
pub fn label(text: &str) -> Change {
    match (text.split_once('='), removal(text)) {
        (Some((key, value)), _) => Change::SetLabel { key: key.into(), value: value.into() },
        (None, Removal::All) => Change::ClearLabels,
        (None, Removal::One(key)) => Change::UnsetLabel(key.into()),
        (None, Removal::None) => Change::SetLabel { key: text.into(), value: String::new() },
    }
}

/// `--annotation`: as `--label`; after `layer:` one of the layer to come.
pub fn annotation(text: &str) -> Change {
    let (of_layer, text) = match text.strip_prefix("layer:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    match (label(text), of_layer) {
        (Change::SetLabel { key, value }, false) => Change::SetAnnotation { key, value },
        (Change::UnsetLabel(key), false) => Change::UnsetAnnotation(key),
        (_, false) => Change::ClearAnnotations,
        (Change::SetLabel { key, value }, true) => Change::SetLayerAnnotation { key, value },
        (Change::UnsetLabel(key), true) => Change::UnsetLayerAnnotation(key),
        (_, true) => Change::ClearLayerAnnotations,
    }
}

/// One element of `--port`: `port[/protocol]` kept as it is, `port-`; what begins with `-` removes all.
pub fn port(text: &str) -> Change {
    match removal(text) {
        _ if text.starts_with('-') => Change::ClearPorts,
        Removal::One(port) => Change::Unexpose(port.into()),
        _ => Change::Expose(text.into()),
    }
}

/// One element of `--volume`: a path kept as it is, `path-`, `-`.
pub fn volume(text: &str) -> Change {
    match removal(text) {
        Removal::All => Change::ClearVolumes,
        Removal::One(path) => Change::RemoveVolume(path.into()),
        Removal::None => Change::AddVolume(text.into()),
    }
}

/// `--os-feature`: a name, `name-`, `-`.
pub fn os_feature(text: &str) -> Change {
    match removal(text) {
        Removal::All => Change::ClearOsFeatures,
        Removal::One(name) => Change::RemoveOsFeature(name.into()),
        Removal::None => Change::AddOsFeature(text.into()),
    }
}

/// `--shell`: words; JSON is not read as such.
pub fn shell(text: &str) -> Result<Change, Error> {
    Ok(Change::Shell(words("--shell", text)?))
}

/// One element of `--onbuild`: an instruction.
pub fn onbuild(text: &str) -> Change {
    Change::OnBuild(text.into())
}

/// `--healthcheck`: `NONE`, `CMD word…`, `CMD-SHELL text`, in words; nothing removes the check.
pub fn healthcheck(text: &str) -> Result<Change, Error> {
    match words("--healthcheck", text)? {
        none if none.is_empty() => Ok(Change::Healthcheck(None)),
        test => Ok(Change::EditHealthcheck(HealthcheckEdit { test: Some(test), ..HealthcheckEdit::default() })),
    }
}

/// What a value without `=` removes.
enum Removal<'a> {
    All,
    One(&'a str),
    None,
}

fn removal(text: &str) -> Removal<'_> {
    match text.strip_suffix('-') {
        Some("") => Removal::All,
        Some(name) => Removal::One(name),
        None => Removal::None,
    }
}

/// A JSON array of strings.
fn json_words(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// Splits into words as a shell would, with quotes and backslashes but without expansions, comments and operators.
pub fn split(flag: &'static str, text: &str) -> Result<Vec<String>, Error> {
    words(flag, text)
}

fn words(flag: &'static str, text: &str) -> Result<Vec<String>, Error> {
    let refuse = || Error::Words { flag, value: text.to_owned() };
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().push(characters.next().ok_or_else(refuse)?),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(refuse());
    }
    words.extend(word);
    Ok(words)
}

/// A Go duration (`1h30m`, `300ms`, `-1.5s`, `0`) in nanoseconds. `flag` is for the error.
pub fn duration(flag: &'static str, text: &str) -> Result<i64, Error> {
    parse_duration(text).map_err(|problem| Error::Duration { flag, value: text.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn entrypoint_forms() {
        let cases = [
            ("a b", &["/bin/sh", "-c", "a b"][..]),
            (r#"["x","y"]"#, &["x", "y"]),
            ("[]", &[]),
            (r#"["a",1]"#, &["/bin/sh", "-c", r#"["a",1]"#]),
            ("", &[]),
        ];
        for (text, result) in cases {
            assert_eq!(entrypoint(text), Change::Entrypoint(strings(result)), "{text:?}");
        }
    }

    #[test]
    fn cmd_forms() {
        let cases = [
            (r#"a "b c" d"#, &["a", "b c", "d"][..]),
            (r#"["x y","z"]"#, &["x y", "z"]),
            ("[x", &["[x"]),
            ("", &[]),
            (" ", &[]),
            (r#"a 'b c' d\ e "q\"r" $HOME # x"#, &["a", "b c", "d e", "q\"r", "$HOME", "#", "x"]),
            ("a `b` $(c)", &["a", "`b`", "$(c)"]),
            ("a '' b", &["a", "", "b"]),
            // Buildah cuts the rest at an operator without a word; a literal is what was meant.
            ("a; b", &["a;", "b"]),
        ];
        for (text, result) in cases {
            assert_eq!(cmd(text), Ok(Change::Cmd(strings(result))), "{text:?}");
        }
        let error = cmd("a \"b").unwrap_err().to_string();
        assert_eq!(error, r#"parsing --cmd "a \"b": invalid command line string"#);
        assert!(cmd("a\\").is_err());
    }

    #[test]
    fn env_forms() {
        let caller = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        let expand = |name: &str, template: &str| Change::ExpandEnv { name: name.into(), template: template.into() };
        let cases = [
            ("A=1", Ok(expand("A", "1"))),
            ("A=", Ok(expand("A", ""))),
            ("Z-=1", Ok(expand("Z-", "1"))),
            ("A=b=c", Ok(expand("A", "b=c"))),
            ("HOME", Ok(Change::SetEnv { name: "HOME".into(), value: "/h".into() })),
            ("A-", Ok(Change::UnsetEnv("A".into()))),
            ("-", Ok(Change::ClearEnv)),
            ("C", Err(Error::NoEnvValue("C".into()))),
            ("", Err(Error::NoEnvValue(String::new()))),
        ];
        for (text, result) in cases {
            assert_eq!(env(text, &caller), result, "{text:?}");
        }
        assert_eq!(env("C", &caller).unwrap_err().to_string(), "setting env \"C\": no value given");
    }

    #[test]
    fn key_value_and_removal_forms() {
        let set = |key: &str, value: &str| Change::SetLabel { key: key.into(), value: value.into() };
        let cases = [
            ("a=b", set("a", "b")),
            ("c", set("c", "")),
            ("", set("", "")),
            ("=x", set("", "x")),
            ("k-=v", set("k-", "v")),
            ("a-", Change::UnsetLabel("a".into())),
            ("-", Change::ClearLabels),
        ];
        for (text, result) in cases {
            assert_eq!(label(text), result, "{text:?}");
        }
        assert_eq!(annotation("a=b"), Change::SetAnnotation { key: "a".into(), value: "b".into() });
        assert_eq!(annotation("a-"), Change::UnsetAnnotation("a".into()));
        assert_eq!(annotation("-"), Change::ClearAnnotations);
        assert_eq!(annotation("layer:a=b"), Change::SetLayerAnnotation { key: "a".into(), value: "b".into() });
        assert_eq!(annotation("layer:a-"), Change::UnsetLayerAnnotation("a".into()));
        assert_eq!(annotation("layer:-"), Change::ClearLayerAnnotations);
        assert_eq!(port("80"), Change::Expose("80".into()));
        assert_eq!(port("80-"), Change::Unexpose("80".into()));
        assert_eq!(port("1-3"), Change::Expose("1-3".into()));
        assert_eq!(port("-x"), Change::ClearPorts);
        assert_eq!(volume("/b:/c"), Change::AddVolume("/b:/c".into()));
        assert_eq!(volume("/b:/c-"), Change::RemoveVolume("/b:/c".into()));
        assert_eq!(volume("-"), Change::ClearVolumes);
        assert_eq!(os_feature("a"), Change::AddOsFeature("a".into()));
        assert_eq!(os_feature("a-"), Change::RemoveOsFeature("a".into()));
        assert_eq!(shell("/bin/x -y"), Ok(Change::Shell(strings(&["/bin/x", "-y"]))));
        assert_eq!(shell(r#"["/bin/a","b"]"#), Ok(Change::Shell(strings(&["[/bin/a,b]"]))));
    }

    #[test]
    fn healthcheck_forms() {
        let test = |words: &[&str]| {
            Ok(Change::EditHealthcheck(HealthcheckEdit { test: Some(strings(words)), ..HealthcheckEdit::default() }))
        };
        assert_eq!(healthcheck("CMD true"), test(&["CMD", "true"]));
        assert_eq!(healthcheck("NONE"), test(&["NONE"]));
        assert_eq!(healthcheck("CMD-SHELL a \"b c\"  d"), test(&["CMD-SHELL", "a", "b c", "d"]));
        assert_eq!(healthcheck(""), Ok(Change::Healthcheck(None)));
    }

    #[test]
    fn a_wrong_duration_is_told_as_go_tells_it() {
        assert_eq!(duration("--x", "5s"), Ok(5_000_000_000));
        let error = |text: &str| duration("--healthcheck-interval", text).unwrap_err().to_string();
        assert_eq!(error("5"), r#"parsing --healthcheck-interval "5": time: missing unit in duration "5""#);
        assert_eq!(error("bogus"), r#"parsing --healthcheck-interval "bogus": time: invalid duration "bogus""#);
    }
}
