//! A Dockerfile instruction that only changes the config, as `image::Change`s: what `commit --change` and `build` share.

use crate::dockerfile::instruction::{Command, Healthcheck, Metadata};
use crate::dockerfile::{ParseError, parse_changes};
use crate::image::config::Healthcheck as Test;
use crate::image::{Change, Draft, Warning};

/// The words before a text for the shell, unless the image has a `SHELL`.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Parses the instructions in `text` and applies each before the next is read, so that it sees the variables as they are then.
pub fn apply(draft: &mut Draft, text: &str) -> Result<Vec<Warning>, ParseError> {
    let mut warnings = Vec::new();
    for step in parse_changes(text)? {
        let instruction = step.metadata(&|name| draft.config.config.env(name).map(str::to_owned))?;
        for change in changes(&instruction, &draft.config.config.shell) {
            warnings.extend(draft.apply(&change));
        }
    }
    Ok(warnings)
}

/// What `instruction` changes, where `shell` is the image's `SHELL` (may be empty).
pub fn changes(instruction: &Metadata, shell: &[String]) -> Vec<Change> {
    match instruction {
        Metadata::Cmd(command) => vec![Change::Cmd(words(command, shell))],
        Metadata::Entrypoint(command) => vec![Change::Entrypoint(words(command, shell))],
        Metadata::Env(pairs) => vec![Change::SetEnvs(pairs.clone())],
        Metadata::Label(pairs) => {
            pairs.iter().map(|(key, value)| Change::SetLabel { key: key.clone(), value: value.clone() }).collect()
        }
        Metadata::Expose(ports) => ports.iter().map(|port| Change::Expose(with_protocol(port))).collect(),
        Metadata::Volume(paths) => paths.iter().cloned().map(Change::AddVolume).collect(),
        Metadata::User(user) => vec![Change::User(user.clone())],
        Metadata::Workdir(path) => vec![Change::EnterDir(path.clone())],
        Metadata::OnBuild(text) => vec![Change::OnBuild(text.clone())],
        Metadata::StopSignal(signal) => vec![Change::StopSignal(signal.clone())],
        Metadata::Healthcheck(check) => vec![Change::Healthcheck(Some(test(check)))],
        Metadata::Shell(words) => vec![Change::Shell(words.clone())],
        Metadata::Maintainer(name) => vec![Change::Author(name.clone())],
    }
}

/// The words of a command line: a text goes to `shell`, the image's SHELL (may be empty).
pub(super) fn words(command: &Command, shell: &[String]) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) if shell.is_empty() => SHELL.iter().map(ToString::to_string).chain([text.clone()]).collect(),
        Command::Shell(text) => shell.iter().cloned().chain([text.clone()]).collect(),
    }
}

/// `EXPOSE 80` means `80/tcp` (unlike `config --port 80`, which is kept as it is).
fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

fn test(check: &Healthcheck) -> Test {
    match check {
        Healthcheck::None => Test { test: vec!["NONE".to_owned()], ..Test::default() },
        Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } => Test {
            test: match command {
                Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                Command::Exec(words) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
            },
            interval: *interval,
            timeout: *timeout,
            start_period: *start_period,
            start_interval: *start_interval,
            retries: *retries,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_text_gets_the_shell_and_words_do_not() {
        let text = Metadata::Cmd(Command::Shell("echo $A".into()));
        assert_eq!(changes(&text, &[]), [Change::Cmd(strings(&["/bin/sh", "-c", "echo $A"]))]);
        assert_eq!(changes(&text, &strings(&["/bin/bash", "-c"])), [Change::Cmd(strings(&["/bin/bash", "-c", "echo $A"]))]);
        let exec = Metadata::Entrypoint(Command::Exec(strings(&["/app", "x"])));
        assert_eq!(changes(&exec, &[]), [Change::Entrypoint(strings(&["/app", "x"]))]);
    }

    #[test]
    fn ports_get_a_protocol() {
        let ports = Metadata::Expose(strings(&["80", "53/udp"]));
        assert_eq!(changes(&ports, &[]), [Change::Expose("80/tcp".into()), Change::Expose("53/udp".into())]);
    }

    #[test]
    fn health_checks_become_tests() {
        let none = Metadata::Healthcheck(Healthcheck::None);
        let Change::Healthcheck(Some(test)) = &changes(&none, &[])[0] else { panic!("no health check") };
        assert_eq!(test.test, ["NONE"]);
    }
}
