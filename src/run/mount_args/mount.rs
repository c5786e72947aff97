//! `--mount`

use std::path::PathBuf;

use super::{
    Bind, Cache, MountFlags, MountKind, MountRequest, Once, Propagation, Relabel, Sharing, Source, VolumeMaps, Writes,
};

const SYNTAX: &str = "incorrect mount format: should be --mount type=<bind|tmpfs>,[src=<host-dir>,]target=<ctr-dir>[,options]";

pub(super) fn parse(text: &str) -> Result<MountRequest, String> {
    let words: Vec<(&str, Option<&str>)> =
        text.split(',').map(|word| word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)))).collect();
    if words.len() < 2 || text.contains('\0') {
        return Err(format!("{text:?}: {SYNTAX}"));
    }
    let mut types = words.iter().filter(|(key, _)| *key == "type").map(|(_, value)| value.unwrap_or_default());
    let kind = match types.next() {
        None | Some("bind") => Type::Bind,
        Some("tmpfs") => Type::Tmpfs,
        Some("cache") => Type::Cache,
        Some(other) => return Err(format!("invalid filesystem type {other:?}")),
    };
    if types.next().is_some() {
        return Err(format!("{text:?}: type is given twice"));
    }
    let mut draft = Draft::new(kind);
    for (key, value) in words.into_iter().filter(|(key, _)| *key != "type") {
        draft.set(Word { key, value })?;
    }
    draft.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bind,
    Tmpfs,
    Cache,
}

/// `key[=value]`
#[derive(Clone, Copy)]
struct Word<'a> {
    key: &'a str,
    value: Option<&'a str>,
}

impl<'a> Word<'a> {
    fn needed(self) -> Result<&'a str, String> {
        let value = self.value.filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{}: must provide an argument for option", self.key))
    }

    fn bare(self) -> Result<(), String> {
        if self.value.is_none() { Ok(()) } else { Err(format!("{}: must not provide an argument for option", self.key)) }
    }

    /// A switch; Buildah's have no value, the Dockerfile reference's have one.
    fn truth(self) -> Result<bool, String> {
        match self.value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("invalid value {other:?} of {}", self.key)),
        }
    }

    fn unknown(self) -> String {
        format!("{}: invalid mount option", self.key)
    }
}

/// A request while its words are read.
struct Draft {
    kind: Type,
    once: Once,
    source: Option<PathBuf>,
    from: Option<String>,
    target: Option<PathBuf>,
    read_only: Option<bool>,
    flags: MountFlags,
    recursive: bool,
    no_follow: bool,
    id_map: Option<VolumeMaps>,
    propagation: Propagation,
    chown: bool,
    relabel: Option<Relabel>,
    size: Option<u64>,
    mode: Option<u32>,
    copy_up: bool,
    id: Option<String>,
    owner: (u32, u32),
    sharing: Sharing,
}

impl Draft {
    fn new(kind: Type) -> Self {
        Self {
            kind,
            once: Once::default(),
            source: None,
            from: None,
            target: None,
            read_only: None,
            flags: MountFlags::default(),
            recursive: true,
            no_follow: false,
            id_map: None,
            propagation: Propagation::default(),
            chown: false,
            relabel: None,
            size: None,
            mode: None,
            copy_up: false,
            id: None,
            owner: (0, 0),
            sharing: Sharing::default(),
        }
    }

    fn set(&mut self, word: Word<'_>) -> Result<(), String> {
        let group = match word.key {
            "target" | "dst" | "destination" => {
                self.target = Some(PathBuf::from(word.needed()?));
                "target"
            }
            "ro" | "readonly" | "read-only" => {
                self.read_only = Some(word.truth()?);
                "ro or rw"
            }
            "rw" | "readwrite" | "read-write" => {
                self.read_only = Some(!word.truth()?);
                "ro or rw"
            }
            "nosuid" | "nodev" | "noexec" => {
                word.bare()?;
                match word.key {
                    "nosuid" => self.flags.nosuid = true,
                    "nodev" => self.flags.nodev = true,
                    _ => self.flags.noexec = true,
                }
                return Ok(());
            }
            _ => match self.kind {
                Type::Tmpfs => self.set_tmpfs(word)?,
                Type::Bind if matches!(word.key, "bind-nonrecursive" | "no-dereference" | "consistency" | "idmap") => {
                    self.set_bind(word)?
                }
                Type::Cache if matches!(word.key, "id" | "uid" | "gid" | "mode" | "sharing") => self.set_cache(word)?,
                Type::Bind | Type::Cache => self.set_source(word)?,
            },
        };
        if self.once.first(group) { Ok(()) } else { Err(format!("{}: {group} is given twice", word.key)) }
    }

