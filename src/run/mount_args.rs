//! `--volume` and `--mount` for `run`: text to mount requests. Pure.
//!
//! Invariant: every option is known by name and taken once; an unknown or repeated one is an error (CVE-2024-9407).

use std::path::PathBuf;

/// One mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// What is mounted.
    pub kind: MountKind,
    /// Where it appears inside; absolute.
    pub target: PathBuf,
    /// How it may be used.
    pub flags: MountFlags,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute, or relative to the context directory.
        source: PathBuf,
        /// Whether mounts below the source come along.
        recursive: bool,
        /// What happens to later mounts on either side.
        propagation: Propagation,
        /// `:U`: give the content to the container's user first.
        chown: bool,
        /// `:O`: writes go to a temporary layer that ends with the process.
        overlay: bool,
        /// `:z` or `:Z`: SELinux label; no effect where SELinux is off.
        relabel: Option<Relabel>,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Size limit in bytes; `None` is the kernel's default.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
        /// `tmpcopyup`: start with what the image has there.
        copy_up: bool,
    },
}

/// How later mounts on one side are seen on the other (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Neither sees the other's.
    #[default]
    Private,
    /// Mounts of the host appear inside.
    Slave,
    /// Both ways.
    Shared,
}

/// SELinux relabelling of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relabel {
    /// `z`
    Shared,
    /// `Z`
    Private,
}

/// Mount attributes; the defaults are those of a plain `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountFlags {
    /// No writes, recursively.
    pub read_only: bool,
    /// No setuid programs.
    pub nosuid: bool,
    /// No device nodes.
    pub nodev: bool,
    /// No programs.
    pub noexec: bool,
}

impl MountRequest {
    /// Parses a `--volume` word: `SOURCE:TARGET[:OPTIONS]`, options separated by commas.
    pub fn parse_volume(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| format!("invalid volume {text:?}: {why}");
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => return Err(invalid("want HOST-DIRECTORY:CONTAINER-DIRECTORY[:OPTIONS]")),
        };
        if source.is_empty() || text.contains('\0') {
            return Err(invalid("want HOST-DIRECTORY:CONTAINER-DIRECTORY[:OPTIONS]"));
        }
        let mut draft = Draft::new(Type::Bind);
        draft.set("source", Some(source)).map_err(|why| invalid(&why))?;
        draft.set("target", Some(target)).map_err(|why| invalid(&why))?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            if option.contains('=') {
                return Err(invalid(&format!("unknown option {option:?}")));
            }
            draft.set(option, None).map_err(|why| invalid(&why))?;
        }
        draft.finish().map_err(|why| invalid(&why))
    }

    /// Parses a `--mount` word: `type=bind|tmpfs,KEY[=VALUE],…`; the type is `bind` if none is named.
    pub fn parse_mount(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| format!("invalid mount {text:?}: {why}");
        if text.contains('\0') {
            return Err(invalid("it contains a NUL byte"));
        }
        let words = || text.split(',').map(|word| word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value))));
        let kind = match words().find(|(key, _)| *key == "type") {
            None | Some((_, Some("bind"))) => Type::Bind,
            Some((_, Some("tmpfs"))) => Type::Tmpfs,
            Some((_, Some(other @ ("cache" | "secret" | "ssh")))) => {
                return Err(format!("invalid filesystem type {other:?}: it belongs to a build"));
            }
            Some((_, other)) => return Err(format!("invalid filesystem type {:?}", other.unwrap_or_default())),
        };
        let mut draft = Draft::new(kind);
        let mut types = 0;
        for (key, value) in words() {
            if key == "type" {
                types += 1;
                continue;
            }
            draft.set(key, value).map_err(|why| invalid(&why))?;
        }
        if types > 1 {
            return Err(invalid("type is given twice"));
        }
        draft.finish().map_err(|why| invalid(&why))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bind,
    Tmpfs,
}

