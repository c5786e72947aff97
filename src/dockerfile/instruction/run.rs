//! `RUN [--mount=… --network=… --security=… --device=…] command`

use super::{Arguments, Command, File, Instruction, ParseError, cmd, cut};
use crate::dockerfile::heredoc::Heredoc;
use crate::dockerfile::words::split_words;

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `--mount`, in their order.
    pub mounts: Vec<Mount>,
    /// `--network`
    pub network: Option<Network>,
    /// `--security`
    pub security: Option<Security>,
    /// `--device`, in their order.
    pub devices: Vec<String>,
    /// What is run.
    pub form: RunForm,
}

/// What RUN runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunForm {
    /// A command. Here-documents are in it: one that is the whole line is the text for the shell, and others follow the line, so that
    /// the shell reads them.
    Command(Command),
    /// A here-document that begins with `#!`: a program, to be executed as a file of this name.
    Program(File),
}

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What follows the equals sign, variables not replaced.
    pub text: String,
    /// Its options: name (lower case) and, after an equals sign, value. Variables are replaced in the values only, so that none can
    /// bring an option of its own, and where a whole option is a variable.
    pub options: Vec<(String, Option<String>)>,
}

impl Mount {
    /// As one word again, with quotes where a value has a comma or quotes (RFC 4180).
    pub fn joined(&self) -> String {
        let option = |(name, value): &(String, Option<String>)| {
            let word = value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}"));
            match word.contains([',', '"', '\n']) {
                true => format!("\"{}\"", word.replace('"', "\"\"")),
                false => word,
            }
        };
        self.options.iter().map(option).collect::<Vec<_>>().join(",")
    }

    /// Whether variables decide what it is.
    pub fn has_variables(&self) -> bool {
        self.text.contains('$')
    }
}

/// `RUN --network`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What the build was told.
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// `RUN --security`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// As always.
    Sandbox,
    /// Without confinement.
    Insecure,
}

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.some()?;
    let mounts = arguments.flag_values("mount")?.into_iter().map(|(flag, text)| mount(arguments, text, flag.source));
    let devices = arguments.flag_values("device")?.into_iter().map(|(flag, value)| arguments.expand(value, flag.source));
    Ok(Instruction::Run(Run {
        mounts: mounts.collect::<Result<_, _>>()?,
        network: one_of(arguments, "network", &NETWORKS)?,
        security: one_of(arguments, "security", &SECURITIES)?,
        devices: devices.collect::<Result<_, _>>()?,
        form: form(arguments)?,
    }))
}

const NETWORKS: [(&str, Network); 3] = [("default", Network::Default), ("none", Network::None), ("host", Network::Host)];
const SECURITIES: [(&str, Security); 2] = [("sandbox", Security::Sandbox), ("insecure", Security::Insecure)];

/// The value of a flag that is one of a few words.
fn one_of<T: Copy>(arguments: &Arguments<'_>, name: &str, known: &[(&str, T)]) -> Result<Option<T>, ParseError> {
    let Some((flag, value)) = arguments.flag(name)? else { return Ok(None) };
    arguments.value(value, flag.source, |value| {
        let found = known.iter().find(|(word, _)| *word == value).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            format!("--{name}={} is unknown: it can be {}", cut(&value).escape_debug(), words.join(", "))
        })
    })
}

/// In lower case, as BuildKit reads it; but `U` and `Z` of Buildah are other words than `u` and `z`.
fn option_name(name: &str) -> String {
    if matches!(name, "U" | "Z") { name.to_owned() } else { name.to_ascii_lowercase() }
}

fn mount(arguments: &Arguments<'_>, text: &str, part: &str) -> Result<Mount, ParseError> {
    let mut options = Vec::new();
    for field in fields(text).map_err(|problem| arguments.error_at(part, problem))? {
        match field.split_once('=') {
            Some((name, value)) => options.push((option_name(name), Some(arguments.expand(value, part)?))),
            None if field.contains('$') => {
                let text = arguments.expand(&field, part)?;
                for field in fields(&text).map_err(|problem| arguments.error_at(part, problem))? {
                    let (name, value) =
                        field.split_once('=').map_or((field.as_str(), None), |(name, value)| (name, Some(value)));
                    options.push((option_name(name), value.map(str::to_owned)));
                }
            }
            None => options.push((option_name(&field), None)),
        }
    }
    options.retain(|(name, value)| !name.is_empty() || value.is_some());
    Ok(Mount { text: text.to_owned(), options })
}

