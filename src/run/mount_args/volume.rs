//! `--volume`

use std::path::{Path, PathBuf};

use super::{Bind, MountFlags, MountKind, MountRequest, Once, Propagation, Relabel, Source, VolumeMaps, Writes};

pub(super) fn parse(text: &str) -> Result<MountRequest, String> {
    let malformed = || format!("incorrect volume format {text:?}, should be host-dir:ctr-dir[:option]");
    if text.contains('\0') {
        return Err(malformed());
    }
    let parts = split(text);
    let (source, target, options) = match parts.as_slice() {
        [source, target] => (source.as_str(), target.as_str(), ""),
        [source, target, options] => (source.as_str(), target.as_str(), options.as_str()),
        _ => return Err(malformed()),
    };
    if !Path::new(source).is_absolute() {
        return Err(format!("invalid host path, must be an absolute path {source:?}"));
    }
    if target.is_empty() {
        return Err("container directory cannot be empty".to_owned());
    }
    if !Path::new(target).is_absolute() {
        return Err(format!("invalid container path {target:?}, must be an absolute path"));
    }
    let mut draft = Draft::new(source, options);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        draft.set(option)?;
    }
    let (bind, flags) = draft.finish()?;
    Ok(MountRequest { kind: MountKind::Bind(bind), target: PathBuf::from(target), flags })
}

/// What is between colons; one after a backslash is part of a name. Nothing comes after a last colon, as with Buildah.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, parts.last_mut()) {
            ('\\', Some(part)) if letters.next_if_eq(&':').is_some() => part.push(':'),
            (':', _) => parts.push(String::new()),
            (letter, Some(part)) => part.push(letter),
            (_, None) => {}
        }
    }
    if parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    parts
}

/// A volume while its options are read.
struct Draft<'a> {
    all: &'a str,
    once: Once,
    bind: Bind,
    flags: MountFlags,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
}

impl<'a> Draft<'a> {
    fn new(source: &str, all: &'a str) -> Self {
        let bind = Bind {
            source: Source::Host(PathBuf::from(source)),
            recursive: true,
            propagation: Propagation::default(),
            chown: false,
            writes: Writes::default(),
            relabel: None,
            no_follow: false,
            id_map: None,
        };
        Self { all, once: Once::default(), bind, flags: MountFlags::default(), upper: None, work: None }
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        let unknown = || format!("invalid option type {option:?}");
        let (group, names) = match option {
            "ro" | "rw" => {
                self.flags.read_only = option == "ro";
                ("access", "'rw' or 'ro'")
            }
            "noexec" | "exec" => {
                self.flags.noexec = option == "noexec";
                ("exec", "'noexec' or 'exec'")
            }
            "nodev" | "dev" => {
                self.flags.nodev = option == "nodev";
                ("dev", "'nodev' or 'dev'")
            }
            "nosuid" | "suid" => {
                self.flags.nosuid = option == "nosuid";
                ("suid", "'nosuid' or 'suid'")
            }
            "z" | "Z" | "O" => {
                match option {
                    "z" => self.bind.relabel = Some(Relabel::Shared),
                    "Z" => self.bind.relabel = Some(Relabel::Private),
                    _ => self.bind.writes = Writes::Discarded,
                }
                ("label", "'z', 'Z', or 'O'")
            }
            "U" => {
                self.bind.chown = true;
                ("chown", "'U'")
            }
            "bind" | "rbind" => {
                self.bind.recursive = option == "rbind";
                ("recursion", "'[r]bind'")
            }
            // They are about named volumes; a directory of the host is never copied into.
            "copy" | "nocopy" => ("copy", "'copy' or 'nocopy'"),
            // They mean something on other systems only.
            "cached" | "delegated" => return Ok(()),
            _ if option == "idmap" || option.starts_with("idmap=") => {
                self.bind.id_map = Some(VolumeMaps::parse(option.strip_prefix("idmap="))?);
                ("idmap", "'idmap'")
            }
            _ => match option.split_once('=') {
                Some(("upperdir", path)) => {
                    self.upper = Some(directory(option, path)?);
                    ("upperdir", "upperdir per overlay")
                }
                Some(("workdir", path)) => {
                    self.work = Some(directory(option, path)?);
                    ("workdir", "workdir per overlay")
                }
                _ => {
                    self.bind.propagation = Propagation::parse(option).ok_or_else(unknown)?;
                    ("propagation", "'[r]shared', '[r]private', '[r]slave' or '[r]unbindable'")
                }
            },
        };
        if self.once.first(group) {
            return Ok(());
        }
        let all = self.all.replace(',', ", ");
        let noun = if group.ends_with("dir") { "" } else { " option" };
        Err(format!("invalid options {all:?}, can only specify 1 {names}{noun}"))
    }

    fn finish(mut self) -> Result<(Bind, MountFlags), String> {
        let overlay = self.bind.writes == Writes::Discarded;
        match (self.upper, self.work) {
            (None, None) => {}
            (Some(upper), Some(work)) if overlay => self.bind.writes = Writes::Kept { upper, work },
            _ if overlay => return Err("upperdir and workdir of an overlay volume go together".to_owned()),
            _ => return Err("upperdir and workdir are options of an overlay volume: they need 'O'".to_owned()),
        }
        self.bind.check()?;
        Ok((self.bind, self.flags))
    }
}

fn directory(option: &str, path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') { Ok(PathBuf::from(path)) } else { Err(format!("{option:?}: not an absolute path")) }
}
