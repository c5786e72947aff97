//! `Draft`: the image that the next commit of a working container would write, and the effect of each `Change` on it.

use std::collections::BTreeMap;

use super::change::HealthcheckEdit;
use super::config::{Healthcheck, Settings};
use super::env::expand;
use super::{Change, Format, ImageConfig, Warning};
use crate::golang::goarch;

/// A config with what goes beside it into a manifest or a history entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// The format of the next commit; decides which settings have a place and warn otherwise.
    pub format: Format,
    /// The config.
    pub config: ImageConfig,
    /// Annotations of the manifest (OCI only).
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the base's layers in the manifest, by diff ID (OCI only).
    pub layer_annotations: BTreeMap<String, BTreeMap<String, String>>,
    /// Those of the layer to come.
    pub top_layer_annotations: BTreeMap<String, String>,
    /// `created_by` of the next history entry.
    pub created_by: String,
    /// `comment` of the next history entry.
    pub history_comment: String,
}

const NANOSECONDS: i64 = 1_000_000_000;

impl Draft {
    /// Makes one edit. Never fails; what could not be honoured in full is in the warnings.
    ///
    /// What only Docker's format has is kept whatever `format` is, so that a later commit can write it; in the OCI format the
    /// warning says that the next one won't.
    pub fn apply(&mut self, change: &Change) -> Vec<Warning> {
        let mut warnings = self.docker_only(change);
        match change {
            Change::SetAnnotation { key, value } => drop(self.annotations.insert(key.clone(), value.clone())),
            Change::UnsetAnnotation(key) => drop(self.annotations.remove(key)),
            Change::ClearAnnotations => self.annotations.clear(),
            Change::SetLayerAnnotation { key, value } => {
                self.top_layer_annotations.insert(key.clone(), value.clone());
            }
            Change::UnsetLayerAnnotation(key) => drop(self.top_layer_annotations.remove(key)),
            Change::ClearLayerAnnotations => self.top_layer_annotations.clear(),
            Change::CreatedBy(text) => self.created_by.clone_from(text),
            Change::HistoryComment(text) => self.history_comment.clone_from(text),
            Change::Author(text) => self.config.author.clone_from(text),
            Change::Comment(text) => self.config.comment.clone_from(text),
            // An image without these is refused by the other tools; none means this machine's.
            Change::Architecture(text) if text.is_empty() => goarch().clone_into(&mut self.config.architecture),
            Change::Os(text) if text.is_empty() => "linux".clone_into(&mut self.config.os),
            Change::Architecture(text) => self.config.architecture.clone_from(text),
            Change::Variant(text) => self.config.variant.clone_from(text),
            Change::Os(text) => self.config.os.clone_from(text),
            Change::OsVersion(text) => self.config.os_version.clone_from(text),
            Change::AddOsFeature(name) if self.config.os_features.contains(name) => {}
            Change::AddOsFeature(name) => self.config.os_features.push(name.clone()),
            Change::RemoveOsFeature(name) => self.config.os_features.retain(|feature| feature != name),
            Change::ClearOsFeatures => self.config.os_features.clear(),
            setting => warnings.extend(apply_setting(&mut self.config.config, setting)),
        }
        warnings
    }

    /// The warning for a setting that the OCI format has no place for.
    fn docker_only(&self, change: &Change) -> Vec<Warning> {
        if self.format == Format::Docker {
            return Vec::new();
        }
        let (what, ignored) = match change {
            Change::Healthcheck(Some(_)) | Change::EditHealthcheck(_) => {
                return vec![Warning::new(
                    "HEALTHCHECK is not supported for OCI image format and will be ignored. Must use `docker` format",
                )];
            }
            Change::Hostname(name) if !name.is_empty() => ("HOSTNAME is not supported for OCI V1", format!("hostname {name}")),
            Change::Domainname(name) if !name.is_empty() => {
                ("DOMAINNAME is not supported for OCI", format!("domainname {name}"))
            }
            Change::Comment(text) if !text.is_empty() => ("COMMENT is not supported for OCI", format!("comment {text}")),
            Change::OnBuild(instruction) => ("ONBUILD is not supported for OCI", instruction.clone()),
            Change::Shell(words) if !words.is_empty() => ("SHELL is not supported for OCI", format!("[{}]", words.join(" "))),
            _ => return Vec::new(),
        };
        vec![Warning(format!("{what} image format, {ignored} will be ignored. Must use `docker` format"))]
    }
}