/// A request while its words are read; each setting may be made once.
struct Draft {
    kind: Type,
    seen: Vec<&'static str>,
    source: Option<PathBuf>,
    target: Option<PathBuf>,
    flags: MountFlags,
    recursive: bool,
    propagation: Propagation,
    chown: bool,
    overlay: bool,
    relabel: Option<Relabel>,
    size: Option<u64>,
    mode: Option<u32>,
    copy_up: bool,
}

impl Draft {
    fn new(kind: Type) -> Self {
        Self {
            kind,
            seen: Vec::new(),
            source: None,
            target: None,
            flags: MountFlags::default(),
            recursive: true,
            propagation: Propagation::default(),
            chown: false,
            overlay: false,
            relabel: None,
            size: None,
            mode: None,
            copy_up: false,
        }
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let unknown = || format!("unknown option {key:?}");
        let needed = || value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{key} needs a value"));
        let group = match (key, self.kind) {
            ("source" | "src", Type::Bind) => {
                self.source = Some(PathBuf::from(needed()?));
                "source"
            }
            ("target" | "dst" | "destination", _) => {
                self.target = Some(PathBuf::from(needed()?));
                "target"
            }
            ("ro" | "readonly" | "rw" | "readwrite", _) => {
                let positive = truth(key, value)?;
                self.flags.read_only = if key == "ro" || key == "readonly" { positive } else { !positive };
                "access"
            }
            ("bind-propagation", Type::Bind) => {
                self.set_propagation(needed()?)?;
                "propagation"
            }
            ("tmpfs-size" | "size", Type::Tmpfs) => {
                self.size = Some(bytes(needed()?).ok_or_else(|| format!("invalid size {value:?}"))?);
                "size"
            }
            ("tmpfs-mode" | "mode", Type::Tmpfs) => {
                let mode = u32::from_str_radix(needed()?, 8).ok().filter(|mode| *mode <= 0o7777);
                self.mode = Some(mode.ok_or_else(|| format!("invalid mode {value:?}"))?);
                "mode"
            }
            ("relabel", Type::Bind) => {
                self.relabel = Some(match needed()? {
                    "shared" => Relabel::Shared,
                    "private" => Relabel::Private,
                    _ => return Err(format!("invalid value {value:?} of relabel")),
                });
                "relabel"
            }
            (_, _) if value.is_some() && !matches!(key, "U" | "chown") => return Err(unknown()),
            _ => self.set_word(key, value)?,
        };
        if self.seen.contains(&group) {
            return Err(format!("{group} is given twice"));
        }
        self.seen.push(group);
        Ok(())
    }