    fn set_tmpfs(&mut self, word: Word<'_>) -> Result<&'static str, String> {
        Ok(match word.key {
            "tmpfs-size" | "size" => {
                let size = word.needed()?;
                self.size = Some(bytes(size).ok_or_else(|| format!("{}: invalid size {size:?}", word.key))?);
                "size"
            }
            "tmpfs-mode" | "mode" => {
                self.mode = Some(mode("tmpfs", word)?);
                "mode"
            }
            "tmpcopyup" | "notmpcopyup" => {
                word.bare()?;
                self.copy_up = word.key == "tmpcopyup";
                "tmpcopyup"
            }
            _ => return Err(word.unknown()),
        })
    }

    fn set_bind(&mut self, word: Word<'_>) -> Result<&'static str, String> {
        Ok(match word.key {
            "bind-nonrecursive" => {
                word.bare()?;
                self.recursive = false;
                "bind-nonrecursive"
            }
            "no-dereference" => {
                word.bare()?;
                self.no_follow = true;
                "no-dereference"
            }
            "idmap" => {
                self.id_map = Some(VolumeMaps::parse(word.value)?);
                "idmap"
            }
            // It means something on other systems only.
            _ => "consistency",
        })
    }

    fn set_cache(&mut self, word: Word<'_>) -> Result<&'static str, String> {
        let number = |what: &str| {
            let value = word.needed()?;
            let number = value.parse::<u32>().ok().filter(|id| *id <= i32::MAX as u32);
            number.ok_or_else(|| format!("unable to parse cache {what}: {value:?}"))
        };
        Ok(match word.key {
            "id" => {
                self.id = Some(word.needed()?.to_owned());
                "id"
            }
            "uid" => {
                self.owner.0 = number("uid")?;
                "uid"
            }
            "gid" => {
                self.owner.1 = number("gid")?;
                "gid"
            }
            "mode" => {
                self.mode = Some(mode("cache", word)?);
                "mode"
            }
            _ => {
                self.sharing = match word.needed()? {
                    "shared" => Sharing::Shared,
                    "locked" => Sharing::Locked,
                    other => return Err(format!("unrecognized value {other:?} for field `sharing`")),
                };
                "sharing"
            }
        })
    }

    /// What binds and caches have in common.
    fn set_source(&mut self, word: Word<'_>) -> Result<&'static str, String> {
        Ok(match word.key {
            "source" | "src" => {
                self.source = Some(PathBuf::from(word.needed()?));
                "source"
            }
            "from" => {
                self.from = Some(word.needed()?.to_owned());
                "from"
            }
            "bind-propagation" => {
                let value = word.needed()?;
                let wrong = || format!("{}: {value:?}: invalid mount option", word.key);
                self.propagation =
                    Propagation::parse(value).filter(|kind| *kind != Propagation::Unbindable).ok_or_else(wrong)?;
                "propagation"
            }
            "U" | "chown" => {
                self.chown = word.truth()?;
                "U"
            }
            "z" | "Z" => {
                word.bare()?;
                self.relabel = Some(if word.key == "z" { Relabel::Shared } else { Relabel::Private });
                "label"
            }
            "relabel" => {
                self.relabel = Some(match word.needed()? {
                    "shared" => Relabel::Shared,
                    "private" => Relabel::Private,
                    _ => return Err("relabel mount option must be 'private' or 'shared': invalid mount option".to_owned()),
                });
                "label"
            }
            _ => {
                let kind = Propagation::parse(word.key).filter(|kind| *kind != Propagation::Unbindable);
                self.propagation = kind.ok_or_else(|| word.unknown())?;
                word.bare()?;
                "propagation"
            }
        })
    }

    fn finish(self) -> Result<MountRequest, String> {
        let target = self.target.ok_or("must set volume destination")?;
        let mut flags = self.flags;
        // Buildah's default: a bind may be read, what is made for the container may be written.
        flags.read_only = self.read_only.unwrap_or(self.kind == Type::Bind);
        let kind = match self.kind {
            Type::Tmpfs => MountKind::Tmpfs { size: self.size, mode: self.mode, copy_up: self.copy_up },
            Type::Bind => {
                let writes = if flags.read_only { Writes::Through } else { Writes::Discarded };
                let source = match (self.from, self.source) {
                    (Some(name), path) => Source::Image { name, path: path.unwrap_or_default() },
                    (None, Some(path)) => Source::Context(path),
                    // The context directory itself, if there is one.
                    (None, None) => Source::Context(PathBuf::new()),
                };
                let bind = Bind {
                    source,
                    recursive: self.recursive,
                    propagation: self.propagation,
                    chown: self.chown,
                    writes,
                    relabel: self.relabel,
                    no_follow: self.no_follow,
                    id_map: self.id_map,
                };
                bind.check()?;
                MountKind::Bind(bind)
            }
            Type::Cache => {
                if let Some(name) = self.from {
                    return Err(format!("no stage or additional build context found with name {name}"));
                }
                MountKind::Cache(Cache {
                    id: self.id,
                    source: self.source.unwrap_or_default(),
                    uid: self.owner.0,
                    gid: self.owner.1,
                    mode: self.mode.unwrap_or(0o755),
                    sharing: self.sharing,
                    chown: self.chown,
                    propagation: self.propagation,
                    relabel: self.relabel,
                })
            }
        };
        Ok(MountRequest { kind, target, flags })
    }
}

fn mode(what: &str, word: Word<'_>) -> Result<u32, String> {
    let value = word.needed()?;
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(value, 8).ok().filter(|mode| digits && *mode <= 0o7777);
    mode.ok_or_else(|| format!("unable to parse {what} mode: {value:?}"))
}

/// `64m` and the like: powers of 1,024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
