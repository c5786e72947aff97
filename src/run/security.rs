//! `--security-opt` and capabilities: what the process is kept from.
//!
//! Invariant: an option that cannot be applied is an error, never dropped (CVE-2025-65105).

use std::path::PathBuf;

use super::{capabilities, lsm};

/// What the process is kept from.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Capabilities.
    pub capabilities: capabilities::Options,
    /// The system call filter.
    pub seccomp: SeccompChoice,
    /// `no-new-privileges`: setuid programs and file capabilities have no effect.
    pub no_new_privileges: bool,
    /// Paths hidden beyond the default ones.
    pub mask: Vec<String>,
    /// Default paths that are not hidden or read-only; `ALL` for none of them.
    pub unmask: Vec<String>,
    /// What security modules are told.
    pub lsm: lsm::Options,
}

/// Which system call filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SeccompChoice {
    /// The administrator's `/etc/containers/seccomp.json` if there is one, else the built-in profile.
    #[default]
    Default,
    /// `seccomp=unconfined`
    Unconfined,
    /// `seccomp=FILE`
    File(PathBuf),
}

impl Options {
    /// Takes one `--security-opt` word: `seccomp=FILE|unconfined`, `no-new-privileges[=true|false]`, `mask=A:B`, `unmask=ALL|A:B`,
    /// `label=WORD`, `apparmor=PROFILE`.
    pub fn apply(&mut self, word: &str) -> Result<(), String> {
        let invalid = || match word.contains('=') {
            // The number is in Buildah's words.
            true => format!("invalid --security-opt 2: {word:?}"),
            false => format!("invalid --security-opt name=value pair: {word:?}"),
        };
        // The old form has a colon: `label:disable`.
        let (key, value) = match word.split_once('=').or_else(|| word.split_once(':')) {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        match (key, value) {
            ("seccomp", Some("unconfined")) => self.seccomp = SeccompChoice::Unconfined,
            ("seccomp", Some(path)) if !path.is_empty() => self.seccomp = SeccompChoice::File(PathBuf::from(path)),
            ("no-new-privileges", None | Some("true")) => self.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => self.no_new_privileges = false,
            ("mask", Some(list)) => self.mask.extend(paths(list).ok_or_else(invalid)?),
            ("unmask", Some("all" | "ALL")) => self.unmask.push("ALL".to_string()),
            ("unmask", Some(list)) => self.unmask.extend(paths(list).ok_or_else(invalid)?),
            ("label", Some(label)) => self.lsm.words.push(label.to_owned()),
            ("apparmor", Some(profile)) if profile.contains(char::is_control) => return Err(invalid()),
            ("apparmor", Some(profile)) => self.lsm.profile = Some(profile.to_owned()).filter(|profile| !profile.is_empty()),
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

fn paths(list: &str) -> Option<Vec<String>> {
    let paths: Vec<String> = list.split(':').map(str::to_string).collect();
    paths.iter().all(|path| path.starts_with('/') && !path.contains('\0')).then_some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_options_are_applied() {
        let mut options = Options::default();
        for word in
            ["seccomp=unconfined", "no-new-privileges", "mask=/a:/b", "unmask=ALL", "label=disable", "apparmor=unconfined"]
        {
            options.apply(word).unwrap();
        }
        assert_eq!(options.seccomp, SeccompChoice::Unconfined);
        assert!(options.no_new_privileges);
        assert_eq!(
            (options.lsm.profile.as_deref(), options.lsm.words.as_slice()),
            (Some("unconfined"), &["disable".to_owned()][..])
        );
        options.apply("apparmor=").unwrap();
        assert_eq!(options.lsm.profile, None);
        assert_eq!((options.mask, options.unmask), (vec!["/a".into(), "/b".into()], vec!["ALL".into()]));
        let mut options = Options::default();
        options.apply("seccomp=/x/y.json").unwrap();
        options.apply("no-new-privileges=false").unwrap();
        assert_eq!((options.seccomp, options.no_new_privileges), (SeccompChoice::File("/x/y.json".into()), false));
    }

    #[test]
    fn unknown_or_inapplicable_options_are_refused() {
        for word in [
            "",
            "x",
            "seccomp",
            "seccomp=",
            "no-new-privileges=x",
            "no-new-privileges=",
            "mask",
            "mask=",
            "mask=a",
            "unmask=a:b",
            "apparmor",
            "apparmor=a\nb",
            "Seccomp=unconfined",
            "systempaths=unconfined",
        ] {
            assert!(Options::default().apply(word).is_err(), "{word:?} was accepted");
        }
    }
}
