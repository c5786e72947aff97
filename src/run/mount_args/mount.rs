//! `--mount`

use std::path::PathBuf;

use super::words::{Word, refusal, split};
use super::{
    Bind, Cache, MountFlags, MountKind, MountRequest, Once, Propagation, Relabel, Sharing, Source, VolumeMaps, Writes,
};

const SYNTAX: &str = "incorrect mount format: should be --mount type=<bind|tmpfs>,[src=<host-dir>,]target=<ctr-dir>[,options]";

pub(super) fn parse(text: &str) -> Result<MountRequest, String> {
    let words = split(text)?;
    if words.len() < 2 || text.contains('\0') {
        return Err(format!("{text:?}: {SYNTAX}"));
    }
    match type_of(text, &words)? {
        None => parse_words(words),
        Some(other) => Err(refusal(format!("invalid filesystem type {other:?}"), other, &TYPES)),
    }
}

/// The type that `words` name; `None` for those of this module.
pub(super) fn type_of<'w>(text: &str, words: &'w [Word]) -> Result<Option<&'w str>, String> {
    let mut types = words.iter().filter(|word| word.key == "type").map(|word| word.value.as_deref().unwrap_or_default());
    let first = types.next().filter(|name| Type::named(name).is_none());
    if types.next().is_some() {
        return Err(format!("{text:?}: type is given twice"));
    }
    Ok(first)
}

/// The request that `words` make, whose type is one of this module's.
pub(super) fn parse_words(words: Vec<Word>) -> Result<MountRequest, String> {
    let named = words.iter().find(|word| word.key == "type").and_then(|word| Type::named(word.value.as_deref()?));
    let mut draft = Draft::new(named.unwrap_or(Type::Bind));
    for word in words.iter().filter(|word| word.key != "type") {
        draft.set(word)?;
    }
    draft.finish()
}

/// The types of this module.
pub(super) const TYPES: [&str; 3] = ["bind", "tmpfs", "cache"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bind,
    Tmpfs,
    Cache,
}

/// Keys of all types, and those of each.
const KEYS: [&str; 13] = [
    "type",
    "target",
    "dst",
    "destination",
    "ro",
    "readonly",
    "read-only",
    "rw",
    "readwrite",
    "read-write",
    "nosuid",
    "nodev",
    "noexec",
];
const TMPFS_KEYS: [&str; 6] = ["tmpfs-size", "size", "tmpfs-mode", "mode", "tmpcopyup", "notmpcopyup"];
const BIND_KEYS: [&str; 4] = ["bind-nonrecursive", "no-dereference", "consistency", "idmap"];
const CACHE_KEYS: [&str; 5] = ["id", "uid", "gid", "mode", "sharing"];
const SOURCE_KEYS: [&str; 9] = ["source", "src", "from", "bind-propagation", "U", "chown", "z", "Z", "relabel"];
/// Values of `bind-propagation`, which are keys as well.
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

impl Type {
    fn named(name: &str) -> Option<Self> {
        match name {
            "bind" => Some(Self::Bind),
            "tmpfs" => Some(Self::Tmpfs),
            "cache" => Some(Self::Cache),
            _ => None,
        }
    }

    fn keys(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::Bind => &BIND_KEYS,
            Self::Tmpfs => &TMPFS_KEYS,
            Self::Cache => &CACHE_KEYS,
        };
        let sources: &[&[&str]] = if self == Self::Tmpfs { &[] } else { &[&SOURCE_KEYS, &PROPAGATIONS] };
        KEYS.iter().chain(own).chain(sources.iter().copied().flatten()).copied().collect()
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

    fn set(&mut self, word: &Word) -> Result<(), String> {
        let group = match word.key.as_str() {
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
                match word.key.as_str() {
                    "nosuid" => self.flags.nosuid = true,
                    "nodev" => self.flags.nodev = true,
                    _ => self.flags.noexec = true,
                }
                return Ok(());
            }
            _ => match self.kind {
                Type::Tmpfs => self.set_tmpfs(word)?,
                Type::Bind if matches!(word.key.as_str(), "bind-nonrecursive" | "no-dereference" | "consistency" | "idmap") => {
                    self.set_bind(word)?
                }
                Type::Cache if matches!(word.key.as_str(), "id" | "uid" | "gid" | "mode" | "sharing") => {
                    self.set_cache(word)?
                }
                Type::Bind | Type::Cache => self.set_source(word)?,
            },
        };
        if self.once.first(group) { Ok(()) } else { Err(format!("{}: {group} is given twice", word.key)) }
    }

    fn set_tmpfs(&mut self, word: &Word) -> Result<&'static str, String> {
        Ok(match word.key.as_str() {
            "tmpfs-size" | "size" => {
                let size = word.needed()?;
                self.size = Some(bytes(size).ok_or_else(|| format!("{}: invalid size {size:?}", word.key))?);
                "size"
            }
            "tmpfs-mode" | "mode" => {
                self.mode = Some(word.mode("tmpfs")?);
                "mode"
            }
            "tmpcopyup" | "notmpcopyup" => {
                word.bare()?;
                self.copy_up = word.key == "tmpcopyup";
                "tmpcopyup"
            }
            _ => return Err(word.unknown(&self.kind.keys())),
        })
    }

    fn set_bind(&mut self, word: &Word) -> Result<&'static str, String> {
        Ok(match word.key.as_str() {
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
                self.id_map = Some(VolumeMaps::parse(word.value.as_deref())?);
                "idmap"
            }
            // It means something on other systems only.
            _ => "consistency",
        })
    }

    fn set_cache(&mut self, word: &Word) -> Result<&'static str, String> {
        Ok(match word.key.as_str() {
            "id" => {
                self.id = Some(word.needed()?.to_owned());
                "id"
            }
            "uid" => {
                self.owner.0 = word.number("cache")?;
                "uid"
            }
            "gid" => {
                self.owner.1 = word.number("cache")?;
                "gid"
            }
            "mode" => {
                self.mode = Some(word.mode("cache")?);
                "mode"
            }
            _ => {
                self.sharing = match word.needed()? {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    other => {
                        let text = format!("unrecognized value {other:?} for field `sharing`: invalid mount option");
                        return Err(refusal(text, other, &["shared", "private", "locked"]));
                    }
                };
                "sharing"
            }
        })
    }

    /// What binds and caches have in common.
    fn set_source(&mut self, word: &Word) -> Result<&'static str, String> {
        Ok(match word.key.as_str() {
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
                let wrong = || refusal(format!("{}: {value:?}: invalid mount option", word.key), value, &PROPAGATIONS);
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
                    other => {
                        let text = "relabel mount option must be 'private' or 'shared': invalid mount option".to_owned();
                        return Err(refusal(text, other, &["shared", "private"]));
                    }
                });
                "label"
            }
            _ => {
                let kind = Propagation::parse(&word.key).filter(|kind| *kind != Propagation::Unbindable);
                self.propagation = kind.ok_or_else(|| word.unknown(&self.kind.keys()))?;
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
                    (Some(name), path) => Source::Named { name, path: path.unwrap_or_default() },
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
            Type::Cache => MountKind::Cache(Cache {
                id: self.id,
                from: self.from,
                source: self.source.unwrap_or_default(),
                uid: self.owner.0,
                gid: self.owner.1,
                mode: self.mode.unwrap_or(0o755),
                sharing: self.sharing,
                chown: self.chown,
                propagation: self.propagation,
                relabel: self.relabel,
            }),
        };
        Ok(MountRequest { kind, target, flags })
    }
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