    fn set_word(&mut self, key: &str, value: Option<&str>) -> Result<&'static str, String> {
        Ok(match (key, self.kind) {
            ("nosuid" | "suid", _) => {
                self.flags.nosuid = key == "nosuid";
                "suid"
            }
            ("nodev" | "dev", _) => {
                self.flags.nodev = key == "nodev";
                "dev"
            }
            ("noexec" | "exec", _) => {
                self.flags.noexec = key == "noexec";
                "exec"
            }
            ("bind" | "rbind", Type::Bind) => {
                self.recursive = key == "rbind";
                "recursion"
            }
            ("private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared", Type::Bind) => {
                self.set_propagation(key)?;
                "propagation"
            }
            ("U" | "chown", Type::Bind) => {
                self.chown = truth(key, value)?;
                "chown"
            }
            ("O", Type::Bind) => {
                self.overlay = true;
                "overlay"
            }
            ("z" | "Z", Type::Bind) => {
                self.relabel = Some(if key == "z" { Relabel::Shared } else { Relabel::Private });
                "relabel"
            }
            ("tmpcopyup" | "notmpcopyup", Type::Tmpfs) => {
                self.copy_up = key == "tmpcopyup";
                "copyup"
            }
            _ => return Err(format!("unknown option {key:?}")),
        })
    }

    fn set_propagation(&mut self, word: &str) -> Result<(), String> {
        self.propagation = match word {
            "private" | "rprivate" => Propagation::Private,
            "slave" | "rslave" => Propagation::Slave,
            "shared" | "rshared" => Propagation::Shared,
            _ => return Err(format!("invalid propagation {word:?}")),
        };
        Ok(())
    }

    fn finish(self) -> Result<MountRequest, String> {
        let target = self.target.ok_or("no target")?;
        if !target.is_absolute() {
            return Err(format!("target {target:?} is not an absolute path"));
        }
        let kind = match self.kind {
            Type::Tmpfs => MountKind::Tmpfs { size: self.size, mode: self.mode, copy_up: self.copy_up },
            Type::Bind => MountKind::Bind {
                source: self.source.ok_or("no source")?,
                recursive: self.recursive,
                propagation: self.propagation,
                chown: self.chown,
                overlay: self.overlay,
                relabel: self.relabel,
            },
        };
        Ok(MountRequest { kind, target, flags: self.flags })
    }
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("invalid value {other:?} of {key}")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_become_binds() {
        let request = MountRequest::parse_volume("/h:/c:ro,Z,U,rslave,noexec").unwrap();
        assert_eq!(request.target, PathBuf::from("/c"));
        assert_eq!(request.flags, MountFlags { read_only: true, noexec: true, ..MountFlags::default() });
        let MountKind::Bind { source, recursive, propagation, chown, overlay, relabel } = request.kind else { panic!() };
        assert_eq!((source, recursive, propagation), (PathBuf::from("/h"), true, Propagation::Slave));
        assert_eq!((chown, overlay, relabel), (true, false, Some(Relabel::Private)));
        assert!(!MountRequest::parse_volume("rel:/c").unwrap().flags.read_only);
    }

    #[test]
    fn mounts_become_requests() {
        let request = MountRequest::parse_mount("type=bind,src=/h,dst=/c,ro=true,bind-propagation=rshared").unwrap();
        assert!(request.flags.read_only);
        assert!(matches!(request.kind, MountKind::Bind { propagation: Propagation::Shared, .. }));
        let request = MountRequest::parse_mount("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770,tmpcopyup").unwrap();
        assert_eq!(request.kind, MountKind::Tmpfs { size: Some(64 << 20), mode: Some(0o1770), copy_up: true });
        assert!(!MountRequest::parse_mount("type=bind,src=/h,dst=/c,ro=false").unwrap().flags.read_only);
        assert!(!MountRequest::parse_mount("type=bind,src=/h,dst=/c,rw").unwrap().flags.read_only);
    }

    #[test]
    fn what_is_unknown_repeated_or_malformed_is_refused() {
        for text in [
            "",
            "/h",
            ":/c",
            "/h:",
            "/h:c",
            "/h:/c:x",
            "/h:/c:ro,rw",
            "/h:/c:ro:z",
            "/h:/c:ro=x",
            "/h:/c:source=/x",
            "/h:/c:U,U",
        ] {
            assert!(MountRequest::parse_volume(text).is_err(), "{text:?} was accepted");
        }
        for text in [
            "",
            "type=bind",
            "type=bind,src=/h",
            "type=secret,id=x",
            "type=cache,target=/c",
            "type=x,dst=/c",
            "type=,dst=/c",
            "type=bind,src=/h,dst=/c,bind-propagation=rw,suid",
            "type=bind,src=/h,dst=/c,ro=x",
            "type=bind,src=/h,dst=/c,dst=/d",
            "type=bind,type=bind,src=/h,dst=/c",
            "type=tmpfs,dst=/c,src=/h",
            "type=tmpfs,dst=/c,tmpfs-size=1x",
            "type=tmpfs,dst=/c,tmpfs-mode=99999",
            "type=bind,src=/h,dst=c",
            "type=bind,src=/h,dst=/c,upperdir=/x",
            "type=bind,src=/h,dst=/c,nosuid=x",
            "type=tmpfs,dst=/c,tmpfs-size=99999999999999g",
            "type=bind,src=/h\0,dst=/c",
        ] {
            assert!(MountRequest::parse_mount(text).is_err(), "{text:?} was accepted");
        }
    }
}