/// Makes an edit of the settings for containers.
fn apply_setting(settings: &mut Settings, change: &Change) -> Vec<Warning> {
    match change {
        Change::Cmd(words) => {
            settings.cmd.clone_from(words);
            settings.empty.cmd = true;
        }
        Change::Entrypoint(words) => {
            settings.entrypoint.clone_from(words);
            settings.empty.entrypoint = true;
            return beside_cmd(words, &settings.cmd);
        }
        Change::SetEnv { name, value } => settings.set_env(name, value),
        Change::SetEnvs(pairs) => settings.set_envs(pairs),
        Change::ExpandEnv { name, template } => {
            let mut unknown = Vec::new();
            let value = expand(template, &|wanted| settings.env(wanted), &mut unknown);
            settings.set_env(name, &value);
            let warn = |name: &String| Warning(format!("error expanding variable {name:?}: no value set in configuration"));
            return unknown.iter().map(warn).collect();
        }
        Change::UnsetEnv(name) => settings.unset_env(name),
        Change::ClearEnv => {
            settings.env.clear();
            settings.empty.env = true;
        }
        Change::SetLabel { key, value } => {
            settings.labels.insert(key.clone(), value.clone());
            settings.empty.labels = true;
        }
        Change::UnsetLabel(key) => drop(settings.labels.remove(key)),
        Change::ClearLabels => settings.labels.clear(),
        Change::Expose(port) => drop(settings.exposed_ports.insert(port.clone())),
        Change::Unexpose(port) => drop(settings.exposed_ports.remove(port)),
        Change::ClearPorts => settings.exposed_ports.clear(),
        Change::AddVolume(path) => {
            settings.volumes.insert(path.clone());
            settings.empty.volumes = true;
        }
        Change::RemoveVolume(path) => drop(settings.volumes.remove(path)),
        Change::ClearVolumes => settings.volumes.clear(),
        Change::User(user) => settings.user.clone_from(user),
        Change::WorkingDir(path) => settings.working_dir.clone_from(path),
        Change::EnterDir(path) => settings.working_dir = enter(&settings.working_dir, path),
        Change::OnBuild(instruction) => settings.on_build.push(instruction.clone()),
        Change::ClearOnBuild => settings.on_build.clear(),
        Change::StopSignal(signal) => settings.stop_signal.clone_from(signal),
        Change::Healthcheck(check) => settings.healthcheck.clone_from(check),
        Change::EditHealthcheck(edit) => edit_healthcheck(settings.healthcheck.get_or_insert_with(new_healthcheck), edit),
        Change::Shell(words) => settings.shell.clone_from(words),
        Change::Hostname(name) => settings.hostname.clone_from(name),
        Change::Domainname(name) => settings.domainname.clone_from(name),
        // Everything else is about the image and not about its containers: `Draft::apply` has done it.
        _ => {}
    }
    Vec::new()
}

/// A command stays when the entrypoint changes, but not what it means: a shell takes no more words.
fn beside_cmd(entrypoint: &[String], cmd: &[String]) -> Vec<Warning> {
    let meaning = match entrypoint {
        [] => return Vec::new(),
        _ if cmd.is_empty() => return Vec::new(),
        [shell, flag, _] if shell == "/bin/sh" && flag == "-c" => "exists but will be ignored because of entrypoint settings",
        _ => "exists and will be passed to entrypoint as a parameter",
    };
    vec![Warning(format!("cmd {:?} {meaning}", cmd.join(" ")))]
}

