//! Hooks: programs of the machine's owner that are run around a command, as oci-hooks(5) describes their files (version 1.0.0).
//!
//! A directory holds JSON files, each with a program, the conditions under which it is run, and the stages at which. They are taken
//! in the order of their names; a file in a later directory replaces one of the same name.
//!
//! Invariant: a file that is not understood to the last condition is an error: a condition left out would run more than was meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

use super::{Error, Presence, read_file};

/// When a hook is run (runtime specification, lifecycle).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// As `CreateRuntime`; the older name.
    Prestart,
    /// The namespaces are there, the root directory is not changed yet; on the machine.
    CreateRuntime,
    /// The same, in the container's namespaces.
    CreateContainer,
    /// The root directory is changed, the command is not started yet; in the container.
    StartContainer,
    /// The command runs; on the machine.
    Poststart,
    /// The command has ended; on the machine.
    Poststop,
}

impl Stage {
    /// Its name in the specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// A program (runtime specification, POSIX-platform hooks).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Absolute.
    pub path: PathBuf,
    /// Its arguments, the name it is called by first.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its whole environment, `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds after which it is ended; `None` for no limit.
    pub timeout: Option<u64>,
}

/// What the conditions are about.
#[derive(Debug, Clone, Default)]
pub struct Call<'a> {
    /// The command's first word.
    pub command: &'a str,
    /// The image's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Directories or files of the host were asked for.
    pub has_bind_mounts: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    hook: Hook,
    when: When,
    stages: Vec<Stage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct When {
    always: Option<bool>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    commands: Vec<String>,
    has_bind_mounts: Option<bool>,
}

/// The hooks in `directories` whose conditions hold for `call`, in the order in which they are run.
pub fn load(directories: &[PathBuf], call: &Call<'_>) -> Result<Vec<(Stage, Hook)>, Error> {
    let mut files: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for directory in directories {
        let failed = |source| Error::Read { path: directory.clone(), source };
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                files.insert(path.file_name().unwrap_or_default().to_os_string(), path);
            }
        }
    }
    let mut hooks = Vec::new();
    for path in files.values() {
        let text = read_file(path, Presence::Required)?.unwrap_or_default();
        let wrong = |message: String| Error::Parse { path: path.clone(), message };
        let file: File = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        file.check().map_err(wrong)?;
        if file.when.holds(call).map_err(wrong)? {
            hooks.extend(file.stages.iter().map(|stage| (*stage, file.hook.clone())));
        }
    }
    Ok(hooks)
}

impl File {
    fn check(&self) -> Result<(), String> {
        if self.version != "1.0.0" {
            return Err(format!("version {:?} is not 1.0.0", self.version));
        }
        if !self.hook.path.is_absolute() || !Path::exists(&self.hook.path) {
            return Err(format!("the program {:?} does not exist, or is not given by an absolute path", self.hook.path));
        }
        if self.stages.is_empty() {
            return Err("it has no stages".to_owned());
        }
        if self.hook.timeout == Some(0) {
            return Err("a timeout must be greater than zero".to_owned());
        }
        Ok(())
    }
}

impl When {
    /// Whether there is a condition, and all there are hold.
    fn holds(&self, call: &Call<'_>) -> Result<bool, String> {
        let pattern = |text: &String| Regex::new(text).map_err(|error| format!("pattern {text:?}: {error}"));
        let mut conditions: Vec<bool> = self.always.into_iter().collect();
        conditions.extend(self.has_bind_mounts.map(|wanted| wanted && call.has_bind_mounts));
        for (name, value) in &self.annotations {
            let (name, value) = (pattern(name)?, pattern(value)?);
            conditions.push(call.annotations.iter().any(|(key, text)| name.is_match(key) && value.is_match(text)));
        }
        if !self.commands.is_empty() {
            let patterns = self.commands.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
            conditions.push(patterns.iter().any(|pattern| pattern.is_match(call.command)));
        }
        Ok(!conditions.is_empty() && conditions.iter().all(|holds| *holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(when: &str, call: &Call<'_>) -> Result<usize, Error> {
        let dir = tempfile::tempdir().unwrap();
        let text =
            format!(r#"{{"version":"1.0.0","hook":{{"path":"/bin/sh"}},"when":{when},"stages":["prestart","poststop"]}}"#);
        std::fs::write(dir.path().join("a.json"), text).unwrap();
        load(&[dir.path().into()], call).map(|hooks| hooks.len())
    }

    #[test]
    fn all_conditions_must_hold_and_one_must_exist() {
        let annotations = [("org.x.gpu".to_owned(), "all".to_owned())].into();
        let call = Call { command: "/bin/make", annotations, has_bind_mounts: false };
        for (when, runs) in [
            (r#"{"always":true}"#, true),
            (r#"{"always":false}"#, false),
            ("{}", false),
            (r#"{"commands":["make$"]}"#, true),
            (r#"{"commands":["^make"]}"#, false),
            (r#"{"annotations":{"^org\\.x\\.":"^all$"}}"#, true),
            (r#"{"annotations":{"^org\\.y\\.":".*"}}"#, false),
            (r#"{"hasBindMounts":true}"#, false),
            (r#"{"always":true,"hasBindMounts":true}"#, false),
            (r#"{"always":true,"commands":["sh","make"]}"#, true),
        ] {
            assert_eq!(stages(when, &call).unwrap(), if runs { 2 } else { 0 }, "{when}");
        }
        for wrong in [r#"{"always":true,"unless":1}"#, r#"{"commands":["("]}"#, "[]"] {
            assert!(stages(wrong, &call).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn later_directories_replace_files_and_names_give_the_order() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |dir: &Path, name: &str, word: &str| {
            let text = format!(
                r#"{{"version":"1.0.0","hook":{{"path":"/bin/sh","args":["{word}"]}},"when":{{"always":true}},"stages":["poststart"]}}"#
            );
            std::fs::write(dir.join(name), text).unwrap();
        };
        write(first.path(), "2.json", "old");
        write(first.path(), "3.json", "three");
        write(first.path(), "note.txt", "none");
        write(second.path(), "2.json", "new");
        write(second.path(), "1.json", "one");
        let hooks = load(&[first.path().into(), second.path().into()], &Call::default()).unwrap();
        let words: Vec<_> = hooks.iter().map(|(_, hook)| hook.args[0].as_str()).collect();
        assert_eq!(words, ["one", "new", "three"]);
        assert!(load(&["/nonexistent".into()], &Call::default()).is_err());
        std::fs::write(second.path().join("bad.json"), r#"{"version":"0.1.0"}"#).unwrap();
        assert!(load(&[second.path().into()], &Call::default()).is_err());
    }
}