/// The fields of a comma-separated line (RFC 4180): one that begins with a double quote goes up to the next one, and two of them
/// stand for one.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => match rest.split_once(',') {
                Some((field, after)) => (field.to_owned(), Some(after)),
                None => (rest.to_owned(), None),
            },
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

fn quoted_field(text: &str) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or("--mount has a quote without its end")?;
        field.push_str(part);
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
        } else if after.is_empty() {
            return Ok((field, None));
        } else {
            let after = after.strip_prefix(',').ok_or("--mount has text behind a quoted option")?;
            return Ok((field, Some(after)));
        }
    }
}

fn form(arguments: &Arguments<'_>) -> Result<RunForm, ParseError> {
    let mut text = match cmd::command(arguments)? {
        Command::Exec(words) if words.is_empty() => return Err(arguments.error("requires at least one argument")),
        command @ Command::Exec(_) => return Ok(RunForm::Command(command)),
        Command::Shell(text) => text,
    };
    match arguments.heredocs {
        [] => Ok(RunForm::Command(Command::Shell(text))),
        // More words than the announcement are a command's: `<<E sh`, `<<E cat > f`.
        [only] if split_words(&text, '\\').len() == 1 => Ok(alone(only)),
        several => {
            for heredoc in several {
                text.push('\n');
                text.push_str(&heredoc.text);
                text.push_str(&heredoc.name);
            }
            Ok(RunForm::Command(Command::Shell(text)))
        }
    }
}

