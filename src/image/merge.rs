//! `commit --config FILE`: settings for containers in a file, to be merged into those of an image.
//!
//! Pure: the file's bytes come in, changes go out. As in Buildah, a member that is absent or empty changes nothing; maps and
//! variables are added to what is there; entrypoint and command are one setting, so that a file with either replaces both.

use super::config::{self, ImageConfig, Settings};
use super::{Change, config_read};

/// The changes that a file asks for: the JSON of Docker's `config` object (`Cmd`, `Env`, `Labels`…), or an image config that has one.
pub fn changes(bytes: &[u8]) -> Result<Vec<Change>, config::Error> {
    let whole: Document = serde_json::from_slice(bytes)?;
    match whole.config {
        Some(_) => Ok(changes_to(&ImageConfig::parse(bytes)?.config)),
        None => Ok(changes_to(&config_read::parse_settings(bytes)?)),
    }
}

/// An image config has its settings in a member.
#[derive(serde::Deserialize)]
struct Document {
    config: Option<serde::de::IgnoredAny>,
}

fn changes_to(settings: &Settings) -> Vec<Change> {
    let mut all = Vec::new();
    let mut text = |value: &String, change: fn(String) -> Change| {
        if !value.is_empty() {
            all.push(change(value.clone()));
        }
    };
    text(&settings.user, Change::User);
    text(&settings.working_dir, Change::WorkingDir);
    text(&settings.stop_signal, Change::StopSignal);
    text(&settings.hostname, Change::Hostname);
    text(&settings.domainname, Change::Domainname);
    all.extend(settings.exposed_ports.iter().cloned().map(Change::Expose));
    // A name alone has no value: the caller's environment is none of the file's business (known attack A54).
    all.extend(settings.env.iter().map(|pair| match pair.split_once('=') {
        Some((name, value)) => Change::SetEnv { name: name.to_owned(), value: value.to_owned() },
        None => Change::SetEnv { name: pair.clone(), value: String::new() },
    }));
    if !settings.entrypoint.is_empty() || !settings.cmd.is_empty() {
        // The command first: a warning about what the entrypoint makes of it is about the new one.
        all.push(Change::Cmd(settings.cmd.clone()));
        all.push(Change::Entrypoint(settings.entrypoint.clone()));
    }
    all.extend(settings.volumes.iter().cloned().map(Change::AddVolume));
    let label = |(key, value): (&String, &String)| Change::SetLabel { key: key.clone(), value: value.clone() };
    all.extend(settings.labels.iter().map(label));
    all.extend(settings.healthcheck.clone().map(|check| Change::Healthcheck(Some(check))));
    all.extend(settings.on_build.iter().cloned().map(Change::OnBuild));
    if !settings.shell.is_empty() {
        all.push(Change::Shell(settings.shell.clone()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Draft, Format};

    fn merged(start: &[Change], file: &str) -> Draft {
        let mut draft = Draft { format: Format::Docker, ..Draft::default() };
        start.iter().for_each(|change| drop(draft.apply(change)));
        changes(file.as_bytes()).expect("a configuration").iter().for_each(|change| drop(draft.apply(change)));
        draft
    }

    #[test]
    fn what_the_file_has_is_added_or_replaces() {
        let start = [
            Change::SetEnv { name: "A".into(), value: "1".into() },
            Change::SetEnv { name: "B".into(), value: "2".into() },
            Change::SetLabel { key: "k".into(), value: "v".into() },
            Change::Expose("80/tcp".into()),
            Change::User("u".into()),
            Change::StopSignal("TERM".into()),
        ];
        let file = r#"{"Env":["A=9","C"],"Labels":{"l":"w"},"ExposedPorts":{"53/udp":{}},"Volumes":{"/v":{}},"WorkingDir":"/w",
                       "Healthcheck":{"Test":["CMD","x"]},"OnBuild":["RUN x"],"Shell":["/bin/x"],"Unknown":1}"#;
        let settings = merged(&start, file).config.config;
        assert_eq!(settings.env("A"), Some("9"));
        assert_eq!((settings.env("B"), settings.env("C")), (Some("2"), Some("")));
        assert_eq!(settings.labels.keys().collect::<Vec<_>>(), ["k", "l"]);
        assert_eq!(settings.exposed_ports.len(), 2);
        assert_eq!((settings.user.as_str(), settings.working_dir.as_str(), settings.stop_signal.as_str()), ("u", "/w", "TERM"));
        assert_eq!(
            (settings.on_build.as_slice(), settings.shell.as_slice()),
            (&["RUN x".to_owned()][..], &["/bin/x".to_owned()][..])
        );
        assert!(settings.healthcheck.is_some());
    }

    #[test]
    fn entrypoint_and_command_are_replaced_together() {
        let start = [Change::Entrypoint(vec!["e".into()]), Change::Cmd(vec!["c".into()])];
        let words = |file: &str| {
            let settings = merged(&start, file).config.config;
            (settings.entrypoint.join(" "), settings.cmd.join(" "))
        };
        assert_eq!(words("{}"), ("e".into(), "c".into()));
        assert_eq!(words(r#"{"Cmd":["x"]}"#), (String::new(), "x".into()));
        assert_eq!(words(r#"{"Entrypoint":["x"]}"#), ("x".into(), String::new()));
        assert_eq!(words(r#"{"config":{"Cmd":["x"]},"os":"linux"}"#), (String::new(), "x".into()));
    }

    #[test]
    fn a_file_that_is_no_configuration_is_refused() {
        for text in ["", "[]", "{", r#"{"Cmd":7}"#, r#"{"Env":"A=1"}"#] {
            assert!(changes(text.as_bytes()).is_err(), "{text}");
        }
    }
}
