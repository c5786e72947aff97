//! `RUN --mount` of a Dockerfile: all that `run --mount` has, and what only a build can hand over.

use std::path::PathBuf;

use super::words::{Word, refusal, split};
use super::{Bind, MountKind, MountRequest, Source, mount};

/// One mount of a RUN instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepMount {
    /// `type=bind`, `tmpfs` or `cache`.
    Files(MountRequest),
    /// `type=secret`
    Secret(SecretMount),
    /// `type=ssh`
    Ssh(SshMount),
}

impl StepMount {
    /// What `from=` names.
    pub fn from(&self) -> Option<&str> {
        match self {
            Self::Files(MountRequest { kind: MountKind::Bind(Bind { source: Source::Named { name, .. }, .. }), .. }) => {
                Some(name)
            }
            Self::Files(MountRequest { kind: MountKind::Cache(cache), .. }) => cache.from.as_deref(),
            Self::Files(_) | Self::Secret(_) | Self::Ssh(_) => None,
        }
    }
}

/// A secret that the command gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Its name.
    pub id: String,
    /// The file that it is in; a relative one is below the working directory. `None` if only a variable was asked for.
    pub target: Option<PathBuf>,
    /// The variable that has it.
    pub env: Option<String>,
    /// The file.
    pub place: Place,
    /// Without such a secret the command is not run.
    pub required: bool,
}

/// An agent for SSH keys that the command may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshMount {
    /// Its name.
    pub id: String,
    /// The socket; a relative one is below the working directory. `None` for a place of ours.
    pub target: Option<PathBuf>,
    /// The socket.
    pub place: Place,
    /// Without such an agent the command is not run.
    pub required: bool,
}

/// Whose a file is, inside the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Where a secret is unless its mount says otherwise.
const SECRETS: &str = "/run/secrets";

const SECRET_SYNTAX: &str = "secret should have syntax id=id[,target=path,required=bool,mode=uint,uid=uint,gid=uint]";
const SSH_SYNTAX: &str = "ssh should have syntax id=id[,target=path,required=bool,mode=uint,uid=uint,gid=uint]";

const KEYS: &[&str] = &["id", "target", "dst", "destination", "required", "mode", "uid", "gid"];
const SECRET_KEYS: &[&str] = &["id", "target", "dst", "destination", "required", "mode", "uid", "gid", "env", "source", "src"];

/// Parses a mount of RUN.
pub(super) fn parse(text: &str) -> Result<StepMount, String> {
    if text.contains('\0') {
        return Err(format!("{text:?}: a mount cannot have a NUL byte"));
    }
    if text.is_empty() {
        return Err("a mount needs options".to_owned());
    }
    let words = split(text)?;
    match mount::type_of(text, &words)? {
        None => Ok(StepMount::Files(mount::parse_words(words)?)),
        Some("secret") => secret(words).map(StepMount::Secret),
        Some("ssh") => ssh(words).map(StepMount::Ssh),
        Some(other) => {
            let types = [&mount::TYPES[..], &["secret", "ssh"]].concat();
            Err(refusal(format!("invalid mount type {other:?}"), other, &types))
        }
    }
}

/// What secrets and agents have in common.
struct Draft {
    id: Option<String>,
    target: Option<PathBuf>,
    env: Option<String>,
    place: Place,
    required: bool,
}

fn draft(words: Vec<Word>, syntax: &str, (keys, mode): (&[&str], u32)) -> Result<Draft, String> {
    let place = Place { mode, uid: 0, gid: 0 };
    let mut draft = Draft { id: None, target: None, env: None, place, required: false };
    let mut seen: Vec<String> = Vec::new();
    let wrong = |why: String| format!("{syntax}: {why}");
    for word in words.into_iter().filter(|word| word.key != "type") {
        let group = match word.key.as_str() {
            "target" | "dst" | "destination" => "target",
            "source" | "src" => "id",
            other => other,
        };
        if seen.iter().any(|known| known == group) {
            return Err(wrong(format!("{group} is given twice")));
        }
        seen.push(group.to_owned());
        match group {
            key if !keys.contains(&key) => return Err(wrong(word.unknown(keys))),
            "id" => draft.id = Some(word.needed().map_err(wrong)?.to_owned()),
            "target" => draft.target = Some(PathBuf::from(word.needed().map_err(wrong)?)),
            "env" => draft.env = Some(variable(word.needed().map_err(wrong)?).map_err(wrong)?),
            "required" => draft.required = word.truth().map_err(wrong)?,
            "mode" => draft.place.mode = word.mode("file").map_err(wrong)?,
            "uid" => draft.place.uid = word.number("file").map_err(wrong)?,
            _ => draft.place.gid = word.number("file").map_err(wrong)?,
        }
    }
    Ok(draft)
}