/// A here-document that is all there is.
fn alone(heredoc: &Heredoc) -> RunForm {
    let content = heredoc.content();
    if content.starts_with("#!") {
        RunForm::Program(File { name: heredoc.name.clone(), content })
    } else {
        RunForm::Command(Command::Shell(content))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn run(text: &str) -> Result<Run, String> {
        match parsed(text)? {
            Instruction::Run(run) => Ok(run),
            other => panic!("{text:?} is {other:?}"),
        }
    }

    fn shell(text: &str) -> RunForm {
        RunForm::Command(Command::Shell(text.to_owned()))
    }

    #[test]
    fn forms() {
        let program = |name: &str, content: &str| RunForm::Program(File { name: name.into(), content: content.into() });
        let cases = [
            ("RUN a  $A 'b'", shell("a  $A 'b'")),
            ("RUN a && \\\n    b", shell("a &&     b")),
            (r#"RUN ["a","$A"]"#, RunForm::Command(Command::Exec(vec!["a".into(), "$A".into()]))),
            ("RUN ['a']", shell("['a']")),
            ("RUN [ 1 -eq 1 ] && x", shell("[ 1 -eq 1 ] && x")),
            ("RUN <<E\na\n# $A\nE\n", shell("a\n# $A\n")),
            ("RUN <<-E\n\ta\n\tE\n", shell("a\n")),
            ("RUN <<'E'\na\nE\n", shell("a\n")),
            ("RUN <<E\nE\n", shell("")),
            ("RUN <<'E F'\na\nE F\n", shell("a\n")),
            ("RUN <<E  \na\nE\n", shell("a\n")),
            ("RUN <<E cat > f\na\nE\n", shell("<<E cat > f\na\nE")),
            ("RUN <<E && x\n#!/bin/x\nE\n", shell("<<E && x\n#!/bin/x\nE")),
            ("RUN <<-'E F' sh\n\ta\n\tE F\n", shell("<<-'E F' sh\n\ta\nE F")),
            ("RUN --network=none <<E sh\na\nE", shell("<<E sh\na\nE")),
            ("RUN <<A <<B\na\nA\nb\nB\n", shell("<<A <<B\na\nA\nb\nB")),
            ("RUN <<E\n#!/bin/x\ny\nE\n", program("E", "#!/bin/x\ny\n")),
            ("RUN cat <<E > f\na\nE\n", shell("cat <<E > f\na\nE")),
            ("RUN cat <<-A <<'B'\n\ta\nA\nb\nB\n", shell("cat <<-A <<'B'\n\ta\nA\nb\nB")),
            ("RUN echo '<<E'", shell("echo '<<E'")),
            ("RUN --network=none <<E\na\nE", shell("a\n")),
        ];
        for (text, form) in cases {
            assert_eq!(run(text).map(|run| run.form), Ok(form), "{text:?}");
        }
    }

    #[test]
    fn flags() {
        let found = run(
            "RUN --mount=type=cache,target=/c --network=none --mount=type=tmpfs,target=/t --security=insecure --device=v/c=$A x",
        );
        let found = found.expect("a RUN");
        assert_eq!(found.mounts.len(), 2);
        assert_eq!((found.network, found.security), (Some(Network::None), Some(Security::Insecure)));
        assert_eq!((found.devices, found.form), (vec!["v/c=1".to_owned()], shell("x")));
        assert_eq!(run("RUN --network=${N:-host} x").map(|run| run.network), Ok(Some(Network::Host)));
    }

    #[test]
    fn options_of_mounts() {
        let cases = [
            ("type=cache,target=/c$A,ro", &[("type", Some("cache")), ("target", Some("/c1")), ("ro", None)][..]),
            ("TYPE=bind,Source=/A", &[("type", Some("bind")), ("source", Some("/A"))]),
            ("'\"source=a,b\",target=/x'", &[("source", Some("a,b")), ("target", Some("/x"))]),
            ("'\"a=\"\"q\"\"\"'", &[("a", Some("q"))]),
            ("id=$E", &[("id", Some("x,rw"))]),
            ("type=tmpfs,$E", &[("type", Some("tmpfs")), ("x", None), ("rw", None)]),
            ("a=b=c,", &[("a", Some("b=c"))]),
            ("", &[]),
        ];
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "E" => Some("x,rw".to_owned()),
            _ => None,
        };
        for (text, options) in cases {
            let step = crate::dockerfile::file::first_step(&format!("RUN --mount={text} x")).expect(text);
            let Ok(Instruction::Run(run)) = step.instruction(&lookup) else { panic!("{text:?}") };
            let found: Vec<_> = run.mounts[0].options.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            assert_eq!(found, options, "{text:?}");
        }
    }

    #[test]
    fn errors() {
        let cases = [
            ("RUN", "RUN requires at least one argument"),
            ("RUN []", "RUN requires at least one argument"),
            ("RUN --network=none", "RUN requires at least one argument"),
            ("RUN [1]", "RUN when using JSON array syntax, arrays must be comprised of strings only"),
            ("RUN --mnt=x y", "RUN has an unknown flag: --mnt"),
            ("RUN --mount x", "RUN --mount needs a value: --mount=…"),
            ("RUN --network=bridge x", "RUN --network=bridge is unknown: it can be default, none, host"),
            ("RUN --network= x", "RUN --network= is unknown: it can be default, none, host"),
            ("RUN --network=$A x", "RUN --network=1 is unknown: it can be default, none, host"),
            ("RUN --security=Insecure x", "RUN --security=Insecure is unknown: it can be sandbox, insecure"),
            ("RUN --network=none --network=host x", "RUN --network is given more than once"),
            ("RUN --mount='\"a' x", "RUN --mount has a quote without its end"),
            ("RUN --mount='\"a\"b' x", "RUN --mount has text behind a quoted option"),
            ("RUN --mount=a=${ x", "RUN \"${\": syntax error: missing '}' in ${…}"),
            ("RUN <<E\na\n", "unterminated heredoc: no line \"E\" follows"),
            ("RUN cat <<A <<B\nA\n", "unterminated heredoc: no line \"B\" follows"),
        ];
        for (text, error) in cases {
            assert_eq!(run(text), Err(error.to_owned()), "{text:?}");
        }
    }
}