/// What a health check is before the first of its members is set.
fn new_healthcheck() -> Healthcheck {
    Healthcheck {
        test: vec!["NONE".to_owned()],
        interval: 30 * NANOSECONDS,
        timeout: 30 * NANOSECONDS,
        retries: 3,
        ..Healthcheck::default()
    }
}

fn edit_healthcheck(check: &mut Healthcheck, edit: &HealthcheckEdit) {
    if let Some(test) = &edit.test {
        check.test.clone_from(test);
    }
    let members = [
        (&mut check.interval, edit.interval),
        (&mut check.timeout, edit.timeout),
        (&mut check.start_period, edit.start_period),
        (&mut check.start_interval, edit.start_interval),
        (&mut check.retries, edit.retries),
    ];
    for (member, value) in members {
        *member = value.unwrap_or(*member);
    }
}

/// The working directory after `WORKDIR path` in `present`: an absolute path as it is, a relative one joined and cleaned without
/// a look at the file system, as the directory need not exist.
fn enter(present: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in present.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(format: Format) -> Draft {
        Draft { format, ..Draft::default() }
    }

    fn env(name: &str, template: &str) -> Change {
        Change::ExpandEnv { name: name.into(), template: template.into() }
    }

    #[test]
    fn a_variable_set_again_goes_to_the_end() {
        let mut draft = draft(Format::Oci);
        for (name, value) in [("A", "1"), ("B", "2"), ("C", "3"), ("B", "9"), ("A", "0")] {
            assert!(draft.apply(&env(name, value)).is_empty());
        }
        assert_eq!(draft.config.config.env, ["C=3", "B=9", "A=0"]);
        draft.apply(&Change::UnsetEnv("B".into()));
        assert_eq!(draft.config.config.env, ["C=3", "A=0"]);
        draft.apply(&Change::ClearEnv);
        assert_eq!(draft.config.config.env, [""; 0]);
    }

    #[test]
    fn expansion_sees_values_just_set_and_names_what_is_unknown() {
        let mut draft = draft(Format::Oci);
        draft.apply(&env("A", "1"));
        let warnings = draft.apply(&env("B", "$A$NOPE${A}x$$ ${ $1 $*"));
        assert_eq!(draft.config.config.env, ["A=1", "B=1NOPE1x$  1 *"]);
        let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], r#"error expanding variable "NOPE": no value set in configuration"#);
        draft.apply(&Change::SetEnv { name: "C".into(), value: "$A".into() });
        assert_eq!(draft.config.config.env("C"), Some("$A"));
    }

    #[test]
    fn many_variables_at_once_are_as_one_after_the_other() {
        let pairs = ["B=2", "A=3", "B=", "C=x=y", "A=4"];
        let pair = |text: &&str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let pairs: Vec<(String, String)> = pairs.iter().filter_map(pair).collect();
        let (mut once, mut each) = (draft(Format::Oci), draft(Format::Oci));
        for draft in [&mut once, &mut each] {
            draft.config.config.env = ["A=1", "D", "E=5", "B"].map(str::to_owned).to_vec();
        }
        once.apply(&Change::SetEnvs(pairs.clone()));
        for (name, value) in pairs {
            each.apply(&Change::SetEnv { name, value });
        }
        assert_eq!(once, each);
        assert_eq!(once.config.config.env, ["D", "E=5", "B=", "C=x=y", "A=4"]);
    }

    #[test]
    fn docker_only_settings_warn_in_oci_and_are_kept() {
        let cases = [
            (
                Change::Comment("x".into()),
                "COMMENT is not supported for OCI image format, comment x will be ignored. Must use `docker` format",
            ),
            (
                Change::Shell(vec!["/bin/x".into(), "-y".into()]),
                "SHELL is not supported for OCI image format, [/bin/x -y] will be ignored. Must use `docker` format",
            ),
            (
                Change::Hostname("h".into()),
                "HOSTNAME is not supported for OCI V1 image format, hostname h will be ignored. Must use `docker` format",
            ),
            (
                Change::Domainname("d".into()),
                "DOMAINNAME is not supported for OCI image format, domainname d will be ignored. Must use `docker` format",
            ),
            (
                Change::OnBuild("RUN a".into()),
                "ONBUILD is not supported for OCI image format, RUN a will be ignored. Must use `docker` format",
            ),
            (
                Change::EditHealthcheck(HealthcheckEdit::default()),
                "HEALTHCHECK is not supported for OCI image format and will be ignored. Must use `docker` format",
            ),
        ];
        for (change, text) in cases {
            let (mut oci, mut docker) = (draft(Format::Oci), draft(Format::Docker));
            let warnings: Vec<String> = oci.apply(&change).iter().map(ToString::to_string).collect();
            assert_eq!(warnings, [text]);
            assert_eq!(docker.apply(&change), []);
            assert_eq!(oci.config, docker.config, "{change:?}");
            assert_ne!(oci.config, ImageConfig::default(), "{change:?}");
        }
    }

    #[test]
    fn a_new_entrypoint_tells_what_becomes_of_the_command() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut draft = draft(Format::Oci);
        assert_eq!(draft.apply(&Change::Entrypoint(words(&["x"]))), []);
        draft.apply(&Change::Cmd(words(&["a", "b"])));
        let mut told = |entrypoint: &[&str]| {
            draft.apply(&Change::Entrypoint(words(entrypoint))).iter().map(ToString::to_string).collect::<String>()
        };
        assert_eq!(told(&["/bin/sh", "-c", "x y"]), r#"cmd "a b" exists but will be ignored because of entrypoint settings"#);
        assert_eq!(told(&["x", "y"]), r#"cmd "a b" exists and will be passed to entrypoint as a parameter"#);
        assert_eq!(told(&[]), "");
        assert_eq!(draft.config.config.cmd, ["a", "b"]);
    }

    #[test]
    fn no_platform_means_this_machines() {
        let mut draft = draft(Format::Oci);
        draft.apply(&Change::Architecture(String::new()));
        draft.apply(&Change::Os(String::new()));
        assert_eq!((draft.config.architecture.as_str(), draft.config.os.as_str()), (goarch(), "linux"));
    }

    #[test]
    fn health_check_members_are_edited_one_by_one() {
        let mut draft = draft(Format::Docker);
        let edit = |draft: &mut Draft, edit: HealthcheckEdit| {
            draft.apply(&Change::EditHealthcheck(edit));
            draft.config.config.healthcheck.clone().unwrap()
        };
        let first = edit(&mut draft, HealthcheckEdit { test: Some(vec!["CMD".into(), "true".into()]), ..Default::default() });
        assert_eq!((first.interval, first.timeout, first.retries, first.start_period), (30_000_000_000, 30_000_000_000, 3, 0));
        let second = edit(&mut draft, HealthcheckEdit { retries: Some(5), ..Default::default() });
        assert_eq!((second.test, second.retries), (vec!["CMD".to_owned(), "true".to_owned()], 5));
        draft.apply(&Change::Healthcheck(None));
        assert_eq!(draft.config.config.healthcheck, None);
        let third = edit(&mut draft, HealthcheckEdit { interval: Some(5), ..Default::default() });
        assert_eq!((third.test, third.interval), (vec!["NONE".to_owned()], 5));
    }

    #[test]
    fn entering_directories_is_lexical() {
        let cases = [
            ("", "a", "/a"),
            ("/a", "b/c", "/a/b/c"),
            ("/a", "/x", "/x"),
            ("/a/b", "../c", "/a/c"),
            ("/", "../../x/", "/x"),
            ("/a", "/x/../y/", "/x/../y/"),
            ("rel", ".", "/rel"),
            ("/a", "/", "/"),
        ];
        for (present, path, result) in cases {
            assert_eq!(enter(present, path), result, "{present:?} {path:?}");
        }
    }
}