fn variable(name: &str) -> Result<String, String> {
    if name.contains('=') { Err(format!("{name:?} is no name of a variable")) } else { Ok(name.to_owned()) }
}

fn secret(words: Vec<Word>) -> Result<SecretMount, String> {
    let draft = draft(words, SECRET_SYNTAX, (SECRET_KEYS, 0o400))?;
    let last = draft.target.as_ref().and_then(|target| target.file_name()).map(|name| name.to_string_lossy().into_owned());
    let Some(id) = draft.id.or(last) else { return Err(SECRET_SYNTAX.to_owned()) };
    let target = match (draft.target, &draft.env) {
        (Some(target), _) => Some(target),
        (None, Some(_)) => None,
        // The name becomes one component of a path, or is none.
        (None, None) if id.contains('/') || matches!(id.as_str(), "." | "..") => {
            return Err(format!("{SECRET_SYNTAX}: {id:?} is no name of a file: say target="));
        }
        (None, None) => Some(PathBuf::from(SECRETS).join(&id)),
    };
    Ok(SecretMount { id, target, env: draft.env, place: draft.place, required: draft.required })
}

fn ssh(words: Vec<Word>) -> Result<SshMount, String> {
    let draft = draft(words, SSH_SYNTAX, (KEYS, 0o600))?;
    let id = draft.id.unwrap_or_else(|| "default".to_owned());
    Ok(SshMount { id, target: draft.target, place: draft.place, required: draft.required })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Result<SecretMount, String> {
        match parse(text)? {
            StepMount::Secret(secret) => Ok(secret),
            other => panic!("{other:?}"),
        }
    }

    fn ssh(text: &str) -> Result<SshMount, String> {
        match parse(text)? {
            StepMount::Ssh(ssh) => Ok(ssh),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_secret_is_a_file_or_a_variable_or_both() {
        let plain = secret("type=secret,id=s").unwrap();
        assert_eq!((plain.target, plain.env, plain.required), (Some("/run/secrets/s".into()), None, false));
        assert_eq!(plain.place, Place { mode: 0o400, uid: 0, gid: 0 });
        let full = secret("id=s,type=secret,dst=x,required,mode=0440,uid=7,gid=8,env=TOKEN").unwrap();
        assert_eq!((full.target, full.env.as_deref(), full.required), (Some("x".into()), Some("TOKEN"), true));
        assert_eq!(full.place, Place { mode: 0o440, uid: 7, gid: 8 });
        assert_eq!(secret("type=secret,id=s,env=T").unwrap().target, None);
        assert_eq!(secret("type=secret,target=/a/key").unwrap().id, "key");
        assert_eq!(secret("type=secret,src=s").unwrap().id, "s");
        for (text, required) in [("required=true", true), ("required=False", false), ("required=1", true), ("required", true)] {
            assert_eq!(secret(&format!("type=secret,id=s,{text}")).unwrap().required, required, "{text}");
        }
    }

    #[test]
    fn an_agent_needs_no_word() {
        let plain = ssh("type=ssh").unwrap();
        assert_eq!((plain.id.as_str(), plain.target, plain.required), ("default", None, false));
        assert_eq!(plain.place, Place { mode: 0o600, uid: 0, gid: 0 });
        assert!(ssh("type=ssh,id=a,required=true,target=/s").unwrap().required);
    }

    #[test]
    fn other_types_are_those_of_run() {
        assert!(matches!(parse("target=/x,src=a").unwrap(), StepMount::Files(_)));
        assert!(matches!(parse("type=tmpfs,target=/x").unwrap(), StepMount::Files(_)));
    }

    #[test]
    fn wrong_words_are_refused_in_buildahs_words() {
        for (text, words) in [
            ("type=secret", "secret should have syntax id=id["),
            ("type=secret,id=s,requird=true", "requird: invalid mount option: did you mean required?"),
            ("type=secret,id=s,id=t", "id is given twice"),
            ("type=secret,id=s,src=t", "id is given twice"),
            ("type=secret,id=../x", "is no name of a file"),
            ("type=secret,id=..", "is no name of a file"),
            ("type=secret,id=s,mode=9", "unable to parse file mode \"9\""),
            ("type=secret,id=s,uid=-1", "unable to parse file uid \"-1\""),
            ("type=secret,id=s,env=A=B", "is no name of a variable"),
            ("type=secret,id=s,required=maybe", "invalid value \"maybe\" of required"),
            ("type=ssh,foo", "ssh should have syntax id=id["),
            ("type=ssh,env=X", "env: invalid mount option"),
            ("type=ssh,id=", "id: must provide an argument"),
            ("type=foo,target=/x", "invalid mount type \"foo\""),
            ("type=secret,type=ssh", "type is given twice"),
            ("type=ssh\0", "NUL"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
